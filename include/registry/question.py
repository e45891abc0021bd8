"""What a person is shown who decides on a version: by whom it is asked for, checks, comparison, drift. Markdown."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from include.core import duration
from include.core.text import in_markdown, table_in_markdown
from include.evaluation import metrics
from include.lakehouse import decisions, windows
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.run import Run
from include.registry import approval, release
from include.registry.checks.check import shown
from include.registry.registration import subject
from include.registry.versions import Version
from include.training.card import FILE

Inputs = Mapping[str, Any]


def describe(run: Run, version: Version) -> str:
    """The evidence on a version, by what this run has decided on it."""
    gates = {kind: _last(run, version, kind) for kind in (Kind.PRODUCTION_GATE, Kind.STAGING_GATE)}
    checks = [check for found in gates.values() if found for check in found.inputs["checks"]]
    judged = gates[Kind.PRODUCTION_GATE]
    parts = [
        _who(run, version),
        _against_production(run, judged),
        _checks(checks),
        _drift(run),
        _card(version),
        _release(judged),
    ]
    return "\n\n".join(part for part in parts if part)


def evidence(run: Run, version: Version) -> str:
    """A digest of what the gates have found: an answer is on that."""
    gates = (_last(run, version, kind) for kind in (Kind.PRODUCTION_GATE, Kind.STAGING_GATE))
    told = decisions.canonical_json([gate.inputs if gate else None for gate in gates])
    return hashlib.sha256(told.encode()).hexdigest()


def _who(run: Run, version: Version) -> str:
    policy = run.spec.approval
    asked_by = approval.requester(run, version)
    said = [
        f"Asked for by {asked_by or 'no person'}"
        + (", who may not approve it." if asked_by and not policy.requester_approves else "."),
        f"{', '.join(policy.approvers) or 'Whoever may answer here'} may answer"
        + (f"; {policy.persons} persons have to approve." if policy.persons > 1 else "."),
        f"No answer within {duration.said(policy.times_out_after)} is a no.",
    ]
    for answer in approval.approvals(run, version):
        said.append(f"Approved by {answer.person}" + (f": {answer.comment}" if answer.comment else "."))
    return in_markdown(" ".join(" ".join(said).split()))


def _against_production(run: Run, gate: Decision | None) -> str:
    if gate is None or not gate.inputs["compared_with"]:
        return "**Against production:** no version is there yet."
    found = next((made for check in gate.inputs["checks"] if (made := check.get("comparison"))), None)
    if found is None:
        return f"**Against production:** not compared with version {gate.inputs['compared_with']}."
    metric = metrics.of(run.spec)
    rows = [
        ("against version", f"gain in {metric.title}", "surely more than", "least that matters", "rows", "candidate"),
        (
            str(found["production_version"]),
            metric.shown(found["gain"]),
            metric.shown(found["lower_bound"]),
            metric.shown(found["minimum_gain"]),
            f"{found['rows']:,}",
            f"{found['number']}, alpha {found['alpha']:.2g}",
        ),
    ]
    return f"**Against production**\n\n{table_in_markdown(rows)}"


def _checks(checks: list[Inputs]) -> str:
    """Those of the production gate first, and slices among them."""
    rows = [
        (
            check["name"],
            check.get("asks", ""),
            *(shown(check.get(name)) for name in ("value", "threshold")),
            "passed" if check["passed"] else "**failed**",
            check["detail"],
        )
        for check in checks
    ]
    head = ("check", "it asks", "observed", "threshold", "verdict", "reason")
    return f"**Checks**\n\n{table_in_markdown([head, *rows])}"


def _drift(run: Run) -> str:
    window = windows.newest(run.spec, run.lake)
    if window is None:
        return "**Drift:** no window is measured yet."
    scored = f"of version {window.version}" if window.version else "in which nothing was scored"
    metric, title = metrics.of(run.spec), f"**Drift**, window {window.partition} {scored}:"
    measured = "unknown" if window.metric is None else metric.shown(window.metric)
    drifted = [f"{name} ({window.distances[name][0]:.2f})" for name in window.drifted_features if window.distances]
    return f"{title} {metric.title} {measured}; drifted: {in_markdown(', '.join(drifted) or 'nothing')}."


def _card(version: Version) -> str:
    where = f"{FILE} of the run {version.run_id} in MLflow: data, slices, limits, lineage"
    return f"**Model card:** {in_markdown(where)}."


def _release(gate: Decision | None) -> str:
    """What is approved, and what voids it."""
    found = release.read(gate)
    if found is None:
        return ""
    parts = f"**Release** {found.digest[: release.SHORT]}: {', '.join(release.TITLES.values())}."
    return f"{parts} A part that is another one at promotion voids the answer."


def _last(run: Run, version: Version, kind: Kind) -> Decision | None:
    found = decisions.history(run.lake, run.spec.name, kind, since=version.known_at, subject=subject(version))
    ours = [item for item in found if item.run_id == run.run_id] or found
    return max(ours, key=lambda item: item.recorded_at, default=None)
