"""Who lets a version into production: the section ``approval`` of model.yaml."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.core.duration import Wait
from include.core.release import ReleaseRule
from include.core.sections import Section
from include.core.text import is_one_line

User = Annotated[str, Field(min_length=1, max_length=200)]


class Approval(Section):
    """Who approves a promotion, by environment; and where a person does: who may, how many, and how long they have."""

    dev: Literal["automatic", "person"]
    prod: Literal["automatic", "person"]
    alias_moved: Literal["put_back", "adopt"] = "put_back"
    """What becomes of the alias ``production`` that somebody moved in MLflow. ``put_back``: that run is red once.
    ``adopt``: the version goes into production, if it has been there or passed its gates; else it is put back."""
    approvers: tuple[User, ...] = ()
    """The users of Airflow who may answer, by name. By default whoever may answer there."""
    persons: Literal[1, 2] = 1
    """How many have to approve: 2 are two different ones. One who rejects suffices."""
    requester_approves: bool = False
    """Whether who asked for the promotion may approve it, too."""
    remind_after: Wait | None = None
    """How long after the question those of ``notify`` are reminded, once; half of ``times_out_after`` by default."""
    times_out_after: Wait = timedelta(days=3)
    """How long a person has. No answer is a no."""
    release: ReleaseRule = ReleaseRule()

    @property
    def reminds_after(self) -> timedelta:
        return self.remind_after or self.times_out_after / 2

    @model_validator(mode="after")
    def _can_be_answered(self) -> Approval:
        for name in self.approvers:
            if name != name.strip() or not is_one_line(name):
                raise ValueError(f"approvers: {name!r} is no user's name")
            if self.approvers.count(name) > 1:
                raise ValueError(f"approvers: {name} is named more than once")
        if 0 < len(self.approvers) < self.persons:
            raise ValueError(f"persons: is {self.persons}, and approvers names {len(self.approvers)}")
        if self.remind_after is not None and self.remind_after >= self.times_out_after:
            raise ValueError("remind_after is not before times_out_after")
        return self
