"""How each expectation fared, as rows of ``metrics_<model>`` beside those of monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from include.core.spec import ModelSpec
from include.ingestion.findings import RuleResult
from include.lakehouse.tables import Lakehouse
from include.lakehouse.windows import SCHEMA

SOURCE = "ingestion"


def write(spec: ModelSpec, lake: Lakehouse, day: date, results: Sequence[RuleResult], rows: int) -> None:
    """Replace the day's rows: one for each expectation.

    ``metric`` is ``<severity>:<reason>``, ``slice`` the columns. ``value`` is the share of failing rows, from 0 to 1,
    or what was observed where the rule judges a number of the batch; a rule on the batch without a number has 1 where
    it fails. ``threshold`` is 0 where it is a share that should be 0.
    """
    lines = [_line(spec, day, result, rows) for result in results]
    table = pa.Table.from_pylist(lines, schema=SCHEMA)
    lake.replace_partition(spec.table("metrics"), table, {"window": day, "source": SOURCE}, partition_by=["window"])


def _line(spec: ModelSpec, day: date, result: RuleResult, rows: int) -> dict[str, object]:
    share = result.failing / rows if rows and result.failing else float(not result.success)
    shown = result.observed is not None and not spec.personal_columns & set(result.columns)
    return {
        "window": day,
        "metric": f"{result.severity}:{result.reason}",
        "slice": ",".join(result.columns) or "all",
        "value": result.observed if shown else share,
        "threshold": None if shown else 0.0,
        "model_version": None,
        "source": SOURCE,
    }
