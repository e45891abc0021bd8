"""The loop, as the demo has played it in a real Airflow: what tables and registry say afterwards."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import psycopg2
import pyarrow.compute as pc
import pytest
from mlflow import MlflowClient

from include.lakehouse import alias_history, decisions, windows
from tests.played import PLAN, Played

THRESHOLD = 0.8


def test_every_row_is_accepted_or_quarantined_with_its_reason(played: Played) -> None:
    lines = played.summary["days"]
    assert [line["day"] for line in lines] == list(range(PLAN.days + 1))
    for line in lines:
        assert line["rows"] == line["accepted"] + line["quarantined"] > 0
    assert sum(line["rows"] for line in lines) == 20_640
    quarantine = played.lake.read(played.spec.table("quarantine"))
    assert quarantine.num_rows == sum(line["quarantined"] for line in lines)
    assert pc.min(pc.list_value_length(quarantine["reasons"])).as_py() >= 1
    reasons = {reason for row in quarantine["reasons"].to_pylist() for reason in row}
    assert reasons == {"null:total_bedrooms"}
    assert quarantine.num_rows == 207


def test_no_row_is_in_a_table_twice(played: Played) -> None:
    (key,) = played.spec.entity.keys
    for layer in ("raw", "clean", "labels", "features", "predictions"):
        keys = played.lake.read(played.spec.table(layer), columns=[key])[key]
        assert len(pc.unique(keys)) == len(keys), layer


def test_the_label_is_in_no_feature_table(played: Played) -> None:
    for layer in ("raw", "clean", "features", "predictions"):
        names = [field.name for field in played.lake.open(played.spec.table(layer)).schema().fields]
        assert played.spec.target not in names


def test_every_row_of_every_day_is_predicted_by_one_version(played: Played) -> None:
    predictions = played.lake.read(played.spec.table("predictions")).to_pandas()
    for line in played.summary["days"][1:]:
        rows = predictions[predictions["partition_key"] == line["date"]]
        assert len(rows) == line["accepted"]
        assert set(rows["model_version"]) == {line["version"]}
        assert set(rows["feature_service"]) == {played.spec.feature_service}
        assert rows["served"].all()


def test_drift_names_the_scaled_column_and_it_alone_from_its_first_day_on(played: Played) -> None:
    for line in played.summary["days"][1:]:
        expected = [played.spec.replay.drift.column] if line["day"] >= PLAN.drift_day else []
        assert line["drifted_features"] == expected, line["date"]


def test_performance_holds_then_falls_then_recovers(played: Played) -> None:
    lines = played.summary["days"][1:]
    before = [line["metric"] for line in lines if line["day"] < PLAN.drift_day]
    assert min(before) > THRESHOLD
    drifted = [line for line in lines if line["day"] >= PLAN.drift_day]
    by_first_version = [line["metric"] for line in drifted if line["version"] == "1"]
    assert max(by_first_version) < THRESHOLD
    recovered = [line["metric"] for line in drifted if line["version"] != "1"]
    assert recovered, "no later version went into production"
    assert sum(recovered) / len(recovered) > max(by_first_version) + 0.03
    if played.is_real_file:
        assert min(recovered) > THRESHOLD


def test_the_policy_asked_for_what_happened(played: Played) -> None:
    """Each window has a decision that saw its labels; a request leads to a version, a version to a verdict."""
    lines = {line["date"]: line for line in played.summary["days"][1:]}
    for line in lines.values():
        if line["metric"] >= THRESHOLD:
            assert line["decision"] == ("record_drift" if line["drifted_features"] else "no_action")
        else:
            assert line["decision"] in ("request_retraining", "record_drift")
    asked = [
        day
        for day, line in lines.items()
        if line["decision"] == "request_retraining" and line["reasons"] == ["harmful_drift"]
    ]
    assert asked
    trained_after = [version["training_set"] for version in played.summary["versions"][1:]]
    assert trained_after == asked
    assert all(version["verdict"].startswith(("promoted", "rejected")) for version in played.summary["versions"])


def test_production_holds_one_version_that_passed_its_gates(played: Played) -> None:
    client = MlflowClient(played.stack.mlflow_url)
    alias = client.get_registered_model(played.spec.name).aliases["production"]
    promoted = [v["version"] for v in played.summary["versions"] if v["verdict"].startswith("promoted")]
    assert len(promoted) >= 2
    assert str(alias) == promoted[-1]
    stages = {v["version"]: v["stage"] for v in played.summary["versions"]}
    assert [version for version, stage in stages.items() if stage == "Production"] == [promoted[-1]]
    periods = alias_history.periods(played.lake, played.spec.name)
    assert [period.version for period in periods] == promoted
    for former, later in pairwise(periods):
        assert former.valid_to == later.valid_from
    for decided in decisions.history(played.lake, played.spec.name):
        if decided.kind in ("staging_gate", "production_gate") and decided.subject.split()[-1] in promoted:
            assert decided.outcome == "passed"


def test_baseline_and_tuned_are_as_good_as_the_tutorial_found(played: Played) -> None:
    first = played.summary["versions"][0]
    assert first["metric"] >= first["baseline_metric"] - 0.005
    if played.is_real_file:
        assert 0.82 < first["baseline_metric"] < 0.87
        assert 0.84 < first["metric"] < 0.89


def test_both_runs_are_comparable_in_mlflow(played: Played) -> None:
    client = MlflowClient(played.stack.mlflow_url)
    experiment = client.get_experiment_by_name(f"{played.spec.name}/training")
    found = client.search_runs([experiment.experiment_id])
    runs = [run for run in found if run.data.tags["kind"] in ("baseline", "tuned")]
    trials = [run for run in found if run not in runs]
    assert {run.data.tags["kind"] for run in trials} == {"trial"}
    below = Counter(run.data.tags["mlflow.parentRunId"] for run in trials)
    each = played.spec.training.search.trials + 1
    assert below == {run.info.run_id: each for run in runs if run.data.tags["kind"] == "tuned"}
    assert len(runs) == 2 * len(played.summary["versions"])
    for run in runs:
        assert {"adjusted_r2", "rmse", "mae"} <= set(run.data.metrics)
        assert {"n_estimators", "feature_service"} <= set(run.data.params)
        (dataset,) = run.inputs.dataset_inputs
        assert dataset.dataset.name.startswith(played.spec.table("training_sets"))
        assert run.data.tags["data.origin"], "the run does not say which file it was trained on"


def test_the_run_that_was_kept_has_figures_and_card_and_the_other_one_has_none(played: Played) -> None:
    client = MlflowClient(played.stack.mlflow_url)
    experiment = client.get_experiment_by_name(f"{played.spec.name}/training")
    kept = {item.run_id for item in client.search_model_versions(f"name = '{played.spec.name}'")}
    runs = [run for run in client.search_runs([experiment.experiment_id]) if run.data.tags["kind"] != "trial"]
    assert len(kept) == len(runs) / 2
    for run in runs:
        files = {item.path for item in client.list_artifacts(run.info.run_id)}
        if run.info.run_id not in kept:
            assert files == set()
            continue
        assert "model_card.html" in files
        names = " ".join(item.path for item in client.list_artifacts(run.info.run_id, "plots"))
        for plot in ("predicted", "residuals", "importance", "correlation"):
            assert plot in names


def test_the_same_facts_are_in_the_tables(played: Played) -> None:
    first = played.spec.first_partition
    found = windows.read(played.spec, played.lake, first, first.shift(PLAN.days))
    measured = {item.partition.key: item for item in found}
    for line in played.summary["days"][1:]:
        assert measured[line["date"]].metric == line["metric"]
        assert list(measured[line["date"]].drifted_features) == line["drifted_features"]
    assert json.loads((played.stack.home / "demo" / played.spec.name / "report.json").read_text()) == played.summary


def test_references_travel_through_xcom_and_data_never(played: Played) -> None:
    address = played.stack.postgres.url("airflow", driver="postgresql")
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT dag_id, task_id, key, length(value::text) FROM xcom ORDER BY 4 DESC LIMIT 1")
        *where, size = cursor.fetchone()
    assert size < 4000, where


def test_no_run_failed(played: Played) -> None:
    dags = played.airflow.dag_ids(played.spec.name)
    assert [run for dag in dags for run in played.airflow.runs(dag) if run.state == "failed"] == []


@pytest.mark.parametrize("word", ["adjusted R2", "median_income", "request_retraining", "Version 1"])
def test_the_closing_table_shows_it(played: Played, word: str) -> None:
    assert word in "\n".join(played.said)
