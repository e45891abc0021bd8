"""Measures of a regression. All take one actual and one predicted value per row, in the target's unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from include.core.errors import DataError

Floats = npt.NDArray[np.float64]


def least_rows(n_features: int) -> int:
    """The fewest rows on which the package judges a model: below it the adjustment dominates the value."""
    return 2 * (n_features + 1)


def r2(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of the variance that the prediction explains; 1 is perfect, the mean as prediction gets 0.

    Raises:
        DataError: no rows, unequal lengths, values that are not finite, or an actual value that never varies.
    """
    y, p = _pair(actual, predicted)
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        raise DataError("R2 is undefined: the actual values do not vary", fix="Use more rows")
    return 1 - float(((y - p) ** 2).sum()) / total


def adjusted_r2(actual: npt.ArrayLike, predicted: npt.ArrayLike, n_features: int) -> float:
    """R2 with a price for every feature: ``1 - (1 - R2) (n - 1) / (n - n_features - 1)`` (Theil, 1961).

    Raises:
        DataError: as for `r2`, or not more than ``n_features + 1`` rows.
    """
    return adjust(r2(actual, predicted), np.size(actual), n_features)


def adjust(value: float, rows: int, n_features: int) -> float:
    """Adjust an R2 that was measured on ``rows`` rows for the number of features."""
    if rows <= n_features + 1:
        raise DataError(
            f"adjusted R2 is undefined on {rows} rows with {n_features} features",
            fix=f"At least {n_features + 2} rows are needed",
        )
    return 1 - (1 - value) * (rows - 1) / (rows - n_features - 1)


def rmse(actual: npt.ArrayLike, predicted: npt.ArrayLike, weight: Floats | None = None) -> float:
    """Root of the (weighted) mean squared error, in the target's unit."""
    y, p = _pair(actual, predicted)
    return float(np.sqrt(np.average((y - p) ** 2, weights=weight)))


def mae(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean absolute error, in the target's unit."""
    y, p = _pair(actual, predicted)
    return float(np.abs(y - p).mean())


def summary(actual: npt.ArrayLike, predicted: npt.ArrayLike, n_features: int, prefix: str = "") -> dict[str, float]:
    """``adjusted_r2``, ``rmse``, ``mae`` and ``rows``, each name behind ``prefix``."""
    return {
        f"{prefix}adjusted_r2": adjusted_r2(actual, predicted, n_features),
        f"{prefix}rmse": rmse(actual, predicted),
        f"{prefix}mae": mae(actual, predicted),
        f"{prefix}rows": float(np.size(actual)),
    }


def _pair(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Floats, Floats]:
    y = np.asarray(actual, dtype=np.float64)
    p = np.asarray(predicted, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1 or y.size == 0:
        raise DataError(f"actual has shape {y.shape}, predicted {p.shape}: one value per row is needed")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise DataError("actual or predicted values are missing or infinite")
    return y, p
