"""What a version was trained on: what its windows are compared with, and the rows that it is not measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.core.spec import ModelSpec
from include.lakehouse.schemas import EVENT_TIMESTAMP, PARTITION, SPLIT
from include.lakehouse.tables import Lakehouse
from include.registry import registration, versions
from include.training import training_set

FITTED_PARTS = ("train", "validation")
REFERENCE_ROWS = 20_000
"""So many rows of a larger training set, evenly spread, are compared with. For a window of 400 rows more are worth
nothing: what counts is the harmonic mean of the two."""


@dataclass(frozen=True)
class Reference:
    """The training set of a version, as it was when the version was fitted."""

    version: str
    features: pd.DataFrame
    """Of its rows, whatever their part, at most `REFERENCE_ROWS`; a column a feature, those of the version alone."""
    partitions: tuple[str, ...]
    """Keys of those whose rows are in it, oldest first."""
    fitted: pd.DataFrame
    """Entity's key and event time of the rows that the version was fitted to, or tuned on."""

    @property
    def n_features(self) -> int:
        return len(self.features.columns)

    def was_fitted_to(self, rows: pd.DataFrame) -> pd.Series:
        """Of rows with the entity's key and event time: whether the version has seen their labels."""
        named = list(self.fitted.columns)
        near = self.fitted[self.fitted[EVENT_TIMESTAMP].isin(rows[EVENT_TIMESTAMP].unique())]
        matched = rows[named].merge(near, on=named, how="left", indicator="seen")
        return pd.Series(matched["seen"].eq("both").to_numpy(), index=rows.index)


def load(spec: ModelSpec, lake: Lakehouse, version: str) -> Reference:
    """Read the training set that a version's tags name, at the table version that they name.

    Raises:
        DataError: there is no such version, or its training set is gone.
        TamperedError: its tags are not those that were registered.
    """
    found = versions.get(spec, version)
    registration.of(spec, lake, found)
    features, named = list(found.features), [*spec.entity.keys, EVENT_TIMESTAMP]
    rows = training_set.stored(
        spec,
        lake,
        found.tag("training_set"),
        int(found.tag("training_set.version")),
        columns=list(dict.fromkeys([*named, SPLIT, PARTITION, *features])),
    )
    return Reference(
        version=version,
        features=rows[features].iloc[spread(len(rows), REFERENCE_ROWS)],
        partitions=tuple(sorted(rows[PARTITION].unique())),
        fitted=rows.loc[rows[SPLIT].isin(FITTED_PARTS), named],
    )


def spread(count: int, most: int) -> npt.NDArray[np.int_]:
    """Places of at most so many of ``count`` items, evenly spread, first and last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)
