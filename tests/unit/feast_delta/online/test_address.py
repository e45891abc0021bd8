"""The one place that chooses the online store, with right and with wrong values."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from feast.infra.online_stores.helpers import get_online_store_from_config
from redis import Redis

from feast_delta.errors import AddressError, OnlineStoreError
from feast_delta.online.address import OnlineStoreConfig, answering
from feast_delta.online.postgres import PostgresOnlineStore
from feast_delta.online.redis import RedisOnlineStore, RedisOnlineStoreConfig

TYPE = "feast_delta.online.address.OnlineStore"


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


def test_the_default_address_is_that_of_feasts_redis():
    assert OnlineStoreConfig(type=TYPE).connection_string == RedisOnlineStoreConfig().connection_string + ",db=0"


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


@pytest.mark.parametrize("ending", ["", "\n"])
def test_a_password_is_read_from_the_file_that_the_address_names(tmp_path, ending):
    (tmp_path / "word").write_text(f"a,b@c{ending}")
    config = OnlineStoreConfig(type=TYPE, url=f"redis://cache/1?password_file={tmp_path}/word")
    assert RedisOnlineStore._parse_connection_string(config.connection_string)[1] == {"db": 1, "password": "a,b@c"}
    config = OnlineStoreConfig(type=TYPE, url=f"postgresql://me@db/feast?password_file={tmp_path}/word")
    assert config.password == "a,b@c"


def test_a_scheme_with_tls_asks_for_it():
    config = OnlineStoreConfig(type=TYPE, url="rediss://:word@cache:6380/2")
    (place,), options = RedisOnlineStore._parse_connection_string(config.connection_string)
    assert place == {"host": "cache", "port": "6380"}
    assert options == {"db": 2, "password": "word", "ssl": True}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@db/feast", "there is no online store of the kind 'mysql'"),
        ("${ONLINE}", "environment variable ONLINE is not set"),
        ("redis", "what it is set to is no address"),
        ("redis://:secret@cache/one", r"redis://:\*\*\*@cache/one names the database 'one': Redis has numbers"),
        ("redis://:secret@/1", "has no host name"),
        ("redis://:secret@[::1]/1", "has no host name"),
        ("redis://:secret@cache/1?timeout=3", "has the unknown parameter timeout"),
        (
            "redis://cache/1?password_file=/nowhere",
            r"the password_file /nowhere cannot be read \(No such",
        ),
        ("postgresql://me:secret@db", r"postgresql://me:\*\*\*@db names no database"),
        ("postgresql://me:secret@db/feast?sslmod=require", "has the unknown parameter sslmod"),
        ("postgresql:///feast?host=/tmp", "names no user"),
    ],
)
def test_a_wrong_value_is_refused_when_it_is_loaded(url, said):
    where = r"^feature_store\.yaml: key online_store\.url: "
    with pytest.raises(AddressError, match=f"{where}.*{said}") as caught:
        OnlineStoreConfig(type=TYPE, url=url)
    assert str(caught.value).endswith("Set it to postgresql://... or redis://...")
    assert "secret" not in str(caught.value)


@pytest.mark.usefixtures("asked_again_at_once")
@pytest.mark.parametrize(
    ("scheme", "connect"),
    [
        ("redis://:secret@127.0.0.1:{port}/1", lambda store, config: store._get_client(config).ping()),
        ("postgresql://me:secret@127.0.0.1:{port}/feast", lambda store, config: enter(store, config)),
    ],
)
def test_a_store_that_does_not_answer_is_said_to_be_so(scheme, connect):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        config = OnlineStoreConfig(type=TYPE, url=scheme.format(port=taken.getsockname()[1]))
        store = get_online_store_from_config(config)
        with (
            pytest.raises(
                OnlineStoreError, match=r"^online_store\.url: the online store does not answer: .*Start it"
            ) as found,
            answering(),
        ):
            connect(store, config)
    assert "secret" not in str(found.value)


def enter(store, config):
    with store._get_conn(SimpleNamespace(online_store=config)):
        pass
