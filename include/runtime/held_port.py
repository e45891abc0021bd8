"""Ports that no other user of this machine can take while their server is down.

Whoever listens where Airflow's server was gets the tokens that its tasks send. So the supervisor binds such a port, and
does not listen; the server binds beside it, which Linux allows to sockets of one user alone (SO_REUSEPORT, socket(7)).
Started by the local stack: ``python -m include.runtime.held_port api-server …`` is ``airflow api-server …``.
"""

from __future__ import annotations

import asyncio
import runpy
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Any

LOOP = f"{__spec__.name if __spec__ else __name__}:new_event_loop"
"""As uvicorn's option ``--loop`` takes it."""


def hold(port: int) -> socket.socket:
    """Bind a port of the loopback address, until the socket is closed.

    Raises:
        OSError: another user has it, or a server of ours that does not share it.
    """
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        raise
    return held


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The event loop that uvicorn would take, of which a server binds beside whoever holds its port."""
    kind: Any = asyncio.SelectorEventLoop
    with suppress(ImportError):
        import uvloop

        kind = uvloop.Loop

    class Sharing(kind):
        async def create_server(self, *args: Any, **kwargs: Any) -> asyncio.Server:
            shared = {} if kwargs.get("sock") else {"reuse_port": True}
            server: asyncio.Server = await super().create_server(*args, **kwargs | shared)
            return server

    loop: asyncio.AbstractEventLoop = Sharing()
    return loop


def main(arguments: list[str]) -> None:
    import uvicorn

    uvicorn.run = partial(uvicorn.run, loop=LOOP)  # Airflow has no option for it
    sys.argv = ["airflow", *arguments]
    runpy.run_module("airflow", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
