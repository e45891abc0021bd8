"""What a task's log says of a window and of a decision: small tables of plain text."""

from __future__ import annotations

from datetime import datetime

from include.core.spec import ModelSpec
from include.core.text import aligned
from include.evaluation import drift, metrics
from include.lakehouse.windows import WindowMetrics
from include.monitoring import faults
from include.monitoring.policy import Verdict
from include.monitoring.window import Measured


def of_window(spec: ModelSpec, window: WindowMetrics, measured: Measured) -> str:
    """Values and thresholds of a window: counts, metrics, and each column whose distance is large enough to count."""
    if window.version is None:
        return f"Window {window.partition}: nothing was scored"
    own = metrics.of(spec)
    lines = [("", "value", "threshold")]
    lines += [(name.replace("_", " "), f"{getattr(window, name)}", "") for name in ("labelled_rows", "in_training")]
    lines.append((own.title, _value(spec, window.metric), _threshold(spec)))
    lines.append(("at best, by chance", _value(spec, window.best), ""))
    lines += [(name, f"{value:,.4f}", "") for name, value in sorted(window.values.items()) if name != spec.metric]
    tested = [(item.column, item) for item in measured.features]
    tested += [(f"{item.column}, {item.kind}", item) for item in measured.inputs]
    head = f"Window {window.partition}: {window.rows} rows scored by version {window.version}"
    head += f", of {window.span}" if window.span else ""
    return f"{head}\n{aligned(lines)}\n{drift.described(tested, spec.monitoring.drift)}"


def of_verdict(spec: ModelSpec, window: WindowMetrics | None, verdict: Verdict, at: datetime) -> str:
    """What was decided and why, and what each rule saw beside what it allows."""
    head = f"{verdict.outcome} because: {verdict.explain(metrics.of(spec))}"
    if window is not None and window.faults:
        head += f" Found: {'; '.join(faults.told(window))}."
    if window is None or not window.rows:
        return head
    return f"{head}\n{aligned([('', 'seen', 'rule'), *rules(spec, window, verdict, at)])}"


def rules(spec: ModelSpec, window: WindowMetrics, verdict: Verdict, at: datetime) -> list[tuple[str, str, str]]:
    """What the policy asked, what it saw, and what it allows."""
    rules, last = spec.monitoring.retraining, verdict.last_request
    return [
        (metrics.of(spec).title, _value(spec, window.metric), _threshold(spec)),
        ("at best, by chance", _value(spec, window.best), _threshold(spec)),
        ("drifted features", ", ".join(window.drifted_features) or "none", ""),
        ("upstream faults", ", ".join(fault.column for fault in faults.of_window(window)) or "none", ""),
        ("drifted residuals", {None: "unknown", True: "yes", False: "no"}[window.residuals_drifted], ""),
        (
            f"degraded of the last {rules.of_windows} windows{', which overlap' if window.partitions else ''}",
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


def _value(spec: ModelSpec, value: float | None) -> str:
    return "unknown" if value is None else metrics.of(spec).shown(value)


def _threshold(spec: ModelSpec) -> str:
    own = metrics.of(spec)
    return f"{'at least' if own.higher_is_better else 'at most'} {own.shown(spec.monitoring.performance.threshold)}"
