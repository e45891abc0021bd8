"""The steps of ingestion: a delivery is validated, then loaded or rejected; quarantined rows may come back later.

Every decision of the stage is recorded here: when what was decided is in the tables.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import NoReturn

import pyarrow as pa

from include.core.errors import DataError, FlightlineError, RejectedError, UsageError
from include.ingestion import batch, expectations, labels, verdict
from include.ingestion.bad_file import BadFile
from include.ingestion.batch import BatchCounts, Waiting
from include.ingestion.delivery import Delivery
from include.ingestion.labels import LabelCounts
from include.ingestion.verdict import BatchVerdict, Reprocessing
from include.lakehouse import decisions, predictions
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, FEATURES, LABELS, PARTITION, PREDICTIONS, PROFILES, QUARANTINE, RAW
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse

# Great Expectations takes seconds to import: the steps that do without it do not wait for it.

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Traces:
    """What follows from a batch while it is accepted, in rows of its partition."""

    accepted: int
    features: int
    predictions: int
    """That were served, and are not withdrawn."""

    @classmethod
    def of(cls, run: Run) -> Traces:
        accepted, features = (
            run.lake.count(run.table(table), where=within(run.partition)) for table in (CLEAN, FEATURES)
        )
        served = predictions.served_rows(run.spec, run.lake, run.partition)
        return cls(accepted, features, served.num_rows if served is not None else 0)

    def __bool__(self) -> bool:
        return bool(self.accepted or self.features or self.predictions)


class BatchRejected(FlightlineError):
    """Nothing of a delivery goes on: a person has to ask the sender."""


def validate_batch(run: Run) -> BatchVerdict:
    """Read the partition's delivery and validate every row.

    Writes ``raw_``, ``quarantine_``, ``profiles_`` and a metric for each expectation, logs a summary and records the
    verdict, with what became of each expectation. A file that cannot be read rejects the batch: nothing of it, nor of
    an earlier delivery, is in these tables then, and it stays where it is.

    Raises:
        DeliveryError: the delivery is incomplete.
        ConfigError: expectations.yaml is wrong.
    """
    from include.ingestion import suite
    from include.ingestion.raw_loader import RawLoader

    spec, lake, partition = run.spec, run.lake, run.partition
    suite.build(spec, expectations.load(spec))  # a wrong rule is found before anything is replaced
    delivery = Delivery.expected(run.settings, spec, "batches", partition)
    told: list[suite.Told] = []
    with RawLoader(run, delivery) as loader:
        try:
            loader.write_raw()
        except BadFile as bad:
            batch.clear(run)
            log.error("%s, batch of %s: reject_batch, %s. %s", spec.name, partition, bad.reason, bad)
            summary = BatchVerdict.unreadable(bad)
        else:
            findings = loader.validate()
            verdicts = verdict.of(spec, findings, batch.history(run, findings.keys))
            summary = verdicts.summary(delivery.folder)
            batch.write_quarantine(run, loader.rows, verdicts)
            profile = findings.scan.profile.table(partition, findings.scan.hidden)
            lake.replace(run.table(PROFILES), profile, {PARTITION: partition.key})
            batch.write_metrics(run, findings.outcomes, summary.rows)
            told = suite.tell(spec, findings.outcomes, findings.scan.hidden)
            log.info("%s", verdicts.describe(spec.name, partition))
    run.decide(
        Kind.BATCH_VERDICT,
        summary.outcome,
        [*summary.batch_reasons, *summary.reasons],
        inputs={"verdict": summary, "expectations": told, "files": batch.files(run)},
        follows=[spec.ingestion],
    )
    return summary


def preview_batch(run: Run, delivery: Delivery) -> tuple[BatchVerdict, str]:
    """What ``validate_batch`` would say of a delivery, as a verdict and in words; nothing is written.

    The batches that are there already count, as they do then: for the usual number of rows, and for repeated keys.

    Raises:
        ConfigError: expectations.yaml is wrong.
    """
    from include.ingestion import suite
    from include.ingestion.raw_loader import RawLoader

    suite.build(run.spec, expectations.load(run.spec))
    with (
        TemporaryDirectory(prefix="flightline-") as scratch,
        RawLoader(replace(run, lake=Lakehouse(scratch)), delivery) as loader,
    ):
        try:
            loader.write_raw()
        except BadFile as bad:
            return BatchVerdict.unreadable(bad), f"{bad.reason}: {bad}"
        findings = loader.validate()
        verdicts = verdict.of(run.spec, findings, batch.history(run, findings.keys))
        return verdicts.summary(delivery.folder), verdicts.describe(run.spec.name, run.partition)


def load_batch(run: Run) -> BatchCounts:
    """Write ``clean_``: the raw rows of the partition that are not quarantined, typed.

    Where rows are named by their place, and others are there than when their labels came, ``labels_`` is emptied.

    Raises:
        DataError: the partition was never validated, or rows in = accepted + quarantined does not hold; or two
            validations at once have left the rows of one delivery and the verdict on another.
    """
    _require_one_validation(run)
    counts = batch.load(run)
    _require_one_validation(run)
    _withdraw_labels_of_other_rows(run)
    return counts


def _withdraw_labels_of_other_rows(run: Run) -> None:
    """Empty the partition of ``labels_`` where a label is known by its place, and its row is another one now."""
    table = run.table(LABELS)
    there = run.lake.count(table, where=within(run.partition)) if run.spec.generated_key else 0
    if not there:
        return
    kind, key = Kind.LABELS_VERDICT, run.partition.key
    loaded = decisions.history(run.lake, run.spec.name, kind, since=run.partition.end, subject=key)
    of = [item.inputs["rows"] for item in loaded if item.outcome == Outcome.ACCEPT_LABELS]
    if of and of[-1] == batch.content(run):
        return
    run.lake.replace(table, table.schema.empty_table(), {PARTITION: key})
    run.decide(Kind.LABELS_WITHDRAWAL, Outcome.WITHDRAWN, [Reason.LABELS_UNLIKE_ROWS], inputs={"labels": there})
    log.warning(
        "%s, batch of %s: its rows are other ones now, so %d labels are taken out. Backfill ingest_labels of it, once "
        "the labels of these rows are delivered",
        *(run.spec.name, run.partition, there),
    )


def _require_one_validation(run: Run) -> None:
    """`raw_` and `quarantine_` are two commits: what is there has to be what one validation has left."""
    partition = run.partition
    verdicts = decisions.history(
        run.lake, run.spec.name, Kind.BATCH_VERDICT, since=partition.end, subject=partition.key
    )
    left = [item.inputs["files"] for item in verdicts if "files" in item.inputs]
    if left and batch.files(run) not in left:
        raise DataError(
            "what is in raw_ and quarantine_ is not what one validation has left: another run came in between",
            where=f"{run.spec.name}, batch of {run.partition}",
            fix="Clear validate_batch of the delivery that is to count",
        )


def reject_batch(run: Run, reasons: Sequence[str]) -> BatchCounts:
    """Quarantine every raw row of the partition, each with these reasons before its own, and empty ``clean_``.

    Args:
        reasons: codes of `decisions.Reason`: ``BatchVerdict.batch_reasons``, or what a person says.

    Raises:
        UsageError: a reason is no such code, or there is none.
    """
    unknown = [reason for reason in reasons if reason.partition(":")[0] not in set(Reason)]
    if unknown or not reasons:
        what = f"{unknown[0]!r} is no reason code" if unknown else "a batch is not rejected without a reason"
        raise UsageError(what, where=run.spec.name, fix="The codes are those of Reason in lakehouse/decisions.py")
    accepted = run.lake.count(run.table(CLEAN), where=within(run.partition))
    counts = batch.reject(run, reasons)
    verdicts = decisions.history(run.lake, run.spec.name, Kind.BATCH_VERDICT, run_id=run.run_id)
    if not any(item.subject == run.partition.key for item in verdicts):  # no verdict on a delivery of this run
        _record_withdrawal(run, reasons, accepted, counts)
    return counts


def find_traces(run: Run) -> Traces:
    """What there is of the partition's batch, were it accepted before: nothing, or what has to be withdrawn."""
    return Traces.of(run)


def preview_withdrawal(run: Run) -> Traces:
    """What `withdraw_batch`, and the steps after it, would withdraw; nothing is written.

    Raises:
        UsageError: there is nothing of the partition.
    """
    run.require_batch(FEATURES, PREDICTIONS)
    return Traces.of(run)


def withdraw_batch(run: Run, reason: str = "") -> BatchCounts:
    """Take an accepted batch out: all its rows to quarantine, none left in ``clean_``. Of one that is out, nothing.

    The steps ``withdraw_…`` of the later stages, and ``registry.name_versions``, do the rest, in that order.

    Args:
        reason: why, in words; kept in the decisions.

    Raises:
        UsageError: the batch is accepted, and no reason is given.
    """
    accepted = run.lake.count(run.table(CLEAN), where=within(run.partition))
    if not accepted:
        rows = run.lake.count(run.table(RAW), where=within(run.partition))
        return BatchCounts(rows, accepted=0, quarantined=rows)
    if not reason.strip():
        fix = "Say why: it is kept in the decisions"
        raise UsageError("no batch is withdrawn without a reason", where=f"{run.spec.name}, {run.partition}", fix=fix)
    counts = batch.reject(run, [Reason.WITHDRAWN])
    _record_withdrawal(run, [Reason.WITHDRAWN], accepted, counts, comment=reason.strip())
    return counts


def alert(run: Run) -> NoReturn:
    """Fail with why the batch is rejected, so that the run turns red where people look.

    Raises:
        BatchRejected: always.
    """
    decided = decisions.on_batch(run.lake, run.spec.name, run.partition)
    reasons = decided.inputs["verdict"]["batch_reasons"] if decided and "verdict" in decided.inputs else []
    raise BatchRejected(
        f"the batch is rejected: {', '.join(reasons)}",
        where=f"{run.spec.name}, batch of {run.partition}",
        fix="The tab Report says more. Have it delivered again and backfill it, or mend the rule and run "
        "reprocess_quarantine",
    )


def load_labels(run: Run) -> LabelCounts:
    """Write ``labels_`` and, with their reasons, the delivered labels that cannot be used: ``quarantine_labels_``.

    Raises:
        DeliveryError: the delivery is incomplete.
        RejectedError: none of the labels is used, as the decision says: those that were there stay.
    """
    found = labels.load(run, Delivery.expected(run.settings, run.spec, "labels", run.partition))
    run.decide(
        Kind.LABELS_VERDICT,
        found.outcome,
        [*found.batch_reasons, *found.reasons],
        at=run.labels_available_at(),
        inputs={"verdict": found, **({"rows": batch.content(run)} if run.spec.generated_key else {})},
        follows=[run.spec.ingestion],
    )
    if found.outcome is Outcome.REJECT_LABELS:
        raise RejectedError(
            f"the labels are rejected, and those that were there stay: {'. '.join(found.problems)}",
            where=f"{run.spec.name}, labels of {run.partition}",
            fix="The tab Report says more. What comes again is loaded by a backfill of its partition",
        )
    return LabelCounts.of(found)


def list_quarantine(run: Run) -> dict[str, int]:
    """Log the partitions that have rows in quarantine; how many each, oldest first."""
    found = run.lake.rows_by_partition(run.table(QUARANTINE))
    waiting = {key: rows for key, rows in sorted(found.items()) if rows}
    lines = "".join(f"\n  {key}  {rows} rows" for key, rows in waiting.items())
    log.info("%s, in quarantine: %d rows of %d partitions%s", run.spec.name, sum(waiting.values()), len(waiting), lines)
    return waiting


def preview_quarantine(run: Run) -> Reprocessing:
    """What ``take_rows_back`` would do; nothing is written.

    Raises:
        DataError: no batch of that partition was ever validated.
    """
    return _validate_again(run)[0]


def take_rows_back(run: Run) -> BatchCounts:
    """Move the rows that pass now from ``quarantine_`` to ``clean_``, and record it.

    Rows that were accepted stay accepted, also where a rule became stricter. Safe to repeat: a row that has left
    quarantine is not in it, and ``clean_`` is made anew from what is not.

    Raises:
        DataError: no batch of that partition was ever validated.
    """
    spec, lake, partition = run.spec, run.lake, run.partition
    found, staying = _validate_again(run)
    lake.replace(run.table(QUARANTINE), staying, {PARTITION: partition.key})
    if found.batch_reasons and found.waiting == lake.count(run.table(RAW), where=within(partition)):
        counts = batch.reject(run, found.batch_reasons)
    else:
        counts = batch.load(run)
        log.info(
            "%s, batch of %s: %d of %d rows taken back; %d rows = %d accepted + %d quarantined",
            *(spec.name, partition, found.taken_back, found.waiting, counts.rows, counts.accepted, counts.quarantined),
        )
    run.decide(
        Kind.QUARANTINE_REPROCESSING,
        Outcome.TAKE_ROWS_BACK if found.taken_back else Outcome.LEAVE_ROWS,
        [*found.batch_reasons, *found.still_waiting],
        actor=Actor.PERSON,
        inputs={"reprocessing": found},
        follows=[spec.ingestion],
    )
    return counts


def _record_withdrawal(run: Run, reasons: Sequence[str], accepted: int, counts: BatchCounts, **said: str) -> None:
    inputs = {"accepted_before": accepted, "in_quarantine": counts.quarantined, **said}
    run.decide(Kind.BATCH_WITHDRAWAL, Outcome.WITHDRAWN, reasons, actor=Actor.PERSON, inputs=inputs)


def _validate_again(run: Run) -> tuple[Reprocessing, pa.Table]:
    """Validate the raw rows by today's rules: what is found, and the rows that stay, as ``quarantine_`` has them."""
    from include.ingestion import validation

    waiting, spec = Waiting.of(run), run.spec
    delivered, shape = waiting.delivered(spec), waiting.shape(spec)
    findings = validation.validate(spec, run.partition, delivered, flags=waiting.flags, shape=shape)
    return waiting.staying(verdict.of(spec, findings, batch.history(run, findings.keys)))
