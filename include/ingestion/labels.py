"""Labels on their way in: they arrive later than the rows they belong to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.ingestion import batch, expectations
from include.ingestion.bad_file import BadFile, position
from include.ingestion.delivery import Delivery
from include.ingestion.rows import POSITION, Cast, RowReasons, are_among, ascending, cast, error_reason, notations
from include.ingestion.verdict import BatchVerdict, RowVerdicts, ignored, renamed, sort_out
from include.lakehouse.decisions import Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import (
    ARRIVED_AT,
    LABELS,
    PARTITION,
    QUARANTINE_LABELS,
    RAW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    TIMESTAMP,
    key_types,
)
from include.lakehouse.selection import within

log = logging.getLogger(__name__)

Flags = npt.NDArray[np.bool_]
"""One a row."""

_OUTCOMES = {Outcome.ACCEPT_BATCH: Outcome.ACCEPT_LABELS, Outcome.REJECT_BATCH: Outcome.REJECT_LABELS}


@dataclass(frozen=True)
class LabelsVerdict(BatchVerdict):
    """What becomes of a labels delivery."""

    unlabelled: int = 0
    """Rows that are neither used nor in quarantine: they say that there is no label."""


@dataclass(frozen=True)
class LabelCounts:
    """Where the rows of a labels delivery are."""

    rows: int
    accepted: int
    quarantined: int
    reasons: dict[str, int]
    """Quarantined rows by reason; a row can have several."""
    unlabelled: int = 0
    """Rows without a value, where that says that there is none (``deliveries.null_labels``)."""

    @classmethod
    def of(cls, verdict: LabelsVerdict) -> LabelCounts:
        accepted = verdict.rows - verdict.quarantined - verdict.unlabelled
        return cls(verdict.rows, accepted, verdict.quarantined, verdict.reasons, verdict.unlabelled)

    def describe(self) -> str:
        without = f" + {self.unlabelled} unlabelled" if self.unlabelled else ""
        lines = [f"{self.rows} rows = {self.accepted} accepted + {self.quarantined} quarantined{without}"]
        return "\n".join([*lines, *(f"  {reason}  {count}" for reason, count in self.reasons.items())])


def load(run: Run, delivery: Delivery) -> LabelsVerdict:
    """Replace the delivery's partition of ``labels_`` and ``quarantine_labels_``.

    A label is used if its key and target can be read, no other row contradicts it and it keeps the rules under
    ``labels`` in expectations.yaml; of rows that say the same the first is used. ``ingestion.quarantine_budget`` and
    ``ingestion.row_count_band`` hold for labels as they do for batches. Where the partition's batch is there, a label
    whose key no row of it has is in quarantine, too. Where they are rejected as a whole all rows are in quarantine, and
    ``labels_`` is what it was; where they cannot be read, or there are none (``deliveries.no_rows``), both are. With
    ``deliveries.null_labels: unlabelled`` a row without a value is in neither: what was its label before is replaced
    with the partition.

    Raises:
        DeliveryError: the delivery is incomplete.
    """
    spec, lake, partition = run.spec, run.lake, run.partition
    try:
        delivered = delivery.read()
        _check_columns(delivery, delivered)
    except BadFile as bad:
        return _of_labels(BatchVerdict.unreadable(bad))
    of_batch = _rows_by_file(run) if spec.generated_key else []
    if not delivered.num_rows and not of_batch and spec.deliveries.no_rows == "accept":
        return LabelsVerdict(Outcome.NO_NEW_ROWS, 0, 0, {}, (), ())
    kinds = {**key_types(spec), spec.target: pa.float64()}
    typed = cast(delivered, kinds, notations(spec))
    reasons = RowReasons()
    for column, flags in typed.errors.items():
        reasons.add(error_reason(kinds[column], column), np.flatnonzero(flags))
    missing = {column: _missing(typed, column) for column in kinds}
    null = missing[spec.target] & (spec.deliveries.null_labels == "unlabelled")
    for column in kinds:
        rows = missing[column] & ~null if column == spec.target else missing[column]
        reasons.add(Reason.NULL.about(column), np.flatnonzero(rows))
    _add_repeated(reasons, spec, typed.columns, null)
    _add_unknown(reasons, run, typed.columns)
    for file, flag in delivery.flags:
        flagged = pc.and_(pc.equal(delivered[SOURCE_FILE], file), pc.equal(delivered[ROW_NUMBER], flag.row))
        reasons.add(flag.reason, np.flatnonzero(flagged))
    why = [*_check_rules(spec, typed, reasons, null), *_unlike_others(run, delivered.num_rows, int(null.sum()))]
    why += _unlike_batch(run, delivered, of_batch) if spec.generated_key else []
    unusable = reasons.rows()
    if unusable.size > spec.ingestion.quarantine_budget * delivered.num_rows:
        why.append(Reason.QUARANTINE_BUDGET_EXCEEDED.value)
    unlabelled = np.flatnonzero(null)
    unlabelled = unlabelled[~are_among(unlabelled, unusable)]
    verdicts = RowVerdicts(delivered.num_rows, reasons, tuple(why), (), (), renamed(spec), ignored(delivery.ignored))
    verdict = _of_labels(verdicts.summary(delivery.folder), 0 if why else unlabelled.size)
    if why:
        _quarantine(run, delivered, _with_reasons(why, delivered.num_rows, reasons))
        return verdict
    left_out = ascending(unusable, unlabelled)
    used = typed.columns.take(pa.array(np.flatnonzero(~are_among(np.arange(delivered.num_rows), left_out))))
    added = {
        ARRIVED_AT: pa.scalar(run.labels_available_at(), TIMESTAMP),
        PARTITION: pa.scalar(partition.key),
    }
    for name, value in added.items():
        used = used.append_column(name, pa.repeat(value, used.num_rows))
    lake.replace(run.table(LABELS), used, {PARTITION: partition.key})
    _quarantine(run, delivered, reasons)
    log.info("%s, labels of %s: %s", spec.name, partition, LabelCounts.of(verdict).describe())
    return verdict


def _of_labels(verdict: BatchVerdict, unlabelled: int = 0) -> LabelsVerdict:
    named = {item.name: getattr(verdict, item.name) for item in fields(verdict)}
    return LabelsVerdict(**named | {"outcome": _OUTCOMES.get(verdict.outcome, verdict.outcome)}, unlabelled=unlabelled)


def _check_rules(spec: ModelSpec, labels: Cast, reasons: RowReasons, null: Flags) -> list[str]:
    """Add the rows that break a rule; those that repeat others, or say that there is no label, are not asked about.

    Returns:
        The reasons of broken rules that reject the whole.
    """
    rules = expectations.load_for_labels(spec)
    if not rules or not labels.columns.num_rows:
        return []
    from include.ingestion import suite  # Great Expectations takes seconds to import

    errors = {column: np.flatnonzero(flags) for column, flags in labels.errors.items()}
    not_asked = np.union1d(reasons.rows_of(Reason.DUPLICATE_ROW), np.flatnonzero(null))
    frame = suite.frame(labels.columns).drop(index=pd.Index(not_asked))
    outcomes = suite.check(spec, rules, frame, cast_errors=errors)
    found, rejecting, _ = sort_out(outcomes)
    reasons.add_all(found)
    for failure in (outcome.failure for outcome in outcomes if outcome.failure):
        log.info("%s: %d, e.g. %s", failure.reason, failure.count, "; ".join(failure.examples))
    return rejecting


def _unlike_others(run: Run, delivered: int, null: int) -> list[str]:
    """What is unusual about the number of labels: of those that have a value, as `labels_` has them of other days."""
    rows = delivered - null
    if not rows:
        return [Reason.NO_LABELS.value if delivered else Reason.NO_ROWS.value]
    learned, band = run.spec.ingestion.row_count_band, batch.row_count_band(run, LABELS, LABELS)
    if not learned or not band or band[0] <= rows <= band[1]:
        return []
    log.warning("%d labels, usual are %g to %g", rows, *band)
    return [Reason.ROW_COUNT_OFF_BAND.value] if learned.severity == "reject_batch" else []


def _rows_by_file(run: Run) -> list[int]:
    """How many rows each file of the batch has, in the order of their names."""
    raw = run.lake.read_if_exists(run.table(RAW), where=within(run.partition), columns=[SOURCE_FILE])
    return [] if raw is None else _counted(raw)


def _counted(rows: pa.Table) -> list[int]:
    counts = rows.group_by(SOURCE_FILE).aggregate([([], "count_all")]).sort_by(SOURCE_FILE)
    found: list[int] = counts["count_all"].to_pylist()
    return found


def _unlike_batch(run: Run, delivered: pa.Table, rows: list[int]) -> list[str]:
    """Whether there are as many labels as rows, where a label is known by its place alone: else it is of another row.

    Where there are as many files, in each of them.

    Raises:
        DataError: there are no rows.
    """
    if not rows:
        raise DataError(
            "there are no rows that these labels could be told by",
            where=f"{run.spec.name}, labels of {run.partition}",
            fix=f"Once {run.spec.name}.ingest_batch has rows of {run.partition}, clear this task",
        )
    labels = _counted(delivered)
    if sum(labels) == sum(rows) and (labels == rows or len(labels) != len(rows)):
        return []
    log.warning("labels in each file: %s; rows in each file of the batch: %s", labels, rows)
    return [Reason.LABELS_UNLIKE_ROWS.value]


def _with_reasons(why: Sequence[str], rows: int, reasons: RowReasons) -> RowReasons:
    """Of every row, those of the whole before its own."""
    every = RowReasons()
    for reason in why:
        every.add(reason, np.arange(rows))
    every.add_all(reasons)
    return every


def _quarantine(run: Run, delivered: pa.Table, reasons: RowReasons) -> None:
    rows = delivered.take(pa.array(reasons.rows())).append_column(REASONS, reasons.column())
    key = run.partition.key
    rows = rows.append_column(PARTITION, pa.repeat(pa.scalar(key), rows.num_rows))
    run.lake.replace(run.table(QUARANTINE_LABELS), rows, {PARTITION: key})


def _check_columns(delivery: Delivery, delivered: pa.Table) -> None:
    added = (SOURCE_FILE, ROW_NUMBER, delivery.generated_key)
    columns, wanted = [name for name in delivered.column_names if name not in added], delivery.sources
    missing = [source for name, source in wanted.items() if name not in columns]
    further = [position(n) for n, name in enumerate(columns) if name not in wanted]
    if missing or further:
        raise BadFile(
            Reason.MISSING_COLUMN if missing else Reason.EXTRA_COLUMN,
            f"the labels have other columns: missing {missing}, not expected {further}",
            where=delivery.folder,
            fix="Have the sender deliver them again with " + " and ".join(wanted.values()),
        )


def _missing(typed: Cast, column: str) -> npt.NDArray[np.bool_]:
    """Of each row whether it has no value: one that is there and cannot be read is none of these."""
    missing: npt.NDArray[np.bool_] = pc.is_null(typed.columns[column]).to_numpy()
    if column in typed.errors:
        missing = missing & ~typed.errors[column].to_numpy(zero_copy_only=False)
    return missing


def _add_repeated(reasons: RowReasons, spec: ModelSpec, labels: pa.Table, null: Flags) -> None:
    """Add the rows that repeat an earlier label, and all rows of a key whose labels differ: no label is another one."""
    keys = list(spec.entity.keys)
    said = null | labels[spec.target].is_valid().to_numpy()
    for key in keys:  # without nulls integers stay exact
        said &= labels[key].is_valid().to_numpy()
    placed = labels.append_column(POSITION, pa.array(np.arange(labels.num_rows)))
    complete = placed.filter(pa.array(said)).to_pandas()
    contradicts = complete.groupby(keys)[spec.target].transform("nunique", dropna=False).gt(1)
    reasons.add(Reason.DUPLICATE_ROW, complete[POSITION][complete.duplicated([*keys, spec.target])])
    reasons.add(Reason.DUPLICATE_KEY.about(",".join(keys)), complete[POSITION][contradicts])


def _add_unknown(reasons: RowReasons, run: Run, labels: pa.Table) -> None:
    """Add the rows whose key no delivered row of the partition has, be that accepted or in quarantine.

    Labels that come before their batch are not asked.
    """
    kinds = key_types(run.spec)
    keys = list(kinds)
    raw = run.lake.read_if_exists(run.table(RAW), where=within(run.partition), columns=keys)
    if raw is None or not raw.num_rows:
        return
    delivered = cast(raw, kinds, notations(run.spec)).columns.drop_null()
    complete = labels.select(keys).append_column(POSITION, pa.array(np.arange(labels.num_rows))).drop_null()
    unknown = complete.join(delivered.group_by(keys).aggregate([]), keys, join_type="left anti")
    reasons.add(Reason.UNKNOWN_KEY.about(",".join(keys)), unknown[POSITION].to_numpy())
