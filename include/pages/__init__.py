"""Every web page that the package makes: a template of this folder, in which every value is escaped.

What a page shows came from elsewhere: cells, names of files and columns, comments, ids of runs. It is text there, never
markup (no template turns escaping off, and a test holds that). A page runs no script, loads nothing, and is
sent with `HEADERS`, by which a browser keeps it to that.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (TEMPLATES / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Mapping[str, str] = {
    # Sandboxed, a page is of an origin of its own, without the cookies of whoever looks at it.
    "Content-Security-Policy": (
        f"sandbox; default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def render(template: str, **values: Any) -> str:
    """The page of a template of this folder.

    Raises:
        jinja2.UndefinedError: it names a value that is not given.
    """
    return _environment.get_template(template).render(values)


def _cell(value: str | float | None) -> str:
    """A text as it is, a number as a person reads it."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals["style"] = Markup(_STYLE)  # noqa: S704  (ours; as text its quotes would be escaped)
_environment.filters["cell"] = _cell
