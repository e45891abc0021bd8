"""The demo's closing table fits a terminal, and its figures stay whole."""

from __future__ import annotations

from typing import Any

import pytest

from include.demo import table


def line(date: str, led_to: str | None) -> dict[str, Any]:
    figures = {"rows": 16346, "accepted": 16000, "quarantined": 165, "metric": 0.8123, "version": "1"}
    decided = {"drifted_features": ["median_income"], "decision": "request_retraining", "reasons": ["harmful_drift"]}
    return {"date": date, "led_to": led_to, **figures, **decided}


@pytest.mark.parametrize("reasons", ["", "drifted_above_threshold; " * 20])
def test_of_a_table_that_is_too_wide_the_reasons_are_cut(reasons: str) -> None:
    days = [line("2025-01-01", f"v1 rejected: {reasons}"), line("2025-01-02", None)]
    summary = {"model": "m", "grain": "day", "metric": "adjusted R2", "data": {"origin": "a file"}, "days": days}
    text = table.render({**summary, "versions": [], "total_seconds": 3})
    assert max(map(len, text.splitlines())) <= table.WIDTH
    for name in ("rows in", "accepted", "quarantined", "adjusted R2", "drifted", "scored by"):
        assert name in text
    for figure in ("2025-01-01", "16,346", "16,000", "165", "0.812", "median_income", "v1 rejected: "):
        assert figure in text
    assert ("…" in text) is bool(reasons)
