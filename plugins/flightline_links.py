"""Links from Airflow's menu to the web pages beside it."""

from __future__ import annotations

import os

from airflow.plugins_manager import AirflowPlugin

PAGES = {"MLflow": "FLIGHTLINE_MLFLOW_UI_URL", "Feast": "FLIGHTLINE_FEAST_UI_URL"}


class FlightlineLinks(AirflowPlugin):
    """A menu entry for each page whose address the environment names.

    It opens in a tab of its own (an entry without ``url_route``): MLflow refuses to be shown within another page.
    """

    name = "flightline_links"
    external_views = [  # noqa: RUF012  (as Airflow reads it)
        {"name": name, "href": os.environ[variable], "destination": "nav", "category": "browse"}
        for name, variable in PAGES.items()
        if os.environ.get(variable)
    ]
