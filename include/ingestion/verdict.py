"""The verdict on a batch: accept it, accept it and quarantine rows, or reject it; and the words for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.core.text import shown
from include.ingestion.bad_file import BadFile, position
from include.ingestion.expectations import EXAMPLES, HIDDEN, Failure, RuleOutcome, Severity
from include.ingestion.rows import NO_ROWS, RowReasons, Rows
from include.ingestion.scan import looks_personal, row_numbers
from include.lakehouse.decisions import Outcome, Reason

MOST_IGNORED = 50
"""Ignored columns that are named."""

if TYPE_CHECKING:
    from include.ingestion.validation import Findings

EFFECTS: dict[Severity, str] = {
    "reject_batch": "rejects the batch",
    "quarantine_row": "quarantined",
    "warn": "warning",
}

_MEANINGS: dict[str, tuple[str, str]] = {
    Reason.EMPTY_FILE: ("the file has no byte", "Have the sender deliver it again"),
    Reason.NO_HEADER: (
        "the file names no column of model.yaml: its header is missing, or another",
        "Have the sender deliver it with a header",
    ),
    Reason.NO_ROWS: (
        "the file has a header and no rows",
        "Have the sender deliver it again. Where that may be, set deliveries.no_rows: accept in model.yaml; rows that "
        "are accepted already are taken out by withdraw_batch alone",
    ),
    Reason.NO_LABELS: ("no label has a value", "Ask the sender whether none is known of the whole partition"),
    Reason.LABELS_UNLIKE_ROWS: (
        "there are not as many labels as rows in the batch, and a label is known by its place alone",
        "Have the sender deliver one label for each row, in the order of the rows; an empty one where there is none",
    ),
    Reason.MISSING_COLUMN: (
        "column {columns} is not delivered",
        "Have the sender add it, or take it out of columns in model.yaml",
    ),
    Reason.EXTRA_COLUMN: (
        "column {columns} of the file is not known",
        "Have the sender leave it out, or add it to columns in model.yaml; raw_ has its name, in extra_columns",
    ),
    Reason.RETYPED_COLUMN: (
        "no value of column {columns} has the type that model.yaml gives it",
        "Have the sender restore the type, or change it in model.yaml",
    ),
    Reason.QUARANTINE_BUDGET_EXCEEDED: (
        "too large a share of the rows fails",
        "See which in the rows by reason; ingestion.quarantine_budget in model.yaml is the limit",
    ),
    Reason.ROW_COUNT_OFF_BAND: (
        "the number of rows is far from that of the last deliveries",
        "Ask the sender; if it is right, widen ingestion.row_count_band in model.yaml and run again",
    ),
    Reason.STALE_ROWS: ("the newest row is too old", "Ask the sender whether this is the right day's delivery"),
    Reason.NOT_EVALUATED: (
        "a rule on {columns} cannot be evaluated on this batch",
        "Look into the Data Docs, then mend the rule in expectations.yaml",
    ),
}
_RULE_FAILS = (
    "the rule of that name in expectations.yaml fails",
    "Look into the Data Docs; mend the data, or the rule",
)


@dataclass(frozen=True)
class BatchHistory:
    """What the verdict on a batch takes from elsewhere than its rows."""

    complete: datetime
    """The moment at which the rows of the partition are complete."""
    row_count_band: tuple[float, float] | None = None
    """Least and greatest number of rows that are usual; None while too few batches are there to tell."""
    known_keys: Rows = field(default_factory=lambda: NO_ROWS)
    """Positions of the rows whose key another batch has, where ``ingestion.repeated_key`` quarantines them."""
    accepted: bool = False
    """Whether rows of the partition are accepted already; asked only where a delivery may have no rows."""


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
    """Why the whole batch is rejected: what ``reject_batch`` is to be given."""
    warnings: tuple[str, ...]
    problems: tuple[str, ...] = field(default=(), compare=False)
    """For each reason of the batch: where, what happened, what to do."""
    sources: dict[str, str] = field(default_factory=dict)
    """By column that a reason is about, its name in the files, where that is another."""
    ignored_columns: tuple[str, ...] = ()
    """Further columns of the files, which are not kept, as they can be shown."""

    @classmethod
    def unreadable(cls, bad: BadFile) -> BatchVerdict:
        """The verdict on a delivery that could not be read: nothing of it is anywhere."""
        return cls(Outcome.REJECT_BATCH, 0, 0, {}, (bad.reason,), (), (str(bad),))


@dataclass(frozen=True)
class RowVerdicts:
    """What becomes of each row of a batch, and why."""

    count: int
    rows: RowReasons
    """Rows that are not accepted, each with its own reasons."""
    batch_reasons: tuple[str, ...]
    """Why nothing of the batch is accepted, if so."""
    warnings: tuple[str, ...]
    failures: tuple[Failure, ...]
    sources: Mapping[str, str] = field(default_factory=dict)
    """By column its name in the files, where that is another."""
    ignored_columns: tuple[str, ...] = ()
    """Further columns of the files, which are not kept."""

    def summary(self, folder: str) -> BatchVerdict:
        """The verdict in short.

        Args:
            folder: where the delivery is.
        """
        quarantined = self.count if self.batch_reasons else int(self.rows.rows().size)
        accepted = Outcome.ACCEPT_AND_QUARANTINE if quarantined else Outcome.ACCEPT_BATCH
        accepted = accepted if self.count else Outcome.NO_NEW_ROWS
        return BatchVerdict(
            outcome=Outcome.REJECT_BATCH if self.batch_reasons else accepted,
            rows=self.count,
            quarantined=quarantined,
            reasons=self.rows.counts(),
            batch_reasons=self.batch_reasons,
            warnings=self.warnings,
            problems=tuple(f"{folder}: {reason}: {_explained(reason, self.sources)}" for reason in self.batch_reasons),
            sources=headers(self.sources, self._reasons),
            ignored_columns=self.ignored_columns,
        )

    @property
    def _reasons(self) -> list[str]:
        return [*self.batch_reasons, *self.warnings, *self.rows.counts(), *(item.reason for item in self.failures)]

    def describe(self, model: str, partition: Partition) -> str:
        """What the task log says: a line for the batch, for each reason to reject it, for each rule that it breaks."""
        short = self.summary("")
        counts = f"{short.rows} rows = {short.rows - short.quarantined} accepted + {short.quarantined} quarantined"
        lines = [f"{model}, batch of {partition}: {short.outcome}. {counts}"]
        lines += [f"  batch rejected: {reason}: {_explained(reason, self.sources)}" for reason in self.batch_reasons]
        width = max((len(failure.reason) for failure in self.failures), default=0)
        for failure in self.failures:
            count = f"{failure.count} {'row' if failure.count == 1 else 'rows'} " if failure.count else ""
            example = "e.g. " if failure.count else ""
            effect = f"{count}{EFFECTS[failure.severity]}, {example}{'; '.join(failure.examples)}"
            lines.append(f"  {failure.reason:<{width}}  {effect}")
        lines += [f"  {name} is {shown(source)!r} in the file" for name, source in short.sources.items()]
        if self.ignored_columns:
            lines.append(f"  ignored, and not kept: {', '.join(self.ignored_columns)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Reprocessing:
    """What becomes, or would become, of the quarantined rows of a partition."""

    waiting: int
    """Rows in quarantine before."""
    taken_back: int
    """Rows that pass now."""
    still_waiting: dict[str, int]
    """Rows that stay, by reason."""
    batch_reasons: tuple[str, ...]
    """Why the batch is still rejected as a whole: then nothing is taken back."""


def of(spec: ModelSpec, findings: Findings, history: BatchHistory) -> RowVerdicts:
    """Put together what the rows, the rules and the other batches say of one batch."""
    rows, scan = RowReasons(), findings.scan
    failures = []
    if findings.duplicates.size:
        shown, count = row_numbers(findings.duplicates), int(findings.duplicates.size)
        failures.append(Failure(Reason.DUPLICATE_ROW.value, "quarantine_row", count, shown))
    rows.add(Reason.DUPLICATE_ROW, findings.duplicates)
    for failure, found in scan.cast_failures():
        rows.add(failure.reason, found)
        failures.append(failure)
    for code in dict.fromkeys(flag.reason for _, flag in findings.flags):
        flagged = [(place, flag.where) for place, flag in findings.flags if flag.reason == code]
        rows.add(code, [place for place, _ in flagged])
        shown = tuple(where for _, where in flagged[:EXAMPLES])
        failures.append(Failure(code.value, "quarantine_row", len(flagged), shown))
    by_rules, rejecting, warnings = sort_out(findings.outcomes)
    rows.add_all(by_rules)
    failures += [outcome.failure for outcome in findings.outcomes if outcome.failure]
    for reason, severity, found in _rows_to_look_at(spec, findings, history):
        example = (HIDDEN,) if reason in scan.suspects else row_numbers(found)
        failures.append(Failure(reason, severity, int(found.size), example))
        if severity == "warn":
            warnings.append(reason)
        else:
            rows.add(reason, found)
    batch_reasons = [*findings.shape, *rejecting]
    if batch_reasons == [Reason.NO_ROWS] and spec.deliveries.no_rows == "accept" and not history.accepted:
        batch_reasons = []
    for reason, severity, observed in _unlike_others(spec, findings, history) if not findings.shape else ():
        (warnings if severity == "warn" else batch_reasons).append(reason)
        failures.append(Failure(reason, severity, 0, (observed,)))
    if rows.rows().size > spec.ingestion.quarantine_budget * scan.rows:
        batch_reasons.append(Reason.QUARANTINE_BUDGET_EXCEEDED.value)
    return RowVerdicts(
        scan.rows,
        rows,
        tuple(batch_reasons),
        tuple(warnings),
        tuple(failures),
        renamed(spec),
        ignored(findings.ignored),
    )


def renamed(spec: ModelSpec) -> dict[str, str]:
    """The columns that the files call otherwise than model.yaml does."""
    return {name: source for name, source in spec.sources.items() if name != source}


def headers(sources: Mapping[str, str], reasons: Iterable[str]) -> dict[str, str]:
    """Of the columns that some reason is about, what the files call them, where that is another name."""
    named = {name for reason in reasons for name in reason.partition(":")[2].split(",")}
    return {name: source for name, source in sources.items() if name in named}


def ignored(found: Mapping[str, int]) -> tuple[str, ...]:
    """Columns of a file, with their positions, as they can be shown: none whose name looks like personal data."""
    personal = set(looks_personal(pa.array(list(found), pa.string())).tolist())
    listed = [position(n) if place in personal else shown(name) for place, (name, n) in enumerate(found.items())]
    more = len(listed) - MOST_IGNORED
    return (*listed[:MOST_IGNORED], f"{more} more") if more > 0 else tuple(listed)


def sort_out(outcomes: Sequence[RuleOutcome]) -> tuple[RowReasons, list[str], list[str]]:
    """What the broken rules do: the rows they quarantine, their reasons to reject the batch, their warnings.

    A rule on rows that does not name them rejects the batch: nobody knows which rows are good.
    """
    rows = RowReasons()
    batch: list[str] = []
    warnings: list[str] = []
    for outcome in outcomes:
        if outcome.success:
            continue
        if outcome.rule.severity == "warn":
            warnings.append(outcome.reason)
        elif outcome.rule.severity == "reject_batch" or outcome.rows is None:
            batch.append(outcome.reason)
        else:
            rows.add(outcome.reason, outcome.rows)
    return rows, list(dict.fromkeys(batch)), list(dict.fromkeys(warnings))


def _rows_to_look_at(
    spec: ModelSpec, findings: Findings, history: BatchHistory
) -> Iterator[tuple[str, Severity, Rows]]:
    """Rows that wait for somebody to look at them, by reason."""
    for reason, rows in findings.scan.misdated.items():
        yield reason, "quarantine_row", rows
    for reason, rows in findings.scan.suspects.items():
        yield reason, spec.ingestion.suspected_pii, rows
    if history.known_keys.size:
        yield Reason.KEY_OF_ANOTHER_BATCH.about(",".join(spec.entity.keys)), "quarantine_row", history.known_keys


def _unlike_others(spec: ModelSpec, findings: Findings, history: BatchHistory) -> Iterator[tuple[str, Severity, str]]:
    """What is unusual about the batch as a whole: reason, severity, what was observed."""
    band, learned, rows = history.row_count_band, spec.ingestion.row_count_band, findings.scan.rows
    if band and learned and not band[0] <= rows <= band[1]:
        usual = f"{rows} rows, usual are {math.ceil(band[0])} to {math.floor(band[1])}"
        yield Reason.ROW_COUNT_OFF_BAND.value, learned.severity, usual
    fresh = spec.ingestion.freshness
    if fresh is not None and findings.scan.is_stale(history.complete):
        yield (
            Reason.STALE_ROWS.about(fresh.column),
            fresh.severity,
            f"nothing of the last {fresh.max_age_hours:g} hours",
        )


def _explained(reason: str, sources: Mapping[str, str]) -> str:
    """One line: what happened, which column, what to do."""
    code, _, columns = reason.partition(":")
    what, fix = _MEANINGS.get(code, _RULE_FAILS)
    called = ", ".join(f"{shown(sources[name])!r}" for name in columns.split(",") if name in sources)
    return f"{what.format(columns=f'{columns!r} ({called} in the file)' if called else repr(columns))}. {fix}"
