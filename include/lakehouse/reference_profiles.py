"""How the features and the predictions of a version were distributed when it was trained, and some of the rows: what
its windows are compared with. A function of the version alone, whatever was served since, and in whatever order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse.schemas import MODEL_VERSION, PREDICTION, REFERENCE_PROFILES, RESIDUAL
from include.lakehouse.tables import Lakehouse

Floats = npt.NDArray[np.float64]


MOST_ROWS = 5_000
"""That are kept: enough to learn what belongs together."""
SEED = 20640


@dataclass(frozen=True)
class Profile:
    """What is kept of what a version was trained on."""

    quantiles: dict[str, Floats]
    """By column, of the features, the predictions and the residuals."""
    rows: pd.DataFrame
    """The features of some rows."""


def write(
    spec: ModelSpec, lake: Lakehouse, version: str, columns: Mapping[str, Floats], features: pd.DataFrame
) -> None:
    """Replace the profile of a version.

    Args:
        columns: by name its quantiles.
        features: of all rows, of which some are kept, in their order.
    """
    drawn = np.sort(np.random.default_rng(SEED).permutation(len(features))[:MOST_ROWS])
    rows = {str(name): features[name].to_numpy(dtype=np.float64)[drawn] for name in features.columns}
    content: list[dict[str, Any]] = [
        {MODEL_VERSION: version, "column": name, "quantiles": values, "rows": rows.get(name, [])}
        for name, values in columns.items()
    ]
    table = REFERENCE_PROFILES.of(spec)
    lake.replace(table, pa.Table.from_pylist(content, schema=table.schema), {MODEL_VERSION: version})


def read(spec: ModelSpec, lake: Lakehouse, version: str) -> Profile:
    """The profile of a version: as it was written.

    Raises:
        DataError: it has none.
    """
    table = REFERENCE_PROFILES.of(spec)
    rows = lake.read_if_exists(table, where=[(MODEL_VERSION, "=", version)], columns=["column", "quantiles", "rows"])
    known = rows is not None and {PREDICTION, RESIDUAL} <= set(rows["column"].to_pylist())
    if rows is None or not known or rows["rows"].null_count:
        raise DataError(
            f"version {version} has no reference profile to compare a window with, or one without residuals or rows",
            where=table.name,
            fix=f"python -m include.jobs registry.record_profile --model {spec.name} --version {version}",
        )
    names = rows["column"].to_pylist()
    quantiles, some = (
        {name: _floats(values) for name, values in zip(names, rows[column].combine_chunks(), strict=True)}
        for column in ("quantiles", "rows")
    )
    return Profile(quantiles, pd.DataFrame({name: values for name, values in some.items() if len(values)}))


def digests(spec: ModelSpec, lake: Lakehouse, version: str) -> dict[str, str]:
    """By column of a version's profile a SHA-256 of what is kept of it; empty where there is none."""
    rows = lake.read_if_exists(REFERENCE_PROFILES.of(spec), where=[(MODEL_VERSION, "=", version)])
    if rows is None:
        return {}
    columns = zip(*(rows[name].combine_chunks() for name in ("column", "quantiles", "rows")), strict=True)
    return {str(name): hashlib.sha256(b"|".join(map(_bytes, values))).hexdigest() for name, *values in columns}


def _bytes(values: pa.ListScalar) -> bytes:
    return _floats(values).tobytes() if values.is_valid else b""


def _floats(values: pa.ListScalar) -> Floats:
    return np.asarray(values.values.to_numpy(zero_copy_only=False), dtype=np.float64)
