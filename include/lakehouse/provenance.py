"""Which files the data came from, for whoever looks at a run and asks what it was trained on."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION, RAW, SOURCE_FILE
from include.lakehouse.tables import Lakehouse


def file_names(spec: ModelSpec, lake: Lakehouse) -> str:
    """Names of the delivered files behind ``raw_<model>``, sorted; a generated sample says so in its name.

    From the table's own record of each of its files, where that tells; rows only of partitions that hold several.
    """
    table = RAW.of(spec)
    record = pa.table(lake.open(table).get_add_actions(flatten=True)).to_pylist()
    found = {
        str(file[f"min.{SOURCE_FILE}"]) for file in record if file[f"min.{SOURCE_FILE}"] == file[f"max.{SOURCE_FILE}"]
    }
    for file in record:
        if file["num_records"] and file[f"min.{SOURCE_FILE}"] != file[f"max.{SOURCE_FILE}"]:
            where = [(PARTITION, "=", file[f"partition.{PARTITION}"])]
            found |= set(pc.unique(lake.read(table, where=where, columns=[SOURCE_FILE])[SOURCE_FILE]).to_pylist())
    return ", ".join(sorted({file.rsplit("/", 1)[-1] for file in found if file != "None"}))
