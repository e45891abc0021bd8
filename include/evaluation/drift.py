"""Data drift: is a window drawn from the same distribution as the reference, column by column?

Three things are kept apart: the test (`TESTS`: how unlikely is the difference, and how large), the correction
(`corrections.CORRECTIONS`: how many tests there were), and the rule (a column has drifted when its corrected p-value
is below ``alpha`` *and* the distance at least the ``min_effect`` of its kind). With thousands of rows a test finds
differences too small to matter, hence the second condition.

What happens to what no test should have to think of:

- null in a column of numbers: counts as a value below all others, so a column that starts to arrive empty is drift;
- constant in reference and window alike, or no rows on one side: distance 0, p-value 1, no drift;
- two values over both samples (one-hot columns): the distance is the difference of two shares, and Fisher's exact test
  gives the p-value, because ties make that of a test for numbers far too large;
- a window of one or a few rows is tested like any other: a single row is drift only where it lies further
  out than all but about ``alpha / number of columns`` of the reference;
- text among the features: refused, they are numbers, or codes of categories, by the time they are monitored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from include.core.errors import ConfigError, DataError
from include.core.registry import choose
from include.core.sections import Drift
from include.core.spec import ModelSpec
from include.core.text import aligned
from include.evaluation.corrections import CORRECTIONS, Floats

if TYPE_CHECKING:  # scipy and pandas take a second to import, and who checks model.yaml needs the names alone
    import pandas as pd

Counts = npt.NDArray[np.int64]
Compare = Callable[[Floats, Floats], tuple[float, float]]
"""From reference and window to (distance within 0..1, p-value).

Numbers: the values of each, at least three different ones over both; null is -inf. Categories and nulls: the counts
of each, a place a category, in the same order, each category on at least one side, each side with rows."""
MOST_QUANTILES = 10_000
"""Of a reference. Against a window of 400 rows, 150,000 rows are worth 399 and these 385: n m / (n + m)."""
LEAST_EXPECTED = 5
DRAWN, SEED = 9_999, 20640
"""Tables, and of what numbers: the same counts have the same p-value. The smallest is 1e-4."""
MOST_DRAWN_FROM = 10**8
"""Rows; so many are as certain as there can be."""
PSI_BINS = 10
PSI_LEAST_SHARE = 1e-4


class ColumnKind(StrEnum):
    """What about a column is tested."""

    NUMBER = "number"
    CATEGORY = "category"
    NULLS = "nulls"
    """How many of its values are null."""


@dataclass(frozen=True)
class DriftTest:
    """How different two samples of a column are, and how unlikely that is by chance."""

    name: str
    kinds: frozenset[ColumnKind]
    compare: Compare


@dataclass(frozen=True)
class Samples:
    """Two samples of one column, as `Compare` describes them; categories may be on neither side, a side empty."""

    column: str
    kind: ColumnKind
    reference: Floats
    current: Floats


@dataclass(frozen=True)
class ColumnDrift:
    """The result of one column."""

    column: str
    kind: ColumnKind
    distance: float
    """Between the two distributions, 0 (same) to 1 (apart)."""
    p_value: float
    adjusted_p: float
    """p-value after the correction for the number of columns tested."""
    drifted: bool


def quantiles(values: Floats) -> Floats:
    """What is kept of a reference: as many evenly spaced quantiles as there are values, at most `MOST_QUANTILES`.

    The distribution function of n of them is off by at most 1 / 2n. Null is below all others.

    Returns:
        Sorted; up to that number the values themselves.
    """
    order = np.lexsort((values, ~np.isnan(values)))
    count = min(MOST_QUANTILES, len(values))
    return values[order][((np.arange(count) + 0.5) / max(count, 1) * len(values)).astype(int)]


def kolmogorov_smirnov(reference: Floats, current: Floats) -> tuple[float, float]:
    """Two-sample Kolmogorov-Smirnov distance and its two-sided asymptotic p-value (Hodges, 1958).

    Asymptotic at every size, so that a p-value does not jump where an exact method would take over. Ties make
    it conservative: fewer false alarms than ``alpha`` promises.
    """
    from scipy import stats

    result = stats.ks_2samp(reference, current, method="asymp")
    return float(result.statistic), float(result.pvalue)


def population_stability(reference: Floats, current: Floats) -> tuple[float, float]:
    """Population stability index (Siddiqi, 2006), at most 1, over tenths of the reference; nulls are one more bin.

    By custom 0.1 is a change to look at and 0.25 a large one. The p-value is Pearson's of the same bins, so it finds
    what moves rows from bin to bin and nothing within one.
    """
    known = reference[np.isfinite(reference)]
    cuts = np.unique(np.quantile(known, np.arange(1, PSI_BINS) / PSI_BINS)) if len(known) else np.array([])
    edges = np.concatenate([[-np.inf], cuts])  # a bin is what lies above its edge, up to and with the next
    counts = [
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1).astype(float)
        for values in (reference, current)
    ]
    before, now = (side[counts[0] + counts[1] > 0] for side in counts)
    if len(before) < 2:
        return 0.0, 1.0
    p, q = (np.maximum(side / side.sum(), PSI_LEAST_SHARE) for side in (before, now))
    return min(float(((q - p) * np.log(q / p)).sum()), 1.0), chi_squared(before, now)[1]


def chi_squared(reference: Floats, current: Floats) -> tuple[float, float]:
    """Total variation distance, and Pearson's chi-squared test of homogeneity (1900).

    Where a category has fewer than `LEAST_EXPECTED` rows by chance (Cochran, Some methods for strengthening the common
    chi-squared tests, 1954), the p-value is Monte Carlo's, of tables with the same margins (Hope, 1968): by that of the
    distribution every fifth window of ten rows in rare categories would have drifted.
    """
    from scipy import stats

    distance = np.abs(reference / reference.sum() - current / current.sum()).sum() / 2
    found = stats.chi2_contingency([reference, current], correction=False)
    counts = np.rint([reference, current]).astype(np.int64)
    if found.expected_freq.min() >= LEAST_EXPECTED or not all(counts.sum(axis=1)) or counts.sum() > MOST_DRAWN_FROM:
        return float(distance), float(found.pvalue)
    return float(distance), _by_drawing(*counts)


def _by_drawing(reference: Counts, current: Counts) -> float:
    """The share of tables with these margins, of some that are drawn, that are as far from what is expected."""
    pooled = (reference + current)[reference + current > 0]
    expected = pooled * (current.sum() / pooled.sum())
    rng = np.random.default_rng(SEED)
    drawn = rng.multivariate_hypergeometric(pooled, current.sum(), size=DRAWN)

    def statistic(counts: Counts) -> Floats:  # a table's chi-squared is a multiple of it, the same for all
        return np.asarray(((counts - expected) ** 2 / expected).sum(axis=-1))

    as_far = statistic(drawn) >= statistic(current[reference + current > 0]) * (1 - 1e-9)
    return float((1 + as_far.sum()) / (1 + DRAWN))


def fisher(reference: Floats, current: Floats) -> tuple[float, float]:
    """Difference of two shares, and Fisher's exact test (1922) of the table of two by two."""
    from scipy import stats

    distance = abs(reference[0] / reference.sum() - current[0] / current.sum())
    counts = [[round(count) for count in side] for side in (reference, current)]
    return float(distance), float(stats.fisher_exact(counts).pvalue)


_NUMBERS = frozenset({ColumnKind.NUMBER})
_COUNTS = frozenset({ColumnKind.CATEGORY, ColumnKind.NULLS})

TESTS: Mapping[str, DriftTest] = {
    test.name: test
    for test in (
        DriftTest("kolmogorov_smirnov", _NUMBERS, kolmogorov_smirnov),
        DriftTest("population_stability", _NUMBERS, population_stability),
        DriftTest("chi_squared", _COUNTS, chi_squared),
        DriftTest("fisher", frozenset({ColumnKind.NULLS}), fisher),
    )
}


def check(spec: ModelSpec) -> None:
    """Refuse what model.yaml names and is not there.

    Raises:
        ConfigError: an unknown test or correction, or a test that is not for that kind of column.
    """
    file = f"{spec.file()}: "
    for kind in ColumnKind:
        _test(spec.monitoring.drift, kind, file)
    choose(CORRECTIONS, spec.monitoring.drift.correction, f"{file}monitoring.drift.correction")


def described(tested: Sequence[tuple[str, ColumnDrift]], config: Drift) -> str:
    """How many drifted, and a line for each, under its name, whose distance is large enough to count: for logs."""
    lines = [("", "distance", "at least", "adjusted p", "below", "")]
    for name, item in sorted(tested, key=lambda named: -named[1].distance):
        least = config.tests[item.kind.value].min_effect
        if item.drifted or item.distance >= least:
            numbers = f"{item.distance:.4f}", f"{least:g}", f"{item.adjusted_p:.2g}", f"{config.alpha:g}"
            lines.append((name, *numbers, "drifted" if item.drifted else ""))
    count = f"{sum(item.drifted for _, item in tested)} of {len(tested)} distributions drifted"
    return f"{count}\n{aligned(lines)}" if len(lines) > 1 else count


def detect(
    reference: pd.DataFrame, current: pd.DataFrame, config: Drift, categories: Collection[str] = ()
) -> list[ColumnDrift]:
    """Test every column of the reference, in its order, for drift of the current window.

    Args:
        reference: a numeric column per feature, of rows or of their `quantiles`; at least one.
        current: rows of the window, with at least the reference's columns (others are ignored); may be empty.
        categories: columns that are codes: a null is one more category, and so is a code of one side alone.

    Raises:
        DataError: the reference is empty, or a column is absent or holds text.
    """
    missing = [column for column in reference.columns if column not in current.columns]
    if missing:
        raise DataError(
            f"columns {', '.join(missing)} of the reference are not in the window",
            fix="Rebuild the window's features with the features.sql that the model was trained with",
        )
    if reference.empty and len(reference.columns):
        raise DataError("the drift reference has no rows", fix="Compare with a version that was trained on some")
    samples = []
    for name in reference.columns:
        sides = _values(reference, name), _values(current, name)
        if name in categories:
            codes = np.union1d(*sides)
            counts = (np.array([(side == code).sum() for code in codes], dtype=np.float64) for side in sides)
            samples.append(Samples(str(name), ColumnKind.CATEGORY, *counts))
        else:
            samples.append(Samples(str(name), ColumnKind.NUMBER, *sides))
    return compare(samples, config)


def compare(samples: Sequence[Samples], config: Drift) -> list[ColumnDrift]:
    """Test columns of any kind, in their order: each by the test of its kind, the p-values corrected together."""
    if not samples:
        return []
    found = [_distance(config, item) for item in samples]
    correct = choose(CORRECTIONS, config.correction, "model.yaml: monitoring.drift.correction")
    adjusted = correct(np.array([p_value for _, p_value in found]))
    return [
        ColumnDrift(
            column=item.column,
            kind=item.kind,
            distance=distance,
            p_value=p_value,
            adjusted_p=float(adjusted_p),
            drifted=bool(adjusted_p < config.alpha and distance >= config.tests[item.kind.value].min_effect),
        )
        for item, (distance, p_value), adjusted_p in zip(samples, found, adjusted, strict=True)
    ]


def _distance(config: Drift, samples: Samples) -> tuple[float, float]:
    test, reference, current = _test(config, samples.kind), samples.reference, samples.current
    if samples.kind is ColumnKind.NUMBER:
        if not (len(reference) and len(current)):
            return 0.0, 1.0
        distinct = np.unique(current)
        if len(distinct) <= 2:  # or else there is no need to look at the reference, which is long
            distinct = np.union1d(reference, current)
        if len(distinct) > 2:
            return test.compare(reference, current)
        test = TESTS["fisher"]
        reference, current = (
            np.array([(side == value).sum() for value in distinct], dtype=np.float64) for side in (reference, current)
        )
    filled = reference + current > 0
    reference, current = reference[filled], current[filled]
    if len(reference) < 2 or not (reference.sum() and current.sum()):
        return 0.0, 1.0
    return test.compare(reference, current)


def _test(config: Drift, kind: ColumnKind, file: str = "model.yaml: ") -> DriftTest:
    where = f"{file}monitoring.drift.tests.{kind}.test"
    name = config.tests[kind.value].test
    test = choose(TESTS, name, where)
    if kind not in test.kinds:
        fitting = ", ".join(sorted(name for name, item in TESTS.items() if kind in item.kinds))
        raise ConfigError(
            f"{name} is for {', '.join(sorted(test.kinds))}, not for {kind}", where=where, fix=f"Use one of {fitting}"
        )
    return test


def _values(frame: pd.DataFrame, column: str) -> Floats:
    try:
        values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise DataError(f"column {column} is not numeric", fix="Encode it as numbers in features.sql") from None
    return np.where(np.isnan(values), -np.inf, values)
