"""The specification of one model: its ``model.yaml`` as a whole, and what follows from it."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, PrivateAttr, model_validator

from include.core import duration
from include.core.approval import Approval
from include.core.column import Column, SourceName
from include.core.errors import UsageError
from include.core.files import short_path
from include.core.notification import Notification
from include.core.partition import CRONS, EXAMPLES, KEY_SHAPES, Grain, Partition
from include.core.sections import (
    Chosen,
    Deliveries,
    Entity,
    Features,
    Gates,
    Ingestion,
    Monitoring,
    Name,
    Probation,
    Replay,
    Section,
    Task,
    Training,
)
from include.core.text import composed


class ModelSpec(Section):
    """Everything that makes one model differ from another."""

    name: Name
    description: str
    owner: str
    pool: Annotated[str, Field(min_length=1)] | None = None
    """The pool of Airflow that all of its tasks run in, so that no backfill of another model takes their slots. It has
    to be there (Admin, Pools): tasks of a pool that is not are not started. By default it is Airflow's own."""
    task: Task
    grain: Grain
    entity: Entity
    target: Name
    target_source: SourceName | None = None
    """The target's name in the files of labels, where that is another, exactly as it stands there."""
    event_time: Name | None = None
    """The column, of dates or timestamps, that says when a row was so; it has to be within the partition. By default
    that is the partition's start."""
    metric: Chosen
    """What the model is judged by, in training, gates and monitoring."""
    deliveries: Deliveries
    columns: dict[Name, Column]
    ingestion: Ingestion
    features: Features
    training: Training
    gates: Gates
    approval: Approval
    probation: Probation = Probation()
    monitoring: Monitoring
    notify: tuple[Notification, ...] = ()
    """Who is told what happens to the model; nobody by default."""
    replay: Replay | None = None

    _folder: Path | None = PrivateAttr(None)

    @property
    def folder(self) -> Path:
        """Where it was loaded from; of one that was not, the place of its name."""
        return self._folder or Path("include/models", self.name)

    def file(self, name: str = "model.yaml") -> str:
        """One of its files, as a message names it."""
        return short_path(self.folder / name)

    @property
    def first_partition(self) -> Partition:
        """That of the first delivery."""
        return Partition.of(self.deliveries.first_day, self.grain)

    @property
    def last_partition(self) -> Partition | None:
        """That of the last delivery: all of the last day's, where it has several. None where no end is known."""
        last = self.deliveries.last_day
        return Partition.of(datetime.combine(last, time.max), self.grain) if last else None

    def require_delivered(self, partition: Partition, at: datetime, where: str) -> None:
        """Refuse what is asked of a partition that no delivery is for.

        Raises:
            UsageError: it has not begun, or is before the first delivery or after the last one.
        """
        partition.require_begun(at, where)
        first, last = self.first_partition, self.last_partition
        if partition < first or (last is not None and partition > last):
            end = f"to {last}" if last else "on"
            raise UsageError(
                f"the partition key is {partition.key!r}, and deliveries are from {first} {end}",
                where=where,
                fix=f"Take one of them, or change deliveries in {self.file()}",
            )

    @property
    def cron(self) -> str:
        """When a partition is due."""
        return self.deliveries.schedule or CRONS[self.grain]

    @property
    def due_after(self) -> timedelta:
        """How long after a partition has begun it is due."""
        minute, hour, day, _, weekday = (None if field == "*" else int(field) for field in self.cron.split())
        days = (weekday - 1) % 7 if weekday is not None else (day or 1) - 1
        return timedelta(days=days, hours=hour or 0, minutes=minute or 0)

    @model_validator(mode="after")
    def _columns_exist(self) -> ModelSpec:
        named = [("entity.keys", key) for key in self.entity.keys]
        if self.replay and self.replay.drift:
            named.append(("replay.drift.column", self.replay.drift.column))
        if self.replay and self.replay.time:
            named.append(("replay.time.column", self.replay.time.column))
        named += [("monitoring.faults.fixed", column) for column in self.monitoring.faults.fixed]
        for key, column in named:
            if column not in self.columns:
                raise ValueError(f"{key}: column {column!r} is not among columns")
        fresh, at = self.ingestion.freshness, self.event_time
        if fresh is not None and self._type(fresh.column) not in ("text", "date", "timestamp"):
            raise ValueError(f"ingestion.freshness.column: {fresh.column!r} is no column of dates, timestamps or texts")
        if at is not None and self._type(at) not in ("date", "timestamp"):
            raise ValueError(f"event_time: {at!r} is no column of dates or timestamps")
        if at is not None and self._type(at) == "date" and self.grain is Grain.HOUR:
            raise ValueError(f"event_time: {at!r} has dates, and a partition is an hour")
        for column in self.entity.keys:
            if self.columns[column].pii:
                raise ValueError(f"columns.{column}.pii: the key of an entity is in every table and log")
        generated = {name for name, column in self.columns.items() if column.generated}
        if generated and generated != set(self.entity.keys):
            raise ValueError(f"columns.{min(generated)}.generated: it is the whole key, entity.keys, or it is not made")
        if self.target in self.columns:
            raise ValueError(f"target: {self.target!r} is delivered with the labels, so it is no column")
        return self

    def _type(self, column: str) -> str | None:
        return self.columns[column].type if column in self.columns else None

    @model_validator(mode="after")
    def _confirmed_are_partitions(self) -> ModelSpec:
        for key in self.monitoring.faults.confirmed:
            if not re.fullmatch(KEY_SHAPES[self.grain], key):
                raise ValueError(
                    f"monitoring.faults.confirmed: {key!r} is no {self.grain} such as {EXAMPLES[self.grain]}"
                )
        return self

    @model_validator(mode="after")
    def _sources_tell_columns_apart(self) -> ModelSpec:
        known: dict[str, str] = {}
        for name, source in self.sources.items():
            key = "target_source" if name == self.target else f"columns.{name}.source"
            if source != name and source in self.sources:
                raise ValueError(f"{key}: {source!r} is the name of another column")
            if (other := known.setdefault(composed(source), name)) != name:
                raise ValueError(f"{key}: {source!r} is the source of {other}, too")
        return self

    @model_validator(mode="after")
    def _scheduled_once_a_partition(self) -> ModelSpec:
        schedule, shape = self.deliveries.schedule, _SCHEDULES[self.grain]
        if schedule is not None and not re.fullmatch(shape, schedule):
            raise ValueError(
                f"deliveries.schedule: {schedule!r} does not fire once a {self.grain}, as {CRONS[self.grain]!r} does"
            )
        return self

    @model_validator(mode="after")
    def _features_outlive_their_partition(self) -> ModelSpec:
        least = _LONGEST_DAYS[self.grain]
        if self.features.ttl_days < least:
            raise ValueError(f"features.ttl_days: is below {least}: features of a {self.grain} would expire within it")
        return self

    @model_validator(mode="after")
    def _lookback_is_bounded(self) -> ModelSpec:
        lookback, most = self.features.lookback, MOST_LOOKBACK_PARTITIONS * _SHORTEST[self.grain]
        if lookback is not None and lookback > most:
            raise ValueError(
                f"features.lookback: is {duration.said(lookback)}, and the features of one {self.grain} read at most "
                f"{MOST_LOOKBACK_PARTITIONS} before it: {most.days} days"
            )
        return self

    @property
    def generated_key(self) -> str | None:
        """The key that is made of a row's place in its delivery, where no delivered column is one."""
        return next((name for name, column in self.columns.items() if column.generated), None)

    @property
    def sources(self) -> dict[str, str]:
        """What the delivered files call each column, and the target."""
        found = {name: column.source or name for name, column in self.columns.items() if not column.generated}
        return {**found, self.target: self.target_source or self.target}

    @property
    def personal_columns(self) -> frozenset[str]:
        """The columns with ``pii: true``."""
        return frozenset(name for name, column in self.columns.items() if column.pii)

    @property
    def feature_view(self) -> str:
        """Its name in Feast. All such names begin with the model's, so that no folder can overwrite another's."""
        return f"{self.name}_features"

    @property
    def feature_service(self) -> str:
        return f"{self.name}_v{self.features.version}"

    def table(self, layer: str) -> str:
        """Name of this model's table in a layer, e.g. ``clean_california_housing``."""
        return f"{layer}_{self.name}"


MOST_LOOKBACK_PARTITIONS = 750
"""A month of hours, two years of days."""
_SHORTEST = {
    Grain.HOUR: timedelta(hours=1),
    Grain.DAY: timedelta(days=1),
    Grain.WEEK: timedelta(weeks=1),
    Grain.MONTH: timedelta(days=28),
}
_LONGEST_DAYS = {Grain.HOUR: 1, Grain.DAY: 1, Grain.WEEK: 7, Grain.MONTH: 31}
_MINUTE, _HOUR, _DAY = "[0-5]?[0-9]", "([01]?[0-9]|2[0-3])", "(0?[1-9]|1[0-9]|2[0-8])"
_SCHEDULES = {
    Grain.HOUR: rf"{_MINUTE} \* \* \* \*",
    Grain.DAY: rf"{_MINUTE} {_HOUR} \* \* \*",
    Grain.WEEK: rf"{_MINUTE} {_HOUR} \* \* [0-7]",
    Grain.MONTH: rf"{_MINUTE} {_HOUR} {_DAY} \* \*",
}
"""Minute, hour, day of the month, month, day of the week. No month lacks a day that is taken."""
