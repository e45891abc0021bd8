"""Whether a version costs no more than those can pay who predict with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from include.core.errors import DataError
from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:
    import pandas as pd

    from include.registry.evidence import Evidence

LOOK_SECONDS = 0.001
TIMES = 5
"""The fastest of so many counts: whatever else the machine does only makes one slower."""


def _predicts_within(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it predict so many rows within so many milliseconds?"""
    rows, some, taken = params["rows"], _rows(evidence, params["rows"]), []
    for _ in range(TIMES):
        began = time.perf_counter()
        evidence.predict(some)
        taken.append(1000 * (time.perf_counter() - began))
    return _within("predicts_within", f"{rows:,} rows take", min(taken), "ms", params["milliseconds"])


def _memory_within(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it take no more memory to be loaded, and to predict so many rows?"""
    from include.registry import versions

    rows, some = params["rows"], _rows(evidence, params["rows"])
    with _Memory() as memory:
        versions.predictor(evidence.spec, evidence.candidate, evidence.folder)(some)
    said = f"To load it and to predict {rows:,} rows takes"
    return _within("memory_within", said, memory.grown / 1e6, "MB", params["megabytes"])


def _size_within(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Are its files no larger than that?"""
    megabytes = sum(file.stat().st_size for file in evidence.folder.rglob("*") if file.is_file()) / 1e6
    return _within("size_within", "Its files have", megabytes, "MB", params["megabytes"])


def _rows(evidence: Evidence, count: int) -> pd.DataFrame:
    """So many rows to predict, of its test rows, as often as it takes.

    Raises:
        DataError: there is none.
    """
    frame = evidence.test_rows.frame
    if frame.empty:
        raise DataError("there is no test row to predict")
    return frame[list(evidence.candidate.features)].iloc[np.resize(np.arange(len(frame)), count)]


class _Memory:
    """How much more memory this process has at its most, in between. What was free in it before is not counted."""

    grown = 0
    """Bytes."""

    def __enter__(self) -> _Memory:
        process = psutil.Process()
        before, self._ended = process.memory_info().rss, threading.Event()

        def look() -> None:
            while True:
                ended = self._ended.wait(LOOK_SECONDS)
                self.grown = max(self.grown, process.memory_info().rss - before)
                if ended:
                    return

        self._watch = threading.Thread(target=look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()


def _within(name: str, what: str, value: float, unit: str, most: float) -> CheckResult:
    side = "no more" if value <= most else "more"
    return CheckResult(name, value <= most, f"{what} {value:.3g} {unit}, {side} than {most:g}.", value, most)


CHECKS = (
    Check("predicts_within", _predicts_within, {"milliseconds": Param(float, low=0), "rows": Param(int, 1000, low=1)}),
    Check("memory_within", _memory_within, {"megabytes": Param(float, low=0), "rows": Param(int, 1000, low=1)}),
    Check("size_within", _size_within, {"megabytes": Param(float, low=0)}),
)
