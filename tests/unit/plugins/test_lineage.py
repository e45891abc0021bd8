"""The events of the ingestion tasks, as OpenLineage's own client would send them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from flightline.lineage import LakehouseExtractor
from openlineage.client.serde import Serde

from include.ingestion import steps
from include.ingestion.delivery import Delivery
from include.lakehouse.run import open_run
from include.models.california_housing import sample
from tests.tables import day

MODEL, DAY = "california_housing", day("2025-01-02")


@pytest.fixture
def ingested(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLINE_LANDING_URI", str(tmp_path / "landing"))
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", str(tmp_path / "lakehouse"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "unused")
    run = open_run(MODEL, run_id="run", partition=DAY)
    rows = sample.generate().drop(columns="median_house_value").dropna().head(50)
    rows.insert(0, "listing_id", range(50))
    rows.loc[rows.index[3], "latitude"] = 60.0
    delivery = Delivery.expected(run.settings, run.spec, "batches", DAY)
    delivery.write("california_housing.csv", rows.to_csv(index=False).encode())
    steps.validate_batch(run)
    steps.load_batch(run)


def facets(dag: str, task_id: str) -> dict:
    operator = SimpleNamespace(dag_id=f"{MODEL}.{dag}", task_id=task_id, task_type="_PythonDecoratedOperator")
    instance = SimpleNamespace(dag_run=SimpleNamespace(partition_key=DAY.key))
    found = LakehouseExtractor(operator).extract_on_complete(instance)
    assert found is not None
    return {
        "inputs": [json.loads(Serde.to_json(item)) for item in found.inputs],
        "outputs": [json.loads(Serde.to_json(item)) for item in found.outputs],
    }


def test_validation_has_inputs_outputs_schema_and_quality(ingested: None) -> None:
    event = facets("ingest_batch", "validate_batch")
    (read,) = event["inputs"]
    assert read["name"].endswith("/batches/batch_date=2025-01-02")
    quality = read["inputFacets"]["dataQualityMetrics"]
    assert quality["rowCount"] == 50
    assert quality["columnMetrics"]["latitude"]["max"] == 60.0
    held = {item["assertion"]: item["success"] for item in read["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert held["quarantine_row:out_of_range:latitude"] is False
    assert held["quarantine_row:out_of_range:longitude"] is True
    written = [item["name"].rsplit("/", 1)[-1] for item in event["outputs"]]
    assert written == [f"{layer}_{MODEL}" for layer in ("raw", "quarantine", "profiles", "metrics")]


def test_loading_has_the_schema_of_what_it_wrote(ingested: None) -> None:
    (written,) = facets("ingest_batch", "accept_and_quarantine")["outputs"]
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 49
    types = {item["name"]: item["type"] for item in written["facets"]["schema"]["fields"]}
    assert (types["listing_id"], types["latitude"], types["partition_key"]) == ("long", "double", "string")


def test_other_tasks_have_none(ingested: None) -> None:
    assert facets("train_model", "choose_candidate") == {"inputs": [], "outputs": []}
