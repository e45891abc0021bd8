"""Take a version through both gates into production: what the DAG promote_model does.

Who calls it is the person who approves: nobody is asked.
"""

from __future__ import annotations

import getpass

from include.jobs.command import run_for_version
from include.lakehouse.run import Workspace
from include.registry import stages
from include.registry.gates import Verdict


def promote(workspace: Workspace, version: str, run_id: str) -> Verdict:
    actor = getpass.getuser()
    verdict = stages.check_staging(workspace, version, run_id)
    if verdict.passed:
        stages.move_to_staging(workspace, version)
        verdict = stages.check_production(workspace, version, run_id)
    if verdict.passed:
        stages.promote(workspace, version, run_id, actor)
    else:
        stages.reject(workspace, version, run_id, actor)
        stages.check_drift(workspace, version, run_id)
    return verdict


if __name__ == "__main__":
    run_for_version("promote_model", promote)
