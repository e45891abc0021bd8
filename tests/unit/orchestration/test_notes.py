"""What a person reads of a run in its note: values beside their thresholds, in a line."""

from __future__ import annotations

import pytest

from include.core import catalogue
from include.core.settings import Settings
from include.ingestion.verdict import BatchVerdict
from include.lakehouse.comparisons import Comparison, Finding
from include.lakehouse.decisions import Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.tables import Lakehouse
from include.monitoring import steps
from include.orchestration import notes
from include.registry.checks import CheckResult
from include.registry.gates import Verdict
from include.registry.smoke import SmokeScore
from include.scoring.batch import Scored
from include.training.tracking import RunRef
from tests.unit.monitoring.scene import DAY, NEXT, Scene, scene
from tests.unit.training.stage import mlflow_store

__all__ = ["mlflow_store", "scene"]


def decided(scene: Scene, number: int, *, noise: float, factor: float = 1.0) -> str:
    """The note of a day that is delivered, labelled, measured and decided on."""
    partition = DAY.shift(number)
    predicted = scene.deliver(
        partition, seed=number + 1, change=lambda rows: rows.assign(income=rows["income"] * factor)
    )
    scene.label(predicted, partition, noise=noise)
    scene.measure(partition)
    run = scene.run(partition)
    return notes.of_window(run, steps.decide(run))


def test_a_window_is_told_by_values_thresholds_and_windows(scene: Scene) -> None:
    assert decided(scene, 0, noise=20).endswith(" ≥ 0.8000, no drift → no action (performance holds)")
    first, second = (decided(scene, number, noise=200, factor=1.5) for number in (1, 2))
    assert ", 1 of 2 windows degraded (2 of 3 ask for retraining) → drift recorded (waiting for n of m)" in first
    value, _, rest = second.partition(" < 0.8000, income (")
    assert value.startswith("adjusted R2 ")
    distance, _, rest = rest.partition(" ≥ 0.1) drifted, ")
    assert float(distance) > 0.1
    assert rest == "2 of 3 windows degraded (2 of 3 ask for retraining) → retraining (harmful drift)"


def test_a_window_without_labels_or_rows_says_so(scene: Scene) -> None:
    scene.deliver(NEXT)
    scene.measure(NEXT)
    run = scene.run(NEXT)
    said = notes.of_window(run, steps.decide(run))
    assert said == "adjusted R2 unknown (0 of 300 rows labelled), no drift → no action (no labels no drift)"
    scene.label(scene.deliver(DAY))
    nobody = scene.changed(name=f"{scene.spec.name}_new").run()
    scene.changed(name=f"{scene.spec.name}_new").label(scene.deliver(DAY))
    assert notes.of_window(nobody, steps.decide(nobody)) == "no action (no production version)"


@pytest.mark.parametrize(
    ("now", "has_served", "said"),
    [
        ("3", True, "would replace version 3"),
        ("2", True, "is in production: nothing would change"),
        ("3", False, "has never been in production: it would be refused"),
    ],
)
def test_a_dry_run_of_a_roll_back_says_what_would_become_of_it(now: str, has_served: bool, said: str) -> None:
    spec = catalogue.load("california_housing")
    found = SmokeScore("2", 2000, "adjusted_r2", 0.81234, now, has_served)
    assert notes.of_dry_run(spec, found) == f"dry run: version 2 (adjusted R2 0.8123 on 2,000 test rows) {said}"


def test_a_batch_and_its_scoring() -> None:
    given = {"rows": 413, "warnings": (), "batch_reasons": ()}
    reasons = {f"null:{name}": count for count, name in enumerate("abcde", start=1)}
    some = BatchVerdict(outcome=Outcome.ACCEPT_AND_QUARANTINE, quarantined=9, reasons=reasons, **given)
    assert notes.of_batch(some) == ("413 rows: 404 accepted, 9 quarantined (null:e 5, null:d 4, null:c 3 and 2 more)")
    rejected = {**given, "batch_reasons": (Reason.MISSING_COLUMN.about("total_rooms"),)}
    none = BatchVerdict(outcome=Outcome.REJECT_BATCH, quarantined=413, reasons={}, **rejected)
    assert notes.of_batch(none) == "batch rejected (missing_column:total_rooms), 413 rows in quarantine"
    assert notes.of_scoring(Scored("1", True, 413)) == "413 rows scored by version 1"
    assert notes.of_scoring(Scored("1", True, 413, 7)) == (
        "413 rows scored by version 1, 7 of them beside what was served"
    )


def test_a_gate_says_by_which_alpha_a_version_was_compared() -> None:
    compared = Comparison("3", "1", 2, "adjusted_r2", 400, 0.01, 0.002, 0.03, 0.05 / 6, 0.003, 0.02, Finding.BETTER)
    better, worse = (
        CheckResult("better", True, "It is.", comparison=compared),
        CheckResult("above", False, "It is not."),
    )
    luck = "candidate 2 beside version 1, alpha 0.0083"
    assert notes.of_gate(Verdict(True, "production", "3", "1", [better])) == f"production gate passed; {luck}"
    failed = notes.of_gate(Verdict(False, "production", "3", "1", [better, worse]))
    assert failed == f"production gate failed; {luck}; above: It is not"
    assert notes.of_gate(Verdict(False, "staging", "3", None, [worse])) == "staging gate failed; above: It is not"


def test_rows_that_wait_are_told_by_partition() -> None:
    assert notes.of_waiting({}) == "no row is in quarantine"
    found = notes.of_waiting({"2025-01-02": 3, "2025-01-04": 2})
    assert found == "5 rows of 2 partitions are in quarantine (2025-01-02 3, 2025-01-04 2)"


def test_a_suspected_leak_is_in_the_note_of_the_version() -> None:
    run = Run(catalogue.load("bike_demand"), Settings(), Lakehouse("nowhere"), "run")
    tuned = RunRef("1", "tuned", "m", {"adjusted_r2": 0.985}, {})
    said = "version 2 is tuned, adjusted R2 0.9850 on its test rows"
    assert notes.of_candidate(run, "2", tuned) == said
    suspected = "a and b (98.5%)"
    assert notes.of_candidate(run, "2", tuned, suspected) == f"{said}; {suspected} nearly determine cnt together"
