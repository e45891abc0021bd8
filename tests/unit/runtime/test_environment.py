"""Each process of the stack has the variables that it needs: no secret of another, no folder of its caller."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.core.errors import StackError
from include.lakehouse.decisions import Actor
from include.runtime.environment import AIRFLOW, SECRETS, Environment, of_work, users_of

PROCESSES = ("mlflow", "feast-ui", *AIRFLOW)
HOLDERS = {
    "the-mlflow-password": {"mlflow", "scheduler", "triggerer"},
    "the-webhook-key": {"mlflow", "api-server"},
    "the-webhook-encryption-key": {"mlflow"},
    "the-fernet-key": {*AIRFLOW},
    "the-jwt-secret": {"api-server", "scheduler"},
    "the-secret-key": {"api-server"},
    "database-of-airflow": {*AIRFLOW},
    "database-of-mlflow": {"mlflow"},
    "database-of-feast": {"feast-ui", "scheduler"},
    "a-key-of-the-cloud": {"feast-ui", *AIRFLOW},
}

GIVEN = {"AWS_SECRET_ACCESS_KEY": "a-key-of-the-cloud", "HOUSING_CSV": "/data/housing.csv"}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    ports = {"airflow": 1, "mlflow": 2, "feast": 3}
    made = {name: f"the-{name.replace('_', '-')}" for name in SECRETS}
    return Environment(tmp_path, ports, made, lambda database: f"database-of-{database}", GIVEN)


@pytest.mark.parametrize("secret", HOLDERS)
def test_a_secret_is_with_those_who_use_it(environment: Environment, secret: str) -> None:
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
def test_what_a_task_works_on_is_asked_of_whoever_starts_the_stack(name: str) -> None:
    assert of_work({name: "given", "PROMETHEUS_MULTIPROC_DIR": "/gone"}) == {name: "given"}


def test_it_is_for_tasks_and_not_for_mlflow_and_not_of_a_later_caller(environment: Environment, monkeypatch) -> None:
    monkeypatch.setenv("HOUSING_CSV", "/of/another.csv")
    found = {process: environment.of(process).get("HOUSING_CSV") for process in PROCESSES}
    assert found == {process: None if process == "mlflow" else "/data/housing.csv" for process in PROCESSES}


def test_the_caller_names_who_else_logs_in(tmp_path: Path) -> None:
    def users(named: str) -> str:
        made = Environment(tmp_path, {}, dict.fromkeys(SECRETS, ""), str, {"FLIGHTLINE_USERS": named})
        return made.own("api-server")["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]

    assert users("") == "admin:admin"
    assert users("ada:user,grace.h@x.org:op") == "admin:admin,ada:user,grace.h@x.org:op"
    for wrong in ("ada", "ada:queen", "ada:user,", "a b:user"):
        with pytest.raises(StackError, match="FLIGHTLINE_USERS="):
            users(wrong)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("ada:user,ada:admin", "USERS names ada, ada"),
        ("ada:user,Ada:op", "USERS names Ada, ada"),
        ("admin:viewer", "USERS=admin:viewer"),
        ("Admin:admin", "USERS=Admin:admin"),
        ("admin:admin,ADMIN:viewer", "USERS names ADMIN, admin"),
        ("\u0430da:user", "USERS=\u0430da:user"),
        ("\uff41da:user", "USERS="),
        *((f"{actor}:user", f"USERS names {actor}") for actor in Actor if " " not in actor),
        ("Policy:admin", "USERS names Policy"),
    ],
)
def test_a_user_is_one_person_and_the_admin_stays_one(named: str, said: str) -> None:
    with pytest.raises(StackError, match=re.escape(said)):
        users_of({"FLIGHTLINE_USERS": named})


def test_an_admin_may_be_named_as_what_it_is() -> None:
    assert users_of({"FLIGHTLINE_USERS": "admin:admin,ada:admin"}) == {"admin": "admin", "ada": "admin"}
