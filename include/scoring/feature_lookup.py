"""Scoring by key alone: the version names its feature service, so the features are looked up here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from feast import FeatureStore

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.features.query import TIMESTAMP_SUFFIX
from include.features.store import read_online
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP, FEATURES, MODEL_VERSION, PREDICTION
from include.lakehouse.selection import between, within
from include.lakehouse.tables import Lakehouse
from include.registry import registration, versions
from include.registry.versions import Predictor
from include.training import training_set

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class KeyedModel:
    """A registered version with its feature service. ``keys`` are frames with the columns of the entity's key."""

    spec: ModelSpec
    lake: Lakehouse
    store: FeatureStore
    version: str
    predictor: Predictor
    feature_service: str
    features: tuple[str, ...]
    """Those it was fitted to, in its order."""

    def score(self, keys: pd.DataFrame, as_of: datetime) -> Floats:
        """One prediction a key, from the features that were known at ``as_of``; repeated keys are kept.

        Features that are all null, as those may be that look back where nothing was before, are features.

        Raises:
            DataError: ``as_of`` has no time zone, or a key has no features by then.
        """
        found = self.offline(keys, as_of)
        without = self._absent(keys[found.isna().all(axis=1).to_numpy()], as_of)
        self._refuse(without, len(keys), f"by {as_of.isoformat()}")
        return self.predict(found)

    def require_partition(self, partition: Partition) -> None:
        """Refuse a partition of which an accepted row has no features: what its key had in an earlier one is not its.

        Raises:
            DataError: so it is.
        """
        names, where = list(self.spec.entity.keys), within(partition)
        accepted, known = (
            self.lake.read(table.of(self.spec), where=where, columns=names) for table in (CLEAN, FEATURES)
        )
        without = accepted.join(known.group_by(names).aggregate([]), names, join_type="left anti")
        self._refuse(without.to_pandas(), accepted.num_rows, f"of {partition}")

    def score_online(self, keys: pd.DataFrame, as_of: datetime) -> Floats:
        """One prediction a key, from the online store.

        Args:
            as_of: the moment of the request; values older than the features' time to live are not used.

        Raises:
            DataError: ``as_of`` has no time zone, or a key is not online, or only beyond its time.
        """
        found, there = self.online(keys, as_of)
        self._refuse(keys[~there], len(keys), f"online at {as_of.isoformat()}")
        return self.predict(found)

    def offline(self, keys: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
        """Features by a point-in-time join, a row a key in the order of the keys; nulls where there are none."""
        _require_zone(as_of)
        self._check_service()
        if keys.empty:
            return pd.DataFrame(columns=list(self.features), dtype="float64")
        names = list(self.spec.entity.keys)
        asked = keys[names].drop_duplicates()
        at = pd.Timestamp(as_of).tz_convert("UTC").as_unit("us")
        _, found = training_set.point_in_time(
            self.spec, self.store, self.feature_service, asked.assign(**{EVENT_TIMESTAMP: at})
        )
        # Feast does not promise the order of rows.
        return keys[names].merge(found, on=names, how="left", validate="many_to_one")[list(self.features)]

    def online(self, keys: pd.DataFrame, as_of: datetime) -> tuple[pd.DataFrame, Mask]:
        """Features from the online store, a row a key, and which keys have some that are not too old; else nulls."""
        _require_zone(as_of)
        self._check_service()
        if keys.empty:
            return pd.DataFrame(columns=list(self.features), dtype="float64"), np.empty(0, dtype=np.bool_)
        asked = [
            {str(name): _plain(value) for name, value in row.items()}
            for row in keys[list(self.spec.entity.keys)].to_dict("records")
        ]
        served = read_online(self.store, self.feature_service, asked)
        frame = pd.DataFrame({name: served[name] for name in self.features}).astype("float64")
        oldest = as_of - timedelta(days=self.spec.features.ttl_days)
        times = pd.DataFrame({name: served[name + TIMESTAMP_SUFFIX] for name in self.features}).max(axis=1)
        there = np.array([datetime.fromtimestamp(int(seconds), UTC) >= oldest for seconds in times])
        frame.loc[~there] = np.nan
        return frame, there

    def predict(self, features: pd.DataFrame) -> Floats:
        """Predictions of rows of features.

        Raises:
            DataError: a prediction is not finite.
        """
        if features.empty:
            return np.empty(0)
        predicted = self.predictor(features[list(self.features)])
        if not np.isfinite(predicted).all():
            raise DataError(f"version {self.version} predicts values that are not finite", where=self.spec.name)
        return predicted

    def _check_service(self) -> None:
        service = self.store.get_feature_service(self.feature_service)
        served = {feature.name for view in service.feature_view_projections for feature in view.features}
        gone = [name for name in self.features if name not in served]
        if gone:
            raise DataError(
                f"version {self.version} was fitted to {', '.join(gone)}, which {self.feature_service} does not serve",
                where=f"{self.spec.name}/features.sql",
                fix="A renamed or removed feature needs a new feature service, or a retrained model",
            )

    def _absent(self, keys: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
        """Those keys of which the table has no row by ``as_of`` that is not expired. The newest partition first: that
        of a batch has all of its keys."""
        names, oldest = list(self.spec.entity.keys), as_of - timedelta(days=self.spec.features.ttl_days)
        newest, first = (Partition.of(moment, self.spec.grain) for moment in (as_of, oldest))
        for partitions in (between(newest, newest), between(first, newest)):
            if len(keys):
                where = [*partitions, (EVENT_TIMESTAMP, ">=", oldest), (EVENT_TIMESTAMP, "<=", as_of)]
                rows = self.lake.read(FEATURES.of(self.spec), where=where, columns=names).to_pandas()
                known = pd.MultiIndex.from_frame(rows[names])
                keys = keys[~pd.MultiIndex.from_frame(keys[names]).isin(known)]
        return keys

    def _refuse(self, without: pd.DataFrame, keys: int, when: str) -> None:
        if len(without):
            example = ", ".join(f"{name} {without[name].iloc[0]}" for name in self.spec.entity.keys)
            raise DataError(
                f"{len(without)} of {keys} keys have no features {when}, e.g. {example}",
                where=self.feature_service,
                fix=f"Run {self.spec.name}.build_features for the partition of these keys; where it has run, have "
                "features.sql give each of its rows one",
            )


def load(spec: ModelSpec, lake: Lakehouse, store: FeatureStore, version: str) -> KeyedModel:
    """Load a registered version, with the feature service and the features that it was fitted to.

    Raises:
        DataError: no such version.
        TamperedError: it is not what was registered.
    """
    found = versions.get(spec, version)
    return KeyedModel(
        spec=spec,
        lake=lake,
        store=store,
        version=found.version,
        predictor=registration.predictor(spec, lake, found),
        feature_service=found.feature_service,
        features=found.features,
    )


def score(
    spec: ModelSpec, lake: Lakehouse, store: FeatureStore, version: str, keys: pd.DataFrame, as_of: datetime
) -> pd.DataFrame:
    """Predictions for keys as of a moment: the key, prediction, model_version; in the order of the keys."""
    keyed = load(spec, lake, store, version)
    predicted = keyed.score(keys, as_of)
    scored = keys[list(spec.entity.keys)].reset_index(drop=True)
    scored[PREDICTION], scored[MODEL_VERSION] = predicted, keyed.version
    return scored


def _require_zone(as_of: datetime) -> None:
    if as_of.tzinfo is None:
        raise DataError(f"as_of {as_of.isoformat()} has no time zone", fix="Hand in a UTC time")


def _plain(key: Any) -> Any:
    return key.item() if isinstance(key, np.generic) else key
