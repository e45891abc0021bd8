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

from include.core import html

TEMPLATES = Path(__file__).parent / "templates"
_STYLE_HASH = b64encode(hashlib.sha256(html.STYLE.encode()).digest()).decode()

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


_environment = html.environment(TEMPLATES)
