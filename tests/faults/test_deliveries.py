"""Deliveries that no sender means, in a running Airflow: each has a verdict, soon, and none a traceback or a hang."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.core.partition import Partition
from include.core.settings import Settings
from include.ingestion.delivery import Delivery, Kind
from include.lakehouse.schemas import CLEAN, LABELS, QUARANTINE, RAW
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.runtime.airflow_api import Run
from tests.faults.conftest import Running
from tests.played import wait_for

GOOD = "rows.csv"
GOOD_DAY, FIRST_BAD_DAY = 3, 10
"""Others are of other tests."""


def _edited(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Change the lines of the file, whose first one is its header."""

    def edit(folder: Path) -> None:
        lines = (folder / GOOD).read_text().splitlines()
        (folder / GOOD).write_text("\n".join(change(lines)) + "\n")

    return edit


def _with_population(value: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        place, cells = lines[0].split(",").index("population"), lines[1].split(",")
        return [lines[0], ",".join([*cells[:place], value, *cells[place + 1 :]]), *lines[2:]]

    return change


def _with_columns(count: int) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        return [
            ",".join([lines[0], *(f"further_{n}" for n in range(count))]),
            *(line + "," * count for line in lines[1:]),
        ]

    return change


def _with_quotes(lines: list[str]) -> list[str]:
    return [*lines[:100], '"' + lines[100], *lines[101:290], lines[290] + '"', *lines[291:]]


def _instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else under the name of the file."""

    def change(folder: Path) -> None:
        (folder / GOOD).unlink()
        make(folder / GOOD)

    return change


def _with_bytes_as_text(folder: Path) -> None:
    """A Parquet file whose texts are not UTF-8, which a writer in another language can make."""
    header, *lines = (folder / GOOD).read_text().splitlines()
    columns = dict(zip(header.split(","), zip(*(line.split(",") for line in lines), strict=True), strict=True))
    arrays = [pa.array([cell.encode() for cell in cells]) for cells in columns.values()]
    wrong = arrays[-1].to_pylist()
    wrong[0] = b"\xff\xfe"
    texts = [array.cast(pa.string()) for array in arrays[:-1]]
    buffers = pa.array(wrong, pa.binary()).buffers()
    texts.append(pa.StringArray.from_buffers(len(wrong), buffers[1], buffers[2]))
    (folder / GOOD).unlink()
    pq.write_table(pa.table(texts, names=list(columns)), folder / "rows.parquet")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "integer above 2^53": (_edited(_with_population(str(2**53 + 1))), "quarantined"),
    "5,000 further columns": (_edited(_with_columns(5_000)), "too_many_columns"),
    "quotes 190 lines apart": (_edited(_with_quotes), "malformed_csv"),
    "pipe": (_instead(os.mkfifo), "not_a_file"),
    "folder without a part": (_instead(Path.mkdir), "no_file"),
    "link to itself": (_instead(lambda path: path.symlink_to(path.name)), "not_a_file"),
    "link to nothing": (_instead(lambda path: path.symlink_to("gone.csv")), "not_a_file"),
    "name that is not UTF-8": (
        lambda folder: (folder / GOOD).rename(folder / os.fsdecode(b"\xff.csv")),
        "foreign_file",
    ),
    "Parquet text that is not UTF-8": (_with_bytes_as_text, "not_utf8"),
}
"""What becomes of a good delivery, and what the run's note says of it."""


def expected(running: Running, kind: Kind, day: Partition) -> Delivery:
    return Delivery.expected(Settings(landing_uri=str(running.stack.home / "landing")), running.spec, kind, day)


def ended(running: Running, run: Run) -> Run:
    wait_for(lambda: running.airflow.run(run.dag_id, run.run_id).finished, f"{run.run_id} to end", 600)
    return running.airflow.run(run.dag_id, run.run_id)


def test_each_bad_delivery_has_its_verdict(running: Running) -> None:
    """All at once, as after a sender's bad night."""
    running.deliver(GOOD_DAY, days=10)  # of some hundred rows
    (good,) = Path(expected(running, "batches", running.spec.first_partition.shift(GOOD_DAY)).folder).glob("*.csv")
    days = {name: running.spec.first_partition.shift(FIRST_BAD_DAY + place) for place, name in enumerate(BAD)}
    for name, day in days.items():
        delivery = expected(running, "batches", day)
        delivery.write(GOOD, good.read_bytes())
        BAD[name][0](Path(delivery.folder))
    runs = {name: running.trigger("ingest_batch", partition=day.key) for name, day in days.items()}
    lake = Lakehouse(str(running.stack.home / "lakehouse"))
    for name, run in runs.items():
        said = ended(running, run)
        assert BAD[name][1] in said.note, (name, said.note)
        states = running.airflow.task_states(run)
        assert states["validate_batch"] == "success", (name, states)
        rows = [lake.count(table.of(running.spec), where=within(days[name])) for table in (RAW, CLEAN, QUARANTINE)]
        assert rows[0] == rows[1] + rows[2], (name, rows)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("listing_id,median_house_value\n" + "".join(f"{n},-1e300\n" for n in range(299)), "quarantine_budget_exceeded"),
     ("listing_id,median_house_value\n", "no_rows")],
    ids=["values that no house has", "a header alone"],
)  # fmt: skip
def test_bad_labels_replace_no_good_ones(running: Running, content: str, reason: str) -> None:
    day = running.spec.first_partition.shift(GOOD_DAY)
    running.deliver(GOOD_DAY, days=10)  # of some hundred rows
    (good,) = Path(expected(running, "batches", day).folder).glob("*.csv")
    lake, table = Lakehouse(str(running.stack.home / "lakehouse")), LABELS.of(running.spec)
    keys = [line.split(",")[0] for line in good.read_text().splitlines()[1:300]]
    labels = expected(running, "labels", day)
    labels.write("good.csv", ("listing_id,median_house_value\n" + "".join(f"{k},250000\n" for k in keys)).encode())
    running.finish(running.trigger("ingest_labels", partition=day.key))
    before = lake.read(table, where=within(day), columns=["listing_id", "median_house_value"])
    assert before.num_rows == len(keys)

    labels.write("bad.csv", content.encode())
    said = ended(running, running.trigger("ingest_labels", partition=day.key))
    assert said.state == "failed"
    assert reason in said.note
    assert lake.read(table, where=within(day), columns=before.column_names).equals(before)
