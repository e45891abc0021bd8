"""One batch on its way in: validate it, then load its good rows, or reject all of them.

Rows in = accepted + quarantined, always: a row of ``raw_`` is either in ``clean_`` or, with its reasons, in
``quarantine_``. Each function replaces its partitions, so a retry or a backfill leaves the same rows. A delivery of
any size goes through in bounded memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.ingestion import casting, layout, summary
from include.ingestion.delivery import Delivery
from include.ingestion.explain import explain
from include.ingestion.files import BadFile
from include.ingestion.row_reasons import RowReasons
from include.ingestion.sql import query
from include.lakehouse.tables import Lakehouse

if TYPE_CHECKING:
    from include.ingestion.findings import RuleResult
    from include.ingestion.intake import Intake
    from include.ingestion.judgement import Judgement

log = logging.getLogger(__name__)

Outcome = Literal["accept_batch", "accept_and_quarantine", "reject_batch"]

_REJECTED = """
    SELECT raw.*, list_concat(
        $reasons, list_filter(coalesce(quarantine.reasons, []), lambda own: NOT list_contains($reasons, own))
    ) AS reasons
    FROM raw LEFT JOIN quarantine USING (source_file, row_number)
    ORDER BY source_file, row_number
"""


@dataclass(frozen=True)
class BatchVerdict:
    """What becomes of a batch."""

    outcome: Outcome
    rows: int
    quarantined: int
    """Rows that are not accepted: all of them where the batch is rejected."""
    reasons: dict[str, int]
    """Rows by their own reason; a row can have several."""
    batch_reasons: tuple[str, ...]
    """Why the whole batch is rejected: what ``reject`` is to be given."""
    warnings: tuple[str, ...]
    problems: tuple[str, ...] = ()
    """For each reason of the batch: where, what happened, what to do."""
    results: tuple[RuleResult, ...] = ()
    """What became of each rule of expectations.yaml."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BatchVerdict) and self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        return self.outcome, self.rows, self.quarantined, self.reasons, self.batch_reasons, self.warnings


@dataclass(frozen=True)
class BatchCounts:
    """Where the rows of a batch are: rows = accepted + quarantined."""

    rows: int
    accepted: int
    quarantined: int


def validate(spec: ModelSpec, lake: Lakehouse, delivery: Delivery, docs_folder: Path | None = None) -> BatchVerdict:
    """Read a delivery, judge every row, write ``raw_``, ``quarantine_`` and ``profiles_``, and log a summary.

    A file that cannot be read rejects the batch: nothing of it is in the tables then, and it stays where it is.

    Args:
        docs_folder: where to put the Data Docs page of the validation, none by default.

    Raises:
        DeliveryError: the delivery is incomplete.
        ConfigError: expectations.yaml is wrong.
    """
    # Great Expectations takes seconds to import, and load and reject do without it.
    from include.ingestion.intake import Intake

    with Intake(spec, lake, delivery) as intake:
        try:
            intake.write_raw()
        except BadFile as bad:
            return _refuse(spec, lake, delivery, bad)
        judgement = intake.judge(docs_folder)
        _write_quarantine(spec, lake, intake, judgement)
    lake.replace_partition(
        spec.table("profiles"), judgement.profile.table(delivery.day, judgement.hidden), {"batch_date": delivery.day}
    )
    verdict = _verdict(delivery, intake.count, judgement)
    log.info(
        "%s",
        summary.describe(
            spec.name,
            delivery.day,
            verdict.outcome,
            rows=verdict.rows,
            quarantined=verdict.quarantined,
            batch_reasons=[f"{reason}: {explain(reason)}" for reason in verdict.batch_reasons],
            failures=judgement.failures,
        ),
    )
    return verdict


def load(spec: ModelSpec, lake: Lakehouse, day: date) -> BatchCounts:
    """Write ``clean_``: the raw rows of the day that are not quarantined, typed.

    Raises:
        DataError: the day was never validated, or rows in = accepted + quarantined does not hold.
    """
    where = {"batch_date": day}
    rows = lake.count(spec.table("raw"), where=where)
    quarantined = lake.count(spec.table("quarantine"), where=where)
    lake.replace_partition_by_stream(
        spec.table("clean"), layout.clean_schema(spec), lambda: _accepted(spec, lake, day), where
    )
    counts = BatchCounts(rows, lake.count(spec.table("clean"), where=where), quarantined)
    if not counts.rows or counts.rows != counts.accepted + counts.quarantined:
        raise DataError(
            f"{counts.rows} rows in = {counts.accepted} accepted + {counts.quarantined} quarantined: not so",
            where=f"{spec.name}, batch of {day}",
            fix="Validate the delivery again",
        )
    return counts


def reject(spec: ModelSpec, lake: Lakehouse, day: date, reasons: Sequence[str]) -> BatchCounts:
    """Quarantine every raw row of the day, each with these reasons before its own, and empty ``clean_``.

    Args:
        reasons: why the batch is rejected: ``BatchVerdict.batch_reasons``, or what a person says.
    """
    partition = {"batch_date": day}
    if not _all_have(spec, lake, day, reasons):
        layers = ("raw", "quarantine")
        tables = {layer: lake.read(spec.table(layer), where=[("batch_date", "=", day)]) for layer in layers}
        rejected = query(_REJECTED, tables, {"reasons": list(reasons)})
        lake.replace_partition(spec.table("quarantine"), rejected, partition)
    lake.replace_partition(spec.table("clean"), layout.clean_schema(spec).empty_table(), partition)
    rows = lake.count(spec.table("raw"), where=partition)
    log.info("%s, batch of %s: rejected, %d rows in quarantine", spec.name, day, rows)
    return BatchCounts(rows, accepted=0, quarantined=rows)


def _verdict(delivery: Delivery, rows: int, judgement: Judgement) -> BatchVerdict:
    rejected = bool(judgement.batch_reasons)
    quarantined = rows if rejected else int(judgement.own.rows().size)
    outcome: Outcome = "accept_and_quarantine" if quarantined else "accept_batch"
    return BatchVerdict(
        outcome="reject_batch" if rejected else outcome,
        rows=rows,
        quarantined=quarantined,
        reasons=judgement.own.counts(),
        batch_reasons=judgement.batch_reasons,
        warnings=judgement.warnings,
        problems=tuple(f"{delivery.folder}: {reason}: {explain(reason)}" for reason in judgement.batch_reasons),
        results=judgement.results,
    )


def _refuse(spec: ModelSpec, lake: Lakehouse, delivery: Delivery, bad: BadFile) -> BatchVerdict:
    """The verdict on a file that cannot be read: nothing of it, nor of an earlier delivery, is in the tables."""
    partition = {"batch_date": delivery.day}
    lake.replace_partition(spec.table("raw"), layout.raw_schema(spec).empty_table(), partition)
    lake.replace_partition(spec.table("quarantine"), layout.quarantine_schema(spec).empty_table(), partition)
    log.error("%s, batch of %s: reject_batch, %s. %s", spec.name, delivery.day, bad.reason, bad)
    return BatchVerdict("reject_batch", 0, 0, {}, (bad.reason,), (), (str(bad),))


def _write_quarantine(spec: ModelSpec, lake: Lakehouse, intake: Intake, judgement: Judgement) -> None:
    own, batch_reasons = judgement.own, judgement.batch_reasons
    listed = own.rows()

    def rows() -> Iterator[pa.RecordBatch]:
        if not listed.size and not batch_reasons:
            return
        for laid_out, positions in intake.rows(None if batch_reasons else listed):
            place = np.searchsorted(listed, positions)
            chosen = np.arange(laid_out.num_rows)
            if not batch_reasons:
                chosen = np.flatnonzero(listed[np.clip(place, 0, listed.size - 1)] == positions)
            if not chosen.size:
                continue
            reasons = RowReasons()
            for reason in batch_reasons:
                reasons.add(reason, np.arange(chosen.size))
            reasons.add_all(own.of(positions[chosen]))
            kept = laid_out.take(pa.array(chosen)).append_column(layout.REASONS, reasons.column())
            yield from kept.to_batches()

    lake.replace_partition_by_stream(
        spec.table("quarantine"), layout.quarantine_schema(spec), rows, {"batch_date": intake.day}
    )


def _accepted(spec: ModelSpec, lake: Lakehouse, day: date) -> Iterator[pa.RecordBatch]:
    where = {"batch_date": day}
    quarantined = _row_numbers(
        lake.stream(spec.table("quarantine"), where=where, columns=["source_file", "row_number"])
    )
    for batch in lake.reader(spec.table("raw"), where=where, encoded=True):
        keep = np.ones(batch.num_rows, dtype=bool)
        files = batch.column("source_file").dictionary_encode()
        numbers = batch.column("row_number").to_numpy()
        for place, file in enumerate(files.dictionary.to_pylist()):
            if file in quarantined:
                listed = quarantined[file]
                found = listed[np.clip(np.searchsorted(listed, numbers), 0, listed.size - 1)] == numbers
                keep &= ~(found & (files.indices.to_numpy() == place))
        accepted = pa.Table.from_batches([batch]).filter(pa.array(keep))
        cast = casting.cast(accepted, casting.types(spec))
        if cast.misfits:
            raise DataError(
                f"accepted rows hold values that do not fit {', '.join(cast.misfits)}",
                where=f"{spec.name}, batch of {day}",
                fix="Validate again",
            )
        yield from layout.clean(cast.columns, day).cast(layout.clean_schema(spec)).to_batches()


def _row_numbers(batches: Iterator[pa.RecordBatch]) -> dict[str, np.ndarray]:
    """Row numbers by source file."""
    found: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        files = batch.column("source_file").dictionary_encode()
        for place, file in enumerate(files.dictionary.to_pylist()):
            of_file = pc.equal(files.indices, place)
            found.setdefault(file, []).append(batch.column("row_number").filter(of_file).to_numpy())
    return {file: np.sort(np.concatenate(parts)) for file, parts in found.items()}


def _all_have(spec: ModelSpec, lake: Lakehouse, day: date, reasons: Sequence[str]) -> bool:
    """Whether every raw row of the day is in quarantine already, with these reasons first."""
    where = {"batch_date": day}
    if lake.count(spec.table("raw"), where=where) != lake.count(spec.table("quarantine"), where=where):
        return False
    for batch in lake.stream(spec.table("quarantine"), where=where, columns=["reasons"]):
        column = batch.column("reasons")
        for number, reason in enumerate(reasons):
            if pc.any(pc.less_equal(pc.list_value_length(column), number)).as_py():
                return False
            if not pc.all(pc.equal(pc.list_element(column, number), reason)).as_py():
                return False
    return True
