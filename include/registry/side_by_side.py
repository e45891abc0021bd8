"""Two versions on the same rows that were served, and that neither has seen the labels of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.evaluation import compare, metrics
from include.evaluation.compare import Gain
from include.evaluation.metrics import Floats
from include.lakehouse import predictions, served_features
from include.lakehouse.schemas import FEATURES_VERSION, LABELS, MODEL_VERSION, PARTITION, PREDICTION, PREDICTIONS
from include.lakehouse.tables import Lakehouse
from include.registry import registration
from include.registry.versions import Version
from include.training import fitted_rows

MOST_PARTITIONS = 14
"""So many of the newest are looked at, where one has few rows."""


@dataclass(frozen=True)
class SideBySide:
    """The labels of some rows, and what two versions predict for them."""

    spec: ModelSpec
    first: Version
    second: Version
    partitions: tuple[str, ...]
    """Keys of those that the rows are of, oldest first."""
    actual: Floats
    first_predicts: Floats
    second_predicts: Floats

    @property
    def rows(self) -> int:
        return len(self.actual)

    @property
    def counts(self) -> tuple[int, int]:
        """How many features each version has."""
        return len(self.first.features), len(self.second.features)

    @property
    def gain(self) -> Gain:
        """How much better the first one is; errors as `compare.gain`."""
        own = metrics.of(self.spec)
        return compare.gain(own, self.actual, self.first_predicts, self.second_predicts, self.counts)

    @property
    def values(self) -> tuple[float, float]:
        """The model's metric of each."""
        own = metrics.of(self.spec)
        sides = zip((self.first_predicts, self.second_predicts), self.counts, strict=True)
        first, second = (own.measure(self.actual, predicted, count) for predicted, count in sides)
        return first, second


def newest(spec: ModelSpec, lake: Lakehouse, first: Version, second: Version) -> SideBySide:
    """Two versions on the newest partitions that were served and have labels: as few as give rows enough.

    Raises:
        DataError: there are not enough such rows.
    """
    labelled = lake.rows_by_partition(LABELS.of(spec))
    served = [key for key in lake.rows_by_partition(PREDICTIONS.of(spec)) if labelled.get(key)]
    partitions, known = sorted(served)[-MOST_PARTITIONS:], []
    least = _least_rows(spec, first, second)
    for key in reversed(partitions):
        known.append(_known(spec, lake, first, second, key, None))
        if sum(map(len, known)) >= least:
            break
    return _made(spec, lake, first, second, known)


def served_by_second(
    spec: ModelSpec, lake: Lakehouse, first: Version, second: Version, partitions: Sequence[Partition]
) -> SideBySide:
    """Two versions on what the second one served of some partitions: of the second it is what was served.

    Raises:
        DataError: there are not enough rows with labels that neither has seen.
    """
    known = [_known(spec, lake, first, second, item.key, second.version) for item in partitions]
    return _made(spec, lake, first, second, known)


def _known(
    spec: ModelSpec, lake: Lakehouse, first: Version, second: Version, key: str, served_by: str | None
) -> pd.DataFrame:
    """The served rows of a partition whose label is there, and was seen by neither version."""
    partition, keys = Partition.parse(key, spec.grain), list(spec.entity.keys)
    served = predictions.served_rows(spec, lake, partition)
    labels = lake.read_if_exists(LABELS.of(spec), where=[(PARTITION, "=", key)], columns=[*keys, spec.target])
    if served is None or labels is None:
        return pd.DataFrame()
    if served_by is not None and set(served[MODEL_VERSION].to_pylist()) != {served_by}:
        return pd.DataFrame()
    known = labels.to_pandas().dropna(subset=spec.target)
    rows = served.to_pandas().merge(known, on=keys, validate="one_to_one").assign(**{PARTITION: key})
    for version in (first, second):
        fitted = fitted_rows.read(spec, lake, version.tag("training_set"), int(version.tag("training_set.version")))
        rows = rows[~fitted_rows.among(fitted, rows)]
    return rows


def _made(
    spec: ModelSpec, lake: Lakehouse, first: Version, second: Version, known: Sequence[pd.DataFrame]
) -> SideBySide:
    there = [rows for rows in known if len(rows)]
    least = _least_rows(spec, first, second)
    if (count := sum(map(len, there))) < least:
        raise DataError(
            f"{count} served rows have a label that neither version {first.version} nor {second.version} has seen, "
            f"and {metrics.of(spec).title} needs {least}",
            where=spec.name,
        )
    rows, keys = pd.concat(there, ignore_index=True), [PARTITION, *spec.entity.keys]
    rows = rows.sort_values(keys, ignore_index=True)
    names = list(dict.fromkeys([*first.features, *second.features]))
    features = served_features.read(spec, lake, rows[[*keys, FEATURES_VERSION]], names)
    frame = rows[keys].merge(features, on=keys, how="left", validate="one_to_one")
    both = []
    for version in (first, second):
        if (rows[MODEL_VERSION] == version.version).all():
            both.append(rows[PREDICTION])  # what was served counts
        else:
            both.append(pd.Series(predict(spec, lake, version, frame)))
    y, p = metrics.pair(rows[spec.target], both[0])
    q = metrics.pair(rows[spec.target], both[1])[1]
    return SideBySide(spec, first, second, tuple(sorted(rows[PARTITION].unique())), y, p, q)


def predict(spec: ModelSpec, lake: Lakehouse, version: Version, rows: pd.DataFrame) -> Floats:
    """A version's predictions of rows that may lack what it was fitted to.

    Raises:
        DataError: they do; the message names the features.
        TamperedError: it is not what was registered.
    """
    if missing := [name for name in version.features if name not in rows.columns]:
        raise DataError(
            f"version {version.version} was fitted to {', '.join(missing)}, which these rows do not have",
            where=spec.file("features.sql"),
            fix="Have features.sql select them again, or take another version",
        )
    return registration.predict(spec, lake, version, rows)


def _least_rows(spec: ModelSpec, first: Version, second: Version) -> int:
    return metrics.of(spec).least_rows(max(len(first.features), len(second.features)))
