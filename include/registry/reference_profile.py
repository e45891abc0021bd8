"""The profile that a version's windows are compared with, from its training set and what it makes of that."""

from __future__ import annotations

import numpy as np

from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.drift import quantiles
from include.lakehouse import reference_profiles
from include.lakehouse.schemas import PREDICTION, RESIDUAL, SPLIT, SUPERSEDED
from include.lakehouse.tables import Lakehouse
from include.registry import registration
from include.registry.evidence import stored_rows
from include.registry.versions import Version
from include.training.splits import TEST


def record(spec: ModelSpec, lake: Lakehouse, version: Version) -> None:
    """Write how the version's features, its predictions and its residuals are distributed, and some rows.

    Of the features all rows count: none of them knows its part. Of the predictions the test rows: of what it was fitted
    to a version predicts another distribution than of what it is served for. Of the residuals those test rows whose
    labels are as they came. Nothing is weighted: a version whose few drifted days weighed more in the training would
    else find every ordinary day drifted.

    Raises:
        TamperedError: the version's files are not those that were registered.
    """
    rows = stored_rows(spec, lake, version)
    columns = {name: quantiles(rows[name].to_numpy(dtype=np.float64)) for name in version.features}
    test = rows[rows[SPLIT] == TEST]
    predicted = registration.predict(spec, lake, version, test)
    residuals = metrics.residuals(spec.task, test[spec.target].to_numpy(dtype=np.float64), predicted)
    columns[PREDICTION] = quantiles(predicted)
    columns[RESIDUAL] = quantiles(residuals[~test[SUPERSEDED].to_numpy(dtype=np.bool_)])
    reference_profiles.write(spec, lake, version.version, columns, rows[list(version.features)])
