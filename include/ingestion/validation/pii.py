"""A scan for personal data in columns that nobody tagged: by the look of the values, so it can be mistaken."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.validation.result import NO_ROWS, Rows

_PATTERNS = {
    "e-mail": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    "phone": (
        r"(^|[^\d])(\+\d{1,3}[ .-]?(\(?\d{2,4}\)?[ .-]?){2,4}\d{2,4}"
        r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4})($|[^\d])"
    ),
    "national id": r"(^|[^\d-])\d{3}-\d{2}-\d{4}($|[^\d-])",
}
_CARD = r"(^|[^\d])\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{1,7}($|[^\d])"
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,18}")


def positions(texts: pa.ChunkedArray | pa.Array) -> Rows:
    """Positions of the values that look like an e-mail address, a phone or card number, or a national id."""
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = column.dictionary_encode()
    values = encoded.dictionary
    hit = pa.array(np.zeros(len(values), dtype=bool))
    for pattern in _PATTERNS.values():
        hit = pc.or_(hit, pc.match_substring_regex(values, pattern))
    like_cards = np.flatnonzero(pc.match_substring_regex(values, _CARD))
    flags = np.asarray(hit).copy()
    for place in like_cards:
        flags[place] = flags[place] or _holds_card(values[int(place)].as_py())
    if not flags.any():
        return NO_ROWS
    suspects = pa.array(np.flatnonzero(flags), encoded.indices.type)
    return np.flatnonzero(pc.is_in(encoded.indices, value_set=suspects)).astype(np.int64)


def _holds_card(text: str) -> bool:
    """Whether a run of 13 to 19 digits has the check digit of ISO/IEC 7812 (Luhn)."""
    for found in _DIGITS.findall(text):
        digits = [int(character) for character in found if character.isdigit()][::-1]
        doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
        if (sum(digits[::2]) + sum(doubled)) % 10 == 0:
            return True
    return False
