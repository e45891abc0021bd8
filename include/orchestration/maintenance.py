"""Upkeep of the Delta tables: many small files into few, and files that no kept version needs removed."""

from __future__ import annotations

import logging

from include.lakehouse.run import Workspace

log = logging.getLogger(__name__)
LAYERS = (
    "raw",
    "quarantine",
    "quarantine_labels",
    "clean",
    "profiles",
    "labels",
    "features",
    "parity",
    "training_sets",
    "predictions",
    "metrics",
)
RETENTION_HOURS = 24 * 90
"""A version's training set, and the tables it was built from, can be read again for so long."""


def maintain(workspace: Workspace) -> dict[str, dict[str, int]]:
    """Compact and vacuum every table of the model, and the two that all models share.

    Returns:
        Table → files before compaction that it replaced, files that it wrote, files removed for good.
    """
    names = [workspace.spec.table(layer) for layer in LAYERS] + ["decisions", "alias_history"]
    done = {}
    for name in names:
        if not workspace.lake.exists(name):
            continue
        table = workspace.lake.open(name)
        compacted = table.optimize.compact()
        removed = table.vacuum(retention_hours=RETENTION_HOURS, dry_run=False)
        done[name] = {
            "files_replaced": int(compacted["numFilesRemoved"]),
            "files_written": int(compacted["numFilesAdded"]),
            "files_removed": len(removed),
        }
        log.info("%s: %s", name, done[name])
    return done
