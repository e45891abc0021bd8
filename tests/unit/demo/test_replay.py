from __future__ import annotations

import csv
import functools
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import ConfigError, DataError, DeliveryError
from include.core.partition import Grain
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.demo import replay
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run

CSV = b"x,median_income,median_house_value\n1,2.5,100\n2,8.3252,200\n3,,300\n4,n/a,400\n5,100000.0,500\n"


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a web server shows it."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOUSING_CSV", "BIKE_CSV"):
        monkeypatch.delenv(name, raising=False)


def pinned(spec: ModelSpec, url: str, content: bytes = CSV) -> ModelSpec:
    sha256 = hashlib.sha256(content).hexdigest()
    replay = spec.replay.model_copy(update={"url": url, "bytes": len(content), "sha256": sha256})
    return spec.model_copy(update={"replay": replay})


def test_named_file_is_used_as_it_is(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(CSV)
    monkeypatch.setenv("HOUSING_CSV", str(path))
    found = replay.fetch(spec, tmp_path / "cache")
    assert found == replay.SourceFile(
        str(path), "file named by HOUSING_CSV", hashlib.sha256(CSV).hexdigest(), verified=False
    )
    assert replay.fetch(pinned(spec, "x"), tmp_path / "cache").verified


def test_wrong_path_is_an_error_and_no_fallback(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOUSING_CSV", str(tmp_path / "nowhere.csv"))
    with pytest.raises(DeliveryError, match=r"HOUSING_CSV: there is no file .*nowhere\.csv"):
        replay.fetch(spec, tmp_path / "cache")


def test_named_url_is_downloaded(
    spec: ModelSpec, tmp_path: Path, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = web
    (folder / "mine.csv").write_bytes(CSV)
    monkeypatch.setenv("HOUSING_CSV", f"{address}/mine.csv")
    found = replay.fetch(spec, tmp_path / "cache")
    assert Path(found.path).read_bytes() == CSV
    assert found.origin == "file named by HOUSING_CSV"
    monkeypatch.setenv("HOUSING_CSV", f"{address}/other.csv")
    with pytest.raises(DeliveryError, match=r"HOUSING_CSV: what it names at 127\.0\.0\.1 cannot be downloaded: .*404"):
        replay.fetch(spec, tmp_path / "cache")


def test_pinned_file_is_downloaded_once(spec: ModelSpec, tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "housing.csv").write_bytes(CSV)
    spec = pinned(spec, f"{address}/housing.csv")
    first = replay.fetch(spec, tmp_path / "cache")
    assert (first.origin, first.verified) == ("downloaded", True)
    (folder / "housing.csv").unlink()
    assert replay.fetch(spec, tmp_path / "cache") == first


def test_download_of_another_file_names_both_hashes(spec: ModelSpec, tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "housing.csv").write_bytes(CSV + b"6,1,1\n")
    spec = pinned(spec, f"{address}/housing.csv")
    with pytest.raises(DeliveryError) as error:
        replay.fetch(spec, tmp_path / "cache")
    assert spec.replay.sha256 in str(error.value)
    assert hashlib.sha256(CSV + b"6,1,1\n").hexdigest() in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_damaged_cache_is_downloaded_again(spec: ModelSpec, tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "housing.csv").write_bytes(CSV)
    spec = pinned(spec, f"{address}/housing.csv")
    Path(replay.fetch(spec, tmp_path / "cache").path).write_bytes(b"damaged")
    assert Path(replay.fetch(spec, tmp_path / "cache").path).read_bytes() == CSV


def test_sample_stands_in_where_nothing_can_be_reached(spec: ModelSpec, tmp_path: Path) -> None:
    found = replay.fetch(pinned(spec, "http://127.0.0.1:9/housing.csv"), tmp_path)
    assert (found.origin, found.verified) == ("generated sample", False)
    with Path(found.path).open(newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == 20641


def rows_of(delivery: Delivery) -> list[list[str]]:
    (file,) = Path(delivery.folder).glob("*.csv")
    with file.open(newline="") as lines:
        return list(csv.reader(lines))


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replay_of(spec: ModelSpec, tmp_path: Path, content: bytes = CSV, **arguments: int) -> replay.Replay:
    path = tmp_path / "source.csv"
    path.write_bytes(content)
    return replay.Replay(spec, replay.SourceFile(str(path), "test", "", verified=False), **arguments)


def test_replay_delivers_every_row_once(spec: ModelSpec, places: Settings, housing: replay.SourceFile) -> None:
    played = replay.Replay(spec, housing, days=7)
    batches = [rows_of(played.deliver_batch(places, n)) for n in range(8)]
    labels = [rows_of(played.deliver_labels(places, n)) for n in range(8)]
    sizes = [len(batch) - 1 for batch in batches]
    assert sizes[0] == 16512
    assert sum(sizes) == 20640
    assert max(sizes[1:]) - min(sizes[1:]) <= 1
    assert {tuple(batch[0]) for batch in batches} == {tuple(spec.columns)}
    assert {tuple(label[0]) for label in labels} == {("listing_id", "median_house_value")}
    keys = [row[0] for batch in batches for row in batch[1:]]
    assert keys == [row[0] for label in labels for row in label[1:]]
    assert sorted(map(int, keys)) == list(range(1, 20641))


def test_replay_keeps_texts_and_numbers_rows_from_one(spec: ModelSpec, places: Settings, tmp_path: Path) -> None:
    played = replay_of(spec, tmp_path, days=1)
    rows = [row for n in range(2) for row in rows_of(played.deliver_batch(places, n))[1:]]
    expected = [
        ["1", "1", "2.5"],
        ["2", "2", "8.3252"],
        ["3", "3", ""],
        ["4", "4", "n/a"],
        ["5", "5", "100000.0"],
    ]
    assert sorted(rows) == expected


def test_drift_scales_one_column_from_its_day_on(spec: ModelSpec, places: Settings, tmp_path: Path) -> None:
    def incomes(drift_from: int | None) -> list[dict[str, str]]:
        played = replay_of(spec, tmp_path, days=2, drift_from=drift_from)
        batches = [rows_of(played.deliver_batch(places, n)) for n in range(3)]
        return [{row[0]: row[2] for row in batch[1:]} for batch in batches]

    scaled = {"2.5": "3.75", "8.3252": "12.4878", "": "", "n/a": "n/a", "100000.0": "150000"}
    plain, drifting = incomes(None), incomes(0)
    assert [{key: scaled[value] for key, value in day.items()} for day in plain] == drifting
    assert incomes(2)[:2] == plain[:2]
    assert incomes(2)[2] == drifting[2]


def test_replay_again_gives_the_same_bytes(spec: ModelSpec, places: Settings, tmp_path: Path) -> None:
    def play(folder: str) -> dict[str, bytes]:
        there = places.model_copy(update={"landing_uri": str(tmp_path / folder)})
        played = replay_of(spec, tmp_path, days=2, drift_from=1)
        for n in range(3):
            played.deliver_batch(there, n)
            played.deliver_labels(there, n)
        return bytes_below(tmp_path / folder)

    assert play("one") == play("two") == play("one")


def test_days_follow_the_first_day(spec: ModelSpec, places: Settings, tmp_path: Path) -> None:
    played = replay_of(spec, tmp_path, days=2)
    assert played.deliver_labels(places, 2).partition.key == "2025-01-03"
    with pytest.raises(DataError, match="day 3 is not part of a replay of 2 days"):
        played.deliver_batch(places, 3)
    with pytest.raises(ConfigError, match="365 days of replay after 1 of history do not fit"):
        replay_of(spec, tmp_path, days=365)


@pytest.mark.parametrize(
    ("grain", "key"), [(Grain.HOUR, "2025-01-01T02"), (Grain.WEEK, "2025-W03"), (Grain.MONTH, "2025-03")]
)
def test_what_is_replayed_are_partitions_of_the_grain(
    spec: ModelSpec, places: Settings, tmp_path: Path, grain: Grain, key: str
) -> None:
    played = replay_of(spec.model_copy(update={"grain": grain}), tmp_path, days=2)
    assert played.deliver_batch(places, 2).folder.endswith(f"/batches/batch_date={key}")


def test_labels_of_a_composite_key_have_all_its_columns(spec: ModelSpec, places: Settings, tmp_path: Path) -> None:
    entity = spec.entity.model_copy(update={"keys": ("listing_id", "median_income")})
    played = replay_of(spec.model_copy(update={"entity": entity}), tmp_path, days=0)
    assert rows_of(played.deliver_labels(places, 0))[0] == ["listing_id", "median_income", "median_house_value"]


def in_cache(run: Run) -> Path:
    path = Path(run.settings.landing_uri) / replay.CACHE / "source.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(CSV)
    return path


OTHERS = {
    "outside": lambda path, other: other.write_bytes(CSV) and other,
    "on the way up": lambda path, other: other.write_bytes(CSV) and path.parent / ".." / ".." / other.name,
    "link": lambda path, other: other.write_bytes(CSV) and (path.unlink(), path.symlink_to(other), path)[-1],
    "pipe": lambda path, other: (path.unlink(), os.mkfifo(path), path)[-1],
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_plays_no_file_from_elsewhere(
    run: Run, tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = OTHERS[other](in_cache(run), tmp_path / "other.csv")
    monkeypatch.delenv("HOUSING_CSV", raising=False)
    with pytest.raises(DeliveryError, match=r"is not played|is a link|is a pipe"):
        replay.deliver(run, file=str(path), batch=1, labels=None, days=2, drift_day=None)


def test_a_run_plays_the_file_of_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_bytes(CSV)
    monkeypatch.setenv("HOUSING_CSV", str(mine))
    assert replay.deliver(run, file=str(mine), batch=1, labels=None, days=2, drift_day=None)
    kept = replay.keep(replay.fetch(run.spec, tmp_path / "cache"), tmp_path / "cache")
    assert (Path(kept.path).read_bytes(), kept.origin) == (CSV, "file named by HOUSING_CSV")


def test_a_run_delivers_what_it_is_asked_for(run: Run) -> None:
    path = in_cache(run)
    folders = replay.deliver(run, file=str(path), batch=1, labels=0, days=2, drift_day=None)
    assert [folder.removeprefix(run.settings.landing_uri) for folder in folders] == [
        "/california_housing/batches/batch_date=2025-01-02",
        "/california_housing/labels/batch_date=2025-01-01",
    ]


@pytest.mark.parametrize("file", ["source.csv", None])
def test_a_model_without_a_replay_says_so(run: Run, file: str | None) -> None:
    without = replace(run, spec=run.spec.model_copy(update={"replay": None}))
    path = in_cache(run)
    with pytest.raises(ConfigError, match=r"california_housing/model\.yaml: there is no section replay, so"):
        replay.deliver(without, file=file and str(path), batch=0, labels=None, days=1, drift_day=None)


def test_drift_that_no_section_describes_is_refused(spec: ModelSpec, tmp_path: Path) -> None:
    assert spec.replay is not None
    steady = spec.model_copy(update={"replay": spec.replay.model_copy(update={"drift": None})})
    assert replay_of(steady, tmp_path, days=1)
    with pytest.raises(ConfigError, match=r"no section replay\.drift"):
        replay_of(steady, tmp_path, days=1, drift_from=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'median_house_value'"),
        (b"median_income\n1\n", "no column 'median_house_value'"),
        (b"median_house_value\n1\n", "no column 'median_income'"),
        (b"median_income,median_house_value\n1,2\n3\n", "line 3 has 1 fields instead of 2"),
        (b"median_income,median_house_value\n\xff,2\n", "cannot be read as CSV"),
    ],
)
def test_broken_source_is_one_clear_error(
    spec: ModelSpec, places: Settings, tmp_path: Path, content: bytes, message: str
) -> None:
    played = replay_of(spec, tmp_path, content, days=0, drift_from=0)
    with pytest.raises(DeliveryError, match=message):
        played.deliver_batch(places, 0)


@pytest.mark.parametrize("name", ["data.txt", "HOUSING.CSV", "_a.csv", ".hidden"])
def test_whatever_the_source_is_called_its_delivery_is_a_file_that_is_read(
    spec: ModelSpec, places: Settings, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(CSV)
    source = replay.SourceFile(str(tmp_path / name), "given", "0", verified=False)
    delivery = replay.Replay(spec, source, 1).deliver_batch(places, 1)
    assert delivery.read().num_rows == 1


ROWS = ("1,2011-01-01,0,16", "2,2011-01-31,23,40", "4,2011-03-01,0,7", "3,2011-02-28,5,9", "5,2011-03-31,1,8")
HOURS = "".join(f"{line}\n" for line in ("instant,dteday,hr,cnt", *ROWS))


def by_month(tmp_path: Path, content: str = HOURS, days: int = 1, history: int = 2) -> replay.Replay:
    spec = catalogue.load("bike_demand")
    time = spec.replay.time.model_copy(update={"history_partitions": history})
    spec = spec.model_copy(update={"replay": spec.replay.model_copy(update={"time": time})})
    return replay_of(spec, tmp_path, content.encode(), days=days)


def test_rows_with_a_time_come_with_the_month_that_they_are_of_in_their_order(places: Settings, tmp_path: Path) -> None:
    played = by_month(tmp_path)
    batches = [played.deliver_batch(places, n) for n in range(3)]
    assert [batch.partition.key for batch in batches] == ["2011-01", "2011-02", "2011-03"]
    assert [[row[0] for row in rows_of(batch)[1:]] for batch in batches] == [["1", "2"], ["3"], ["4", "5"]]
    assert rows_of(batches[0])[0] == ["instant", "dteday", "hr"]
    assert rows_of(played.deliver_labels(places, 2)) == [["instant", "cnt"], ["4", "7"], ["5", "8"]]
    with pytest.raises(DataError, match=r"month 3 is not part of a replay of 1 months\. There are 0 to 2"):
        played.deliver_batch(places, 3)


def test_how_much_is_played_changes_no_month(places: Settings, tmp_path: Path) -> None:
    few, more = (by_month(tmp_path, days=days, history=history) for days, history in ((1, 2), (5, 1)))
    assert rows_of(few.deliver_batch(places, 2)) == rows_of(more.deliver_batch(places, 2))
    with pytest.raises(ConfigError, match=r"23 months of replay after 2 of history do not fit"):
        by_month(tmp_path, days=23)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("6,2010-12-31,0,1", r"line 7: dteday is of 2010-12, and deliveries are from 2011-01 to 2012-12"),
        ("6,2013-01-01,0,1", r"line 7: dteday is of 2013-01, and deliveries"),
        ("6,31.01.2011,0,1", r"line 7: dteday is no time of the format '%Y-%m-%d'"),
    ],
)
def test_no_row_is_lost_because_of_its_time(places: Settings, tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DeliveryError, match=message):
        by_month(tmp_path, f"{HOURS}{row}\n").deliver_batch(places, 0)


def test_without_an_address_the_sample_is_played_and_a_named_file_is_not_called_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = catalogue.load("bike_demand")
    found = replay.fetch(spec, tmp_path)
    assert (found.origin, found.verified) == ("generated sample", False)
    played = replay.Replay(spec, found, days=18)
    assert sum(len(played._rows_of(n)) for n in range(24)) == 17379
    assert {len(played._rows_of(n)) > 640 for n in range(24)} == {True}
    monkeypatch.setenv("BIKE_CSV", found.path)
    assert replay.fetch(spec, tmp_path).origin == "file named by BIKE_CSV"


def test_what_is_played_has_the_headers_of_the_source(spec: ModelSpec, run: Run, tmp_path: Path) -> None:
    headers = {"listing_id": "ID", "median_income": "Median Income (USD)/yr."}
    columns = {name: column.model_copy(update={"source": headers.get(name)}) for name, column in spec.columns.items()}
    spec = spec.model_copy(update={"columns": columns, "target_source": "Value, in $"})
    file = tmp_path / "mine.csv"
    file.write_bytes(CSV.replace(b"median_income,median_house_value", b'Median Income (USD)/yr.,"Value, in $"'))
    source = replay.SourceFile(str(file), "given", "", verified=False)
    played = replay.Replay(spec, source, days=1, drift_from=0)
    batch, labels = played.deliver_batch(run.settings, 0), played.deliver_labels(run.settings, 0)
    assert Path(batch.folder, f"{spec.name}.csv").read_text().startswith("ID,x,Median Income (USD)/yr.\n")
    assert labels.read().column_names[2:] == ["listing_id", "median_house_value"]
    delivered = batch.read()
    assert delivered.column_names[2:] == ["listing_id", "x", "median_income"]
    numbered = dict(zip(delivered["listing_id"].to_pylist(), delivered["median_income"].to_pylist(), strict=True))
    assert numbered.get("1", "3.75") == "3.75", "it drifts"
