"""The tab with a run's page is for who may see the run."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def client() -> TestClient:
    import data_quality

    return TestClient(data_quality.app)


@pytest.mark.parametrize("run", ["california_housing.ingest_batch/one", "california_housing.build_features/one"])
def test_nobody_sees_a_page_without_signing_in(client: TestClient, run: str) -> None:
    assert client.get(f"/{run}").status_code == 401


def test_the_tab_is_on_dag_runs() -> None:
    from data_quality import DataQualityPlugin

    (view,) = DataQualityPlugin.external_views
    (app,) = DataQualityPlugin.fastapi_apps
    assert view["destination"] == "dag_run"
    assert view["href"].startswith(app["url_prefix"])
