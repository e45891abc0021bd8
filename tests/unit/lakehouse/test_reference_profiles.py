"""The profile of a version, written and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.errors import DataError
from include.lakehouse import reference_profiles
from include.lakehouse.tables import Lakehouse


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    with pytest.raises(DataError, match="version 1 has no reference profile"):
        reference_profiles.read(spec, lake, "1")
    columns = {"a": np.array([np.nan, -np.inf, 1.0]), "prediction": np.array([2.0]), "residual": np.empty(0)}
    features = pd.DataFrame({"a": [3.0, np.nan, 1.0]})
    for version in ("1", "2"):
        reference_profiles.write(spec, lake, version, columns, features)
    found = reference_profiles.read(spec, lake, "1")
    assert found.quantiles.keys() == columns.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(found.quantiles[name], values)
    np.testing.assert_array_equal(np.sort(found.rows["a"]), [1.0, 3.0, np.nan])
    assert list(found.rows) == ["a"]
    with pytest.raises(DataError, match="version 3"):
        reference_profiles.read(spec, lake, "3")
    reference_profiles.write(spec, lake, "3", {"prediction": np.array([2.0])}, features)
    with pytest.raises(DataError, match=r"version 3 .*, or one without residuals"):
        reference_profiles.read(spec, lake, "3")


def test_the_rows_of_a_profile_are_rows_and_no_more_than_are_kept(tmp_path: Path) -> None:
    spec, lake = catalogue.load("california_housing"), Lakehouse(str(tmp_path))
    numbers = np.arange(2.0 * reference_profiles.MOST_ROWS)
    columns = dict.fromkeys(("a", "b", "prediction", "residual"), np.array([1.0]))
    reference_profiles.write(spec, lake, "1", columns, pd.DataFrame({"a": numbers, "b": -numbers}))
    rows = reference_profiles.read(spec, lake, "1").rows
    assert len(rows) == rows["a"].nunique() == reference_profiles.MOST_ROWS
    assert (rows["a"] == -rows["b"]).all()
    assert rows["a"].is_monotonic_increasing
