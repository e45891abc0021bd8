"""What our online stores have in common: how rows come in. The batch engine hands Arrow to any of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.repo_config import RepoConfig

from feast_delta.online import rows
from feast_delta.online.rows import Message, Rows

Progress = Callable[[int], Any]


class RowWriter(ABC):
    """The writing half of an online store: a row never replaces one of a later event time, or created time.

    A row of the same times does replace what is held: it is the interval materialised again.
    """

    @abstractmethod
    def write_rows(
        self, config: RepoConfig, table: FeatureView, parts: Iterator[Rows], progress: Progress | None
    ) -> int:
        """Write what comes, one part in memory at a time.

        Returns:
            The number of rows that were read, of which older ones were left out.
        """

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Message], progress: Progress | None
    ) -> None:
        """Write Feast's messages."""
        if data:
            part = rows.from_messages(table, data, config.entity_key_serialization_version)
            self.write_rows(config, table, iter([part]), progress)

    def write_arrow(
        self, config: RepoConfig, table: FeatureView, batches: Iterator[pa.RecordBatch], progress: Progress | None
    ) -> int:
        """Write batches of the view's columns.

        Args:
            batches: join keys, features, event time and created time, named as in the feature view.

        Returns:
            The number of rows that were read, of which older ones were left out.
        """
        parts = (rows.from_batch(table, batch) for batch in batches if batch.num_rows)
        return self.write_rows(config, table, parts, progress)
