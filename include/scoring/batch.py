"""Batch scoring: one prediction for each accepted row of a partition."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from feast import FeatureStore

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import (
    CLEAN,
    FEATURE_SERVICE,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
    PREDICTIONS,
    RUN_ID,
    SERVED,
)
from include.lakehouse.tables import Lakehouse, within
from include.scoring import feature_lookup


def score(
    spec: ModelSpec,
    lake: Lakehouse,
    store: FeatureStore,
    partition: Partition,
    version: str,
    *,
    served: bool,
    run_id: str,
) -> int:
    """Predict every accepted row of a partition, and replace what the version has predicted of it.

    Features come from the feature service that the version was fitted with, as they were at the end of the partition.
    The rows go through in batches; predictions of other versions stay.

    Args:
        served: whether these predictions are those that count as served.

    Returns:
        How many rows there are.

    Raises:
        DataError: no such version, rows without features, or predictions that are not finite.
    """
    table, names = PREDICTIONS.of(spec), list(spec.entity.keys)
    keyed = feature_lookup.load(spec, lake, store, version)
    same = {
        PARTITION: partition.key,
        MODEL_VERSION: keyed.version,
        FEATURE_SERVICE: keyed.feature_service,
        RUN_ID: run_id,
        SERVED: served,
    }

    def predicted() -> Iterator[pa.RecordBatch]:
        with lake.reader(CLEAN.of(spec), where=within(partition), columns=names) as reader:
            for keys in reader:
                if not keys.num_rows:
                    continue
                values = keyed.score(keys.to_pandas(), partition.last_moment)
                columns = {
                    **{name: keys[name] for name in names},
                    PREDICTION: pa.array(values, pa.float64()),
                    **{name: pa.repeat(pa.scalar(value), keys.num_rows) for name, value in same.items()},
                }
                yield pa.RecordBatch.from_pydict({name: columns[name] for name in table.schema.names}, table.schema)

    own = {PARTITION: partition.key, MODEL_VERSION: keyed.version}
    lake.replace_stream(table, predicted, own)
    return lake.count(table, where=[(column, "=", value) for column, value in own.items()])
