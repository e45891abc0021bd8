"""The tab *Data Docs* on a DAG run: the page of the validation of the run's batch."""

from __future__ import annotations

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from include import places

app = FastAPI(title="Data Docs")

_NO_PAGE = "<p>No Data Docs for this run: it validates no batch, or the batch could not be read.</p>"


@app.get(
    "/{dag_id}/{run_id:path}",
    response_class=HTMLResponse,
    dependencies=[Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN))],
)
def show(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The page of the day that the run's partition stands for."""
    from datetime import date

    from include.ingestion import audit

    key = session.scalar(select(DagRun.partition_key).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    try:
        folder = audit.docs_folder(places.from_environment(), dag_id.split(".")[0], date.fromisoformat(str(key)[:10]))
    except ValueError:
        folder = None
    page = folder / "index.html" if folder else None
    if page is None or not page.is_file():
        return HTMLResponse(_NO_PAGE, status_code=404)
    return HTMLResponse(page.read_text(encoding="utf-8"))


class DataDocsPlugin(AirflowPlugin):
    name = "data_docs"
    fastapi_apps = [{"app": app, "url_prefix": "/data-docs", "name": "Data Docs"}]  # noqa: RUF012  (Airflow declares it)
    external_views = [  # noqa: RUF012
        {
            "name": "Data Docs",
            "href": "/data-docs/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "data-docs",
        }
    ]
