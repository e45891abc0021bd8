"""
Takes a registered version through the gates into production, or says why not.

**Runs when:** `candidate`: a version was registered; its number is the partition key. Or triggered with a number.

**Reads:** the version in the registry; the test rows of its training set; the version in production;
`comparison_<model>`, which numbers the candidates.

**Writes:** aliases, tags and the description in the registry, `alias_history`, a row in `comparison_<model>` if it is
compared with production, a row in `decisions` for each gate, the approval, and what was done.

**Safe to re-run:** yes. Moving the alias is the one step that counts, and moving it twice changes nothing. A version
that is compared again keeps its number, and so its alpha.

**When it fails:** a gate that rejects is a branch, no failure. `wait_for_approval` waits for a person in prod, and
rejects when nobody answers. `promote_version`: since its gates, another version went into production, or the gates of
model.yaml were changed. Trigger it anew: the version is compared again.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from airflow.sdk import Label, PartitionedAssetTimetable, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.approval import ApprovalBranchOperator

from include.core import catalogue
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import model_run_of, note, version_of


def promote_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)
    any_branch = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS

    @dag(
        **dag_defaults(spec, "promote_model", Tag.REGISTRY) | {"max_active_runs": 1},
        schedule=PartitionedAssetTimetable(assets=assets.candidate),
        doc_md=__doc__,
        render_template_as_native_obj=False,
    )
    def build() -> None:
        @task.branch
        def check_staging_gate(**context) -> str:
            from include.orchestration import notes
            from include.registry import steps

            verdict = steps.check_staging(model_run_of(context), version_of(context))
            note(context, notes.of_gate(verdict))
            return "move_to_staging" if verdict.passed else "reject_candidate"

        @task
        def move_to_staging(**context) -> str:
            from include.registry import steps

            return steps.move_to_staging(model_run_of(context), version_of(context))

        @task.branch
        def check_production_gate(**context) -> str:
            from include.orchestration import notes
            from include.registry import gates, steps

            run = model_run_of(context)
            verdict = steps.check_production(run, version_of(context))
            context["ti"].xcom_push("evidence", verdict.table)
            note(context, notes.of_gate(verdict))
            if not verdict.passed:
                return "reject_candidate"
            return "wait_for_approval" if gates.asks_person(run.spec, run.settings) else "approve_automatically"

        wait_for_approval = ApprovalBranchOperator(
            task_id="wait_for_approval",
            subject=f"Put version {{{{ dag_run.partition_key }}}} of {model} into production?",
            body="{{ ti.xcom_pull(task_ids='check_production_gate', key='evidence') }}",
            approved="promote_version",
            rejected="reject_candidate",
            response_timeout=timedelta(days=3),
            execution_timeout=timedelta(days=4),  # it waits for a person
        )

        def answer(context, who: str) -> dict:
            pulled = context["ti"].xcom_pull
            name, comment = (pulled(task_ids="wait_for_approval", key=key) for key in ("answered_by", "comment"))
            return {who: name, "comment": comment or ""}

        @task
        def approve_automatically(**context) -> str:
            from include.registry import steps

            return steps.approve(model_run_of(context), version_of(context))

        @task(trigger_rule=any_branch)
        def promote_version(**context) -> dict:
            from include.orchestration import notes
            from include.registry import steps

            moved = steps.promote(model_run_of(context), version_of(context), **answer(context, "approved_by"))
            note(context, notes.of_move(moved))
            return asdict(moved)

        @task(outlets=[assets.production])
        def announce_production(moved: dict) -> None:
            if not moved["changed"]:
                raise AirflowSkipException(f"Nothing changed: version {moved['version']} is in production.")

        @task(trigger_rule=any_branch)
        def reject_candidate(**context) -> list[str]:
            from include.orchestration import notes
            from include.registry import steps

            reasons = steps.reject(model_run_of(context), version_of(context), **answer(context, "rejected_by"))
            note(context, notes.of_rejection(reasons))
            return reasons

        @task
        def check_drift(**context) -> list[str] | None:
            from include.orchestration import notes
            from include.registry import steps

            drifted = steps.check_drift(model_run_of(context), version_of(context))
            note(context, notes.of_drift_check(drifted))
            return drifted

        staging_gate, production_gate = check_staging_gate(), check_production_gate()
        automatic, promoted, rejected = approve_automatically(), promote_version(), reject_candidate()

        staging_gate >> Label("passed") >> move_to_staging() >> production_gate
        staging_gate >> Label("failed") >> rejected
        announce_production(promoted)
        production_gate >> Label("passed, policy approves") >> automatic >> promoted
        production_gate >> Label("passed, a person approves") >> wait_for_approval
        production_gate >> Label("failed") >> rejected
        wait_for_approval >> Label("approved") >> promoted
        wait_for_approval >> Label("rejected, or no answer") >> rejected
        rejected >> check_drift()

    build()


for model in models.valid():
    promote_model(model)
