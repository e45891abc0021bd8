"""Who is told what happened to a model: the section ``notify`` of model.yaml."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from include.core.sections import Section


class Occasion(StrEnum):
    """What is told."""

    ASKED = "asked"
    """A person is asked whether a version goes into production, or the answer was refused."""
    REMINDED = "reminded"
    """Nobody has answered yet."""
    PROMOTED = "promoted"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    INCIDENT = "incident"
    """The policy asks for a training, or for a person to look."""
    RECOVERED = "recovered"
    """The windows are as they should be again, after an incident that was told."""


class Notification(Section):
    """One place that is told."""

    kind: Literal["email", "slack", "webhook"]
    """``slack``: a webhook that takes Slack's texts, as Mattermost's does. ``webhook``: one that takes JSON."""
    connection: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    """The id of a connection of Airflow: there its address is, and its secret."""
    to: tuple[Annotated[str, Field(pattern=r"^[^@\s,;]+@[^@\s,;]+$")], ...] = ()
    """Of e-mail: its addresses."""
    occasions: tuple[Occasion, ...] = Field(default=tuple(Occasion), min_length=1)
    """By default all."""

    @model_validator(mode="after")
    def _addressed(self) -> Notification:
        if bool(self.to) != (self.kind == "email"):
            raise ValueError("to is missing" if self.kind == "email" else f"to is of e-mail, and kind is {self.kind}")
        return self
