"""What a version knows of its categories: as they were declared when it was fitted.

A code is a place in a list that may grow later: a version takes what it does not know for what it would have been when
it was fitted. A list that has changed otherwise gives other codes to the same texts, and no prediction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from include.core.category import Category
from include.core.errors import DataError
from include.core.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

Categories = Mapping[str, Category]


def written(spec: ModelSpec, features: Collection[str]) -> str:
    """Those of the features that are codes, as a version's tag has them."""
    coded = {name: category for name, category in spec.features.coded.items() if name in features}
    return json.dumps({name: category.model_dump() for name, category in coded.items()}, ensure_ascii=False)


def read(text: str) -> dict[str, Category]:
    """What `written` wrote, by feature."""
    return {name: Category.model_validate(told) for name, told in json.loads(text).items()}


def require_codes_kept(spec: ModelSpec, fitted: Categories, features: Collection[str], version: str) -> None:
    """Refuse a version to which model.yaml gives other codes than it was fitted to.

    Args:
        fitted: of the version.
        features: all of its features.

    Raises:
        DataError: a value was removed or moved, or a feature has become a category or is none any more.
    """
    now = {name: category for name, category in spec.features.coded.items() if name in features}
    for name in sorted({*fitted, *now}):
        before, after = (side[name].values if name in side else () for side in (fitted, now))
        if not before or after[: len(before)] != before:
            raise DataError(
                f"version {version} was fitted to {name} as {_said(before)}, and features have {_said(after)} now",
                where=f"{spec.file()}: features.categories.{name}",
                fix="Put the values back, and append new ones; or have features.sql select it by another name, and "
                "train anew",
            )


def known(fitted: Categories, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of features with the codes that a version knows.

    What was no value then is what it was then, the code 0 with ``unseen: other``, else null: a text that was named
    since, or that is ``other`` since.
    """
    changed = {}
    for name, category in fitted.items():
        codes, other = rows[name].to_numpy(dtype=np.float64), 0.0 if category.unseen == "other" else np.nan
        later = (codes > len(category.values)) | (codes == 0)
        if later.any():
            changed[name] = np.where(later, other, codes)
    return rows.assign(**changed)


def _said(values: tuple[str, ...]) -> str:
    return f"a category of {', '.join(values)}" if values else "no category"
