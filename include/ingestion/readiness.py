"""What the delivery sensors ask: is it there, and what exactly is waited for. Cheap, and safe to ask often."""

from __future__ import annotations

from include.ingestion.delivery import Delivery, Kind
from include.lakehouse.run import open_run


def batch_delivered(model: str, partition: str) -> bool:
    return _delivery(model, "batches", partition).is_complete()


def batch_marker(model: str, partition: str) -> str:
    return _described("batch", _delivery(model, "batches", partition))


def labels_delivered(model: str, partition: str) -> bool:
    return _delivery(model, "labels", partition).is_complete()


def labels_marker(model: str, partition: str) -> str:
    return _described("labels", _delivery(model, "labels", partition))


def _described(kind: str, delivery: Delivery) -> str:
    return f"the {kind} of {delivery.partition}, marker {delivery.marker}"


def _delivery(model: str, kind: Kind, partition: str) -> Delivery:
    run = open_run(model, partition=partition)
    return Delivery.expected(run.settings, run.spec, kind, run.partition)
