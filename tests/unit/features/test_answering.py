"""The errors of Feast's stores as a user meets them: ours, naming what can be set here."""

from __future__ import annotations

import socket
from pathlib import Path

import pandas as pd
import pytest

from include.core.errors import ConfigError, DataError, StackError
from include.core.spec import ModelSpec
from include.features import store as feature_store
from include.features.store import apply, open_store
from include.training import training_set
from tests.stores import on_one_store

VARIABLE = "FLIGHTLINE_FEAST_ONLINE_STORE"


@on_one_store
def test_a_wrong_address_is_refused_when_it_is_loaded(feast_environment, monkeypatch):
    monkeypatch.setenv(VARIABLE, "mysql://me:secret@db/feast")
    said = r"^feature_repo/feature_store\.yaml: key online_store\.url: there is no online store of the kind 'mysql'"
    with pytest.raises(ConfigError, match=said) as caught:
        open_store()
    assert str(caught.value).endswith(f"Set {VARIABLE} to postgresql://... or redis://...")
    assert "secret" not in str(caught.value)


@on_one_store
def test_a_table_that_is_not_there_is_a_data_error_of_ours(store, spec):
    feature_store.apply(store, spec)
    rows = pd.DataFrame({"listing_id": [1], "event_timestamp": [pd.Timestamp("2025-01-02", tz="UTC")]})
    with pytest.raises(DataError, match="the table of source features_california_housing does not exist"):
        training_set.point_in_time(spec, store, spec.feature_service, rows)


@on_one_store
@pytest.mark.usefixtures("asked_again_at_once")
@pytest.mark.parametrize(
    "scheme", ["redis://:secret@127.0.0.1:{port}/1", "postgresql://me:secret@127.0.0.1:{port}/feast"]
)
def test_a_store_that_does_not_answer_is_said_to_be_so(
    spec: ModelSpec,
    feast_addresses: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        address = scheme.format(port=taken.getsockname()[1])
        with pytest.raises(StackError, match=f"{VARIABLE}: the online store does not answer: .*Start it") as found:
            applied(spec, feast_addresses | {VARIABLE: address}, tmp_path, monkeypatch)
    assert "secret" not in str(found.value)


@on_one_store
@pytest.mark.usefixtures("asked_again_at_once")
def test_a_store_that_does_not_let_us_in_is_said_to_be_so(
    spec: ModelSpec,
    feast_addresses: dict[str, str],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = request.getfixturevalue("redis").create_database().replace("redis://", "redis://:secret@")
    with pytest.raises(StackError, match=f"{VARIABLE}: the online store does not answer: .*AUTH.*password"):
        applied(spec, feast_addresses | {VARIABLE: address}, tmp_path, monkeypatch)


def applied(spec: ModelSpec, variables: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FLIGHTLINE_LAKEHOUSE_URI": str(folder), **variables}.items():
        monkeypatch.setenv(name, value)
    apply(open_store(), spec)
