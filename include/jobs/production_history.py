"""Which version was in production, from when to when, and by whom: ``make production-history``.

``AT=2026-11-22T10:00`` asks for one moment of the clock, in UTC where no zone is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from include.core import catalogue
from include.core.errors import FlightlineError, UsageError
from include.core.settings import Settings
from include.lakehouse.tables import Lakehouse
from include.registry import tenures


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if a version was in production then; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="production-history", description=__doc__)
    parser.add_argument("--model", default="california_housing", choices=catalogue.registered())
    parser.add_argument("--at", default="", help="a moment of the clock; all of the history by default")
    options = parser.parse_args(arguments)
    try:
        spec, settings = catalogue.load(options.model), Settings.load(need=("lakehouse_uri",))
        found = tenures.read(spec, Lakehouse(settings.lakehouse_uri))
        if options.at:
            one = tenures.at(found, _moment(options.at))
            found = [one] if one else []
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not found:
        print(f"no version of {spec.name} was in production{' then' if options.at else ' yet'}")
        return 1
    print(tenures.told(spec, found))
    return 0


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no moment", where="AT", fix="Such as 2026-11-22T10:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(main())
