"""The rules of one model: ``expectations.yaml``, checked against the types of expectations and the columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.core.yaml_file import read_yaml
from include.ingestion.expectation_types import KINDS, NEEDS_SQL, Kind
from include.lakehouse.decisions import Reason

FILE = "expectations.yaml"

Severity = Literal["reject_batch", "quarantine_row", "warn"]

_ONE_COLUMN = ("column", "column_A", "column_B")
_MANY_COLUMNS = ("column_list", "column_set")


@dataclass(frozen=True)
class Rule:
    """One entry of ``expectations.yaml``."""

    place: str
    """Where it is written, e.g. ``include/models/x/expectations.yaml: expectations[3]``."""
    type: str
    severity: Severity
    columns: tuple[str, ...]
    arguments: Mapping[str, Any]
    """What Great Expectations gets, e.g. ``{"column": "longitude", "min_value": -124.5}``."""
    reason: str
    """The reason code of a failure, e.g. ``out_of_range:longitude``."""


def load(spec: ModelSpec) -> list[Rule]:
    """Read and check the rules of a model.

    Whether a value fits its key, e.g. ``min_value`` is a number, only Great Expectations knows:
    ``validation.rules.suite`` checks that.

    Raises:
        ConfigError: a type that Great Expectations does not have, a column that the model does not have, an
            unknown or missing key; the text names file and key.
    """
    path = spec.folder / FILE
    where = spec.file(FILE)
    content = read_yaml(path)
    entries = content.get("expectations") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(entries, list):
        raise ConfigError("expectations: a list of expectations is needed", where=where)
    unknown = sorted(str(key) for key in set(content) - {"expectations"})
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown key", where=where, fix="Known keys: expectations")
    rules = [_rule(spec, f"{where}: expectations[{number}]", entry) for number, entry in enumerate(entries)]
    _check_different(rules)
    return rules


def _check_different(rules: list[Rule]) -> None:
    # Whatever their severity: of two that say the same one is a mistake.
    for number, rule in enumerate(rules):
        for earlier in rules[:number]:
            if (rule.type, rule.arguments) == (earlier.type, earlier.arguments):
                raise ConfigError(
                    f"checks the same as {earlier.place.rsplit(' ', 1)[-1]}",
                    where=rule.place,
                    fix="Remove one",
                )


def _rule(spec: ModelSpec, place: str, entry: object) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigError("is no mapping with type and severity", where=place)
    arguments = {str(key): value for key, value in entry.items()}
    type_ = arguments.pop("type", None)
    if not isinstance(type_, str) or type_ not in KINDS:
        raise _wrong_type(f"{place}.type", type_)
    kind = KINDS[type_]
    severity = _severity(place, type_, kind, arguments.pop("severity", None))
    _check_keys(place, kind, arguments)
    columns = tuple(_columns(spec, place, arguments))
    return Rule(place, type_, severity, columns, arguments, _reason(spec, type_, columns))


def _wrong_type(where: str, type_: object) -> ConfigError:
    if isinstance(type_, str) and type_ in NEEDS_SQL:
        return ConfigError(
            f"{type_} works in a SQL database only, and a batch is a file",
            where=where,
            fix=f"Use {NEEDS_SQL[type_]}",
        )
    return ConfigError(
        f"{type_!r} is no core expectation of Great Expectations",
        where=where,
        fix="They are listed on greatexpectations.io/expectations",
    )


def _severity(place: str, type_: str, kind: Kind, severity: object) -> Severity:
    if severity not in get_args(Severity):
        raise ConfigError(
            f"is {severity!r}",
            where=f"{place}.severity",
            fix="Set it to one of " + ", ".join(get_args(Severity)),
        )
    if severity == "quarantine_row" and not kind.on_rows:
        raise ConfigError(
            f"{type_} judges the batch, not its rows",
            where=f"{place}.severity",
            fix="Use reject_batch or warn",
        )
    return cast(Severity, severity)


def _check_keys(place: str, kind: Kind, arguments: Mapping[str, Any]) -> None:
    for key in arguments:
        if key not in kind.keys:
            raise ConfigError("unknown key", where=f"{place}.{key}", fix="Known keys: " + ", ".join(sorted(kind.keys)))
    for key in kind.required:
        if key not in arguments:
            raise ConfigError("is missing", where=f"{place}.{key}")


def _columns(spec: ModelSpec, place: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    named = [(key, arguments[key]) for key in _ONE_COLUMN if key in arguments]
    for key in _MANY_COLUMNS:
        listed = arguments.get(key, [])
        if not isinstance(listed, list):
            raise ConfigError("is no list of columns", where=f"{place}.{key}")
        named += [(f"{key}[{number}]", column) for number, column in enumerate(listed)]
    for key, column in named:
        if not isinstance(column, str) or column not in spec.columns:
            raise ConfigError(
                f"column {column!r} is not among the columns of model.yaml",
                where=f"{place}.{key}",
                fix="They are " + ", ".join(spec.columns),
            )
        yield column


def _reason(spec: ModelSpec, type_: str, columns: tuple[str, ...]) -> str:
    reason = KINDS[type_].reason
    if type_.startswith("expect_table_") or not columns:
        return reason.value
    unique = (Reason.DUPLICATE_VALUE, Reason.DUPLICATE_COMBINATION)
    if reason in unique and sorted(columns) == sorted(spec.entity.keys):
        reason = Reason.DUPLICATE_KEY
    return reason.about(",".join(columns))
