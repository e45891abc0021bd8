"""Data Docs: the page of one validation, without a value of a personal column."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuiteValidationResult
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView
from great_expectations.util import convert_to_json_serializable

PAGE = "index.html"

_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list", "column_set")


def write(result: ExpectationSuiteValidationResult, hidden: Collection[str], folder: Path) -> None:
    """Write ``index.html``; of the hidden columns counts are shown, and no value."""
    for outcome in result.results:
        outcome.result.pop("unexpected_index_list", None)
        # Through JSON to plain numbers: the renderer stumbles over those of numpy.
        outcome.result = json.loads(json.dumps(convert_to_json_serializable(outcome.result)))
        config = outcome.expectation_config
        if config is not None and set(hidden) & _columns(config.kwargs):
            outcome.result = {key: value for key, value in outcome.result.items() if _is_count(key)}
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{PAGE}.partial"
    partial.write_text(page, encoding="utf-8")
    partial.replace(folder / PAGE)


def _columns(arguments: dict[str, Any]) -> set[str]:
    named: set[str] = set()
    for key in _COLUMN_KEYS:
        value = arguments.get(key, [])
        named |= set(value) if isinstance(value, list) else {value}
    return named


def _is_count(key: str) -> bool:
    return key.endswith(("_count", "_percent", "_percent_total", "_percent_nonmissing"))
