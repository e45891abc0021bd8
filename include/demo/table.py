"""The demo's closing table: what the tables and the registry say, one line a day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from io import StringIO
from typing import Any

from mlflow import MlflowClient
from rich import box
from rich.console import Console
from rich.table import Table

from include.core.settings import Places
from include.core.spec import ModelSpec
from include.lakehouse import decisions, windows
from include.lakehouse.decisions import Decision
from include.lakehouse.tables import Lakehouse
from include.monitoring import review
from include.runtime.stack import Stack

WIDTH = 160


def collect(
    stack: Stack, spec: ModelSpec, days: int, data: Mapping[str, Any], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Gather the facts of a demo from the lakehouse and the registry; nothing is remembered from the run itself."""
    lake = Lakehouse(Places("dev", str(stack.home / "landing"), str(stack.home / "lakehouse"), stack.mlflow_url))
    first = spec.deliveries.first_day
    measured = {item.window: item for item in windows.history(spec, lake, upto=first + timedelta(days=days))}
    decided = _decisions(lake, spec)
    versions = _versions(stack, spec, lake)
    trained = {version["requested_for"]: version for version in versions}
    lines = []
    for number in range(days + 1):
        day = first + timedelta(days=number)
        metrics, decision = measured.get(day), decided.get(day.isoformat())
        lines.append(
            {
                "day": number,
                "date": day.isoformat(),
                **_row_counts(spec, lake, day),
                "adjusted_r2": metrics.adjusted_r2 if metrics else None,
                "drifted_features": list(metrics.drifted_features) if metrics else [],
                "decision": decision.outcome if decision else None,
                "reasons": list(decision.reasons) if decision else [],
                "version": metrics.version if metrics else None,
                "led_to": _led_to(trained.get(day.isoformat())),
            }
        )
    return {
        "model": spec.name,
        "data": dict(data),
        "days": lines,
        "versions": versions,
        "seconds": dict(seconds),
        "total_seconds": round(sum(seconds.values()), 1),
    }


def render(summary: Mapping[str, Any]) -> str:
    """The summary as text for a terminal, one line a day."""
    out = StringIO()
    console = Console(file=out, width=WIDTH)
    table = Table(title=f"{summary['model']} on {summary['data']['origin']}", title_justify="left", box=box.SIMPLE)
    for name, justify in (
        ("day", "left"),
        ("rows in", "right"),
        ("accepted", "right"),
        ("quarantined", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("adj. R2", justify="right", no_wrap=True)
    table.add_column("drifted", no_wrap=True)
    table.add_column("decision, and why", no_wrap=True)
    table.add_column("scored by", no_wrap=True)
    for line in summary["days"]:
        r2 = line["adjusted_r2"]
        table.add_row(
            line["date"],
            *(f"{line[name]:,}" for name in ("rows", "accepted", "quarantined")),
            "" if r2 is None else f"{r2:.3f}",
            ", ".join(line["drifted_features"]),
            _outcome(line),
            f"v{line['version']}" if line["version"] else "none",
        )
    console.print(table)
    for version in summary["versions"]:
        scores = f"adjusted R2 {version['adjusted_r2']:.3f}, RMSE {version['rmse']:,.0f}"
        if version["baseline_adjusted_r2"] is not None:
            scores += f" (baseline {version['baseline_adjusted_r2']:.3f})"
        console.print(
            f"Version {version['version']}, trained {version['training_set']}: {scores}; {version['verdict']}"
        )
    console.print(f"Time: {summary['total_seconds']:.0f} s")
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def _led_to(version: Mapping[str, Any] | None) -> str | None:
    if version is None:
        return None
    return f"v{version['version']} {version['verdict'].removesuffix(': passed_all_gates')}"


def _outcome(line: Mapping[str, Any]) -> str:
    text = f"{line['decision']}: {', '.join(line['reasons'])}" if line["decision"] else ""
    return f"{text} -> {line['led_to']}" if line["led_to"] else text


def _decisions(lake: Lakehouse, spec: ModelSpec) -> dict[str, Decision]:
    """Of each window the last decision, and rather one that has seen the labels."""
    found = decisions.history(lake, spec.name, review.KIND)
    found.sort(key=lambda item: ((item.inputs["window"] or {}).get("adjusted_r2") is not None, item.decided_at))
    return {item.subject: item for item in found}


def _row_counts(spec: ModelSpec, lake: Lakehouse, day: date) -> dict[str, int]:
    def count(layer: str) -> int:
        rows = lake.read_if_exists(spec.table(layer), where=[("batch_date", "=", day)])
        return 0 if rows is None else rows.num_rows

    return {"rows": count("raw"), "accepted": count("clean"), "quarantined": count("quarantine")}


def _versions(stack: Stack, spec: ModelSpec, lake: Lakehouse) -> list[dict[str, Any]]:
    """Every registered version with its scores and the verdict on it, oldest first."""
    client = MlflowClient(stack.mlflow_url)
    verdicts = decisions.history(lake, spec.name)
    found = []
    for registered in client.search_model_versions(f"name='{spec.name}'"):
        run = client.get_run(str(registered.run_id))
        number = str(registered.version)
        own = [item for item in verdicts if item.subject == f"version {number}"]
        outcome = next((item for item in reversed(own) if item.kind in ("promotion", "rejection")), None)
        found.append(
            {
                "version": number,
                "stage": registered.tags.get("stage"),
                "training_set": registered.tags["training_set"],
                "requested_for": _requested_for(spec, registered.tags["training_set"]),
                "fitted_as": run.info.run_name,
                "adjusted_r2": run.data.metrics["adjusted_r2"],
                "recent_adjusted_r2": run.data.metrics.get("recent_adjusted_r2"),
                "rmse": run.data.metrics["rmse"],
                "baseline_adjusted_r2": _baseline(client, run),
                "verdict": f"{outcome.outcome}: {'; '.join(outcome.reasons)}" if outcome else "not decided",
            }
        )
    return sorted(found, key=lambda version: int(version["version"]))


def _requested_for(spec: ModelSpec, training_set: str) -> str:
    """The day after whose labels the training set was built."""
    return (date.fromisoformat(training_set) - timedelta(days=spec.deliveries.label_delay_days)).isoformat()


def _baseline(client: MlflowClient, run: Any) -> float | None:
    """Adjusted R2 of the baseline that the same Airflow run has fitted."""
    runs = client.search_runs(
        [run.info.experiment_id],
        f"tags.`airflow.run_id` = '{run.data.tags['airflow.run_id']}' AND attributes.run_name = 'baseline'",
    )
    return runs[0].data.metrics["adjusted_r2"] if runs else None
