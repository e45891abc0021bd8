"""What a roll-back goes to, and what is known of it before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from include.core.errors import UsageError
from include.core.partition import Partition
from include.jobs import production_history
from include.lakehouse import alias_history, decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.orchestration import notes
from include.registry import promotion, side_by_side, steps, tenures, versions
from tests.unit.training.serving import BAD, DAYS, GOOD, ROWS, Serving, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def served(mlflow_store: None, tmp_path: Path, request: pytest.FixtureRequest) -> Serving:
    """The good version was in production, and the bad one is; it served two days."""
    made = serving(request.node.name, tmp_path)
    made.promote(GOOD, BAD)
    for partition in DAYS[:2]:
        made.serve(partition, BAD)
    return made


def test_a_dry_run_goes_to_the_version_before_and_says_how_both_do_on_the_same_rows(served: Serving) -> None:
    run = served.run()
    found = steps.smoke_score(run)
    assert (found.version, found.in_production, found.missing) == (GOOD, BAD, ())
    assert found.recent is not None
    assert (found.recent.partition, found.recent.rows) == (DAYS[-1].key, ROWS)
    beside = found.beside
    assert beside is not None
    assert (beside.production_version, beside.partitions, beside.rows) == (BAD, (DAYS[1].key,), ROWS)
    assert beside.lower_bound < beside.gain < beside.upper_bound
    assert beside.gain == pytest.approx(beside.value - beside.production_value)
    assert beside.lower_bound > 0
    said = notes.of_dry_run(run.spec, found)
    assert f"would replace version {BAD}; it predicts {ROWS} rows of {DAYS[-1].key}" in said
    assert f"of version {BAD} on the same {ROWS} served rows of {DAYS[1].key}, gain {beside.gain:.4f} (between " in said


def test_rows_that_either_was_trained_on_say_nothing(served: Serving) -> None:
    """Of the newest served day the version has seen the labels of two thirds."""
    run, lake = served.run(), served.scene.world.lake
    history = alias_history.periods(lake, run.spec.name)
    assert [item.version for item in history] == [GOOD, BAD]
    names = run.spec.table("training_sets")
    fitted = lake.read(names).to_pandas()
    assert not set(fitted["partition_key"]) & {day.key for day in DAYS}, "else the test above would compare too much"
    first = sorted(set(fitted["partition_key"]))[0]
    served.serve(Partition.parse(first, run.spec.grain), BAD)
    good, bad = (versions.get(run.spec, number) for number in (GOOD, BAD))
    only = [Partition.parse(first, run.spec.grain)]
    sides = side_by_side.served_by_second(run.spec, lake, good, bad, only)
    rows = fitted[fitted["partition_key"] == first]
    parts = rows.groupby("listing_id")["split"].agg(lambda split: set(split) == {"test"})
    assert sides.rows == parts.sum() > 0


def test_without_served_rows_or_features_the_dry_run_says_so(mlflow_store: None, tmp_path: Path) -> None:
    made = serving("nothing_served", tmp_path)
    made.promote(GOOD, BAD)
    found = steps.smoke_score(made.run())
    assert found.beside is None
    (said,) = found.missing
    assert "0 served rows have a label that neither version 1 nor 2 has seen" in said


def test_what_is_in_production_and_deleted_hides_nothing_of_the_target(served: Serving) -> None:
    MlflowClient().delete_model_version(served.spec.name, BAD)
    found = steps.smoke_score(served.run())
    assert found.version == GOOD
    assert found.missing[-1].startswith(f"It is not compared with version {BAD}: ")
    assert steps.roll_back(served.run(), comment="gone").version == GOOD


def test_a_roll_back_needs_a_reason_and_goes_back_once(served: Serving) -> None:
    run = served.run()
    for nothing in ("", " ", "\u200b", "\u2060\ufeff\n", "\u3164\u2800"):
        with pytest.raises(UsageError, match="a roll-back for real needs a reason"):
            steps.roll_back(run, comment=nothing)
    assert steps.list_production(run)[-1].version == BAD
    for _ in range(2):  # a retry does not go back by one more
        moved = steps.roll_back(run, comment="bad prices")
        assert moved == promotion.Transition(GOOD, BAD, changed=True)
    assert [item.version for item in steps.list_production(run)] == [GOOD, BAD, GOOD]
    with pytest.raises(UsageError, match=r"no version is there to go back to\. Name one of those that served: 1, 2"):
        steps.roll_back(served.run(run_id="another"), comment="once more")


def test_who_put_which_version_there_is_answered_at_any_time(served: Serving) -> None:
    steps.roll_back(replace(served.run(), person="ada"), comment="bad prices")
    first, second, last = steps.list_production(served.run())
    assert (last.version, last.by, last.kind, last.comment) == (GOOD, "ada", Kind.ROLL_BACK, "bad prices")
    assert (second.version, second.by, second.kind, second.until) == (BAD, "policy", Kind.PROMOTION, last.since)
    assert tenures.at([first, second, last], second.since) == second
    assert tenures.at([first, second, last], first.since.replace(year=1999)) is None
    table = tenures.told(served.spec, [first, second, last]).splitlines()
    assert [line.split()[0] for line in table] == ["version", GOOD, BAD, GOOD]
    assert "ada" in table[1]
    assert "bad prices" in table[1]


def test_the_versions_that_served_are_offered_the_one_before_first(served: Serving) -> None:
    run = served.run()
    (only,) = steps.offer_versions(run)
    assert only.startswith(f"version {GOOD}: in production from ")
    assert only.endswith("on its test rows (the one before)")
    steps.roll_back(run, comment="back")
    (forward,) = steps.offer_versions(served.run(run_id="another"))
    assert forward.startswith(f"version {BAD}: ")
    assert "the one before" not in forward, "it was rolled back from"
    lonely = Run(run.spec.model_copy(update={"name": "lonely"}), run.settings, run.lake, "run")
    with pytest.raises(UsageError, match="no other version that is there still was ever in production"):
        steps.offer_versions(lonely)


def test_a_version_that_was_deleted_is_not_offered(served: Serving) -> None:
    MlflowClient().delete_model_version(served.spec.name, GOOD)
    with pytest.raises(UsageError, match="no other version that is there still"):
        steps.offer_versions(served.run())


def test_a_roll_back_is_no_promise_kept(served: Serving) -> None:
    steps.roll_back(served.run(), comment="back")
    (made,) = decisions.history(served.scene.world.lake, served.spec.name, Kind.ROLL_BACK)
    assert made.inputs == {"comment": "back", "former": BAD}
    assert "gain.promised" not in versions.get(served.spec, GOOD).tags


def test_a_command_lists_the_history_or_says_who_it_was_at_a_moment(
    served: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", str(tmp_path / "lakehouse"))
    monkeypatch.setattr("include.core.catalogue.load", lambda name: served.spec)
    assert production_history.main([]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["version", BAD, GOOD]
    first = steps.list_production(served.run())[0].since
    assert production_history.main(["--at", first.isoformat()]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["version", GOOD]
    assert production_history.main(["--at", "1999-01-01"]) == 1
    assert "was in production then" in capsys.readouterr().out
    assert production_history.main(["--at", "yesterday"]) == 1
    assert "error: AT: 'yesterday' is no moment" in capsys.readouterr().err
