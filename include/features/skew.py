"""The skew gate: what is served online is what training would have seen, or the day stops here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.features import query
from include.features.query import TIMESTAMP_SUFFIX
from include.features.store import answering, read_online
from include.lakehouse.decisions import Actor, Kind, Outcome, Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import EVENT_TIMESTAMP, FEATURES, PARTITION, SKEW, WORKING
from include.lakehouse.tables import Lakehouse

SAMPLED_PARTITIONS = 30
"""Earlier partitions from which the gate takes keys: what it reads does not grow with the table."""
ALMOST_A_SECOND = timedelta(microseconds=999_999)
ORDER, NEWEST = f"{WORKING}order", f"{WORKING}newest"
RELATIVE_TOLERANCE = {pa.float32(): 1e-6, pa.float64(): 1e-12}


@dataclass(frozen=True)
class Skew:
    """How the values served online compare with a point-in-time join of the table.

    ``mismatches`` counts values (key x feature) that differ, ``features`` names the features they are of and
    ``differing`` how many of each. ``expired`` counts keys with online values older than the time to live,
    where the table has younger ones: served, but unseen in training.
    """

    keys: int
    mismatches: int
    expired: int
    features: tuple[str, ...]
    compared: int = 0
    """Values: those of expired keys are left out."""
    differing: Mapping[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Training-serving skew: the share of the compared values that differ."""
        return self.mismatches / self.compared if self.compared else 0.0

    @property
    def expired_share(self) -> float:
        return self.expired / self.keys


def gate(run: Run, store: FeatureStore) -> Skew:
    """Check the partition's skew, record it in ``skew_<model>`` and ``decisions``, and stop where it is beyond limits.

    Raises:
        DataError: naming the features that differ, or saying how many keys have expired values.
    """
    spec, lake, partition, limits = run.spec, run.lake, run.partition, run.spec.features.skew
    found = check_skew(store, spec, lake, partition, limits.keys)
    record(spec, lake, partition, found)
    beyond = reasons(spec, found)
    outcome = Outcome.FAILED if beyond else Outcome.PASSED
    inputs = {"skew": found, "max_skew": limits.max_skew}
    run.decide(Kind.SKEW_GATE, outcome, beyond, actor=Actor.GATE, inputs=inputs, follows=[limits])
    refuse(spec, partition, found)
    return found


def reasons(spec: ModelSpec, found: Skew) -> list[str]:
    """Why skew is beyond the limits of model.yaml; none where it is within."""
    limits = spec.features.skew
    skewed = [Reason.SKEWED_FEATURE.about(name) for name in found.features] if found.share > limits.max_skew else []
    return skewed + [Reason.EXPIRED_VALUES.value] * (found.expired_share > limits.max_expired)


def refuse(spec: ModelSpec, partition: Partition, found: Skew) -> None:
    """Raise where skew is beyond the limits of model.yaml."""
    limits, where = spec.features.skew, f"{spec.table('features')} of {partition}"
    if found.share > limits.max_skew:
        worst = sorted(found.differing.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{name} ({count} of {found.keys} keys)" for name, count in worst)
        raise DataError(
            f"{found.share:.2%} of the values served online differ from the table, limit {limits.max_skew:.2%}: "
            f"{named}",
            where=where,
            fix=f"Clear {spec.name}.build_features of it; if it stays, another writer changes the online store",
        )
    if found.expired_share > limits.max_expired:
        raise DataError(
            f"{found.expired} of {found.keys} keys are served values older than {spec.features.ttl_days} days "
            f"({found.expired_share:.2%}, limit {limits.max_expired:.2%})",
            where=where,
            fix=f"The table has younger ones: run {spec.name}.build_features for those since, then clear this one",
        )


def record(spec: ModelSpec, lake: Lakehouse, partition: Partition, found: Skew) -> None:
    """Replace the partition of ``skew_<model>``: one row a feature, skew beside its limit."""
    names = list(query.feature_schema(spec))
    rows = len(names)
    compared = found.compared // rows
    table = pa.table(
        {
            PARTITION: pa.array([partition.key] * rows, pa.string()),
            "feature": pa.array(names, pa.string()),
            "keys": pa.array([found.keys] * rows, pa.int64()),
            "compared": pa.array([compared] * rows, pa.int64()),
            "mismatches": pa.array([found.differing.get(name, 0) for name in names], pa.int64()),
            "expired": pa.array([found.expired] * rows, pa.int64()),
            "skew": pa.array([found.share] * rows, pa.float64()),
            "threshold": pa.array([spec.features.skew.max_skew] * rows, pa.float64()),
        }
    )
    lake.replace(SKEW.of(spec), table, {PARTITION: partition.key})


def check_skew(
    store: FeatureStore, spec: ModelSpec, lake: Lakehouse, partition: Partition, keys: int | None = None
) -> Skew:
    """Read a sample of keys online, and offline by a point-in-time join as of the same moment, and compare.

    The moment is the end of the partition; for a key whose online values are newer (a backfill), it is their time.
    The sample is the same for the same table: half of it keys of the partition, the rest keys of those before
    that are within ``features.ttl_days``.

    Raises:
        DataError: the partition has no features.
    """
    sample = _sample(spec, lake, partition, keys or spec.features.skew.keys)
    service = store.get_feature_service(spec.feature_service)
    features = query.feature_schema(spec)
    online = read_online(store, service.name, sample)
    at = _event_times(online, list(features), len(sample))
    moment = partition.last_moment
    entity_df = pd.DataFrame(sample, columns=list(spec.entity.keys))
    # Online a moment is told in whole seconds: what is served is of some time within that one.
    entity_df[EVENT_TIMESTAMP] = [max(moment, served + ALMOST_A_SECOND) if served else moment for served in at]
    with answering():
        offline = store.get_historical_features(entity_df=entity_df, features=service).to_arrow().to_pydict()
    ttl = spec.features.ttl_days * 86_400
    expired = {row for row, served in enumerate(at) if served and (moment - served).total_seconds() > ttl}
    differing = {
        name: sum(
            not _same(online[name][row], offline[name][row], kind) for row in range(len(sample)) if row not in expired
        )
        for name, kind in features.items()
    }
    return Skew(
        keys=len(sample),
        mismatches=sum(differing.values()),
        expired=len(expired),
        features=tuple(name for name, count in differing.items() if count),
        compared=(len(sample) - len(expired)) * len(features),
        differing={name: count for name, count in differing.items() if count},
    )


def first_unexpired(partition: Partition, ttl_days: int) -> Partition:
    """The first partition of which no value has expired when this one ends, nor was removed online before."""
    oldest = partition.last_moment - timedelta(days=ttl_days)
    found = Partition.of(oldest, partition.grain)
    return found if found.start >= oldest else found.shift(1)


def _sample(spec: ModelSpec, lake: Lakehouse, partition: Partition, keys: int) -> list[dict[str, Any]]:
    """Keys that have features by the partition, its own first, in the order of their hashes.

    The others are of at most ``SAMPLED_PARTITIONS`` earlier ones, chosen by hash among those that are not expired.
    """
    table, named = FEATURES.of(spec), list(spec.entity.keys)
    oldest = first_unexpired(partition, spec.features.ttl_days)
    earlier = [key for key in lake.rows_by_partition(table) if oldest.key <= key < partition.key]
    order = pd.util.hash_array(np.array([f"{partition} of {key}" for key in earlier], dtype=object))
    chosen = [partition.key, *(earlier[place] for place in np.argsort(order)[:SAMPLED_PARTITIONS])]
    rows = lake.read(table, where=[(PARTITION, "in", chosen)], columns=[*named, PARTITION])
    newest = rows.group_by(named).aggregate([(PARTITION, "max")]).to_pandas()
    newest.columns = pd.Index([*named, NEWEST])
    newest[ORDER] = pd.util.hash_pandas_object(newest[named].astype(str), index=False)
    newest = newest.sort_values([ORDER, *named])
    own = newest[NEWEST] == partition.key
    if not own.any():
        raise DataError(f"{table.name} has no rows of {partition}", fix="Build the features of that partition first")
    before, of_partition = (newest.loc[chosen, named].to_dict("records") for chosen in (~own, own))
    first = of_partition[: max(keys - len(before), keys // 2)]
    return [{str(name): value for name, value in entity.items()} for entity in first + before[: keys - len(first)]]


def _event_times(online: Mapping[str, Sequence[Any]], features: list[str], rows: int) -> list[datetime | None]:
    """Event time of each key's online values; None for a key that is not online (Feast gives the epoch)."""
    seconds = [max(online[name + TIMESTAMP_SUFFIX][row] for name in features) for row in range(rows)]
    return [datetime.fromtimestamp(value, UTC) if value else None for value in seconds]


def _same(online: Any, offline: Any, kind: pa.DataType) -> bool:
    if online is None or offline is None:
        return online is offline
    tolerance = RELATIVE_TOLERANCE.get(kind)
    return bool(online == offline if tolerance is None else math.isclose(online, offline, rel_tol=tolerance))
