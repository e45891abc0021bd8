from __future__ import annotations

import pytest

from include.core import settings
from include.core.errors import ConfigError

SET = {
    "FLIGHTLINE_LANDING_URI": "/data/landing/",
    "FLIGHTLINE_LAKEHOUSE_URI": "s3://lake",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
}


def test_places_come_from_the_environment() -> None:
    here = settings.from_environment(SET)
    assert here == settings.Places("dev", "/data/landing", "s3://lake", "http://127.0.0.1:5000")
    assert settings.from_environment(SET | {"FLIGHTLINE_ENV": "prod"}).environment == "prod"


@pytest.mark.parametrize("name", SET)
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is not set"):
        settings.from_environment({key: value for key, value in SET.items() if key != name})


def test_an_unknown_environment_is_refused() -> None:
    with pytest.raises(ConfigError, match="FLIGHTLINE_ENV is 'staging'"):
        settings.from_environment(SET | {"FLIGHTLINE_ENV": "staging"})
