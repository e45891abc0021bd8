"""What the comparison at the gate has promised of a version, noted where people look at it in MLflow."""

from __future__ import annotations

from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.lakehouse import comparisons
from include.lakehouse.comparisons import ALL, Comparison
from include.lakehouse.tables import Lakehouse
from include.registry import versions

TAG = "gain.promised"


def of(spec: ModelSpec, lake: Lakehouse, version: str, former: str | None) -> Comparison | None:
    """The last comparison of a version, on all rows, with the one whose place it took; None where there was none."""
    made = comparisons.read(spec, lake, former) if former else []
    return next((item for item in reversed(made) if item.candidate == version and item.slice == ALL), None)


def note(spec: ModelSpec, lake: Lakehouse, version: str, former: str | None) -> None:
    """Say it in the version's tags and description."""
    if found := of(spec, lake, version, former):
        versions.note(spec, version, "Promised", f"{told(spec, found)}.", {TAG: tagged(spec, found.gain)})


def told(spec: ModelSpec, found: Comparison) -> str:
    """``a gain of 0.0123 in adjusted R2 on version 2, surely 0.0040 or more, on 4,787 test rows``."""
    metric = metrics.of(spec)
    return (
        f"a gain of {metric.shown(found.gain)} in {metric.title} on version {found.production_version}, surely "
        f"{metric.shown(found.lower_bound)} or more, on {found.rows:,} test rows"
    )


def tagged(spec: ModelSpec, gain: float) -> str:
    """A gain as a tag has it."""
    return f"{gain:.6g}"
