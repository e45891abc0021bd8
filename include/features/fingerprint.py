"""How each feature is made, as a text that changes only where the meaning of the SQL may have changed.

Comments, line breaks and features that nobody asked for do not count: a team that adds a feature to features.sql has
not changed those that a version was fitted to.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from include.core import duration
from include.core.files import read_text
from include.core.spec import ModelSpec
from include.lakehouse.schemas import EVENT_TIMESTAMP

ROWS = "rows"
"""What says which rows there are: all of the statement but for the columns that it selects."""


def of(spec: ModelSpec, features: Collection[str]) -> dict[str, str]:
    """By feature the SQL that makes it, `ROWS`, and the lookback. What a text is encoded to is the version's own affair
    (`fitted_categories`).

    Args:
        features: those of a version. One that the SQL does not name by itself, as where it selects ``*`` or unites
            several statements, changes with all of it.
    """
    lookback = {"lookback": duration.said(spec.features.lookback)} if spec.features.lookback else {}
    text = read_text(spec.folder / "features.sql")
    try:
        # To sqlglot a comment behind the semicolon is a statement, too.
        (query,) = (part for part in sqlglot.parse(text, read="duckdb") if isinstance(part, exp.Query))
    except (SqlglotError, ValueError):
        return lookback | {ROWS: text}
    selected = {item.alias_or_name: item for item in query.expressions} if isinstance(query, exp.Select) else {}
    made_of = {
        flag: column
        for column, category in spec.features.categories.items()
        if category.encode == "one_hot"
        for flag in category.one_hot(column)
    }
    columns = {name: made_of.get(name, name) for name in features}
    always = (*spec.entity.keys, EVENT_TIMESTAMP)
    if not {*columns.values(), *always} <= selected.keys():
        return lookback | {ROWS: _sql(query)}
    found = {name: _sql(selected[column]) for name, column in columns.items()}
    keys = [item for name, item in selected.items() if name in always]
    return lookback | found | {ROWS: _sql(query.copy().select(*keys, append=False))}


def _sql(part: exp.Expr) -> str:
    return part.sql("duckdb", comments=False)
