"""Faults that no column shows alone: its values belong to other rows, two columns are swapped, a place is moved.

Each column is predicted from the others by a model of the reference. A drift of levels leaves the ranks, a selection of
rows leaves what the others say of a column: so both are looked at, by the column's place among those of the reference
and among those of the window, and only what is wrong in both is a fault. How wrong is counted from 0, as of other rows
of the reference, to 1, as if the column had been shuffled.

It is a test of two samples by what a model makes of them (D. Lopez-Paz, M. Oquab, Revisiting Classifier Two-Sample
Tests, ICLR 2017), one column at a time, on ranks: a classifier of reference and window finds every drift as well.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.evaluation.corrections import Floats
from include.evaluation.drift import kolmogorov_smirnov
from include.evaluation.faults import Fault, FaultKind, fits

MOST_ROWS = 5_000
"""Of the reference: one half is fitted to, the other says how wrong a model is usually."""
BLOCKS = 20
"""Of rows in a row, every other one is fitted to: rows of one day, or place, that are alike are not on both sides."""
LEAST_ROWS = 400
"""Of the reference; from fewer no model learns what belongs together."""
MOST_COLUMNS = 16
"""The first ones, so that a window takes about a second."""
WRONG = 0.7
"""From here on a column's values belong to other rows. Of incomes of one region that rise by half it is .3."""
ELSEWHERE = 0.5
"""The distance from which on a column has other values than any that was learned of: it is left out."""
CLOSE = 0.5
"""Of the error of a shuffled column, what may be left if the others say something of it: an R2 of a third."""
RIGHT = 0.3
"""So little is left when a mistake is undone."""
MOVED = 5.0
"""Standard errors from which on a place is moved, and the part of a standard deviation of what is missed usually."""
MOVED_PART = 0.2
ROUNDS, HALVINGS = 8, 30
"""Of the search for a shift: of several columns in turn, and of one."""
NEGLIGIBLE = 0.2
"""Of the largest shift: a smaller one is the error of the search."""
BINS = 16
LOOSE = 0.8
"""Of a column's variance, what another one leaves of it, if they go together."""
SEED = 20640


@dataclass(frozen=True)
class _Expected:
    """What the other columns say of one, and how wrong that is usually."""

    column: int
    others: list[int]
    model: Any
    usual: tuple[float, float]
    """Mean and standard deviation of the squared error, in ranks."""
    shuffled: float
    """The mean of a shuffled column."""
    signed: tuple[float, float]
    """Mean and standard deviation of the error."""
    rows: int
    """That these are of."""

    def missed(self, ranks: Floats) -> Floats:
        """By how much each row is not what is expected."""
        expected = self.model.predict(ranks[:, self.others], num_threads=1)
        return np.asarray(ranks[:, self.column] - expected, dtype=np.float64)

    def wrong(self, ranks: Floats) -> float:
        """0 as usual, 1 as if shuffled."""
        return float(((self.missed(ranks) ** 2).mean() - self.usual[0]) / (self.shuffled - self.usual[0]))

    def standard_error(self, rows: int) -> float:
        """Of `wrong`, of so many rows as usual."""
        return self.usual[1] * float(np.sqrt(1 / rows + 1 / self.rows)) / (self.shuffled - self.usual[0])


@dataclass(frozen=True)
class _Reference:
    """The columns of a reference, sorted, and what each of them is expected to be."""

    names: list[str]
    columns: list[Floats]
    ranks: Floats
    """Of its rows."""
    expected: list[_Expected]

    def views(self, rows: Floats, fixed: Collection[int] = ()) -> list[Floats]:
        """The ranks of rows among the reference's; and among their own, but of fixed columns, and of two values."""
        among = [_ranks(known, rows[:, place]) for place, known in enumerate(self.columns)]
        own = [
            among[place] if place in fixed or len(np.unique(known)) <= 2 else _ranks(np.sort(values), values)
            for place, (known, values) in enumerate(zip(self.columns, rows.T, strict=True))
        ]
        return [np.column_stack(among), np.column_stack(own)]

    def exclude(self, one: int, other: int) -> bool:
        """Whether two columns are texts of one category."""
        flags = all(len(np.unique(self.columns[place])) == 2 for place in (one, other))
        return flags and _exclude(self.ranks == self.ranks.max(axis=0), one, other)

    def wrong(self, rows: Floats) -> list[float]:
        """Of each expected column how wrong it is in the view in which it is least."""
        views = self.views(rows)
        return [min(item.wrong(view) for view in views) for item in self.expected]


def find(reference: pd.DataFrame, current: pd.DataFrame, alpha: float, fixed: Sequence[str] = ()) -> list[Fault]:
    """The faults that the columns show together.

    Args:
        reference: rows in their order, numbers or null, a column each; the first `MOST_COLUMNS` are looked at.
        current: rows of the window, with at least these columns.
        alpha: the chance of any fault where there is none.
        fixed: columns whose level does not vary, such as places: a shift of them is no drift.
    """
    if len(reference) < LEAST_ROWS or not len(current):
        return []
    sides = {str(name): (_values(reference, name), _values(current, name)) for name in reference.columns[:MOST_COLUMNS]}
    names = [name for name, side in sides.items() if kolmogorov_smirnov(*side)[0] < ELSEWHERE]
    if len(names) < 2:
        return []
    before, now = (np.column_stack([sides[name][place] for name in names]) for place in (0, 1))
    known = _learn(names, before, len(now), alpha)
    wrong = known.wrong(now)
    apart = [item.column for item, value in zip(known.expected, wrong, strict=True) if value >= WRONG]
    if not apart:
        return _moved(known, now, fixed)
    if swapped := _swapped(known, now, apart):
        one, other, left = swapped
        return [Fault(FaultKind.SWAPPED, names[one], names[other], left)]
    worst = {item.column: value for item, value in zip(known.expected, wrong, strict=True)}
    return [Fault(FaultKind.APART, names[place], beside, worst[place]) for place, beside in _torn(known, now, apart)]


def _values(frame: pd.DataFrame, name: str) -> Floats:
    """Of a column; null is below all others."""
    values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(values), -np.inf, values)


def _ranks(known: Floats, values: Floats) -> Floats:
    """The place of values among known ones, sorted, from 0 to 1: in the middle of those that are equal."""
    places = np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")
    return np.asarray(places / (2 * len(known)), dtype=np.float64)


def _learn(names: list[str], rows: Floats, count: int, alpha: float) -> _Reference:
    """What is expected of each column of which ``count`` rows say surely whether they are shuffled."""
    from scipy import stats

    rng = np.random.default_rng(SEED)
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int)
    rows = rows[chosen]
    columns = [np.sort(rows[:, place]) for place in range(rows.shape[1])]
    ranks = np.column_stack([_ranks(known, rows[:, place]) for place, known in enumerate(columns)])
    fitted = np.arange(len(rows)) * BLOCKS // len(rows) % 2 == 0
    sure = float(stats.norm.isf(alpha / len(names)))
    expected = []
    for place in range(len(names)):
        if np.ptp(ranks[fitted, place]) == 0 or all(
            other == place or _exclude(rows, place, other) for other in range(len(names))
        ):
            continue
        item = _fit(rows, ranks, place, fitted, rng)
        if item.usual[0] < CLOSE * item.shuffled and WRONG / item.standard_error(count) >= sure:
            expected.append(item)
    return _Reference(names, columns, ranks, expected)


def _fit(rows: Floats, ranks: Floats, place: int, fitted: npt.NDArray[np.bool_], rng: np.random.Generator) -> _Expected:
    import lightgbm

    others = [other for other in range(rows.shape[1]) if other != place and not _exclude(rows, place, other)]
    parameters = {
        "objective": "regression", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 20, "seed": SEED,
        "verbose": -1, "num_threads": 1, "deterministic": True,
    }  # fmt: skip
    data = lightgbm.Dataset(ranks[fitted][:, others], ranks[fitted, place], params={"verbose": -1})
    model = lightgbm.train(parameters, data, num_boost_round=60)
    known = ranks[~fitted]
    said = np.asarray(model.predict(known[:, others], num_threads=1), dtype=np.float64)
    missed, elsewhere = known[:, place] - said, rng.permutation(known[:, place]) - said
    squared = missed**2
    return _Expected(
        column=place,
        others=others,
        model=model,
        usual=(float(squared.mean()), float(squared.std())),
        shuffled=float((elsewhere**2).mean()),
        signed=(float(missed.mean()), float(missed.std())),
        rows=len(missed),
    )


def _exclude(rows: npt.NDArray[Any], one: int, other: int) -> bool:
    """Whether two columns are of 0 and 1, never 1 together: categories, of which each says what the others are."""
    both = rows[:, [one, other]]
    return bool(np.isin(both, (0.0, 1.0)).all() and not both.all(axis=1).any())


def _swapped(known: _Reference, rows: Floats, apart: Sequence[int]) -> tuple[int, int, float] | None:
    """The two columns, one of them wrong, that leave least wrong when they change places; None where none help."""
    best: tuple[float, int, int] | None = None
    alike = [len(np.unique(column)) > 2 for column in known.columns]
    for one, other in combinations(range(len(known.names)), 2):
        if alike[one] != alike[other] or not {one, other} & set(apart):
            continue
        changed = rows.copy()
        changed[:, [one, other]] = rows[:, [other, one]]
        left = max(known.wrong(changed))
        if left < RIGHT and (best is None or left < best[0]):
            best = left, one, other
    return None if best is None else (best[1], best[2], best[0])


def _torn(known: _Reference, rows: Floats, apart: Sequence[int]) -> list[tuple[int, str]]:
    """The fewest columns that explain which pairs go together no longer, each with the one beside which it shows most.

    A pair by pair look at what the wrong columns have in common: a column that is shuffled makes those wrong, too, that
    are expected by it.
    """
    expected = {item.column: item for item in known.expected}
    reference, views = known.ranks, known.views(rows)
    torn: dict[tuple[int, int], float] = {}
    for one, other in combinations(expected, 2):
        if not {one, other} & set(apart) or known.exclude(one, other):
            continue
        usual, shuffled = _together(reference, reference, one, other)
        if usual < LOOSE * shuffled:
            value = min(_together(reference, view, one, other)[0] for view in views)
            if (wrong := (value - usual) / (shuffled - usual)) >= WRONG:
                torn[one, other] = wrong
    found: list[tuple[int, str]] = []
    while torn:
        weight = {place: sum(value for pair, value in torn.items() if place in pair) for place in expected}
        place = max(weight, key=lambda place: weight[place])
        pair = max((pair for pair in torn if place in pair), key=lambda pair: torn[pair])
        found.append((place, known.names[pair[0] if pair[1] == place else pair[1]]))
        torn = {pair: value for pair, value in torn.items() if place not in pair}
    return found or [(place, "") for place in apart]


def _together(reference: Floats, ranks: Floats, one: int, other: int) -> tuple[float, float]:
    """The mean squared error of the one by its mean in each of `BINS` of the other, and that of a shuffled one."""
    known, place = (np.minimum((side[:, other] * BINS).astype(int), BINS - 1) for side in (reference, ranks))
    counts = np.bincount(known, minlength=BINS)
    means = np.bincount(known, reference[:, one], minlength=BINS) / np.maximum(counts, 1)
    expected = np.where(counts > 0, means, reference[:, one].mean())[place]
    return float(((ranks[:, one] - expected) ** 2).mean()), float(reference[:, one].var() + means[known].var())


def _moved(known: _Reference, rows: Floats, fixed: Sequence[str]) -> list[Fault]:
    """The fixed columns that are moved: one, or all of them, whichever leaves less to be missed once they are back.

    A selection of rows by the place itself looks alike; then the places are not distributed as before when moved back.
    """
    watched = [item for item in known.expected if known.names[item.column] in fixed]
    places = [item.column for item in watched]

    def is_moved(values: Floats) -> bool:
        views = known.views(values, places)
        return any(all(_is_moved(item, view) for view in views) for item in watched)

    if not is_moved(rows):
        return []
    tried = []
    for chosen in [[item] for item in watched] + ([watched] if len(watched) > 1 else []):
        back = rows.copy()
        for _ in range(ROUNDS if len(chosen) > 1 else 1):
            for item in chosen:
                shifts = [_shift(known, item, back, view) for view in known.views(back, places)]
                back[:, item.column] -= min(shifts, key=abs)
        if not is_moved(back):
            ranks = known.views(back, places)[0]
            tried.append((sum(item.wrong(ranks) for item in known.expected), back, chosen))
    if not tried:
        return []
    _, back, chosen = min(tried, key=lambda one: one[0])
    moved = {item.column: _difference(rows[:, item.column], back[:, item.column]) for item in chosen}
    if any(fits(known.columns[place], back[:, place]) is None for place in places):
        return []
    return [
        Fault(FaultKind.MOVED, known.names[place], "", shift)
        for place, shift in moved.items()
        if abs(shift) >= NEGLIGIBLE * max(map(abs, moved.values()))
    ]


def _difference(values: Floats, others: Floats) -> float:
    known = np.isfinite(values)
    return float((values[known] - others[known]).mean())


def _is_moved(item: _Expected, ranks: Floats) -> bool:
    """Whether a column is surely moved, and by so much that it matters."""
    mean, deviation = item.signed
    allowed = max(MOVED * np.sqrt(1 / len(ranks) + 1 / item.rows), MOVED_PART) * deviation
    return bool(abs(item.missed(ranks).mean() - mean) > allowed)


def _shift(known: _Reference, item: _Expected, rows: Floats, ranks: Floats) -> float:
    """By how much a column is moved: without it, it is what is expected. By bisection."""
    column, values = known.columns[item.column], rows[:, item.column]
    expected = (ranks[:, item.column] - item.missed(ranks)).mean() + item.signed[0]
    reach = float(np.subtract(*np.quantile(column[np.isfinite(column)], [0.95, 0.05])))
    low, high = -reach, reach
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _ranks(column, values - middle).mean() > expected else (low, middle)
    return (low + high) / 2
