"""What was measured of a model's windows: the rows of ``metrics_<model>``, written by monitoring and ingestion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import pandas as pd
import pyarrow as pa

from include.core.spec import ModelSpec
from include.lakehouse.tables import Lakehouse

ALL = "all"
"""Slice of a metric that is about the whole window; other slices are names of features."""
PREDICTION = "prediction"
"""Slice of the drift of the predictions, which is kept apart from the drifted features."""

SOURCE = "monitoring"
"""Of a metric; the rows of other sources, such as ``ingestion``, are not ours."""

SCHEMA = pa.schema(
    [
        ("window", pa.date32()),
        ("metric", pa.string()),
        ("slice", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("model_version", pa.string()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class WindowMetrics:
    """What was measured of one window. Errors are in the target's unit."""

    window: date
    version: str | None
    """The model version that scored the window; None where nothing was scored."""
    rows: int
    """Rows scored."""
    labelled_rows: int
    """Rows scored whose label had arrived."""
    adjusted_r2: float | None
    """None while fewer labels are there than ``metrics.least_rows`` asks for, or all of them are equal."""
    rmse: float | None
    mae: float | None
    bias: float | None
    """Mean of prediction minus label: positive where the model predicts too much."""
    drifted_features: tuple[str, ...]
    """Sorted by name."""
    prediction_drifted: bool | None
    """None where there is no earlier window of the same version to compare with."""
    shifted_columns: tuple[str, ...] = ()
    """Delivered columns whose nulls or categories are not what they were, sorted by name."""

    @property
    def labelled(self) -> bool:
        """Whether enough labels have arrived to judge performance."""
        return self.adjusted_r2 is not None


def history(spec: ModelSpec, lake: Lakehouse, upto: date) -> list[WindowMetrics]:
    """Read back the windows measured so far, up to and including ``upto``, oldest first."""
    table = lake.read_if_exists(spec.table("metrics"), where=[("window", "<=", upto)])
    if table is None:
        return []
    frame = table.to_pandas()
    ours = frame[frame["source"] == SOURCE] if "source" in frame else frame
    return [from_rows(window, rows) for window, rows in ours.groupby("window", sort=True)]


def drifted_windows(spec: ModelSpec, lake: Lakehouse, upto: date) -> list[date]:
    """The windows up to and including ``upto`` in which a feature drifted, oldest first."""
    return [item.window for item in history(spec, lake, upto) if item.drifted_features]


def from_rows(window: date, rows: pd.DataFrame) -> WindowMetrics:
    whole = rows[rows["slice"] == ALL].set_index("metric")["value"].to_dict()
    drifted = rows[rows["metric"] == "drifted"].set_index("slice")["value"].gt(0).to_dict()
    prediction = drifted.pop(PREDICTION, None)
    shifted = rows[rows["metric"].str.endswith("_shifted") & rows["value"].gt(0)]["slice"]
    version = rows["model_version"].iloc[0]
    return WindowMetrics(
        window=window,
        version=None if pd.isna(version) else str(version),
        rows=int(whole["rows"]),
        labelled_rows=int(whole["labelled_rows"]),
        adjusted_r2=_finite(whole.get("adjusted_r2")),
        rmse=_finite(whole.get("rmse")),
        mae=_finite(whole.get("mae")),
        bias=_finite(whole.get("bias")),
        drifted_features=tuple(sorted(str(name) for name, found in drifted.items() if found)),
        prediction_drifted=None if prediction is None else bool(prediction),
        shifted_columns=tuple(sorted(set(shifted))),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
