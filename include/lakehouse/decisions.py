"""The record of decisions: a row for each of a gate, a policy or a person; and all the words that it uses."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from include.core.errors import DataError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import DECISIONS
from include.lakehouse.selection import Where
from include.lakehouse.tables import Lakehouse


class Kind(StrEnum):
    """Which gate, policy or person decided."""

    BATCH_VERDICT = "batch_verdict"
    LABELS_VERDICT = "labels_verdict"
    QUARANTINE_REPROCESSING = "quarantine_reprocessing"
    BATCH_WITHDRAWAL = "batch_withdrawal"
    LABELS_WITHDRAWAL = "labels_withdrawal"
    FEATURE_WITHDRAWAL = "feature_withdrawal"
    PREDICTION_WITHDRAWAL = "prediction_withdrawal"
    TRAINING_WITHDRAWAL = "training_withdrawal"
    SKEW_GATE = "skew_gate"
    TRAINING_REQUEST = "training_request"
    TRAINING = "training"
    REGISTRATION = "registration"
    REBUILD = "rebuild"
    TRANSITION_REQUEST = "transition_request"
    TRANSITION_ANSWER = "transition_answer"
    GATE_CHECK = "gate_check"
    STAGING_GATE = "staging_gate"
    PRODUCTION_GATE = "production_gate"
    QUESTION = "question"
    ANSWER = "answer"
    APPROVAL = "approval"
    PROMOTION = "promotion"
    REJECTION = "rejection"
    DRIFT_CHECK = "drift_check"
    VERSION_CHOICE = "version_choice"
    ROLL_BACK = "roll_back"
    ALIAS_CHECK = "alias_check"
    RELEASE_CHECK = "release_check"
    SCORING = "scoring"
    PROBATION = "probation"
    RETRAINING_POLICY = "retraining_policy"
    INCIDENT_NOTICE = "incident_notice"


ON_BATCH = (Kind.BATCH_VERDICT, Kind.QUARANTINE_REPROCESSING, Kind.BATCH_WITHDRAWAL)
"""What decides whether the batch of a partition is accepted."""


class Outcome(StrEnum):
    """What was decided."""

    ACCEPT_BATCH = "accept_batch"
    ACCEPT_AND_QUARANTINE = "accept_and_quarantine"
    REJECT_BATCH = "reject_batch"
    ACCEPT_LABELS = "accept_labels"
    REJECT_LABELS = "reject_labels"
    NO_NEW_ROWS = "no_new_rows"
    TAKE_ROWS_BACK = "take_rows_back"
    LEAVE_ROWS = "leave_rows"
    WITHDRAWN = "withdrawn"
    FITTED = "fitted"
    REGISTERED = "registered"
    ALIKE = "alike"
    DIFFERENT = "different"
    PASSED = "passed"
    FAILED = "failed"
    APPROVED = "approved"
    ASKED = "asked"
    CHOSEN = "chosen"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    DRIFTED = "drifted"
    NO_DRIFT = "no_drift"
    NOTHING_TO_COMPARE = "nothing_to_compare"
    ROLLED_BACK = "rolled_back"
    PUT_BACK = "put_back"
    ADOPTED = "adopted"
    COMPLETED = "completed"
    REFUSED = "refused"
    SCORE_ROWS = "score_rows"
    SKIP_SCORING = "skip_scoring"
    NO_ACTION = "no_action"
    RECORD_DRIFT = "record_drift"
    REQUEST_RETRAINING = "request_retraining"
    REQUEST_TRANSITION = "request_transition"
    ALERT_ROOT_CAUSE = "alert_root_cause"
    INCIDENT_TOLD = "incident_told"
    RECOVERY_TOLD = "recovery_told"


class Actor(StrEnum):
    """Who decided, where it is no person with a name."""

    TRAINING = "training"
    POLICY = "policy"
    GATE = "gate"
    PERSON = "person"
    SCHEDULE_OR_PERSON = "schedule_or_person"
    SOMEBODY_IN_MLFLOW = "somebody in MLflow"


class Reason(StrEnum):
    """Why. A reason that is about something has it behind a colon: ``null:total_bedrooms``, ``drifted:income``."""

    # a delivery, as a whole
    WITHDRAWN = "withdrawn"
    EMPTY_FILE = "empty_file"
    NO_FILE = "no_file"
    NO_PERMISSION = "no_permission"
    NOT_A_FILE = "not_a_file"
    FOREIGN_FILE = "foreign_file"
    TOO_LARGE = "too_large"
    TOO_MANY_COLUMNS = "too_many_columns"
    NO_HEADER = "no_header"
    FILES_DIFFER = "files_differ"
    COMPRESSED_FILE = "compressed_file"
    MALFORMED_CSV = "malformed_csv"
    MALFORMED_PARQUET = "malformed_parquet"
    MISNAMED_FILE = "misnamed_file"
    NOT_UTF8 = "not_utf8"
    WRONG_DELIMITER = "wrong_delimiter"
    RESERVED_COLUMN = "reserved_column"
    REPEATED_COLUMN = "repeated_column"
    UNSUPPORTED_TYPE = "unsupported_type"
    NO_ROWS = "no_rows"
    NO_LABELS = "no_labels"
    LABELS_UNLIKE_ROWS = "labels_unlike_rows"
    MISSING_COLUMN = "missing_column"
    EXTRA_COLUMN = "extra_column"
    RETYPED_COLUMN = "retyped_column"
    STALE_ROWS = "stale_rows"
    ROW_COUNT_OFF_BAND = "row_count_off_band"
    QUARANTINE_BUDGET_EXCEEDED = "quarantine_budget_exceeded"
    # a delivery, by an expectation
    NOT_EVALUATED = "not_evaluated"
    CATEGORIES_DIFFER = "categories_differ"
    COLUMN_COUNT_OUT_OF_RANGE = "column_count_out_of_range"
    COLUMNS_DIFFER = "columns_differ"
    DEVIATION_OUT_OF_RANGE = "deviation_out_of_range"
    DISTRIBUTION_DIFFERS = "distribution_differs"
    DUPLICATE_COMBINATION = "duplicate_combination"
    DUPLICATE_KEY = "duplicate_key"
    DUPLICATE_VALUE = "duplicate_value"
    FORBIDDEN_PATTERN = "forbidden_pattern"
    FORBIDDEN_VALUE = "forbidden_value"
    MAX_OUT_OF_RANGE = "max_out_of_range"
    MEAN_OUT_OF_RANGE = "mean_out_of_range"
    MEDIAN_OUT_OF_RANGE = "median_out_of_range"
    MIN_OUT_OF_RANGE = "min_out_of_range"
    MISSING_CATEGORY = "missing_category"
    NOT_A_DATE = "not_a_date"
    NOT_DECREASING = "not_decreasing"
    NOT_EQUAL = "not_equal"
    NOT_GREATER = "not_greater"
    NOT_INCREASING = "not_increasing"
    NOT_JSON = "not_json"
    NOT_NULL = "not_null"
    NULL = "null"
    NULL_SHARE_OUT_OF_RANGE = "null_share_out_of_range"
    OUT_OF_RANGE = "out_of_range"
    OUTLIER = "outlier"
    QUANTILE_OUT_OF_RANGE = "quantile_out_of_range"
    REPEATED_IN_ROW = "repeated_in_row"
    ROW_COUNT_OUT_OF_RANGE = "row_count_out_of_range"
    SUM_OUT_OF_RANGE = "sum_out_of_range"
    UNEXPECTED_MODE = "unexpected_mode"
    UNIQUE_COUNT_OUT_OF_RANGE = "unique_count_out_of_range"
    UNIQUE_SHARE_OUT_OF_RANGE = "unique_share_out_of_range"
    UNKNOWN_CATEGORY = "unknown_category"
    UNKNOWN_PAIR = "unknown_pair"
    WRONG_COLUMN_COUNT = "wrong_column_count"
    WRONG_JSON = "wrong_json"
    WRONG_LENGTH = "wrong_length"
    WRONG_PATTERN = "wrong_pattern"
    WRONG_ROW_COUNT = "wrong_row_count"
    WRONG_SUM = "wrong_sum"
    WRONG_TYPE = "wrong_type"
    # rows of a delivery
    DUPLICATE_ROW = "duplicate_row"
    TRUNCATED_LINE = "truncated_line"
    SWALLOWED_LINES = "swallowed_lines"
    KEY_OF_ANOTHER_BATCH = "key_of_another_batch"
    UNKNOWN_KEY = "unknown_key"
    SUSPECTED_PII = "suspected_pii"
    NOT_AN_INTEGER = "not_an_integer"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_TEXT = "not_a_text"
    NOT_A_BOOLEAN = "not_a_boolean"
    NOT_A_TIMESTAMP = "not_a_timestamp"
    OUTSIDE_PARTITION = "outside_partition"
    # what is served online
    SKEWED_FEATURE = "skewed_feature"
    EXPIRED_VALUES = "expired_values"
    # a version
    CHECK = "check"
    PASSED_ALL_GATES = "passed_all_gates"
    NOT_APPROVED = "not_approved"
    APPROVED_BY_POLICY = "approved_by_policy"
    APPROVED_BY_PERSON = "approved_by_person"
    REJECTED_BY_PERSON = "rejected_by_person"
    NO_ANSWER = "no_answer"
    NO_APPROVER = "no_approver"
    OWN_REQUEST = "own_request"
    APPROVED_BEFORE = "approved_before"
    GATE_NOT_PASSED = "gate_not_passed"
    PREDICTIONS_DIFFER = "predictions_differ"
    OTHER_PACKAGE = "other_package"
    RELEASE_CHANGED = "release_changed"
    NEVER_IN_PRODUCTION = "never_in_production"
    ALREADY_IN_PRODUCTION = "already_in_production"
    ALREADY_IN_STAGING = "already_in_staging"
    UNKNOWN_STAGE = "unknown_stage"
    STAGE_NOT_ASKED_FOR = "stage_not_asked_for"
    RUN_FAILED = "run_failed"
    ALIAS_MOVED = "alias_moved"
    ALIAS_UNKNOWN = "alias_unknown"
    HALF_DONE = "half_done"
    VERSION_DELETED = "version_deleted"
    NOT_AS_REGISTERED = "not_as_registered"
    DRIFTED = "drifted"
    ASKED_FOR = "asked_for"
    # a version on probation
    SURELY_WORSE = "surely_worse"
    NOT_SURELY_WORSE = "not_surely_worse"
    MORE_WINDOWS = "more_windows"
    NOT_COMPARABLE = "not_comparable"
    # which version scores a partition
    SERVED_BEFORE = "served_before"
    IN_PRODUCTION = "in_production"
    IN_PRODUCTION_THEN = "in_production_then"
    BEFORE_FIRST_PROMOTION = "before_first_promotion"
    # a window
    NO_PRODUCTION_VERSION = "no_production_version"
    NOTHING_SCORED = "nothing_scored"
    PERFORMANCE_HOLDS = "performance_holds"
    HARMLESS_DRIFT = "harmless_drift"
    HARMFUL_DRIFT = "harmful_drift"
    WORSE_BY_CHANCE = "worse_by_chance"
    CONCEPT_DRIFT = "concept_drift"
    DEGRADED_WITHOUT_DRIFT = "degraded_without_drift"
    UPSTREAM_FAULT = "upstream_fault"
    CHANGE_OF_UNIT = "change_of_unit"
    NO_LABELS_NO_DRIFT = "no_labels_no_drift"
    METRIC_UNDEFINED = "metric_undefined"
    UNLABELLED_DRIFT_RECORDED = "unlabelled_drift_recorded"
    UNLABELLED_DRIFT_REQUESTED = "unlabelled_drift_requested"
    WAITING_FOR_N_OF_M = "waiting_for_n_of_m"
    COOLING_DOWN = "cooling_down"
    BUDGET_SPENT = "budget_spent"
    VERSION_REPLACED = "version_replaced"

    def about(self, what: str) -> str:
        """The code with what it is about."""
        return f"{self.value}:{what}"


@dataclass(frozen=True)
class Decision:
    """One decision as it is stored; ``inputs`` is what it was made from."""

    decision_id: str
    decided_at: datetime
    """Of the data that was known, UTC."""
    recorded_at: datetime
    """By the clock, UTC."""
    model: str
    kind: str
    subject: str
    outcome: str
    reasons: Sequence[str]
    inputs: Mapping[str, Any]
    actor: str
    policy_hash: str
    run_id: str


def record(
    lake: Lakehouse,
    spec: ModelSpec,
    *,
    kind: Kind,
    subject: str,
    outcome: Outcome,
    reasons: Sequence[str],
    inputs: Mapping[str, Any],
    decided_at: datetime,
    actor: str,
    policy_hash: str,
    run_id: str,
    about: datetime | None = None,
) -> str:
    """Store a decision (`run.Run.decide`); the same run deciding again on the same subject replaces its own row.

    A month of decisions is one file, written anew: it stays as quick after a year as on the first day.

    Args:
        about: a time of what was decided on, whose month the row is kept in; ``decided_at`` by default, which may be
            another one when the run decides again.

    Returns:
        The decision's id, made from model, kind, subject and run.

    Raises:
        DataError: ``decided_at`` has no time zone.
        ValueError: kind, outcome or a reason is none of the closed sets.
    """
    if decided_at.tzinfo is None:
        raise DataError(f"decided_at {decided_at.isoformat()} has no time zone", fix="Hand in a UTC time")
    decision_id = identity(spec.name, kind, subject, run_id)
    partition = {"model": spec.name, "month": f"{(about or decided_at).astimezone(UTC):%Y-%m}"}
    row = {
        "decision_id": decision_id,
        "decided_at": decided_at,
        "recorded_at": datetime.now(UTC),
        **partition,
        "kind": Kind(kind).value,
        "subject": subject,
        "outcome": Outcome(outcome).value,
        "reasons": [_known(reason) for reason in reasons],
        "inputs": canonical_json(inputs),
        "actor": actor,
        "policy_hash": policy_hash,
        "run_id": run_id,
    }
    table = DECISIONS.of(spec)

    def with_row(rows: pa.Table) -> pa.Table:
        others = [other for other in rows.to_pylist() if other["decision_id"] != decision_id]
        return pa.Table.from_pylist([*others, row], schema=table.schema)

    lake.update(table, partition, with_row)
    return decision_id


def history(
    lake: Lakehouse,
    model: str,
    kind: Kind | None = None,
    *,
    since: datetime | None = None,
    subject: str | None = None,
    run_id: str | None = None,
) -> list[Decision]:
    """Decisions of a model, newest last; empty if there is none yet.

    Args:
        since: only those with a later or equal ``decided_at``; months without one are not read.
        subject: only those on that.
        run_id: only those of that run.
    """
    where: Where = [("model", "=", model)]
    if kind:
        where = [*where, ("kind", "=", kind.value)]
    if subject is not None:
        where = [*where, ("subject", "=", subject)]
    if since:
        months = lake.partitions_with(DECISIONS.layer, [("decided_at", ">=", since)], "month")
        if not months:
            return []
        where = [*where, ("month", "in", months), ("decided_at", ">=", since)]
    if run_id is not None:
        where = [*where, ("run_id", "=", run_id)]
    table = lake.read_if_exists(DECISIONS.layer, where=where)
    rows = [] if table is None else table.drop_columns(["month"]).to_pylist()
    found = [Decision(**{**row, "inputs": json.loads(row["inputs"])}) for row in rows]
    return sorted(found, key=lambda decision: (decision.decided_at, decision.recorded_at, decision.decision_id))


def on_batch(lake: Lakehouse, model: str, partition: Partition) -> Decision | None:
    """The last decision, by the clock, that took the batch of a partition in or out; None before the first."""
    found = [
        item
        for item in history(lake, model, since=partition.end, subject=partition.key)
        if item.kind in ON_BATCH and item.outcome != Outcome.LEAVE_ROWS
    ]
    return max(found, key=lambda item: item.recorded_at, default=None)


def identity(model: str, kind: str, subject: str, run_id: str) -> str:
    """The id of a decision, the same for every retry of the run that makes it."""
    return hashlib.sha256(canonical_json([model, kind, subject, run_id]).encode()).hexdigest()[:20]


def policy_hash(*sections: BaseModel) -> str:
    """SHA-256 of the canonical JSON of the parts of model.yaml that a decision follows."""
    content = [section.model_dump(mode="json") for section in sections]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """The same text for equal values: sorted keys, no spaces; infinite numbers and NaN are null."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _known(reason: str) -> str:
    """The reason, whose code is one of the closed set."""
    Reason(reason.partition(":")[0])
    return str(reason)


def _plain(value: Any) -> Any:
    if isinstance(value, Partition):
        return value.key
    if is_dataclass(value) and not isinstance(value, type):
        return {field: _plain(getattr(value, field)) for field in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
