"""Command line of the demo: ``python -m include.demo [--model california_housing] [--days 10] [--drift-day 4]``."""

from __future__ import annotations

import argparse
import sys

from include.demo import loop
from include.demo.loop import Plan
from include.runtime.__main__ import local_stack, print_addresses, saying_errors


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flightline demo", description=__doc__)
    parser.add_argument("--model", default=loop.MODEL, help="which one is played")
    parser.add_argument("--days", default="", help="partitions after the history; as its model.yaml says by default")
    parser.add_argument("--drift-day", default="", help="first of them that drifts, or none")
    options = parser.parse_args(arguments)

    def play() -> None:
        plan = Plan.parse(options.model, options.days, options.drift_day)
        stack = local_stack()
        loop.run(stack, plan)
        print_addresses(stack)

    return saying_errors(play)


if __name__ == "__main__":
    sys.exit(main())
