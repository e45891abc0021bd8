"""Texts as categories: what ``features.categories`` of model.yaml makes of the text columns of features.sql.

The encoding is SQL that stands around features.sql, so it is the same on DuckDB and on Spark. It does as scikit-learn's
``OrdinalEncoder`` (codes) and ``OneHotEncoder(handle_unknown="ignore")`` do, with the categories given.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from include.core.category import OTHER, Category
from include.core.errors import ConfigError, DataError
from include.core.spec import ModelSpec
from include.core.text import shown
from include.ingestion.scan import looks_personal
from include.lakehouse.schemas import EVENT_TIMESTAMP

SELECTED = "selected"
"""What the encoding calls the rows of features.sql."""
MOST_SHOWN = 3
"""Texts of a message."""


def encode(spec: ModelSpec, selected: pa.Table) -> pa.Table:
    """What features.sql selects with its texts encoded, in its order: a feature of 0/1 stands where its text stood.

    Raises:
        ConfigError: as `check`.
        DataError: a text is not among the values of a category that has ``unseen: fail``.
    """
    check(spec, selected.schema)
    if not spec.features.categories:
        return selected
    _refuse_unseen(spec, selected)
    with duckdb.connect(config={"python_enable_replacements": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register(SELECTED, selected)
        return connection.sql(sql(spec, selected.schema.names)).to_arrow_table().combine_chunks()


def sql(spec: ModelSpec, columns: list[str]) -> str:
    """The SELECT that encodes `SELECTED`, in DuckDB's dialect.

    Args:
        columns: those that features.sql selects.
    """
    lines = [line for column in columns for line in _of(column, spec.features.categories.get(column))]
    return f"SELECT {', '.join(lines)} FROM {SELECTED}"


def check(spec: ModelSpec, selected: pa.Schema) -> None:
    """Hold the declared categories against what features.sql selects.

    Raises:
        ConfigError: one is not selected, is no text, or is of the key; a text is no category; a 0/1 feature has the
            name of another.
    """
    categories, own = spec.features.categories, (*spec.entity.keys, EVENT_TIMESTAMP)
    for name in categories:
        key = f"key features.categories.{name}"
        if name in own:
            raise ConfigError(f"{key}: {name} names a row, and is no feature", where=spec.file(), fix="Remove it there")
        if name not in selected.names:
            raise ConfigError(f"{key}: features.sql selects no {name}", where=spec.file())
        if selected.field(name).type != pa.string():
            raise ConfigError(
                f"{key}: features.sql selects it as {selected.field(name).type}, and a category is a text",
                where=spec.file(),
                fix="Remove it there, or CAST it to VARCHAR in features.sql",
            )
    for field in selected:
        if field.type == pa.string() and field.name not in categories and field.name not in own:
            raise ConfigError(
                f"selects {field.name}, a text, and no feature is one",
                where=spec.file("features.sql"),
                fix=f"Say in {spec.file()}, under features, which texts it has: "
                f"categories: {{{field.name}: {{values: [...], unseen: missing}}}}",
            )
    known = {name: f"{name} of features.sql" for name in selected.names if name not in categories}
    for column, category in categories.items():
        names = category.one_hot(column) if category.encode == "one_hot" else (column,)
        for name in names:
            said = f"the feature {name} of features.categories.{column}"
            if (other := known.setdefault(name, said)) != said:
                raise ConfigError(
                    f"{said} has the name of {other}",
                    where=spec.file(),
                    fix=f"Have features.sql select {column} by another name",
                )


def described(spec: ModelSpec, feature: str) -> str:
    """What a 0/1 feature that a category makes says; empty of any other."""
    for column, category in spec.features.categories.items():
        names = category.one_hot(column) if category.encode == "one_hot" else {}
        if feature in names:
            return f"1 if {column} is {names[feature] or 'none of the others'}"
    return ""


def _of(column: str, category: Category | None) -> Iterator[str]:
    """What is selected of a column."""
    name = _quoted(column)
    if category is None:
        yield name
        return
    known = ", ".join(_literal(value) for value in category.values)
    # Says it on Spark; in this process `_refuse_unseen` has said it before, with the texts.
    stop = f"error({_literal(f'{column} has a text that model.yaml does not name')})"
    if category.encode == "codes":
        cases = [f"WHEN {name} = {_literal(value)} THEN {code}" for value, code in category.codes.items()]
        if category.unseen != "missing":
            cases.append(f"WHEN {name} IS NOT NULL THEN {0 if category.unseen == OTHER else stop}")
        yield f"CASE {' '.join(cases)} END AS {name}"
        return
    refused = f"WHEN {name} NOT IN ({known}) THEN {stop} " if category.unseen == "fail" else ""
    for feature, value in category.one_hot(column).items():
        case = f"{name} NOT IN ({known})" if value is None else f"{name} = {_literal(value)}"
        yield f"CASE WHEN {case} THEN 1 {refused}ELSE 0 END AS {_quoted(feature)}"
        refused = ""  # once is enough


def _refuse_unseen(spec: ModelSpec, selected: pa.Table) -> None:
    for column, category in spec.features.categories.items():
        if category.unseen != "fail":
            continue
        texts = selected[column].drop_null()
        strangers = texts.filter(pc.invert(pc.is_in(texts, value_set=pa.array(category.values))))
        if len(strangers):
            raise DataError(
                f"{column} has texts that are not among its values, in {len(strangers)} rows: {_some(strangers)}",
                where=f"{spec.file()}: features.categories.{column}",
                fix="Append them to the values, have `unseen` say what they become, or have the sender mend them",
            )


def _some(texts: pa.ChunkedArray) -> str:
    """The most frequent ones; no personal data, which columns hold in spite of what model.yaml says of them."""
    counts = sorted(texts.value_counts().to_pylist(), key=lambda item: (-item["counts"], item["values"]))
    found = [item["values"] for item in counts]
    hidden = set(looks_personal(pa.array(found, pa.string())).tolist())
    said = [repr(shown(text)) for place, text in enumerate(found) if place not in hidden][:MOST_SHOWN]
    return ", ".join([*said, "…"] if len(said) < len(found) else said)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
