"""A delivered file that cannot be read: which reason, and how it is told without what the file holds."""

from __future__ import annotations

from include.core.errors import DeliveryError

LET_READ = "Let the account that Airflow's workers run as read it"
REDELIVER = "Have the sender deliver it again"


class BadFile(DeliveryError):
    """A delivery that can be seen but not be read: its batch is rejected, the file stays where it is."""

    def __init__(self, reason: str, what: str, *, where: str, fix: str) -> None:
        super().__init__(what, where=where, fix=fix)
        self.reason = str(reason)
        """The reason code, e.g. ``malformed_csv``."""


def position(column: int) -> str:
    """How a column is named that the model does not declare: what its file calls it may be anything."""
    return f"#{column + 1}"
