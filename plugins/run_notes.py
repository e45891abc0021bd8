"""The note of a DAG run: what its tasks say of it, in a line, beside the run in the web UI.

A task leaves its sentence in an XCom (`include.orchestration.runs.note`), as any task may. It is put together here, in
the scheduler, when the run ends: no task needs a right to the API, or to the database, for it.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

from include.core.text import in_markdown, is_version
from include.orchestration.runs import NOTE

LONGEST = 1000
"""Characters that Airflow keeps of a note."""


@hookimpl
def on_dag_run_success(dag_run: Any) -> None:
    write(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: Any) -> None:
    write(dag_run)


def write(dag_run: Any) -> None:
    """Make what the tasks of a run said its note, in the order they ended. A note of a person stays."""
    # Imported here: a task's process loads the plugins, too, and has no use for these.
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    # The scheduler commits its own session. `dag.test` hands in a run of none.
    with create_session() if session is None else nullcontext(session) as at_work:
        _write(at_work, dag_run)


def _write(session: Any, dag_run: Any) -> None:
    from airflow.models.dagrun import DagRunNote
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    former = session.get(DagRunNote, dag_run.id)
    if former is not None and former.user_id is not None:
        return
    same = (XComModel.dag_run_id == dag_run.id) & (TaskInstance.task_id == XComModel.task_id)
    said = session.scalars(
        select(XComModel.value)
        .join(TaskInstance, same & (TaskInstance.dag_id == dag_run.dag_id) & (TaskInstance.run_id == dag_run.run_id))
        # What was cleared, and then not run again, says nothing any more.
        .where(XComModel.key == NOTE, TaskInstance.state.in_(("success", "failed")))
        .order_by(TaskInstance.end_date)
    ).all()
    if not said:
        return
    given = dag_run.conf or {}
    about = dag_run.partition_key or given.get("partition") or given.get("version")
    about = f"version {about}" if is_version(about) else about
    sentences = "; ".join(str(sentence) for sentence in said)
    is_named = not about or sentences.startswith(f"{about} ")
    text = in_markdown(sentences if is_named else f"{about}: {sentences}")
    note = former or DagRunNote("")
    note.content, note.dag_run_id = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…", dag_run.id
    session.add(note)


class RunNotes(AirflowPlugin):
    name = "run_notes"
    listeners = [sys.modules[__name__]]  # noqa: RUF012  (as Airflow reads it)
