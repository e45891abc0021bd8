"""The rows whose labels a version has seen: it is not measured on them. And those that a candidate is judged by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION, SPLIT, SUPERSEDED, WORKING
from include.lakehouse.tables import Lakehouse
from include.training import training_set
from include.training.splits import TEST

SEEN = f"{WORKING}seen"
PARTS = ("train", "validation")


def of(spec: ModelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Key and partition of those rows of a training set that a version was fitted to, or tuned on."""
    return rows.loc[rows[SPLIT].isin(PARTS), [*spec.entity.keys, PARTITION]]


def judging(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows of its training set a candidate is judged by: the test rows, but for those of before a change of what
    is predicted."""
    return ((rows[SPLIT] == TEST) & ~rows[SUPERSEDED].astype(bool)).to_numpy()


def read(spec: ModelSpec, lake: Lakehouse, name: str, table_version: int) -> pd.DataFrame:
    """The same of a stored training set; errors as `training_set.stored`."""
    columns = [*spec.entity.keys, PARTITION, SPLIT]
    return of(spec, training_set.stored(spec, lake, name, table_version, columns=columns))


def among(fitted: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Of rows with the entity's key and partition: whether they are among those that were fitted to."""
    named = list(fitted.columns)
    near = fitted[fitted[PARTITION].isin(rows[PARTITION].unique())]
    matched = rows[named].merge(near, on=named, how="left", indicator=SEEN)
    return pd.Series(matched[SEEN].eq("both").to_numpy(), index=rows.index)
