"""What would become of a delivery, before it is delivered: ``make check-delivery FILE=batch.csv``.

The rules, and the batches that are in the lakehouse already, are those of ``ingest_batch``. Nothing is written.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from include.core import catalogue
from include.core.errors import FlightlineError, UsageError
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.ingestion import steps
from include.ingestion.delivery import MARKER, Delivery
from include.ingestion.verdict import BatchVerdict
from include.lakehouse.decisions import Outcome
from include.lakehouse.run import Run
from include.lakehouse.schemas import RAW
from include.lakehouse.tables import Lakehouse


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the delivery would be accepted, with or without all of its rows; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="check-delivery", description=__doc__)
    parser.add_argument("file", help="a file, or a folder of files that are delivered together")
    parser.add_argument("--model", default="california_housing", choices=catalogue.registered())
    parser.add_argument("--partition", default="", help="whose delivery it is; by default that after the last batch")
    options = parser.parse_args(arguments)
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    try:
        verdict, said = _check(catalogue.load(options.model), options.file, options.partition)
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(said)
    print(f"{_table(verdict)}\nNothing was written.")
    return 1 if verdict.outcome is Outcome.REJECT_BATCH else 0


def _check(spec: ModelSpec, name: str, key: str) -> tuple[BatchVerdict, str]:
    usage = "make check-delivery FILE=<file or folder>"
    if not name:
        raise UsageError("no file is named", fix=usage)
    file = Path(name)
    files = sorted(file.iterdir()) if file.is_dir() else [file]
    if not file.exists():
        raise UsageError("there is no such file", where=name, fix=usage)
    settings = Settings.load(need=())
    with TemporaryDirectory(prefix="flightline-") as scratch:
        lake = Lakehouse(settings.lakehouse_uri or scratch)
        run = Run(spec, settings, lake, "check-delivery", _partition(spec, lake, key))
        landing = settings.model_copy(update={"landing_uri": f"{scratch}/landing"})
        delivery = Delivery.expected(landing, spec, "batches", run.partition)
        folder = Path(delivery.folder)
        folder.mkdir(parents=True)
        for each in files:
            if each.is_dir():
                shutil.copytree(each, folder / each.name, copy_function=_put)
            else:
                _put(each.resolve(), folder / each.name)
        (folder / MARKER).touch()
        verdict, said = steps.preview_batch(run, delivery)
        return verdict, said.replace(str(folder), str(file.parent if file.is_file() else file))


def _put(file: str | Path, place: str | Path) -> None:
    """As a second name where that can be, since a file may be large; a delivery has no symbolic links."""
    try:
        os.link(file, place)
    except OSError:
        if not Path(file).is_file():  # a device has no end
            raise UsageError("is no plain file", where=str(file), fix="Name plain files, or a folder of them") from None
        shutil.copyfile(file, place)


def _partition(spec: ModelSpec, lake: Lakehouse, key: str) -> Partition:
    if key:
        return Partition.parse(key, spec.grain)
    there = lake.rows_by_partition(RAW.of(spec))
    return Partition.parse(max(there), spec.grain).shift(1) if there else spec.first_partition


def _table(verdict: BatchVerdict) -> str:
    lines = [
        ("verdict", verdict.outcome.value),
        ("rows in", str(verdict.rows)),
        ("accepted", str(verdict.rows - verdict.quarantined)),
        ("quarantined", str(verdict.quarantined)),
        *((f"  {reason}", str(count)) for reason, count in verdict.reasons.items()),
        *(("rejected for", reason) for reason in verdict.batch_reasons),
        *(("warning", warning) for warning in verdict.warnings),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


if __name__ == "__main__":
    sys.exit(main())
