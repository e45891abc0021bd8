"""The tab with a run's page is for who may see the run, and is sent as a page that does nothing."""

from __future__ import annotations

import pytest
import run_report
from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse
from fastapi.testclient import TestClient

from include.pages import HEADERS

RUN = "/california_housing.ingest_batch/one"


@pytest.fixture
def client() -> TestClient:
    return TestClient(run_report.app)


@pytest.mark.parametrize("path", [RUN, "/a.b/..%2f..%2fetc%2fpasswd", "/a/<svg onload=alert(1)>"])
def test_nobody_sees_a_page_without_signing_in(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401


@pytest.mark.parametrize(("path", "status"), [(RUN, 401), ("/", 404), ("/docs", 401), ("/openapi.json", 401)])
def test_every_answer_has_the_headers(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "path", ["/%00.x/y", "/california_housing.ingest_batch/a%00", "/a.b/c%0d%0ad", "/a.b/%7f", "/%c2%85/y"]
)
def test_a_control_character_is_in_the_name_of_no_run(client: TestClient, path: str) -> None:
    """PostgreSQL takes no NUL: asking it would be an error of ours."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert "There is no such run." in answer.text
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(client: TestClient, method: str) -> None:
    assert client.request(method, RUN).status_code == 405


def test_the_tab_is_on_dag_runs() -> None:
    (found,) = run_report.RunReportPlugin.external_views
    view, (app,) = ExternalViewResponse.model_validate(found), run_report.RunReportPlugin.fastapi_apps
    assert view.destination == "dag_run"
    assert view.href.startswith(app["url_prefix"])
