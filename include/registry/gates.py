"""The gates that a version passes on its way to production. They only measure.

Production gate: what is compared, and why it is fair. Both versions predict the same rows of the
candidate's training set (the newer one of both), and only rows that are test rows for both: the split
hashes the entity's key, so neither was fitted to any of them. Where there are windows after the history,
the newest of them decide which version is better, because that is where a drift shows and most test rows
are older; otherwise all test rows decide. The candidate must also clear the threshold on all test rows,
so that it cannot win the recent ones by forgetting the rest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pandas as pd
from mlflow.exceptions import MlflowException

from include.core.spec import ModelSpec
from include.evaluation import compare, metrics
from include.evaluation.metrics import Floats
from include.lakehouse.tables import Lakehouse
from include.registry import versions
from include.registry.versions import Version
from include.training import training_set


@dataclass(frozen=True)
class Check:
    """One question a gate asks. ``value`` and ``threshold`` are None where there is nothing to measure."""

    name: str
    passed: bool
    detail: str
    value: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer of a gate: passed if every check is."""

    passed: bool
    gate: str
    version: str
    checks: Sequence[Check]

    @property
    def reasons(self) -> list[str]:
        """Sentences of the checks that failed, or of all of them if none did."""
        failed = [check.detail for check in self.checks if not check.passed]
        return failed or [check.detail for check in self.checks]


def staging(spec: ModelSpec, version: str | int) -> Verdict:
    """Is the version complete and does it work: artifacts, description, signature, a prediction.

    Raises:
        DataError: no such version.
    """
    found = versions.get(spec, version)
    described = bool(found.description.strip())
    checks = [
        _has_artifacts(found),
        Check("has_description", described, "It has a description." if described else "It has no description."),
    ]
    try:
        model = mlflow.pyfunc.load_model(found.uri)
    except (MlflowException, OSError, ValueError, ImportError) as error:
        # A version that cannot be loaded is a finding, not a failure of the gate.
        reason = f"It cannot be loaded: {_first_line(error)}"
        return _verdict(
            "staging", found.version, [*checks, Check("has_signature", False, reason), _no_prediction(reason)]
        )
    return _verdict("staging", found.version, [*checks, _has_signature(model), _predicts(model)])


def production(spec: ModelSpec, lake: Lakehouse, version: str | int) -> Verdict:
    """Is the version good enough, and better than the one in production.

    Where windows of its training set have drifted, their test rows decide beside all test rows, once they are enough.

    Raises:
        DataError: no such version, or a training set is gone.
    """
    candidate = versions.get(spec, version)
    serving = versions.production(spec)
    gate = spec.gates.production
    frame = _evidence(spec, lake, candidate, serving)
    test = _held_out(spec, candidate, frame)
    predicted = predict(candidate, test)
    n_features = len(features_of(candidate))
    recent = test["recent"].to_numpy(dtype=np.bool_)
    all_rows = np.ones(len(test), dtype=np.bool_)
    checks = [_above("adjusted_r2", spec, test, predicted, n_features, all_rows, "all test rows")]
    if not recent.any():
        checks.append(_better(spec, candidate, serving, test, "all test rows"))
        return _verdict("production", candidate.version, checks)
    checks.append(_enough(int(recent.sum()), max(gate.min_recent_rows, metrics.least_rows(n_features))))
    if checks[-1].passed:
        where = "the test rows of drifted windows"
        checks.append(_above("recent_adjusted_r2", spec, test, predicted, n_features, recent, where))
        checks.append(_better(spec, candidate, serving, test[recent], where))
    return _verdict("production", candidate.version, checks)


def _verdict(gate: str, version: str, checks: Sequence[Check]) -> Verdict:
    return Verdict(all(check.passed for check in checks), gate, version, tuple(checks))


def _better(spec: ModelSpec, candidate: Version, serving: Version | None, rows: pd.DataFrame, where: str) -> Check:
    name, gate = "better_than_production", spec.gates.production
    if serving is None:
        return Check(name, True, "No version is in production yet.")
    if serving.version == candidate.version:
        return Check(name, True, f"Version {serving.version} is in production already.")
    missing = sorted(set(features_of(serving)) - set(rows.columns))
    if missing:
        return Check(name, False, f"Version {serving.version} cannot be compared: {', '.join(missing)} not stored.")
    shared = _held_out(spec, serving, rows)
    counts = (len(features_of(candidate)), len(features_of(serving)))
    if len(shared) < metrics.least_rows(max(counts)):
        return Check(name, False, f"Only {len(shared)} rows are test rows of both versions: too few to compare.")
    actual = shared[spec.target].to_numpy(dtype=np.float64)
    gain, bound = compare.difference_interval(
        actual, predict(candidate, shared), predict(serving, shared), counts, gate.confidence
    )
    passed = bound > 0
    return Check(
        name,
        passed,
        f"On {where} ({len(shared):,} rows) its adjusted R2 gains {gain:+.4f} on version "
        f"{serving.version}; with {gate.confidence:.0%} confidence at least {bound:+.4f}: "
        f"{'better' if passed else 'not surely better'}.",
        value=bound,
        threshold=0.0,
    )


def _enough(rows: int, least: int) -> Check:
    passed = rows >= least
    detail = f"{rows:,} test rows of drifted windows, {least:,} are needed to judge a version by them."
    return Check("recent_rows", passed, detail, value=rows, threshold=least)


def _above(
    name: str,
    spec: ModelSpec,
    test: pd.DataFrame,
    predicted: Floats,
    n_features: int,
    chosen: npt.NDArray[np.bool_],
    where: str,
) -> Check:
    threshold = spec.gates.production.adjusted_r2
    value = metrics.adjusted_r2(test[spec.target][chosen], predicted[chosen], n_features)
    passed = value > threshold
    return Check(
        name,
        passed,
        f"Adjusted R2 on {where} ({chosen.sum():,} rows) is {value:.4f}, "
        f"{'above' if passed else 'not above'} {threshold:g}.",
        value=value,
        threshold=threshold,
    )


def _evidence(spec: ModelSpec, lake: Lakehouse, candidate: Version, serving: Version | None) -> pd.DataFrame:
    """The candidate's training set, or the serving version's if that is newer and has the features.

    An old version that asks for promotion again is so judged on the days that came after it.
    """
    if serving and serving.tag("training_set") > candidate.tag("training_set"):
        newer = _training_set(spec, lake, serving)
        if set(features_of(candidate)) <= set(newer.columns):
            return newer
    return _training_set(spec, lake, candidate)


def test_rows(spec: ModelSpec, lake: Lakehouse, version: Version) -> pd.DataFrame:
    """The test rows of the version's own training set: what its metrics were measured on."""
    return _held_out(spec, version, _training_set(spec, lake, version))


def _training_set(spec: ModelSpec, lake: Lakehouse, version: Version) -> pd.DataFrame:
    return training_set.stored(spec, lake, version.tag("training_set"), int(version.tag("training_set.version")))


def _held_out(spec: ModelSpec, version: Version, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that were test rows for a version, by the split it was fitted with."""
    part = training_set.parts(
        rows[spec.entity.key], int(version.tag("split.seed")), float(version.tag("split.test_share"))
    )
    return rows[part == "test"]


def features_of(version: Version) -> list[str]:
    """Names of the features a version was fitted to, in its order."""
    return [str(name) for name in json.loads(version.tag("features"))]


def predict(version: Version, rows: pd.DataFrame) -> Floats:
    """One prediction per row; the rows have the version's features among their columns."""
    model = mlflow.pyfunc.load_model(version.uri)
    return np.asarray(model.predict(rows[features_of(version)]), dtype=np.float64)


def _has_artifacts(version: Version) -> Check:
    name = "has_artifacts"
    try:
        with TemporaryDirectory(prefix="flightline-") as folder:
            path = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=folder))
            files = [file for file in path.rglob("*") if file.is_file()]
            size = sum(file.stat().st_size for file in files)
            complete = any(file.name == "MLmodel" for file in files) and size > 0
    except (MlflowException, OSError) as error:
        return Check(name, False, f"Its files cannot be downloaded: {_first_line(error)}", value=0)
    detail = f"{len(files)} files, {size:,} bytes" + ("." if complete else ", no MLmodel among them.")
    return Check(name, complete, detail, value=len(files))


def _has_signature(model: Any) -> Check:
    signature = model.metadata.signature
    complete = bool(signature and signature.inputs and signature.outputs)
    detail = (
        f"Signature with {len(signature.inputs)} inputs." if complete else "It has no signature of inputs and outputs."
    )
    return Check("has_signature", complete, detail)


def _predicts(model: Any) -> Check:
    example = model.input_example
    if example is None:
        return _no_prediction("It has no input example to predict.")
    try:
        predicted = np.asarray(model.predict(example), dtype=np.float64).reshape(-1)
    except Exception as error:  # noqa: BLE001 - whatever a model raises is the finding
        return _no_prediction(f"It raises on its own input example: {_first_line(error)}")
    passed = len(predicted) == len(example) and bool(np.isfinite(predicted).all())
    detail = f"{len(predicted)} predictions for the {len(example)} rows of its input example"
    return Check("predicts", passed, detail + (", all finite." if passed else ", not all finite or not one per row."))


def _no_prediction(reason: str) -> Check:
    return Check("predicts", False, reason)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
