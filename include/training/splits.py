"""Which rows are for fitting, for choosing hyperparameters, and for testing: one entry each in `SPLITS`.

A split is made once, from the rows of a training set, and then held as a few values that name each row's part, whatever
rows come later. They are the version's tag ``split``: so it can be asked of any rows whether a version saw them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.core.errors import ConfigError, DataError
from include.core.partition import Partition
from include.core.registry import choose, recorded
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION, SPLIT
from include.training import folds, places
from include.training.folds import Fold

if TYPE_CHECKING:
    import pandas as pd

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left_out"
"""The parts. Rows that are left out are in no training set."""
Parts = npt.NDArray[np.str_]
Held = dict[str, Any]
"""What names each row's part: anything that JSON can express."""
_NEEDED = {"group": "the column to group by", "blocks": "columns and a block's width in each"}


@dataclass(frozen=True)
class Splitter:
    """One way to split."""

    name: str
    hold: Callable[[ModelSpec, pd.DataFrame], Held]
    """From the rows of a training set (key, partition_key, and the split's columns) to what names each row's part.

    Raises DataError where they cannot be split so.
    """
    parts: Callable[[Held, pd.DataFrame], Parts]
    """From that to the part of each of any rows. A row's part depends on no other row."""
    options: tuple[str, ...] = ()
    """Keys of ``training.split`` beyond the shares and the seed, that it takes."""
    needs: tuple[str, ...] = ()
    """Those that it cannot do without."""
    folds: Callable[[ModelSpec, pd.DataFrame], list[Fold]] | None = None
    """From the rows that are not for testing to ``training.search.folds`` folds of the same kind as the test rows; None
    where a search has the validation rows alone."""


def of(spec: ModelSpec, features: Collection[str]) -> Splitter:
    """The splitter that model.yaml names.

    Args:
        features: names of the model's features.

    Raises:
        ConfigError: there is none of that name, or its options are not as it needs them.
    """
    where, split = f"{spec.file()}: training.split", spec.training.split
    splitter = choose(SPLITS, split.kind, f"{where}.kind")
    options = {option: getattr(split, option) for option in ("gap", "group", "blocks", "margin", "retire_after")}
    for option, value in options.items():
        if value and option not in {*splitter.options, *splitter.needs}:
            raise ConfigError(f"{splitter.name} has no {option}", where=f"{where}.{option}", fix="Leave it out")
        if not value and option in splitter.needs:
            raise ConfigError(f"{splitter.name} needs {_NEEDED[option]}", where=f"{where}.{option}", fix="Name it")
    for column in split.columns:
        option = "blocks" if split.blocks else "group"
        if column not in {*spec.columns, *features} - spec.personal_columns:
            raise ConfigError(
                f"{column!r} is no column and no feature, or personal data",
                where=f"{where}.{option}",
                fix="Name another column",
            )
        if option == "blocks" and column not in features and spec.columns[column].type not in ("integer", "number"):
            raise ConfigError(
                f"{column!r} is no number but {spec.columns[column].type}",
                where=f"{where}.blocks",
                fix="Name numbers, such as longitude and latitude; by_group is for others",
            )
    if spec.training.search.folds and splitter.folds is None:
        raise ConfigError(
            f"{splitter.name} makes no folds",
            where=f"{spec.file()}: training.search.folds",
            fix="Leave it out: trials are then measured on the validation rows",
        )
    return splitter


def hold(spec: ModelSpec, features: Collection[str], rows: pd.DataFrame) -> str:
    """Split the rows of a training set, and say how: JSON, for the version's tag ``split``.

    Args:
        features: names of those among the columns.
        rows: with the entity's key, the partition's, and the columns of `Split.columns`.

    Raises:
        ConfigError: as `of`.
        DataError: they cannot be split so.
    """
    split = spec.training.split
    shares = {"test_share": split.test_share, "validation_share": split.validation_share, "seed": split.seed}
    keys = {"keys": list(spec.entity.keys)}
    return json.dumps({"kind": split.kind, **shares, **keys, **of(spec, features).hold(spec, rows)})


def parts(spec: ModelSpec, held: str, rows: pd.DataFrame) -> Parts:
    """The part of each row.

    Args:
        held: what `hold` said.
        rows: of this or any other training set.

    Raises:
        ConfigError: the split is a user's own, and model.yaml names it no longer.
        DataError: a column that the split needs is not among theirs.
    """
    split = json.loads(held)
    return recorded(SPLITS, split["kind"], spec.training.split.kind, f"{spec.name}, tag split").parts(split, rows)


def held_out(spec: ModelSpec, held: str, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether each row is a test row of the version whose tag ``split`` this is; arguments and errors as `parts`.

    A row whose group or block is not known is none: others of it may have been trained on.
    """
    mask: npt.NDArray[np.bool_] = parts(spec, held, rows) == TEST
    if columns := columns_of(held):
        mask &= rows[columns].notna().all(axis=1).to_numpy()
    return mask


def columns_of(held: str) -> list[str]:
    """The columns that a row's part depends on, beside key and partition.

    Args:
        held: what `hold` said.
    """
    split = json.loads(held)
    return [split["group"]] if "group" in split else list(split.get("blocks", {}))


def search_folds(spec: ModelSpec, rows: pd.DataFrame) -> list[Fold]:
    """What each trial of a search is fitted to and measured on: the folds of model.yaml, or the validation rows alone.

    Args:
        rows: of a training set, with their parts.

    Raises:
        DataError: they are too few, or of too few keys, groups, blocks or partitions, for so many folds.
    """
    part = rows[SPLIT].to_numpy()
    splitter = choose(SPLITS, spec.training.split.kind, f"{spec.file()}: training.split.kind")
    if spec.training.search.folds is None or splitter.folds is None:
        return [Fold(part == TRAIN, part == VALIDATION)]
    chosen = np.flatnonzero(np.isin(part, (TRAIN, VALIDATION)))

    def among_all(mask: places.Mask) -> places.Mask:
        found = np.zeros(len(rows), dtype=np.bool_)
        found[chosen[mask]] = True
        return found

    made = splitter.folds(spec, rows.iloc[chosen])
    return [Fold(among_all(fold.fitted), among_all(fold.judged)) for fold in made]


def _cut(place: places.Places, held: Held) -> Parts:
    """Below ``test_share`` a row is test; of the rest the lowest ``validation_share`` is validation. So a value is in
    the same part in every training set that is ever built."""
    test_share = held["test_share"]
    validation_end = test_share + (1 - test_share) * held["validation_share"]
    return np.where(place < test_share, TEST, np.where(place < validation_end, VALIDATION, TRAIN))


def _hold_key(spec: ModelSpec, rows: pd.DataFrame) -> Held:
    retire_after = spec.training.split.retire_after
    if retire_after is None:
        return {}
    keys = list(spec.entity.keys)
    if rows.duplicated(keys).any():
        raise DataError(
            f"some {', '.join(keys)} come in more than one partition: where older test rows are fitted to, they would "
            "tell of the newer ones",
            where=spec.table("training_sets"),
            fix="Leave training.split.retire_after out of model.yaml, or split by_time, which tests on the newest rows",
        )
    newest = Partition.parse(max(rows[PARTITION]), spec.grain)
    return {"first_test": newest.shift(1 - retire_after).key}


def _parts_by_key(held: Held, rows: pd.DataFrame) -> Parts:
    place = places.of(held["seed"], places.joined(held["keys"], rows))
    found = _cut(place, held)
    if "first_test" not in held:
        return found
    retired = (found == TEST) & (rows[PARTITION].to_numpy() < held["first_test"])
    within = _cut(place / held["test_share"], {**held, "test_share": 0.0})
    return np.where(retired, within, found)


def _hold_time(spec: ModelSpec, rows: pd.DataFrame) -> Held:
    split = spec.training.split
    counts = rows[PARTITION].value_counts().sort_index(ascending=False)
    # At least the newest one, and never the oldest.
    fitting = int((counts.cumsum() <= split.test_share * len(rows)).sum())
    first = str(counts.index[min(max(fitting, 1), len(counts)) - 1])
    last = Partition.parse(first, spec.grain).shift(-1 - split.gap).key
    if not (rows[PARTITION] <= last).any():
        raise DataError(
            f"no rows are left to train on before {first}, the first test partition, with a gap of {split.gap}",
            where=spec.table("training_sets"),
            fix="Ingest more labelled partitions, or lessen training.split.gap in model.yaml",
        )
    return {"last_train": last, "first_test": first}


def _parts_by_time(held: Held, rows: pd.DataFrame) -> Parts:
    keys = rows[PARTITION].to_numpy()
    place = places.of(held["seed"], places.joined(held["keys"], rows))
    before = _cut(place, {**held, "test_share": 0.0})
    return np.where(keys >= held["first_test"], TEST, np.where(keys <= held["last_train"], before, LEFT_OUT))


def _parts_by_group(held: Held, rows: pd.DataFrame) -> Parts:
    return _cut(places.of(held["seed"], places.joined([held["group"]], rows)), held)


def _hold_block(spec: ModelSpec, rows: pd.DataFrame) -> Held:
    return {"blocks": dict(spec.training.split.blocks), "margin": spec.training.split.margin}


def _parts_by_block(held: Held, rows: pd.DataFrame) -> Parts:
    def parts_of(blocks: pd.Series) -> Parts:
        return _cut(places.of(held["seed"], blocks), held)

    found = parts_of(places.cells(held["blocks"], rows))
    if not held["margin"]:
        return found
    near = [parts_of(blocks) == TEST for blocks in places.around(held["blocks"], rows, held["margin"])]
    return np.where((found != TEST) & np.logical_or.reduce(near), LEFT_OUT, found)


def _count(spec: ModelSpec) -> int:
    """Folds, where there are any."""
    return spec.training.search.folds or 1


SPLITS: Mapping[str, Splitter] = {
    splitter.name: splitter
    for splitter in (
        # The rows of one key are together, in every training set.
        Splitter(
            "random_by_key",
            hold=_hold_key,
            parts=_parts_by_key,
            options=("retire_after",),
            folds=lambda spec, rows: folds.balanced(
                places.joined(spec.entity.keys, rows), spec.training.split.seed, _count(spec)
            ),
        ),
        # The newest partitions, up to test_share of the rows, are test rows; those of a gap before them are left out.
        Splitter(
            "by_time",
            hold=_hold_time,
            parts=_parts_by_time,
            options=("gap",),
            folds=lambda spec, rows: folds.expanding(spec, rows, _count(spec)),
        ),
        # The rows of one value of a column are together, in every training set.
        Splitter(
            "by_group",
            hold=lambda spec, rows: {"group": spec.training.split.group},
            parts=_parts_by_group,
            needs=("group",),
            folds=lambda spec, rows: folds.balanced(
                places.joined(spec.training.split.columns, rows), spec.training.split.seed, _count(spec)
            ),
        ),
        # The rows of one block of a grid, in space or whatever the numbers say, are together, in every training set.
        Splitter(
            "by_block",
            hold=_hold_block,
            parts=_parts_by_block,
            options=("margin",),
            needs=("blocks",),
            folds=lambda spec, rows: folds.of_blocks(
                spec.training.split.blocks,
                spec.training.split.margin,
                rows,
                spec.training.split.seed,
                _count(spec),
            ),
        ),
    )
}
