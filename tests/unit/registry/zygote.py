"""Processes that a test may kill: ``python -m tests.unit.registry.zygote``, which has imported all that they need.

Reads from its standard input: a line ``fork <file>`` makes a child, whose process id it answers; ``go`` lets the child
call the function that is pickled in the file, and answers how it ended: 0, -9 if it was killed, 1 if it raised.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feast_delta import fast_import

fast_import.enable()

from include.core.sections import Gates  # noqa: E402
from include.core.settings import Settings  # noqa: E402
from include.core.spec import ModelSpec  # noqa: E402
from include.lakehouse.run import Run  # noqa: E402
from include.lakehouse.tables import Lakehouse  # noqa: E402
from include.registry import steps  # noqa: E402
from tests.unit.training.serving import Serving  # noqa: E402
from tests.unit.training.stage import _Renamed  # noqa: E402


@dataclass(frozen=True)
class Work:
    """A journey of a version, for a process of its own."""

    spec: ModelSpec
    root: str
    shared: str
    run_id: str
    journey: str
    version: str

    def do(self) -> None:
        lake: Any = _Renamed(Lakehouse(self.root), self.shared, self.spec.name)
        JOURNEYS[self.journey](Run(self.spec, Settings(), lake, self.run_id), self.version)


def _promote(run: Run, version: str) -> None:
    """As ``promote_model`` does it."""
    steps.record_request(run, version)
    if not steps.check_staging(run, version).passed:
        steps.reject(run, version)
    else:
        steps.move_to_staging(run, version)
        if steps.check_production(run, version).passed:
            steps.approve(run, version)
            steps.promote(run, version)
        else:
            steps.reject(run, version)
    steps.answer_request(run, version)


def _roll_back(run: Run, version: str) -> None:
    steps.roll_back(run, version, "a process is killed")


LENIENT = [{"check": "above_threshold", "threshold": -1e9}]
JOURNEYS: dict[str, Callable[[Run, str], None]] = {"promote": _promote, "roll_back": _roll_back}


class Zygote:
    """The process, as a test talks to it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "work.pickle"
        command = [sys.executable, "-m", "tests.unit.registry.zygote"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def fork(self, work: Work) -> int:
        self._file.write_bytes(pickle.dumps(work))
        return int(self._ask(f"fork {self._file}"))

    def go(self) -> int:
        return int(self._ask("go"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def gated(made: Serving, production: list[dict]) -> ModelSpec:
    """The model with so many checks that it takes as many requests as a kill each is affordable for."""
    gates = Gates.model_validate({"staging": ["has_description", "has_signature"], "production": production})
    spec = made.spec.model_copy(update={"gates": gates})
    spec._folder = made.spec.folder
    return spec


def work(made: Serving, spec: ModelSpec, run_id: str, journey: str, version: str) -> Work:
    """What a version of a test's model goes through."""
    lake: Any = made.scene.world.lake
    return Work(spec, lake._lake._root, lake._shared, run_id, journey, version)


def _main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the work prints is no answer
    child, gate = 0, 0
    for line in sys.stdin:
        word, _, file = line.strip().partition(" ")
        if word == "fork":
            waits, gate = os.pipe()
            child = os.fork()
            if child == 0:
                _child(waits, Path(file))
            os.close(waits)
            print(child, file=answers, flush=True)
        else:
            os.write(gate, b"g")
            os.close(gate)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def _child(waits: int, file: Path) -> None:
    try:
        os.read(waits, 1)
        pickle.loads(file.read_bytes()).do()
    except BaseException:  # noqa: BLE001  (a child never goes on as its parent)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    # Pickles name the module as whoever imports it does.
    from tests.unit.registry import zygote

    zygote._main()
