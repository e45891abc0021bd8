"""What a candidate's gain on the version in production says, and how that is told.

The same test rows judge every candidate, so that of many that are no better one looks better by luck. Therefore the
candidates are numbered (`lakehouse.comparisons`), and each may err with the chance of its number
(`evaluation.spending`): all of them together, beside one version in production, with ``1 - confidence``.
"""

from __future__ import annotations

from collections.abc import Mapping

from include.evaluation import spending
from include.evaluation.compare import Gain
from include.lakehouse.comparisons import Comparison, Finding
from include.registry.evidence import Evidence, Rows

POWER = 0.8
"""The chance with which a gain that is called detectable is seen."""
_FINDINGS: Mapping[Finding, str] = {
    Finding.BETTER: "better",
    Finding.NOT_SURELY_BETTER: "not surely better",
    Finding.SURELY_TOO_LITTLE: "better, but surely by less than the minimum_gain",
    Finding.SURELY_WORSE: "surely worse",
}


def compare(evidence: Evidence, rows: Rows, confidence: float, minimum_gain: float) -> Comparison:
    """Compare a candidate with the version in production, by its share of alpha.

    It is better where the gain is surely above 0. A gain that is surely below the least that matters is not worth the
    change, however sure it is. The lower bound is not asked to be above that least: then a gain of just that much
    would hardly ever be seen.

    Args:
        confidence: that no candidate is found better that is not, of all that are compared with that version.
        minimum_gain: the least that matters, in the metric's unit.
    """
    total, gain = 1 - confidence, evidence.gain_on_production(rows)
    alpha = spending.alpha_of(evidence.number, total)
    bound = gain.at_least(alpha)
    outcome = Finding.BETTER if bound > 0 else Finding.NOT_SURELY_BETTER
    if outcome is Finding.BETTER and gain.at_most(total) < minimum_gain:
        outcome = Finding.SURELY_TOO_LITTLE
    return Comparison(
        candidate=evidence.candidate.version,
        production_version=evidence.in_production.version,
        number=evidence.number,
        metric=evidence.spec.metric,
        rows=len(rows),
        gain=gain.value,
        lower_bound=bound,
        upper_bound=gain.at_most(alpha),
        alpha=alpha,
        minimum_gain=minimum_gain,
        detectable_gain=gain.detectable(alpha, POWER),
        outcome=outcome,
    )


def of_slice(evidence: Evidence, title: str, rows: int, gain: Gain, alpha: float, margin: float) -> Comparison:
    """What is found of a slice. It decides on no promotion by itself, and spends no alpha of the candidates."""
    bounds = gain.at_least(alpha), gain.at_most(alpha)
    outcome = Finding.BETTER if bounds[0] > 0 else Finding.NOT_SURELY_BETTER
    return Comparison(
        candidate=evidence.candidate.version,
        production_version=evidence.in_production.version,
        number=evidence.number,
        metric=evidence.spec.metric,
        rows=rows,
        gain=gain.value,
        lower_bound=bounds[0],
        upper_bound=bounds[1],
        alpha=alpha,
        minimum_gain=-margin,
        detectable_gain=gain.detectable(alpha, POWER),
        outcome=Finding.SURELY_WORSE if bounds[1] < -margin else outcome,
        slice=title,
    )


def told(evidence: Evidence, rows: Rows, found: Comparison) -> str:
    """What was found, by which alpha and why, and what can be done; for the person who approves."""
    metric, version = evidence.metric, found.production_version
    shown = metric.shown
    gained, bound = (("-" if value < 0 else "+") + shown(abs(value)) for value in (found.gain, found.lower_bound))
    return (
        f"On {rows.title} ({found.rows:,} rows) its {metric.title} gains {gained} on version {version}, surely "
        f"{bound} or more: {_FINDINGS[found.outcome]}. By alpha {found.alpha:.2g}, as candidate {found.number} since "
        f"version {version} was promoted on {evidence.promoted_at:%Y-%m-%d}; a gain of {shown(found.detectable_gain)} "
        f"is seen in 80 % of cases.{_advice(evidence, found)}"
    )


def _advice(evidence: Evidence, found: Comparison) -> str:
    """Where more rows could show what these do not."""
    least, shown = found.minimum_gain, evidence.metric.shown
    if found.gain < 0:
        return " It is worse on these rows: leave production as it is."
    sought = least or max(found.gain, 0.0)
    if found.outcome is not Finding.NOT_SURELY_BETTER or not sought:
        return ""
    if found.detectable_gain <= least:
        return f" One of {shown(least)}, the least that matters, would have been seen: leave production as it is."
    rows = float(f"{found.rows * (found.detectable_gain / sought) ** 2:.2g}")
    return (
        f" One of {shown(sought)} takes about {rows:,.0f} test rows: wait for more labels, or lower the check's "
        "confidence in model.yaml."
    )
