"""Whose processes listen on this machine.

Any user of a machine may listen where a server of ours is down: a password goes to no listener of another user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from include.core.errors import StackError

LISTENS = "0A"
"""The state of a socket that listens (``include/net/tcp_states.h`` of Linux)."""
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_V4, _V6 = IPv4Address("127.0.0.1"), IPv6Address("::1")
LOOPBACK = (str(_V4), "localhost", str(_V6))
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
    others = _answering(address.hostname, port) - {os.geteuid(), _ROOT}
    if others:
        raise StackError(
            f"a process of another user ({', '.join(map(str, sorted(others)))}) listens on port {port} of {name}",
            fix=f"Tell whoever looks after this machine, and choose another: {name.upper()}_PORT=<port> make up",
        )


@dataclass(frozen=True)
class Socket:
    """One of this machine's, of TCP."""

    address: IPv4Address | IPv6Address
    state: str
    user: int


def sockets(port: int) -> Iterator[Socket]:
    """Those of a port."""
    for file in SOCKETS:
        with suppress(OSError):
            for line in file.read_text().splitlines()[1:]:
                fields = line.split()
                local, _, number = fields[1].rpartition(":")
                if int(number, 16) == port:
                    yield Socket(_address(local), fields[3], int(fields[7]))


def _answering(host: str, port: int) -> set[int]:
    """The users whose processes a connection to a loopback address may reach.

    One that listens at that very address has it; else those at all addresses. Others' at other addresses of this
    machine are not reached: whoever listens there keeps nobody from us.
    """
    listening = [item for item in sockets(port) if item.state == LISTENS]
    answering: set[int] = set()
    for address in _V4, _V6:
        if host in (str(address), "localhost"):
            at_it = {item.user for item in listening if item.address == address}
            answering |= at_it or {item.user for item in listening if item.address.is_unspecified}
    return answering


def _address(local: str) -> IPv4Address | IPv6Address:
    """As the system's table has it: words of four bytes, in the machine's order."""
    words = [bytes.fromhex(local[place : place + 8]) for place in range(0, len(local), 8)]
    found = ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words))
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
