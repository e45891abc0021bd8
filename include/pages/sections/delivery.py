"""What was delivered: verdicts on batches and labels, and the quarantine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from include.core.text import shown
from include.ingestion.verdict import EFFECTS, headers, renamed
from include.lakehouse.decisions import Decision, Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import QUARANTINE
from include.pages.section import Row, Section, Table, Tone
from include.pages.sections import plain


def batch(run: Run, decision: Decision) -> Section:
    verdict = decision.inputs["verdict"]
    rows, quarantined, unlabelled = verdict["rows"], verdict["quarantined"], verdict.get("unlabelled", 0)
    accepted = f"{rows - quarantined - unlabelled:,} of {rows:,} rows accepted"
    headline = {
        Outcome.ACCEPT_BATCH: f"{accepted}: every row passes",
        Outcome.ACCEPT_AND_QUARANTINE: f"{accepted}, {quarantined:,} in quarantine",
        Outcome.REJECT_BATCH: f"The batch is rejected: none of its {rows:,} rows is accepted",
        Outcome.NO_NEW_ROWS: "The delivery has no rows: nothing follows from it",
        Outcome.ACCEPT_LABELS: f"{accepted}: every label {'that has a value ' if unlabelled else ''}can be used",
        Outcome.REJECT_LABELS: f"The labels are rejected: none of these {rows:,} is used, those that were there stay",
    }
    reasons = Table(
        "Rows by reason",
        ("Reason", "Column", "Rows", "Share"),
        [
            Row((*plain.reason(code), count, f"{count / rows:.2%}"))
            for code, count in sorted(verdict["reasons"].items(), key=lambda item: -item[1])
        ],
        "A row can have several reasons." if sum(verdict["reasons"].values()) > quarantined else "",
    )
    problems = verdict["problems"] or [plain.words(reason) for reason in verdict["batch_reasons"]]
    ignored = ", ".join(verdict.get("ignored_columns", ()))
    return plain.section(
        decision,
        headline[Outcome(decision.outcome)],
        sentences=problems,
        facts=[
            ("Rows in", rows),
            ("Accepted", rows - quarantined - unlabelled),
            *([("Without a label", unlabelled)] if unlabelled else []),
            ("In quarantine", quarantined),
            *([("Ignored columns", ignored)] if ignored else []),
        ],
        tables=[
            reasons,
            _headers(verdict.get("sources", {})),
            Table("Warnings", ("Reason", "Column"), [Row(plain.reason(code)) for code in verdict["warnings"]]),
            _expectations(decision.inputs.get("expectations", [])),
        ],
    )


def _headers(sources: Mapping[str, str]) -> Table:
    """What the files call the columns that reasons are about."""
    return Table("In the files", ("Column", "Header"), [Row((name, shown(header))) for name, header in sources.items()])


def _expectations(told: Sequence[Mapping[str, Any]]) -> Table:
    """Every expectation, the broken ones first."""
    rows = []
    for item in sorted(told, key=lambda item: item["held"]):
        found = item["observed"] if item["held"] else "; ".join(dict.fromkeys(item["examples"]))
        effect = "holds" if item["held"] else EFFECTS[item["severity"]]
        tone: Tone = "" if item["held"] else "bad" if item["severity"] == "reject_batch" else "mixed"
        rows.append(Row((item["expected"], effect, item["rows"] or None, found), tone))
    return Table("Expectations, in Great Expectations' words", ("Expected", "", "Rows that fail", "Found"), rows)


def reprocessing(run: Run, decision: Decision) -> Section:
    found = decision.inputs["reprocessing"]
    waiting, back = found["waiting"], found["taken_back"]
    return plain.section(
        decision,
        f"{back:,} of {waiting:,} quarantined rows taken back"
        if back
        else f"None of {waiting:,} quarantined rows passes",
        sentences=[f"The batch stays rejected: {plain.words(reason)}." for reason in found["batch_reasons"]],
        facts=[("In quarantine before", waiting), ("Taken back", back), ("In quarantine now", waiting - back)],
        tables=[
            Table(
                "Rows that stay, by reason",
                ("Reason", "Column", "Rows"),
                [Row((*plain.reason(code), count)) for code, count in found["still_waiting"].items()],
            ),
            _headers(headers(renamed(run.spec), found["still_waiting"])),
        ],
    )


def quarantine(run: Run) -> Section:
    """The partitions that have rows in quarantine now: what `reprocess_quarantine` can be asked for."""
    found = {key: rows for key, rows in run.lake.rows_by_partition(run.table(QUARANTINE)).items() if rows}
    rows = [Row((key, count)) for key, count in sorted(found.items(), reverse=True)]
    headline = f"In quarantine now: {sum(found.values()):,} rows of {len(found):,} partitions"
    return Section("Quarantine", headline, tables=[Table("By partition", ("Partition", "Rows"), rows)])
