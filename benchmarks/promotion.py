"""What luck promotes, and what it costs not to let it: `make bench BENCH=promotion` (ARGS="repetitions rows").

Candidates are drawn as they come from one recipe: their errors have most of themselves in common, and heavy tails. All
are judged on the same test rows, by the gate's own check. First 50 in a row that are no better than production: in how
many repetitions one of them is promoted, by this rule, by the one before it (each for itself at 95 %, by a percentile
bootstrap) and by the naive one (any gain). Then the power: how often one that is truly better is promoted, by its
gain, the number of test rows and its number. It fails where luck promotes more often than in 5 % (and twice the error
of so many repetitions), or a true gain that is called detectable is promoted less often than its power.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import pandas as pd

from include.core import catalogue
from include.core.settings import Settings
from include.evaluation import compare
from include.evaluation.compare import Gain
from include.evaluation.metrics import Floats
from include.lakehouse import comparisons
from include.lakehouse.tables import Lakehouse
from include.registry.checks import CHECKS, CheckResult
from include.registry.comparison import POWER
from include.registry.evidence import Evidence, Rows
from include.registry.versions import Version

CONFIDENCE, MINIMUM_GAIN = 0.95, 0.003
IN_A_ROW, REPETITIONS, ROWS = 50, 200, 1240
NUMBERS = (1, 2, 5, 10, 25, 50)
GAINS = (0.003, 0.010, 0.030)
SIZES = (300, 1240, 4787, 20_000, 50_000)
RESAMPLES = 1000
FEATURES = 10
UNEXPLAINED, SHARED = 0.17, 0.9
"""Share of the target's variance that production's errors have (R2 is 0.83), and of that what all candidates share."""
SPEC = catalogue.load("california_housing")
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Drawn(Evidence):
    """Of a candidate whose predictions are drawn; the check asks it as it asks any other."""

    actual: Floats
    predicted: Floats
    served: Floats
    number: int  # type: ignore[misc]  # in place of what is read from the lakehouse
    promoted_at: datetime = WHEN  # type: ignore[misc]

    @cached_property
    def test_rows(self) -> Rows:
        return Rows(pd.DataFrame({"actual": self.actual}), "all test rows")

    @cached_property
    def drifted_rows(self) -> Rows:
        return Rows(pd.DataFrame({"actual": []}), "the test rows of drifted windows")

    def shared_with_production(self, rows: Rows) -> Rows:
        return rows

    def gain_on_production(self, rows: Rows) -> Gain:
        return self.gain

    @cached_property
    def gain(self) -> Gain:
        return compare.gain(self.metric, self.actual, self.predicted, self.served, (FEATURES, FEATURES))


def main(repetitions: int, rows: int) -> int:
    found = in_a_row(repetitions, rows)
    limit = 1 - CONFIDENCE + 2 * (CONFIDENCE * (1 - CONFIDENCE) / repetitions) ** 0.5
    print(f"{IN_A_ROW} candidates in a row that are no better, {rows:,} test rows, {repetitions} repetitions")
    for rule, any_promoted in found.items():
        print(f"  {rule:<42}one of them is promoted in {any_promoted:6.1%}")
    print(f"\nPower by number of the candidate ({repetitions} repetitions; detectable: with {POWER:.0%}, as number 1)")
    print(f"{'true gain':>11}{'rows':>9}{'detectable':>13}" + "".join(f"{number:>8}" for number in NUMBERS))
    lacking = 0
    for gain in GAINS:
        for size in SIZES:
            promoted, detectable = power(repetitions, size, gain)
            print(f"{gain:>11.3f}{size:>9,}{detectable[0]:>13.4f}" + "".join(f"{share:>8.2f}" for share in promoted))
            least = POWER - 3 * (POWER * (1 - POWER) / repetitions) ** 0.5
            pairs = zip(promoted, detectable, strict=True)
            lacking += sum(share < least for share, needed in pairs if needed <= gain)
    return int(found["this rule"] > limit or lacking > 0)


def in_a_row(repetitions: int, rows: int) -> dict[str, float]:
    """By rule, the share of repetitions in which one of IN_A_ROW candidates that are no better is promoted."""
    rng, promoted = (
        np.random.default_rng(1),
        {"this rule": 0, "each for itself, percentile bootstrap": 0, "any gain": 0},
    )
    for _ in range(repetitions):
        drawn = list(candidates(rng, rows, IN_A_ROW))
        promoted["this rule"] += any(ask(item).passed for item in drawn)
        promoted["each for itself, percentile bootstrap"] += bool((_bootstrap(rng, drawn) > 0).any())
        promoted["any gain"] += any(item.gain.value >= 0 for item in drawn)
    return {rule: count / repetitions for rule, count in promoted.items()}


def power(repetitions: int, rows: int, gain: float) -> tuple[list[float], list[float]]:
    """By number, the share of candidates of a true gain that are promoted, and the gain that is called detectable."""
    rng = np.random.default_rng(2)
    promoted, detectable = np.zeros(len(NUMBERS)), np.zeros(len(NUMBERS))
    for _ in range(repetitions):
        first = next(candidates(rng, rows, 1, gain))
        for place, number in enumerate(NUMBERS):
            item = replace(first, number=number)
            item.__dict__["gain"] = first.gain  # measured once: it knows nothing of the number
            result = ask(item)
            assert result.comparison is not None
            promoted[place] += result.passed
            detectable[place] += result.comparison.detectable_gain
    return list(promoted / repetitions), list(detectable / repetitions)


def ask(drawn: Drawn, minimum_gain: float = MINIMUM_GAIN) -> CheckResult:
    """The check of the gate."""
    params = {"confidence": CONFIDENCE, "minimum_gain": minimum_gain}
    return CHECKS["better_than_production"].ask(drawn, params)


def candidates(rng: np.random.Generator, rows: int, count: int, gain: float = 0.0) -> Iterator[Drawn]:
    """Candidates in a row, of a true gain in R2, on the same rows beside the same version in production."""
    actual, shared = rng.normal(size=rows), _heavy(rng, rows) * SHARED**0.5
    served = actual + UNEXPLAINED**0.5 * (shared + _heavy(rng, rows) * (1 - SHARED) ** 0.5)
    earlier: list[tuple[str, int]] = []
    for name in map(str, range(2, count + 2)):
        own = _heavy(rng, rows) * (1 - SHARED) ** 0.5
        errors = (UNEXPLAINED - gain) ** 0.5 * (shared + own)
        number = comparisons.number_of(name, earlier)
        earlier.append((name, number))
        lake = Lakehouse(Settings().lakehouse_uri)
        yield Drawn(SPEC, lake, version_named(name), version_named("1"), actual, actual + errors, served, number)


def _heavy(rng: np.random.Generator, rows: int) -> Floats:
    """Of variance 1, with a kurtosis of 9: Student's t of 5 degrees of freedom."""
    return np.asarray(rng.standard_t(5, size=rows) * (3 / 5) ** 0.5)


def version_named(name: str) -> Version:
    features = "[" + ", ".join(f'"x{number}"' for number in range(FEATURES)) + "]"
    return Version(SPEC.name, name, "None", "", "", {"features": features, "categories": "{}"}, WHEN)


def _bootstrap(rng: np.random.Generator, drawn: list[Drawn]) -> Floats:
    """The lower bound of each gain by a percentile bootstrap: what the gate asked before."""
    rows, actual = len(drawn[0].actual), drawn[0].actual
    drawn_times = rng.multinomial(rows, np.full(rows, 1 / rows), size=RESAMPLES).astype(np.float64)
    gained = np.column_stack([(item.served - actual) ** 2 - (item.predicted - actual) ** 2 for item in drawn])
    total = drawn_times @ actual**2 - (drawn_times @ actual) ** 2 / rows
    return np.asarray(np.quantile(drawn_times @ gained / total[:, None], 1 - CONFIDENCE, axis=0))


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(main(*(given + [REPETITIONS, ROWS][len(given) :])))
