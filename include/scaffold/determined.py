"""Columns that give the target away: alone, or as a sum or difference of two or three."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, product

import numpy as np

from include.evaluation.metrics import Floats
from include.training import leakage

CLOSE = 1e-9
"""Of the largest value: what a sum of decimal fractions is off by."""


def find(columns: Mapping[str, Floats], codes: Mapping[str, Floats], target: str, values: Floats) -> dict[str, str]:
    """By column, why it says what the target is.

    Args:
        columns: the columns of numbers; a null counts as 0 in a sum.
        codes: all columns, texts as numbers.
        values: of the target.
    """
    known = np.isfinite(values)
    drawn = np.random.default_rng(leakage.SEED).permutation(np.flatnonzero(known))[: leakage.MOST_ROWS]
    actual = values[drawn]
    found = {}
    for name, numbers in codes.items():
        given = numbers[drawn]
        if np.array_equal(given, actual):
            found[name] = f"it equals {target}"
        elif (left := leakage.unexplained(given, actual)) < leakage.UNEXPLAINED:
            found[name] = f"it determines {target} ({1 - left:.1%} of its variance)"
        elif leakage.unexplained(np.isnan(given).astype(np.float64), actual) < leakage.UNEXPLAINED:
            found[name] = f"whether it has a value determines {target}"
    parts = {name: np.nan_to_num(numbers[drawn]) for name, numbers in columns.items()}
    parts = {name: part for name, part in parts.items() if np.ptp(part) > 0 and not np.array_equal(part, actual)}
    for terms in sums(parts, actual):
        said = f"{_written(terms)} = {target}"
        found |= {name: said for name in terms if name not in found or found[name].startswith("it determines")}
    return found


def sums(columns: Mapping[str, Floats], target: Floats) -> list[dict[str, int]]:
    """The sets of two or three columns whose sum or difference is the target in every row; none that contains another.

    Returns:
        By column its sign, 1 or -1.
    """
    if len(target) < leakage.LEAST_ROWS:
        return []
    # A weighted sum over the rows stands for a column: where it does not add up, no row has to be looked at.
    weights = np.random.default_rng(leakage.SEED).normal(size=len(target))
    marks = {name: float(weights @ numbers) for name, numbers in columns.items()}
    found: list[dict[str, int]] = []
    for terms in _candidates(marks, float(weights @ target)):
        if any(earlier.items() <= terms.items() for earlier in found):
            continue
        total = sum(sign * columns[name] for name, sign in terms.items())
        largest = max(np.abs(columns[name]).max() for name in terms)
        if np.abs(total - target).max() <= CLOSE * largest:
            found.append(terms)
    return found


def _candidates(marks: Mapping[str, float], target: float) -> Iterable[dict[str, int]]:
    names = list(marks)
    scale = CLOSE * 1e3 * max([abs(target), *map(abs, marks.values())], default=0.0)
    for count in (2, 3):
        places = np.array(list(combinations(range(len(names)), count)), dtype=np.int64).reshape(-1, count)
        values = np.array(list(marks.values()))[places]
        for signs in product((1, -1), repeat=count):
            for place in places[np.abs(values @ np.array(signs) - target) <= scale]:
                yield {names[n]: sign for n, sign in zip(place, signs, strict=True)}


def _written(terms: Mapping[str, int]) -> str:
    ordered = sorted(terms.items(), key=lambda item: -item[1])
    text = " ".join(f"{'+' if sign > 0 else '-'} {name}" for name, sign in ordered)
    return text.removeprefix("+ ")
