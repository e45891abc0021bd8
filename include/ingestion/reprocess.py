"""Quarantine as a queue: rows are judged again by today's rules, and those that pass go on, exactly once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from include.core.errors import DataError
from include.core.partition import known_after
from include.core.spec import ModelSpec
from include.ingestion import batch, layout
from include.ingestion.batch import BatchCounts
from include.ingestion.facts import RETYPED_COLUMN
from include.ingestion.judgement import (
    BUDGET_EXCEEDED,
    EXTRA_COLUMN,
    MISSING_COLUMN,
    TRUNCATED_LINE,
    Judgement,
    Surroundings,
    judge,
)
from include.ingestion.past import Past
from include.ingestion.row_reasons import RowReasons
from include.lakehouse import decisions
from include.lakehouse.run import Workspace
from include.lakehouse.tables import Lakehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reprocessing:
    """What becomes, or would become, of the quarantined rows of a day."""

    waiting: int
    """Rows in quarantine before."""
    taken_back: int
    """Rows that pass now."""
    still_waiting: dict[str, int]
    """Rows that stay, by reason."""
    batch_reasons: tuple[str, ...]
    """Why the batch is still rejected as a whole: then nothing is taken back."""


def preview(spec: ModelSpec, lake: Lakehouse, day: date) -> Reprocessing:
    """What ``take_back`` would do; nothing is written.

    Raises:
        DataError: no batch of that day was ever validated.
    """
    return _judged_again(spec, lake, day)[0]


def take_back(workspace: Workspace, day: date, run_id: str) -> BatchCounts:
    """Move the rows that pass now from ``quarantine_`` to ``clean_``, and record it as a decision.

    Rows that were accepted stay accepted, also where a rule became stricter. Safe to repeat: a row that has left
    quarantine is not in it, and ``clean_`` is made anew from what is not.
    """
    spec, lake = workspace.spec, workspace.lake
    found, rows, staying = _judged_again(spec, lake, day)
    reasons = staying.column()
    kept = rows.take(pa.array(staying.rows())).append_column(layout.REASONS, reasons)
    lake.replace_partition(spec.table("quarantine"), kept.cast(layout.quarantine_schema(spec)), {"batch_date": day})
    decisions.record(
        lake,
        model=spec.name,
        kind="quarantine_reprocessing",
        subject=day.isoformat(),
        outcome="take_rows_back" if found.taken_back else "leave_rows",
        reasons=[*found.batch_reasons, *found.still_waiting],
        inputs={"reprocessing": found},
        decided_at=known_after(day),
        actor="person",
        policy_hash=decisions.policy_hash(spec.ingestion),
        run_id=run_id,
    )
    if found.batch_reasons and found.waiting == rows.num_rows:
        return batch.reject(spec, lake, day, found.batch_reasons)
    counts = batch.load(spec, lake, day)
    log.info("%s, batch of %s: %d rows taken back, %s", spec.name, day, found.taken_back, counts)
    return counts


def _judged_again(spec: ModelSpec, lake: Lakehouse, day: date) -> tuple[Reprocessing, pa.Table, RowReasons]:
    """What is found, the raw rows of the day, and which of them stay in quarantine."""
    where = [("batch_date", "=", day)]
    raw = lake.read(spec.table("raw"), where=where).sort_by([("source_file", "ascending"), ("row_number", "ascending")])
    if not raw.num_rows:
        raise DataError(
            "no row of that day is there", where=f"{spec.name}, batch of {day}", fix="Have it delivered, then ingest it"
        )
    earlier = _earlier(lake.read(spec.table("quarantine"), where=where), raw)
    delivered = _as_delivered(spec, raw)
    around = Surroundings(
        Past(spec, lake, day),
        unfinished=np.flatnonzero([TRUNCATED_LINE in reasons for reasons in earlier]),
        known_shape=_shape(spec, earlier),
    )
    judgement = judge(spec, delivered, None, around)
    staying = _staying(judgement, np.flatnonzero([bool(reasons) for reasons in earlier]))
    waiting = sum(map(bool, earlier))
    stay = int(staying.rows().size)
    return Reprocessing(waiting, waiting - stay, staying.counts(), judgement.batch_reasons), raw, staying


def _earlier(quarantine: pa.Table, raw: pa.Table) -> list[list[str]]:
    """The reasons of each raw row, none where it is not in quarantine."""
    known = {
        (row["source_file"], row["row_number"]): row["reasons"] or [BUDGET_EXCEEDED]
        for row in quarantine.select(["source_file", "row_number", "reasons"]).to_pylist()
    }
    places = zip(raw["source_file"].to_pylist(), raw["row_number"].to_pylist(), strict=True)
    return [known.get(place, []) for place in places]


def _as_delivered(spec: ModelSpec, raw: pa.Table) -> pa.Table:
    """The raw rows as their file had them: a column that model.yaml has come to know is where it belongs."""
    delivered = raw.drop_columns(["batch_date", "extra_columns"])
    extra = [json.loads(text) if text else {} for text in raw["extra_columns"].to_pylist()]
    for name in spec.columns:
        held = delivered[name] if name in delivered.column_names else pa.nulls(raw.num_rows, pa.string())
        if any(name in row for row in extra):
            values = [row.get(name, own) for row, own in zip(extra, held.to_pylist(), strict=True)]
            held = pa.array(values, pa.string())
        if name in delivered.column_names:
            delivered = delivered.set_column(delivered.column_names.index(name), name, held)
        else:
            delivered = delivered.append_column(name, held)
    return delivered.select(["source_file", "row_number", *spec.columns])


def _shape(spec: ModelSpec, earlier: Iterable[list[str]]) -> tuple[str, ...]:
    """The reasons of the batch's shape that still hold: what was missing and is still wanted, and so on."""
    still = []
    for reason in dict.fromkeys(reason for reasons in earlier for reason in reasons):
        code, _, column = reason.partition(":")
        if (code in (MISSING_COLUMN, RETYPED_COLUMN) and column in spec.columns) or (
            code == EXTRA_COLUMN and column not in spec.columns
        ):
            still.append(reason)
    return tuple(still)


def _staying(judgement: Judgement, waiting: np.ndarray) -> RowReasons:
    """Of the rows that wait, those that fail again, or all where the batch does."""
    staying = RowReasons()
    for reason in judgement.batch_reasons:
        staying.add(reason, waiting)
    for reason in judgement.own.counts():
        staying.add(reason, np.intersect1d(judgement.own.rows_of(reason), waiting))
    return staying
