"""Errors that a user can act on: what happened, where, and what to do."""

from __future__ import annotations


class FeastDeltaError(Exception):
    """An expected failure. Its text is one line: what happened, where, what to do."""

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(": ".join(part for part in (where, what) if part) + (f". {fix}" if fix else ""))


class ConfigError(FeastDeltaError):
    """feature_store.yaml or a definition is wrong."""


class AddressError(ConfigError):
    """The address of the online store cannot be used."""


class DataError(FeastDeltaError):
    """Data that is needed is absent, or not of the form that is needed."""


class OnlineStoreError(FeastDeltaError):
    """The online store is not there, or does not let us in."""
