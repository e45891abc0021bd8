"""Several LightGBM models as one: their trees together, each leaf times the model's weight.

So an average is stored, served, explained and checked as any other model is. The text is that of
``Booster.model_to_string`` (version 4), which LightGBM promises to read again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

WEIGHED = ("leaf_value", "internal_value", "leaf_const", "leaf_coeff", "split_gain")
"""What of a tree is in the unit of its prediction; and the gain, or a tree that hardly counts would seem to matter."""
_TREES = re.compile(r"(?m)^Tree=\d+\n")
_END = "end of trees"


def weighted_sum(models: Sequence[tuple[Any, float]]) -> Any:
    """One model that predicts, before any link, the sum of what the models predict times their weights.

    Args:
        models: boosters of the same features and classes, none of which averages its own trees (``rf``), and weights.
    """
    import lightgbm as lgb

    trees: list[str] = []
    for booster, weight in models:
        _, *found = _TREES.split(booster.model_to_string().partition(_END)[0])
        trees += [_weighed(tree, weight) for tree in found]
    whole = models[0][0].model_to_string()
    head, rest = _TREES.split(whole.partition(_END)[0])[0], whole.partition(_END)[2]
    numbered = [f"Tree={number}\n{tree}" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(tree.encode())) for tree in numbered)
    head = re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", head)
    return lgb.Booster(model_str=f"{head}{''.join(numbered)}{_END}{rest}")


def without_average(forest: Any) -> Any:
    """A random forest whose trees are summed and no longer averaged: as one of the models of `weighted_sum`."""
    import lightgbm as lgb

    return lgb.Booster(model_str=re.sub(r"(?m)^average_output\n", "", forest.model_to_string()))


def _weighed(tree: str, weight: float) -> str:
    lines = tree.split("\n")
    for place, line in enumerate(lines):
        name, _, values = line.partition("=")
        if name in WEIGHED:
            # Two spaces in a row part the coefficients of leaves.
            lines[place] = f"{name}=" + " ".join(_times(value, weight) for value in values.split(" "))
    return "\n".join(lines)


def _times(value: str, weight: float) -> str:
    return repr(float(value) * weight) if value else ""
