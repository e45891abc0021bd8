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
    done = {}
    for table in TABLES:
        name = run.table(table).name
        if not run.lake.exists(name):
            continue
        opened = run.lake.open(name)
        compacted = opened.optimize.compact()
        removed = opened.vacuum(retention_hours=24 * table.retention_days, dry_run=False)
        opened.create_checkpoint()
        done[name] = {
            "files_replaced": int(compacted["numFilesRemoved"]),
            "files_written": int(compacted["numFilesAdded"]),
            "files_removed": len(removed),
        }
    columns = ("files_replaced", "files_written", "files_removed")
    told = [(name, *(str(counts[column]) for column in columns)) for name, counts in done.items()]
    log.info("\n%s", aligned([("", *(column.replace("_", " ") for column in columns)), *told]))
    return done
