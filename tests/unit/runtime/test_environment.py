"""Each process of the stack has the variables that it needs: no secret of another, no folder of its caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.runtime.environment import AIRFLOW, SECRETS, Environment

PROCESSES = ("mlflow", "feast-ui", *AIRFLOW)
HOLDERS = {
    "the-mlflow-password": {"mlflow", "scheduler"},
    "the-fernet-key": {*AIRFLOW},
    "the-jwt-secret": {"api-server", "scheduler"},
    "the-secret-key": {"api-server"},
    "database-of-airflow": {*AIRFLOW},
    "database-of-mlflow": {"mlflow"},
    "database-of-feast": {"feast-ui", "scheduler"},
    "a-key-of-the-cloud": {"feast-ui", *AIRFLOW},
}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    ports = {"airflow": 1, "mlflow": 2, "feast": 3}
    made = {name: f"the-{name.replace('_', '-')}" for name in SECRETS}
    return Environment(tmp_path, ports, made, lambda database: f"database-of-{database}")


@pytest.mark.parametrize("secret", HOLDERS)
def test_a_secret_is_with_those_who_use_it(environment: Environment, secret: str, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-key-of-the-cloud")
    holders = {process for process in PROCESSES if secret in environment.of(process).values()}
    assert holders == HOLDERS[secret]


@pytest.mark.parametrize(
    "name", ["PROMETHEUS_MULTIPROC_DIR", "AIRFLOW__CORE__EXECUTOR_OF_ANOTHER", "PYTEST_XDIST_WORKER", "LD_PRELOAD"]
)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_variable_that_nobody_named_is_not_inherited(
    environment: Environment, process: str, name: str, monkeypatch
) -> None:
    monkeypatch.setenv(name, "/gone/with/the/caller")
    assert name not in environment.of(process)


@pytest.mark.parametrize(
    "name", ["HOME", "LC_NUMERIC", "TZ", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]
)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_person_s_language_time_and_network_are_inherited(
    environment: Environment, process: str, name: str, monkeypatch
) -> None:
    monkeypatch.setenv(name, "given")
    assert environment.of(process)[name] == "given"


@pytest.mark.parametrize(
    "name", ["HOUSING_CSV", "BIKE_CSV", "FLIGHTLINE_MODELS", "GOOGLE_APPLICATION_CREDENTIALS", "JAVA_HOME"]
)
def test_what_a_task_works_on_is_inherited_by_tasks_and_not_by_mlflow(
    environment: Environment, name: str, monkeypatch
) -> None:
    monkeypatch.setenv(name, "given")
    assert {process for process in PROCESSES if name in environment.of(process)} == set(PROCESSES) - {"mlflow"}
