"""The rules of expectations.yaml as a suite of Great Expectations, checked inside this process."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from string import Template
from typing import Any, TypeGuard

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations import core
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.render.renderer.inline_renderer import InlineRenderer

from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.core.text import shown
from include.ingestion.expectations import EXAMPLES, HIDDEN, Failure, Rule, RuleOutcome, Severity
from include.ingestion.rows import Rows, are_among, ascending
from include.ingestion.scan import row_numbers
from include.lakehouse.decisions import Reason

CAST_ERRORS = "(not shown: a row has a cell that does not fit its column)"

_GX_SEVERITY: dict[Severity, FailureSeverity] = {
    "reject_batch": FailureSeverity.CRITICAL,
    "quarantine_row": FailureSeverity.WARNING,
    "warn": FailureSeverity.INFO,
}

_SENTENCES: dict[str, str] = {}
"""By type and arguments of an expectation."""


@dataclass(frozen=True)
class Told:
    """One expectation and what became of it, for a person."""

    expected: str
    severity: Severity
    held: bool
    rows: int
    """Failing rows; 0 where it is about the batch as a whole."""
    observed: float | None
    examples: tuple[str, ...]


@cache
def core_types() -> dict[str, type[Expectation]]:
    """Great Expectations' own core expectations by type, e.g. ``expect_column_values_to_be_between``."""
    classes = (value for value in vars(core).values() if isinstance(value, type) and issubclass(value, Expectation))
    # One class is there for its old name only and has no type of its own.
    return {cls.expectation_type: cls for cls in classes if cls.expectation_type}


def frame(columns: pa.Table) -> pd.DataFrame:
    """The typed columns as rules are checked on them: integers and dates stay so where there are nulls."""
    with_nulls = {name for name in columns.column_names if columns[name].null_count}
    typed = columns.to_pandas(integer_object_nulls=True, types_mapper={pa.date32(): pd.ArrowDtype(pa.date32())}.get)
    for item in columns.schema:
        if pa.types.is_integer(item.type) and item.name in with_nulls:
            typed[item.name] = typed[item.name].astype("Int64")
    return typed


def check(
    spec: ModelSpec,
    rules: Sequence[Rule],
    frame: pd.DataFrame,
    *,
    cast_errors: Mapping[str, Rows] | None = None,
    hidden: Collection[str] = (),
) -> list[RuleOutcome]:
    """Apply the rules to a typed frame, in their order.

    A rule that cannot be evaluated on this batch counts as broken: its reason is ``not_evaluated:<column>``,
    and with severity ``quarantine_row`` it rejects the batch, since nobody knows which rows are good.

    Args:
        frame: the columns of the specification, typed; its index, unnamed, has the positions of the rows.
        cast_errors: by column, the rows whose value could not be cast. They are null in the frame and have their
            reason already: no rule on that column checks them a second time. No cell of such a row is shown.
        hidden: columns of which no value may be shown; those with ``pii: true`` are among them anyway.

    Raises:
        ConfigError: as ``build`` does, before anything of the frame is checked.
    """
    result = _validate(spec, rules, frame)
    hidden = spec.personal_columns.union(hidden)
    # Great Expectations returns them in an order of its own.
    found = {_rule_number(outcome): outcome for outcome in result.results}
    errors = cast_errors or {}
    failed_casts = ascending(*errors.values())
    return [_outcome(rule, found[number], frame, errors, failed_casts, hidden) for number, rule in enumerate(rules)]


def conceal(outcome: RuleOutcome, hidden: Collection[str]) -> RuleOutcome:
    """The outcome, and none of the values where one of its columns is hidden."""
    if not set(outcome.rule.columns) & set(hidden):
        return outcome
    failure = outcome.failure and replace(outcome.failure, examples=(HIDDEN,))
    return replace(outcome, failure=failure, observed=None)


def tell(spec: ModelSpec, outcomes: Sequence[RuleOutcome], hidden: Collection[str]) -> list[Told]:
    """What was expected, in Great Expectations' words, and what was found.

    Args:
        hidden: columns of which no value may be shown.
    """
    expectations = build(spec, [outcome.rule for outcome in outcomes]).expectations
    return [
        Told(
            expected=_in_words(expectation, outcome.rule),
            severity=outcome.rule.severity,
            held=outcome.success,
            rows=outcome.failure.count if outcome.failure else 0,
            observed=None if set(outcome.rule.columns) & set(hidden) else outcome.observed,
            examples=outcome.failure.examples if outcome.failure else (),
        )
        for expectation, outcome in zip(expectations, outcomes, strict=True)
    ]


def build(spec: ModelSpec, rules: Sequence[Rule]) -> ExpectationSuite:
    """The rules as Great Expectations has them.

    Raises:
        ConfigError: a value that its key does not take; the text names file and key.
    """
    expectations = [_expectation(rule, number) for number, rule in enumerate(rules)]
    return ExpectationSuite(name=spec.name, expectations=expectations)


def _in_words(expectation: Expectation, rule: Rule) -> str:
    """The sentence of an expectation. It is made once: that takes nearly as long as the check itself."""
    key = f"{rule.type} {rule.arguments!r}"
    if key not in _SENTENCES:
        _SENTENCES[key] = _rendered(expectation, rule)
    return _SENTENCES[key]


def _rendered(expectation: Expectation, rule: Rule) -> str:
    """The sentence that Great Expectations' own pages have: text, in which every value stands as it is."""
    for content in InlineRenderer(render_object=expectation.configuration).get_rendered_content():
        if template := content.value.template:
            values = {name: given.get("value") for name, given in (content.value.params or {}).items()}
            return Template(template).safe_substitute(values)
    return " ".join([*rule.columns, rule.type.replace("_", " ")])


def _expectation(rule: Rule, number: int) -> Expectation:
    try:
        return core_types()[rule.type](**rule.arguments, meta={"rule": number}, severity=_GX_SEVERITY[rule.severity])
    except ValueError as error:  # pydantic's own, of its old interface
        problem = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": str(error)}
        key = ".".join(str(part) for part in problem["loc"] if part != "__root__")
        raise ConfigError(str(problem["msg"]), where=f"{rule.place}.{key}" if key else rule.place) from None


def _validate(spec: ModelSpec, rules: Sequence[Rule], frame: pd.DataFrame) -> ExpectationSuiteValidationResult:
    built = build(spec, rules)
    batch = _whole_frame().get_batch({"dataframe": frame})
    # COMPLETE caps the list of values at 200, but not that of index values. The query repeats it as text.
    result_format = {
        "result_format": "COMPLETE",
        "partial_unexpected_count": EXAMPLES,
        "return_unexpected_index_query": False,
    }
    with np.errstate(over="ignore"):  # a mean of huge values is infinite, and out of range
        return batch.validate(built, result_format=result_format)


@cache
def _whole_frame() -> BatchDefinition:
    """What a frame is given to, made once: chunks are checked rule by rule, and it takes longer than such a check."""
    source = _ephemeral_context().data_sources.add_pandas("deliveries")
    return source.add_dataframe_asset("delivery").add_batch_definition_whole_dataframe("whole")


def _ephemeral_context() -> EphemeralDataContext:
    """A context in memory: no file, no temporary folder, no progress bar, nothing sent to anybody."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(project_config=config, mode="ephemeral")


def _rule_number(outcome: ExpectationValidationResult) -> int:
    config = outcome.expectation_config
    assert config is not None
    assert config.meta is not None
    return int(config.meta["rule"])


def _outcome(
    rule: Rule,
    outcome: ExpectationValidationResult,
    frame: pd.DataFrame,
    cast_errors: Mapping[str, Rows],
    failed_casts: Rows,
    hidden: Collection[str],
) -> RuleOutcome:
    observed = outcome.result.get("observed_value")
    number = float(observed) if _is_number(observed) else None
    rows = None if outcome.success else _failing_rows(rule, outcome, cast_errors)
    if outcome.success or (rows is not None and not rows.size):
        return conceal(RuleOutcome(rule, observed=number), hidden)
    failure = _failure(rule, outcome, frame, rows, failed_casts)
    return conceal(RuleOutcome(rule, rows, failure, number), hidden)


def _failing_rows(rule: Rule, outcome: ExpectationValidationResult, cast_errors: Mapping[str, Rows]) -> Rows | None:
    """The failing rows; None where the rule does not name them all."""
    listed = outcome.result.get("unexpected_index_list")
    if listed is None or len(listed) != outcome.result.get("unexpected_count"):
        return None
    found = np.sort(np.asarray(listed, dtype=np.int64))
    for column in rule.columns:
        if column in cast_errors:
            found = found[~are_among(found, cast_errors[column])]
    return found


def _failure(
    rule: Rule, outcome: ExpectationValidationResult, frame: pd.DataFrame, found: Rows | None, failed_casts: Rows
) -> Failure:
    if found is not None:
        first = found[~are_among(found, failed_casts)][:EXAMPLES]
        examples = tuple(
            ", ".join("null" if pd.isna(value) else shown(value) for value in row)
            for row in frame.loc[first, list(rule.columns)].itertuples(index=False)
        )
        return Failure(rule.reason, rule.severity, int(found.size), examples or row_numbers(found))
    problem = _problem(outcome)
    if problem:
        reason = Reason.NOT_EVALUATED.about(",".join(rule.columns) or rule.type)
        return Failure(reason, rule.severity, 0, (problem,))
    observed = outcome.result.get("observed_value")
    said = (f"observed {observed}",) if _is_number(observed) or not failed_casts.size else (CAST_ERRORS,)
    return Failure(rule.reason, rule.severity, 0, said)


def _problem(outcome: ExpectationValidationResult) -> str:
    """Which kind of error kept an expectation from being evaluated, or nothing. What it says may quote any cell."""
    info: dict[str, Any] = outcome.exception_info or {}
    # Either one such record, or one for each metric that failed.
    records = [info] if "raised_exception" in info else list(info.values())
    raised = [str(record["exception_traceback"]) for record in records if record.get("raised_exception")]
    if not raised:
        return ""
    kinds = (name for text in raised for name in re.findall(r"^(?:\w+\.)*(\w+)(?=:|$)", text, re.MULTILINE))
    known = next((name for name in kinds if _is_error(getattr(builtins, name, None))), "an error")
    return f"cannot be evaluated: {known}"


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float | np.number)
