"""Which rows are for fitting, for choosing hyperparameters, and for testing: one entry each in `SPLITS`.

A split is made once, from the rows of a training set, and then held as a few values that name each row's part, whatever
rows come later. They are the version's tag ``split``: so it can be asked of any rows whether a version saw them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.core.errors import ConfigError, DataError
from include.core.partition import Partition
from include.core.registry import choose, recorded
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION

if TYPE_CHECKING:
    import pandas as pd

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left_out"
"""The parts. Rows that are left out are in no training set."""
Parts = npt.NDArray[np.str_]
Held = dict[str, Any]
"""What names each row's part: anything that JSON can express."""


@dataclass(frozen=True)
class Splitter:
    """One way to split."""

    name: str
    hold: Callable[[ModelSpec, pd.DataFrame], Held]
    """From the rows of a training set (key, partition_key, and the group's column) to what names each row's part.

    Raises DataError where they cannot be split so.
    """
    parts: Callable[[Held, pd.DataFrame], Parts]
    """From that to the part of each of any rows. A row's part depends on no other row."""
    options: tuple[str, ...] = ()
    """Keys of ``training.split`` beyond the shares and the seed, that it needs or takes."""


def of(spec: ModelSpec, features: Collection[str]) -> Splitter:
    """The splitter that model.yaml names.

    Args:
        features: names of the model's features.

    Raises:
        ConfigError: there is none of that name, or its options are not as it needs them.
    """
    where, split = f"{spec.file()}: training.split", spec.training.split
    splitter = choose(SPLITS, split.kind, f"{where}.kind")
    for option, is_set in (("gap", split.gap > 0), ("group", split.group is not None)):
        if is_set and option not in splitter.options:
            raise ConfigError(f"{splitter.name} has no {option}", where=f"{where}.{option}", fix="Leave it out")
    if "group" in splitter.options and split.group is None:
        raise ConfigError(f"{splitter.name} needs the column to group by", where=f"{where}.group", fix="Name one")
    if split.group is not None and split.group not in {*spec.columns, *features} - spec.personal_columns:
        raise ConfigError(
            f"{split.group!r} is no column and no feature, or personal data",
            where=f"{where}.group",
            fix="Group by another column",
        )
    return splitter


def hold(spec: ModelSpec, features: Collection[str], rows: pd.DataFrame) -> str:
    """Split the rows of a training set, and say how: JSON, for the version's tag ``split``.

    Args:
        features: names of those among the columns.
        rows: with the entity's key, the partition's, and the group's column where the split is by one.

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

    A row whose group is not known is none: its group may have been trained on.
    """
    mask: npt.NDArray[np.bool_] = parts(spec, held, rows) == TEST
    group = json.loads(held).get("group")
    return mask if group is None else mask & rows[group].notna().to_numpy()


def _by_hash(columns: Sequence[str], held: Held, rows: pd.DataFrame) -> Parts:
    """By a number in [0, 1), SHA-256 of ``<seed>:<values>``: below ``test_share`` a row is test; of the rest the lowest
    ``validation_share`` is validation. So a value is in the same part in every training set that is ever built."""
    if missing := [column for column in columns if column not in rows]:
        raise DataError(
            f"the rows have no {', '.join(missing)}, by which they are split",
            where="training set",
            fix="Build it again with the present model.yaml",
        )
    values = rows[columns[0]]
    for column in columns[1:]:
        values = values.astype(str) + "|" + rows[column].astype(str)
    codes, distinct = values.factorize(use_na_sentinel=False)
    digests = b"".join(
        hashlib.sha256(f"{held['seed']}:{_text(value)}".encode()).digest() for value in distinct.tolist()
    )
    first_48_bits = np.frombuffer(digests, dtype=">u8").reshape(-1, 4)[:, 0] >> np.uint64(16)
    return _cut(first_48_bits[codes] / 2**48, held["test_share"], held["validation_share"])


def _cut(place: npt.NDArray[np.float64], test_share: float, validation_share: float) -> Parts:
    validation_end = test_share + (1 - test_share) * validation_share
    return np.where(place < test_share, TEST, np.where(place < validation_end, VALIDATION, TRAIN))


def _text(value: object) -> str:
    """Whole numbers alike, whether they are stored as integers or, as features are, as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


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
    before = _by_hash(held["keys"], {**held, "test_share": 0.0}, rows)
    return np.where(keys >= held["first_test"], TEST, np.where(keys <= held["last_train"], before, LEFT_OUT))


SPLITS: Mapping[str, Splitter] = {
    splitter.name: splitter
    for splitter in (
        # The rows of one key are together, in every training set.
        Splitter(
            "random_by_key",
            hold=lambda spec, rows: {},
            parts=lambda held, rows: _by_hash(held["keys"], held, rows),
        ),
        # The newest partitions, up to test_share of the rows, are test rows; those of a gap before them are left out.
        Splitter("by_time", hold=_hold_time, parts=_parts_by_time, options=("gap",)),
        # The rows of one value of a column are together, in every training set.
        Splitter(
            "by_group",
            hold=lambda spec, rows: {"group": spec.training.split.group},
            parts=lambda held, rows: _by_hash([held["group"]], held, rows),
            options=("group",),
        ),
    )
}
