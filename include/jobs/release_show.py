"""What a version is, and whether it is that still: ``make release-show VERSION=3``.

The parts of its release with their digests, each held against what is there now; where it was, by whom it was asked for
and approved, and what was measured when it was fitted. Nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from include.core import catalogue
from include.core.errors import FlightlineError, StackError, TamperedError, UsageError
from include.core.release import ReleasePart
from include.core.text import aligned, shown
from include.evaluation import metrics
from include.lakehouse import alias_history, decisions
from include.lakehouse.run import Run, open_run
from include.registry import approval, registration, release, versions
from include.registry.release import Change, Release
from include.registry.versions import Version

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
"""MLflow's client asks for minutes before it says that nobody answers: who types a command wants to know at once."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every part is as it was approved; 1 otherwise, also where there is no such version."""
    parser = argparse.ArgumentParser(prog="release-show", description=__doc__)
    parser.add_argument("version", help="number of the version; by default that in production")
    parser.add_argument("--model", default="california_housing", choices=catalogue.registered())
    options = parser.parse_args(arguments)
    os.environ.setdefault(RETRIES, "1")
    try:
        run = open_run(options.model)
        same, lines = _described(run, _version(run, options.version))
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0 if same else 1


def _version(run: Run, number: str) -> Version:
    from mlflow.exceptions import MlflowException

    if not number:
        serving = alias_history.current(run.lake, run.spec.name)
        if serving is None:
            raise UsageError("no version is in production", where=run.spec.name, fix="make release-show VERSION=1")
        number = serving.version
    try:
        return versions.get(run.spec, number)
    except MlflowException:
        raise StackError(
            "MLflow does not answer", where=run.settings.mlflow_uri, fix="Start the stack (make up), or see its log"
        ) from None


def _described(run: Run, version: Version) -> tuple[bool, list[str]]:
    told = registration.all_of(run.spec, run.lake).get(version.version)
    made = list(_decided(run, version))
    judged, named = _known(run, version)
    same, parts = _parts(run, version, judged)
    lines = [f"{run.spec.name} version {version.version}: {version.stage}", "", *_periods(run, version), ""]
    lines += [f"asked for by {approval.requester(run, version) or 'no person'}; {named}"]
    lines += ["", *parts]
    if told:
        chosen = {run.spec.metric: metrics.of(run.spec), **metrics.METRICS}
        tags = told.tags
        promised = [f"{item.title} {item.shown(float(tags[name]))}" for name, item in chosen.items() if name in tags]
        lines += ["", f"promised: {', '.join(dict.fromkeys(promised))}"]
    if made:
        lines += ["", aligned([("decided", "what", "by", "because"), *made])]
    return same, lines


def _known(run: Run, version: Version) -> tuple[Release | None, str]:
    """The release that was approved, else the one that was judged last; and which of them it is."""
    if found := release.approved(run.spec, run.lake, version):
        return found, f"approved as release {found.digest}"
    if found := release.judged(run.spec, run.lake, version):
        return found, f"judged, not approved, as release {found.digest}"
    return None, "it has no release: no production gate has judged it"


def _parts(run: Run, version: Version, judged: Release | None) -> tuple[bool, list[str]]:
    try:
        registration.require(run.spec, run.lake, version)
        now = release.of(run.spec, run.lake, version)
    except TamperedError as error:
        return False, [f"not as it was registered: {error.what}"]
    changed: dict[ReleasePart, Change] = {item.part: item for item in (judged.changes(now) if judged else ())}
    digests = judged.digests if judged else now.digests
    rows = [
        (release.TITLES[part], digest[: release.SHORT], _today(judged, changed.get(part)))
        for part, digest in digests.items()
    ]
    return not changed, [aligned([("part", "SHA-256", "today"), *rows])]


def _today(judged: Release | None, change: Change | None) -> str:
    if judged is None:
        return "as it is now"
    return f"another: {', '.join(change.names)}" if change else "the same"


def _periods(run: Run, version: Version) -> Iterator[str]:
    found = [item for item in alias_history.periods(run.lake, run.spec.name) if item.version == version.version]
    for item in found:
        end = f"{item.valid_to:%Y-%m-%d %H:%M}" if item.valid_to else "now"
        yield f"in production from {item.valid_from:%Y-%m-%d %H:%M} to {end} (UTC)"
    if not found:
        yield "never in production"


def _decided(run: Run, version: Version) -> Iterator[tuple[str, str, str, str]]:
    subject = registration.subject(version)
    found = decisions.history(run.lake, run.spec.name, subject=subject)
    for item in sorted(found, key=lambda item: item.recorded_at):
        what = f"{item.kind.replace('_', ' ')}: {item.outcome.replace('_', ' ')}"
        yield f"{item.recorded_at:%Y-%m-%d %H:%M}", what, shown(item.actor), shown(", ".join(item.reasons))


if __name__ == "__main__":
    sys.exit(main())
