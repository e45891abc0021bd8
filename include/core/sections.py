"""The sections of ``model.yaml``: what each can say, frozen and strict."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from include.core.category import Category
from include.core.column import NullValue
from include.core.duration import Duration

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
"""A share that is neither nothing nor all."""
Chosen = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$|^[A-Za-z_][\w.]*:\w+$")]
"""One of the package's own by its name, or a user's by its path: ``my_package.metrics:wape``."""

AS_REGISTERED = "as_registered"
"""The check that every gate asks first: that the version's files are those that were registered."""
MOST_PARTITIONS = 100
"""Of a monitored window: measuring it reads them all."""


class Task(StrEnum):
    """What is predicted."""

    REGRESSION = "regression"
    BINARY = "binary"
    MULTICLASS = "multiclass"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Entity(Section):
    """What a row is about."""

    name: Name
    keys: tuple[Name, ...] = Field(min_length=1)
    """Columns that name it, together."""
    description: str


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
    no_rows: Literal["reject", "accept"] = "reject"
    """What a delivery with a header and no rows is. ``reject``: a mistake. ``accept``: nothing was new; nothing follows
    from it. Where rows of the partition are accepted already, it rejects them in both cases."""
    null_labels: Literal["quarantine", "unlabelled"] = "quarantine"
    """What a delivered label without a value is. ``quarantine``: a mistake, which waits there and counts in the budget.
    ``unlabelled``: its row has no label; it stays scored, and neither training nor monitoring sees it."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    final_newline: bool = True
    """Whether a CSV file ends with a line end. Where one lacks it, its last row may be cut, and is quarantined."""
    null_values: tuple[NullValue, ...] = ()
    """What stands for no value in any column, besides the empty cell: ``["NA", "n/a"]``."""
    extra_columns: Literal["reject", "ignore"] = "reject"
    """Of columns that model.yaml does not name. ``reject``: they reject the batch. ``ignore``: the verdict names them,
    and they are not kept."""

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
    """A column of dates or timestamps, or a text column of ISO 8601 times; without a zone they are UTC."""
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
    lookback: Duration | None = None
    """How far before the start of a partition features.sql sees accepted rows: ``28 days``, in hours, days or weeks. By
    default it sees those of the partition alone."""
    skew: SkewLimits
    tags: dict[str, str] = {}
    categories: dict[Name, Category] = {}
    """The text columns that features.sql selects, and what they become: no feature is a text."""
    descriptions: dict[Name, str] = {}
    """Of features; one that is a delivered column has the column's description."""

    @property
    def coded(self) -> dict[str, Category]:
        """The categories that are one feature each, of codes."""
        return {name: category for name, category in self.categories.items() if category.encode == "codes"}


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
    parallel: int = Field(default=2, gt=0, le=64)
    """Trials that are drawn together, and fitted side by side where there are cores. It is part of the search's course,
    so that the same seed gives the same result on every machine."""
    minutes: float | None = Field(default=None, gt=0)
    """After so many no further trial begins: then what is found depends on the machine."""
    patience: int | None = Field(default=None, gt=0)
    """After so many trials that are no better than the best none begins."""
    pruning: bool = False
    """Whether a trial is given up that is worse than three quarters of the others after as many rounds. On the real
    file it saves a third of the trees, and in one of five searches it loses the best point (1 % of the error)."""
    folds: int | None = Field(default=None, ge=2, le=20)
    """Each trial is measured by cross-validation of so many folds, made as the test rows are: of keys, groups, blocks,
    or by time, each fold after what is fitted to. By default it is measured on the validation rows alone."""
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
    blocks: dict[Name, Annotated[float, Field(gt=0)]] = Field(default={}, max_length=4)
    """Of a split by block: the numbers that say where a row is, and how wide a block is in each:
    ``{longitude: 0.5, latitude: 0.5}``."""
    margin: float = Field(default=0.0, ge=0, lt=1)
    """Of a split by block: rows so near to a block of test rows are left out; a share of a block's width."""
    retire_after: int | None = Field(default=None, gt=0)
    """Of a split by key: only the newest so many partitions have test rows; older ones have judged enough, and are
    fitted to. For keys that come once: of others the fit would know the test rows' past."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that a row's part depends on, beside key and partition."""
        return tuple(self.blocks) if self.group is None else (self.group,)


class Training(Section):
    """How candidates are fitted."""

    algorithm: Chosen
    split: Split
    seed: int
    drifted_windows: int = Field(gt=0)
    drifted_weight: float = Field(ge=1)
    known_features: tuple[Name, ...] = ()
    """Those that are known when a prediction is asked for, as a person has confirmed, though they determine the label,
    alone or together, or nearly do (`training.leakage`)."""
    max_without_features: Share = 0.2
    """Of the labels of partitions that have features, the share whose own row may have none, as rows in quarantine
    do; beyond it nothing is trained."""
    rebuild_tolerance: float = Field(default=1e-6, ge=0)
    """By how much a prediction of a version that is fitted again may differ, in standard deviations of the label."""
    baseline: dict[str, float | int | str]
    search: Search


Gate = Literal["staging", "production"]


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

    def asked(self, gate: Gate) -> tuple[str, ...]:
        """What each check of a gate is called, in the order in which they are asked.

        That is its name; a second one of the same name is ``name 2``. The first one no model.yaml leaves out.
        """
        names = [item.check for item in getattr(self, gate)]
        times = [names[:place].count(name) + 1 for place, name in enumerate(names)]
        return AS_REGISTERED, *(f"{name} {n}" if n > 1 else name for name, n in zip(names, times, strict=True))


class Probation(Section):
    """How a new version is held against the one before it, on the rows that it serves."""

    windows: int = Field(default=3, ge=0)
    """Its first labelled windows so many; 0 for no probation."""
    alpha: Part = 0.05
    """The chance that a version is called worse that is not, over all looks at these windows."""
    margin: float = Field(default=0.0, ge=0)
    """What the version before has to be surely better by, in the metric's unit."""
    roll_back: bool = False
    """Whether a version that is surely worse is rolled back by itself; else that is recorded alone."""


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


class Faults(Section):
    """How mistakes of who delivers are told from drift."""

    enabled: bool = True
    """Whether windows are searched for them. What is not found is drift, which may ask for a training."""
    alpha: Part = 0.01
    """The share of ordinary windows in which one may be found all the same."""
    fixed: tuple[Name, ...] = ()
    """Delivered columns whose level does not vary, such as coordinates: where they are moved, even by little, that is a
    fault, and no drift."""
    confirmed: tuple[Annotated[str, BeforeValidator(str)], ...] = ()
    """Partitions in whose window one was found, and which are as they should be, as a person has confirmed: trainings
    leave the others out until their batch is delivered anew."""


class Performance(Section):
    threshold: float
    """Of the model's metric: a window that is surely on the wrong side of it is degraded."""
    confidence: Part = 0.95
    """How sure that has to be: a few hundred rows fall below it by chance."""


class Window(Section):
    """What is measured and judged at once."""

    partitions: int = Field(default=1, ge=1, le=MOST_PARTITIONS)
    """A window is a partition and those before it, so many together: where one alone has too few rows. There is one for
    each partition all the same, so that those of several overlap."""


class Retraining(Section):
    """When a retraining is asked for."""

    below_windows: int = Field(gt=0)
    of_windows: int = Field(gt=0)
    """Of the last m labelled windows n are surely worse. Windows of several partitions share rows: that n of them are
    says that it lasts, and is no surer than one, which is as sure as ``performance.confidence``."""
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
    window: Window = Window()
    drift: Drift
    faults: Faults = Faults()
    performance: Performance
    retraining: Retraining


class ReplayDrift(Section):
    column: str
    factor: float


class ReplayTime(Section):
    """Rows that carry their own time: each is delivered with the partition that it is of."""

    column: Name
    format: str
    """As for ``strptime``."""
    history_partitions: int = Field(gt=0)
    """The first ones: all are there before the first training."""


class Replay(Section):
    """The outside system that the demo plays: where its data comes from, in what order, and how it drifts.

    Rows come by their own ``time``. Where they have none they are shuffled, and ``history_share`` of them comes first.
    """

    file_variable: str
    url: str | None = None
    """Of a public copy, with its bytes and SHA-256. Without it a sample stands in where the variable names no file."""
    bytes: int | None = Field(default=None, gt=0)
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    sample: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    partitions: int = Field(default=10, gt=0)
    """How many the demo plays after the history, where nobody says another number."""
    history_share: Part | None = None
    seed: int | None = None
    """Of the shuffle."""
    time: ReplayTime | None = None
    drift: ReplayDrift | None = None

    @model_validator(mode="after")
    def _pinned_or_not(self) -> Replay:
        if len({value is None for value in (self.url, self.bytes, self.sha256)}) > 1:
            raise ValueError("url, bytes and sha256 are given together, or none of them is")
        return self

    @model_validator(mode="after")
    def _one_order(self) -> Replay:
        shuffled = {value is not None for value in (self.history_share, self.seed)}
        if shuffled != {self.time is None}:
            raise ValueError("takes either time, or history_share and seed")
        return self

    @property
    def history_partitions(self) -> int:
        """How many partitions the history is."""
        return self.time.history_partitions if self.time else 1
