"""Every table of the lakehouse, declared once: columns, key, partition, retention, writer, what a reader may rely on.

Every write is checked against its declaration (`tables.Lakehouse.replace`). A column that is added here, or in the
``columns`` of a model.yaml, is null in older rows. One that changes its type is a migration: rewrite the table, and say
so in docs/decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from include.core.errors import ConfigError
from include.core.spec import ModelSpec

PARTITION = "partition_key"
"""The key of the partition (`core.partition`) that a row belongs to."""
EVENT_TIMESTAMP = "event_timestamp"
"""When what a row describes was so, UTC."""
SOURCE_FILE, ROW_NUMBER = "source_file", "row_number"
EXTRA_COLUMNS, REASONS = "extra_columns", "reasons"
ARRIVED_AT = "arrived_at"
TRAINING_SET = "training_set"
PREDICTION, MODEL_VERSION, FEATURE_SERVICE, RUN_ID, SERVED, FEATURES_VERSION, WITHDRAWN = (
    "prediction",
    "model_version",
    "feature_service",
    "run_id",
    "served",
    "features_version",
    "withdrawn",
)
RESIDUAL = "residual"
"""What is left of a label when its prediction is taken away."""
SPLIT, WEIGHT, DRIFTED, SUPERSEDED = "split", "weight", "drifted", "superseded"

WORKING = "__"
"""Begins the name of a column that is put beside a model's own while something is made of them."""
TAKEN = ("all", "file_row_number")
"""Names that no column of a model can have: what `metrics_` says of a whole window, and DuckDB's number of a row."""

TIMESTAMP = pa.timestamp("us", tz="UTC")
COLUMN_TYPES: Mapping[str, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": TIMESTAMP,
    "boolean": pa.bool_(),
}
"""By the type of a column in model.yaml."""

FOR_GOOD = 36_500
"""Days."""

Columns = dict[str, pa.DataType]


@dataclass(frozen=True)
class Table:
    """One declaration, for all models."""

    layer: str
    """Name of the table: ``<layer>_<model>``, or the layer alone where all models share it."""
    columns: Callable[[ModelSpec], Columns]
    key: Callable[[ModelSpec], tuple[str, ...]]
    """Columns that name a row of a partition; never null, but for those that are ``optional``."""
    partition: tuple[str, ...]
    """Columns whose values name what one write replaces."""
    writer: str
    """The steps that write it (`orchestration.steps`)."""
    promise: str
    """What a reader may rely on."""
    layout: tuple[str, ...] = ()
    """Columns that the files are laid out by; those of the partition by default."""
    sought: tuple[str, ...] = ()
    """Columns beside the key of which the log keeps the bounds for each file, so that readers find the files by them.

    Of every other column it keeps none: who opens a table reads all that it keeps of all files."""
    optional: tuple[str, ...] = ()
    """Columns of the key that not every row has."""
    retention_days: int = 90
    """How long a table version that was replaced can still be read."""
    has_features: bool = False
    """Whether the features of the model's features.sql are columns, too."""
    shared: bool = False

    def of(self, spec: ModelSpec, features: Mapping[str, pa.DataType] | None = None) -> ModelTable:
        """The table of one model.

        Args:
            features: names and types of the features that a write brings; a reader need not know them.

        Raises:
            ConfigError: the model gives a column, its target or a feature the name of one that the table has anyway.
        """
        assert not features or self.has_features, f"{self.layer} has no features"
        name = self.layer if self.shared else f"{self.layer}_{spec.name}"
        columns = self.columns(spec)
        if features:
            # The column that a split groups by may be a feature, too: it has the same values.
            others = {name: kind for name, kind in columns.items() if name not in _split_by(spec)}
            columns |= _together(spec, self.layer, others, features, file="features.sql")
        return ModelTable(self, name, pa.schema(list(columns.items())), self.key(spec))


@dataclass(frozen=True)
class ModelTable:
    """The table of one model: its name and columns."""

    table: Table
    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def layout(self) -> tuple[str, ...]:
        return self.table.layout or self.table.partition

    @property
    def bounded(self) -> tuple[str, ...]:
        """The columns of which the log keeps the bounds."""
        return tuple(name for name in (*self.key, *self.table.sought) if name not in self.layout)


def key_types(spec: ModelSpec) -> Columns:
    """The columns of the entity's key."""
    return {name: COLUMN_TYPES[spec.columns[name].type] for name in spec.entity.keys}


def typed_columns(spec: ModelSpec) -> Columns:
    """The delivered columns as model.yaml types them."""
    return {name: COLUMN_TYPES[column.type] for name, column in spec.columns.items()}


def check(spec: ModelSpec, features: Mapping[str, pa.DataType]) -> None:
    """No table, and nothing made of one meanwhile, has two columns of one name: one would be read for the other.

    Raises:
        ConfigError: a column, the target or a feature has the name of one that the package has anyway.
    """
    named = {**dict.fromkeys((*spec.columns, spec.target), "model.yaml"), **dict.fromkeys(features, "features.sql")}
    for name, file in named.items():
        if name.startswith(WORKING) or name.lower() in TAKEN:
            raise ConfigError(
                f"{name}: the package uses that name itself, as it does all that begin with {WORKING}",
                where=spec.file(file),
                fix="Choose another name",
            )
    for table in TABLES:
        table.of(spec, features if table.has_features else None)
    # A monitored window has them beside the label and the features.
    predicted: Columns = {PREDICTION: pa.float64(), RESIDUAL: pa.float64()}
    _together(spec, PREDICTIONS.layer, predicted, {spec.target: pa.float64()})
    _together(spec, PREDICTIONS.layer, predicted, features, file="features.sql")


def _together(
    spec: ModelSpec, layer: str, first: Columns, *others: Mapping[str, pa.DataType], file: str = "model.yaml"
) -> Columns:
    """The columns of a table. No two have one name, in whatever case: engines differ in whether that counts."""
    columns = dict(first)
    for more in others:
        if repeated := {name.lower() for name in more} & {name.lower() for name in columns}:
            raise ConfigError(
                f"{', '.join(sorted(repeated))}: {spec.table(layer)} has a column of that name anyway",
                where=spec.file(file),
                fix="Choose another name",
            )
        columns |= more
    return columns


def _split_by(spec: ModelSpec) -> Columns:
    """The delivered columns that the split goes by, beside the key."""
    names = [name for name in spec.training.split.columns if name in spec.columns and name not in spec.entity.keys]
    return {name: COLUMN_TYPES[spec.columns[name].type] for name in names}


def _raw(spec: ModelSpec) -> Columns:
    place = {PARTITION: pa.string(), SOURCE_FILE: pa.string(), ROW_NUMBER: pa.int64()}
    return _together(spec, "raw", place, dict.fromkeys(spec.columns, pa.string()), {EXTRA_COLUMNS: pa.string()})


def _quarantine(spec: ModelSpec) -> Columns:
    return _together(spec, "quarantine", _raw(spec), {REASONS: pa.list_(pa.string())})


def _clean(spec: ModelSpec) -> Columns:
    return _together(spec, "clean", typed_columns(spec), {EVENT_TIMESTAMP: TIMESTAMP, PARTITION: pa.string()})


def _labels(spec: ModelSpec) -> Columns:
    own = {ARRIVED_AT: TIMESTAMP, PARTITION: pa.string()}
    return _together(spec, "labels", key_types(spec), {spec.target: pa.float64()}, own)


def _quarantine_labels(spec: ModelSpec) -> Columns:
    place = {SOURCE_FILE: pa.string(), ROW_NUMBER: pa.int64()}
    texts = dict.fromkeys((*spec.entity.keys, spec.target), pa.string())
    own = {REASONS: pa.list_(pa.string()), PARTITION: pa.string()}
    return _together(spec, "quarantine_labels", place, texts, own)


def _features(spec: ModelSpec) -> Columns:
    return _together(spec, "features", key_types(spec), {EVENT_TIMESTAMP: TIMESTAMP, PARTITION: pa.string()})


def _training_sets(spec: ModelSpec) -> Columns:
    labelled = {EVENT_TIMESTAMP: TIMESTAMP}, {spec.target: pa.float64()}
    chosen = {SPLIT: pa.string(), WEIGHT: pa.float64(), DRIFTED: pa.bool_(), SUPERSEDED: pa.bool_()}
    names = {PARTITION: pa.string(), TRAINING_SET: pa.string()}
    return _together(spec, "training_sets", key_types(spec), *labelled, chosen, names, _split_by(spec))


def _predictions(spec: ModelSpec) -> Columns:
    made_by = dict.fromkeys((MODEL_VERSION, FEATURE_SERVICE, RUN_ID), pa.string())
    made_of = {SERVED: pa.bool_(), FEATURES_VERSION: pa.int64(), WITHDRAWN: pa.bool_()}
    own = {PARTITION: pa.string(), PREDICTION: pa.float64(), **made_by, **made_of}
    return _together(spec, "predictions", key_types(spec), own)


def _fixed(**columns: pa.DataType) -> Callable[[ModelSpec], Columns]:
    return lambda spec: dict(columns)


def _named(*columns: str) -> Callable[[ModelSpec], tuple[str, ...]]:
    return lambda spec: columns


def _entity(*columns: str) -> Callable[[ModelSpec], tuple[str, ...]]:
    return lambda spec: (*spec.entity.keys, *columns)


_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()

RAW = Table(
    "raw",
    _raw,
    _named(SOURCE_FILE, ROW_NUMBER),
    (PARTITION,),
    writer="ingestion.validate_batch",
    promise="Every delivered row, its cells as texts; what model.yaml does not know is JSON in extra_columns.",
)
QUARANTINE = Table(
    "quarantine",
    _quarantine,
    _named(SOURCE_FILE, ROW_NUMBER),
    (PARTITION,),
    writer="ingestion.validate_batch, ingestion.reject_batch, ingestion.withdraw_batch, ingestion.take_rows_back",
    promise="The raw rows that are not accepted, each with at least one reason code.",
)
QUARANTINE_LABELS = Table(
    "quarantine_labels",
    _quarantine_labels,
    _named(SOURCE_FILE, ROW_NUMBER),
    (PARTITION,),
    writer="ingestion.load_labels",
    promise="The delivered labels that are not used, each with at least one reason code.",
)
CLEAN = Table(
    "clean",
    _clean,
    _entity(),
    (PARTITION,),
    writer="ingestion.load_batch, ingestion.reject_batch, ingestion.withdraw_batch, ingestion.take_rows_back",
    promise="The raw rows that are not in quarantine, typed. An entity has one row a partition.",
)
PROFILES = Table(
    "profiles",
    _fixed(**{PARTITION: _TEXT, "column": _TEXT, "statistic": _TEXT, "category": _TEXT, "value": _NUMBER}),
    _named("column", "statistic", "category"),
    (PARTITION,),
    optional=("category",),
    writer="ingestion.validate_batch",
    promise="Counts and statistics of every delivered row, quarantined or not; of personal columns only counts.",
)
LABELS = Table(
    "labels",
    _labels,
    _entity(),
    (PARTITION,),
    writer="ingestion.load_labels, ingestion.load_batch",
    promise="One finite label an entity and partition; arrived_at says from when on it may be known. Its event time is "
    "that of its row.",
)
FEATURES = Table(
    "features",
    _features,
    _entity(EVENT_TIMESTAMP),
    (PARTITION,),
    writer="features.compute_features, features.withdraw_features",
    promise="One row an entity and event time, numbers finite or null; never the label. A feature that features.sql "
    "selects no longer stays a column of older rows.",
    has_features=True,
)
SKEW = Table(
    "skew",
    _fixed(
        **{PARTITION: _TEXT, "feature": _TEXT, "keys": _COUNT, "compared": _COUNT, "mismatches": _COUNT},
        expired=_COUNT,
        skew=_NUMBER,
        threshold=_NUMBER,
    ),
    _named("feature"),
    (PARTITION,),
    writer="features.check_skew",
    promise="One row a feature of every partition whose skew was checked, also of one that it stopped.",
)
TRAINING_SETS = Table(
    "training_sets",
    _training_sets,
    _entity(EVENT_TIMESTAMP),
    (TRAINING_SET,),
    writer="training.build_training_set",
    promise="The rows that a version was fitted to and measured on, at the table version that its tags name. Which "
    "columns are features, the version says. superseded rows are of before a concept drift: their labels may be "
    "restated, and no version is measured on them.",
    has_features=True,
    retention_days=FOR_GOOD,
)
REFERENCE_PROFILES = Table(
    "reference_profiles",
    _fixed(**{MODEL_VERSION: _TEXT, "column": _TEXT, "quantiles": pa.list_(_NUMBER), "rows": pa.list_(_NUMBER)}),
    _named("column"),
    (MODEL_VERSION,),
    writer="registry.register_candidate, registry.record_profile",
    promise="Of every registered version the distribution of each feature in its training set, of its predictions for "
    "the test rows, and of what these leave of the labels: sorted, at most 10,000 evenly spaced quantiles, null first. "
    "rows has the features of at most 5,000 rows of the training set, the same in each column; else it is empty.",
    retention_days=FOR_GOOD,
)
PREDICTIONS = Table(
    "predictions",
    _predictions,
    _entity(MODEL_VERSION, SERVED),
    (PARTITION,),
    writer="scoring.score_rows, scoring.withdraw_predictions",
    promise="What was served stays, as it was: one finite prediction an entity and partition, all of one version. The "
    "rows beside are another version's, or that version's of a batch that was corrected since. features_version is the "
    "version of the table of features that was read. withdrawn is true while the batch of the partition is withdrawn: "
    "then the rows are a record of what was served, and nothing is measured on them.",
    layout=(PARTITION, SERVED),
)
METRICS = Table(
    "metrics",
    _fixed(
        **{PARTITION: _TEXT, "metric": _TEXT, "slice": _TEXT, "value": _NUMBER, "threshold": _NUMBER},
        model_version=_TEXT,
        source=_TEXT,
    ),
    _named("metric", "slice", "source"),
    (PARTITION, "source"),
    writer="ingestion.validate_batch, features.compute_features, monitoring.measure_window, monitoring.withdraw_window",
    promise="What was measured of a partition, by source; measured again, it is replaced. Of a window of several "
    "partitions, and of features that look back, rows whose slice is a partition's key say what of it is in them.",
    layout=(PARTITION,),
)
DECISIONS = Table(
    "decisions",
    _fixed(
        decision_id=_TEXT,
        decided_at=TIMESTAMP,
        recorded_at=TIMESTAMP,
        model=_TEXT,
        month=_TEXT,
        kind=_TEXT,
        subject=_TEXT,
        outcome=_TEXT,
        reasons=pa.list_(pa.string()),
        inputs=_TEXT,
        actor=_TEXT,
        policy_hash=_TEXT,
        run_id=_TEXT,
    ),
    _named("decision_id"),
    ("model", "month"),
    writer="every step that decides (`run.Run.decide`)",
    promise="One row a decision, in the month of what was decided on. decided_at is the time of the data, recorded_at "
    "that of the clock; a run that decides again replaces its own row.",
    retention_days=365,
    shared=True,
    sought=("decided_at",),
)
COMPARISON = Table(
    "comparison",
    _fixed(
        **{"production_version": _TEXT, "candidate": _TEXT, RUN_ID: _TEXT, "number": _COUNT, "metric": _TEXT},
        rows=_COUNT,
        gain=_NUMBER,
        lower_bound=_NUMBER,
        upper_bound=_NUMBER,
        alpha=_NUMBER,
        minimum_gain=_NUMBER,
        detectable_gain=_NUMBER,
        outcome=_TEXT,
        slice=_TEXT,
    ),
    _named("candidate", RUN_ID, "slice"),
    ("production_version",),
    writer="registry.run_check, registry.check_production",
    promise="One row a candidate, run that compared it with a version in production, and slice; slice all is all rows. "
    "number counts the candidates beside that version, in the order of the commits: a candidate keeps its own, "
    "whatever run compares it again. Between lower_bound and upper_bound is the gain, each beyond it with alpha.",
    retention_days=365,
)
ALIAS_HISTORY = Table(
    "alias_history",
    _fixed(
        model=_TEXT,
        alias=_TEXT,
        version=_TEXT,
        valid_from=TIMESTAMP,
        valid_to=TIMESTAMP,
        model_time=TIMESTAMP,
        decision_id=_TEXT,
        kind=_TEXT,
        actor=_TEXT,
    ),
    _named("model", "alias", "version", "valid_from"),
    ("model",),
    writer="registry.promote, registry.roll_back, monitoring.end_probation, scoring.choose_version",
    promise="Periods of the clock without gap or overlap, in which an alias named a version; valid_to is null in the "
    "running one. model_time is the moment whose data the version knew; kind and actor are what began the period, and "
    "who.",
    retention_days=365,
    shared=True,
)

TABLES: tuple[Table, ...] = (
    RAW,
    QUARANTINE,
    QUARANTINE_LABELS,
    CLEAN,
    PROFILES,
    LABELS,
    FEATURES,
    SKEW,
    TRAINING_SETS,
    REFERENCE_PROFILES,
    PREDICTIONS,
    METRICS,
    COMPARISON,
    DECISIONS,
    ALIAS_HISTORY,
)
