"""What features.sql may not call: functions that tell the clock, chance, or the machine.

A day computed again would have other features than it was served with.
"""

from __future__ import annotations

import re
from functools import cache

import duckdb
import sqlglot
from sqlglot.errors import SqlglotError
from sqlglot.tokens import TokenType

from include.core.errors import ConfigError
from include.core.files import read_text
from include.core.spec import ModelSpec

KEYWORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Without parentheses, too."""
_OF_THE_MACHINE = re.compile(r"duckdb_\w+|pragma_\w+|version|getenv")
_TEXTS = (TokenType.STRING, TokenType.IDENTIFIER)


def check(spec: ModelSpec) -> None:
    """Refuse such functions.

    Raises:
        ConfigError: naming one.
    """
    try:
        tokens = sqlglot.tokenize(read_text(spec.folder / "features.sql"), read="duckdb")
    except SqlglotError:
        return  # `query.spark_sql` says so
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        name = token.text.lower()
        called = after is not None and after.token_type is TokenType.L_PAREN
        refused = name in KEYWORDS or (called and (name in _volatile() or _OF_THE_MACHINE.fullmatch(name)))
        if token.token_type not in _TEXTS and (refused or name == "information_schema"):
            raise ConfigError(
                f"calls {name}, which says something else each time, or on each machine",
                where=spec.file("features.sql"),
                fix="Features are of a row and those before it: event_timestamp is its time",
            )


@cache
def _volatile() -> frozenset[str]:
    """DuckDB's functions whose value is not of their arguments alone."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
            "WHERE stability <> 'CONSISTENT' AND lower(function_name) <> 'error'"
        )
        return frozenset(str(name) for (name,) in rows.fetchall())
