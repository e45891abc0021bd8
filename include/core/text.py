"""Plain text for logs, terminals and pages: small tables, and values that others wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SHOWN = 80
"""Characters of a value."""
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d"})
"""Those that are no letter with a mark."""
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and a symbol that are drawn as nothing."""
WORD_JOINER = "\u2060"
"""Is not seen, and no line is broken there."""
_ADDRESS = re.compile(r"https?:(?=//)|www(?=\.)|@", re.IGNORECASE)
"""The start of what is taken for an address, up to where it is no longer one."""


def is_version(value: object) -> bool:
    """Whether a value that anybody may have written is a version's number, as it is written everywhere: a 02 or a ٢
    would be found under the number 2, and recorded under another one."""
    return re.fullmatch(r"[1-9][0-9]{0,9}", str(value)) is not None


def is_said(text: str) -> bool:
    """Whether there is anything to read in it: spaces, and what has no width, say nothing."""
    return any(unicodedata.category(character)[0] in "LNPS" and character not in _BLANK for character in text)


def shown(value: object) -> str:
    """A value that anybody may have written, cut, and on one line: what a terminal acts upon is escaped."""
    text = str(value)
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:SHOWN])
    return escaped if max(len(text), len(escaped)) <= SHOWN else f"{escaped[: SHOWN - 1]}…"


def composed(text: str) -> str:
    """The text as it is compared: an é that is written as two characters looks the same, and is the same."""
    return unicodedata.normalize("NFC", text)


def is_one_line(text: str) -> bool:
    """Whether it has neither line breaks nor other control characters."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def plain_letters(text: str) -> str:
    """The text with its letters without their marks: ü is u."""
    parts = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(character for character in parts if not unicodedata.combining(character))


def word(text: str) -> str:
    """The text as part of a name: in lower case, _ for all that is no letter or digit. Empty where it has neither."""
    return re.sub(r"[^a-z0-9]+", "_", plain_letters(text).lower()).strip("_")


def on_one_line(text: str) -> str:
    """The text without line breaks, control characters, and spaces that no word follows."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def in_markdown(text: str) -> str:
    """The text as Markdown, as which the web UI shows it, without a link, an image or HTML of its own.

    A reason or a partition that somebody gave may hold one: an image is fetched from wherever it says, and who follows
    a link to a port of this machine takes the cookie of the log-in along. Bare addresses become links, too.
    """
    return _ADDRESS.sub(f"\\g<0>{WORD_JOINER}", re.sub(r"[\\\[<]", r"\\\g<0>", text))


def table_in_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a table in Markdown; the first row is its head."""
    head, *others = [[in_markdown(" ".join(cell.split())).replace("|", r"\|") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *others))


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
