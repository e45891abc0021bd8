"""Command line of the local stack: ``python -m include.runtime up|down|status``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from include.core.errors import FlightlineError
from include.core.settings import PROJECT_ROOT
from include.runtime.stack import Stack
from include.runtime.tracking_server import USER


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
        if os.environ.get(variable, "").isdecimal()
    }
    return Stack(Path(os.environ.get("FLIGHTLINE_VAR", PROJECT_ROOT / "var")), ports)


def print_addresses(stack: Stack) -> None:
    print(f"\n  Airflow  {stack.airflow_url}   user admin, password in {stack.password_file}")
    print(f"  MLflow   {stack.mlflow_url}   user {USER}, password: MLFLOW_TRACKING_PASSWORD in {stack.home / 'env'}")
    print(f"  Feast    {stack.feast_url}")
    print(f"  Logs     {stack.home / 'log'}        shell: . {stack.home / 'env'}        stop: make down\n")


def print_status(stack: Stack) -> None:
    services = stack.status()
    for service in services:
        state = f"process {service.pid}" if service.pid else "not running"
        since = f"since {_time(service.since)}" if service.since else ""
        print(f"  {service.name:<14} {state:<16} {since:<18} {service.address if service.pid else ''}".rstrip())
        if service.restarts:
            times = "once" if service.restarts == 1 else f"{service.restarts} times"
            print(f"  {'':<14} started again {times}, last because it {service.reason}")
        if service.left:
            print(f"  {'':<14} left over: {', '.join(map(str, service.left))}")
    if any(service.pid for service in services):
        print(f"\n  Log in  Airflow: admin, password in {stack.password_file}")
        print(f"          MLflow: {USER}, password: MLFLOW_TRACKING_PASSWORD in {stack.home / 'env'}")
    if any(service.pid or service.left for service in services) and not stack.is_supervised():
        print("\n  Nobody supervises them: what dies stays so. `make up` starts them anew, `make down` ends them.")


def _time(since: float) -> str:
    """The time of day, with the date if that was another one."""
    then, now = datetime.fromtimestamp(since, UTC).astimezone(), datetime.now(UTC).astimezone()
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"


if __name__ == "__main__":
    sys.exit(main())
