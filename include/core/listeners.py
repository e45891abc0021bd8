"""Whose processes listen on this machine.

Any user of a machine may listen where a server of ours is down: a password goes to no listener of another user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from include.core.errors import StackError

LISTENS = "0A"
"""The state of a socket that listens (``include/net/tcp_states.h`` of Linux)."""
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MLFLOW_AUTH = "flightline-own-listener"
"""In MLFLOW_TRACKING_AUTH, has MLflow's client look before each request (`include.training.own_listener`)."""
_ROOT = 0


def require_ours(url: str, name: str) -> None:
    """Stop before something is told to another user's process. Root, who sees everything, is no other user.

    Args:
        url: of the server; only one on the loopback address is looked at.
        name: of the server, as in ``<NAME>_PORT``.

    Raises:
        StackError: such a process listens. (Where the system does not say who listens, nobody is refused.)
    """
    address = urlsplit(url)
    if address.hostname not in LOOPBACK:
        return
    port = address.port or (443 if address.scheme == "https" else 80)
    others = {user for state, user in sockets(port) if state == LISTENS} - {os.geteuid(), _ROOT}
    if others:
        raise StackError(
            f"a process of another user ({', '.join(map(str, sorted(others)))}) listens on port {port} of {name}",
            fix=f"Tell whoever looks after this machine, and choose another: {name.upper()}_PORT=<port> make up",
        )


def sockets(port: int) -> Iterator[tuple[str, int]]:
    """State and user of each socket of a port."""
    for file in SOCKETS:
        with suppress(OSError):
            for line in file.read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[3], int(fields[7])
