"""Pages of HTML: what all of them have, and the way to make one. Every value is escaped (`include/pages`)."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
STYLE = (_TEMPLATES / "style.css").read_text(encoding="utf-8")


def environment(folder: Path) -> Environment:
    """What renders the templates of a folder, which extend ``page.html``; a value that is not given is an error."""
    made = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["style"] = Markup(STYLE)  # noqa: S704  (ours; as text its quotes would be escaped)
    made.filters["cell"] = _cell
    return made


def _cell(value: str | float | None) -> str:
    """A text as it is, a number as a person reads it."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
