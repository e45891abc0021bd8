from __future__ import annotations

import asyncio
import logging

import pytest
from flightline import alerts

from include.core import catalogue
from include.ingestion.delivery import Delivery
from include.lakehouse.run import open_run
from include.orchestration.defaults import delivery_deadline


def test_warning_names_the_marker_and_comes_before_the_deadline(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    for name in ("FLIGHTLINE_LANDING_URI", "FLIGHTLINE_LAKEHOUSE_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, str(tmp_path))
    spec = catalogue.load("california_housing")
    alert = delivery_deadline(spec)
    assert alert.callback.path == f"{alerts.__name__}.{alerts.warn_of_late_delivery.__name__}"
    assert alert.interval.total_seconds() == spec.deliveries.deadline_minutes * 60 / 2
    with caplog.at_level(logging.WARNING):
        context = {"dag_run": {"partition_key": "2025-01-04T00:00:00", "state": "failed"}}
        asyncio.run(alerts.warn_of_late_delivery(**alert.callback.kwargs, context=context))
        assert not caplog.text, "nobody waits any more"
        context["dag_run"]["state"] = "running"
        asyncio.run(alerts.warn_of_late_delivery(**alert.callback.kwargs, context=context))
    assert f"{tmp_path}/california_housing/batches/batch_date=2025-01-04/_SUCCESS" in caplog.text


def test_no_supplier_is_blamed_for_a_delivery_that_is_there(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    for name in ("FLIGHTLINE_LANDING_URI", "FLIGHTLINE_LAKEHOUSE_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, str(tmp_path))
    run = open_run("california_housing", partition="2025-01-04")
    Delivery.expected(run.settings, run.spec, "batches", run.partition).write("rows.csv", b"a\n1\n")
    with caplog.at_level(logging.WARNING):
        asyncio.run(
            alerts.warn_of_late_delivery("california_housing", {"dag_run": {"partition_key": "2025-01-04T00:00:00"}})
        )
    assert "the batch of 2025-01-04 is there, but its run is not done" in caplog.text
    assert "supplier" not in caplog.text
