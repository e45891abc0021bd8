"""The steps as commands. Each is a process that imports Feast anew, so it does that the fast way."""

from feast_delta import fast_import

fast_import.enable()
