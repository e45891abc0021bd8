"""Validate a delivery that fits into memory, in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion import casting, expectations
from include.ingestion.validation import rules
from include.ingestion.validation.merge import BatchContext, delivered_columns, merge, shape_reasons
from include.ingestion.validation.result import NO_ROWS, Rows, ValidationResult
from include.ingestion.validation.scan import BatchScan
from include.lakehouse.schemas import typed_columns


def validate(
    spec: ModelSpec, delivered: pa.Table, context: BatchContext, docs_page: Path | None = None
) -> ValidationResult:
    """Validate every row of a delivery; `ChunkedValidator` does the same for one of any size.

    Of rows that are the same in every column the first is kept. Rows that share a key and differ contradict
    each other: a unique expectation quarantines all of them. A cell that does not fit its type is a reason of
    its own, and no further rule checks it. A batch with a larger share of quarantined rows than
    ``ingestion.quarantine_budget`` is rejected.

    Args:
        delivered: as ``Delivery.read`` returns it.
        docs_page: where to put the Data Docs of the validation, none by default.

    Raises:
        ConfigError: expectations.yaml is wrong.
    """
    known = expectations.load(spec)
    cast = casting.cast(delivered, typed_columns(spec))
    scan = BatchScan(spec)
    scan.update(delivered, cast)
    duplicates = _duplicates(delivered)
    shape = shape_reasons(spec, delivered.column_names, scan, context)
    outcomes = []
    if not shape:
        kept = rules.frame(cast.columns).drop(index=pd.Index(duplicates))
        outcomes = rules.check(spec, known, kept, cast_errors=scan.cast_errors, hidden=scan.hidden, docs_page=docs_page)
    return merge(
        spec,
        scan,
        outcomes,
        context,
        duplicates=duplicates,
        shape=shape,
        keys=lambda: cast.columns.select(list(spec.entity.keys)),
    )


def _duplicates(delivered: pa.Table) -> Rows:
    """Positions of the rows that repeat an earlier one in every delivered column."""
    columns = delivered_columns(delivered.column_names)
    if not columns:
        return NO_ROWS
    # Numbers that stand for the texts: as exact, and far smaller.
    texts = {name: delivered[name].combine_chunks() for name in columns}
    codes = {name: text.dictionary_encode(null_encoding="encode").indices for name, text in texts.items()}
    return np.flatnonzero(pd.DataFrame({name: code.to_numpy() for name, code in codes.items()}).duplicated())
