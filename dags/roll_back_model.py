"""
Puts an earlier version back into production, after it has scored test rows and recent rows.

**Runs when:** by hand. A dry run by default: it scores and says what would change. The version is the one that was in
production before, unless another is named. For real a comment is required; where no version is named, a person is
offered those that served, the one before first (tab *Required Actions*). Who names it, as by REST, is not asked.
`monitor_model` goes back by itself where probation says so (`probation` in model.yaml).

**Reads:** the version in the registry, the test rows of its training set; the newest features, and the newest served
rows that have labels, on which it stands beside the version in production; `alias_history`.

**Writes:** (no dry run) the alias `production`, the tag `stage`, `alias_history`, a row in `decisions`; of a
refusal that row alone.

**Safe to re-run:** yes. What monitoring compares a window with is the profile of the version that served it: that moves
with the alias.

**When it fails:** no comment was given, the version does not exist, was never promoted, does not predict, lacks a
feature of today, is not what was registered, or not what was approved; nothing has changed then.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, Param, TriggerRule, dag, task
from flightline.notices import Notice
from flightline.version_choice import VersionChoiceOperator

from include.core import catalogue
from include.core.notification import Occasion
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.promotion import announce_production
from include.orchestration.runs import model_run_of, note, version_param


def roll_back_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "roll_back_model", Tag.REGISTRY) | {"max_active_runs": 1},
        schedule=None,
        doc_md=__doc__,
        params={
            "version": version_param(
                "Number of the version to go back to. Empty: the one before; for real you are asked."
            ),
            "comment": Param(
                None, type=["null", "string"], maxLength=500, description="Why: for real it is required, and kept."
            ),
            "dry_run": Param(True, type="boolean", description="Only say what would change."),
        },
    )
    def build() -> None:
        @task.branch
        def choose_target(params: dict, **context) -> str:
            from include.registry import steps

            if params["dry_run"]:
                return "smoke_score"
            named = _named(params)
            steps.require_roll_back(model_run_of(context), params["comment"] or "", named)
            return "smoke_score" if named else "ask_for_version"

        ask_for_version = VersionChoiceOperator(
            task_id="ask_for_version",
            subject=f"Which version of {model} goes back into production?",
            response_timeout=timedelta(days=1),
            execution_timeout=timedelta(days=2),  # it waits for a person
        )

        def answered(context) -> str | None:
            return context["ti"].xcom_pull(task_ids="ask_for_version")

        @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
        def smoke_score(params: dict, **context) -> dict:
            from include.registry import steps

            return asdict(steps.smoke_score(model_run_of(context), answered(context) or _named(params)))

        @task.branch
        def choose_action(params: dict) -> str:
            return "report_only" if params["dry_run"] else "roll_back"

        @task
        def report_only(found: dict, **context) -> None:
            from include.orchestration import notes
            from include.registry import smoke, steps, tenures

            said = notes.of_dry_run(spec, smoke.restored(found))
            note(context, said)
            print(f"{said}. Run it again with dry_run off to go back.")
            print(tenures.told(spec, steps.list_production(model_run_of(context))))

        @task(on_success_callback=Notice(Occasion.ROLLED_BACK))
        def roll_back(found: dict, params: dict, **context) -> dict:
            from include.orchestration import notes
            from include.registry import steps

            moved = steps.roll_back(model_run_of(context), found["version"], params["comment"] or "")
            note(context, notes.of_move(moved))
            return asdict(moved)

        target, found, action = choose_target(), smoke_score(), choose_action()
        rolled_back = roll_back(found)
        target >> Label("a dry run, or a version is named") >> found
        target >> Label("for real, and none is named") >> ask_for_version >> found
        found >> action
        action >> Label("dry run") >> report_only(found)
        action >> Label("for real") >> rolled_back
        task(announce_production, outlets=[assets.production])(rolled_back)

    build()


def _named(params: dict) -> str | None:
    return str(params["version"]) if params["version"] else None


for model in models.valid():
    roll_back_model(model)
