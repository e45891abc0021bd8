"""`feast ui` as the local stack starts it: definitions applied, the page and the registry behind it answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from include.core.settings import PROJECT_ROOT

pytest.importorskip("grpc_health", reason="feast ui needs feast[grpcio], which requirements.txt has")


def fetch(url, process, seconds=90):
    until = time.monotonic() + seconds
    while True:
        try:
            with urlopen(url, timeout=5) as response:
                return response.read().decode()
        except (URLError, OSError):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < until
            time.sleep(0.3)


@pytest.mark.parametrize("online_kind", ["postgres"], indirect=True)  # the pages show the registry alone
def test_the_pages_show_the_feature_views(feast_environment):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "include.runtime.feast_ui", str(port)],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        assert "<html" in fetch(url, process)
        views = json.loads(fetch(f"{url}/api/v1/feature_views?project=flightline", process))
        assert "california_housing_features" in json.dumps(views)
    finally:
        process.terminate()
        process.communicate(timeout=30)
