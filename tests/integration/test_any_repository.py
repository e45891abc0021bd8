"""A Feast repository that knows nothing of Flightline uses the stores by ``type:`` alone, where no ``include`` is.

It is the one of the package's README.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.engine import make_url

PACKAGE = Path(__file__).parents[2] / "feast_delta"

CONFIGURATION, DEFINITIONS = re.findall(r"```(?:yaml|python)\n(.*?)```", (PACKAGE / "README.md").read_text(), re.DOTALL)

USE = """
import importlib, importlib.util, pkgutil, sys
from datetime import UTC, datetime
import pandas as pd
import pyarrow as pa
from deltalake import write_deltalake
import feast_delta
from feast import FeatureStore

assert importlib.util.find_spec("include") is None
for module in pkgutil.walk_packages(feast_delta.__path__, "feast_delta."):
    importlib.import_module(module.name)

store = FeatureStore(repo_path=sys.argv[1])
day, next_day = (datetime(2025, 1, number, tzinfo=UTC) for number in (1, 2))
at = pa.array([day, day, next_day, next_day], pa.timestamp("us", tz="UTC"))
rows = {"station": ["oslo", "bonn", "oslo", "rome"], "at": at, "degrees": [-3.0, 7.0, -4.0, 12.0]}
write_deltalake(sys.argv[2], pa.table(rows | {"day": at.cast(pa.date32())}), partition_by=["day"])
asked = pd.DataFrame({"station": ["oslo", "rome", "oslo", "oslo"], "event_timestamp": pd.to_datetime(
    ["2025-01-02", "2025-01-02", "2025-01-01", "2025-01-09"], utc=True)})
found = store.get_historical_features(entity_df=asked, features=["weather:degrees"]).to_df()
assert found["degrees"].fillna(-99).tolist() == [-4.0, 12.0, -3.0, -99.0], found

def online(*stations):
    rows = [{"station": name} for name in stations]
    return store.get_online_features(features=["weather:degrees"], entity_rows=rows).to_dict()["degrees"]

store.materialize(next_day, next_day)
assert online("oslo", "rome", "bonn") == [-4.0, 12.0, None]
store.materialize(day, day)
assert online("oslo", "rome", "bonn") == [-4.0, 12.0, 7.0]
print("used")
"""

ALONE = """
import os, sys
# An environment may have this project on its path.
sys.path[:] = [folder for folder in sys.path if not os.path.exists(os.path.join(folder, "include", "__init__.py"))]
"""


def by_address(online: str) -> dict[str, Any]:
    return yaml.safe_load(CONFIGURATION)["online_store"] | {"url": online}


def by_class(online: str) -> dict[str, Any]:
    """With the keys of Feast's own store."""
    address = make_url(online)
    place = {
        "host": address.query["host"],
        "database": address.database,
        "user": address.username,
        "password": address.password,
    }
    return {"type": "feast_delta.online.postgres.PostgresOnlineStore", **place}


@pytest.mark.parametrize(
    ("online_kind", "section"), [("postgres", by_class), ("redis", by_address)], indirect=["online_kind"]
)
def test_apply_materialize_and_both_reads(
    feast_addresses: dict[str, str], tmp_path: Path, section: Callable[[str], dict[str, Any]]
) -> None:
    library, repository, elsewhere = tmp_path / "library", tmp_path / "repository", tmp_path / "elsewhere"
    for folder in (library, repository, elsewhere):
        folder.mkdir()
    shutil.copytree(PACKAGE, library / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    (library / "sitecustomize.py").write_text(ALONE)
    configuration = yaml.safe_load(CONFIGURATION)
    configuration["online_store"] = section(feast_addresses["FLIGHTLINE_FEAST_ONLINE_STORE"])
    (repository / "feature_store.yaml").write_text(yaml.safe_dump(configuration))
    (repository / "definitions.py").write_text(DEFINITIONS.replace("/lake/weather", str(tmp_path / "measured")))

    def run(*command: str) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLIGHTLINE")}
        done = subprocess.run(
            command,
            cwd=elsewhere,
            env=environment | {"PYTHONPATH": str(library)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    feast = str(Path(sys.executable).with_name("feast"))
    assert "weather" in run(feast, "--chdir", str(repository), "apply")
    assert run(sys.executable, "-c", USE, str(repository), str(tmp_path / "measured")).endswith("used\n")
