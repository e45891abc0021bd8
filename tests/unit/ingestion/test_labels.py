from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from include.core.errors import DeliveryError
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.demo import replay
from include.ingestion import labels
from include.ingestion.delivery import Delivery
from include.lakehouse.tables import Lakehouse

HEADER = ["listing_id", "median_house_value"]
Deliver = Callable[..., Delivery]


def test_label_belongs_to_its_day_and_arrives_later(spec: ModelSpec, lake: Lakehouse, deliver: Deliver) -> None:
    counts = labels.load(spec, lake, deliver([HEADER, ["7", "452600.0"]], kind="labels"))
    assert counts == labels.LabelCounts(rows=1, accepted=1, quarantined=0, reasons={})
    assert lake.read(spec.table("labels")).to_pylist() == [
        {
            "listing_id": 7,
            "event_timestamp": datetime(2025, 1, 2, tzinfo=UTC),
            "median_house_value": 452600.0,
            "arrived_at": datetime(2025, 1, 3, tzinfo=UTC),
            "batch_date": date(2025, 1, 2),
        }
    ]


def test_unusable_labels_are_kept_with_their_reasons(spec: ModelSpec, lake: Lakehouse, deliver: Deliver) -> None:
    rows = [
        ["1", "10"],
        ["2", ""],
        ["", "5"],
        ["x", "1e999"],
        ["1", "10.0"],
        ["3", "7"],
        ["3", "8"],
        ["4", "9"],
    ]
    delivery = deliver([HEADER, *rows], kind="labels")
    for _ in range(2):
        counts = labels.load(spec, lake, delivery)
        assert counts.rows == 8 == counts.accepted + counts.quarantined
        assert sorted(lake.read(spec.table("labels"))["listing_id"].to_pylist()) == [1, 4]
        kept = lake.read(spec.table("quarantine_labels")).sort_by("row_number").to_pylist()
        assert {row["row_number"]: row["reasons"] for row in kept} == {
            2: ["null:median_house_value"],
            3: ["null:listing_id"],
            4: ["not_an_integer:listing_id", "not_a_number:median_house_value"],
            5: ["duplicate_row"],
            6: ["duplicate_key:listing_id"],
            7: ["duplicate_key:listing_id"],
        }
        assert kept[2]["listing_id"] == "x"


@pytest.mark.parametrize("header", [["listing_id"], [*HEADER, "x"], ["id", "median_house_value"]])
def test_other_columns_are_an_error_that_names_them(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, header: list[str]
) -> None:
    with pytest.raises(DeliveryError, match=r"labels/batch_date=2025-01-02: the labels have the columns"):
        labels.load(spec, lake, deliver([header, ["1"] * len(header)], kind="labels"))


def test_real_labels_are_all_used(spec: ModelSpec, places: Places, lake: Lakehouse, housing: replay.SourceFile) -> None:
    played = replay.Replay(spec, housing, days=1)
    counts = [labels.load(spec, lake, played.deliver_labels(places, n)) for n in range(2)]
    assert sum(count.accepted for count in counts) == 20640
    assert all(count.quarantined == 0 for count in counts)
