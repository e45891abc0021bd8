"""No password is told to another user's process that listens where a server of ours is down."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from ipaddress import ip_address
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from include.core import listeners
from include.core.errors import StackError
from include.core.listeners import MLFLOW_AUTH, require_ours
from include.registry import versions  # noqa: F401  (as every step that asks MLflow)
from include.runtime.airflow_api import AirflowApi

OTHER = 4242
_BOTH = (("127.0.0.1", os.geteuid()), ("::", OTHER))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        yield listening


@pytest.fixture
def listened_to_by(server: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], str]:
    """Have the system say that the server's socket is another user's; returns its address."""
    port = server.getsockname()[1]
    line = next(line for line in listeners.SOCKETS[0].read_text().splitlines() if f":{port:04X} " in line)

    def is_of(user: int) -> str:
        fields = line.split()
        fields[7] = str(user)
        table = tmp_path / "tcp"
        table.write_text("\n".join(["  sl  local_address", " ".join(fields)]))
        monkeypatch.setattr(listeners, "SOCKETS", (table,))
        return f"http://127.0.0.1:{port}"

    return is_of


def test_our_own_listener_and_roots_are_told(server: socket.socket, listened_to_by: Callable[[int], str]) -> None:
    require_ours(f"http://127.0.0.1:{server.getsockname()[1]}", "mlflow")
    require_ours(listened_to_by(os.geteuid()), "mlflow")
    require_ours(listened_to_by(0), "mlflow")


def test_another_users_listener_is_refused(listened_to_by: Callable[[int], str]) -> None:
    url = listened_to_by(OTHER)
    for name in ("127.0.0.1", "localhost"):
        with pytest.raises(StackError, match=rf"another user \({OTHER}\) listens on port \d+ of mlflow"):
            require_ours(url.replace("127.0.0.1", name), "mlflow")
    require_ours(url.replace("127.0.0.1", "mlflow.example"), "mlflow")


@pytest.mark.parametrize(
    ("kind", "host", "reached"),
    [
        (socket.AF_INET, "127.0.0.1", {"127.0.0.1", "localhost"}),
        (socket.AF_INET6, "::1", {"::1", "localhost"}),
        (socket.AF_INET, "127.0.0.2", set()),
        (socket.AF_INET6, "::", {"127.0.0.1", "::1", "localhost"}),
    ],
)
def test_only_who_listens_where_we_connect_is_looked_at(
    kind: socket.AddressFamily, host: str, reached: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may listen at 127.0.0.2, and would keep us from our own server."""
    with socket.create_server((host, 0), family=kind) as other:
        port, somebody = other.getsockname()[1], os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: somebody)
        monkeypatch.setattr(listeners, "_ROOT", -1)
        for name in listeners.LOOPBACK:
            refused = pytest.raises(StackError) if name in reached else nullcontext()
            with refused:
                require_ours(f"http://{f'[{name}]' if ':' in name else name}:{port}", "mlflow")


def test_who_listens_at_the_very_address_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens at all addresses is not reached then."""
    own, everywhere = (listeners.Socket(ip_address(text), listeners.LISTENS, user) for text, user in _BOTH)
    monkeypatch.setattr(listeners, "sockets", lambda port: iter([own, everywhere]))
    require_ours("http://127.0.0.1:5000", "mlflow")
    monkeypatch.setattr(listeners, "sockets", lambda port: iter([everywhere]))
    with pytest.raises(StackError):
        require_ours("http://127.0.0.1:5000", "mlflow")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen as another account")
def test_a_socket_of_another_account_is_refused() -> None:
    os.seteuid(OTHER)
    try:
        server = socket.create_server(("127.0.0.1", 0))
    finally:
        os.seteuid(0)
    with server, pytest.raises(StackError, match=rf"another user \({OTHER}\)"):
        require_ours(f"http://127.0.0.1:{server.getsockname()[1]}", "mlflow")


def test_mlflows_client_sends_nothing_to_it(
    server: socket.socket, listened_to_by: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in = {"URI": listened_to_by(OTHER), "USERNAME": "flightline", "PASSWORD": "secret", "AUTH": MLFLOW_AUTH}
    for name, value in log_in.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    with pytest.raises(MlflowException, match=rf"another user \({OTHER}\) listens on port \d+ of mlflow"):
        MlflowClient().get_experiment("0")
    with pytest.raises(TimeoutError):
        server.accept()


def test_airflows_client_sends_nothing_to_it(server: socket.socket, listened_to_by: Callable[[int], str]) -> None:
    with pytest.raises(StackError, match=rf"another user \({OTHER}\) listens on port \d+ of airflow"):
        AirflowApi(listened_to_by(OTHER), "admin", "secret").dag_ids("any")
    with pytest.raises(TimeoutError):
        server.accept()
