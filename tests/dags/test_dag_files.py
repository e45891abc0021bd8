"""Every DAG file is accounted for, its shape is what is written here, and assets are what the graph says."""

from __future__ import annotations

import ast
import re
from copy import copy
from pathlib import Path

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import PartitionedAssetTimetable, RetryAction
from airflow.sdk.exceptions import AirflowSkipException
from flightline.start_run import StartRunOperator
from flightline.timetables import EachAssetPartition

from include.core import catalogue
from include.core.errors import DataError, TamperedError
from include.core.settings import PROJECT_ROOT
from include.orchestration import assets as declared_assets
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag
from include.orchestration.timetables import EachPartition

DAGS = PROJECT_ROOT / "dags"
MODEL = "california_housing"

SHAPES: dict[str, dict[str, list[str]]] = {
    "ingest_batch": {
        "wait_for_delivery": ["validate_batch"],
        "validate_batch": ["accept_and_quarantine", "accept_batch", "no_new_rows", "reject_batch"],
        "accept_batch": [],
        "accept_and_quarantine": [],
        "no_new_rows": [],
        "reject_batch": ["alert_rejected_batch", "announce_withdrawal"],
        "announce_withdrawal": [],
        "alert_rejected_batch": [],
    },
    "reprocess_quarantine": {
        "find_partition": ["judge_again", "list_partitions"],
        "list_partitions": [],
        "judge_again": ["choose_action", "keep_waiting", "report_only"],
        "choose_action": ["keep_waiting", "report_only", "take_rows_back"],
        "keep_waiting": [],
        "report_only": [],
        "take_rows_back": [],
    },
    "withdraw_batch": {
        "find_traces": ["choose_action"],
        "choose_action": ["report_only", "withdraw_rows"],
        "report_only": [],
        "withdraw_rows": ["withdraw_features"],
        "withdraw_features": ["announce_stale_features", "withdraw_predictions"],
        "announce_stale_features": [],
        "withdraw_predictions": ["withdraw_window"],
        "withdraw_window": ["name_versions", "reopen_windows"],
        "reopen_windows": [],
        "name_versions": [],
    },
    "ingest_labels": {"wait_for_labels": ["load_labels"], "load_labels": []},
    "build_features": {
        "compute_features": ["materialize_features"],
        "materialize_features": ["check_skew"],
        "check_skew": ["announce_stale_features"],
        "announce_stale_features": [],
    },
    "request_training": {"request": []},
    "train_model": {
        "wait_for_features": ["build_training_set"],
        "build_training_set": ["explain_candidate", "register_candidate", "train_baseline", "tune"],
        "train_baseline": ["choose_candidate", "keep_baseline", "tune"],
        "tune": ["choose_candidate", "keep_tuned"],
        "choose_candidate": ["keep_baseline", "keep_tuned"],
        "keep_baseline": ["explain_candidate"],
        "keep_tuned": ["explain_candidate"],
        "explain_candidate": ["register_candidate"],
        "register_candidate": [],
    },
    "collect_requests": {"find_requests": ["start_promotion"], "start_promotion": []},
    "promote_model": {
        "record_request": ["choose_target", "run_staging_checks"],
        "run_staging_checks": ["check_staging_gate"],
        "check_staging_gate": ["move_to_staging", "reject_candidate"],
        "move_to_staging": ["choose_target"],
        "choose_target": ["keep_in_staging", "run_production_checks"],
        "run_production_checks": ["check_production_gate"],
        "keep_in_staging": ["answer_request"],
        "answer_request": [],
        "check_production_gate": ["approve_automatically", "reject_candidate", "wait_for_approval"],
        "approve_automatically": ["promote_version"],
        "wait_for_approval": ["promote_version", "reject_candidate", "wait_for_second_approval"],
        "wait_for_second_approval": ["promote_version", "reject_candidate"],
        "promote_version": ["announce_production", "answer_request"],
        "announce_production": [],
        "reject_candidate": ["answer_request", "check_drift", "request_drift_check"],
        "check_drift": [],
        "request_drift_check": [],
    },
    "score_batch": {
        "wait_for_features": ["find_production"],
        "find_production": ["score_rows", "skip_scoring"],
        "score_rows": [],
        "skip_scoring": [],
    },
    "monitor_model": {
        "measure_window": ["judge_probation", "reopen_windows"],
        "judge_probation": ["decide", "leave_to_probation", "roll_back_version"],
        "leave_to_probation": [],
        "roll_back_version": [],
        "decide": ["alert_root_cause", "no_action", "record_drift", "request_retraining"],
        "no_action": [],
        "record_drift": [],
        "request_retraining": [],
        "alert_root_cause": [],
        "reopen_windows": [],
    },
    "roll_back_model": {
        "choose_target": ["ask_for_version", "smoke_score"],
        "ask_for_version": ["smoke_score"],
        "smoke_score": ["choose_action", "report_only", "roll_back"],
        "choose_action": ["report_only", "roll_back"],
        "report_only": [],
        "roll_back": ["announce_production"],
        "announce_production": [],
    },
    "rebuild_version": {"rebuild": []},
    "replay_source": {"deliver": []},
    "maintain_tables": {"compact_and_vacuum": []},
}
EMITS = {
    "ingest_batch": {"clean", "withdrawn"},
    "ingest_labels": {"labels"},
    "reprocess_quarantine": {"clean"},
    "build_features": {"features", "stale_features"},
    "request_training": {"retraining_requested"},
    "train_model": {"candidate"},
    "promote_model": {"production", "drift_check_requested"},
    "score_batch": {"predictions"},
    "monitor_model": {"retraining_requested", "reopened", "production"},
    "withdraw_batch": {"reopened", "stale_features"},
    "roll_back_model": {"production"},
}
STARTED_BY = {
    "build_features": {"clean", "stale_features"},
    "withdraw_batch": {"withdrawn"},
    "train_model": {"retraining_requested"},
    "collect_requests": {"transition_requested"},
    "promote_model": {"candidate"},
    "score_batch": {"features"},
    "monitor_model": {"predictions", "labels", "reopened", "drift_check_requested"},
}
FILES_WITHOUT_DAG = {"check_models"}


def test_no_import_errors(dag_bag):
    assert dag_bag.import_errors == {}


def test_every_file_is_one_dag_of_that_name():
    assert {file.stem for file in DAGS.glob("*.py")} == set(SHAPES) | FILES_WITHOUT_DAG


def test_one_set_of_dags_per_model(dag_bag):
    assert set(dag_bag.dags) == {f"{model}.{name}" for model in catalogue.registered() for name in SHAPES}


def test_no_task_runs_for_ever(dag_bag):
    timeouts = {task.task_id: task.execution_timeout for dag in dag_bag.dags.values() for task in dag.tasks}
    assert None not in timeouts.values(), timeouts
    for dag in dag_bag.dags.values():
        for task in dag.tasks:
            waits = getattr(task, "deadline", None) or getattr(task, "response_timeout", None)
            assert waits is None or waits < task.execution_timeout, "what it waits for is said before it is ended"


@pytest.mark.parametrize("name", SHAPES)
def test_shape(dag_bag, name):
    dag = dag_bag.dags[f"{MODEL}.{name}"]
    assert {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} == SHAPES[name]


@pytest.mark.parametrize("name", SHAPES)
def test_assets_that_are_emitted(dag_bag, name):
    dag = dag_bag.dags[f"{MODEL}.{name}"]
    emitted = {outlet.name for task in dag.tasks for outlet in task.outlets}
    assert emitted == {f"{MODEL}.{asset}" for asset in EMITS.get(name, set())}


@pytest.mark.parametrize("name", SHAPES)
def test_assets_that_start_a_run(dag_bag, name):
    timetable = dag_bag.dags[f"{MODEL}.{name}"].timetable
    if name not in STARTED_BY:
        assert not isinstance(timetable, PartitionedAssetTimetable)
    else:
        condition = timetable.asset_condition
        assets = {asset.name for asset in getattr(condition, "objects", [condition])}
        assert assets == {f"{MODEL}.{asset}" for asset in STARTED_BY[name]}


def test_each_stage_of_a_partition_takes_a_range_of_days(dag_bag):
    """Airflow backfills no DAG on `PartitionedAssetTimetable`."""
    schedules = {name: dag_bag.dags[f"{MODEL}.{name}"].timetable for name in SHAPES}
    taken = {name for name, own in schedules.items() if isinstance(own, (EachPartition, EachAssetPartition))}
    by_partition = {"ingest_batch", "ingest_labels", "build_features", "score_batch", "monitor_model"}
    assert taken == {*by_partition, "request_training"}


@pytest.mark.parametrize("name", SHAPES)
def test_a_dag_ends_with_the_source_only_where_the_clock_starts_its_partitions(dag_bag, name):
    """By hand, beyond its end, a run of any other would succeed without a task."""
    dag = dag_bag.dags[f"{MODEL}.{name}"]
    assert (dag.end_date is not None) == isinstance(dag.timetable, EachPartition)


def test_the_docstring_of_each_asset_names_who_emits_and_who_consumes_it():
    text = Path(declared_assets.__file__).read_text()
    documented = dict(re.findall(r'    (\w+): Asset\n    """(.+?)"""', text, flags=re.DOTALL))
    assert set(documented) == set(assets_of(MODEL).__dict__)
    for asset, docstring in documented.items():
        emitters, _, consumers = " ".join(docstring.split()).partition(", to ")
        assert {name for name in SHAPES if name in emitters} == {n for n, e in EMITS.items() if asset in e}
        assert {name for name in SHAPES if name in consumers} == {n for n, s in STARTED_BY.items() if asset in s}


@pytest.mark.parametrize("name", SHAPES)
def test_policy(dag_bag, name):
    """Names, tags, owner, retries and the runbook of each DAG follow the house rules."""
    dag = dag_bag.dags[f"{MODEL}.{name}"]
    spec = catalogue.load(MODEL)
    assert re.fullmatch(r"[a-z]+_[a-z_]+", name)
    assert {MODEL} < dag.tags <= {MODEL, *Tag}
    assert dag.default_args["owner"] == spec.owner
    assert dag.default_args["retries"] == 2
    decide = dag.default_args["retry_policy"].evaluate
    decided = [decide(error("what"), 1, 3).action for error in (TamperedError, DataError, ConnectionError)]
    assert decided == [RetryAction.FAIL, RetryAction.DEFAULT, RetryAction.DEFAULT]
    assert not dag.catchup
    for heading in ("Runs when", "Reads", "Writes", "Safe to re-run", "When it fails"):
        assert f"**{heading}:**" in dag.doc_md, heading


def test_every_whole_number_that_a_person_hands_in_has_an_end_that_airflow_can_pass_on(dag_bag):
    params = {
        f"{dag.dag_id}, {name}": dag.params.get_param(name) for dag in dag_bag.dags.values() for name in dag.params
    }
    for where, param in params.items():
        for number in (2**31, 10**20):
            assert copy(param).resolve(number, suppress_exception=True) is None, f"{where} takes {number}"
    assert copy(params[f"{MODEL}.roll_back_model, version"]).resolve(2**31 - 1) == 2**31 - 1


@pytest.mark.parametrize("name", SHAPES)
def test_branches_are_labelled(dag_bag, name):
    dag = dag_bag.dags[f"{MODEL}.{name}"]
    for task in dag.tasks:
        if task.inherits_from_skipmixin and len(task.downstream_task_ids) > 1:
            for downstream in task.downstream_task_ids:
                if downstream != "keep_baseline" or task.task_id == "choose_candidate":
                    assert dag.edge_info.get(task.task_id, {}).get(downstream, {}).get("label"), (
                        f"{task.task_id} -> {downstream} has no label"
                    )


def test_every_task_that_may_be_joined_from_branches_runs_after_one_of_them(dag_bag):
    promote = dag_bag.dags[f"{MODEL}.promote_model"]
    for name in ("promote_version", "reject_candidate"):
        assert promote.get_task(name).trigger_rule == "none_failed_min_one_success"
    roll_back = dag_bag.dags[f"{MODEL}.roll_back_model"]
    assert roll_back.get_task("smoke_score").trigger_rule == "none_failed_min_one_success"


def test_no_task_log_ends_in_a_repr(dag_bag):
    tasks = [task for dag in dag_bag.dags.values() for task in dag.tasks if hasattr(task, "show_return_value_in_logs")]
    assert tasks
    assert not [task.task_id for task in tasks if task.show_return_value_in_logs]


def test_each_check_of_a_gate_is_an_instance_and_only_all_answers_let_a_version_pass(dag_bag):
    promote, spec = dag_bag.dags[f"{MODEL}.promote_model"], catalogue.load(MODEL)
    for gate in ("staging", "production"):
        checks = promote.get_task(f"run_{gate}_checks")
        assert checks.is_mapped
        assert checks.op_kwargs_expand_input.value == {"check": list(spec.gates.asked(gate))}
        assert "check" in checks.partial_kwargs["map_index_template"]
        assert promote.get_task(f"check_{gate}_gate").trigger_rule == "all_success"


@pytest.mark.parametrize("name", ["promote_model", "roll_back_model"])
def test_what_changed_nothing_is_no_event(dag_bag, name):
    announce = dag_bag.dags[f"{MODEL}.{name}"].get_task("announce_production").python_callable
    assert announce({"version": "2", "changed": True}) is None
    with pytest.raises(AirflowSkipException, match="version 2 is in production"):
        announce({"version": "2", "changed": False})


@pytest.mark.parametrize("file", sorted(DAGS.glob("*.py")), ids=lambda file: file.stem)
def test_a_dag_file_is_wiring(file):
    """One or two hundred lines, and no import of a heavy library when it is parsed."""
    text = file.read_text()
    assert len(text.splitlines()) <= 150
    allowed = {"__future__", "dataclasses", "datetime", "airflow", "flightline", "include"}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in allowed
        elif isinstance(node, ast.Import):
            pytest.fail(f"{file.name} imports {node.names[0].name}")


def test_nothing_that_a_task_hands_on_is_a_template(dag_bag):
    """Airflow renders dictionaries that an operator is mapped over: what others wrote would be run as code."""
    mapped = [task for dag in dag_bag.dags.values() for task in dag.tasks if task.is_mapped]
    others = [task for task in mapped if not issubclass(task.operator_class, PythonOperator)]
    assert {task.operator_class for task in others} == {StartRunOperator}
    assert all(not task.template_fields for task in others)
