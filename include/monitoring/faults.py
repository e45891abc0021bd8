"""Is it a mistake of who delivers? The features of a window beside those that its version was trained on.

Of features that are delivered columns first: those can be mended, and what is derived of them is as wrong as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from include.core.spec import ModelSpec
from include.core.text import word
from include.evaluation import dependence, faults
from include.evaluation.faults import Fault, FaultKind
from include.features.fitted_categories import Categories
from include.lakehouse.windows import FAULT, FAULT_LEAST, FAULT_MOST, WindowMetrics
from include.monitoring.reference import Reference

NEW_TEXTS = 0.2
"""More rows than in the reference, of texts that model.yaml does not name, or of none: that category is left out here.
Its own drift test tells it."""

DELIVERED, DERIVED, TOGETHER = 0.6, 0.2, 0.2
"""The parts of alpha: of delivered columns, of what is derived of them, and of what they show together."""


def detect(spec: ModelSpec, reference: Reference, scored: pd.DataFrame) -> list[Fault]:
    """The faults of a window; none where model.yaml does not want them looked for.

    Args:
        scored: the version's features of the rows that were served.
    """
    rule = spec.monitoring.faults
    if not rule.enabled or scored.empty:
        return []
    names = [str(name) for name in reference.features.columns if name not in reference.categories]
    delivered = [name for name in names if name in spec.columns]
    derived = [name for name in names if name not in spec.columns]
    for some, part in ((delivered, DELIVERED), (derived, DERIVED)):
        columns = {name: reference.features[name].to_numpy(dtype=np.float64) for name in some}
        if found := faults.of_columns(columns, scored, part * rule.alpha):
            return found
    sides = reference.rows, scored
    one_hot = [list(item.one_hot(name)) for name, item in spec.features.categories.items() if item.encode == "one_hot"]
    new = {
        flag for of_one in one_hot if set(of_one) <= set(names) and _has_new_texts(*sides, of_one) for flag in of_one
    }
    flags = [name for name in derived if reference.rows[name].isin((0.0, 1.0)).all() and name not in new]
    same = {name: item for name, item in reference.categories.items() if not _has_new_texts(*sides, [name])}
    known, now = (with_flags(frame, same) for frame in sides)
    flags += [name for name in known.columns if name not in reference.rows]
    together = [*delivered, *flags] if len(delivered) + len(flags) > 1 else names
    return dependence.find(known[together], now, TOGETHER * rule.alpha, rule.fixed)


def _has_new_texts(reference: pd.DataFrame, scored: pd.DataFrame, features: Sequence[str]) -> bool:
    """Whether a category has other texts than were learned of: nothing says with what those belong together.

    Args:
        features: its code, or its 0/1 features.
    """
    none, now = ((~frame[list(features)].gt(0).any(axis=1)).mean() for frame in (reference, scored))
    return bool(now - none > NEW_TEXTS)


def with_flags(rows: pd.DataFrame, categories: Categories) -> pd.DataFrame:
    """Rows with a column of 0 and 1 for each text of a category, since the order of codes says nothing."""
    flags = {
        f"{name}_{word(text) or code}": rows[name].eq(code).astype(np.float64)
        for name, category in categories.items()
        for code, text in category.texts.items()
    }
    return rows.assign(**{name: values for name, values in flags.items() if name not in rows})


def rows(found: Sequence[Fault]) -> list[tuple[str, str, float]]:
    """What ``metrics_<model>`` has of faults: metric, column, value."""
    lines = []
    for fault in found:
        told = {FAULT: fault.value, FAULT_LEAST: fault.least, FAULT_MOST: fault.most}
        lines += [
            (f"{name}:{fault.kind}:{fault.what}", fault.column, value)
            for name, value in told.items()
            if not np.isnan(value)
        ]
    return lines


def of_window(window: WindowMetrics) -> list[Fault]:
    """The faults that were found in a window, as they were."""
    found = []
    for name, (value, least, most) in window.faults.items():
        kind, what, column = name.split(":")
        bounds = (float("nan") if bound is None else bound for bound in (least, most))
        found.append(Fault(FaultKind(kind), column, what, value, *bounds))
    return found


def told(window: WindowMetrics) -> list[str]:
    """A clause for each fault of a window."""
    return [fault.said for fault in of_window(window)]
