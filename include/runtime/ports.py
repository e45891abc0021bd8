"""Ports of this machine: which are free, and which are kept."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from include.core import listeners
from include.core.listeners import LISTENS

_RANGE, _LEAST = Path("/proc/sys/net/ipv4/ip_local_port_range"), 10_000


def is_free(port: int) -> bool:
    """Whether we can listen there, and nobody has taken it to listen later.

    A port of which connections linger, as those of a server that has just ended, can be taken all the same.
    """
    lingers = any(item.state != LISTENS for item in listeners.sockets(port)) or not listeners.SOCKETS[0].exists()
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
