"""One run of a step: the model, its stores, and the partition that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from include.core import catalogue
from include.core.errors import UsageError
from include.core.partition import Partition
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.lakehouse import decisions
from include.lakehouse.decisions import Actor, Kind, Outcome
from include.lakehouse.schemas import CLEAN, RAW, ModelTable, Table
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse


@dataclass(frozen=True)
class Run:
    """What every step of every stage is given."""

    spec: ModelSpec
    settings: Settings
    lake: Lakehouse
    run_id: str
    """Of the Airflow run or the job; the same for a retry."""
    asked_for: Partition | None = None
    """None where the run is about a version."""
    person: str = Actor.PERSON
    """Who started it by hand, by name where it is known."""

    @property
    def partition(self) -> Partition:
        """The partition that the run is about.

        Raises:
            UsageError: it was started without one.
        """
        if self.asked_for is None:
            raise UsageError(
                "the run has no partition", where=self.spec.name, fix="Start it with a partition key such as 2025-01-31"
            )
        return self.asked_for

    def require_batch(self, *others: Table) -> None:
        """Refuse a partition of which there is nothing: then there is nothing to do.

        Args:
            others: tables whose rows of the partition would do, too.

        Raises:
            UsageError: no batch of it has ever been taken in, or it could not be read.
        """
        tables = [self.table(table) for table in (CLEAN, RAW, *others)]
        if not any(self.lake.count(table, where=within(self.partition)) for table in tables):
            raise UsageError(
                f"there is nothing to do: no rows of {self.partition} are in {', '.join(t.name for t in tables)}",
                where=self.spec.name,
                fix=f"Run {self.spec.name}.ingest_batch for it, once it is delivered",
            )

    def is_accepted(self) -> bool:
        """Whether a row of the partition's batch is accepted now."""
        return self.lake.count(self.table(CLEAN), where=within(self.partition)) > 0

    def require_accepted(self) -> None:
        """Refuse a partition of which no row is accepted: its batch was rejected or withdrawn, or there is none.

        Raises:
            UsageError: so it is; the message says which.
        """
        if self.is_accepted():
            return
        self.require_not_refused()
        self.require_batch()
        raise UsageError(f"no row of {self.partition} is accepted", where=self.spec.name, fix=self._come_back)

    def require_not_refused(self) -> None:
        """Refuse a partition whose batch was rejected or withdrawn by what was last decided on it.

        Raises:
            UsageError: naming when and why.
        """
        last = decisions.on_batch(self.lake, self.spec.name, self.partition)
        if last is not None and last.outcome in (Outcome.REJECT_BATCH, Outcome.WITHDRAWN):
            how = "rejected" if last.outcome == Outcome.REJECT_BATCH else "withdrawn"
            why = last.inputs.get("comment") or ", ".join(last.reasons)
            raise UsageError(
                f"the batch of {self.partition} is {how} ({why})", where=self.spec.name, fix=self._come_back
            )

    def require_withdrawn(self) -> None:
        """Refuse to take out what follows from a batch that is accepted.

        Raises:
            UsageError: it is.
        """
        if self.is_accepted():
            raise UsageError(
                f"the batch of {self.partition} is accepted",
                where=self.spec.name,
                fix=f"Withdraw it first: {self.spec.name}.withdraw_batch does all of it",
            )

    @property
    def _come_back(self) -> str:
        name = self.spec.name
        return f"{name}.ingest_batch of a corrected delivery brings it back, or {name}.reprocess_quarantine"

    def table(self, table: Table) -> ModelTable:
        """The model's table of a declaration."""
        return table.of(self.spec)

    def labels_available_at(self) -> datetime:
        """The moment at which the labels of the run's partition have arrived, as far as the schedule promises."""
        return self.partition.labels_available_at(self.spec.deliveries.label_delay)

    def decide(
        self,
        kind: Kind,
        outcome: Outcome,
        reasons: Sequence[str],
        *,
        subject: str | None = None,
        at: datetime | None = None,
        about: datetime | None = None,
        actor: str = Actor.POLICY,
        inputs: Mapping[str, Any] | None = None,
        follows: Sequence[BaseModel] = (),
    ) -> str:
        """Record a decision; the same run deciding again on the same subject replaces its own row.

        Args:
            reasons: codes of `decisions.Reason`, each alone or with what it is about behind a colon.
            subject: what was decided on; the partition by default.
            at: UTC time of the data that was known; when the partition was complete by default.
            about: a UTC time that is the same for each retry; when the partition was complete by default.
            inputs: what it was made from: anything that JSON, dataclasses and dates can express.
            follows: the parts of model.yaml that were applied.

        Returns:
            The decision's id.
        """
        return decisions.record(
            self.lake,
            self.spec,
            kind=kind,
            subject=subject or self.partition.key,
            outcome=outcome,
            reasons=reasons,
            inputs=inputs or {},
            decided_at=at or self.partition.end,
            actor=self.person if actor == Actor.PERSON else actor,
            policy_hash=decisions.policy_hash(*follows),
            run_id=self.run_id,
            about=about or self.partition.end,
        )


def open_run(
    model: str, *, run_id: str = "", partition: Partition | str | None = None, person: str | None = None
) -> Run:
    """Open a registered model on the places that the environment names.

    Args:
        partition: one, or its key.
        person: the name of whoever started it.

    Raises:
        ConfigError: the model or the environment is not configured rightly.
        UsageError: the key is none of the model's grain.
    """
    spec, settings = catalogue.load(model), Settings.load()
    if isinstance(partition, str):
        partition = Partition.parse(partition, spec.grain)
    return Run(spec, settings, Lakehouse(settings.lakehouse_uri), run_id, partition, person or Actor.PERSON)
