"""Which columns give the target away, against every combination tried one by one."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from include.scaffold import determined

ROWS = 40
NAMES = "abcde"


def tried_one_by_one(columns: dict[str, np.ndarray], target: np.ndarray) -> set[frozenset[tuple[str, int]]]:
    found: list[frozenset[tuple[str, int]]] = []
    for count in (2, 3):
        for names in combinations(columns, count):
            for signs in product((1, -1), repeat=count):
                terms = frozenset(zip(names, signs, strict=True))
                total = sum(sign * columns[name] for name, sign in terms)
                if (total == target).all() and not any(earlier <= terms for earlier in found):
                    found.append(terms)
    return set(found)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.lists(st.sampled_from([-1, 0, 1]), min_size=5, max_size=5), st.booleans())
def test_sums_are_those_that_trying_each_finds(seed: int, signs: list[int], depends: bool) -> None:
    random = np.random.default_rng(seed)
    columns = {name: random.integers(-50, 50, ROWS).astype(float) for name in NAMES}
    if depends:
        columns["e"] = columns["a"] - columns["b"]
    target = sum(sign * columns[name] for name, sign in zip(NAMES, signs, strict=True))
    target = np.asarray(target if any(signs) else random.integers(-50, 50, ROWS), dtype=float)
    found = {frozenset(terms.items()) for terms in determined.sums(columns, target)}
    assert found == tried_one_by_one(columns, target)


def test_decimal_fractions_add_up_though_floats_do_not() -> None:
    random = np.random.default_rng(1)
    parts = {name: random.integers(0, 10_000, 300) / 100 for name in ("net", "tax", "tip")}
    total = np.round(parts["net"] + parts["tax"] - parts["tip"], 2)
    assert (total != parts["net"] + parts["tax"] - parts["tip"]).any()
    assert determined.sums(parts, total) == [{"net": 1, "tax": 1, "tip": -1}]


def test_each_column_that_gives_the_target_away_is_named_with_why() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 500, 400).astype(float)
    casual = np.minimum(target, random.integers(0, 80, 400))
    columns = {
        "copy": target.copy(),
        "scaled": target * 2.54,
        "casual": casual,
        "registered": target - casual,
        "honest": target + random.normal(0, 200, 400),
    }
    found = determined.find(columns, columns, "cnt", target)
    assert found["copy"] == "it equals cnt"
    assert found["scaled"].startswith("it determines cnt (")
    assert found["casual"] == found["registered"] == "casual + registered = cnt"
    assert "honest" not in found


def test_a_value_that_is_there_for_one_class_alone_gives_it_away() -> None:
    churned = np.tile([0.0, 1.0], 100)
    reason = np.where(churned == 1, 7.0, np.nan)
    assert determined.find({}, {"reason": reason}, "churned", churned) == {
        "reason": "whether it has a value determines churned"
    }
