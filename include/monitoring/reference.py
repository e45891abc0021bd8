"""What a version was trained on: what its windows are compared with, and the rows that it is not measured on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from include.core.spec import ModelSpec
from include.features.fitted_categories import Categories
from include.lakehouse import reference_profiles
from include.lakehouse.reference_profiles import Floats
from include.lakehouse.schemas import PARTITION, PREDICTION, RESIDUAL, SPLIT
from include.lakehouse.tables import Lakehouse
from include.registry import registration, versions
from include.training import fitted_rows, training_set


@dataclass(frozen=True)
class Reference:
    """What a version was fitted to, as it was then, and what it predicted of what it was not."""

    version: str
    features: pd.DataFrame
    """Quantiles of those of its training set, a column a feature, those of the version alone. Its rows say nothing."""
    categories: Categories
    """Those of them that are codes."""
    rows: pd.DataFrame
    """The features of some rows of its training set."""
    predictions: Floats
    """Quantiles of its predictions for its test rows."""
    residuals: Floats
    """Quantiles of what these leave of the labels (`metrics.residuals`)."""
    partitions: tuple[str, ...]
    """Keys of those whose rows are in it, oldest first."""
    fitted: pd.DataFrame
    """Entity's key and partition of the rows that the version was fitted to, or tuned on."""

    @property
    def n_features(self) -> int:
        return len(self.features.columns)

    def was_fitted_to(self, rows: pd.DataFrame) -> pd.Series:
        """Of rows with the entity's key and partition: whether the version has seen their labels."""
        return fitted_rows.among(self.fitted, rows)


def load(spec: ModelSpec, lake: Lakehouse, version: str) -> Reference:
    """Read the profile of a version, and the keys of the training set that its tags name, at the table version there.

    Raises:
        DataError: there is no such version, it has no profile, or its training set is gone.
        TamperedError: its tags are not those that were registered.
    """
    found = versions.get(spec, version)
    registration.of(spec, lake, found)
    named = [*spec.entity.keys, PARTITION]
    rows = training_set.stored(
        spec,
        lake,
        found.tag("training_set"),
        int(found.tag("training_set.version")),
        columns=[*named, SPLIT],
    )
    profile = reference_profiles.read(spec, lake, version)
    return Reference(
        version=version,
        features=pd.DataFrame({name: profile.quantiles[name] for name in found.features}),
        categories=found.categories,
        rows=profile.rows,
        predictions=profile.quantiles[PREDICTION],
        residuals=profile.quantiles[RESIDUAL],
        partitions=tuple(sorted(rows[PARTITION].unique())),
        fitted=fitted_rows.of(spec, rows),
    )
