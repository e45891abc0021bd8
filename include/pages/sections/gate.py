"""A gate: its checks, what was compared, and the release that was judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.evaluation import metrics
from include.lakehouse.comparisons import Finding
from include.lakehouse.decisions import Decision
from include.lakehouse.run import Run
from include.pages.section import Row, Section, Table
from include.pages.sections import plain
from include.registry import release
from include.registry.checks.check import shown as number_shown


def gate(run: Run, decision: Decision) -> Section:
    checks = decision.inputs["checks"]
    failed = sum(not check["passed"] for check in checks)
    said = f"{len(checks)} checks passed" if not failed else f"{failed} of {len(checks)} checks failed"
    compared, shown_metric = decision.inputs["compared_with"], metrics.of(run.spec).shown
    return plain.section(
        decision,
        f"{decision.subject.capitalize()}: {said}",
        sentences=[f"Compared with version {compared}, in production then."] if compared else [],
        facts=_comparison(run, next((found for check in checks if (found := check.get("comparison"))), None)),
        tables=[
            Table(
                "Checks",
                ("Check", "Observed", "Threshold", "", "What was found"),
                [
                    Row(
                        (
                            plain.words(check["name"]),
                            number_shown(check.get("value")),
                            number_shown(check.get("threshold")),
                            "passed" if check["passed"] else "failed",
                            check["detail"],
                        ),
                        "" if check["passed"] else "bad",
                    )
                    for check in sorted(checks, key=lambda check: check["passed"])
                ],
            ),
            _release(decision),
            Table(
                "Slices, beside the version in production",
                ("Slice", "Rows", "Gain", "surely above", "surely below", ""),
                [
                    Row(
                        (
                            found["slice"],
                            found["rows"],
                            *(shown_metric(found[name]) for name in ("gain", "lower_bound", "upper_bound")),
                            plain.words(found["outcome"]),
                        ),
                        "bad" if found["outcome"] == Finding.SURELY_WORSE else "",
                    )
                    for check in checks
                    for found in check.get("slices", ())
                ],
                "All bounds hold together, with the confidence of the check.",
            ),
            Table(
                "What each check asks",
                ("Check", "It asks"),
                [Row((plain.words(check["name"]), check["asks"])) for check in checks if check.get("asks")],
            ),
        ],
    )


def _release(decision: Decision) -> Table:
    """What was judged: an approval is of these parts."""
    found = release.read(decision)
    rows = (
        [Row((release.TITLES[part], digest[: release.SHORT])) for part, digest in found.digests.items()]
        if found
        else []
    )
    title = f"Release {found.digest[: release.SHORT]}" if found else ""
    return Table(title, ("Part", "SHA-256"), rows, "Any part that is another one at promotion voids the approval.")


def _comparison(run: Run, found: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """The gain on the version in production, and how sure it had to be; a gate that compared nothing has none."""
    if found is None:
        return []
    shown = metrics.of(run.spec).shown
    return [
        ("Gain", shown(found["gain"])),
        ("surely more than", shown(found["lower_bound"])),
        ("Seen in 80 % of cases", shown(found["detectable_gain"])),
        ("Least that matters", shown(found["minimum_gain"])),
        (f"Candidate since version {found['production_version']}", found["number"]),
        ("Its alpha", f"{found['alpha']:.2g}"),
    ]
