"""Command line of the local stack: ``python -m include.runtime up|down|status``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from include.core.errors import FlightlineError
from include.core.settings import PROJECT_ROOT
from include.runtime.stack import Stack


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flightline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stack")
    commands.add_parser("down", help="stop it")
    commands.add_parser("status", help="what runs")
    options = parser.parse_args(arguments)
    return saying_errors(lambda: _carry_out(options.command))


def saying_errors(action: Callable[[], None]) -> int:
    """Run a command; what a person can mend is said in one line. Returns the exit code."""
    try:
        action()
    except FlightlineError as error:
        print(f"flightline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped waiting. What was started still runs: `make status`, `make down`.", file=sys.stderr)
        return 130
    return 0


def _carry_out(command: str) -> None:
    stack = local_stack()
    if command == "up":
        stack.up()
        print_addresses(stack)
    elif command == "down":
        stack.down()
    else:
        print_status(stack)


def local_stack() -> Stack:
    """The stack of this project folder, at the places that the environment may override."""
    ports = {
        name: int(os.environ[variable])
        for name, variable in (("airflow", "AIRFLOW_PORT"), ("mlflow", "MLFLOW_PORT"), ("feast", "FEAST_PORT"))
        if os.environ.get(variable, "").isdigit()
    }
    return Stack(Path(os.environ.get("FLIGHTLINE_VAR", PROJECT_ROOT / "var")), ports)


def print_addresses(stack: Stack) -> None:
    print(f"\n  Airflow  {stack.airflow_url}   user admin, password in {stack.password_file}")
    print(f"  MLflow   {stack.mlflow_url}")
    print(f"  Feast    {stack.feast_url}")
    print(f"  Logs     {stack.home / 'log'}        shell: . {stack.home / 'env'}        stop: make down\n")


def print_status(stack: Stack) -> None:
    for service in stack.status():
        state = f"process {service.pid}" if service.pid else "not running"
        print(f"  {service.name:<14} {state:<16} {service.address if service.pid else ''}")


if __name__ == "__main__":
    sys.exit(main())
