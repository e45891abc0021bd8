"""Feast's own command line in our repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from include.core import catalogue
from include.core.settings import PROJECT_ROOT
from include.features import query
from include.features import store as feature_store
from tests.stores import on_one_store
from tests.tables import day

DAY = day("2025-01-02")
VARIABLE = "FLIGHTLINE_FEAST_ONLINE_STORE"

FEAST = """
import sys
from feast.cli.cli import cli
for command in sys.argv[1:]:
    print(f"$ feast {command}", flush=True)
    cli(command.split(), standalone_mode=False)
"""
"""Several commands of Feast in one process: to import it takes longer than each of them."""


def _feast(*commands: str, models: Path) -> list[str]:
    """What each command of Feast says in our repository."""
    done = subprocess.run(
        [sys.executable, "-c", FEAST, *commands],
        cwd=PROJECT_ROOT / "feature_repo",
        env={**os.environ, "PYTHONPATH": "..", "FLIGHTLINE_MODELS": str(models)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.split("$ feast ")


def test_feast_works_in_the_repository(feast_environment, put_clean, lake, tmp_path):
    shutil.copytree(catalogue.MODELS / "california_housing", tmp_path / "california_housing")
    shutil.copytree(catalogue.MODELS / "california_housing", tmp_path / "rents")
    model = tmp_path / "rents" / "model.yaml"
    model.write_text(model.read_text().replace("name: california_housing\n", "name: rents\n"))
    query_file = tmp_path / "rents" / "features.sql"
    query_file.write_text(query_file.read_text().replace("clean_california_housing", "clean_rents"))
    _, _, planned, listed = _feast("apply", "plan", "feature-views list", models=tmp_path)
    assert "No changes to registry" in planned
    assert "california_housing_features" in listed
    assert "rents_features" in listed
    query_file.write_text("SELECT nothing")
    _, said, listed = _feast("apply", "feature-views list", models=tmp_path)
    assert "What is registered of rents stays as it is: " in said
    assert "california_housing_features" in listed
    assert "rents_features" in listed
    _request_time_features_are_the_same_offline_and_online(put_clean, lake)


def _request_time_features_are_the_same_offline_and_online(put_clean, lake):
    spec, store = catalogue.load("california_housing"), feature_store.open_store()
    put_clean(spec, [1, 2], median_income=[5.0, 8.0])
    query.write(spec, lake, DAY)
    feature_store.materialize(store, spec, DAY)
    asked = ["california_housing_features:median_income", "listing_request_features:price_to_income"]
    rows = [{"listing_id": 1, "asking_price": 250_000.0}, {"listing_id": 2, "asking_price": 400_000.0}]
    online = store.get_online_features(features=asked, entity_rows=rows).to_dict()
    assert online["price_to_income"] == [5.0, 5.0]
    frame = pd.DataFrame(rows).assign(event_timestamp=DAY.last_moment)
    offline = store.get_historical_features(entity_df=frame, features=asked).to_df()
    assert offline["price_to_income"].tolist() == [5.0, 5.0]


@on_one_store
def test_a_wrong_address_and_one_that_is_missing_are_refused(feast_environment):
    def said(environment):
        done = subprocess.run(
            [Path(sys.executable).with_name("feast"), "feature-views", "list"],
            cwd=PROJECT_ROOT / "feature_repo",
            env=environment | {"PYTHONPATH": ".."},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        return done.stderr + done.stdout

    refused = "feature_store.yaml: key online_store.url: "
    kind = said({**os.environ, VARIABLE: "mysql://me:secret@db/feast"})
    assert refused + "there is no online store of the kind 'mysql'" in kind
    missing = said({name: value for name, value in os.environ.items() if name != VARIABLE})
    assert refused + f"environment variable {VARIABLE} is not set" in missing
