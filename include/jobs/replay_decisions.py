"""Take every decision of the retraining policy again, from what it recorded: ``make replay-decisions``.

What says something else now was not recorded whole, or the policy's code has changed. Where model.yaml has another
policy today, the decisions are listed that it would take otherwise. Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from include.core import catalogue
from include.core.errors import FlightlineError
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.core.text import aligned
from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.tables import Lakehouse
from include.monitoring.policy import Verdict
from include.monitoring.replay import Replayed, replay


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if each one says the same again; 1 otherwise, also where there is none."""
    parser = argparse.ArgumentParser(prog="replay-decisions", description=__doc__)
    parser.add_argument("--model", default="california_housing", choices=catalogue.registered())
    options = parser.parse_args(arguments)
    try:
        spec, settings = catalogue.load(options.model), Settings.load(need=("lakehouse_uri",))
        found = decisions.history(Lakehouse(settings.lakehouse_uri), spec.name, Kind.RETRAINING_POLICY)
        if not found:
            print(f"error: the policy of {spec.name} has decided nothing yet", file=sys.stderr)
            return 1
        return _report(spec, [(item, replay(spec, item)) for item in found])
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _report(spec: ModelSpec, found: Sequence[tuple[Decision, Replayed | None]]) -> int:
    replayed = [item for _, item in found if item is not None]
    others = [item for item in replayed if not item.is_same]
    print(
        f"{spec.name}: {len(replayed)} of {len(found)} decisions taken again, {len(replayed) - len(others)} as before"
    )
    if len(replayed) < len(found):
        print(f"{len(found) - len(replayed)} were recorded without all that they took, and cannot be")
    if others:
        print(f"\nSaid otherwise:\n{_table(others, [item.again for item in others])}")
    if differing := [item for item in replayed if item.differs_today]:
        print(f"\nBy today's {spec.file()}:\n{_table(differing, [item.now for item in differing])}")
    return 1 if others else 0


def _table(items: Sequence[Replayed], verdicts: Sequence[Verdict]) -> str:
    lines = [("", "decided", "was", "is")]
    for item, verdict in zip(items, verdicts, strict=True):
        was = f"{item.decision.outcome} ({', '.join(item.decision.reasons)})"
        said = f"{verdict.outcome} ({', '.join(verdict.reasons)})"
        lines.append((item.decision.subject, f"{item.decision.recorded_at:%Y-%m-%d %H:%M}", was, said))
    return aligned(lines)


if __name__ == "__main__":
    sys.exit(main())
