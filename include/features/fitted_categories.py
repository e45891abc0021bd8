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
    """Those that the features are codes or 0/1 features of, as a version's tag has them."""
    used = {
        name: category
        for name, category in spec.features.categories.items()
        if set(category.one_hot(name) if category.encode == "one_hot" else [name]) & set(features)
    }
    return json.dumps({name: category.model_dump() for name, category in used.items()}, ensure_ascii=False)


def read(text: str) -> dict[str, Category]:
    """Those that `written` wrote of which a feature is the code, by feature."""
    return {name: category for name, category in read_all(text).items() if category.encode == "codes"}


def read_all(text: str) -> dict[str, Category]:
    """All that `written` wrote, by column."""
    return {name: Category.model_validate(told) for name, told in json.loads(text).items()}


def require_codes_kept(spec: ModelSpec, fitted: Categories, features: Collection[str], version: str) -> None:
    """Refuse a version to which model.yaml gives other codes, or 0/1 features, than it was fitted to.

    Args:
        fitted: all of the version (`read_all`).
        features: all of its features.

    Raises:
        DataError: a value was removed or moved, what is unseen is another value, a 0/1 feature stands for another text,
            or a feature has become a category or is none any more.
    """
    flags = _flags(spec.features.categories)
    for name, text in _flags(fitted).items():
        if name in features and flags.get(name, text) != text:
            raise DataError(
                f"version {version} was fitted to {name} as 1 for {text}, and it is 1 for {flags[name]} now",
                where=f"{spec.file()}: features.categories",
                fix="Put the value back, or have features.sql select the column by another name, and train anew",
            )
    fitted = {name: category for name, category in fitted.items() if category.encode == "codes"}
    now = {name: category for name, category in spec.features.coded.items() if name in features}
    for name in sorted({*fitted, *now}):
        before, after = (side[name].values if name in side else () for side in (fitted, now))
        if before and after and fitted[name].unseen == "other" and now[name].unseen == "missing":
            raise DataError(
                f"version {version} was fitted to {name} with unseen: other, and what is unseen is null now",
                where=f"{spec.file()}: features.categories.{name}",
                fix="Put unseen: other back, or train anew",
            )
        if not before or after[: len(before)] != before:
            raise DataError(
                f"version {version} was fitted to {name} as {_said(before)}, and features have {_said(after)} now",
                where=f"{spec.file()}: features.categories.{name}",
                fix="Put the values back, append new ones, and backfill build_features for the days since; or have "
                "features.sql select it by another name, and train anew",
            )


def _flags(categories: Categories) -> dict[str, str]:
    """By 0/1 feature what it is 1 for; of what is none of the values it is said of which."""
    return {
        flag: repr(text) if text is not None else f"none of {', '.join(category.values)}"
        for column, category in categories.items()
        if category.encode == "one_hot"
        for flag, text in category.one_hot(column).items()
    }


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
