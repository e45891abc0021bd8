"""Command line of the local stack: ``python -m include.runtime up|down|status|demo``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from include.errors import FlightlineError
from include.places import PROJECT_ROOT
from include.runtime.stack import Stack


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flightline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stack")
    commands.add_parser("down", help="stop it")
    commands.add_parser("status", help="what runs")
    demo = commands.add_parser("demo", help="run the whole loop")
    demo.add_argument("--days", type=int, default=10, help="days after the history")
    demo.add_argument("--drift-day", default="4", help="first day that drifts, or none")
    options = parser.parse_args(arguments)
    try:
        stack = local_stack()
        if options.command == "up":
            stack.up()
            print_addresses(stack)
        elif options.command == "down":
            stack.down()
        elif options.command == "status":
            print_status(stack)
        else:
            from include.runtime import demo as loop

            loop.run(stack, loop.Plan.parse(options.days, options.drift_day))
            print_addresses(stack)
    except FlightlineError as error:
        print(f"flightline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped waiting. What was started still runs: `make status`, `make down`.", file=sys.stderr)
        return 130
    return 0


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
