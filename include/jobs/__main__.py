"""One step of a model's life from the command line: what a DAG's task does, with the same code and the same result.

``python -m include.jobs features.compute_features --model california_housing --partition 2025-01-31``

A step that takes what an earlier one returned takes it as JSON, or as ``@file`` with JSON. Each run has an id of its
own, unless ``--run-id`` gives one: a repetition under the same id replaces what the first one recorded.
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from include.core import catalogue
from include.core.errors import ConfigError, FlightlineError
from include.lakehouse.decisions import canonical_json
from include.lakehouse.run import open_run
from include.orchestration.steps import STEPS, function_of

OFFERED = list(STEPS)


def main(arguments: list[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    given = sys.argv[1:] if arguments is None else arguments
    step = _choose_step(given)
    try:
        function = function_of(step)
        options = _parser(step, function).parse_args(given[1:])
        subject = options.partition or getattr(options, "version", None) or ""
        run_id = options.run_id or f"job__{step}__{subject}__{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        run = open_run(options.model, run_id=run_id, partition=options.partition)
        if run.asked_for:
            run.spec.require_delivered(run.asked_for, datetime.now(UTC), where="--partition")
        refs = {name: getattr(options, name) for name in _parameters(function)}
        result = function(run, **_converted(function, {name: text for name, text in refs.items() if text is not None}))
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(canonical_json(result))
    return 0


def _choose_step(given: list[str]) -> str:
    parser = argparse.ArgumentParser(
        prog="python -m include.jobs",
        description=__doc__,
        epilog="Steps: " + ", ".join(OFFERED),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("step", choices=OFFERED, metavar="<stage>.<step>")
    return str(parser.parse_args(given[:1]).step)


def _parser(step: str, function: Callable[..., Any]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m include.jobs {step}", description=inspect.getdoc(function))
    parser.add_argument("--model", required=True, choices=catalogue.registered())
    parser.add_argument("--partition", help="key of the partition, e.g. 2025-01-31")
    parser.add_argument("--run-id", help="the same for each repetition of one run")
    for name, parameter in _parameters(function).items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, dest=name, required=parameter.default is inspect.Parameter.empty)
    return parser


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """What the step takes beside the run."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


def _converted(function: Callable[..., Any], refs: Mapping[str, str]) -> dict[str, Any]:
    """The texts of the command line as the types that the step takes."""
    hints = get_type_hints(function)
    return {name: _value(name, text, hints[name]) for name, text in refs.items()}


def _value(name: str, text: str, kind: Any) -> Any:
    option = f"--{name.replace('_', '-')}"
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{text[1:]} cannot be read: {error}", where=option) from None
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        return adapter.validate_strings(text)
    except ValidationError as not_text:
        problem: ValidationError = not_text
    try:
        return adapter.validate_python(json.loads(text))
    except json.JSONDecodeError:
        pass
    except ValidationError as not_json:
        problem = not_json
    raise ConfigError(
        f"is not what the step takes: {problem.errors()[0]['msg']}",
        where=option,
        fix="Hand in what the step before returned",
    )


if __name__ == "__main__":
    sys.exit(main())
