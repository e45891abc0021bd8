"""The embedded PostgreSQL: who gets in, as whom, and what it leaves of the user's own folders."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from include.runtime import postgres as module
from include.runtime.postgres import DATABASES, SUPERUSER, Postgres

ATTACK = """
import sys, psycopg2
try:
    with psycopg2.connect(host=sys.argv[1], user="postgres", dbname="postgres") as connection:
        connection.cursor().execute("COPY (SELECT 1) TO PROGRAM 'touch " + sys.argv[2] + "'")
except psycopg2.OperationalError as error:
    sys.exit(str(error))
"""
is_root = os.geteuid() == 0


@pytest.fixture(scope="module", params=["short", "long"])
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server in a folder whose path fits a socket's address, and in one whose path does not."""
    base = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    base.chmod(0o755)  # as a home that others may look into
    folder = base if request.param == "short" else base / ("a-long-name-" * 8)
    running = Postgres(folder)
    running.start()
    yield running
    running.stop()
    assert running.socket_folder == running._data or not running.socket_folder.exists()
    shutil.rmtree(base)


def ask(server: Postgres, statement: str, database: str = "airflow", role: str = "") -> list[tuple]:
    engine = create_engine(server.url(database, role=role), poolclass=NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_another_local_user_does_not_run_programs_through_the_server(server: Postgres, tmp_path: Path) -> None:
    """Its socket's folder keeps other users out; whoever is let in there, as root is, is asked for a password."""
    assert stat.S_IMODE(server.socket_folder.stat().st_mode) == 0o700
    attack = [sys.executable, "-c", ATTACK, str(server.socket_folder), str(tmp_path / "owned")]
    attempts = {"no password": attack}
    if is_root:
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        attempts["Permission denied"] = [*nobody, "ls", str(server.socket_folder / ".s.PGSQL.5432")]
    for reason, command in attempts.items():
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode != 0
        assert reason in done.stderr
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("database", DATABASES)
def test_a_role_owns_its_database_and_enters_no_other(server: Postgres, database: str) -> None:
    assert ask(server, "SELECT current_user, usesuper FROM pg_user WHERE usename = current_user", database) == [
        (database, False)
    ]
    ask_to_create = "CREATE TABLE IF NOT EXISTS own (id int); SELECT 1"
    assert ask(server, ask_to_create, database) == [(1,)]
    for other in {*DATABASES, SUPERUSER} - {database}:
        with pytest.raises(Exception, match="no pg_hba"):
            ask(server, "SELECT 1", other, role=database)
    with pytest.raises(Exception, match="permission denied"):
        ask(server, "COPY (SELECT 1) TO PROGRAM 'true'", database)


def test_there_is_no_trust_and_no_network(server: Postgres) -> None:
    rules = ask(server, "SELECT type, auth_method FROM pg_hba_file_rules", "postgres", role=SUPERUSER)
    assert set(rules) == {("local", "scram-sha-256")}
    assert ask(server, "SHOW listen_addresses") == [("",)]


def test_passwords_are_nobody_elses_and_not_on_the_command_line(server: Postgres) -> None:
    file = server._secrets
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not any(server._password(role) in " ".join(server.component().command) for role in DATABASES)


def test_a_lost_password_is_replaced_at_the_next_start(server: Postgres) -> None:
    before = server._password("airflow")
    server.stop()
    server._secrets.write_text('{"postgr')
    said: list[str] = []
    again = Postgres(server._data.parent, said.append)
    again.start()
    assert any("was broken" in line for line in said)
    assert again._password("airflow") != before
    assert ask(again, "SELECT 1") == [(1,)]


def test_the_first_bytes_of_a_folder_in_the_temporary_one_are_not_trusted(tmp_path: Path) -> None:
    """Another user may have made it, or a link in its place."""
    own = os.geteuid()
    assert not module._is_private(tmp_path / "absent", own)
    (tmp_path / "folder").mkdir(mode=0o700)
    assert module._is_private(tmp_path / "folder", own)
    assert not module._is_private(tmp_path / "folder", own + 1)
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert not module._is_private(tmp_path / "link", own)
    (tmp_path / "folder").chmod(0o755)
    assert not module._is_private(tmp_path / "folder", own)


def test_folders_of_the_user_are_opened_for_root_alone_for_passing_alone_and_said() -> None:
    closed = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    said: list[str] = []
    server = Postgres(closed / "project" / "var", said.append)
    (closed / "project").mkdir(mode=0o755)
    try:
        server.start()
        modes = [stat.S_IMODE(folder.stat().st_mode) for folder in (closed, closed / "project", server._data.parent)]
        assert modes == ([0o701, 0o755, 0o710] if is_root else [0o700, 0o755, 0o700])
        assert any(f"through {closed}: its mode was 700" in line for line in said) == is_root
    finally:
        server.stop()
        shutil.rmtree(closed)


def test_a_database_of_the_superuser_is_refused(server: Postgres) -> None:
    from include.core.errors import StackError

    with server._maintenance() as cursor:
        cursor.execute("ALTER DATABASE feast OWNER TO postgres")
    with pytest.raises(StackError, match="belongs to the superuser"):
        server.create_databases()
    with server._maintenance() as cursor:
        cursor.execute("ALTER DATABASE feast OWNER TO feast")
    assert psycopg2.connect(server._dsn("feast", "feast")).closed == 0
