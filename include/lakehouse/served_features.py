"""The features of rows that were served, as they were then: a batch may be corrected since."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import FEATURES, FEATURES_VERSION, PARTITION
from include.lakehouse.selection import between
from include.lakehouse.tables import Lakehouse


def read(spec: ModelSpec, lake: Lakehouse, served: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Key, partition and those of the named features that there are, in any order.

    Args:
        served: key, partition and the features' table version of each row.

    Raises:
        DataError: a row has none, or a key is repeated.
    """
    table, keys = FEATURES.of(spec), [PARTITION, *spec.entity.keys]
    found = []
    for _, rows in served.groupby(FEATURES_VERSION, dropna=False):
        version = rows[FEATURES_VERSION].iloc[0]
        first, last = (Partition.parse(key, spec.grain) for key in (rows[PARTITION].min(), rows[PARTITION].max()))
        stored = lake.read_as_it_was(table, None if pd.isna(version) else int(version), where=between(first, last))
        there = [name for name in names if name in stored.column_names]
        features = stored.select([*keys, *there]).to_pandas()
        refuse_repeated(spec, features, table.name)
        found.append(rows[keys].merge(features, on=keys))
    scored = pd.concat(found, ignore_index=True)
    if absent := len(served) - len(scored):
        counts = served[PARTITION].value_counts().sub(scored[PARTITION].value_counts(), fill_value=0)
        lacking = ", ".join(sorted(counts[counts > 0].index))
        raise DataError(
            f"{absent} of {len(served)} scored rows have no features",
            where=f"{table.name}, {lacking}",
            fix=f"Run build_features for {lacking}, then score_batch",
        )
    return scored


def refuse_repeated(spec: ModelSpec, rows: pd.DataFrame, table: str) -> None:
    """Refuse rows of which two of one partition have the same key.

    Raises:
        DataError: naming the table, and how many.
    """
    repeated = rows[rows.duplicated([PARTITION, *spec.entity.keys])]
    if len(repeated):
        raise DataError(
            f"{len(repeated)} rows repeat a value of {', '.join(spec.entity.keys)}",
            where=f"{table}, {', '.join(sorted(repeated[PARTITION].unique()))}",
            fix="Re-run the DAG that writes that partition",
        )
