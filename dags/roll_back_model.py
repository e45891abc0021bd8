"""
Puts an earlier version back into production, after it has scored rows of its training set.

**Runs when:** by hand. A dry run by default: it scores and says what would change.

**Reads:** the version in the registry, the test rows of its training set.

**Writes:** (no dry run) the alias `production`, the tag `stage`, `alias_history`, a row in `decisions`; of a
refusal that row alone.

**Safe to re-run:** yes.

**When it fails:** the version does not exist, was never promoted, does not predict, is not what was registered, or
not what was approved; nothing has changed then.
"""

from __future__ import annotations

from dataclasses import asdict

from airflow.sdk import Label, Param, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from flightline.notices import Notice

from include.core import catalogue
from include.core.notification import Occasion
from include.orchestration import models
from include.orchestration.assets import assets_of
from include.orchestration.defaults import MOST, Tag, dag_defaults
from include.orchestration.runs import model_run_of, note


def roll_back_model(model: str) -> None:
    spec, assets = catalogue.load(model), assets_of(model)

    @dag(
        **dag_defaults(spec, "roll_back_model", Tag.REGISTRY) | {"max_active_runs": 1},
        schedule=None,
        doc_md=__doc__,
        params={
            "version": Param(
                type="integer", minimum=1, maximum=MOST, description="Number of the version to go back to."
            ),
            "comment": Param(None, type=["null", "string"], description="Why; kept in the decisions."),
            "dry_run": Param(True, type="boolean", description="Only say what would change."),
        },
    )
    def build() -> None:
        @task
        def smoke_score(params: dict, **context) -> dict:
            from include.registry import steps

            return asdict(steps.smoke_score(model_run_of(context), str(params["version"])))

        @task.branch
        def choose_action(params: dict) -> str:
            return "report_only" if params["dry_run"] else "roll_back"

        @task
        def report_only(found: dict, **context) -> None:
            from include.orchestration import notes
            from include.registry.steps import SmokeScore

            said = notes.of_dry_run(spec, SmokeScore(**found))
            note(context, said)
            print(f"{said}. Run it again with dry_run off to go back.")

        @task(on_success_callback=Notice(Occasion.ROLLED_BACK))
        def roll_back(params: dict, **context) -> dict:
            from include.orchestration import notes
            from include.registry import steps

            moved = steps.roll_back(model_run_of(context), str(params["version"]), comment=params["comment"] or "")
            note(context, notes.of_move(moved))
            return asdict(moved)

        @task(outlets=[assets.production])
        def announce_production(moved: dict) -> None:
            if not moved["changed"]:
                raise AirflowSkipException(f"Nothing changed: version {moved['version']} is in production.")

        found, action, rolled_back = smoke_score(), choose_action(), roll_back()
        found >> action
        action >> Label("dry run") >> report_only(found)
        action >> Label("for real") >> rolled_back
        announce_production(rolled_back)

    build()


for model in models.valid():
    roll_back_model(model)
