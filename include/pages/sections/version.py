"""A version outside the gates: trained, registered, checked for drift, on probation, in use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from include.evaluation import metrics
from include.lakehouse.decisions import Decision, Outcome, Reason
from include.lakehouse.run import Run
from include.monitoring import probation
from include.pages.section import Row, Section, Table
from include.pages.sections import plain

_PROBATION = (
    "What the version served, beside what the one before it predicts for the same rows; rows that either was trained "
    "on are left out."
)


_WHY_IT_SCORED: Mapping[str, str] = {
    Reason.IN_PRODUCTION: "It is the version in production.",
    Reason.IN_PRODUCTION_THEN: "It was the last one in production that knew nothing of what came after.",
    Reason.SERVED_BEFORE: "The partition was served by it before: what was served stays served.",
    Reason.BEFORE_FIRST_PROMOTION: "None was in production that knew nothing of what came after: it is the one of now.",
    Reason.ASKED_FOR: "The version in production now was asked for.",
}


def training(run: Run, decision: Decision) -> Section:
    told, metric = decision.inputs["measured"], metrics.of(run.spec)
    name = decision.inputs["candidate"].capitalize()
    return plain.section(
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


def registration(run: Run, decision: Decision) -> Section:
    told = decision.inputs["tags"]
    facts = {
        "Algorithm": told["algorithm"],
        "Candidate": told["candidate"],
        "Knows what was there on": told["known_at"],
    }
    note = "Of rows that it was not fitted on; promote_model says whether they are good enough."
    return plain.section(
        decision,
        plain.headline(decision),
        facts=[*facts.items(), ("Features", len(json.loads(told["features"])))],
        tables=[_measured(run, told, note)],
    )


def drift_check(run: Run, decision: Decision) -> Section:
    tested = sorted(decision.inputs["features"], key=lambda item: (not item["drifted"], -item["distance"]))
    return plain.section(
        decision,
        plain.headline(decision),
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


def probation_of(run: Run, decision: Decision) -> Section:
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
    return plain.section(decision, said[0].upper() + said[1:], sentences=[_PROBATION], facts=facts)


def scoring(run: Run, decision: Decision) -> Section:
    if decision.outcome != Outcome.SCORE_ROWS:
        return plain.general(run, decision)
    told = decision.inputs
    beside = f"{told['beside']:,} predictions stand beside those that were served, and are not served."
    return plain.section(
        decision,
        f"{decision.subject}: {told['rows']:,} rows scored by version {told['version']}",
        sentences=[
            *(_WHY_IT_SCORED[reason] for reason in decision.reasons if reason in _WHY_IT_SCORED),
            *([beside] if told["beside"] else []),
        ],
        facts=[("Rows", told["rows"]), ("Version", told["version"]), ("In production", told["in_production"])],
    )
