"""How the features and the predictions of a version were distributed when it was trained: what its windows are compared
with. It is a function of the version alone, whatever was served since, and in whatever order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.core.errors import DataError
from include.core.spec import ModelSpec
from include.lakehouse.schemas import MODEL_VERSION, PREDICTION, REFERENCE_PROFILES, RESIDUAL
from include.lakehouse.tables import Lakehouse

Floats = npt.NDArray[np.float64]


def write(spec: ModelSpec, lake: Lakehouse, version: str, columns: Mapping[str, Floats]) -> None:
    """Replace the profile of a version.

    Args:
        columns: by name its quantiles.
    """
    content = [{MODEL_VERSION: version, "column": name, "quantiles": values} for name, values in columns.items()]
    table = REFERENCE_PROFILES.of(spec)
    lake.replace(table, pa.Table.from_pylist(content, schema=table.schema), {MODEL_VERSION: version})


def read(spec: ModelSpec, lake: Lakehouse, version: str) -> dict[str, Floats]:
    """The profile of a version: as it was written.

    Raises:
        DataError: it has none.
    """
    table = REFERENCE_PROFILES.of(spec)
    rows = lake.read_if_exists(table, where=[(MODEL_VERSION, "=", version)], columns=["column", "quantiles"])
    if rows is None or not {PREDICTION, RESIDUAL} <= set(rows["column"].to_pylist()):
        raise DataError(
            f"version {version} has no reference profile to compare a window with, or one without residuals",
            where=table.name,
            fix=f"python -m include.jobs registry.record_profile --model {spec.name} --version {version}",
        )
    named = zip(rows["column"].to_pylist(), rows["quantiles"].combine_chunks(), strict=True)
    return {name: values.values.to_numpy() for name, values in named}
