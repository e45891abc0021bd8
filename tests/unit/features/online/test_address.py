"""The one place that chooses the online store, with right and with wrong values."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from feast.cli.cli import cli
from feast.infra.online_stores.helpers import get_online_store_from_config
from redis import Redis

from include.errors import ConfigError, StackError
from include.features.online.address import OnlineStoreConfig
from include.features.online.postgres import PostgresOnlineStore
from include.features.online.redis import RedisOnlineStore
from include.features.store import apply, open_store
from include.models.spec import ModelSpec
from include.places import PROJECT_ROOT

TYPE = "include.features.online.address.OnlineStore"
VARIABLE = "FLIGHTLINE_FEAST_ONLINE_STORE"
only_once = pytest.mark.parametrize("online_kind", ["postgres"], indirect=True)


@pytest.mark.parametrize(
    ("url", "store", "expected"),
    [
        (
            "postgresql+psycopg2://postgres:@/feast?host=/tmp/pg",
            PostgresOnlineStore,
            {"host": "/tmp/pg", "port": 5432, "database": "feast", "user": "postgres", "password": ""},
        ),
        (
            "postgresql://me:a%40b%2Cc@db.example:6543/feast?sslmode=require",
            PostgresOnlineStore,
            {"host": "db.example", "port": 6543, "user": "me", "password": "a@b,c", "sslmode": "require"},
        ),
        ("redis://cache", RedisOnlineStore, {"connection_string": "cache:6379,db=0"}),
    ],
)
def test_the_scheme_names_the_store(url, store, expected):
    config = OnlineStoreConfig(type=TYPE, url=url)
    assert isinstance(get_online_store_from_config(config), store)
    assert {name: getattr(config, name) for name in expected} == expected


def test_options_of_the_store_go_beside_the_address():
    assert OnlineStoreConfig(type=TYPE, url="redis://cache", key_ttl_seconds=60).key_ttl_seconds == 60
    with pytest.raises(ValueError, match="key_ttl"):
        OnlineStoreConfig(type=TYPE, url="redis://cache", key_ttl=60)


@pytest.mark.parametrize("password", ["plain", "12e4", "1234", 'a,b=c"d', "p@ss:w/rd %"])
def test_any_password_reaches_redis_as_it_is(redis, password):
    admin = Redis(port=redis.port)
    admin.acl_setuser("reader", enabled=True, reset=True, passwords=[f"+{password}"], keys=["*"], categories=["+@all"])
    try:
        place = redis.create_database().removeprefix("redis://")
        config = OnlineStoreConfig(type=TYPE, url=f"redis://reader:{quote(password, safe='')}@{place}")
        client = RedisOnlineStore()._get_client(config)
        assert client.acl_whoami() == "reader"
        assert client.client_info()["db"] == int(place.rpartition("/")[2])
    finally:
        admin.acl_deluser("reader")


def test_a_scheme_with_tls_asks_for_it():
    config = OnlineStoreConfig(type=TYPE, url="rediss://:word@cache:6380/2")
    (place,), options = RedisOnlineStore._parse_connection_string(config.connection_string)
    assert place == {"host": "cache", "port": "6380"}
    assert options == {"db": 2, "password": "word", "ssl": True}


@only_once
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@db/feast", "there is no online store of the kind 'mysql'"),
        ("redis", "what it is set to is no address"),
        ("redis://:secret@cache/one", r"redis://:\*\*\*@cache/one names the database 'one': Redis has numbers"),
        ("redis://:secret@/1", "has no host name"),
        ("redis://:secret@[::1]/1", "has no host name"),
        ("redis://:secret@cache/1?timeout=3", "has the unknown parameter timeout"),
        ("postgresql://me:secret@db", r"postgresql://me:\*\*\*@db names no database"),
        ("postgresql://me:secret@db/feast?sslmod=require", "has the unknown parameter sslmod"),
        ("postgresql:///feast?host=/tmp", "names no user"),
    ],
)
def test_a_wrong_value_is_refused_when_it_is_loaded(feast_environment, monkeypatch, url, said):
    monkeypatch.setenv(VARIABLE, url)
    where = r"^feature_repo/feature_store\.yaml: key online_store\.url: "
    with pytest.raises(ConfigError, match=f"{where}.*{said}") as caught:
        open_store()
    assert f"Set {VARIABLE} to postgresql://... or redis://..." in str(caught.value)
    assert "secret" not in str(caught.value)


@only_once
def test_feasts_own_commands_refuse_it_in_the_same_words(feast_environment, monkeypatch):
    def said(environment):
        monkeypatch.setattr(os, "environ", environment)
        done = CliRunner().invoke(cli, ["--chdir", str(PROJECT_ROOT / "feature_repo"), "feature-views", "list"])
        assert done.exit_code != 0
        return f"{done.output} {done.exception}"

    refused = "feature_repo/feature_store.yaml: key online_store.url: "
    kind = said({**os.environ, VARIABLE: "mysql://me:secret@db/feast"})
    assert refused + "there is no online store of the kind 'mysql'" in kind
    missing = said({name: value for name, value in os.environ.items() if name != VARIABLE})
    assert refused + f"environment variable {VARIABLE} is not set" in missing


@only_once
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


@only_once
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
