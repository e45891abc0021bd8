"""How each expectation fared, as rows of ``metrics_<model>`` beside those of monitoring."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.ingestion.validation.result import RuleOutcome
from include.lakehouse.schemas import METRICS, PARTITION
from include.lakehouse.tables import Lakehouse

SOURCE = "ingestion"


def write(spec: ModelSpec, lake: Lakehouse, partition: Partition, outcomes: Sequence[RuleOutcome], rows: int) -> None:
    """Replace the partition's rows: one for each expectation.

    ``metric`` is ``<severity>:<reason>``, ``slice`` the columns. ``value`` is the share of failing rows, from 0 to 1,
    or what was observed where the rule checks a number of the batch; a rule on the batch without a number has 1 where
    it fails. ``threshold`` is 0 where it is a share that should be 0.
    """
    table, replaced = METRICS.of(spec), {PARTITION: partition.key, "source": SOURCE}
    lines = [replaced | _line(spec, outcome, rows) for outcome in outcomes]
    lake.replace(table, pa.Table.from_pylist(lines, schema=table.schema), replaced)


def _line(spec: ModelSpec, outcome: RuleOutcome, rows: int) -> dict[str, object]:
    failing = outcome.failure.count if outcome.failure else 0
    share = failing / rows if rows and failing else float(not outcome.success)
    shown = outcome.observed is not None and not spec.personal_columns & set(outcome.rule.columns)
    return {
        "metric": f"{outcome.rule.severity}:{outcome.reason}",
        "slice": ",".join(outcome.rule.columns) or "all",
        "value": outcome.observed if shown else share,
        "threshold": None if shown else 0.0,
        "model_version": None,
    }
