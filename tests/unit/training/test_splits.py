"""Which rows are test rows: in this training set, and asked later of any other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.core import catalogue
from include.core.errors import ConfigError, DataError
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION
from include.training import splits
from include.training.splits import LEFT_OUT, SPLITS, TEST, TRAIN, VALIDATION

SPEC = catalogue.load("california_housing")
FEATURES = ("longitude", "inland")
OWN = replace(SPLITS["random_by_key"], name="own")
"""What a user might bring."""
OWN_PATH = "tests.unit.training.test_splits:OWN"


def split_by(kind: str, **options: object) -> ModelSpec:
    content = json.loads(SPEC.model_dump_json())
    content["training"]["split"] |= {"kind": kind, **options}
    return ModelSpec.model_validate(content)


def rows(days: range, keys_a_day: int = 100) -> pd.DataFrame:
    keys = [f"2025-01-{day:02}" for day in days for _ in range(keys_a_day)]
    listing = np.arange(len(keys)) + 1
    return pd.DataFrame({"listing_id": listing, PARTITION: keys, "inland": (listing % 7).astype(float)})


def parts(spec: ModelSpec, frame: pd.DataFrame) -> pd.Series:
    return pd.Series(splits.parts(spec, splits.hold(spec, FEATURES, frame), frame), index=frame.index)


def test_the_parts_of_keys_are_those_that_they_always_were() -> None:
    """Versions that are registered were split so: the part of a key must not change."""
    found = parts(SPEC, pd.DataFrame({"listing_id": range(1, 13), PARTITION: "2025-01-01"}))
    assert "".join(part[1] for part in found) == "aarrrereeeee"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(0, 10**6))
def test_part_of_a_key_does_not_depend_on_the_others(keys: list[int], seed: int) -> None:
    spec = split_by("random_by_key", seed=seed)
    frame = pd.DataFrame({"listing_id": keys, PARTITION: "2025-01-01"})
    alone = [parts(spec, frame.iloc[[number]]).iloc[0] for number in range(len(keys))]
    assert list(parts(spec, frame)) == alone


def test_shares_of_the_parts() -> None:
    frame = pd.DataFrame({"listing_id": range(40_000), PARTITION: "2025-01-01"})
    share = parts(SPEC, frame).value_counts(normalize=True)
    assert share[TEST] == pytest.approx(0.3, abs=0.01)
    assert share[VALIDATION] == pytest.approx(0.7 * 0.15, abs=0.01)
    larger = parts(split_by("random_by_key", test_share=0.4), frame)
    assert (larger[parts(SPEC, frame) == TEST] == TEST).all()
    own = parts(split_by("random_by_key", validation_share=0.5), frame).value_counts(normalize=True)
    assert own[VALIDATION] == pytest.approx(0.35, abs=0.01)


def test_keys_of_several_columns_are_one_key() -> None:
    held = json.loads(splits.hold(SPEC, FEATURES, rows(range(1, 2)))) | {"keys": ["shop", "day"]}
    frame = pd.DataFrame({"shop": np.repeat(["a", "b"], 500), "day": np.tile(range(500), 2)})
    found = splits.held_out(SPEC, json.dumps(held), frame)
    assert found.mean() == pytest.approx(0.3, abs=0.05)
    assert not np.array_equal(found[:500], found[500:])


def test_by_time_the_newest_partitions_are_test_rows() -> None:
    frame = rows(range(1, 11))
    found = parts(split_by("by_time"), frame)
    assert set(found[frame[PARTITION] >= "2025-01-08"]) == {TEST}
    assert set(found[frame[PARTITION] < "2025-01-08"]) == {TRAIN, VALIDATION}
    gap = parts(split_by("by_time", gap=2), frame)
    assert set(frame[PARTITION][gap == LEFT_OUT]) == {"2025-01-06", "2025-01-07"}
    assert set(gap[frame[PARTITION] < "2025-01-06"]) == {TRAIN, VALIDATION}


def test_by_time_takes_one_partition_if_none_is_small_enough_but_never_all() -> None:
    history = pd.concat([rows(range(1, 2), 500), rows(range(2, 3), 400)])
    assert set(history[PARTITION][parts(split_by("by_time"), history) == TEST]) == {"2025-01-02"}
    for spec, frame in ((split_by("by_time"), rows(range(1, 2))), (split_by("by_time", gap=1), history)):
        with pytest.raises(DataError, match="no rows are left to train on before 2025-01-0"):
            splits.hold(spec, FEATURES, frame)


def test_by_time_a_version_knows_later_rows_as_held_out_and_its_own_as_before() -> None:
    """What is held of a split does not change with the rows that come later."""
    spec, frame = split_by("by_time", gap=1), rows(range(1, 11))
    held, later = splits.hold(spec, FEATURES, frame), rows(range(1, 21))
    out = splits.held_out(spec, held, later)
    assert set(later[PARTITION][out]) == {f"2025-01-{day:02}" for day in range(8, 21)}
    newer = splits.held_out(spec, splits.hold(spec, FEATURES, later), later)
    both = later[out & newer]
    assert both[PARTITION].min() == "2025-01-15"  # only these are test rows of both versions
    assert splits.held_out(spec, held, later.iloc[:0]).shape == (0,)


def test_a_row_whose_group_is_not_known_is_not_known_to_be_held_out() -> None:
    spec, frame = split_by("by_group", group="inland"), rows(range(1, 11))
    frame["inland"] = frame["listing_id"] % 97
    held = splits.hold(spec, FEATURES, frame)
    unknown = frame.assign(inland=float("nan"))
    for seed in range(20):  # whatever part the hash of nothing falls into
        assert not splits.held_out(spec, json.dumps(json.loads(held) | {"seed": seed}), unknown).any()


def test_by_group_the_rows_of_a_value_stay_together_also_as_floats() -> None:
    spec, frame = split_by("by_group", group="inland"), rows(range(1, 11))
    frame["inland"] = frame["listing_id"] % 97
    held = splits.hold(spec, FEATURES, frame)
    found = splits.parts(spec, held, frame)
    assert pd.Series(found).groupby(frame["inland"]).nunique().max() == 1
    assert set(found) == {TRAIN, VALIDATION, TEST}
    assert list(splits.parts(spec, held, frame.astype({"inland": float}))) == list(found)
    nulls = frame.assign(inland=np.nan)
    assert len(set(splits.parts(spec, held, nulls))) == 1
    with pytest.raises(DataError, match="the rows have no inland, by which they are split"):
        splits.held_out(spec, held, frame.drop(columns="inland"))


def test_wrong_options_are_errors_of_model_yaml() -> None:
    personal = split_by("by_group", group="ocean_proximity")
    tagged = personal.columns["ocean_proximity"].model_copy(update={"pii": True})
    personal = personal.model_copy(update={"columns": {**personal.columns, "ocean_proximity": tagged}})
    for spec, message in (
        (split_by("by_moon"), "split.kind: 'by_moon' is not known"),
        (split_by("random_by_key", gap=1), "split.gap: random_by_key has no gap"),
        (split_by("by_time", group="inland"), "split.group: by_time has no group"),
        (split_by("by_group"), "split.group: by_group needs the column"),
        (split_by("by_group", group="nothing"), "split.group: 'nothing' is no column and no feature"),
        (personal, "split.group: 'ocean_proximity' is no column and no feature, or personal data"),
        (split_by("by_time", blocks=BLOCKS), "split.blocks: by_time has no blocks"),
        (split_by("by_block"), "split.blocks: by_block needs columns and a block's width in each"),
        (split_by("by_block", blocks={"nothing": 1.0}), "split.blocks: 'nothing' is no column and no feature"),
        (
            split_by("by_block", blocks={"ocean_proximity": 1.0}),
            "split.blocks: 'ocean_proximity' is no number but text",
        ),
        (split_by("random_by_key", margin=0.1), "split.margin: random_by_key has no margin"),
        (split_by("by_time", retire_after=3), "split.retire_after: by_time has no retire_after"),
    ):
        with pytest.raises(ConfigError, match=f"california_housing/model.yaml: training.{message}"):
            splits.of(spec, FEATURES)
    assert splits.of(split_by("by_group", group="ocean_proximity"), FEATURES).name == "by_group"


PLACES = st.lists(
    st.tuples(st.floats(-125, -114), st.floats(32, 42)),
    min_size=1,
    max_size=25,
)


def at(places: list[tuple[float, float]]) -> pd.DataFrame:
    numbers = np.array(places, dtype=float).reshape(-1, 2)
    listing = np.arange(len(numbers)) + 1
    return pd.DataFrame(
        {"listing_id": listing, PARTITION: "2025-01-01", "longitude": numbers[:, 0], "latitude": numbers[:, 1]}
    )


def spread(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return at(list(zip(rng.uniform(-125, -114, rows), rng.uniform(32, 42, rows), strict=True)))


BLOCKS = {"longitude": 0.5, "latitude": 0.5}


@settings(deadline=None, max_examples=50)
@given(PLACES, st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.9]))
def test_by_block_a_block_is_in_one_part_whatever_other_rows_there_are(
    places: list[tuple[float, float]], seed: int, margin: float
) -> None:
    spec, frame = split_by("by_block", blocks=BLOCKS, margin=margin, seed=seed, test_share=0.5), at(places)
    found = parts(spec, frame)
    assert list(found) == [parts(spec, frame.iloc[[number]]).iloc[0] for number in range(len(frame))]
    cell = frame["longitude"].floordiv(0.5).astype(str) + frame["latitude"].floordiv(0.5).astype(str)
    kept = found[found != LEFT_OUT]
    assert (kept.groupby(cell[kept.index]).nunique() == 1).all()


@pytest.mark.parametrize("margin", [0.1, 0.4, 0.8])
def test_by_block_no_row_near_a_test_block_is_fitted_to_and_no_other_row_is_left_out(margin: float) -> None:
    """Against every row beside every block, one by one."""
    frame = spread(3000)
    whole = parts(split_by("by_block", blocks=BLOCKS), frame)
    found = parts(split_by("by_block", blocks=BLOCKS, margin=margin), frame)
    assert (found[whole == TEST] == TEST).all()
    x, y = (np.floor(frame[name] / 0.5) for name in ("longitude", "latitude"))
    # The parts of blocks without a row count as well.
    known = {
        (a, b): parts(split_by("by_block", blocks=BLOCKS), at([(a / 2 + 0.25, b / 2 + 0.25)])).iloc[0]
        for a in np.arange(x.min() - 1, x.max() + 2)
        for b in np.arange(y.min() - 1, y.max() + 2)
    }
    reach = margin * 0.5
    for row in frame[whole != TEST].sample(300, random_state=1).index:
        px, py = frame.at[row, "longitude"], frame.at[row, "latitude"]
        near = any(
            known[a, b] == TEST
            and a / 2 - reach <= px < (a + 1) / 2 + reach
            and b / 2 - reach <= py < (b + 1) / 2 + reach
            for a in (x[row] - 1, x[row], x[row] + 1)
            for b in (y[row] - 1, y[row], y[row] + 1)
        )
        assert found[row] == (LEFT_OUT if near else whole[row])


def test_by_block_shares_and_unknown_places() -> None:
    fine = split_by("by_block", blocks={"longitude": 0.05, "latitude": 0.05})
    frame = spread(20_000)
    held = splits.hold(fine, FEATURES, frame)
    share = pd.Series(splits.parts(fine, held, frame)).value_counts(normalize=True)
    assert share[TEST] == pytest.approx(0.3, abs=0.02)
    assert share[VALIDATION] == pytest.approx(0.7 * 0.15, abs=0.02)
    unknown = frame.head(3).assign(latitude=np.nan)
    for seed in range(20):  # whatever part the hash of nothing falls into
        assert not splits.held_out(fine, json.dumps(json.loads(held) | {"seed": seed}), unknown).any()
    with pytest.raises(DataError, match="the rows have no latitude, by which they are split"):
        splits.held_out(fine, held, frame.drop(columns="latitude"))


RETIRING = {"retire_after": 3}


def test_test_rows_retire_and_what_a_version_was_fitted_to_never_judges_it() -> None:
    """Of each two versions, made as partitions come: what both hold out neither has seen."""
    spec = split_by("random_by_key", **RETIRING)
    every = rows(range(1, 13))
    versions = []
    for day in range(3, 13):
        known = every[every[PARTITION] <= f"2025-01-{day:02}"]
        held = splits.hold(spec, FEATURES, known)
        part = pd.Series(splits.parts(spec, held, known), index=known.index)
        assert set(known[PARTITION][part == TEST]) == {f"2025-01-{newer:02}" for newer in range(day - 2, day + 1)}
        versions.append((held, set(known.index[part != TEST]), set(known.index)))
    plain = pd.Series(splits.parts(SPEC, splits.hold(SPEC, FEATURES, every), every))
    for held, fitted, known in versions:
        for other, fitted_by_other, _ in versions:
            both = splits.held_out(spec, held, every) & splits.held_out(spec, other, every)
            assert not {*np.flatnonzero(both)} & (fitted | fitted_by_other)
            assert set(plain[both]) == {TEST}
        rest = pd.Series(splits.parts(spec, held, every)).drop(np.flatnonzero(plain == TEST))
        assert (rest == plain[rest.index]).all(), "no other row changes its part"
        assert known >= fitted
    last = pd.Series(splits.parts(spec, versions[-1][0], every))
    retired = last[(plain == TEST) & (every[PARTITION] < "2025-01-10")]
    assert retired.value_counts(normalize=True)[VALIDATION] == pytest.approx(0.15, abs=0.06)


def test_a_version_of_before_the_option_and_one_of_after_it_are_compared_on_rows_that_neither_saw() -> None:
    every = rows(range(1, 13))
    plain, retiring = SPEC, split_by("random_by_key", **RETIRING)
    first, second = splits.hold(plain, FEATURES, every), splits.hold(retiring, FEATURES, every)
    both = splits.held_out(plain, first, every) & splits.held_out(retiring, second, every)
    assert set(every[PARTITION][both]) == {"2025-01-10", "2025-01-11", "2025-01-12"}


def test_rows_of_keys_that_come_again_do_not_retire() -> None:
    frame = pd.concat([rows(range(1, 2)), rows(range(2, 3))])
    with pytest.raises(DataError, match="some listing_id come in more than one partition"):
        splits.hold(split_by("random_by_key", **RETIRING), FEATURES, frame)


def test_a_users_own_split_is_asked_while_model_yaml_names_it_and_no_tag_imports_code() -> None:
    spec, frame = split_by(OWN_PATH), rows(range(1, 5))
    held = splits.hold(spec, FEATURES, frame)
    assert json.loads(held)["kind"] == OWN_PATH
    assert splits.held_out(spec, held, frame).any()
    with pytest.raises(
        ConfigError, match=r"'tests.unit.training.test_splits:OWN' is neither .* nor named by model.yaml"
    ):
        splits.held_out(SPEC, held, frame)
    assert splits.held_out(spec, splits.hold(SPEC, FEATURES, frame), frame).any()
