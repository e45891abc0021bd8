"""A page of a training set: how its label and its features are distributed, and what goes with the label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from include.core import html
from include.core.spec import ModelSpec
from include.evaluation.metrics import Floats
from include.features import fitted_categories
from include.lakehouse.schemas import PARTITION, SPLIT
from include.training.training_set import TrainingSetRef

FILE = "training_set.html"
BINS = 30
MOST_PARTITIONS = 60
"""Of the newest: nobody reads a longer list."""


@dataclass(frozen=True)
class Bar:
    """Of a histogram: where it begins, how wide and how high it is, in shares of the picture."""

    x: float
    width: float
    height: float
    told: str


@dataclass(frozen=True)
class Column:
    """The label or a feature."""

    name: str
    description: str
    nulls: float
    distinct: int
    bars: list[Bar]
    figures: dict[str, float | None]
    """Smallest, quartiles, mean, largest; None for categories, whose codes have no order."""
    with_label: float | None
    """Its correlation with the label; None where there is none to speak of."""


def render(spec: ModelSpec, ref: TrainingSetRef, frame: pd.DataFrame) -> str:
    """The page; of what is in rows it has counts and ranges alone."""
    described = {name: column.description for name, column in spec.columns.items()} | spec.features.descriptions
    texts = {name: category.texts for name, category in fitted_categories.read(ref.categories).items()}
    label = frame[spec.target].to_numpy(dtype=np.float64)
    features = [
        _column(name, described.get(name, ""), frame[name].to_numpy(dtype=np.float64), texts.get(name), label)
        for name in ref.features
    ]
    by_partition = frame.groupby(PARTITION)[spec.target].agg(["size", "mean", "median"]).tail(MOST_PARTITIONS)
    return _environment.get_template("training_set.html").render(
        title=f"{spec.name}, training set {ref.training_set}",
        target=_column(spec.target, "the label", label, None, None),
        features=features,
        splits=list(frame[SPLIT].value_counts().items()),
        grain=spec.grain.value,
        partitions=[(str(key), int(row["size"]), row["mean"], row["median"]) for key, row in by_partition.iterrows()],
        table=f"{spec.table('training_sets')}@{ref.table_version}",
    )


def _column(name: str, description: str, values: Floats, texts: dict[int, str] | None, label: Floats | None) -> Column:
    known = values[np.isfinite(values)]
    names = ("min", "25 %", "median", "mean", "75 %", "max")
    figures: dict[str, float | None] = dict.fromkeys(names)
    if len(known) and texts is None:
        low, first, middle, third, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        numbers = (low, first, middle, known.mean(), third, high)
        figures = {key: float(value) for key, value in zip(names, numbers, strict=True)}
    bars = _categories(known, texts) if texts is not None else _histogram(known)
    together = None if label is None or texts is not None else _correlation(values, label)
    nulls = float(np.isnan(values).mean()) if len(values) else 0.0
    return Column(name, description, nulls, len(np.unique(known)), bars, figures, together)


def _histogram(known: Floats) -> list[Bar]:
    if not len(known):
        return []
    counts, edges = np.histogram(known, BINS if np.ptp(known) else 1)
    most, width = counts.max(), 1 / len(counts)
    return [
        Bar(place * width, width, float(count / most), f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {count:,}")
        for place, count in enumerate(counts)
    ]


def _categories(known: Floats, texts: dict[int, str]) -> list[Bar]:
    codes, counts = np.unique(known, return_counts=True)
    most, width = max(counts, default=1), 1 / max(1, len(codes))
    return [
        Bar(place * width, 0.9 * width, float(count / most), f"{texts.get(int(code), str(code))}: {count:,}")
        for place, (code, count) in enumerate(zip(codes, counts, strict=True))
    ]


def _correlation(values: Floats, label: Floats) -> float | None:
    both = np.isfinite(values) & np.isfinite(label)
    if both.sum() < 3 or not np.ptp(values[both]) or not np.ptp(label[both]):
        return None
    return float(np.corrcoef(values[both], label[both])[0, 1])


_environment = html.environment(Path(__file__).parent / "templates")
