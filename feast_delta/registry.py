"""Feast's SQL registry, whose states have a version each, as those of its other registries have.

Feast keeps parsed definitions by the address in memory and the version of the state that they were read from. Without
a version, a later state that lies where one was that is gone is taken for it: a process that opens its store again, or
refreshes it, would go on with definitions from before an ``apply``.
"""

from __future__ import annotations

from functools import wraps
from uuid import uuid4

from feast.infra.registry.sql import SqlRegistry
from feast.protos.feast.core.Registry_pb2 import Registry


def give_versions() -> None:
    """From now on each state that is read from a SQL registry of this process has a version of its own."""
    read = SqlRegistry.proto
    if hasattr(read, "__wrapped__"):
        return

    @wraps(read)
    def proto(self: SqlRegistry) -> Registry:
        state = read(self)
        state.version_id = str(uuid4())
        return state

    SqlRegistry.proto = proto  # type: ignore[method-assign]  # registry_type admits no class of another
