"""Where rows stand in a split: a number for what keeps together (a key, a group, a block), whatever rows come later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from include.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Places = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def require(columns: Sequence[str], rows: pd.DataFrame) -> None:
    """
    Raises:
        DataError: the rows have not all of these columns.
    """
    if missing := [column for column in columns if column not in rows]:
        raise DataError(
            f"the rows have no {', '.join(missing)}, by which they are split",
            where="training set",
            fix="Build it again with the present model.yaml",
        )


def joined(columns: Sequence[str], rows: pd.DataFrame) -> pd.Series:
    """What keeps together where rows are split by these columns: their values, of several as one text."""
    require(columns, rows)
    values = rows[columns[0]]
    for column in columns[1:]:
        values = values.astype(str) + "|" + rows[column].astype(str)
    return values


def cells(widths: Mapping[str, float], rows: pd.DataFrame, shift: Sequence[float] = ()) -> pd.Series:
    """The block that each row is in, a text: its number in each direction, nan where that is not known.

    Args:
        widths: of a block, by column.
        shift: taken for a row that is so many blocks further, in each direction.
    """
    import pandas as pd

    require(list(widths), rows)
    numbers = [
        np.floor(rows[column].to_numpy(dtype=np.float64) / width + step)
        for (column, width), step in zip(widths.items(), shift or [0.0] * len(widths), strict=True)
    ]
    whole = np.unique(np.column_stack(numbers), axis=0, return_inverse=True)
    texts = np.array(["|".join(_text(number) for number in cell) for cell in whole[0].tolist()], dtype=object)
    return pd.Series(texts[whole[1].reshape(-1)], index=rows.index)


def around(widths: Mapping[str, float], rows: pd.DataFrame, margin: float) -> list[pd.Series]:
    """The blocks that are within a margin of each row, besides its own; the margin is a share of a block's width."""
    steps = product((-margin, 0.0, margin), repeat=len(widths))
    return [cells(widths, rows, step) for step in steps if any(step)]


def of(seed: int, values: pd.Series) -> Places:
    """A number in [0, 1) for each value: SHA-256 of ``<seed>:<value>``."""
    codes, distinct = values.factorize(use_na_sentinel=False)
    digests = b"".join(hashlib.sha256(f"{seed}:{_text(value)}".encode()).digest() for value in distinct.tolist())
    first_48_bits = np.frombuffer(digests, dtype=">u8").reshape(-1, 4)[:, 0] >> np.uint64(16)
    places: Places = first_48_bits[codes] / 2**48
    return places


def _text(value: object) -> str:
    """Whole numbers alike, whether they are stored as integers or, as features are, as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
