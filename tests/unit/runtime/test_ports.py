"""A port that somebody has taken is not free."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from include.runtime import ports
from include.runtime.ports import free_port, is_free


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
