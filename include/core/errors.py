"""Errors that a user can act on: what happened, where, and what to do."""

from __future__ import annotations


class FlightlineError(Exception):
    """An expected failure. Its text is one line: what happened, where, what to do."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(": ".join(part for part in (where, what) if part) + (f". {fix}" if fix else ""))


class ConfigError(FlightlineError):
    """A configuration file or an environment variable is wrong; raised when it is loaded."""


class DeliveryError(FlightlineError):
    """A delivery is missing, incomplete or unreadable."""


class RejectedError(DeliveryError):
    """Nothing of a delivery is used. The same again is rejected again, so it is not retried (`orchestration.defaults`):
    a person has to ask the sender."""


class DataError(FlightlineError):
    """Data that is needed is absent or breaks a rule of the package."""


class TamperedError(DataError):
    """What is there is not what was recorded. No repetition mends it: a person has to look."""


class UsageError(DataError):
    """What was asked for cannot be: no such partition, no such version, nothing to do. The same again fails the same,
    so it is not retried (`orchestration.defaults`)."""


class StackError(FlightlineError):
    """The local stack cannot start, stop or be reached."""
