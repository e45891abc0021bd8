"""The tab with the Data Docs is for who may see the run."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client(tmp_path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    import data_docs

    return TestClient(data_docs.app)


def test_nobody_sees_it_without_authentication(client: TestClient) -> None:
    assert client.get("/california_housing.ingest_batch/manual__1").status_code == 401


def test_view_is_served_where_the_link_points(client: TestClient) -> None:
    from data_docs import DataDocsPlugin

    (app,), (view,) = DataDocsPlugin.fastapi_apps, DataDocsPlugin.external_views
    assert view["href"] == app["url_prefix"] + "/{DAG_ID}/{RUN_ID}"
    assert view["destination"] == "dag_run"
