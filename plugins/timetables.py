"""Tells Airflow of our schedules: it reads back none that no plugin names."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from flightline.timetables import EachAssetPartition


class FlightlineTimetables(AirflowPlugin):
    name = "flightline_timetables"
    timetables = [EachAssetPartition]  # noqa: RUF012  (as Airflow reads it)
