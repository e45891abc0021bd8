"""What the delivery sensors ask: is it there, and what exactly is waited for. Cheap, and safe to ask often."""

from __future__ import annotations

from datetime import date

from include.ingestion.delivery import Delivery, Kind
from include.lakehouse.run import open_workspace


def batch_delivered(model: str, day: str) -> bool:
    return _delivery(model, "batches", day).is_complete()


def batch_marker(model: str, day: str) -> str:
    return f"the batch of {day}, marker {_delivery(model, 'batches', day).marker}"


def labels_delivered(model: str, day: str) -> bool:
    return _delivery(model, "labels", day).is_complete()


def labels_marker(model: str, day: str) -> str:
    return f"the labels of {day}, marker {_delivery(model, 'labels', day).marker}"


def _delivery(model: str, kind: Kind, day: str) -> Delivery:
    workspace = open_workspace(model)
    return Delivery.expected(workspace.places, workspace.spec, kind, date.fromisoformat(day))
