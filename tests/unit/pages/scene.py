"""Decisions of every kind that has a section of its own, with texts and counts that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from include.evaluation.drift import ColumnDrift, ColumnKind
from include.features.skew import Skew
from include.ingestion.verdict import BatchVerdict, Reprocessing
from include.lakehouse import decisions
from include.lakehouse.comparisons import Comparison, Finding
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.windows import WindowMetrics
from include.monitoring import probation
from include.monitoring.policy import Verdict
from include.registry.checks import CheckResult
from tests.tables import day

DAY = day("2025-01-05")
VERSION = "version 3"


def decide(
    run: Run, kind: Kind, outcome: Outcome, inputs: Mapping[str, Any], reasons: list[str] | None = None, **more: Any
) -> None:
    """Record a decision of the run, about the day unless another subject is named."""
    given = {"subject": DAY.key, "decided_at": DAY.end, "actor": "policy", "policy_hash": "", "run_id": run.run_id}
    decisions.record(
        run.lake, run.spec, kind=kind, outcome=outcome, reasons=reasons or [], inputs=inputs, **given | more
    )


def batch(run: Run, outcome: Outcome = Outcome.ACCEPT_AND_QUARANTINE, **changes: Any) -> None:
    given: dict[str, Any] = {
        "rows": 413,
        "quarantined": 3,
        "reasons": {"null:total_bedrooms": 2, "out_of_range:latitude": 1},
        "batch_reasons": (),
        "warnings": (),
    }
    decide(run, Kind.BATCH_VERDICT, outcome, {"verdict": BatchVerdict(outcome=outcome, **given | changes)})


def window(**changes: Any) -> WindowMetrics:
    given: dict[str, Any] = {
        "version": "3",
        "rows": 400,
        "labelled_rows": 390,
        "metric": 0.66,
        "values": {"adjusted_r2": 0.66},
        "drifted_features": ("median_income",),
        "prediction_drifted": True,
    }
    return WindowMetrics(DAY, **given | changes)


def policy(run: Run, **changes: Any) -> None:
    verdict = Verdict(Outcome.REQUEST_RETRAINING, (Reason.HARMFUL_DRIFT,), 2, 3)
    decide(run, Kind.RETRAINING_POLICY, verdict.outcome, {"window": window(**changes), "verdict": verdict})


def everything(run: Run, text: str) -> None:
    """A decision of each kind, with a text in every place that one has."""
    batch(
        run,
        reasons={Reason.NULL.about(text): 2},
        batch_reasons=(Reason.EXTRA_COLUMN.about(text),),
        warnings=(Reason.UNKNOWN_CATEGORY.about(text),),
        problems=(f"/landing/{text}.csv: {text}",),
    )
    found = Reprocessing(3, 1, {Reason.NULL.about(text): 2}, (Reason.MISSING_COLUMN.about(text),))
    decide(run, Kind.QUARANTINE_REPROCESSING, Outcome.TAKE_ROWS_BACK, {"reprocessing": found})
    skew = Skew(200, 9, 0, (text,), 600, {text: 9})
    decide(run, Kind.SKEW_GATE, Outcome.FAILED, {"skew": skew, "max_skew": 0.0})
    policy(run, version=text, drifted_features=(text,))
    compared = Comparison(text, text, 2, text, 400, 0.01, -0.002, 0.03, 0.0083, 0.003, 0.02, Finding.NOT_SURELY_BETTER)
    checks = [CheckResult(text, False, text, comparison=compared, slices=[replace(compared, slice=text)], asks=text)]
    for gate in (Kind.STAGING_GATE, Kind.PRODUCTION_GATE):
        decide(run, gate, Outcome.FAILED, {"checks": checks, "compared_with": text}, subject=text)
    told = probation.Verdict(
        text,
        text,
        Outcome.FAILED,
        Reason.SURELY_WORSE,
        (text,),
        3,
        roll_back=True,
        delivered=probation.Delivered(400, -0.03, -0.04, -0.02),
        promised=vars(compared),
    )
    decide(run, Kind.PROBATION, told.outcome, vars(told), [told.reason], subject=text)
    drift = ColumnDrift(text, ColumnKind.NUMBER, 0.4, 0.0, 0.0, True)
    decide(run, Kind.DRIFT_CHECK, Outcome.DRIFTED, {"features": [drift]}, subject=text)
    said = {"comment": text, "refused": text}
    decide(run, Kind.ROLL_BACK, Outcome.REFUSED, said, [Reason.DRIFTED.about(text)], subject=text, actor=text)
