"""Faults of single columns: rows or all of one in another unit, two in each other's place.

Drift is a change of the world; a fault is a mistake of who delivers, and undoing it makes the column what it was. Each
of these is named only if a mistake of a closed list (`CONVERSIONS`) explains it: what nothing explains stays drift.
What no column shows alone is for `dependence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

import numpy as np
import pandas as pd

from include.evaluation.corrections import Floats, holm
from include.evaluation.drift import kolmogorov_smirnov

FAR = 0.7
"""Kolmogorov-Smirnov distance from which on two distributions hardly overlap. Incomes that double are at .54."""
NEAR = 0.1
"""The distance up to which they are the same for all purposes; in small windows chance allows more."""
APART = 0.3
"""The distance of columns that may be in each other's place."""
WHOLE = 0.1
"""The part of alpha that whole columns take: of those with a fault it needs next to none."""
LEAST_VALUES = 10
"""Columns of fewer different values have no unit that could be told."""
LEAST_ROWS = 3
"""So many rows with the same mistake are no accident."""
SLACK = 1.25
"""How much further out than the reference's outermost values rows have to lie, counted from its median."""
TRIMMED = 2_000
"""One value of so many of the reference may be a mistake itself: it is tested with and without them."""
MOST_SHARE = 0.3
"""Of rows with the same mistake, beside the others."""
CHANCE, CHANCE_OF_ROWS = 0.05, 0.001
"""Two samples differ by chance where such a p-value or a larger one says so: of columns, and of some rows."""
ROW_CONVERSIONS = ("times_10", "times_100", "times_1000", "tenth", "hundredth", "thousandth", "sign", "feet", "metres")
"""Those that are looked for among some rows. Rows of a smaller factor lie among the others; and a few rows do not tell
10 from the 10.76 of square feet."""


class FaultKind(StrEnum):
    """What is wrong."""

    ROWS = "rows"
    """Some rows of a column are in another unit: ``what`` is the conversion, ``value`` the share of rows."""
    UNIT = "unit"
    """All of them are: ``value`` is the distance from the reference that is left when it is undone."""
    SWAPPED = "swapped"
    """Each has what belongs to the other one: ``what`` is the other column, ``value`` what is left when undone."""
    APART = "apart"
    """The values belong to other rows: ``what`` is a column that they went with, empty where it is none in particular,
    ``value`` how wrong the others are about them, 1 as after a shuffle."""
    MOVED = "moved"
    """All of a column that does not vary are moved by ``value``, in its unit."""


@dataclass(frozen=True)
class Conversion:
    """A mistake: what is delivered is ``scale`` times what it should be, and ``offset``."""

    scale: float
    said: str
    offset: float = 0.0

    def undone(self, values: Floats) -> Floats:
        return (values - self.offset) / self.scale

    def undoing(self, column: str) -> str:
        """An expression of SQL for it."""
        moved = f"({column} {'-' if self.offset > 0 else '+'} {abs(self.offset):.6g})" if self.offset else column
        return f"{moved} / {self.scale:.6g}" if self.scale >= 0.5 else f"{moved} * {1 / self.scale:.6g}"


CONVERSIONS: Mapping[str, Conversion] = {
    "times_10": Conversion(10.0, "ten times too large"),
    "times_100": Conversion(100.0, "a hundred times too large"),
    "times_1000": Conversion(1e3, "a thousand times too large"),
    "times_1000000": Conversion(1e6, "a million times too large"),
    "tenth": Conversion(0.1, "a tenth of what it should be"),
    "hundredth": Conversion(0.01, "a hundredth of what it should be"),
    "thousandth": Conversion(1e-3, "a thousandth of what it should be"),
    "millionth": Conversion(1e-6, "a millionth of what it should be"),
    "sign": Conversion(-1.0, "with the wrong sign"),
    "feet": Conversion(1 / 0.3048, "in feet instead of metres (3.281 times)"),
    "metres": Conversion(0.3048, "in metres instead of feet (0.3048 times)"),
    "square_feet": Conversion(1 / 0.3048**2, "in square feet instead of square metres (10.76 times)"),
    "square_metres": Conversion(0.3048**2, "in square metres instead of square feet (0.0929 times)"),
    "kilometres": Conversion(1.609344, "in kilometres instead of miles (1.609 times)"),
    "miles": Conversion(1 / 1.609344, "in miles instead of kilometres (0.6214 times)"),
    "pounds": Conversion(1 / 0.45359237, "in pounds instead of kilograms (2.205 times)"),
    "kilograms": Conversion(0.45359237, "in kilograms instead of pounds (0.4536 times)"),
    "fahrenheit": Conversion(1.8, "in degrees Fahrenheit instead of Celsius", 32.0),
    "celsius": Conversion(1 / 1.8, "in degrees Celsius instead of Fahrenheit", -32 / 1.8),
}
"""The closed list, plainer mistakes first. A factor of 1.5 or 2 is none: so the world changes."""


@dataclass(frozen=True)
class Fault:
    """A mistake that explains what is seen of a column."""

    kind: FaultKind
    column: str
    what: str
    """A name of `CONVERSIONS`, or another column; empty where there is nothing to name."""
    value: float
    least: float = float("nan")
    most: float = float("nan")
    """The bounds of a share of rows, with 95 % confidence; NaN of what is no share."""

    @property
    def said(self) -> str:
        """A clause: ``median_income is ten times too large in 5 % of rows (3 to 8 %)``."""
        match self.kind:
            case FaultKind.ROWS:
                shares = f"{self.value:.1%} of rows ({self.least:.1%} to {self.most:.1%})"
                return f"{self.column} is about {CONVERSIONS[self.what].said} in {shares}"
            case FaultKind.UNIT:
                conversion = CONVERSIONS[self.what]
                return f"{self.column} is {conversion.said} in all rows: {conversion.undoing(self.column)} is as before"
            case FaultKind.SWAPPED:
                return f"{self.column} and {self.what} are in each other's place"
            case FaultKind.APART:
                beside = self.what or "the other columns"
                return f"the values of {self.column} and of {beside} do not belong to the same rows"
            case FaultKind.MOVED:
                return f"{self.column} is moved by about {self.value:+.3g}"


def of_columns(reference: Mapping[str, Floats], current: pd.DataFrame, alpha: float) -> list[Fault]:
    """The faults that single columns show, and pairs that are in each other's place.

    Args:
        reference: by column its values, or their quantiles; null is NaN.
        current: rows of the window, with at least these columns.
        alpha: the chance of any fault where there is none, over all columns, of rows drawn as those of the reference.
    """
    sides = {}
    for name, values in reference.items():
        now = _known(current[name].to_numpy(dtype=np.float64, na_value=np.nan))
        before = np.sort(_known(values))
        if min(len(np.unique(before)), len(np.unique(now))) >= LEAST_VALUES:
            sides[name] = before, now
    if not sides:
        return []
    tested = {name: kolmogorov_smirnov(*side) for name, side in sides.items()}
    level = alpha * WHOLE / len(sides)
    surely = {name: distance for name, (distance, p) in tested.items() if p < level and distance >= APART}
    found = _swapped(sides, list(surely))
    named = {fault.column for fault in found} | {fault.what for fault in found}
    for name, distance in surely.items():
        if distance >= FAR and name not in named and (unit := _unit(name, *sides[name])):
            found.append(unit)
            named.add(name)
    rest = [name for name in sides if name not in named]
    return found + _in_rows({name: sides[name] for name in rest}, alpha * (1 - WHOLE))


def _known(values: Floats) -> Floats:
    return np.asarray(values[np.isfinite(values)], dtype=np.float64)


def fits(before: Floats, now: Floats) -> float | None:
    """The distance of two samples that are alike; None of others."""
    distance, p = kolmogorov_smirnov(before, now)
    return distance if distance <= NEAR or p >= CHANCE else None


def _swapped(sides: Mapping[str, tuple[Floats, Floats]], apart: Sequence[str]) -> list[Fault]:
    """The pairs of columns of which each has the other's distribution, and not its own."""
    found: list[Fault] = []
    for one, other in combinations(apart, 2):
        if any(name in (fault.column, fault.what) for fault in found for name in (one, other)):
            continue
        left = [fits(sides[a][0], sides[b][1]) for a, b in ((one, other), (other, one))]
        if left[0] is not None and left[1] is not None:
            found.append(Fault(FaultKind.SWAPPED, one, other, max(left[0], left[1])))
    return found


def _unit(name: str, before: Floats, now: Floats) -> Fault | None:
    """The conversion that explains a whole column best, where any does."""
    left = {what: fits(before, conversion.undone(now)) for what, conversion in CONVERSIONS.items()}
    fitting = {what: distance for what, distance in left.items() if distance is not None}
    if not fitting:
        return None
    what = min(fitting, key=lambda what: fitting[what])
    return Fault(FaultKind.UNIT, name, what, fitting[what])


def _in_rows(sides: Mapping[str, tuple[Floats, Floats]], alpha: float) -> list[Fault]:
    """The columns of which some rows are in another unit, the p-values corrected together."""
    tested = {name: _outlying(*side) for name, side in sides.items()}
    adjusted = holm(np.array([outlying.p_value for outlying in tested.values()])) if tested else ()
    found = []
    for (name, outlying), p in zip(tested.items(), adjusted, strict=True):
        if p < alpha and (fault := _explained(name, *sides[name], outlying)):
            found.append(fault)
    return found


def _levels(before: Floats, now: Floats) -> list[Floats]:
    """The reference, brought to the window's level: all of a column may drift, and single rows are told all the same.

    Moved to its median; and stretched, too: by the median where values are above zero, else to the quartiles.
    """
    low, middle, high = np.quantile(before, [0.25, 0.5, 0.75])
    now_low, now_middle, now_high = np.quantile(now, [0.25, 0.5, 0.75])
    moved = before - middle + now_middle
    if before[0] >= 0 and min(middle, now_middle) > 0:
        return [before * (now_middle / middle), moved]
    stretch = (now_high - now_low) / (high - low) if high > low and now_high > now_low else 1.0
    return [(before - middle) * stretch + now_middle, moved]


@dataclass(frozen=True)
class _Outlying:
    """Rows that lie further out than the reference lets expect."""

    p_value: float = 1.0
    rows: Floats = field(default_factory=lambda: np.empty(0))
    limit: float = 0.0
    """They are beyond it."""
    above: bool = True

    def told(self, expected: Floats) -> Floats:
        """Of rows with some mistake those that lie as far out."""
        return expected[expected > self.limit] if self.above else expected[expected < self.limit]


def _outlying(before: Floats, now: Floats) -> _Outlying:
    """The side on which so many rows are so far out as is least likely.

    Exact without a distribution: that so many values of the window are beyond the r-th outermost of the reference, of
    values in any order, is hypergeometric (S. S. Wilks, Mathematical Statistics, 1962, 8.7).
    """
    from scipy import stats

    middle, count, levels = float(np.median(now)), len(before), _levels(before, now)
    tests = [_Outlying()]
    for rank in {1, 1 + count // TRIMMED}:
        lowest, highest = (pick(level[place] for level in levels) for pick, place in ((min, rank - 1), (max, -rank)))
        low = lowest / SLACK if before[0] >= 0 else middle + SLACK * (lowest - middle)
        high = highest * SLACK if before[0] >= 0 else middle + SLACK * (highest - middle)
        for limit, above in ((float(high), True), (float(low), False)):
            rows = now[now > limit] if above else now[now < limit]
            if len(rows) >= LEAST_ROWS:
                p = float(stats.hypergeom.cdf(rank - 1, count + len(now), count, rank - 1 + len(rows)))
                tests.append(_Outlying(min(4 * p, 1.0), rows, limit, above))
    return min(tests, key=lambda test: test.p_value)


def _explained(name: str, before: Floats, now: Floats, outlying: _Outlying) -> Fault | None:
    """The conversion that brings the outlying rows back to where the others are, where any does."""
    from scipy import stats

    expected = _levels(before, now)[0]
    interval = stats.binomtest(len(outlying.rows), len(now)).proportion_ci(method="exact")
    fitting = {}
    for what in ROW_CONVERSIONS:
        told = outlying.told(CONVERSIONS[what].scale * expected)
        share, least, most = (
            part * len(expected) / max(len(told), 1) for part in (len(outlying.rows) / len(now), *interval)
        )
        if share > MOST_SHARE:
            continue
        distance, p = kolmogorov_smirnov(told, outlying.rows)
        if p >= CHANCE_OF_ROWS:
            fitting[what] = distance, Fault(FaultKind.ROWS, name, what, share, least, min(most, 1.0))
    return min(fitting.values(), key=lambda found: found[0])[1] if fitting else None
