"""What the command lines of all jobs share: arguments, the result as JSON, errors in one line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from datetime import date
from typing import Any

from include.core import catalogue
from include.core.errors import FlightlineError
from include.lakehouse.run import Workspace, open_workspace


def run_for_day(stage: str, action: Callable[[Workspace, date, str], Any]) -> None:
    """Run ``python -m include.jobs.<stage> --model M --partition 2025-01-31`` and exit.

    Args:
        action: of the workspace, the day and a run id that is the same for each repetition.
    """
    parser = _parser(stage)
    parser.add_argument("--partition", required=True, type=date.fromisoformat, help="the day, as 2025-01-31")
    arguments = parser.parse_args()
    run_id = f"job__{stage}__{arguments.partition}"
    _exit_with(lambda: action(open_workspace(arguments.model), arguments.partition, run_id))


def run_for_version(stage: str, action: Callable[[Workspace, str, str], Any]) -> None:
    """Run ``python -m include.jobs.<stage> --model M --version 3`` and exit."""
    parser = _parser(stage)
    parser.add_argument("--version", required=True, type=int, help="number of a registered version")
    arguments = parser.parse_args()
    run_id = f"job__{stage}__{arguments.version}"
    _exit_with(lambda: action(open_workspace(arguments.model), str(arguments.version), run_id))


def _parser(stage: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m include.jobs.{stage}")
    parser.add_argument("--model", required=True, choices=catalogue.registered())
    return parser


def _exit_with(action: Callable[[], Any]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        result = action()
    except FlightlineError as error:
        sys.exit(f"error: {error}")
    plain = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
    print(json.dumps(plain, default=str))
