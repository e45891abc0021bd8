from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest

from include.core.errors import DeliveryError, RejectedError
from include.demo import replay
from include.ingestion import steps
from include.ingestion.delivery import Delivery
from include.ingestion.labels import LabelCounts
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.run import Run
from include.lakehouse.schemas import LABELS, QUARANTINE_LABELS
from include.lakehouse.selection import within
from include.orchestration import notes
from include.pages import run_page
from tests.unit.ingestion.cases import DAY, Rows, as_csv, with_ingestion, with_rules

HEADER = ["listing_id", "median_house_value"]
Deliver = Callable[..., Run]


def test_label_belongs_to_its_day_and_arrives_later(run: Run, deliver: Deliver) -> None:
    counts = steps.load_labels(deliver([HEADER, ["7", "452600.0"]], kind="labels"))
    assert counts == LabelCounts(rows=1, accepted=1, quarantined=0, reasons={})
    assert run.lake.read(run.table(LABELS)).to_pylist() == [
        {
            "listing_id": 7,
            "median_house_value": 452600.0,
            "arrived_at": datetime(2025, 1, 3, tzinfo=UTC),
            "partition_key": "2025-01-02",
        }
    ]


def test_unusable_labels_are_kept_with_their_reasons(run: Run, deliver: Deliver) -> None:
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
    run = with_ingestion(with_rules(deliver([HEADER, *rows], kind="labels")), quarantine_budget=1.0)
    for _ in range(2):
        counts = steps.load_labels(run)
        assert counts.rows == 8 == counts.accepted + counts.quarantined
        assert sorted(run.lake.read(run.table(LABELS))["listing_id"].to_pylist()) == [1, 4]
        kept = run.lake.read(run.table(QUARANTINE_LABELS)).sort_by("row_number").to_pylist()
        assert {row["row_number"]: row["reasons"] for row in kept} == {
            2: ["null:median_house_value"],
            3: ["null:listing_id"],
            4: ["not_an_integer:listing_id", "not_a_number:median_house_value"],
            5: ["duplicate_row"],
            6: ["duplicate_key:listing_id"],
            7: ["duplicate_key:listing_id"],
        }
        assert kept[2]["listing_id"] == "x"


def unlabelled(run: Run) -> Run:
    """The run of a model whose labels without a value say that there is none."""
    deliveries = run.spec.deliveries.model_copy(update={"null_labels": "unlabelled"})
    return replace(run, spec=run.spec.model_copy(update={"deliveries": deliveries}))


def test_a_label_without_a_value_may_say_that_there_is_none(run: Run, deliver: Deliver) -> None:
    """It is neither a label nor a mistake: not loaded, not in quarantine, not in the budget."""
    rows = [[str(number), "" if number % 2 else "200000"] for number in range(40)]
    deliver([HEADER, *rows], kind="labels")
    with pytest.raises(RejectedError, match="quarantine_budget_exceeded"):
        steps.load_labels(run)
    run = unlabelled(run)
    counts = steps.load_labels(run)
    assert counts == LabelCounts(40, 20, 0, {}, unlabelled=20)
    assert counts.describe() == "40 rows = 20 accepted + 0 quarantined + 20 unlabelled"
    assert notes.of_labels(counts) == "labels of 40 rows: 20 accepted, 0 quarantined, 20 without a label"
    assert sorted(run.lake.read(run.table(LABELS))["listing_id"].to_pylist()) == list(range(0, 40, 2))
    assert run.lake.count(run.table(QUARANTINE_LABELS)) == 0
    decided = max(decisions.history(run.lake, run.spec.name), key=lambda item: item.recorded_at)
    assert (decided.outcome, decided.inputs["verdict"]["unlabelled"]) == ("accept_labels", 20)
    page = unescape(run_page.of_run(run, "ingest_labels", None))
    assert "20 of 40 rows accepted: every label that has a value can be used" in page
    assert "Without a label" in page


def test_what_else_is_wrong_with_a_label_without_a_value_counts(run: Run, deliver: Deliver) -> None:
    """No label and a label contradict each other; no label twice is one; what is no number is none of them."""
    rows = [*([str(n), "200000"] for n in range(1, 41)), ["1", ""], ["50", ""], ["50", ""], ["", ""], ["51", "none"]]
    run = with_ingestion(unlabelled(deliver([HEADER, *rows], kind="labels")), quarantine_budget=0.2)
    reasons = {
        "duplicate_key:listing_id": 2,
        "duplicate_row": 1,
        "null:listing_id": 1,
        "not_a_number:median_house_value": 1,
    }
    counts = steps.load_labels(run)
    assert (counts.accepted, counts.quarantined, counts.unlabelled) == (39, 5, 1)
    assert counts.reasons == reasons


def test_a_label_that_breaks_off_says_nothing(run: Run, deliver: Deliver) -> None:
    run = unlabelled(deliver(as_csv([*labels(40), ["40", ""]])[:-1], kind="labels"))
    assert steps.load_labels(run) == LabelCounts(41, 40, 1, {"truncated_line": 1})


def test_no_label_for_a_row_that_nobody_delivered_waits(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(good_rows))
    keys = [row[0] for row in good_rows[1:]]
    run = unlabelled(deliver([HEADER, *([key, "200000"] for key in keys), ["999", ""]], kind="labels"))
    assert steps.load_labels(run) == LabelCounts(41, 40, 1, {"unknown_key:listing_id": 1})


def test_a_correction_takes_an_earlier_label_away(run: Run, deliver: Deliver) -> None:
    """As every correction does: the partition is what was delivered last. Of one without any label nothing is taken."""
    run = unlabelled(run)
    steps.load_labels(deliver(labels(40), kind="labels", of=run))
    rows = [[str(number), "" if number < 3 else "210000"] for number in range(40)]
    assert steps.load_labels(deliver([HEADER, *rows], kind="labels", of=run)).unlabelled == 3
    assert sorted(run.lake.read(run.table(LABELS))["listing_id"].to_pylist()) == list(range(3, 40))
    deliver([HEADER, *([str(number), ""] for number in range(40))], kind="labels", of=run)
    with pytest.raises(RejectedError, match="no_labels: no label has a value"):
        steps.load_labels(run)
    assert there(run) == 37


def test_the_usual_number_of_labels_is_of_those_with_a_value(run: Run, deliver: Deliver) -> None:
    """On each of four days a tenth of the rows has a label: 400 rows are as usual, 400 labels are not."""
    run = unlabelled(run)
    some = [HEADER, *([str(number), "" if number % 10 else "200000"] for number in range(400))]
    for days in range(4):
        assert steps.load_labels(deliver(some, DAY.shift(-days), kind="labels", of=run)).accepted == 40
    deliver(labels(401), kind="labels", of=run)
    with pytest.raises(RejectedError, match="row_count_off_band"):
        steps.load_labels(run)


@pytest.mark.parametrize("header", [["listing_id"], [*HEADER, "x"], ["id", "median_house_value"]])
def test_other_columns_are_rejected(run: Run, deliver: Deliver, header: list[str]) -> None:
    with pytest.raises(RejectedError, match=r"labels/batch_date=2025-01-02: the labels have other columns"):
        steps.load_labels(deliver([header, ["1"] * len(header)], kind="labels"))


def test_real_labels_are_all_used(run: Run, housing: replay.SourceFile) -> None:
    played = replay.Replay(run.spec, housing, days=1)
    counts = []
    for n in range(2):
        delivery = played.deliver_labels(run.settings, n)
        counts.append(steps.load_labels(replace(run, asked_for=delivery.partition)))
    assert sum(count.accepted for count in counts) == 20640
    assert all(count.quarantined == 0 for count in counts)


UNREAD = {
    "other columns": ([["listing_id"], ["1"]], "missing_column"),
    "one column more": ([[*HEADER, "x"], ["1", "2", "3"]], "extra_column"),
    "no byte": (b"", "missing_column"),
    "no table": (as_csv([HEADER, ["1", "2"]]) + b"\xff\xfe", "malformed_csv"),
    "a header alone": ([HEADER], "no_rows"),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_rejection_is_recorded_and_told_whatever_the_file_is(run: Run, deliver: Deliver, case: str) -> None:
    content, reason = UNREAD[case]
    deliver(content, kind="labels")
    with pytest.raises(RejectedError, match=r"^california_housing, labels of 2025-01-02: the labels are rej") as red:
        steps.load_labels(run)
    (decided,) = decisions.history(run.lake, run.spec.name, Kind.LABELS_VERDICT)
    assert (decided.subject, decided.outcome, decided.reasons) == (DAY.key, "reject_labels", [reason])
    assert decided.decided_at == run.labels_available_at()
    (problem,) = decided.inputs["verdict"]["problems"]
    page = unescape(run_page.of_run(run, "ingest_labels", None))
    assert "The labels are rejected: none of these 0 is used" in page
    assert problem in page
    assert problem in str(red.value)


def test_what_is_used_is_recorded_too(run: Run, deliver: Deliver) -> None:
    steps.load_labels(deliver([*labels(40), ["40", "-1e300"]], kind="labels"))
    (decided,) = decisions.history(run.lake, run.spec.name)
    assert (decided.kind, decided.outcome) == (Kind.LABELS_VERDICT, "accept_and_quarantine")
    assert decided.reasons == ["out_of_range:median_house_value"]
    steps.load_labels(deliver(labels(40), kind="labels"))
    (decided,) = decisions.history(run.lake, run.spec.name)
    assert (decided.outcome, decided.reasons) == ("accept_labels", [])
    assert "40 of 40 rows accepted: every label can be used" in run_page.of_run(run, "ingest_labels", None)


def test_an_incomplete_delivery_is_asked_for_again(run: Run, deliver: Deliver) -> None:
    """It is no verdict: the marker may come."""
    delivery = Delivery.expected(run.settings, run.spec, "labels", deliver([HEADER], kind="labels").partition)
    Path(delivery.marker).unlink()
    with pytest.raises(DeliveryError, match="_SUCCESS is missing") as incomplete:
        steps.load_labels(run)
    assert not isinstance(incomplete.value, RejectedError)
    assert not run.lake.exists("decisions")


def labels(count: int, value: str = "200000") -> list[list[str]]:
    return [HEADER, *([str(n), value] for n in range(count))]


def there(run: Run) -> int:
    return run.lake.count(run.table(LABELS), where=within(run.partition))


REJECTED = {
    "absurd": (labels(40, "-1e300"), "quarantine_budget_exceeded"),
    "header only": (labels(0), "no_rows"),
    "far fewer": (labels(3), "row_count_off_band"),
    "far more": (labels(401), "row_count_off_band"),
    "unreadable": (labels(40, "much"), "quarantine_budget_exceeded"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_implausible_labels_do_not_replace_those_that_are_there(run: Run, deliver: Deliver, case: str) -> None:
    for days in (3, 2, 1, 0):
        steps.load_labels(deliver(labels(40), DAY.shift(-days), kind="labels"))
    rows, reason = REJECTED[case]
    deliver(rows, kind="labels")
    for _ in range(2):
        with pytest.raises(RejectedError, match=rf"rejected, and those that were there stay: .*{reason}: "):
            steps.load_labels(run)
        assert there(run) == 40
    kept = run.lake.read(run.table(QUARANTINE_LABELS), where=within(DAY))
    assert kept.num_rows == len(rows) - 1
    assert all(found[0] == reason for found in kept["reasons"].to_pylist())
    assert steps.load_labels(deliver(labels(39), kind="labels")).accepted == there(run) == 39


def test_an_implausible_label_among_others_waits(run: Run, deliver: Deliver) -> None:
    counts = steps.load_labels(deliver([*labels(40), ["40", "-1e300"]], kind="labels"))
    assert counts == LabelCounts(41, 40, 1, {"out_of_range:median_house_value": 1})


def test_a_label_that_breaks_off_waits(run: Run, deliver: Deliver) -> None:
    counts = steps.load_labels(deliver(as_csv(labels(40))[:-2], kind="labels"))
    assert counts == LabelCounts(40, 39, 1, {"truncated_line": 1})


def test_labels_of_no_row_do_not_replace_those_of_rows(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    """As where a supplier sends another table's, or another day's. A row in quarantine is one, too."""
    broken = [list(row) for row in good_rows]
    broken[4][broken[0].index("latitude")] = "51.5"
    steps.validate_batch(deliver(broken))
    keys = [row[0] for row in good_rows[1:]]
    run = deliver([HEADER, *([key, "200000"] for key in keys)], kind="labels")
    assert steps.load_labels(run) == LabelCounts(40, 40, 0, {})
    deliver([HEADER, *([f"9{key}", "300000"] for key in keys)], kind="labels")
    with pytest.raises(RejectedError, match="quarantine_budget_exceeded"):
        steps.load_labels(run)
    assert run.lake.read(run.table(LABELS))["median_house_value"].unique().to_pylist() == [200000.0]
    deliver([HEADER, *([key, "300000"] for key in [*keys[1:], f"9{keys[0]}", ""])], kind="labels")
    counts = steps.load_labels(run)
    assert counts == LabelCounts(41, 39, 2, {"null:listing_id": 1, "unknown_key:listing_id": 1})


def test_labels_that_come_before_their_batch_are_taken(run: Run, deliver: Deliver, good_rows: Rows) -> None:
    steps.validate_batch(deliver(good_rows, DAY.shift(-1)))
    assert steps.load_labels(deliver(labels(40), kind="labels")).accepted == 40
