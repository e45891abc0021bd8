"""A window as the retraining policy saw it."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter

from include.core.partition import Partition
from include.evaluation import metrics
from include.lakehouse import windows
from include.lakehouse.decisions import Decision, canonical_json
from include.lakehouse.run import Run
from include.lakehouse.schemas import METRICS
from include.lakehouse.selection import within
from include.lakehouse.windows import ALL, SOURCE, WindowMetrics
from include.monitoring import faults, report
from include.monitoring.policy import Verdict
from include.pages.section import Row, Section, Table
from include.pages.sections import plain


def window(run: Run, decision: Decision) -> Section:
    spec, metric = run.spec, metrics.of(run.spec)
    told = decision.inputs["window"]
    verdict = TypeAdapter(Verdict).validate_python(decision.inputs["verdict"])
    sentences = [verdict.explain(metric)]
    if not told or not told["rows"]:
        return plain.section(decision, plain.headline(decision), sentences=sentences)
    window = WindowMetrics(**told | {"partition": Partition.parse(told["partition"], spec.grain)})
    sentences += [f"{said[:1].upper()}{said[1:]}." for said in faults.told(window)]
    value = "unknown" if window.metric is None else metric.shown(window.metric)
    threshold = metric.shown(spec.monitoring.performance.threshold)
    measured = windows.read(spec, run.lake, window.partition, window.partition)
    as_it_was = canonical_json(measured) == canonical_json([window])
    if not as_it_was:
        sentences.append("The window was measured again since; its distributions are on the page of that run.")
    return plain.section(
        decision,
        plain.headline(decision),
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
    earlier = windows.read(run.spec, run.lake, partition.shift(-plain.EARLIER), partition.shift(-1))
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
