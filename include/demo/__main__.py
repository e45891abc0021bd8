"""Command line of the demo: ``python -m include.demo [--days 10] [--drift-day 4]``."""

from __future__ import annotations

import argparse
import sys

from include.demo import loop
from include.demo.loop import Plan
from include.runtime.__main__ import local_stack, print_addresses, saying_errors


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="flightline demo", description=__doc__)
    parser.add_argument("--days", type=int, default=10, help="days after the history")
    parser.add_argument("--drift-day", default="4", help="first day that drifts, or none")
    options = parser.parse_args(arguments)

    def play() -> None:
        stack = local_stack()
        loop.run(stack, Plan.parse(options.days, options.drift_day))
        print_addresses(stack)

    return saying_errors(play)


if __name__ == "__main__":
    sys.exit(main())
