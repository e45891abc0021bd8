"""A port that somebody has taken is not free, and no password is told to another user's process that listens there."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from include.core.errors import StackError
from include.runtime import ports
from include.runtime.airflow_api import AirflowApi
from include.runtime.ports import free_port, is_free, require_ours


def test_a_port_that_is_taken_to_listen_later_is_not_free() -> None:
    """Two that allow it can bind one address: whoever listens first has it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        assert not is_free(port)
        holder.listen()
        assert not is_free(port)
    assert is_free(port)


def test_a_port_of_a_server_that_has_just_ended_is_free() -> None:
    """Its connections linger for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    assert is_free(port)


def test_a_chosen_port_is_none_that_the_system_gives_to_a_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, last = map(int, ports._RANGE.read_text().split())
    chosen = {free_port() for _ in range(50)}
    assert all(is_free(port) and not first <= port <= last for port in chosen)
    monkeypatch.setattr(ports, "_RANGE", tmp_path / "unknown")
    assert is_free(free_port())


def test_nothing_is_told_to_another_users_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        require_ours(port, "airflow")
        user = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)  # to whom we are another
        api = AirflowApi(f"http://127.0.0.1:{port}", "admin", "secret")
        server.settimeout(1)
        for ask in (lambda: require_ours(port, "airflow"), lambda: api.dag_ids("any")):
            with pytest.raises(StackError, match=rf"another user \({user}\) listens on port {port} of airflow"):
                ask()
        with pytest.raises(TimeoutError):
            server.accept()
    require_ours(free_port(), "airflow")
