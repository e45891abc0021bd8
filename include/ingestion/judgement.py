"""Judge the rows of one delivery: its shape, types, duplicates, and the rules of expectations.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from include.ingestion import casting
from include.ingestion.row_reasons import RowReasons
from include.models.spec import ModelSpec
from include.quality import expectations, validation
from include.quality.findings import EXAMPLES, Failure, Rows

EMPTY_FILE, NO_ROWS = "empty_file", "no_rows"
MISSING_COLUMN, EXTRA_COLUMN = "missing_column", "extra_column"
DUPLICATE_ROW = "duplicate_row"
BUDGET_EXCEEDED = "quarantine_budget_exceeded"

ADDED = ("source_file", "row_number")
"""Columns of a delivery's table that are not from the file."""


@dataclass(frozen=True)
class Judgement:
    """What is wrong with a delivery."""

    own: RowReasons
    """Rows that are not accepted, each with its own reasons."""
    batch_reasons: tuple[str, ...]
    """Why nothing of the batch is accepted, if so."""
    warnings: tuple[str, ...]
    failures: tuple[Failure, ...]


def judge(spec: ModelSpec, delivered: pa.Table, docs_folder: Path | None = None) -> Judgement:
    """Judge every row of a delivery.

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
    rules = expectations.load(spec)
    cast = casting.cast(delivered, casting.types(spec))
    own = RowReasons()
    duplicates = _duplicates(delivered)
    own.add(DUPLICATE_ROW, duplicates)
    misfits = {name: np.flatnonzero(flags) for name, flags in cast.misfits.items()}
    for column, rows in misfits.items():
        own.add(casting.reason(spec.columns[column].type, column), rows)
    failures = [*_duplicate_failure(duplicates), *_misfit_failures(spec, delivered, misfits)]
    batch_reasons = list(_shape_reasons(spec, delivered))
    warnings: tuple[str, ...] = ()
    if not batch_reasons:
        frame = _frame(cast.columns).drop(index=pd.Index(duplicates))
        findings = validation.check(spec, rules, frame, unread=misfits, docs_folder=docs_folder)
        for reason, rows in findings.rows.items():
            own.add(reason, rows)
        batch_reasons += findings.batch
        failures += findings.failures
        warnings = findings.warnings
    if own.rows().size > spec.ingestion.quarantine_budget * delivered.num_rows:
        batch_reasons.append(BUDGET_EXCEEDED)
    return Judgement(own, tuple(batch_reasons), warnings, tuple(failures))


def _shape_reasons(spec: ModelSpec, delivered: pa.Table) -> list[str]:
    columns = [name for name in delivered.column_names if name not in ADDED]
    if not columns:
        return [EMPTY_FILE]
    return [
        *([NO_ROWS] if not delivered.num_rows else []),
        *(f"{MISSING_COLUMN}:{name}" for name in spec.columns if name not in columns),
        *(f"{EXTRA_COLUMN}:{name}" for name in columns if name not in spec.columns),
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


def _frame(columns: pa.Table) -> pd.DataFrame:
    """The typed columns for Great Expectations: integers stay integers where there are nulls."""
    with_nulls = {name for name in columns.column_names if columns[name].null_count}
    frame = columns.to_pandas(integer_object_nulls=True)
    for field in columns.schema:
        if pa.types.is_integer(field.type) and field.name in with_nulls:
            frame[field.name] = frame[field.name].astype("Int64")
    return frame


def _duplicate_failure(duplicates: Rows) -> list[Failure]:
    if not duplicates.size:
        return []
    examples = tuple(f"row {position + 1}" for position in duplicates[:EXAMPLES])
    return [Failure(DUPLICATE_ROW, "quarantine_row", int(duplicates.size), examples)]


def _misfit_failures(spec: ModelSpec, delivered: pa.Table, misfits: Mapping[str, Rows]) -> list[Failure]:
    return [
        Failure(
            casting.reason(spec.columns[column].type, column),
            "quarantine_row",
            int(rows.size),
            tuple(repr(value) for value in delivered[column].take(pa.array(rows[:EXAMPLES])).to_pylist()),
        )
        for column, rows in misfits.items()
    ]
