"""The tab *Data quality* on a DAG run.

Of ``ingest_batch`` it shows the Data Docs of the batch's validation, of ``build_features`` the training-serving skew.
"""

from __future__ import annotations

from datetime import date

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.models.dagrun import DagRun
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from include.core import settings

app = FastAPI(title="Data quality")

_NO_PAGE = "<p>No page for this run: it judges no data, or did not come that far.</p>"


@app.get(
    "/{dag_id}/{run_id:path}",
    response_class=HTMLResponse,
    dependencies=[Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.RUN))],
)
def show(dag_id: str, run_id: str, session: SessionDep) -> HTMLResponse:
    """The page of the day that the run's partition stands for."""
    key = session.scalar(select(DagRun.partition_key).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    model, _, stage = dag_id.partition(".")
    page = None
    if key and stage in _PAGES:
        page = _PAGES[stage](model, date.fromisoformat(key[:10]))
    return HTMLResponse(page or _NO_PAGE, status_code=200 if page else 404)


def _data_docs(model: str, day: date) -> str | None:
    from include.ingestion import audit

    folder = audit.docs_folder(settings.from_environment(), model, day)
    page = folder / "index.html" if folder else None
    return page.read_text(encoding="utf-8") if page and page.is_file() else None


def _skew(model: str, day: date) -> str | None:
    from include.core import catalogue
    from include.features import parity_page
    from include.lakehouse.tables import Lakehouse

    return parity_page.render(catalogue.load(model), Lakehouse(settings.from_environment()), day)


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
