"""Names that a model's folder, its columns and its features can have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from include.core.errors import UsageError
from include.core.text import is_one_line, plain_letters, word
from include.ingestion.files import RESERVED
from include.lakehouse.schemas import ARRIVED_AT, EVENT_TIMESTAMP, TAKEN

NAME = re.compile(r"[a-z][a-z0-9_]*")
MOST_LETTERS = 40
_TAKEN = {*RESERVED, *TAKEN, EVENT_TIMESTAMP, ARRIVED_AT}


def require_model(name: str) -> None:
    """Refuse a name that no model can have.

    Raises:
        UsageError: saying which it could have.
    """
    if not NAME.fullmatch(name):
        what = f"{name!r} is no name of a model: lower-case letters, digits and _, a letter first"
        fix = f"Take NAME={plain(name, 'sales')}"
        raise UsageError(what if name else "no model is named", where="NAME", fix=fix)


def require_headers(headers: Sequence[str], where: str) -> None:
    """Refuse headers that model.yaml cannot name as the source of a column.

    Raises:
        UsageError: one is empty, or has more than a line.
    """
    for number, header in enumerate(headers, start=1):
        if not header or not is_one_line(header):
            what = "has a header with a line break, or another control character" if header else "has no header"
            raise UsageError(f"column {number} {what}", where=where, fix="Have it delivered with a name of one line")


def of_headers(headers: Sequence[str]) -> dict[str, str]:
    """Names that model.yaml can have, each with the header that it stands for, in the order of the file."""
    taken = {header for header in headers if _is_name(header)}
    return {
        header if _is_name(header) else unused(plain(header, f"column_{number}"), taken): header
        for number, header in enumerate(headers, start=1)
    }


def _is_name(header: str) -> bool:
    return NAME.fullmatch(header) is not None and header not in _TAKEN


def plain(text: str, otherwise: str) -> str:
    """The text as a name: in lower case, with _ for all that is neither letter nor digit."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", plain_letters(text))
    name = word(words)[:MOST_LETTERS].rstrip("_").lstrip("0123456789_")
    return f"{name}_value" if name in _TAKEN else name or otherwise


def unused(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken then."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
