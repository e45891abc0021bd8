"""Which online store it is: one address says it by its scheme, PostgreSQL or Redis.

``postgresql://user:password@host:5432/database`` (or a socket's folder: ``postgresql://user@/database?host=/folder``),
``redis://:password@host:6379/1`` (``rediss://`` with TLS). What is special in a password is percent-encoded. Either may
name a file that holds the password instead: ``redis://host:6379/1?password_file=/run/secrets/redis_password``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from feast_delta.errors import AddressError, OnlineStoreError
from feast_delta.online.postgres import PostgresOnlineStore, PostgresOnlineStoreConfig
from feast_delta.online.redis import RedisOnlineStore, RedisOnlineStoreConfig

OnlineStore = PostgresOnlineStore | RedisOnlineStore
DEFAULT = "redis://localhost:6379"
"""As Feast's own Redis store has it."""


class OnlineStoreConfig:
    """The section ``online_store`` of feature_store.yaml: an address, and options of the store that it names.

    Feast takes the store from what this gives: the configuration of that store.
    """

    def __new__(  # type: ignore[misc]  # it chooses
        cls, type: str, url: str = DEFAULT, **options: Any
    ) -> PostgresOnlineStoreConfig | RedisOnlineStoreConfig:
        address = _parse(url)
        if address.get_backend_name() == "postgresql":
            return PostgresOnlineStoreConfig(type=type, **_postgres(address), **options)
        return RedisOnlineStoreConfig(type=type, connection_string=_redis(address), **options)


@contextmanager
def answering() -> Iterator[None]:
    """Around what asks the online store.

    Raises:
        OnlineStoreError: it is not there, or does not let us in.
    """
    try:
        yield
    except (psycopg.OperationalError, redis.ConnectionError, redis.TimeoutError) as error:
        if getattr(error, "sqlstate", None):  # the server's own word on a statement
            raise
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise OnlineStoreError(
            f"the online store does not answer: {said}",
            where="online_store.url",
            fix="Start it, or mend the address or its password",
        ) from None


def _parse(url: str) -> URL:
    if url.startswith("$"):
        raise _refused(f"environment variable {url.strip('${}')} is not set")
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise _refused("what it is set to is no address") from None
    if address.get_backend_name() not in ("postgresql", "redis", "rediss"):
        raise _refused(f"there is no online store of the kind {address.get_backend_name()!r}")
    return address


def _postgres(address: URL) -> dict[str, Any]:
    query = dict(address.query)
    parts: dict[str, Any] = {
        "host": query.pop("host", None) or address.host,
        "database": address.database,
        "user": address.username,
    }
    for name, value in parts.items():
        if not value:
            raise _refused(f"{_shown(address)} names no {name}")
    sslmode, password = query.pop("sslmode", "prefer"), _password(address, query)
    _require_nothing_more(address, query)
    return parts | {"port": address.port or 5432, "password": password, "sslmode": sslmode}


def _redis(address: URL) -> str:
    """The address as Feast writes it: ``host:port,parameter=value,...``, each value as JSON, without a comma in it."""
    database = address.database or "0"
    if not database.isdecimal():
        raise _refused(f"{_shown(address)} names the database {database!r}: Redis has numbers")
    if not address.host or ":" in address.host:
        raise _refused(f"{_shown(address)} has no host name or IPv4 address")
    query = dict(address.query)
    password = _password(address, query)
    _require_nothing_more(address, query)
    given: dict[str, Any] = {
        "db": int(database),
        "username": address.username or None,
        "password": password or None,
        "ssl": address.get_backend_name() == "rediss" or None,
    }
    values = {name: json.dumps(value).replace(",", "\\u002c") for name, value in given.items() if value is not None}
    return ",".join([f"{address.host}:{address.port or 6379}", *(f"{name}={value}" for name, value in values.items())])


def _password(address: URL, query: dict[str, Any]) -> str:
    """The address's own, or that of the file that it names."""
    file = query.pop("password_file", None)
    if file is None:
        return address.password or ""
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise _refused(f"the password_file {file} cannot be read ({error.strerror})") from None


def _require_nothing_more(address: URL, query: dict[str, Any]) -> None:
    if query:
        raise _refused(f"{_shown(address)} has the unknown parameter {next(iter(query))}")


def _shown(address: URL) -> str:
    return address.render_as_string(hide_password=True)


def _refused(why: str) -> AddressError:
    fix = "Set it to postgresql://... or redis://..."
    return AddressError(f"key online_store.url: {why}", where="feature_store.yaml", fix=fix)
