from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import include


@pytest.mark.parametrize(("address", "links"), [("http://127.0.0.1:8888", 1), ("", 0)])
def test_feasts_pages_are_linked_where_their_address_is_known(monkeypatch, address, links):
    monkeypatch.setenv("FLIGHTLINE_FEAST_UI_URL", address)
    monkeypatch.syspath_prepend(str(Path(include.__file__).parent.parent / "plugins"))
    module = importlib.reload(importlib.import_module("flightline_links"))
    found = module.FlightlineLinks.external_views
    assert [view["href"] for view in found] == [address] * links


def test_airflow_accepts_the_link(monkeypatch):
    from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse

    monkeypatch.setenv("FLIGHTLINE_FEAST_UI_URL", "http://127.0.0.1:8888")
    module = importlib.reload(importlib.import_module("flightline_links"))
    (view,) = module.FlightlineLinks.external_views
    assert ExternalViewResponse.model_validate(view).destination == "nav"
