"""Which files the data came from, for whoever looks at a run and asks what it was trained on."""

from __future__ import annotations

import pyarrow.compute as pc

from include.core.spec import ModelSpec
from include.lakehouse.tables import Lakehouse


def file_names(spec: ModelSpec, lake: Lakehouse) -> str:
    """Names of the delivered files behind ``raw_<model>``, sorted; a generated sample says so in its name."""
    files = pc.unique(lake.read(spec.table("raw"), columns=["source_file"])["source_file"]).to_pylist()
    return ", ".join(sorted({file.rsplit("/", 1)[-1] for file in files}))
