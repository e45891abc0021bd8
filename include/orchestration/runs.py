"""What a task learns from its run: the partition, the version, the model. Never from the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException

from include.core import catalogue
from include.core.errors import DataError
from include.core.partition import EXAMPLES, KEY_SHAPES, Grain, Partition
from include.core.spec import ModelSpec

if TYPE_CHECKING:
    from include.lakehouse.run import Run


class WrongKey(DataError, AirflowFailException):
    """A partition key that the run cannot stand for: no retry changes it."""


def partition_param(spec: ModelSpec, description: str) -> Param:
    """The field of the trigger form that asks for a partition: a calendar where it is a day."""
    pattern = {"pattern": f"^{KEY_SHAPES[spec.grain]}$"}
    shape: dict[str, Any] = {"format": "date"} if spec.grain is Grain.DAY else pattern
    text = f"{description} Such as {EXAMPLES[spec.grain]}."
    return Param(None, type=["null", "string"], title="Partition", description=text, **shape)


def key_of(context: Any) -> str | None:
    """The partition key that a run was triggered with: its own, or the parameter ``partition``.

    Raises:
        WrongKey: both are there and differ.
    """
    # Not from the context's `params`: a task that names them in its signature has them taken out of it.
    run = context["dag_run"]
    key, asked = run.partition_key, (run.conf or {}).get("partition")
    if key and asked and key != asked:
        raise WrongKey(
            f"the run's partition key is {key!r}, its parameter partition {asked!r}",
            where=context["dag"].dag_id,
            fix="Trigger it with one of them",
        )
    return key or asked


def run_of(context: Any) -> Run:
    """The model whose DAG this is, opened for the run's partition; a run about a version has none."""
    # Imported here: parsing a DAG file needs no Delta tables.
    from include.lakehouse.run import open_run

    model, dag_run = context["dag"].dag_id.split(".")[0], context["dag_run"]
    key = key_of(context)
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
    key = key_of(context)
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
