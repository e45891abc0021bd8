"""Every step of a model's life, once: its function, the tasks that run it, what it reads and writes.

The jobs' command line, the lineage of tasks, and whatever moves a step to another machine follow this registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

from include.lakehouse.schemas import (
    ALIAS_HISTORY,
    CLEAN,
    COMPARISON,
    FEATURES,
    LABELS,
    METRICS,
    PREDICTIONS,
    PROFILES,
    QUARANTINE,
    QUARANTINE_LABELS,
    RAW,
    REFERENCE_PROFILES,
    SKEW,
    TABLES,
    TRAINING_SETS,
    Table,
)


@dataclass(frozen=True)
class Step:
    """One step. Every one that decides writes ``decisions``, too."""

    tasks: tuple[str, ...]
    """``<dag>.<task>`` of those that run it."""
    reads: tuple[Table, ...] = ()
    """Tables of which it reads the run's partition."""
    looks_back: tuple[Table, ...] = ()
    """Tables of which it reads the run's partition, and those before it that ``features.lookback`` reaches."""
    reads_all: tuple[Table, ...] = ()
    """Tables of which it reads more than that."""
    writes: tuple[Table, ...] = ()
    writes_if_numbered: tuple[Table, ...] = ()
    """Tables that it writes, too, where rows are named by their place."""
    records_lookback: tuple[Table, ...] = ()
    """Tables that it writes, too, where features look back."""
    delivery: Literal["batches", "labels"] | None = None
    """What it reads of the landing folder."""
    function: str = ""
    """Where it is, if not in the stage's ``steps``."""


STEPS: Mapping[str, Step] = {
    "ingestion.validate_batch": Step(
        ("ingest_batch.validate_batch",),
        writes=(RAW, QUARANTINE, PROFILES, METRICS),
        delivery="batches",
    ),
    "ingestion.load_batch": Step(
        ("ingest_batch.accept_batch", "ingest_batch.accept_and_quarantine"),
        (RAW, QUARANTINE),
        writes=(CLEAN,),
        writes_if_numbered=(LABELS,),
    ),
    "ingestion.reject_batch": Step(("ingest_batch.reject_batch",), (RAW, QUARANTINE), writes=(QUARANTINE, CLEAN)),
    "ingestion.find_traces": Step(("ingest_batch.announce_withdrawal",), (CLEAN, FEATURES, PREDICTIONS)),
    "ingestion.preview_withdrawal": Step(("withdraw_batch.find_traces",), (CLEAN, FEATURES, PREDICTIONS)),
    "ingestion.withdraw_batch": Step(("withdraw_batch.withdraw_rows",), (RAW, QUARANTINE), writes=(QUARANTINE, CLEAN)),
    "ingestion.alert": Step(("ingest_batch.alert_rejected_batch",)),
    "ingestion.load_labels": Step(
        ("ingest_labels.load_labels",), (RAW,), writes=(LABELS, QUARANTINE_LABELS), delivery="labels"
    ),
    "ingestion.list_quarantine": Step(("reprocess_quarantine.list_partitions",), reads_all=(QUARANTINE,)),
    "ingestion.preview_quarantine": Step(("reprocess_quarantine.judge_again",), (RAW, QUARANTINE), (CLEAN,)),
    "ingestion.take_rows_back": Step(
        ("reprocess_quarantine.take_rows_back",), (RAW, QUARANTINE), (CLEAN,), writes=(QUARANTINE, CLEAN)
    ),
    "features.compute_features": Step(
        ("build_features.compute_features",), looks_back=(CLEAN,), writes=(FEATURES,), records_lookback=(METRICS,)
    ),
    "features.materialize_features": Step(("build_features.materialize_features",), (FEATURES,)),
    "features.check_skew": Step(("build_features.check_skew",), (), (FEATURES,), writes=(SKEW,)),
    "features.withdraw_features": Step(
        ("withdraw_batch.withdraw_features",), reads_all=(FEATURES,), writes=(FEATURES,)
    ),
    "features.find_stale": Step(
        ("build_features.announce_stale_features", "withdraw_batch.announce_stale_features"), (CLEAN,), (METRICS,)
    ),
    "training.request_training": Step(("request_training.request",), (CLEAN,)),
    "training.build_training_set": Step(
        ("train_model.build_training_set",), reads_all=(LABELS, FEATURES, METRICS), writes=(TRAINING_SETS,)
    ),
    "training.fit_baseline": Step(("train_model.train_baseline",), (TRAINING_SETS,)),
    "training.fit_tuned": Step(("train_model.tune",), (TRAINING_SETS,)),
    "training.choose_candidate": Step(("train_model.choose_candidate",)),
    "training.explain_candidate": Step(("train_model.explain_candidate",), (TRAINING_SETS,)),
    "registry.register_candidate": Step(
        ("train_model.register_candidate",), reads_all=(TRAINING_SETS,), writes=(REFERENCE_PROFILES,)
    ),
    "registry.record_profile": Step((), reads_all=(TRAINING_SETS,), writes=(REFERENCE_PROFILES,)),
    "registry.name_versions": Step(("withdraw_batch.name_versions",), reads_all=(TRAINING_SETS,)),
    "registry.request_transition": Step(()),
    "registry.collect_requests": Step(("collect_requests.find_requests",), reads_all=(ALIAS_HISTORY,)),
    "registry.record_request": Step(("promote_model.record_request",)),
    "registry.answer_request": Step(("promote_model.answer_request",)),
    "registry.run_check": Step(
        ("promote_model.run_staging_checks", "promote_model.run_production_checks"),
        reads_all=(TRAINING_SETS, COMPARISON),
        writes=(COMPARISON,),
    ),
    "registry.conclude_gate": Step(("promote_model.check_staging_gate", "promote_model.check_production_gate")),
    "registry.check_staging": Step((), reads_all=(TRAINING_SETS,)),
    "registry.move_to_staging": Step(("promote_model.move_to_staging",)),
    "registry.check_production": Step((), reads_all=(TRAINING_SETS, COMPARISON), writes=(COMPARISON,)),
    "registry.approve": Step(("promote_model.approve_automatically",)),
    "registry.promote": Step(("promote_model.promote_version",), writes=(ALIAS_HISTORY,)),
    "registry.reject": Step(("promote_model.reject_candidate",)),
    "registry.check_drift": Step(("promote_model.check_drift",), reads_all=(TRAINING_SETS, METRICS)),
    "registry.find_window_to_check": Step(("promote_model.request_drift_check",), reads_all=(METRICS,)),
    "registry.rebuild_version": Step(("rebuild_version.rebuild",), reads_all=(TRAINING_SETS,)),
    "registry.list_production": Step(("roll_back_model.report_only",), reads_all=(ALIAS_HISTORY,)),
    "registry.require_roll_back": Step(("roll_back_model.choose_target",), reads_all=(ALIAS_HISTORY,)),
    "registry.smoke_score": Step(
        ("roll_back_model.smoke_score",), reads_all=(TRAINING_SETS, FEATURES, PREDICTIONS, LABELS)
    ),
    "registry.roll_back": Step(("roll_back_model.roll_back",), writes=(ALIAS_HISTORY,)),
    "scoring.choose_version": Step(
        ("score_batch.find_production",), reads_all=(PREDICTIONS, ALIAS_HISTORY), writes=(ALIAS_HISTORY,)
    ),
    "scoring.score_rows": Step(("score_batch.score_rows",), (CLEAN, FEATURES), writes=(PREDICTIONS,)),
    "scoring.skip_scoring": Step(("score_batch.skip_scoring",)),
    "scoring.withdraw_predictions": Step(
        ("withdraw_batch.withdraw_predictions",), (PREDICTIONS,), writes=(PREDICTIONS,)
    ),
    "monitoring.measure_window": Step(
        ("monitor_model.measure_window",),
        (PREDICTIONS, LABELS, FEATURES, PROFILES),
        (TRAINING_SETS, REFERENCE_PROFILES),
        writes=(METRICS,),
    ),
    "monitoring.withdraw_window": Step(("withdraw_batch.withdraw_window",), writes=(METRICS,)),
    "monitoring.judge_probation": Step(
        ("monitor_model.judge_probation",), reads_all=(METRICS, PREDICTIONS, LABELS, FEATURES, TRAINING_SETS)
    ),
    "monitoring.end_probation": Step(("monitor_model.roll_back_version",), writes=(ALIAS_HISTORY,)),
    "monitoring.decide": Step(("monitor_model.decide",), reads_all=(METRICS,)),
    "monitoring.find_outdated": Step(
        ("monitor_model.reopen_windows", "withdraw_batch.reopen_windows"), reads_all=(METRICS,)
    ),
    "monitoring.request_retraining": Step(("monitor_model.request_retraining",)),
    "monitoring.alert": Step(("monitor_model.alert_root_cause",), (METRICS,)),
    "orchestration.maintain_tables": Step(
        ("maintain_tables.compact_and_vacuum",),
        writes=TABLES,
        function="include.orchestration.maintenance:maintain_tables",
    ),
}


def function_of(name: str) -> Callable[..., Any]:
    """The function of a step: ``(run, **refs) -> small result``."""
    stage, _, verb = name.partition(".")
    found: Callable[..., Any] = resolve_name(STEPS[name].function or f"include.{stage}.steps:{verb}")
    return found


def step_of(dag: str, task_id: str) -> Step | None:
    """The step that a task runs; None where it runs none."""
    task = f"{dag}.{task_id}"
    return next((step for step in STEPS.values() if task in step.tasks), None)
