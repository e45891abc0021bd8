from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from include.core.errors import DataError
from include.evaluation import metrics

VALUES = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=5, max_size=40), st.integers(0, 3))
def test_agrees_with_scikit_learn(pairs: list[tuple[float, float]], n_features: int) -> None:
    actual, predicted = np.array(pairs).T
    assert metrics.rmse(actual, predicted) == pytest.approx(root_mean_squared_error(actual, predicted))
    assert metrics.mae(actual, predicted) == pytest.approx(mean_absolute_error(actual, predicted))
    if np.var(actual) > 1e-6:
        rows = len(actual)
        expected = 1 - (1 - r2_score(actual, predicted)) * (rows - 1) / (rows - n_features - 1)
        assert metrics.adjusted_r2(actual, predicted, n_features) == pytest.approx(expected, rel=1e-6)


def test_weighted_rmse_counts_a_row_as_often_as_it_weighs() -> None:
    weighted = metrics.rmse([1, 2], [2, 5], np.array([1.0, 3.0]))
    assert weighted == pytest.approx(metrics.rmse([1, 2, 2, 2], [2, 5, 5, 5]))


@pytest.mark.parametrize(
    ("actual", "predicted"),
    [([], []), ([1.0], [1.0, 2.0]), ([1.0, np.nan], [1.0, 2.0]), ([2.0, 2.0], [1.0, 2.0])],
)
def test_refuses_what_has_no_value(actual: list[float], predicted: list[float]) -> None:
    with pytest.raises(DataError):
        metrics.r2(actual, predicted)


def test_refuses_as_many_features_as_rows() -> None:
    with pytest.raises(DataError, match="At least 5 rows"):
        metrics.adjusted_r2([1, 2, 3, 4], [1, 2, 3, 3], 3)
