"""The record of decisions: one row per decision of a gate, a policy or a person."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from include.core.errors import DataError
from include.lakehouse.tables import Lakehouse

TABLE = "decisions"
SCHEMA = pa.schema(
    [
        ("decision_id", pa.string()),
        ("decided_at", pa.timestamp("us", tz="UTC")),
        ("model", pa.string()),
        ("kind", pa.string()),
        ("subject", pa.string()),
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("inputs", pa.string()),
        ("actor", pa.string()),
        ("policy_hash", pa.string()),
        ("run_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Decision:
    """One decision as it is stored; ``inputs`` is what it was made from."""

    decision_id: str
    decided_at: datetime
    model: str
    kind: str
    subject: str
    outcome: str
    reasons: Sequence[str]
    inputs: Mapping[str, Any]
    actor: str
    policy_hash: str
    run_id: str


def record(
    lake: Lakehouse,
    *,
    model: str,
    kind: str,
    subject: str,
    outcome: str,
    reasons: Sequence[str],
    inputs: Mapping[str, Any],
    decided_at: datetime,
    actor: str,
    policy_hash: str,
    run_id: str,
) -> str:
    """Store a decision; the same run deciding again on the same subject replaces its own row.

    Args:
        kind: which gate or policy, e.g. ``production_gate``.
        subject: what was decided on, e.g. ``version 3`` or ``2025-01-04``.
        inputs: anything that JSON, dataclasses and dates can express; infinite numbers and NaN become null.
        decided_at: UTC, from the run.

    Returns:
        The decision's id, made from model, kind, subject and run.

    Raises:
        DataError: ``decided_at`` has no time zone.
    """
    if decided_at.tzinfo is None:
        raise DataError(f"decided_at {decided_at.isoformat()} has no time zone", fix="Hand in a UTC time")
    decision_id = identity(model, kind, subject, run_id)
    row = {
        "decision_id": decision_id,
        "decided_at": decided_at,
        "model": model,
        "kind": kind,
        "subject": subject,
        "outcome": outcome,
        "reasons": list(reasons),
        "inputs": canonical_json(inputs),
        "actor": actor,
        "policy_hash": policy_hash,
        "run_id": run_id,
    }
    lake.replace_partition(
        TABLE,
        pa.Table.from_pylist([row], schema=SCHEMA),
        {"model": model, "decision_id": decision_id},
        partition_by=["model"],
    )
    return decision_id


def history(lake: Lakehouse, model: str, kind: str | None = None) -> list[Decision]:
    """Decisions of a model, newest last; empty if there is none yet."""
    where = [("model", "=", model)] + ([("kind", "=", kind)] if kind else [])
    table = lake.read_if_exists(TABLE, where=where)
    rows = [] if table is None else table.select(SCHEMA.names).to_pylist()
    decisions = [Decision(**{**row, "inputs": json.loads(row["inputs"])}) for row in rows]
    return sorted(decisions, key=lambda decision: (decision.decided_at, decision.kind, decision.decision_id))


def identity(model: str, kind: str, subject: str, run_id: str) -> str:
    """The id of a decision, the same for every retry of the run that makes it."""
    return hashlib.sha256(canonical_json([model, kind, subject, run_id]).encode()).hexdigest()[:20]


def policy_hash(*sections: BaseModel) -> str:
    """SHA-256 of the canonical JSON of the parts of model.yaml that a decision follows."""
    content = [section.model_dump(mode="json") for section in sections]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """The same text for equal values: sorted keys, no spaces."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
