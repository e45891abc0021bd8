"""A run of another DAG, started with what others wrote."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator


class StartRunOperator(TriggerDagRunOperator):
    """Starts a run with the values it is given, none of which is a template.

    Airflow renders dictionaries that a task hands on as if the DAG's author had written them: a text in braces would
    be run as code.
    """

    template_fields: Sequence[str] = ()
