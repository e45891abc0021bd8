"""Tells Airflow of our schedules: it reads back none that no plugin names."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin
from flightline.timetables import EachAssetPartition

from include.orchestration.timetables import EachPartition


class FlightlineTimetables(AirflowPlugin):
    name = "flightline_timetables"
    timetables = [EachAssetPartition, EachPartition]  # noqa: RUF012  (as Airflow reads it)
