"""Ports of this machine: which are free, and whose processes listen.

Any user of a machine may listen where one of ours is about to: a password goes to no listener of another user.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from include.core.errors import StackError

_LISTENS = "0A"
"""The state of a socket that listens (``include/net/tcp_states.h`` of Linux)."""
_RANGE, _LEAST = Path("/proc/sys/net/ipv4/ip_local_port_range"), 10_000
_SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_free(port: int) -> bool:
    """Whether we can listen there, and nobody has taken it to listen later.

    A port of which connections linger, as those of a server that has just ended, can be taken all the same.
    """
    lingers = any(state != _LISTENS for state, _ in _sockets(port)) or not _SOCKETS[0].exists()
    with socket.socket() as probe:
        if lingers:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port to keep: none of those that the system gives away for a connection while we do not listen."""
    first = _first_given_away()
    if first is None or first <= _LEAST:
        return _given_away()
    some = (secrets.randbelow(first - _LEAST) + _LEAST for _ in range(100))
    return next(filter(is_free, some), None) or _given_away()


def _first_given_away() -> int | None:
    """The start of the range of ports for connections, which lies above ours by default (ip(7))."""
    try:
        return int(_RANGE.read_text().split()[0])
    except OSError:
        return None


def _given_away() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_ours(port: int, name: str) -> None:
    """Stop before something is told to another user's process.

    Raises:
        StackError: such a process listens. (Where the system does not say who listens, nobody is refused.)
    """
    others = {user for state, user in _sockets(port) if state == _LISTENS} - {os.geteuid()}
    if others:
        raise StackError(
            f"a process of another user ({', '.join(map(str, sorted(others)))}) listens on port {port} of {name}",
            fix=f"Tell whoever looks after this machine, and choose another: {name.upper()}_PORT=<port> make up",
        )


def _sockets(port: int) -> Iterator[tuple[str, int]]:
    """State and user of each socket of a port."""
    for file in _SOCKETS:
        with suppress(OSError):
            for line in file.read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[3], int(fields[7])
