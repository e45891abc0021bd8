"""A real MLflow server for tests and benchmarks, that can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from include.core.settings import PROJECT_ROOT

START_SECONDS = 180


class MlflowServer:
    """One on a port of its own, without passwords."""

    def __init__(self, home: Path, database: str = "") -> None:
        """Args: database: its URL; by default a file in the folder, which has the artifacts, too."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        self.url, self._home = f"http://127.0.0.1:{self.port}", home
        self._database = database or f"sqlite:///{home}/mlflow.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", self.port]
        command += ["--workers", "1", "--backend-store-uri", self._database]
        command += ["--artifacts-destination", (self._home / "artifacts").as_uri()]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        variables = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | quiet
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=variables, cwd=PROJECT_ROOT, stdout=log, stderr=log, start_new_session=True
            )
        for _ in range(START_SECONDS * 4):
            assert self._process.poll() is None, (self._home / "log").read_text()
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health").is_success:
                    return
            time.sleep(0.25)
        raise TimeoutError((self._home / "log").read_text())

    def kill(self) -> None:
        """As where the machine's memory is over: with all of its workers, and no word to anybody."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
