from __future__ import annotations

from pathlib import Path

import pytest

from include.core.errors import ConfigError
from include.core.settings import DATA, Settings

SET = {
    "FLIGHTLINE_LANDING_URI": "/data/landing/",
    "FLIGHTLINE_LAKEHOUSE_URI": "s3://lake",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
}
VARIABLES = [str(field.validation_alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in SET.items():
        monkeypatch.setenv(variable, value)


def test_places_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Settings.load()
    assert (found.environment, found.landing_uri, found.lakehouse_uri) == ("dev", "/data/landing", "s3://lake")
    monkeypatch.setenv("FLIGHTLINE_ENV", "prod")
    monkeypatch.setenv("FLIGHTLINE_MODELS", "/models")
    assert Settings.load().environment == "prod"
    assert Settings.load().models_folder == Path("/models")


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("name", SET)
def test_a_missing_variable_is_named(name: str, empty: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if empty:
        monkeypatch.setenv(name, "")
    else:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=f"{name} is not set"):
        Settings.load()
    assert Settings.load(need=()).environment == "dev"


def test_an_unknown_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLINE_ENV", "staging")
    with pytest.raises(ConfigError, match="FLIGHTLINE_ENV is 'staging'"):
        Settings.load()


def test_what_is_given_stands_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in SET:
        monkeypatch.delenv(variable)
    given = Settings.load(landing_uri="a", lakehouse_uri="b/", mlflow_uri="c")
    assert [getattr(given, field) for field in DATA] == ["a", "b", "c"]
