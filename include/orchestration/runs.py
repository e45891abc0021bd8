"""What a task learns from its run: the partition, the version, the model. Never from the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.core import catalogue
from include.core.errors import DataError
from include.core.partition import EXAMPLES, Partition

if TYPE_CHECKING:
    from include.lakehouse.run import Run


class WrongKey(DataError, AirflowFailException):
    """A partition key that the run cannot stand for: no retry changes it."""


def run_of(context: Any) -> Run:
    """The model whose DAG this is, opened for the run's partition; a run about a version has none."""
    # Imported here: parsing a DAG file needs no Delta tables.
    from include.lakehouse.run import open_run

    model, dag_run = context["dag"].dag_id.split(".")[0], context["dag_run"]
    key = dag_run.partition_key
    about_version = key is None or str(key).isdigit()
    partition = None if about_version else partition_of(context)
    return open_run(model, run_id=dag_run.run_id, partition=partition)


def partition_of(context: Any) -> Partition:
    """The partition that the run stands for.

    Raises:
        WrongKey: the run was triggered without a partition key, or with one that is none of the model's grain.
    """
    dag_id = context["dag"].dag_id
    grain = catalogue.load(dag_id.split(".")[0]).grain
    key = context["dag_run"].partition_key
    try:
        return Partition.parse(str(key), grain)
    except DataError:
        raise WrongKey(
            f"the run's partition key is {key!r}, not a {grain}",
            where=dag_id,
            fix=f"Trigger it with a partition key such as {EXAMPLES[grain]}, or backfill a range of days",
        ) from None


def version_of(context: Any) -> str:
    """The model version that the run's partition stands for.

    Raises:
        WrongKey: the run was triggered without a version's number as its partition key.
    """
    key = context["dag_run"].partition_key
    if key is None or not str(key).isdigit():
        raise WrongKey(
            f"the run's partition key is {key!r}, not a version's number",
            where=context["dag"].dag_id,
            fix="Trigger it with the number of a registered version as partition key, such as 3",
        )
    return str(key)
