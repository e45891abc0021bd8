"""Check the rows of one batch against its rules, with Great Expectations, inside this process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations import ExpectationSuite
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from include.core.errors import ConfigError
from include.core.spec import ModelSpec
from include.ingestion import data_docs
from include.ingestion.expectations import Rule
from include.ingestion.findings import EXAMPLES, HIDDEN, Failure, Findings, Rows, RuleResult, Severity
from include.ingestion.library import core_types, ephemeral_context

NOT_EVALUATED = "not_evaluated"


@dataclass(frozen=True)
class Judged:
    """What became of one rule."""

    rule: Rule
    rows: Rows | None
    """The failing rows; None where the rule does not name them all, or holds."""
    failure: Failure | None
    observed: float | None = None

    def result(self) -> RuleResult:
        failing = self.failure.count if self.failure else 0
        rule = self.rule
        reason = self.failure.reason if self.failure else rule.reason
        ok = self.failure is None
        return RuleResult(rule.type, rule.columns, reason, rule.severity, ok, failing, self.observed)


_GX_SEVERITY: dict[Severity, FailureSeverity] = {
    "reject_batch": FailureSeverity.CRITICAL,
    "quarantine_row": FailureSeverity.WARNING,
    "warn": FailureSeverity.INFO,
}


def check(
    spec: ModelSpec,
    rules: Sequence[Rule],
    frame: pd.DataFrame,
    *,
    unread: Mapping[str, Rows] | None = None,
    hidden: Collection[str] = (),
    docs_folder: Path | None = None,
) -> Findings:
    """Apply the rules to a typed frame.

    A rule that cannot be evaluated on this batch counts as broken: its reason is ``not_evaluated:<column>``,
    and with severity ``quarantine_row`` it rejects the batch, since nobody knows which rows are good.

    Args:
        frame: the columns of the specification, typed; its index, unnamed, has the positions of the rows.
        unread: by column, the rows whose value could not be cast. They are null in the frame and have their
            reason already: no rule on that column judges them a second time.
        hidden: columns of which no value may be shown; those with ``pii: true`` are among them anyway.
        docs_folder: where to put the Data Docs page of this validation, ``index.html``; none by default.

    Raises:
        ConfigError: as ``suite`` does, before anything of the frame is judged.
    """
    result = _validate(spec, rules, frame)
    hidden = spec.personal_columns.union(hidden)
    found = [_judged(rule, outcome, frame, unread or {}, hidden) for rule, outcome in _by_rule(rules, result)]
    if docs_folder is not None:
        data_docs.write(result, hidden, docs_folder)
    return findings(found)


def judge(
    spec: ModelSpec,
    rules: Sequence[Rule],
    frame: pd.DataFrame,
    *,
    unread: Mapping[str, Rows] | None = None,
    hidden: Collection[str] = (),
) -> list[Judged]:
    """As ``check``, rule by rule: for who looks at a batch in parts."""
    hidden = spec.personal_columns.union(hidden)
    return [
        _judged(rule, outcome, frame, unread or {}, hidden)
        for rule, outcome in _by_rule(rules, _validate(spec, rules, frame))
    ]


def findings(judged: Sequence[Judged]) -> Findings:
    """What the rules say of a batch, from what became of each."""
    rows: dict[str, Rows] = {}
    batch: list[str] = []
    warnings: list[str] = []
    for item in judged:
        rule, failure = item.rule, item.failure
        if failure is None:
            continue
        if rule.severity == "warn":
            warnings.append(failure.reason)
        elif rule.severity == "reject_batch" or item.rows is None:
            batch.append(failure.reason)
        else:
            rows[rule.reason] = np.union1d(rows[rule.reason], item.rows) if rule.reason in rows else item.rows
    return Findings(
        rows,
        tuple(dict.fromkeys(batch)),
        tuple(dict.fromkeys(warnings)),
        tuple(item.failure for item in judged if item.failure),
        tuple(item.result() for item in judged),
    )


def summarize(spec: ModelSpec, judged: Sequence[Judged], rows: int) -> ExpectationSuiteValidationResult:
    """The result of a whole batch, for its Data Docs, from what became of each rule."""
    built = suite(spec, [item.rule for item in judged])
    outcomes = []
    for expectation, item in zip(built.expectations, judged, strict=True):
        failing = item.failure.count if item.failure else 0
        result: dict[str, Any] = {"element_count": rows, "observed_value": item.observed}
        if item.observed is None:
            result = {"element_count": rows, "unexpected_count": failing}
            result["unexpected_percent"] = 100 * failing / max(rows, 1)
            result["partial_unexpected_list"] = list(item.failure.examples) if item.failure else []
        outcomes.append(
            ExpectationValidationResult(
                success=item.failure is None, expectation_config=expectation.configuration, result=result
            )
        )
    passed = sum(bool(outcome.success) for outcome in outcomes)
    return ExpectationSuiteValidationResult(
        success=passed == len(outcomes),
        results=outcomes,
        suite_name=spec.name,
        statistics={
            "evaluated_expectations": len(outcomes),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(outcomes) - passed,
            "success_percent": 100 * passed / max(len(outcomes), 1),
        },
        meta={"great_expectations_version": gx.__version__, "batch_spec": {}, "run_id": None},
    )


def suite(spec: ModelSpec, rules: Sequence[Rule]) -> ExpectationSuite:
    """The rules as Great Expectations has them.

    Raises:
        ConfigError: a value that its key does not take; the text names file and key.
    """
    expectations = [_expectation(rule, number) for number, rule in enumerate(rules)]
    return ExpectationSuite(name=spec.name, expectations=expectations)


def _expectation(rule: Rule, number: int) -> Expectation:
    try:
        return core_types()[rule.type](**rule.arguments, meta={"rule": number}, severity=_GX_SEVERITY[rule.severity])
    except ValueError as error:  # pydantic's own, of its old interface
        problem = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": str(error)}
        key = ".".join(str(part) for part in problem["loc"] if part != "__root__")
        raise ConfigError(str(problem["msg"]), where=f"{rule.place}.{key}" if key else rule.place) from None


def _validate(spec: ModelSpec, rules: Sequence[Rule], frame: pd.DataFrame) -> ExpectationSuiteValidationResult:
    judging = suite(spec, rules)
    context = ephemeral_context()
    asset = context.data_sources.add_pandas(spec.name).add_dataframe_asset(spec.name)
    batch = asset.add_batch_definition_whole_dataframe(spec.name).get_batch({"dataframe": frame})
    # COMPLETE caps the list of values at 200, but not that of index values. The query repeats it as text.
    result_format = {
        "result_format": "COMPLETE",
        "partial_unexpected_count": EXAMPLES,
        "return_unexpected_index_query": False,
    }
    with np.errstate(over="ignore"):  # a mean of huge values is infinite, and out of range
        return batch.validate(context.suites.add(judging), result_format=result_format)


def _by_rule(
    rules: Sequence[Rule], result: ExpectationSuiteValidationResult
) -> list[tuple[Rule, ExpectationValidationResult]]:
    """Results in the order of the rules; Great Expectations returns them in an order of its own."""
    outcomes = {_rule_number(outcome): outcome for outcome in result.results}
    return [(rule, outcomes[number]) for number, rule in enumerate(rules)]


def _rule_number(outcome: ExpectationValidationResult) -> int:
    config = outcome.expectation_config
    assert config is not None
    assert config.meta is not None
    return int(config.meta["rule"])


def _judged(
    rule: Rule,
    outcome: ExpectationValidationResult,
    frame: pd.DataFrame,
    unread: Mapping[str, Rows],
    hidden: Collection[str],
) -> Judged:
    observed = outcome.result.get("observed_value")
    number = float(observed) if isinstance(observed, int | float | np.number) else None
    if outcome.success:
        return Judged(rule, None, None, number)
    found = _failing_rows(rule, outcome, unread)
    if found is not None and not found.size:
        return Judged(rule, None, None, number)
    failure = _failure(rule, outcome, frame, found)
    if set(rule.columns) & set(hidden):
        failure = replace(failure, examples=(HIDDEN,))
    return Judged(rule, found, failure, number)


def _failing_rows(rule: Rule, outcome: ExpectationValidationResult, unread: Mapping[str, Rows]) -> Rows | None:
    """The failing rows; None where the rule does not name them all."""
    listed = outcome.result.get("unexpected_index_list")
    if listed is None or len(listed) != outcome.result.get("unexpected_count"):
        return None
    found = np.sort(np.asarray(listed, dtype=np.int64))
    for column in rule.columns:
        if column in unread:
            found = np.setdiff1d(found, unread[column], assume_unique=True)
    return found


def _failure(rule: Rule, outcome: ExpectationValidationResult, frame: pd.DataFrame, found: Rows | None) -> Failure:
    if found is not None:
        examples = tuple(
            ", ".join("null" if pd.isna(value) else str(value) for value in row)
            for row in frame.loc[found[:EXAMPLES], list(rule.columns)].itertuples(index=False)
        )
        return Failure(rule.reason, rule.severity, int(found.size), examples)
    problem = _problem(outcome)
    if problem:
        reason = ":".join([NOT_EVALUATED, ",".join(rule.columns) or rule.type])
        return Failure(reason, rule.severity, 0, (problem,))
    observed = outcome.result.get("observed_value")
    return Failure(rule.reason, rule.severity, 0, (f"observed {observed}",))


def _problem(outcome: ExpectationValidationResult) -> str:
    """Why an expectation could not be evaluated, or nothing."""
    info: dict[str, Any] = outcome.exception_info or {}
    # Either one such record, or one for each metric that failed.
    records = [info] if "raised_exception" in info else list(info.values())
    return next((str(record["exception_message"]) for record in records if record.get("raised_exception")), "")
