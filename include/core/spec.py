"""The specification of one model: the schema of ``model.yaml``, frozen and strict."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entity(Section):
    """What a row is about."""

    name: Name
    key: Name
    description: str


class Column(Section):
    """A column of a delivery."""

    type: Literal["integer", "number", "text"]
    description: str
    pii: bool = False
    """Personal data: never in features, Data Docs, logs or plots."""


class Deliveries(Section):
    """When batches and labels are expected."""

    schedule: str
    first_day: date
    last_day: date | None = None
    deadline_minutes: float = Field(gt=0)
    warn_minutes: float | None = Field(default=None, gt=0)
    """When Airflow warns of a run that is not done, before the deadline; half of it by default."""
    label_delay_days: int = Field(ge=0)
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


class ParityLimits(Section):
    """How far the online store may differ from the table before a day's features are not used."""

    keys: int = Field(gt=0)
    """Keys that are compared."""
    max_skew: Share
    """Share of the compared values that may differ."""
    max_expired: Share
    """Share of the compared keys whose values may be older than the time to live."""


class Features(Section):
    service: Name
    ttl_days: int = Field(gt=0)
    parity: ParityLimits
    view: Name | None = None
    """Name of the feature view, ``<entity>_features`` by default."""
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


class Training(Section):
    """How candidates are fitted."""

    test_share: Share
    seed: int
    recent_windows: int = Field(gt=0)
    recent_weight: float = Field(ge=1)
    baseline: dict[str, float | int | str]
    search: Search


class ProductionGate(Section):
    adjusted_r2: float
    min_recent_rows: int = Field(gt=0)
    """Test rows of drifted windows without which a version trained on them is not judged, but rejected."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)]


class Gates(Section):
    production: ProductionGate


class Approval(Section):
    """Who approves a promotion, by environment."""

    dev: Literal["automatic", "person"]
    prod: Literal["automatic", "person"]


class Drift(Section):
    test: Literal["kolmogorov_smirnov"]
    correction: Literal["holm", "benjamini_hochberg"]
    alpha: Annotated[float, Field(gt=0, lt=1)]
    min_effect: Share


class Performance(Section):
    adjusted_r2: float


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
    history_share: Annotated[float, Field(gt=0, lt=1)]
    seed: int
    drift: ReplayDrift


class ModelSpec(Section):
    """Everything that makes one model differ from another."""

    name: Name
    description: str
    owner: str
    entity: Entity
    target: Name
    deliveries: Deliveries
    columns: dict[Name, Column]
    ingestion: Ingestion
    features: Features
    training: Training
    gates: Gates
    approval: Approval
    monitoring: Monitoring
    replay: Replay

    _folder: Path = PrivateAttr()

    @property
    def folder(self) -> Path:
        return self._folder

    @model_validator(mode="after")
    def _columns_exist(self) -> ModelSpec:
        for key, column in (
            ("entity.key", self.entity.key),
            ("replay.drift.column", self.replay.drift.column),
        ):
            if column not in self.columns:
                raise ValueError(f"{key}: column {column!r} is not among columns")
        fresh = self.ingestion.freshness
        if fresh is not None and (fresh.column not in self.columns or self.columns[fresh.column].type != "text"):
            raise ValueError(f"ingestion.freshness.column: {fresh.column!r} is no text column")
        if self.columns[self.entity.key].pii:
            raise ValueError(f"columns.{self.entity.key}.pii: the key of an entity is in every table and log")
        if self.target in self.columns:
            raise ValueError(f"target: {self.target!r} is delivered with the labels, so it is no column")
        return self

    @property
    def personal_columns(self) -> frozenset[str]:
        """The columns with ``pii: true``."""
        return frozenset(name for name, column in self.columns.items() if column.pii)

    def table(self, layer: str) -> str:
        """Name of this model's table in a layer, e.g. ``clean_california_housing``."""
        return f"{layer}_{self.name}"
