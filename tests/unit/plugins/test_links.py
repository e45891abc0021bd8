from __future__ import annotations

import importlib

import pytest
from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

ADDRESSES = {"MLflow": "http://127.0.0.1:5000", "Feast": "http://127.0.0.1:8888"}


@pytest.mark.parametrize("linked", [{"MLflow"}, {"Feast"}, {"MLflow", "Feast"}, set()])
def test_pages_are_linked_where_their_address_is_known(monkeypatch, linked):
    for name, address in ADDRESSES.items():
        monkeypatch.setenv(f"FLIGHTLINE_{name.upper()}_UI_URL", address if name in linked else "")
    module = importlib.reload(importlib.import_module("flightline_links"))
    found = [ExternalViewResponse.model_validate(view) for view in module.FlightlineLinks.external_views]
    assert {view.name: view.href for view in found} == {name: ADDRESSES[name] for name in linked}
    assert {(view.destination, view.url_route) for view in found} <= {("nav", None)}
