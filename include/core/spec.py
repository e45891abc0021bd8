"""The specification of one model: the schema of ``model.yaml``, frozen and strict."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from include.core.errors import UsageError
from include.core.files import short_path
from include.core.partition import CRONS, Grain, Partition

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
"""A share that is neither nothing nor all."""
Chosen = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$|^[A-Za-z_][\w.]*:\w+$")]
"""One of the package's own by its name, or a user's by its path: ``my_package.metrics:wape``."""


class Task(StrEnum):
    """What is predicted."""

    REGRESSION = "regression"
    BINARY = "binary"
    MULTICLASS = "multiclass"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entity(Section):
    """What a row is about."""

    name: Name
    keys: tuple[Name, ...] = Field(min_length=1)
    """Columns that name it, together."""
    description: str


class Column(Section):
    """A column of a delivery."""

    type: Literal["integer", "number", "text"]
    description: str
    pii: bool = False
    """Personal data: never in features, pages, logs or plots."""


class Deliveries(Section):
    """When batches and labels are expected."""

    schedule: str | None = None
    """Cron expression, once a partition; when the partition begins by default."""
    first_day: date
    last_day: date | None = None
    deadline_minutes: float = Field(gt=0)
    warn_minutes: float | None = Field(default=None, gt=0)
    """When Airflow warns of a run that is not done, before the deadline; half of it by default."""
    label_delay: int = Field(ge=0)
    """How many partitions later the labels of a partition arrive."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    final_newline: bool = True
    """Whether a CSV file ends with a line end. Where one lacks it, its last row may be cut, and is quarantined."""

    @model_validator(mode="after")
    def _days_in_order(self) -> Deliveries:
        if self.last_day is not None and self.last_day < self.first_day:
            raise ValueError("last_day is before first_day")
        if self.warn_minutes is not None and self.warn_minutes >= self.deadline_minutes:
            raise ValueError("warn_minutes is not before deadline_minutes")
        return self


class RowCountBand(Section):
    """What number of rows is usual: between the median of the last batches divided by the factor, and times it."""

    batches: int = Field(gt=0)
    at_least: int = Field(gt=0)
    """Accepted batches without which nothing is called unusual."""
    factor: float = Field(gt=1)
    severity: Literal["reject_batch", "warn"] = "reject_batch"

    @model_validator(mode="after")
    def _enough(self) -> RowCountBand:
        if self.at_least > self.batches:
            raise ValueError("at_least is above batches")
        return self


class Freshness(Section):
    """How old the newest row may be, counted from the end of the day."""

    column: Name
    """A text column of ISO 8601 times; without a zone they are UTC."""
    max_age_hours: float = Field(gt=0)
    severity: Literal["reject_batch", "warn"] = "reject_batch"


class Ingestion(Section):
    quarantine_budget: Share
    row_count_band: RowCountBand | None = None
    freshness: Freshness | None = None
    repeated_key: Literal["latest_wins", "quarantine"] = "latest_wins"
    """Of a row whose key another batch has. ``latest_wins``: each day keeps its row, and who reads by key gets that
    of the latest day, in whatever order they arrive. ``quarantine``: the row that comes second waits."""
    suspected_pii: Literal["quarantine_row", "warn"] = "quarantine_row"
    """What happens to a row with an e-mail address, phone, card or national id in a text column without ``pii``."""


class SkewLimits(Section):
    """How far the online store may differ from the table before a day's features are not used."""

    keys: int = Field(gt=0)
    """Keys that are compared."""
    max_skew: Share
    """Share of the compared values that may differ."""
    max_expired: Share
    """Share of the compared keys whose values may be older than the time to live."""


class Features(Section):
    version: int = Field(gt=0)
    """Of the feature service, ``<model>_v<version>``: another one where the meaning of a feature changes."""
    ttl_days: int = Field(gt=0)
    skew: SkewLimits
    tags: dict[str, str] = {}
    descriptions: dict[Name, str] = {}
    """Of features; one that is a delivered column has the column's description."""


class SearchRange(Section):
    """The range of one hyperparameter."""

    kind: Literal["uniform", "log_uniform", "integer"]
    low: float
    high: float

    @model_validator(mode="after")
    def _bounds(self) -> SearchRange:
        if not self.low < self.high:
            raise ValueError("low is not below high")
        if self.kind == "log_uniform" and self.low <= 0:
            raise ValueError("low of a log_uniform range is not above 0")
        return self


class Search(Section):
    """Hyperparameter search (hyperopt's TPE)."""

    trials: int = Field(gt=0)
    seed: int
    space: dict[str, SearchRange] = Field(min_length=1)
    start: dict[str, float] = {}
    """A point of the space that is tried first: what worked before."""

    @model_validator(mode="after")
    def _start_in_space(self) -> Search:
        for name, value in self.start.items():
            if name not in self.space or not self.space[name].low <= value <= self.space[name].high:
                raise ValueError(f"start.{name} is not in the space")
        if self.start and set(self.start) != set(self.space):
            raise ValueError("start does not name every parameter of the space")
        return self


class Split(Section):
    """Which rows are for fitting, for tuning and for testing."""

    kind: Chosen = "random_by_key"
    test_share: Part
    validation_share: Part = 0.15
    """Of the rows that are not test: those on which hyperparameters are chosen."""
    seed: int
    gap: int = Field(default=0, ge=0)
    """Of a split by time: partitions left out before the test rows."""
    group: Name | None = None
    """Of a split by group: the column whose values stay together."""


class Training(Section):
    """How candidates are fitted."""

    algorithm: Chosen
    split: Split
    seed: int
    drifted_windows: int = Field(gt=0)
    drifted_weight: float = Field(ge=1)
    baseline: dict[str, float | int | str]
    search: Search


class GateCheck(Section):
    """One check of a gate: its name, and what it is to be asked."""

    check: Chosen
    params: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """``has_signature``, or ``{check: above_threshold, threshold: 0.8}``."""
        if isinstance(value, str):
            return {"check": value}
        if isinstance(value, dict) and "params" not in value:
            return {"check": value.get("check"), "params": {key: own for key, own in value.items() if key != "check"}}
        return value


class Gates(Section):
    """The checks of each gate, in their order. A version passes a gate if it passes every check."""

    staging: tuple[GateCheck, ...] = Field(min_length=1)
    production: tuple[GateCheck, ...] = Field(min_length=1)


class Approval(Section):
    """Who approves a promotion, by environment."""

    dev: Literal["automatic", "person"]
    prod: Literal["automatic", "person"]


class DriftRule(Section):
    """How columns of one kind are tested."""

    test: Chosen
    min_effect: Share
    """Smallest distance that counts: with thousands of rows a test finds differences too small to matter."""


class Drift(Section):
    tests: dict[Literal["number", "category", "nulls"], DriftRule]
    """By kind of column."""
    correction: Chosen
    alpha: Part

    @model_validator(mode="after")
    def _every_kind(self) -> Drift:
        if missing := {"number", "category", "nulls"} - set(self.tests):
            raise ValueError(f"tests: {', '.join(sorted(missing))} is missing")
        return self


class Performance(Section):
    threshold: float
    """Of the model's metric: a window on the wrong side of it is degraded."""


class Retraining(Section):
    """When a retraining is asked for."""

    below_windows: int = Field(gt=0)
    of_windows: int = Field(gt=0)
    cooldown_days: int = Field(ge=0)
    budget_requests: int = Field(ge=0)
    budget_days: int = Field(gt=0)
    drift_without_labels: Literal["record_drift", "request_retraining"]

    @model_validator(mode="after")
    def _n_of_m(self) -> Retraining:
        if self.below_windows > self.of_windows:
            raise ValueError("below_windows is above of_windows")
        return self


class Monitoring(Section):
    drift: Drift
    performance: Performance
    retraining: Retraining


class ReplayDrift(Section):
    column: str
    factor: float


class Replay(Section):
    """The outside system that the demo plays: where its data comes from and how it drifts."""

    file_variable: str
    url: str
    bytes: int = Field(gt=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sample: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    history_share: Part
    seed: int
    drift: ReplayDrift | None = None


class ModelSpec(Section):
    """Everything that makes one model differ from another."""

    name: Name
    description: str
    owner: str
    task: Task
    grain: Grain
    entity: Entity
    target: Name
    metric: Chosen
    """What the model is judged by, in training, gates and monitoring."""
    deliveries: Deliveries
    columns: dict[Name, Column]
    ingestion: Ingestion
    features: Features
    training: Training
    gates: Gates
    approval: Approval
    monitoring: Monitoring
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
        for key, column in named:
            if column not in self.columns:
                raise ValueError(f"{key}: column {column!r} is not among columns")
        fresh = self.ingestion.freshness
        if fresh is not None and (fresh.column not in self.columns or self.columns[fresh.column].type != "text"):
            raise ValueError(f"ingestion.freshness.column: {fresh.column!r} is no text column")
        for column in self.entity.keys:
            if self.columns[column].pii:
                raise ValueError(f"columns.{column}.pii: the key of an entity is in every table and log")
        if self.target in self.columns:
            raise ValueError(f"target: {self.target!r} is delivered with the labels, so it is no column")
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


_LONGEST_DAYS = {Grain.HOUR: 1, Grain.DAY: 1, Grain.WEEK: 7, Grain.MONTH: 31}
_MINUTE, _HOUR, _DAY = "[0-5]?[0-9]", "([01]?[0-9]|2[0-3])", "(0?[1-9]|1[0-9]|2[0-8])"
_SCHEDULES = {
    Grain.HOUR: rf"{_MINUTE} \* \* \* \*",
    Grain.DAY: rf"{_MINUTE} {_HOUR} \* \* \*",
    Grain.WEEK: rf"{_MINUTE} {_HOUR} \* \* [0-7]",
    Grain.MONTH: rf"{_MINUTE} {_HOUR} {_DAY} \* \*",
}
"""Minute, hour, day of the month, month, day of the week. No month lacks a day that is taken."""
