"""Great Expectations: its expectations by type, and a context that neither writes nor sends anything."""

from __future__ import annotations

from functools import cache

import great_expectations as gx
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations import core
from great_expectations.expectations.expectation import Expectation


@cache
def core_types() -> dict[str, type[Expectation]]:
    """Great Expectations' own core expectations by type, e.g. ``expect_column_values_to_be_between``."""
    classes = (value for value in vars(core).values() if isinstance(value, type) and issubclass(value, Expectation))
    # One class is there for its old name only and has no type of its own.
    return {cls.expectation_type: cls for cls in classes if cls.expectation_type}


def ephemeral_context() -> EphemeralDataContext:
    """A context in memory: no file, no temporary folder, no progress bar, nothing sent to anybody."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(project_config=config, mode="ephemeral")
