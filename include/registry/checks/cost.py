"""Whether a version costs no more than those can pay who predict with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:
    from include.registry.evidence import Evidence

TIMES = 5
"""The fastest of so many counts: whatever else the machine does only makes one slower."""


def _predicts_within(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it predict so many rows within so many milliseconds?"""
    frame, rows, most = evidence.test_rows.frame, params["rows"], params["milliseconds"]
    if frame.empty:
        return CheckResult("predicts_within", False, "There is no test row to predict.")
    some = frame[list(evidence.candidate.features)].iloc[np.resize(np.arange(len(frame)), rows)]
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        evidence.predict(some)
        taken.append(1000 * (time.perf_counter() - began))
    return _within("predicts_within", f"{rows:,} rows take", min(taken), "ms", most)


def _size_within(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Are its files no larger than that?"""
    megabytes = sum(file.stat().st_size for file in evidence.folder.rglob("*") if file.is_file()) / 1e6
    return _within("size_within", "Its files have", megabytes, "MB", params["megabytes"])


def _within(name: str, what: str, value: float, unit: str, most: float) -> CheckResult:
    side = "no more" if value <= most else "more"
    return CheckResult(name, value <= most, f"{what} {value:.3g} {unit}, {side} than {most:g}.", value, most)


CHECKS = (
    Check("predicts_within", _predicts_within, {"milliseconds": Param(float, low=0), "rows": Param(int, 1000, low=1)}),
    Check("size_within", _size_within, {"megabytes": Param(float, low=0)}),
)
