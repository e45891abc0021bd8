"""Days that come when what was delivered long ago is beyond its time, in the stack in which the demo was played."""

from __future__ import annotations

from pathlib import Path

from include.core import catalogue
from include.core.settings import Settings
from include.features import store as feature_store
from include.ingestion.delivery import Delivery
from tests.played import LATE_MODEL, Played, wait_for

KEYS = 100
"""Of a day, no two of them of one day."""


def test_keys_beyond_their_time_stop_no_day_and_are_served_no_more(played: Played) -> None:
    spec = catalogue.load(LATE_MODEL, Path(played.environment()["FLIGHTLINE_MODELS"]))
    assert spec.features.ttl_days == 40
    days = [spec.first_partition.shift(1), spec.first_partition.shift(100)]
    (example,) = Path(played.delivery("batches", played.day(1)).folder).glob("*.csv")
    header, *lines = example.read_text().splitlines()
    assert header.startswith("listing_id,")
    keys = [range(1, 1 + KEYS), range(1001, 1001 + KEYS)]
    for name in ("ingest_batch", "build_features"):
        dag = f"{spec.name}.{name}"
        wait_for(lambda dag=dag: dag in played.airflow.dag_ids(spec.name), f"{dag} to be there")
        played.airflow.unpause(dag)

    served = []
    for day, numbers in zip(days, keys, strict=True):
        rows = [f"{number},{line.partition(',')[2]}" for number, line in zip(numbers, lines, strict=False)]
        delivery = Delivery.expected(Settings(landing_uri=f"{played.stack.home}/landing"), spec, "batches", day)
        delivery.write("rows.csv", "\n".join([header, *rows, ""]).encode())
        played.finish(played.airflow.trigger(f"{spec.name}.ingest_batch", partition=day.key))

        def built(key: str = day.key) -> list[str]:
            runs = played.airflow.runs(f"{spec.name}.build_features")
            return [run.state for run in runs if run.partition == key and run.finished]

        assert wait_for(built, f"the features of {day}") == ["success"]
        served.append([count_served(spec.feature_service, numbers) for numbers in keys])
    assert served[0][0] > 0.9 * KEYS, "a few rows wait in quarantine"
    assert served[0][1] == served[1][0] == 0
    assert served[1][1] > 0.9 * KEYS


def count_served(service: str, keys: range) -> int:
    """The keys of which there are values online."""
    found = feature_store.read_online(feature_store.open_store(), service, [{"listing_id": key} for key in keys])
    return sum(value is not None for value in found["median_income"])
