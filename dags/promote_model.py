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

from airflow.sdk import Label, PartitionedAssetTimetable, TriggerRule, dag, task
from flightline.approval import ApprovalBranchOperator
from flightline.notices import Notice

from include.core import catalogue
from include.core.notification import Occasion
from include.orchestration import models, promotion
from include.orchestration.assets import assets_of
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.transitions import request_params


def promote_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)
    named = "{{ task.op_kwargs['check'] }}"
    any_branch = TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS

    @dag(
        **dag_defaults(spec, "promote_model", Tag.REGISTRY) | {"max_active_runs": 1},
        schedule=PartitionedAssetTimetable(assets=assets.candidate),
        doc_md=__doc__,
        render_template_as_native_obj=False,
        params=request_params(),
    )
    def build() -> None:
        requested = task(promotion.record_request)()
        staging = task(promotion.run_check, task_id="run_staging_checks", map_index_template=named)
        staging_checks = staging.partial(gate="staging").expand(check=list(spec.gates.asked("staging")))
        staging_gate = task.branch(promotion.check_staging_gate)()
        in_staging = task(promotion.move_to_staging)()
        target = task.branch(promotion.choose_target)(requested)
        kept = task(promotion.keep_in_staging)()
        production = task(promotion.run_check, task_id="run_production_checks", map_index_template=named)
        production_checks = production.partial(gate="production").expand(check=list(spec.gates.asked("production")))
        production_gate = task.branch(promotion.check_production_gate)()
        automatic = task(promotion.approve_automatically)()
        question = promotion.question(spec)
        first = ApprovalBranchOperator(task_id="wait_for_approval", more="wait_for_second_approval", **question)
        second = ApprovalBranchOperator(task_id="wait_for_second_approval", **question)
        promoted = task(
            promotion.promote_version, trigger_rule=any_branch, on_success_callback=Notice(Occasion.PROMOTED)
        )()
        task(promotion.announce_production, outlets=[assets.production])(promoted)
        rejected = task(
            promotion.reject_candidate, trigger_rule=any_branch, on_success_callback=Notice(Occasion.REJECTED)
        )()
        drift_checks = [
            task(promotion.check_drift)(),
            task(promotion.request_drift_check, outlets=[assets.drift_check_requested])(),
        ]
        answered = task(promotion.answer_request, trigger_rule=TriggerRule.ALL_DONE)()

        requested >> staging_checks >> staging_gate
        staging_gate >> Label("passed") >> in_staging >> target
        staging_gate >> Label("failed") >> rejected
        target >> Label("Production was asked for") >> production_checks >> production_gate
        target >> Label("only Staging was asked for") >> kept
        production_gate >> Label("passed, policy approves") >> automatic >> promoted
        production_gate >> Label("passed, a person approves") >> first
        production_gate >> Label("failed") >> rejected
        first >> Label("approved") >> promoted
        first >> Label("approved, and another one has to") >> second
        second >> Label("approved") >> promoted
        [first, second] >> Label("rejected, or no answer") >> rejected
        rejected >> drift_checks
        [kept, promoted, rejected] >> answered

    build()


for model in models.valid():
    promote_model(model)
