"""The tab *Report* on a DAG run: what the run decided, in words and numbers.

Airflow shows a tab on the runs of every DAG or of none; a run that decided nothing says so there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from include.core import catalogue
from include.core.errors import FlightlineError
from include.pages import HEADERS, render

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

# No page that describes the app: it would be open to all, and load scripts from elsewhere.
app = FastAPI(title="Report", openapi_url=None)


@app.middleware("http")
async def keep_to_itself(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Send every answer, also that there is none, with the headers of a page of ours.

    No name of a DAG or run has a control character, and PostgreSQL refuses to look for some: it is not asked.
    """
    if _CONTROL.search(request.scope["path"]):
        response: Response = _message("There is no such run.", 404)
    else:
        response = await call_next(request)
    response.headers.update(HEADERS)
    return response


@app.get(
    "/{dag_id}/{run_id:path}",
    response_class=HTMLResponse,
    dependencies=[Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN))],
)
def show(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The page of a run."""
    model, _, dag = dag_id.partition(".")
    run = session.execute(
        select(DagRun.run_id, DagRun.partition_key).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    ).one_or_none()
    if run is None:
        return _message(f"{dag_id} has no run {run_id}.", 404)
    if model not in catalogue.registered():
        return _message(f"{dag_id} is the DAG of no model: it decides nothing about data or a version.", 200)
    # What reads tables is imported with the first page: the API server does without it until then.
    from include.lakehouse.run import open_run
    from include.pages import run_page

    try:
        return HTMLResponse(run_page.of_run(open_run(model, run_id=run.run_id), dag, run.partition_key))
    except FlightlineError as error:
        return _message(str(error), 500)


def _message(said: str, status: int) -> HTMLResponse:
    return HTMLResponse(render("message.html", title="Report", message=said), status_code=status)


class RunReportPlugin(AirflowPlugin):
    name = "run_report"
    fastapi_apps = [{"app": app, "url_prefix": "/run-report", "name": "Report"}]  # noqa: RUF012  (Airflow's own)
    external_views = [  # noqa: RUF012
        {"name": "Report", "href": "/run-report/{DAG_ID}/{RUN_ID}", "destination": "dag_run", "url_route": "report"}
    ]
