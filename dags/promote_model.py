"""
Answers a request that a version go to Staging or Production: takes it through the gates, or says why not.

**Runs when:** `candidate`: a version was registered; its number is the partition key. Or `collect_requests` has found
that somebody asks for it in MLflow. Or triggered with `version`, `target` and `comment`.

**Reads:** the version in the registry; the test rows of its training set; the version in production;
`comparison_<model>`, which numbers the candidates.

**Writes:** aliases, tags and the description in the registry, `alias_history`, rows in `comparison_<model>` if it is
compared with production, a row in `decisions` for the request, each gate, each answer of a person, the approval, what
was done, and what became of the request. A version that is rejected on its way to production says what its drift check
found, and the newest labelled window is measured again: `drift_check_requested` starts `monitor_model`.

**Safe to re-run:** yes. Moving the alias is the one step that counts, and moving it twice changes nothing. A version
that is compared again keeps its number, and so its alpha. Each check that model.yaml lists is an instance of
`run_staging_checks` or `run_production_checks`; clear one, and its gate concludes again.

**When it fails:** a check that fails and a gate that rejects are no failures. A check whose task dies has no answer,
and its gate never passes without: clear that instance. `wait_for_approval` waits for a person in prod, and so does
`wait_for_second_approval` where two have to approve. An answer of somebody who may not decide is recorded and does
not count (the log says why); no answer in time rejects. `promote_version`: since its gates, another version went into
production, gates or approval of model.yaml were changed, or a part of the release is another one, as the message
names it. Trigger it anew: the version is compared, judged and approved again.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import Label, PartitionedAssetTimetable, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.approval import ApprovalBranchOperator
from flightline.notices import Notice

from include.core import catalogue
from include.core.notification import Occasion
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import emit_each, model_run_of, note, version_of
from include.orchestration.transitions import request_of, request_params


def promote_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)
    any_branch = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS

    @dag(
        **dag_defaults(spec, "promote_model", Tag.REGISTRY) | {"max_active_runs": 1},
        schedule=PartitionedAssetTimetable(assets=assets.candidate),
        doc_md=__doc__,
        render_template_as_native_obj=False,
        params=request_params(),
    )
    def build() -> None:
        @task
        def record_request(**context) -> str:
            from include.orchestration import notes
            from include.registry import steps

            asked = request_of(context)
            note(context, notes.of_request(asked["target"], asked["requested_by"]))
            return steps.record_request(model_run_of(context), version_of(context), **asked)

        @task(map_index_template="{{ task.op_kwargs['check'] }}")
        def run_staging_checks(check: str, **context) -> dict:
            from include.registry import steps

            return steps.run_check(model_run_of(context), version_of(context), "staging", check)

        @task.branch
        def check_staging_gate(answered, **context) -> str:
            from include.orchestration import notes
            from include.registry import steps

            verdict = steps.conclude_gate(model_run_of(context), version_of(context), "staging", list(answered))
            note(context, notes.of_gate(verdict))
            return "move_to_staging" if verdict.passed else "reject_candidate"

        @task
        def move_to_staging(**context) -> str:
            from include.registry import steps

            return steps.move_to_staging(model_run_of(context), version_of(context))

        @task(map_index_template="{{ task.op_kwargs['check'] }}")
        def run_production_checks(check: str, **context) -> dict:
            from include.registry import steps

            return steps.run_check(model_run_of(context), version_of(context), "production", check)

        @task.branch
        def choose_target(target: str) -> str:
            return "keep_in_staging" if target == "Staging" else "run_production_checks"

        @task
        def keep_in_staging(**context) -> None:
            note(context, "in Staging, as was asked")

        @task.branch
        def check_production_gate(answered, **context) -> str:
            from include.orchestration import notes
            from include.registry import gates, steps

            run = model_run_of(context)
            verdict = steps.conclude_gate(run, version_of(context), "production", list(answered))
            note(context, notes.of_gate(verdict))
            if not verdict.passed:
                return "reject_candidate"
            return "wait_for_approval" if gates.asks_person(run.spec, run.settings) else "approve_automatically"

        question = {
            "subject": f"Put version {{{{ dag_run.partition_key or params.version }}}} of {model} into production?",
            "approval": spec.approval,
            "approved": "promote_version",
            "rejected": "reject_candidate",
        }
        first = ApprovalBranchOperator(task_id="wait_for_approval", more="wait_for_second_approval", **question)
        second = ApprovalBranchOperator(task_id="wait_for_second_approval", **question)

        @task
        def approve_automatically(**context) -> str:
            from include.registry import steps

            return steps.approve(model_run_of(context), version_of(context))

        @task(trigger_rule=any_branch, on_success_callback=Notice(Occasion.PROMOTED))
        def promote_version(**context) -> dict:
            from include.orchestration import notes
            from include.registry import steps

            moved = steps.promote(model_run_of(context), version_of(context))
            note(context, notes.of_move(moved))
            return asdict(moved)

        @task(outlets=[assets.production])
        def announce_production(moved: dict) -> None:
            if not moved["changed"]:
                raise AirflowSkipException(f"Nothing changed: version {moved['version']} is in production.")

        @task(trigger_rule=any_branch, on_success_callback=Notice(Occasion.REJECTED))
        def reject_candidate(**context) -> list[str]:
            from include.orchestration import notes
            from include.registry import steps

            reasons = steps.reject(model_run_of(context), version_of(context))
            note(context, notes.of_rejection(reasons))
            return reasons

        @task
        def check_drift(**context) -> list[str] | None:
            from include.orchestration import notes
            from include.registry import steps

            drifted = steps.check_drift(model_run_of(context), version_of(context))
            note(context, notes.of_drift_check(drifted))
            return drifted

        @task(outlets=[assets.drift_check_requested])
        def request_drift_check(outlet_events=None, **context) -> list:
            from include.registry import steps

            found = steps.find_window_to_check(model_run_of(context), version_of(context))
            emit_each(context, outlet_events[assets.drift_check_requested], found, "measured again")
            return found

        @task(trigger_rule=TriggerRule.ALL_DONE)
        def answer_request(**context) -> None:
            from include.orchestration import notes
            from include.registry import steps

            note(context, notes.of_answer(steps.answer_request(model_run_of(context), version_of(context))))

        staging_checks = run_staging_checks.expand(check=list(spec.gates.asked("staging")))
        production_checks = run_production_checks.expand(check=list(spec.gates.asked("production")))
        staging_gate, production_gate = check_staging_gate(staging_checks), check_production_gate(production_checks)
        requested, promoted, rejected = record_request(), promote_version(), reject_candidate()
        automatic, target, kept = approve_automatically(), choose_target(requested), keep_in_staging()

        requested >> staging_checks
        staging_gate >> Label("passed") >> move_to_staging() >> target
        staging_gate >> Label("failed") >> rejected
        target >> Label("Production was asked for") >> production_checks
        target >> Label("only Staging was asked for") >> kept
        [kept, promoted, rejected] >> answer_request()
        announce_production(promoted)
        production_gate >> Label("passed, policy approves") >> automatic >> promoted
        production_gate >> Label("passed, a person approves") >> first
        production_gate >> Label("failed") >> rejected
        first >> Label("approved") >> promoted
        first >> Label("approved, and another one has to") >> second
        second >> Label("approved") >> promoted
        [first, second] >> Label("rejected, or no answer") >> rejected
        rejected >> [check_drift(), request_drift_check()]

    build()


for model in models.valid():
    promote_model(model)
