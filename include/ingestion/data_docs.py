"""Data Docs: the page of one validation, without a value of a personal column, and without anything from elsewhere.

Great Expectations' own page fetches its styles, scripts and images from a dozen places on the internet: behind a
firewall it stays blank for minutes, and each view of it is told to others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuiteValidationResult

_STYLE = """\
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
  nav.navbar-expand-md, .sticky > .card:first-child, .cooltip span, #section-1-content-block-3 { display: none; }
  .card .nav { columns: 4; list-style: none; padding: 0; }
  .alert { border-bottom: 2px solid #8888; margin-top: 2rem; }
  h4, h5, .alert h5 { font-size: 1.3rem; margin: 0.5rem 0; }
  h6, .h6 { font-size: 1rem; font-weight: 600; margin: 0.5rem 0; }
  table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
  th, td { text-align: left; vertical-align: top; padding: 0.3rem 1rem 0.3rem 0; border-bottom: 1px solid #8884; }
  .badge { background: #8883; border-radius: 3px; padding: 0 0.3rem; }
  .fa-check-circle::before { content: "\\2713"; color: #2e7d32; font-style: normal; font-weight: 600; }
  .fa-times::before { content: "\\2717"; color: #c62828; font-style: normal; font-weight: 600; }
  .fa-exclamation-triangle::before { content: "!"; color: #ef6c00; font-style: normal; font-weight: 600; }
</style>
"""

_COLUMN_KEYS = ("column", "column_A", "column_B", "column_list", "column_set")


def page(settings: Settings, spec: ModelSpec, partition: Partition) -> Path | None:
    """Where the page of a partition's batch is, if any are kept."""
    return settings.docs_folder / spec.name / partition.key / "index.html" if settings.docs_folder else None


def write(result: ExpectationSuiteValidationResult, hidden: Collection[str], page: Path) -> None:
    """Write the page; of the hidden columns counts are shown, and no value."""
    # Who only asks for the page does not wait for these.
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView
    from great_expectations.util import convert_to_json_serializable

    for outcome in result.results:
        outcome.result.pop("unexpected_index_list", None)
        # Through JSON to plain numbers: the renderer stumbles over those of numpy.
        outcome.result = json.loads(json.dumps(convert_to_json_serializable(outcome.result)))
        config = outcome.expectation_config
        if config is not None and set(hidden) & _columns(config.kwargs):
            outcome.result = {key: value for key, value in outcome.result.items() if _is_count(key)}
    content = _self_contained(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result)))
    page.parent.mkdir(parents=True, exist_ok=True)
    partial = page.with_name(f".{page.name}.partial")
    partial.write_text(content, encoding="utf-8")
    partial.replace(page)


def _self_contained(page: str) -> str:
    """The page with our style instead of scripts, styles, images and links of other places."""
    page = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r"<(link|img)\b[^>]*>", "", page)
    page = re.sub(r"\s(href|onclick)=\"(?!#)[^\"]*\"", "", page)
    return page.replace("</head>", f"{_STYLE}</head>", 1)


def _columns(arguments: dict[str, Any]) -> set[str]:
    named: set[str] = set()
    for key in _COLUMN_KEYS:
        value = arguments.get(key, [])
        named |= set(value) if isinstance(value, list) else {value}
    return named


def _is_count(key: str) -> bool:
    return key.endswith(("_count", "_percent", "_percent_total", "_percent_nonmissing"))
