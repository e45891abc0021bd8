"""
Fits a registered version again from what is recorded of it, and says whether the same model comes out.

**Runs when:** by hand, with a version's number; without one, of the version in production.

**Reads:** the version's files in the registry, and the version of `training_sets_<model>` that it was fitted to.

**Writes:** a row in `decisions`; on the version the tags `rebuild…` and a line of its description. The fitted model is
not kept.

**Safe to re-run:** yes.

**When it fails:** a prediction differs by more than `training.rebuild_tolerance`: the note of the run says by how much,
and which packages are other ones than then. Or the version is not what was registered, or its rows are gone.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from include.core import catalogue
from include.orchestration import models
from include.orchestration.defaults import Tag, dag_defaults
from include.orchestration.runs import model_run_of, note, version_param


def rebuild_version(model: str) -> None:
    spec = catalogue.load(model)

    @dag(
        **dag_defaults(spec, "rebuild_version", Tag.REGISTRY),
        schedule=None,
        doc_md=__doc__,
        params={"version": version_param("Number of the version; the one in production by default.")},
    )
    def build() -> None:
        @task
        def rebuild(params: dict, **context) -> None:
            from include.registry import rebuild, steps

            named = params["version"]
            built = steps.rebuild_version(model_run_of(context), str(named) if named else None)
            note(context, rebuild.described(spec, built))

        rebuild()

    build()


for model in models.valid():
    rebuild_version(model)
