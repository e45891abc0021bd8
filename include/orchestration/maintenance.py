"""Upkeep of the Delta tables: many small files into few, and files that no kept version needs removed."""

from __future__ import annotations

import logging

from include.core.text import aligned
from include.lakehouse.run import Run
from include.lakehouse.schemas import TABLES

log = logging.getLogger(__name__)


def maintain_tables(run: Run) -> dict[str, dict[str, int]]:
    """Compact and vacuum every table of the model, and those that all models share.

    Returns:
        Table → files before compaction that it replaced, files that it wrote, files removed for good.
    """
    columns = ("files_replaced", "files_written", "files_removed")
    tables = [run.table(table) for table in TABLES]
    counts = {table.name: run.lake.maintain(table) for table in tables if run.lake.exists(table)}
    told = [(name, *map(str, counted)) for name, counted in counts.items()]
    log.info("\n%s", aligned([("", *(column.replace("_", " ") for column in columns)), *told]))
    return {name: dict(zip(columns, counted, strict=True)) for name, counted in counts.items()}
