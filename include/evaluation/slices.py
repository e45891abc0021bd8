"""Parts of a sample in which a model may be worse than on the whole: the values, or bands of values, of a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.evaluation.metrics import Floats


@dataclass(frozen=True)
class Slice:
    """Some rows of a sample."""

    title: str
    """E.g. ``median_income 2.56 to 4.74``."""
    rows: npt.NDArray[np.bool_]
    """One flag a row of the sample."""

    def __len__(self) -> int:
        return int(self.rows.sum())


def of(column: str, values: Floats, bands: int, texts: Mapping[int, str] | None = None) -> Iterator[Slice]:
    """The slices of one column: each row is in exactly one.

    Args:
        values: one a row; null is not a number, and a slice of its own.
        bands: of more different values than that, bands with about as many rows are made by their quantiles. A band
            begins at its first value, and ends before the first one of the next.
        texts: by code, where the values are codes: of them no bands are made.
    """
    null = np.isnan(values)
    known = values[~null]
    distinct = np.unique(known)
    if texts is not None or len(distinct) <= bands:
        for value in distinct:
            text = (texts or {}).get(int(value), f"{value:g}")
            yield Slice(f"{column} = {text}", values == value)
    else:
        inner = np.quantile(known, np.arange(1, bands) / bands, method="higher")
        starts = np.unique([distinct[0], *inner])
        place = np.searchsorted(starts, values, side="right") - 1
        for n in range(len(starts)):
            rows = (place == n) & ~null
            yield Slice(f"{column} {values[rows].min():.4g} to {values[rows].max():.4g}", rows)
    if null.any():
        yield Slice(f"{column} is null", null)
