"""The demo's closing table: what the tables and the registry say, one line a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from mlflow import MlflowClient
from rich import box
from rich.console import Console
from rich.table import Table

from include.core.listeners import require_ours
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.demo import replay
from include.evaluation import metrics
from include.lakehouse import decisions, windows
from include.lakehouse.decisions import Decision, Kind
from include.lakehouse.schemas import CLEAN, QUARANTINE, RAW
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.runtime.stack import Stack

WIDTH = 190
_WHY = "decision, and why"
_BETWEEN = 3
"""Characters between two columns."""


def collect(
    stack: Stack, spec: ModelSpec, days: int, data: Mapping[str, Any], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Gather the facts of a demo from the lakehouse and the registry; nothing is remembered from the run itself."""
    lake = Lakehouse(str(stack.home / "lakehouse"))
    first = spec.first_partition
    last = first.shift(replay.section(spec).history_partitions - 1 + days)
    measured = {item.partition: item for item in windows.read(spec, lake, first, last)}
    decided = _decisions(lake, spec)
    versions = _versions(stack, spec, lake)
    trained = {version["training_set"]: version for version in versions}
    lines = []
    for number, partition in enumerate(first.to(last)):
        window, decision = measured.get(partition), decided.get(partition.key)
        lines.append(
            {
                "day": number,
                "date": partition.key,
                **_row_counts(spec, lake, partition),
                "metric": window.metric if window else None,
                "drifted_features": list(window.drifted_features) if window else [],
                "decision": decision.outcome if decision else None,
                "reasons": list(decision.reasons) if decision else [],
                "version": window.version if window else None,
                "led_to": _led_to(trained.get(partition.key)),
            }
        )
    return {
        "model": spec.name,
        "grain": spec.grain.value,
        "metric": metrics.of(spec).title,
        "data": dict(data),
        "days": lines,
        "versions": versions,
        "seconds": dict(seconds),
        "total_seconds": round(sum(seconds.values()), 1),
    }


def render(summary: Mapping[str, Any]) -> str:
    """The summary as text for a terminal, one line a partition."""
    out = StringIO()
    console = Console(file=out, width=WIDTH)
    table = Table(title=f"{summary['model']} on {summary['data']['origin']}", title_justify="left", box=box.SIMPLE)
    names = [summary["grain"], "rows in", "accepted", "quarantined", summary["metric"], "drifted", _WHY, "scored by"]
    rows = [_cells(line) for line in summary["days"]]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    left = WIDTH - sum(widths) + widths[names.index(_WHY)] - _BETWEEN * (len(names) + 1)
    for name in names:
        # Of a table that is too wide the reasons are cut, never a figure.
        most = max(left, len(_WHY)) if name == _WHY else None
        table.add_column(name, no_wrap=True, max_width=most, justify="right" if name in names[1:5] else "left")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)
    for version in summary["versions"]:
        scores = f"{summary['metric']} {version['metric']:.3f}"
        if version["baseline_metric"] is not None:
            scores += f" (baseline {version['baseline_metric']:.3f})"
        console.print(
            f"Version {version['version']}, trained after {version['training_set']}: {scores}; {version['verdict']}"
        )
    console.print(f"Time: {summary['total_seconds']:.0f} s")
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def _cells(line: Mapping[str, Any]) -> list[str]:
    value = line["metric"]
    return [
        line["date"],
        *(f"{line[name]:,}" for name in ("rows", "accepted", "quarantined")),
        "" if value is None else f"{value:.3f}",
        ", ".join(line["drifted_features"]),
        _outcome(line),
        f"v{line['version']}" if line["version"] else "none",
    ]


def _led_to(version: Mapping[str, Any] | None) -> str | None:
    if version is None:
        return None
    return f"v{version['version']} {version['verdict'].removesuffix(': passed_all_gates')}"


def _outcome(line: Mapping[str, Any]) -> str:
    text = f"{line['decision']}: {', '.join(line['reasons'])}" if line["decision"] else ""
    return f"{text} -> {line['led_to']}" if line["led_to"] else text


def _decisions(lake: Lakehouse, spec: ModelSpec) -> dict[str, Decision]:
    """Of each window the last decision, and rather one that has seen the labels."""
    found = decisions.history(lake, spec.name, Kind.RETRAINING_POLICY)
    found.sort(key=lambda item: ((item.inputs["window"] or {}).get("metric") is not None, item.decided_at))
    return {item.subject: item for item in found}


def _row_counts(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> dict[str, int]:
    tables = {"rows": RAW, "accepted": CLEAN, "quarantined": QUARANTINE}
    return {name: lake.count(table.of(spec), where=within(partition)) for name, table in tables.items()}


def _versions(stack: Stack, spec: ModelSpec, lake: Lakehouse) -> list[dict[str, Any]]:
    """Every version that a training registered, with its scores and the verdict on it, oldest first."""
    require_ours(stack.mlflow_url, "mlflow")
    client = MlflowClient(stack.mlflow_url)
    verdicts = decisions.history(lake, spec.name)
    found = []
    for registered in client.search_model_versions(f"name='{spec.name}'"):
        number = str(registered.version)
        own = [item for item in verdicts if item.subject == f"version {number}"]
        if not any(item.kind == Kind.REGISTRATION for item in own):
            continue  # by hand
        run = client.get_run(str(registered.run_id))
        # The first one is that on its training: a version may be asked for again when another one serves.
        outcome = next((item for item in own if item.kind in (Kind.PROMOTION, Kind.REJECTION)), None)
        found.append(
            {
                "version": number,
                "stage": registered.tags.get("stage"),
                "training_set": registered.tags["training_set"],
                "fitted_as": run.data.tags["kind"],
                "metric": run.data.metrics[spec.metric],
                "drifted_metric": run.data.metrics.get(f"drifted_{spec.metric}"),
                "baseline_metric": _baseline(client, spec, run),
                "verdict": f"{outcome.outcome}: {_said(outcome.reasons)}" if outcome else "not decided",
            }
        )
    return sorted(found, key=lambda version: int(version["version"]))


def _said(reasons: Sequence[str]) -> str:
    return "; ".join(reason.removeprefix("check:") for reason in reasons)


def _baseline(client: MlflowClient, spec: ModelSpec, run: Any) -> float | None:
    """The metric of the baseline that the same Airflow run has fitted."""
    runs = client.search_runs(
        [run.info.experiment_id],
        f"tags.`airflow.run_id` = '{run.data.tags['airflow.run_id']}' AND tags.kind = 'baseline'",
    )
    return runs[0].data.metrics[spec.metric] if runs else None
