"""Batch scoring: one prediction for each accepted row of a partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse import predictions
from include.lakehouse.schemas import (
    CLEAN,
    FEATURE_SERVICE,
    FEATURES,
    FEATURES_VERSION,
    MODEL_VERSION,
    PARTITION,
    PREDICTION,
    PREDICTIONS,
    RUN_ID,
    SERVED,
    WITHDRAWN,
    WORKING,
)
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse, Reader
from include.scoring import feature_lookup
from include.scoring.choice import Choice
from include.scoring.feature_lookup import KeyedModel

WAS = f"{WORKING}was"


@dataclass
class Scored:
    """What was scored of a partition."""

    version: str
    served: bool
    """Whether it is the version that is served; otherwise all its rows stand beside."""
    rows: int = 0
    """Accepted rows: those that were predicted."""
    beside: int = 0
    """Of them, those that stand beside what was served, and are not served."""
    changed: Sequence[str] = ()
    """The parts of the version's release that are others than at its approval, and may be (`release_check`)."""


def score(
    spec: ModelSpec,
    lake: Lakehouse,
    store: FeatureStore,
    partition: Partition,
    choose: Callable[[str | None], Choice],
    *,
    run_id: str,
) -> tuple[Choice, Scored]:
    """Predict every accepted row of a partition. What was served of it stays as it is.

    Features come from the feature service that the version was fitted with, as they were at the end of the partition.
    A row that was served before is not served again: where its prediction is another one by now, because the batch was
    corrected, that stands beside. Rows of other versions stay. None of them is withdrawn any more.

    What was served is read from the table version that the predictions are committed against: of two runs that choose
    different versions the first to commit is served, and the other chooses again. Rows are predicted in batches; of
    those that were served before, keys and predictions are kept in memory.

    Args:
        choose: the version that scores, given the one that was served; asked again if another run commits first.

    Raises:
        DataError: no such version, rows without features, or predictions that are not finite.
    """
    table, load = PREDICTIONS.of(spec), cache(lambda version: feature_lookup.load(spec, lake, store, version))
    done: list[tuple[Choice, Scored]] = []

    def rows(before: Reader) -> Iterator[pa.RecordBatch]:
        answers = _Answers(before, list(spec.entity.keys))
        chosen = choose(answers.version)
        keyed = load(chosen.version)
        scored = Scored(keyed.version, chosen.served)
        done.append((chosen, scored))
        same: dict[str, Any] = {
            PARTITION: partition.key,
            MODEL_VERSION: keyed.version,
            FEATURE_SERVICE: keyed.feature_service,
            RUN_ID: run_id,
            WITHDRAWN: False,
        }
        for kept in before(table.schema.names):
            stays = pc.or_(kept[SERVED], pc.not_equal(kept[MODEL_VERSION], keyed.version))
            yield from predictions.mark(kept.filter(stays), withdrawn=False).to_batches()
        for predicted in _predicted(spec, lake, keyed, partition):
            predicted = predicted.assign(**same)
            scored.rows += len(predicted)
            if scored.served:
                predicted = answers.news(predicted)
            else:
                predicted[SERVED] = False
            scored.beside += int((~predicted[SERVED]).sum())
            if len(predicted):
                yield pa.RecordBatch.from_pandas(predicted[table.schema.names], table.schema, False)

    lake.update_stream(table, {PARTITION: partition.key}, rows)
    return done[-1]


class _Answers:
    """What was served of a partition before: the version, and each key's prediction."""

    def __init__(self, before: Reader, keys: list[str]) -> None:
        self._keys = keys
        self.version: str | None = None
        served = []
        for rows in before([*keys, PREDICTION, MODEL_VERSION, SERVED]):
            rows = rows.filter(rows[SERVED])
            if rows.num_rows:
                self.version = str(rows[MODEL_VERSION][0])
                served.append(rows.select([*keys, PREDICTION]))
        self._served = pa.concat_tables(served).to_pandas() if served else None

    def news(self, predicted: pd.DataFrame) -> pd.DataFrame:
        """The predictions that say something new, with whether they are served: those of keys that never were."""
        if self._served is None:
            return predicted.assign(**{SERVED: True})
        former = predicted[self._keys].merge(
            self._served, on=self._keys, how="left", validate="many_to_one", indicator=WAS
        )
        was_served = (former[WAS] == "both").to_numpy()
        same = was_served & np.equal(former[PREDICTION].to_numpy(), predicted[PREDICTION].to_numpy())
        return predicted.assign(**{SERVED: ~was_served})[~same]


def _predicted(spec: ModelSpec, lake: Lakehouse, keyed: KeyedModel, partition: Partition) -> Iterator[pd.DataFrame]:
    """The entity's key and the prediction of the accepted rows, in batches, with the version of the features' table."""
    keyed.require_partition(partition)
    with lake.reader(CLEAN.of(spec), where=within(partition), columns=list(spec.entity.keys)) as reader:
        for batch in reader:
            if batch.num_rows:
                keys, version = batch.to_pandas(), lake.version(FEATURES.of(spec))
                yield keys.assign(**{PREDICTION: keyed.score(keys, partition.last_moment), FEATURES_VERSION: version})
