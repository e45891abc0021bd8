"""What a task learns from its run, and says of it: the partition, the version, the model. Never from the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.core import catalogue
from include.core.errors import DataError, FlightlineError, UsageError
from include.core.partition import EXAMPLES, KEY_SHAPES, Grain, Partition
from include.core.spec import ModelSpec
from include.core.text import is_version

if TYPE_CHECKING:
    from include.lakehouse.run import Run

MOST = 2**31 - 1
"""Of a param that is a whole number: Airflow passes a run on by msgpack, and its own processes fail beyond 64 bits."""
NOTE = "note"
"""XCom of a task that has something to say of its run: a sentence of the run's note (`plugins/run_notes.py`)."""
MOST_NAMED = 10
"""Of partitions, in a note: more are counted."""


def partition_param(spec: ModelSpec, description: str) -> Param:
    """The field of the trigger form that asks for a partition: a calendar where it is a day."""
    pattern = {"pattern": f"^{KEY_SHAPES[spec.grain]}$"}
    shape: dict[str, Any] = {"format": "date"} if spec.grain is Grain.DAY else pattern
    text = f"{spec.grain.capitalize()} such as {EXAMPLES[spec.grain]}: {description}"
    return Param(None, type=["null", "string"], title="Partition", description=text, **shape)


def version_param(description: str) -> Param:
    """The field of the trigger form that asks for a version's number."""
    return Param(None, type=["null", "integer"], minimum=1, maximum=MOST, description=description)


def key_of(context: Any) -> str | None:
    """The partition key that a run was triggered with: its own, or the parameter ``partition`` of a DAG that has it.

    Raises:
        UsageError: both are there and differ; or the DAG has no such parameter: its run would have no key for those
            that follow.
    """
    # Not from the context's `params`: a task that names them in its signature has them taken out of it.
    run = context["dag_run"]
    key, asked = run.partition_key, (run.conf or {}).get("partition")
    if asked and "partition" not in context["dag"].params:
        raise UsageError(
            f"the DAG has no parameter partition, and the run was given {asked!r}",
            where=context["dag"].dag_id,
            fix="Trigger it with that as its Partition Key (in the form: Advanced Options)",
        )
    if key and asked and key != asked:
        raise UsageError(
            f"the run's partition key is {key!r}, its parameter partition {asked!r}",
            where=context["dag"].dag_id,
            fix="Trigger it with one of them",
        )
    return key or asked


def run_of(context: Any) -> Run:
    """The model whose DAG this is, opened for the run's partition.

    Raises:
        UsageError: as `partition_of`.
    """
    return _open(context, partition_of(context))


def model_run_of(context: Any) -> Run:
    """The model whose DAG this is, opened for no partition: the run is about a version, or about all there is."""
    return _open(context, None)


def partition_of(context: Any) -> Partition:
    """The partition that the run stands for.

    Raises:
        UsageError: the run was triggered without a partition key, with one that is none of the model's grain, or with
            that of a partition that had not begun, or that is none of the deliveries.
    """
    dag_id, dag_run = context["dag"].dag_id, context["dag_run"]
    spec = catalogue.load(dag_id.split(".")[0])
    grain = spec.grain
    key, at = key_of(context), dag_run.start_date or dag_run.run_after
    try:
        partition = Partition.parse(str(key), grain)
    except DataError:
        raise UsageError(
            f"the run's partition key is {repr(key) if key else 'empty'}, not a {grain}",
            where=dag_id,
            fix=f"Trigger it with one such as {EXAMPLES[grain]}, in the form's "
            + ("field Partition" if "partition" in context["dag"].params else "Advanced Options: Partition Key"),
        ) from None
    spec.require_delivered(partition, at, where=dag_id)
    return partition


def version_of(context: Any) -> str:
    """The model version that the run is about: its partition key, or the parameter ``version``.

    Raises:
        UsageError: the run was triggered without a version's number, or with two.
    """
    run, dag_id = context["dag_run"], context["dag"].dag_id
    key, asked = run.partition_key, (run.conf or {}).get("version")
    if key and asked and str(key) != str(asked):
        raise UsageError(
            f"the run's partition key is {key!r}, its parameter version {asked!r}",
            where=dag_id,
            fix="Trigger it with one of them",
        )
    found = key or asked
    if not is_version(found):
        raise UsageError(
            f"the run's version is {repr(found) if found else 'empty'}, not a version's number",
            where=dag_id,
            fix="Trigger it with that of a registered version, such as 3 (form: version)",
        )
    return str(found)


def note(context: Any, sentence: str) -> None:
    """Say something of the run where people see it: in its note."""
    context["ti"].xcom_push(NOTE, sentence)


def started_by(context: Any) -> set[str]:
    """Names of the assets whose events started the run; none of one that was triggered or backfilled."""
    return {asset.name for asset in context["triggering_asset_events"]}


def emit_each(context: Any, event: Any, keys: Sequence[str], what: str) -> None:
    """Emit an event for each of some partitions, and say so in the run's note; without any, the task is skipped.

    Args:
        keys: in their order.

    Raises:
        AirflowSkipException: there is none.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    if not keys:
        raise AirflowSkipException(f"No other partition is {what}")
    event.add_partitions(list(keys))
    named = ", ".join(keys) if len(keys) <= MOST_NAMED else f"{len(keys)} partitions from {keys[0]} to {keys[-1]}"
    note(context, f"{what}: {named}")


def note_failure(context: Any) -> None:
    """Say in the run's note what failed. Of an error that is none of ours only the kind: it may quote data."""
    error = context.get("exception")
    said = str(error) if isinstance(error, FlightlineError) else f"{type(error).__name__}; its log says more"
    note(context, f"{context['ti'].task_id} failed: {said}")


def _open(context: Any, partition: Partition | None) -> Run:
    # Imported here: parsing a DAG file needs no Delta tables.
    from include.lakehouse.run import open_run

    started = context["dag_run"]
    return open_run(
        context["dag"].dag_id.split(".")[0],
        run_id=started.run_id,
        partition=partition,
        person=started.triggering_user_name,
    )
