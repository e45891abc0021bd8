"""Names that a model's folder, its columns and its features can have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from include.core.errors import UsageError
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


def require_columns(columns: Sequence[str], where: str) -> None:
    """Refuse columns whose names model.yaml cannot have.

    Raises:
        UsageError: listing each, and what it could be named.
    """
    taken: set[str] = {name for name in columns if NAME.fullmatch(name) and name not in _TAKEN}
    renamed = []
    for number, name in enumerate(columns, start=1):
        if name not in taken:
            renamed.append(f"{name!r} to {unused(plain(name, f'column_{number}'), taken)}")
    if renamed:
        raise UsageError(
            f"{len(renamed)} of {len(columns)} columns have names that model.yaml cannot have (lower-case letters, "
            "digits and _, a letter first; none of the package's own)",
            where=where,
            fix=f"Rename {', '.join(renamed)}, in what is delivered, too",
        )


def plain(text: str, otherwise: str) -> str:
    """The text as a name: in lower case, with _ for all that is neither letter nor digit."""
    name = ending(text).lstrip("0123456789_")
    return f"{name}_value" if name in _TAKEN else name or otherwise


def ending(text: str) -> str:
    """The text as the end of a name; empty where it has neither letters nor digits."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", text).lower()
    return re.sub(r"[^a-z0-9]+", "_", words).strip("_")[:MOST_LETTERS].rstrip("_")


def unused(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken then."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
