"""What our online stores have in common: how rows come in. The batch engine hands Arrow to any of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.repo_config import RepoConfig

from feast_delta.online import rows
from feast_delta.online.rows import Message, Rows
from feast_delta.registry import give_versions

give_versions()

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

    @abstractmethod
    def remove_older(self, config: RepoConfig, table: FeatureView, before: datetime) -> None:
        """Remove the rows of an event time before a moment; one that is written meanwhile with a later time stays."""

    @abstractmethod
    def keys_between(self, config: RepoConfig, table: FeatureView, first: datetime, last: datetime) -> pa.Array:
        """Serialised keys of the rows that are held of an event time from ``first`` to ``last``, both included."""

    @abstractmethod
    def put_back(
        self, config: RepoConfig, table: FeatureView, keys: pa.Array, first: datetime, last: datetime, rows: Rows
    ) -> None:
        """Remove the rows of some keys, where they are of an event time from ``first`` to ``last``; in the same moment
        write the rows that come, as `write_rows` does. A key's row of another time stays.

        Args:
            rows: of these keys, at most one each.
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
        """Write batches of the view's columns, then remove what is expired since: what is beyond the view's time to
        live as seen from the newest row that came, whatever the clock says.

        Args:
            batches: join keys, features, event time and created time, named as in the feature view.

        Returns:
            The number of rows that were read, of which older ones were left out.
        """
        newest: list[datetime] = []

        def parts() -> Iterator[Rows]:
            for batch in batches:
                if batch.num_rows:
                    part = rows.from_batch(table, batch)
                    newest[:] = [max([*newest, pc.max(part.event_times).as_py()])]
                    yield part

        count = self.write_rows(config, table, parts(), progress)
        if table.ttl and newest:
            self.remove_older(config, table, newest[0] - table.ttl)
        return count
