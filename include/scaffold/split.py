"""How test rows are to be drawn: as predictions will be asked for, so far as a file says it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from include.scaffold.guess import ENDS_OF_KEYS, Guess
from include.scaffold.profile import Column, Profile
from include.scaffold.times import Times

Options = dict[str, Any]
"""Of ``training.split``: the kind, and what it needs."""
LONGITUDES, LATITUDES = ("longitude", "lon", "lng", "long"), ("latitude", "lat")
FEWEST, LARGEST = 20, 0.2
"""Groups or blocks, and the share of the rows in the largest: of fewer, or larger ones, chance makes the test rows."""
BLOCKS_ACROSS = 20
"""In each direction."""


def of(
    profile: Profile, target: Column, keys: Sequence[Column], time: Guess[Times | None], label_delay: int
) -> Guess[Options]:
    """The split that is proposed: by time where rows have one, by a group or blocks where they share some, else by key.

    Args:
        label_delay: the gap of a split by time.
    """
    if time.value is not None:
        said = "the rows have a time, and what is predicted is later than what is known; gap is label_delay"
        return Guess({"kind": "by_time", "gap": label_delay}, said)
    keyed = {target.name, *(key.name for key in keys)}
    others = [item for item in profile.columns.values() if item.name not in keyed and not item.personal]
    for column in others:
        if _is_group(column, profile.rows):
            said = f"rows share a {column.name}: a new one has no rows of its own; random_by_key where all are known"
            return Guess({"kind": "by_group", "group": column.name}, said)
    if blocks := _blocks(others):
        said = (
            "neighbours are alike: at random, places that are known would test; random_by_key where those are asked for"
        )
        return Guess({"kind": "by_block", "blocks": blocks}, said)
    return Guess({"kind": "random_by_key"}, f"{time.reason}; by_time where the world changes")


def _is_group(column: Column, rows: int) -> bool:
    if column.name.split("_")[-1] not in ENDS_OF_KEYS or column.type not in ("integer", "text") or column.nulls:
        return False
    return column.distinct <= rows / 2 and _are_many(column.texts.to_pandas().value_counts(normalize=True))


def _blocks(columns: Sequence[Column]) -> dict[str, float]:
    """A block's width, by column; nothing where there is no place, or there are too few blocks."""
    across, along = (_number(columns, names) for names in (LONGITUDES, LATITUDES))
    if across is None or along is None:
        return {}
    widths = {column.name: _rounded((column.high - column.low) / BLOCKS_ACROSS) for column in (across, along)}
    if not all(widths.values()):
        return {}
    numbers = [np.floor(column.numbers / widths[column.name]) for column in (across, along)]
    _, rows = np.unique(np.column_stack(numbers), axis=0, return_counts=True)
    return widths if _are_many(rows / rows.sum()) else {}


def _number(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    found = (column for column in columns if column.name in names and column.is_of_numbers)
    return next((column for column in found if np.isfinite(column.numbers).any()), None)


def _are_many(shares: Iterable[float]) -> bool:
    known = list(shares)
    return len(known) >= FEWEST and max(known) <= LARGEST


def _rounded(width: float) -> float:
    """To one digit."""
    return float(f"{width:.1g}")
