"""The page of a run, as a person reads it: the verdict first, then counts, then tables."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pandas as pd

from include.features import skew
from include.features.skew import Skew
from include.ingestion import steps as steps_of_ingestion
from include.lakehouse.comparisons import Comparison, Finding
from include.lakehouse.decisions import Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import METRICS, QUARANTINE
from include.monitoring import steps
from include.pages import TEMPLATES, run_page
from include.registry.checks import CheckResult
from tests.tables import put
from tests.unit.pages import scene


def said(run: Run, key: str | None = None, dag: str = "a_dag") -> list[str]:
    """The texts of a page, in order."""
    page = run_page.of_run(run, dag, key).partition("</style>")[2]
    return [unescape(text) for part in re.split(r"<[^>]*>", page) if (text := part.strip())]


def in_order(wanted: list[str], texts: list[str]) -> bool:
    left = iter(texts)
    return all(one in left for one in wanted)


def test_a_batch_is_told_by_its_rows_and_reasons(run: Run) -> None:
    scene.batch(run)
    head = ["Batch verdict", "410 of 413 rows accepted, 3 in quarantine", "Rows in", "413", "Accepted", "410"]
    table = ["Rows by reason", "null", "total_bedrooms", "2", "0.48%", "out of range", "latitude", "1"]
    assert in_order([*head, "In quarantine", "3", *table], said(run))


def test_a_rejected_batch_says_why_and_what_to_do(run: Run) -> None:
    why = "/landing/2025-01-05: no_rows: the file has a header and no rows. Have the sender deliver it again"
    rejected = {"rows": 0, "quarantined": 0, "reasons": {}, "batch_reasons": ("no_rows",), "problems": (why,)}
    scene.batch(run, Outcome.REJECT_BATCH, **rejected)
    assert in_order(["The batch is rejected: none of its 0 rows is accepted", why], said(run))


def test_it_is_of_its_run_and_says_that_another_decided_again(run: Run) -> None:
    later = replace(run, run_id="two")
    scene.batch(run)
    scene.batch(later, Outcome.ACCEPT_BATCH, quarantined=0, reasons={})
    assert in_order(
        ["410 of 413 rows accepted, 3 in quarantine", "Since then decided was accept batch by another run: two."],
        said(run),
    )
    assert "413 of 413 rows accepted: every row passes" in said(later)
    assert not [text for text in said(later) if "Since then" in text]


def test_the_last_decision_of_a_run_stands_first(run: Run) -> None:
    at = {"subject": "version 3"}
    scene.decide(run, Kind.APPROVAL, Outcome.APPROVED, {}, ["approved_by_person"], actor="Ada", **at)
    scene.decide(run, Kind.PROMOTION, Outcome.PROMOTED, {"former": "2"}, ["passed_all_gates"], **at)
    told = ["california_housing.a_dag, version 3", "one", "Version 3: promoted", "Passed all gates.", "Former", "2"]
    assert in_order([*told, "Version 3: approved", "By", "Ada"], said(run, "3"))


def test_a_scoring_says_which_version_why_and_what_stands_beside(run: Run) -> None:
    inputs = {"version": "2", "served": True, "rows": 1413, "beside": 7, "in_production": "3", "as_of": "history"}
    scene.decide(run, Kind.SCORING, Outcome.SCORE_ROWS, inputs, [Reason.SERVED_BEFORE], subject="2025-01-05")
    told = [
        "2025-01-05: 1,413 rows scored by version 2",
        "The partition was served by it before: what was served stays",
    ]
    found = said(run)
    assert in_order([told[0], "Version", "2", "In production", "3"], found)
    assert any(text.startswith(told[1]) for text in found)
    assert "7 predictions stand beside those that were served, and are not served." in found


def test_a_registered_version_is_told_by_what_was_measured(run: Run) -> None:
    tags = {
        **{"algorithm": "lightgbm", "candidate": "tuned", "known_at": "2025-01-05T00:00:00+00:00"},
        **{"features": '["income", "rooms"]', "adjusted_r2": "0.8123", "rmse": "0.5", "drifted_adjusted_r2": "0.7"},
    }
    inputs = {"digest": "d", "files": {}, "tags": tags}
    scene.decide(run, Kind.REGISTRATION, Outcome.REGISTERED, inputs, [], subject="version 3")
    told = ["Version 3: registered", "Algorithm", "lightgbm", "Candidate", "tuned", "Features", "2"]
    assert in_order([*told, "Measured", "adjusted R2", "0.812", "0.7", "RMSE", "0.5"], said(run))


def test_a_training_shows_its_candidates_and_how_good_they_are(run: Run) -> None:
    measured = {"adjusted_r2": 0.8123, "rmse": 0.5, "fit_seconds": 1.5}
    inputs = {"candidate": "tuned", "measured": measured, "model_id": "m-7", "files": {}}
    scene.decide(run, Kind.TRAINING, Outcome.FITTED, inputs, [], subject="model m-7")
    told = ["Tuned: adjusted R2 0.8123 on the test rows", "Seconds to fit", "1.5", "m-7", "Measured", "RMSE", "0.5"]
    assert in_order(told, said(run))


def test_a_failed_gate_shows_its_failed_checks_first_and_how_sure_a_gain_had_to_be(run: Run) -> None:
    compared = Comparison("3", "2", 7, "adjusted_r2", 400, 0.01, 0.002, 0.03, 0.05 / 56, 0.003, 0.02, Finding.BETTER)
    in_slice = replace(compared, slice="income 1 to 2", rows=90, upper_bound=-0.1, outcome=Finding.SURELY_WORSE)
    checks: list[object] = [
        {"name": "has_artifacts", "passed": True, "detail": "8 files."},
        CheckResult("above_threshold", False, "It is not above 0.8.", 0.7, 0.8, asks="Is it above?"),
        CheckResult("better_than_production", True, "It is better.", comparison=compared, slices=[in_slice]),
    ]
    inputs = {"checks": checks, "compared_with": "2"}
    scene.decide(run, Kind.PRODUCTION_GATE, Outcome.FAILED, inputs, ["check:above_threshold"], subject="version 3")
    told = ["Version 3: 1 of 3 checks failed", "Compared with version 2, in production then."]
    told += ["Gain", "0.0100", "surely more than", "0.0020", "Candidate since version 2", "7", "Its alpha", "0.00089"]
    told += ["Observed", "Threshold", "above threshold", "0.7", "0.8", "failed", "It is not above 0.8.", "passed"]
    told += [
        "Slices, beside the version in production",
        "income 1 to 2",
        "90",
        "-0.1000",
        "surely worse",
        "What each check asks",
        "Is it above?",
    ]
    assert in_order(told, said(run))


def measured(run: Run, distance: float) -> None:
    """Write what monitoring measures of the day: a column's distribution and the metric."""
    lines = [("rows", "all", 400.0, None), ("labelled_rows", "all", 390.0, None), ("adjusted_r2", "all", 0.66, 0.8)]
    for column, at in (("median_income", distance), ("latitude", 0.01)):
        lines += [
            ("distance", column, at, 0.1),
            ("adjusted_p", column, 0.001, 0.05),
            ("drifted", column, at > 0.1, None),
        ]
    lines += [
        ("nulls_distance", "latitude", 0.02, 0.1),
        ("nulls_adjusted_p", "latitude", 1, 0.05),
        ("nulls_drifted", "latitude", 0, None),
    ]
    rows = [dict(zip(("metric", "slice", "value", "threshold"), line, strict=True)) for line in lines]
    at = {"partition_key": scene.DAY.key, "source": "monitoring"}
    put(run.lake, METRICS.of(run.spec), pd.DataFrame(rows).astype({"value": float}).assign(model_version="3"), at)


def test_a_window_is_told_with_its_rules_and_distributions(run: Run) -> None:
    measured(run, 0.38)
    current = steps._current(replace(run, asked_for=scene.DAY))
    assert current is not None
    told_then = ("values", "drifted_features", "prediction_drifted", "distances")
    scene.policy(run, **{name: getattr(current, name) for name in told_then})
    told = ["2025-01-05: request retraining", "adjusted R2", "0.6600", "at least", "0.8000", "Version", "3"]
    rules = ["The policy's rules", "degraded of the last 3 windows", "2 of 3", "at least 2"]
    table = ["median_income", "0.38", "0.1", "0.001", "0.05", "drifted", "latitude, nulls", "0.02", "latitude", "0.01"]
    assert in_order([*told, *rules, *table], said(run))
    measured(run, 0.05)
    again = "The window was measured again since; its distributions are on the page of that run."
    assert in_order([*told[:1], again, *told[1:], *rules], said(run))
    assert "0.05" not in said(run)


def test_skew_is_told_by_feature_beside_the_partitions_before(run: Run) -> None:
    found = Skew(200, 36, 4, ("a", "b"), compared=3600, differing={"a": 9, "b": 27})
    for shift in range(20):
        skew.record(run.spec, run.lake, scene.DAY.shift(-shift), Skew(200, 0, 0, (), compared=600))
    scene.decide(run, Kind.SKEW_GATE, Outcome.FAILED, {"skew": found, "max_skew": 0.005}, ["skewed_feature:a"])
    texts = said(run)
    told = ["Training-serving skew 1.00%, of 0.50% allowed", "Keys sampled", "200", "b", "27", "a", "9"]
    assert in_order([*told, "Partitions before", "2025-01-04", "200", "0.00%", "0", "2025-01-03"], texts)
    assert sum(text.startswith(("2025-01-0", "2024-12")) for text in texts) == 14


def test_reprocessing_is_offered_the_partitions_that_have_rows_in_quarantine(run: Run) -> None:
    for shift, rows in ((0, 3), (2, 5)):
        where = {"source_file": ["a.csv"] * rows, "row_number": range(rows)}
        lines = pd.DataFrame({**where, "reasons": [["null:latitude"]] * rows})
        put(run.lake, QUARANTINE.of(run.spec), lines, scene.DAY.shift(shift))
    told = ["In quarantine now: 8 rows of 2 partitions", "2025-01-07", "5", "2025-01-05", "3"]
    assert in_order(told, said(run, dag="reprocess_quarantine"))
    assert steps_of_ingestion.list_quarantine(run) == {"2025-01-05": 3, "2025-01-07": 5}


def test_a_run_without_a_decision_says_so(run: Run) -> None:
    texts = said(run, "2025-01-05")
    assert texts[0] == "california_housing.a_dag, 2025-01-05"
    assert texts[-1].startswith("This run has decided nothing")


def test_no_template_takes_a_text_for_markup() -> None:
    for file in TEMPLATES.glob("*.html"):
        text = file.read_text()
        assert not [word for word in ("safe", "autoescape", "<script", "javascript:", " on") if word in text], file


def test_probation_is_told_by_what_was_delivered_and_what_was_promised(run: Run) -> None:
    scene.everything(run, "4")
    head = "Version 4 gains -0.0300 (-0.0400 to -0.0200) of adjusted R2 on version 4 in 1 of 3 labelled windows, "
    facts = ["Labelled windows", "1 of 3", "Gain delivered", "-0.0300", "between", "-0.0400 and -0.0200"]
    texts = said(run)
    assert in_order([*facts, "Gain promised", "0.0100", "surely more than", "-0.0020"], texts)
    assert [text for text in texts if text.startswith(head) and text.endswith("it is rolled back")]
