"""The section of a page for each kind of decision: `SECTIONS`; one that has none there is told in general."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from include.core.partition import Partition
from include.core.text import shown
from include.evaluation import metrics
from include.ingestion.verdict import EFFECTS, headers, renamed
from include.lakehouse import windows
from include.lakehouse.comparisons import Finding
from include.lakehouse.decisions import Decision, Kind, Outcome, Reason, canonical_json
from include.lakehouse.run import Run
from include.lakehouse.schemas import METRICS, PARTITION, QUARANTINE, SKEW
from include.lakehouse.selection import within
from include.lakehouse.windows import ALL, SOURCE, WindowMetrics
from include.monitoring import faults, probation, report
from include.monitoring.policy import Verdict
from include.pages.section import Row, Section, Table, Tone
from include.registry import release
from include.registry.checks.check import shown as number_shown

EARLIER = 14
"""So many earlier partitions are listed beside one at most."""

TONES: Mapping[Outcome, Tone] = {
    **dict.fromkeys((Outcome.ACCEPT_BATCH, Outcome.ACCEPT_LABELS), "good"),
    **dict.fromkeys((Outcome.PASSED, Outcome.APPROVED, Outcome.PROMOTED), "good"),
    **dict.fromkeys((Outcome.ACCEPT_AND_QUARANTINE, Outcome.RECORD_DRIFT, Outcome.REQUEST_RETRAINING), "mixed"),
    **dict.fromkeys((Outcome.REJECT_BATCH, Outcome.REJECT_LABELS), "bad"),
    **dict.fromkeys((Outcome.FAILED, Outcome.REJECTED, Outcome.REFUSED), "bad"),
    Outcome.DRIFTED: "mixed",
    Outcome.WITHDRAWN: "mixed",
    Outcome.ALERT_ROOT_CAUSE: "bad",
}
"""How good news an outcome is; none where it is neither."""


def of(run: Run, decision: Decision, again: Decision | None) -> Section:
    """The section of a decision.

    Args:
        again: the last later one of another run on the same subject.
    """
    made = SECTIONS.get(decision.kind, _any)(run, decision)
    if again is None:
        return made
    word = "the same was decided" if again.outcome == decision.outcome else f"decided was {_words(again.outcome)}"
    return replace(made, sentences=[*made.sentences, f"Since then {word} by another run: {again.run_id}."])


def _batch(run: Run, decision: Decision) -> Section:
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
            Row((*_reason(code), count, f"{count / rows:.2%}"))
            for code, count in sorted(verdict["reasons"].items(), key=lambda item: -item[1])
        ],
        "A row can have several reasons." if sum(verdict["reasons"].values()) > quarantined else "",
    )
    problems = verdict["problems"] or [_words(reason) for reason in verdict["batch_reasons"]]
    ignored = ", ".join(verdict.get("ignored_columns", ()))
    return _section(
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
            Table("Warnings", ("Reason", "Column"), [Row(_reason(code)) for code in verdict["warnings"]]),
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


def _reprocessing(run: Run, decision: Decision) -> Section:
    found = decision.inputs["reprocessing"]
    waiting, back = found["waiting"], found["taken_back"]
    return _section(
        decision,
        f"{back:,} of {waiting:,} quarantined rows taken back"
        if back
        else f"None of {waiting:,} quarantined rows passes",
        sentences=[f"The batch stays rejected: {_words(reason)}." for reason in found["batch_reasons"]],
        facts=[("In quarantine before", waiting), ("Taken back", back), ("In quarantine now", waiting - back)],
        tables=[
            Table(
                "Rows that stay, by reason",
                ("Reason", "Column", "Rows"),
                [Row((*_reason(code), count)) for code, count in found["still_waiting"].items()],
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


def _skew(run: Run, decision: Decision) -> Section:
    found, threshold = decision.inputs["skew"], decision.inputs["max_skew"]
    share = found["mismatches"] / found["compared"] if found["compared"] else 0.0
    differing = sorted(found["differing"].items(), key=lambda item: (-item[1], item[0]))
    return _section(
        decision,
        f"Training-serving skew {share:.2%}, of {threshold:.2%} allowed",
        sentences=[
            "Values read online, beside a point-in-time join of the table as of the same moment. "
            "Values older than the time to live are not compared."
        ],
        facts=[
            ("Keys sampled", found["keys"]),
            ("Values compared", found["compared"]),
            ("Differ", found["mismatches"]),
            ("Keys with expired values", found["expired"]),
        ],
        tables=[
            Table(
                "Features that differ", ("Feature", "Values"), [Row((name, count), "bad") for name, count in differing]
            ),
            _earlier_skew(run, Partition.parse(decision.subject, run.spec.grain)),
        ],
    )


def _earlier_skew(run: Run, partition: Partition) -> Table:
    table = run.table(SKEW)
    keys = [key for key in run.lake.rows_by_partition(table) if key < partition.key][-EARLIER:]
    read = run.lake.read(table, where=[(PARTITION, "in", keys)]).to_pylist() if keys else []
    by_key = {row[PARTITION]: row for row in read}  # what is of the whole stands on each of its features
    return Table(
        "Partitions before",
        ("Partition", "Keys", "Skew", "Expired"),
        [
            Row(
                (key, row["keys"], f"{row['skew']:.2%}", row["expired"]),
                "bad" if row["skew"] > row["threshold"] else "",
            )
            for key, row in sorted(by_key.items(), reverse=True)
        ],
    )


def _window(run: Run, decision: Decision) -> Section:
    spec, metric = run.spec, metrics.of(run.spec)
    told = decision.inputs["window"]
    verdict = TypeAdapter(Verdict).validate_python(decision.inputs["verdict"])
    sentences = [verdict.explain(metric)]
    if not told or not told["rows"]:
        return _section(decision, _headline(decision), sentences=sentences)
    window = WindowMetrics(**told | {"partition": Partition.parse(told["partition"], spec.grain)})
    sentences += [f"{said[:1].upper()}{said[1:]}." for said in faults.told(window)]
    value = "unknown" if window.metric is None else metric.shown(window.metric)
    threshold = metric.shown(spec.monitoring.performance.threshold)
    measured = windows.read(spec, run.lake, window.partition, window.partition)
    as_it_was = canonical_json(measured) == canonical_json([window])
    if not as_it_was:
        sentences.append("The window was measured again since; its distributions are on the page of that run.")
    return _section(
        decision,
        _headline(decision),
        sentences=sentences,
        facts=[
            (metric.title, value),
            ("at least" if metric.higher_is_better else "at most", threshold),
            ("Version", window.version),
            ("Rows scored", window.rows),
            *([("Window", window.span)] if window.span else []),
            ("with labels", window.labelled_rows),
            ("Drifted features", len(window.drifted_features)),
        ],
        tables=[
            Table(
                "The policy's rules",
                ("", "Seen", "Rule"),
                [Row(line) for line in report.rules(spec, window, verdict, decision.decided_at)],
            ),
            *([_distributions(run, window.partition)] if as_it_was else []),
            _earlier_windows(run, window.partition),
        ],
    )


def _distributions(run: Run, partition: Partition) -> Table:
    """How far each column is from what the version was trained on, the drifted ones first."""
    where = [*within(partition), ("source", "=", SOURCE), ("slice", "!=", ALL)]
    by_column: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in run.lake.read(run.table(METRICS), where=where).to_pylist():
        if told := re.fullmatch(r"(?:(\w+)_)?(distance|adjusted_p|drifted)", row["metric"]):
            by_column.setdefault((row["slice"], told[1] or ""), {})[told[2]] = row
    found = []
    for (column, kind), of in by_column.items():
        distance, p, drifted = of["distance"], of["adjusted_p"], bool(of["drifted"]["value"])
        named = f"{column}, {kind}" if kind else column
        cells = (named, distance["value"], distance["threshold"], p["value"], p["threshold"])
        row = Row((*cells, "drifted"), "mixed") if drifted else Row((*cells, ""))
        found.append((not drifted, -distance["value"], row))
    head = ("Column", "Distance", "at least", "Adjusted p", "below", "")
    rows = [row for *_, row in sorted(found, key=lambda item: item[:2])]
    return Table("Distributions, beside those of the training set", head, rows, "Drifted: both limits are passed.")


def _earlier_windows(run: Run, partition: Partition) -> Table:
    metric = metrics.of(run.spec)
    earlier = windows.read(run.spec, run.lake, partition.shift(-EARLIER), partition.shift(-1))
    return Table(
        "Windows before, as they are measured now",
        ("Window", "Version", metric.title, "Rows", "With labels", "Drifted"),
        [
            Row(
                (
                    item.partition.key,
                    item.version,
                    "unknown" if item.metric is None else metric.shown(item.metric),
                    item.rows,
                    item.labelled_rows,
                    ", ".join(item.drifted_features),
                )
            )
            for item in reversed(earlier)
        ],
    )


def _gate(run: Run, decision: Decision) -> Section:
    checks = decision.inputs["checks"]
    failed = sum(not check["passed"] for check in checks)
    said = f"{len(checks)} checks passed" if not failed else f"{failed} of {len(checks)} checks failed"
    compared, shown_metric = decision.inputs["compared_with"], metrics.of(run.spec).shown
    return _section(
        decision,
        f"{decision.subject.capitalize()}: {said}",
        sentences=[f"Compared with version {compared}, in production then."] if compared else [],
        facts=_comparison(run, next((found for check in checks if (found := check.get("comparison"))), None)),
        tables=[
            Table(
                "Checks",
                ("Check", "Observed", "Threshold", "", "What was found"),
                [
                    Row(
                        (
                            _words(check["name"]),
                            number_shown(check.get("value")),
                            number_shown(check.get("threshold")),
                            "passed" if check["passed"] else "failed",
                            check["detail"],
                        ),
                        "" if check["passed"] else "bad",
                    )
                    for check in sorted(checks, key=lambda check: check["passed"])
                ],
            ),
            _release(decision),
            Table(
                "Slices, beside the version in production",
                ("Slice", "Rows", "Gain", "surely above", "surely below", ""),
                [
                    Row(
                        (
                            found["slice"],
                            found["rows"],
                            *(shown_metric(found[name]) for name in ("gain", "lower_bound", "upper_bound")),
                            _words(found["outcome"]),
                        ),
                        "bad" if found["outcome"] == Finding.SURELY_WORSE else "",
                    )
                    for check in checks
                    for found in check.get("slices", ())
                ],
                "All bounds hold together, with the confidence of the check.",
            ),
            Table(
                "What each check asks",
                ("Check", "It asks"),
                [Row((_words(check["name"]), check["asks"])) for check in checks if check.get("asks")],
            ),
        ],
    )


def _release(decision: Decision) -> Table:
    """What was judged: an approval is of these parts."""
    found = release.read(decision)
    rows = (
        [Row((release.TITLES[part], digest[: release.SHORT])) for part, digest in found.digests.items()]
        if found
        else []
    )
    title = f"Release {found.digest[: release.SHORT]}" if found else ""
    return Table(title, ("Part", "SHA-256"), rows, "Any part that is another one at promotion voids the approval.")


def _probation(run: Run, decision: Decision) -> Section:
    verdict = probation.restored(decision)
    shown, found, promised = metrics.of(run.spec).shown, verdict.delivered, verdict.promised
    facts: list[tuple[str, Any]] = [("Labelled windows", f"{len(verdict.windows)} of {verdict.of}")]
    if found:
        facts += [
            ("Gain delivered", shown(found.gain)),
            ("between", f"{shown(found.lower_bound)} and {shown(found.upper_bound)}"),
            ("Rows", found.rows),
        ]
    if promised:
        least = shown(promised["lower_bound"])
        facts += [("Gain promised", shown(promised["gain"])), ("surely more than", least)]
    said = probation.told(run.spec, verdict)
    return _section(decision, said[0].upper() + said[1:], sentences=[_PROBATION], facts=facts)


_PROBATION = (
    "What the version served, beside what the one before it predicts for the same rows; rows that either was trained "
    "on are left out."
)


def _comparison(run: Run, found: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """The gain on the version in production, and how sure it had to be; a gate that compared nothing has none."""
    if found is None:
        return []
    shown = metrics.of(run.spec).shown
    return [
        ("Gain", shown(found["gain"])),
        ("surely more than", shown(found["lower_bound"])),
        ("Seen in 80 % of cases", shown(found["detectable_gain"])),
        ("Least that matters", shown(found["minimum_gain"])),
        (f"Candidate since version {found['production_version']}", found["number"]),
        ("Its alpha", f"{found['alpha']:.2g}"),
    ]


def _drift_check(run: Run, decision: Decision) -> Section:
    tested = sorted(decision.inputs["features"], key=lambda item: (not item["drifted"], -item["distance"]))
    return _section(
        decision,
        _headline(decision),
        sentences=[
            "Partitions after the first of the version's training set, beside that first one."
            if tested
            else "The version was trained on the first partition alone: none came after it to compare."
        ],
        tables=[
            Table(
                "Features",
                ("Feature", "Distance", "Adjusted p", ""),
                [
                    Row(
                        (item["column"], item["distance"], item["adjusted_p"], "drifted" if item["drifted"] else ""),
                        "mixed" if item["drifted"] else "",
                    )
                    for item in tested
                ],
            )
        ],
    )


def _training(run: Run, decision: Decision) -> Section:
    told, metric = decision.inputs["measured"], metrics.of(run.spec)
    name = decision.inputs["candidate"].capitalize()
    return _section(
        decision,
        f"{name}: {metric.title} {metric.shown(told[run.spec.metric])} on the test rows",
        facts=[("Seconds to fit", told["fit_seconds"]), ("Model in MLflow", decision.inputs["model_id"])],
        tables=[_measured(run, told)],
    )


def _measured(run: Run, told: Mapping[str, Any], note: str = "") -> Table:
    """The metrics of a candidate, the model's own first."""
    figures = [
        Row((metric.title, *(float(told[name]) if name in told else None for name in (key, f"drifted_{key}"))))
        for key, metric in {run.spec.metric: metrics.of(run.spec), **metrics.METRICS}.items()
        if key in told
    ]
    return Table("Measured", ("Metric", "All test rows", "Those of drifted windows"), figures, note)


def _registration(run: Run, decision: Decision) -> Section:
    told = decision.inputs["tags"]
    facts = {
        "Algorithm": told["algorithm"],
        "Candidate": told["candidate"],
        "Knows what was there on": told["known_at"],
    }
    note = "Of rows that it was not fitted on; promote_model says whether they are good enough."
    return _section(
        decision,
        _headline(decision),
        facts=[*facts.items(), ("Features", len(json.loads(told["features"])))],
        tables=[_measured(run, told, note)],
    )


_WHY_IT_SCORED: Mapping[str, str] = {
    Reason.IN_PRODUCTION: "It is the version in production.",
    Reason.IN_PRODUCTION_THEN: "It was the last one in production that knew nothing of what came after.",
    Reason.SERVED_BEFORE: "The partition was served by it before: what was served stays served.",
    Reason.BEFORE_FIRST_PROMOTION: "None was in production that knew nothing of what came after: it is the one of now.",
    Reason.ASKED_FOR: "The version in production now was asked for.",
}


def _scoring(run: Run, decision: Decision) -> Section:
    if decision.outcome != Outcome.SCORE_ROWS:
        return _any(run, decision)
    told = decision.inputs
    beside = f"{told['beside']:,} predictions stand beside those that were served, and are not served."
    return _section(
        decision,
        f"{decision.subject}: {told['rows']:,} rows scored by version {told['version']}",
        sentences=[
            *(_WHY_IT_SCORED[reason] for reason in decision.reasons if reason in _WHY_IT_SCORED),
            *([beside] if told["beside"] else []),
        ],
        facts=[("Rows", told["rows"]), ("Version", told["version"]), ("In production", told["in_production"])],
    )


def _any(run: Run, decision: Decision) -> Section:
    plain = {name: value for name, value in decision.inputs.items() if isinstance(value, (str, int, float))}
    return _section(
        decision,
        _headline(decision),
        sentences=[", ".join(map(_words, decision.reasons)).capitalize() + "."] if decision.reasons else [],
        facts=[(_words(name).capitalize(), value) for name, value in {**plain, "by": decision.actor}.items()],
    )


SECTIONS: Mapping[str, Callable[[Run, Decision], Section]] = {
    Kind.BATCH_VERDICT: _batch,
    Kind.LABELS_VERDICT: _batch,
    Kind.QUARANTINE_REPROCESSING: _reprocessing,
    Kind.SKEW_GATE: _skew,
    Kind.STAGING_GATE: _gate,
    Kind.PRODUCTION_GATE: _gate,
    Kind.DRIFT_CHECK: _drift_check,
    Kind.TRAINING: _training,
    Kind.REGISTRATION: _registration,
    Kind.SCORING: _scoring,
    Kind.PROBATION: _probation,
    Kind.RETRAINING_POLICY: _window,
}


def _section(decision: Decision, headline: str, **parts: Any) -> Section:
    tone = TONES.get(Outcome(decision.outcome), "")
    return Section(_words(decision.kind).capitalize(), headline, tone, **parts)


def _headline(decision: Decision) -> str:
    return f"{decision.subject.capitalize()}: {_words(decision.outcome)}"


def _reason(code: str) -> tuple[str, str]:
    """A reason in words, and the column that it is about."""
    what, _, column = code.partition(":")
    return _words(what), column


def _words(code: str) -> str:
    return code.replace("_", " ")
