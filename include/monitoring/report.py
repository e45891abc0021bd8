"""What a task's log says of a window and of a decision: small tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.lakehouse.windows import WindowMetrics
from include.monitoring.policy import Verdict
from include.monitoring.window import Measured


def of_window(spec: ModelSpec, window: WindowMetrics, measured: Measured) -> str:
    """Values and thresholds of a window: counts, metrics, and each column whose distance is large enough to count."""
    if window.version is None:
        return f"Window {window.partition}: nothing was scored"
    rule, own = spec.monitoring.drift, metrics.of(spec)
    lines = [("", "value", "threshold")]
    lines += [(name.replace("_", " "), f"{getattr(window, name)}", "") for name in ("labelled_rows", "in_training")]
    lines.append((own.title, _value(spec, window.metric), _threshold(spec)))
    lines += [(name, f"{value:,.4f}", "") for name, value in sorted(window.values.items()) if name != spec.metric]
    columns = [("", "distance", "at least", "adjusted p", "below", "")]
    tested = [*measured.features, *measured.inputs]
    for item in sorted(tested, key=lambda item: -item.distance):
        effect = rule.tests[item.kind.value].min_effect
        if item.drifted or item.distance >= effect:
            name = item.column if item in measured.features else f"{item.column}, {item.kind}"
            columns.append(
                (
                    name,
                    f"{item.distance:.4f}",
                    f"{effect:g}",
                    f"{item.adjusted_p:.2g}",
                    f"{rule.alpha:g}",
                    "drifted" if item.drifted else "",
                )
            )
    head = f"Window {window.partition}: {window.rows} rows scored by version {window.version}"
    tail = f"{sum(item.drifted for item in tested)} of {len(tested)} distributions drifted"
    return "\n".join([head, aligned(lines), tail, *([aligned(columns)] if len(columns) > 1 else [])])


def of_verdict(spec: ModelSpec, window: WindowMetrics | None, verdict: Verdict, at: datetime) -> str:
    """What was decided and why, and what each rule saw beside what it allows."""
    head = f"{verdict.outcome} because: {verdict.explain(metrics.of(spec))}"
    if window is None or not window.rows:
        return head
    return f"{head}\n{aligned([('', 'seen', 'rule'), *rules(spec, window, verdict, at)])}"


def rules(spec: ModelSpec, window: WindowMetrics, verdict: Verdict, at: datetime) -> list[tuple[str, str, str]]:
    """What the policy asked, what it saw, and what it allows."""
    rules, last = spec.monitoring.retraining, verdict.last_request
    return [
        (metrics.of(spec).title, _value(spec, window.metric), _threshold(spec)),
        ("drifted features", ", ".join(window.drifted_features) or "none", ""),
        (
            f"degraded of the last {rules.of_windows} windows",
            f"{verdict.windows_below} of {verdict.windows_labelled}",
            f"at least {rules.below_windows}",
        ),
        (
            "days since the last request",
            "" if last is None else f"{(at - last).total_seconds() / 86400:g}",
            f"at least {rules.cooldown_days}",
        ),
        (
            f"requests in {rules.budget_days} days",
            str(verdict.requests_in_budget),
            f"fewer than {rules.budget_requests}",
        ),
    ]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _value(spec: ModelSpec, value: float | None) -> str:
    return "unknown" if value is None else metrics.of(spec).shown(value)


def _threshold(spec: ModelSpec) -> str:
    own = metrics.of(spec)
    return f"{'at least' if own.higher_is_better else 'at most'} {own.shown(spec.monitoring.performance.threshold)}"
