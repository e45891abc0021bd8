"""Judge the rows of one delivery: its shape, types, duplicates, and the rules of expectations.yaml."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.partition import known_after
from include.core.spec import ModelSpec
from include.ingestion import casting, expectations, validation
from include.ingestion.facts import STALE_ROWS, Facts
from include.ingestion.findings import EXAMPLES, HIDDEN, Failure, Findings, Rows, RuleResult, Severity
from include.ingestion.past import REPEATED_KEY, ROW_COUNT_OFF_BAND, Past
from include.ingestion.profile import Profile
from include.ingestion.row_reasons import RowReasons

EMPTY_FILE, NO_ROWS = "empty_file", "no_rows"
MISSING_COLUMN, EXTRA_COLUMN = "missing_column", "extra_column"
DUPLICATE_ROW = "duplicate_row"
BUDGET_EXCEEDED = "quarantine_budget_exceeded"

ADDED = ("source_file", "row_number")
"""Columns of a delivery's table that are not from the file."""


TRUNCATED_LINE = "truncated_line"


@dataclass(frozen=True)
class Judgement:
    """What is wrong with a delivery."""

    own: RowReasons
    """Rows that are not accepted, each with its own reasons."""
    batch_reasons: tuple[str, ...]
    """Why nothing of the batch is accepted, if so."""
    warnings: tuple[str, ...]
    failures: tuple[Failure, ...]
    results: tuple[RuleResult, ...]
    """One for each rule of expectations.yaml; none where the shape of the batch is wrong."""
    profile: Profile
    hidden: frozenset[str]
    """Columns of which no value may be shown."""


@dataclass(frozen=True)
class Surroundings:
    """What a batch is judged by, besides its rows."""

    past: Past | None = None
    file_types: dict[str, str] = field(default_factory=dict)
    """By column the type in a Parquet file."""
    unfinished: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Positions of rows that end a file without a line end."""
    known_shape: tuple[str, ...] | None = None
    """Reasons of the batch's shape where its rows do not show it: they come out of ``raw_``."""


def judge(
    spec: ModelSpec,
    delivered: pa.Table,
    docs_folder: Path | None = None,
    around: Surroundings | None = None,
) -> Judgement:
    """Judge every row of a delivery that fits into memory; ``bulk`` does the same for any.

    Of rows that are the same in every column the first is kept. Rows that share a key and differ contradict
    each other: a unique expectation quarantines all of them. A cell that does not fit its type is a reason of
    its own, and no further rule judges it. A batch with a larger share of quarantined rows than
    ``ingestion.quarantine_budget`` is rejected.

    Args:
        delivered: as ``Delivery.read`` returns it.
        docs_folder: where to put the Data Docs page of the validation, none by default.

    Raises:
        ConfigError: expectations.yaml is wrong.
    """
    around = around or Surroundings()
    rules = expectations.load(spec)
    cast = casting.cast(delivered, casting.types(spec))
    facts = Facts(spec)
    facts.see(delivered, cast)
    duplicates = _duplicates(delivered)
    shape = shape_reasons(spec, delivered.column_names, facts, around)
    findings = Findings()
    if not shape:
        kept = frame(cast.columns).drop(index=pd.Index(duplicates))
        findings = validation.check(
            spec, rules, kept, unread=facts.misfits, hidden=facts.hidden, docs_folder=docs_folder
        )
    return conclude(
        spec,
        facts,
        findings,
        duplicates=duplicates,
        shape=shape,
        keys=lambda: cast.columns[spec.entity.key],
        around=around,
    )


def conclude(
    spec: ModelSpec,
    facts: Facts,
    findings: Findings,
    *,
    duplicates: Rows,
    shape: list[str],
    keys: Callable[[], pa.ChunkedArray],
    around: Surroundings,
) -> Judgement:
    """Put together what the rows, the rules and the other batches say.

    Args:
        keys: reads the typed key of each row, in order, if it is wanted.
    """
    own = RowReasons()
    own.add(DUPLICATE_ROW, duplicates)
    for column, rows in facts.misfits.items():
        own.add(casting.reason(spec.columns[column].type, column), rows)
    own.add(TRUNCATED_LINE, around.unfinished)
    for reason, rows in findings.rows.items():
        own.add(reason, rows)
    waiting = _waiting(spec, facts, keys, around)
    warnings = [*findings.warnings]
    failures = [
        *_row_failure(DUPLICATE_ROW, duplicates),
        *_row_failure(TRUNCATED_LINE, around.unfinished),
        *facts.misfit_failures(),
        *findings.failures,
    ]
    for reason, (severity, rows) in waiting.items():
        example = (HIDDEN,) if reason in facts.suspects else _row_numbers(rows)
        failures.append(Failure(reason, severity, int(rows.size), example))
        if severity == "warn":
            warnings.append(reason)
        else:
            own.add(reason, rows)
    batch_reasons = [*shape, *findings.batch]
    for reason, severity, observed in _against_the_past(spec, facts, around) if not shape else ():
        (warnings if severity == "warn" else batch_reasons).append(reason)
        failures.append(Failure(reason, severity, 0, (observed,)))
    if own.rows().size > spec.ingestion.quarantine_budget * facts.rows:
        batch_reasons.append(BUDGET_EXCEEDED)
    return Judgement(
        own, tuple(batch_reasons), tuple(warnings), tuple(failures), findings.results, facts.profile, facts.hidden
    )


def _waiting(
    spec: ModelSpec, facts: Facts, keys: Callable[[], pa.ChunkedArray], around: Surroundings
) -> dict[str, tuple[Severity, Rows]]:
    """Rows that wait for somebody to look at them, by reason."""
    found: dict[str, tuple[Severity, Rows]] = {
        reason: (spec.ingestion.suspected_pii, rows) for reason, rows in facts.suspects.items()
    }
    if around.past is not None and spec.ingestion.repeated_key == "quarantine":
        known = around.past.positions_of_known_keys(keys())
        if known.size:
            found[f"{REPEATED_KEY}:{spec.entity.key}"] = ("quarantine_row", known)
    return found


def _against_the_past(spec: ModelSpec, facts: Facts, around: Surroundings) -> Iterator[tuple[str, Severity, str]]:
    """What is unusual about the batch as a whole: reason, severity, what was observed."""
    if around.past is None:
        return
    band, learned = around.past.band(), spec.ingestion.row_count_band
    if band and learned and not band[0] <= facts.rows <= band[1]:
        usual = f"{facts.rows} rows, usual are {math.ceil(band[0])} to {math.floor(band[1])}"
        yield ROW_COUNT_OFF_BAND, learned.severity, usual
    fresh = spec.ingestion.freshness
    if fresh is not None and facts.is_stale(known_after(around.past.day)):
        yield f"{STALE_ROWS}:{fresh.column}", fresh.severity, f"nothing of the last {fresh.max_age_hours:g} hours"


def shape_reasons(spec: ModelSpec, names: list[str], facts: Facts, around: Surroundings) -> list[str]:
    """Why the batch cannot be what model.yaml describes: its columns, and their types."""
    if around.known_shape is not None:
        return list(around.known_shape)
    columns = [name for name in names if name not in ADDED]
    if not columns:
        return [EMPTY_FILE]
    return [
        *([NO_ROWS] if not facts.rows else []),
        *(f"{MISSING_COLUMN}:{name}" for name in spec.columns if name not in columns),
        *(f"{EXTRA_COLUMN}:{name}" for name in columns if name not in spec.columns),
        *facts.retyped(around.file_types),
    ]


def _duplicates(delivered: pa.Table) -> Rows:
    """Positions of the rows that repeat an earlier one in every delivered column."""
    columns = [name for name in delivered.column_names if name not in ADDED]
    if not columns:
        return np.empty(0, dtype=np.int64)
    # Numbers that stand for the texts: as exact, and far smaller.
    texts = {name: delivered[name].combine_chunks() for name in columns}
    codes = {name: text.dictionary_encode(null_encoding="encode").indices for name, text in texts.items()}
    return np.flatnonzero(pd.DataFrame({name: code.to_numpy() for name, code in codes.items()}).duplicated())


def frame(columns: pa.Table) -> pd.DataFrame:
    """The typed columns for Great Expectations: integers stay integers where there are nulls."""
    with_nulls = {name for name in columns.column_names if columns[name].null_count}
    typed = columns.to_pandas(integer_object_nulls=True)
    for item in columns.schema:
        if pa.types.is_integer(item.type) and item.name in with_nulls:
            typed[item.name] = typed[item.name].astype("Int64")
    return typed


def _row_failure(reason: str, rows: Rows) -> list[Failure]:
    return [Failure(reason, "quarantine_row", int(rows.size), _row_numbers(rows))] if rows.size else []


def _row_numbers(rows: Rows) -> tuple[str, ...]:
    return tuple(f"row {position + 1}" for position in rows[:EXAMPLES])
