"""The tab *Data quality* on a DAG run.

Of ``ingest_batch`` it shows the Data Docs of the batch's validation, of ``build_features`` the training-serving skew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from include.core.errors import DataError

if TYPE_CHECKING:
    from include.lakehouse.run import Run

app = FastAPI(title="Data quality")

_NO_PAGE = "<p>No page for this run: it judges no data, or did not come that far.</p>"


@app.get(
    "/{dag_id}/{run_id:path}",
    response_class=HTMLResponse,
    dependencies=[Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN))],
)
def show(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The page of the run's partition."""
    from include.lakehouse.run import open_run

    key = session.scalar(select(DagRun.partition_key).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    model, _, stage = dag_id.partition(".")
    page = None
    if key and stage in _PAGES:
        try:
            run = open_run(model, run_id=run_id, partition=key)
        except DataError:  # no key of the model's grain: nothing was judged
            return HTMLResponse(_NO_PAGE, status_code=404)
        page = _PAGES[stage](run)
    return HTMLResponse(page or _NO_PAGE, status_code=200 if page else 404)


def _data_docs(run: Run) -> str | None:
    from include.ingestion import data_docs

    page = data_docs.page(run.settings, run.spec, run.partition)
    return page.read_text(encoding="utf-8") if page and page.is_file() else None


def _skew(run: Run) -> str | None:
    from include.features import skew_page

    return skew_page.render(run.spec, run.lake, run.partition)


_PAGES = {"ingest_batch": _data_docs, "build_features": _skew}


class DataQualityPlugin(AirflowPlugin):
    name = "data_quality"
    fastapi_apps = [{"app": app, "url_prefix": "/data-quality", "name": "Data quality"}]  # noqa: RUF012  (Airflow's own)
    external_views = [  # noqa: RUF012
        {
            "name": "Data quality",
            "href": "/data-quality/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "data-quality",
        }
    ]
