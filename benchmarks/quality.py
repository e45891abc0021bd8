"""How good recipes for california_housing are, at random and in space: `make bench BENCH=quality` (ARGS="file.csv").

A recipe is some lines of `features.sql` and of `training.baseline`. Each is fitted by the package's own functions on
the real file: five random splits of 70/30 by key, as the tutorial splits, and five folds of blocks of half a degree, as
`by_block` splits. What a recipe gains on the one before it is a mean of paired differences with the interval of Nadeau
and Bengio (Inference for the generalization error, 2003): the splits share rows, so their differences vary less than
those of independent samples would, and the variance is corrected by the ratio of test to training rows.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats

from include.core import catalogue
from include.core.spec import ModelSpec
from include.demo import replay
from include.evaluation import metrics
from include.evaluation.metrics import Floats
from include.features import query
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP, PARTITION
from include.training import algorithms, folds, splits
from include.training.algorithms import Sample
from include.training.folds import Fold

MODEL = "california_housing"
SEEDS, SPATIAL_FOLDS, BLOCK = (1, 2, 3, 4, 5), 5, {"longitude": 0.5, "latitude": 0.5}
CONFIDENCE = 0.95
BEFORE = "    ocean_proximity\nFROM"
"""Where features.sql takes further lines."""

CITIES = {
    "san_diego": (32.72, 117.16),
    "san_jose": (37.34, 121.89),
    "sacramento": (38.58, 121.49),
    "santa_barbara": (34.42, 119.70),
    "monterey": (36.60, 121.89),
}
TURNS = (1, 3, 5, 7)
"""Eighths of a half turn: northeast and northwest, 2 and 6, are features anyway."""
DISTANCES = [
    f"sqrt(power(latitude - {north}, 2) + power(0.8 * (longitude + {west}), 2)) AS degrees_to_{city}"
    for city, (north, west) in CITIES.items()
]
ROTATIONS = [
    f"longitude * {np.cos(np.pi * n / 8):.6f} + latitude * {np.sin(np.pi * n / 8):.6f} AS turned_{n}" for n in TURNS
]
PLACE = ", ".join(["longitude", "latitude", "northeast", "northwest", *(f"turned_{n}" for n in TURNS)])

BASELINE: dict[str, Any] = {"objective": "regression"}
START = {
    **BASELINE,
    "n_estimators": 600,
    "learning_rate": 0.06,
    "num_leaves": 48,
    "min_child_samples": 15,
    "feature_fraction": 0.3,
    "reg_lambda": 3.0,
}
"""Where the search of model.yaml begins, with about as many trees as it finds."""
BY_NODE = {name: value for name, value in START.items() if name != "feature_fraction"}
BY_NODE |= {"feature_fraction_bynode": 0.25, "num_leaves": 64, "learning_rate": 0.05, "n_estimators": 500}
LARGER = {**BY_NODE, "num_leaves": 96, "learning_rate": 0.04, "n_estimators": 900, "bags": 8}


@dataclass(frozen=True)
class Recipe:
    title: str
    baseline: dict[str, Any]
    features: Sequence[str] = ()
    """Lines of features.sql beside the model's own."""


RECIPES = (
    Recipe("LightGBM's defaults", BASELINE),
    Recipe("the search's start, 600 trees", START),
    Recipe("features drawn by node, not by tree", BY_NODE),
    Recipe("+ distances to five more cities", BY_NODE, DISTANCES),
    Recipe("+ four more rotations", BY_NODE, [*DISTANCES, *ROTATIONS]),
    Recipe("+ bags: 5", {**BY_NODE, "bags": 5}, [*DISTANCES, *ROTATIONS]),
    Recipe("+ near", {**BY_NODE, "bags": 5, "near": PLACE}, [*DISTANCES, *ROTATIONS]),
    Recipe("+ 900 trees of 96 leaves, bags: 8", {**LARGER, "near": PLACE}, [*DISTANCES, *ROTATIONS]),
)


@dataclass(frozen=True)
class Measured:
    random: Floats
    """Adjusted R2 on the test rows of each seed."""
    space: Floats
    """On each fold of blocks."""
    seconds: float
    """Of the CPU, for one fit on 70 % of the rows."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="quality", description=__doc__)
    parser.add_argument("file", nargs="?", help="in place of what HOUSING_CSV names, or the public file")
    given = parser.parse_args(arguments).file
    spec = catalogue.load(MODEL)
    with tempfile.TemporaryDirectory(prefix="flightline-quality-") as folder:
        path = given or replay.fetch(spec, Path(folder, "cache")).path
        rows = pd.read_csv(path)
        rows.insert(0, "listing_id", np.arange(1, len(rows) + 1))
        print(f"{path}: {len(rows):,} rows")
        print(f"{'recipe':<38}{'random':>7}{'space':>7}   {'gain at random':<24}{'gain in space':<24}CPU s")
        before: Measured | None = None
        for number, recipe in enumerate(RECIPES):
            measured = _measure(recipe, rows, Path(folder, str(number)))
            print(_line(recipe, measured, before), flush=True)
            before = measured
    return 0


def _measure(recipe: Recipe, rows: pd.DataFrame, folder: Path) -> Measured:
    spec = _spec(recipe, folder)
    features = _features(spec, rows)
    names = list(query.feature_schema(spec))
    algorithms.of(spec, names)
    random = [_random(spec, features, seed) for seed in SEEDS]
    space = folds.of_blocks(BLOCK, 0.0, features, spec.training.split.seed, SPATIAL_FOLDS)
    began = time.process_time()
    at_random = [_value(spec, features, names, fold) for fold in random]
    seconds = (time.process_time() - began) / len(random)
    return Measured(np.array(at_random), np.array([_value(spec, features, names, fold) for fold in space]), seconds)


def _spec(recipe: Recipe, root: Path) -> ModelSpec:
    """The model with the recipe's lines in its files."""
    shutil.copytree(catalogue.load(MODEL).folder, root / MODEL)
    sql = root / MODEL / "features.sql"
    text = sql.read_text(encoding="utf-8")
    assert BEFORE in text
    sql.write_text(text.replace(BEFORE, "".join(f"    {line},\n" for line in recipe.features) + BEFORE), "utf-8")
    spec = catalogue.load(MODEL, root)
    training = spec.training.model_copy(update={"baseline": recipe.baseline})
    folder, spec = spec.folder, spec.model_copy(update={"training": training})
    spec._folder = folder
    return spec


def _features(spec: ModelSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Key, partition, features and target of the file's rows, as one partition."""
    partition = spec.first_partition
    delivered = rows.copy()
    delivered[EVENT_TIMESTAMP], delivered[PARTITION] = partition.start, partition.key
    schema = CLEAN.of(spec).schema
    clean = pa.Table.from_pandas(delivered[schema.names], schema, preserve_index=False)
    made = query.of_rows(spec, clean, partition).to_pandas()
    named = list(spec.entity.keys)
    made = made.merge(rows[[*named, spec.target]], on=named, validate="one_to_one").assign(**{PARTITION: partition.key})
    return made.astype(dict.fromkeys(query.feature_schema(spec), "float64"))


def _random(spec: ModelSpec, rows: pd.DataFrame, seed: int) -> Fold:
    split = spec.training.split.model_copy(update={"seed": seed})
    other = spec.model_copy(update={"training": spec.training.model_copy(update={"split": split})})
    judged = splits.parts(other, splits.hold(other, (), rows), rows) == splits.TEST
    return Fold(~judged, judged)


def _value(spec: ModelSpec, rows: pd.DataFrame, names: list[str], fold: Fold) -> float:
    fitted, judged = rows[fold.fitted], rows[fold.judged]
    sample = Sample(fitted[names], fitted[spec.target].to_numpy(np.float64), np.ones(len(fitted)))
    model = algorithms.fit(spec, sample, dict(spec.training.baseline), threads=1).model
    predicted = algorithms.predict(spec, spec.training.algorithm, model, judged[names])
    return metrics.of(spec).measure(judged[spec.target].to_numpy(np.float64), predicted, len(names))


def _line(recipe: Recipe, measured: Measured, before: Measured | None) -> str:
    gains = "".join(f"{text:<24}" for text in _gains(measured, before))
    means = f"{measured.random.mean():>7.4f}{measured.space.mean():>7.4f}"
    return f"{recipe.title:<38}{means}   {gains}{measured.seconds:5.1f}"


def _gains(measured: Measured, before: Measured | None) -> tuple[str, str]:
    """The paired gains with their intervals."""
    if before is None:
        spread = [f"sd {values.std(ddof=1):.4f}" for values in (measured.random, measured.space)]
        return spread[0], spread[1]
    at_random = _interval(measured.random - before.random, test_share=0.3)
    return at_random, _interval(measured.space - before.space, test_share=1 / SPATIAL_FOLDS)


def _interval(gains: Floats, test_share: float) -> str:
    """Mean and interval of paired gains on splits that share rows."""
    error = float(np.sqrt((1 / len(gains) + test_share / (1 - test_share)) * gains.var(ddof=1)))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(gains) - 1)) * error
    return f"{gains.mean():+.4f} ({gains.mean() - reach:+.3f} to {gains.mean() + reach:+.3f})"


if __name__ == "__main__":
    raise SystemExit(main())
