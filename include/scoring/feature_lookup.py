"""Scoring by key alone: the model names its feature service, so the features are looked up here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from feast import FeatureStore
from mlflow.pyfunc import PyFuncModel

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.features.store import TIMESTAMP_SUFFIX, read_online
from include.registry import versions
from include.training import training_set


@dataclass(frozen=True)
class KeyedModel:
    """A registered version with the feature service that its artifact names."""

    spec: ModelSpec
    store: FeatureStore
    version: str
    model: PyFuncModel
    feature_service: str
    features: tuple[str, ...]
    """Those it was fitted to, in its order."""

    def score(self, keys: Sequence[Any] | pd.Series, as_of: datetime) -> Floats:
        """One prediction a key, from the features that were known at ``as_of``; repeated keys are kept.

        Raises:
            DataError: ``as_of`` has no time zone, or a key has no features by then.
        """
        found = self.offline(keys, as_of)
        self._require(found, pd.Series(keys), f"by {as_of.isoformat()}")
        return self.predict(found)

    def score_online(self, keys: Sequence[Any], as_of: datetime) -> Floats:
        """One prediction a key, from the online store.

        Args:
            as_of: the moment of the request; values older than the features' time to live are not used.

        Raises:
            DataError: ``as_of`` has no time zone, or a key is not online, or only beyond its time.
        """
        found = self.online(keys, as_of)
        self._require(found, pd.Series(list(keys)), f"online at {as_of.isoformat()}")
        return self.predict(found)

    def offline(self, keys: Sequence[Any] | pd.Series, as_of: datetime) -> pd.DataFrame:
        """Features by a point-in-time join, a row a key in the order of the keys; nulls where there are none."""
        _require_zone(as_of)
        key = self.spec.entity.key
        asked = pd.DataFrame({key: pd.Series(keys).drop_duplicates()})
        at = pd.Timestamp(as_of).tz_convert("UTC").as_unit("us")
        self._check_service()
        if asked.empty:
            return pd.DataFrame(columns=list(self.features), dtype="float64")
        asked = asked.assign(event_timestamp=at)
        _, found = training_set.point_in_time(self.spec, self.store, self.feature_service, asked)
        # Feast does not promise the order of rows.
        rows = pd.DataFrame({key: pd.Series(keys).to_numpy()}).merge(found, on=key, how="left", validate="many_to_one")
        return rows[list(self.features)]

    def online(self, keys: Sequence[Any], as_of: datetime) -> pd.DataFrame:
        """Features from the online store, a row a key; nulls where a key has none, or too old ones."""
        _require_zone(as_of)
        self._check_service()
        if not len(keys):
            return pd.DataFrame(columns=list(self.features), dtype="float64")
        plain = [_plain(key) for key in keys]
        served = read_online(self.store, self.feature_service, self.spec.entity.key, plain)
        frame = pd.DataFrame({name: served[name] for name in self.features}).astype("float64")
        oldest = as_of - timedelta(days=self.spec.features.ttl_days)
        times = pd.DataFrame({name: served[name + TIMESTAMP_SUFFIX] for name in self.features}).max(axis=1)
        expired = [datetime.fromtimestamp(int(seconds), UTC) < oldest for seconds in times]
        frame.loc[expired] = np.nan
        return frame

    def predict(self, features: pd.DataFrame) -> Floats:
        """Predictions of rows of features.

        Raises:
            DataError: a prediction is not finite.
        """
        if features.empty:
            return np.empty(0)
        predicted = np.asarray(self.model.predict(features[list(self.features)]), dtype=np.float64)
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

    def _require(self, features: pd.DataFrame, keys: pd.Series, when: str) -> None:
        without = keys.to_numpy()[features.isna().all(axis=1).to_numpy()]
        if len(without):
            raise DataError(
                f"{len(without)} of {len(keys)} keys have no features {when}, e.g. {self.spec.entity.key} {without[0]}",
                where=self.feature_service,
                fix=f"Run {self.spec.name}.build_features for the day of these keys",
            )


def load(spec: ModelSpec, store: FeatureStore, version: str | int) -> KeyedModel:
    """Load a registered version. The feature service and the features are those that its artifact carries.

    Raises:
        DataError: no such version, or its artifact names no feature service.
    """
    found = versions.get(spec, version)
    model = mlflow.pyfunc.load_model(found.uri)
    carried = model.metadata.metadata or {}
    if not carried.get("feature_service") or not carried.get("features"):
        raise DataError(
            f"the artifact of version {found.version} names no feature service",
            where=spec.name,
            fix="Log it with train_model, or score it with features of your own",
        )
    return KeyedModel(
        spec=spec,
        store=store,
        version=found.version,
        model=model,
        feature_service=carried["feature_service"],
        features=tuple(carried["features"]),
    )


def score(
    spec: ModelSpec, store: FeatureStore, version: str | int, keys: Sequence[Any], as_of: datetime
) -> pd.DataFrame:
    """Predictions for keys as of a moment: entity key, prediction, model version; in the order of the keys."""
    keyed = load(spec, store, version)
    predicted = keyed.score(keys, as_of)
    return pd.DataFrame({spec.entity.key: list(keys), "prediction": predicted, "model_version": keyed.version})


def _require_zone(as_of: datetime) -> None:
    if as_of.tzinfo is None:
        raise DataError(f"as_of {as_of.isoformat()} has no time zone", fix="Hand in a UTC time")


def _plain(key: Any) -> Any:
    return key.item() if isinstance(key, np.generic) else key
