"""Who asks for a version on MLflow's page is answered there, by one run, also where MLflow dies before it tells."""

from __future__ import annotations

import psutil
import pytest
from mlflow import MlflowClient
from sqlalchemy import NullPool, create_engine, text

from include.registry.transition_request import ANSWER, COMMENT, REQUEST, REQUESTED_BY
from include.runtime.airflow_api import Run
from include.runtime.tracking_server import WEBHOOK
from tests.played import Played, wait_for


@pytest.fixture
def rejected(played: Played) -> str:
    """A version that the gates reject whenever it is asked for: too few drifted rows can judge it."""
    found = MlflowClient().search_model_versions(f"name = '{played.spec.name}' and tag.stage = 'Rejected'")
    return str(min(int(version.version) for version in found))


def tags_of(played: Played, version: str) -> dict[str, str]:
    return MlflowClient().get_model_version(played.spec.name, version).tags


def requested(played: Played, version: str) -> list[Run]:
    """The runs that answer requests for a version, newest first."""
    runs = played.airflow.runs(f"{played.spec.name}.promote_model")
    return [run for run in runs if run.run_id.startswith(f"request__version_{version}_")]


def answered(played: Played, version: str, before: int) -> Run:
    """The one run more that there is once the version has its answer."""
    wait_for(lambda: REQUEST not in tags_of(played, version), f"version {version} to be answered")
    newest, *others = requested(played, version)
    assert len(others) == before
    return played.finish(newest)


def test_mlflow_knows_where_to_tell(played: Played) -> None:
    (found,) = (webhook for webhook in MlflowClient().list_webhooks() if webhook.name == WEBHOOK)
    assert found.url == f"{played.stack.airflow_url}/registry-webhook/mlflow"
    assert MlflowClient().test_webhook(found.webhook_id).response_status == 200


def test_a_request_on_mlflows_page_is_answered_there(played: Played, rejected: str) -> None:
    client, before = MlflowClient(), len(requested(played, rejected))
    who = "Ada {{ 7 * 7 }}"  # no text of others is a template
    for name, value in ((COMMENT, "{{ 7 * 7 }}"), (REQUESTED_BY, who), (REQUEST, "Production")):
        client.set_model_version_tag(played.spec.name, rejected, name, value)
    run = answered(played, rejected, before)
    assert f"version {rejected}: wanted in Production, by {who}" in run.note
    assert tags_of(played, rejected)[ANSWER].startswith(f"Production, asked for by {who}, is rejected by gate: ")
    events = {
        event.get("from")
        for found in played.airflow.runs(f"{played.spec.name}.collect_requests")
        for event in asset_events(played, found)
    }
    assert "mlflow" in events  # told by its webhook, not found by the trigger alone


def asset_events(played: Played, run: Run) -> list[dict[str, str]]:
    """What was said with the events that started a run."""
    query = text(
        "SELECT event.extra FROM asset_event event JOIN dagrun_asset_event link ON link.event_id = event.id "
        "JOIN dag_run run ON run.id = link.dag_run_id WHERE run.run_id = :run_id AND run.dag_id = :dag_id"
    )
    with create_engine(played.stack.postgres.url("airflow"), poolclass=NullPool).connect() as connection:
        return list(connection.execute(query, {"run_id": run.run_id, "dag_id": run.dag_id}).scalars())


def test_a_stage_that_there_is_not_is_answered_without_a_run(played: Played, rejected: str) -> None:
    before = len(requested(played, rejected))
    MlflowClient().set_model_version_tag(played.spec.name, rejected, REQUEST, "prod")
    wait_for(lambda: REQUEST not in tags_of(played, rejected), "an answer")
    assert "there is no stage 'prod'" in tags_of(played, rejected)[ANSWER]
    assert len(requested(played, rejected)) == before


def test_a_request_that_mlflow_died_upon_before_it_told_is_answered_once(played: Played, rejected: str) -> None:
    """Its database has the tag, as after the commit, and nobody was told; its server is killed."""
    before = len(requested(played, rejected))
    (server,) = (service for service in played.stack.status() if service.name == "mlflow")
    assert server.pid
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    statement = text(
        "INSERT INTO model_version_tags (name, version, key, value) VALUES (:model, :version, :key, :value)"
    )
    values = {"model": played.spec.name, "version": int(rejected), "key": REQUEST, "value": "Production"}
    with create_engine(played.stack.postgres.url("mlflow"), poolclass=NullPool).begin() as connection:
        connection.execute(statement, values)
    for process in processes:
        process.kill()
    wait_for(lambda: is_up(played), "MLflow to be started again")
    answered(played, rejected, before)
    again = played.trigger("collect_requests")
    played.finish(again)
    assert len(requested(played, rejected)) == before + 1


def is_up(played: Played) -> bool:
    return played.stack.is_healthy()
