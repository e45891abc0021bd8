"""A folder drafted from a file: what is guessed, what is left out, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.core import catalogue
from include.core.category import Category
from include.core.errors import FlightlineError
from include.core.partition import Grain
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.features import query
from include.ingestion import expectations
from include.scaffold import draft, names
from include.scaffold.__main__ import main
from include.scaffold.draft import Draft
from include.scaffold.guess import Wanted
from include.scaffold.profile import MOST_CATEGORIES
from tests.unit.scaffold.files import as_it_comes, customers, measured_rentals, rentals, write

TODAY = date(2026, 3, 1)


@pytest.fixture
def drafted(tmp_path: Path) -> Callable[..., tuple[Draft, ModelSpec]]:
    """Draft a model named ``m`` from rows, and load it."""

    def draft_of(frame: pd.DataFrame, file: str = "rows.csv", **wanted: object) -> tuple[Draft, ModelSpec]:
        root = tmp_path / "models"
        root.mkdir()
        path = write(frame, tmp_path / file)
        made = draft.make("m", path, Wanted(**wanted), TODAY, root)  # type: ignore[arg-type]
        draft.write(made, root)
        return made, catalogue.load("m", root)

    return draft_of


def test_rows_with_a_time(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    made, spec = drafted(rentals())
    assert (spec.target, spec.task, spec.metric, spec.entity.keys) == (
        "cnt",
        Task.REGRESSION,
        "adjusted_r2",
        ("ride_no",),
    )
    assert made.time.value is not None
    assert made.time.value.columns == ("day", "hr")
    assert (spec.grain, spec.deliveries.first_day) == (Grain.DAY, date(2024, 3, 1))
    assert (spec.training.split.kind, spec.training.split.gap) == ("by_time", spec.deliveries.label_delay)
    assert spec.ingestion.freshness is not None
    assert spec.ingestion.freshness.column == "day"
    assert spec.personal_columns == {"contact"}
    assert list(query.feature_schema(spec)) == ["hr", "temperature", "order", "weather"]
    assert spec.features.categories == {
        "weather": Category(values=("clear", "it's fog", "rain, heavy"), unseen="missing"),
    }
    assert dict(made.selection.left_out) == {
        "day": "it is the time of the row",
        "contact": "it may be personal data: values look like e-mail addresses, phone or card numbers, or national ids",
        "casual": "casual + registered = cnt",
        "registered": "casual + registered = cnt",
    }
    assert spec.monitoring.window.partitions == 1, "24 rows are enough for six features"
    ruled = {rule.columns for rule in expectations.load(spec)}
    assert ("casual",) not in ruled, "it may not be delivered with the rows"


def test_days_that_are_too_small_alone_are_monitored_together(
    tmp_path: Path, drafted: Callable[..., tuple[Draft, ModelSpec]]
) -> None:
    made, spec = drafted(measured_rentals())
    assert spec.monitoring.window.partitions == 6
    assert "monitored windows of 6 days (guessed: a day has some 24 rows, and adjusted R2 needs 34)" in made.review()
    text = (tmp_path / "models/m/model.yaml").read_text()
    assert "  window: {partitions: 6}  # guessed: a day has some 24 rows, and adjusted R2 needs 34\n" in text


def test_rows_without_a_time(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    _, spec = drafted(customers(), "rows.parquet")
    assert (spec.target, spec.task, spec.metric, spec.entity.keys) == ("label", Task.BINARY, "auc", ("customer_id",))
    assert (spec.training.split.kind, spec.training.split.gap) == ("random_by_key", 0)
    assert (spec.deliveries.first_day, spec.ingestion.freshness) == (TODAY, None)
    assert list(query.feature_schema(spec)) == ["spent", "visits", "plan"]


def test_every_guess_is_marked_with_its_reason(tmp_path: Path, drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    drafted(rentals(), grain="week")
    text = (tmp_path / "models/m/model.yaml").read_text()
    marks = {line.split(":")[0].strip(): line.partition("  # ")[2] for line in text.splitlines()}
    assert marks["target"] == "guessed: the last column, as usual, and it holds numbers"
    assert marks["keys"] == "guessed: it numbers the rows"
    assert marks["task"].startswith("guessed: cnt has ")
    assert marks["split"].startswith("guessed: the rows have a time, and what is predicted is later than what is known")
    assert marks["grain"] == "given"
    assert marks["casual"].startswith("guessed: casual + registered = cnt; delete the line if")
    sql = (tmp_path / "models/m/features.sql").read_text()
    assert "-- guessed: without casual, since casual + registered = cnt\n" in sql


def test_what_a_person_says_stands_instead_of_a_guess(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    frame = rentals().drop(columns=["ride_no"])
    made, spec = drafted(frame, target="registered", keys=("day", "hr"), time=("none",), task="regression")
    assert (spec.target, spec.entity.keys, spec.training.split.kind) == ("registered", ("day", "hr"), "random_by_key")
    assert made.time.value is None


@pytest.mark.parametrize(
    ("form", "type_", "written"),
    [
        ("%Y-%m-%dT%H:%M:%S", "date", None),
        ("%Y-%m-%dT05:%M:%S", "timestamp", None),
        ("%Y%m%dT%H%M%S", "text", None),
        ("%d.%m.%Y 05:%M", "timestamp", "%d.%m.%Y %H:%M"),
        ("%d.%m.%Y", "date", "%d.%m.%Y"),
        ("%d/%m/%Y", "date", "%d/%m/%Y"),
    ],
)
def test_times_are_read_as_they_are_written(
    drafted: Callable[..., tuple[Draft, ModelSpec]], form: str, type_: str, written: str | None
) -> None:
    at = pd.date_range("2024-01-01", periods=400, freq="7D")
    made, spec = drafted(customers().assign(seen=at.strftime(form)))
    assert made.time.value is not None
    assert made.time.value.values.dt.tz_localize(None).dt.floor("D").tolist() == at.tolist()
    assert (spec.columns["seen"].type, spec.columns["seen"].format) == (type_, written)
    assert spec.ingestion.freshness is not None
    assert (spec.grain, spec.ingestion.freshness.column) == (Grain.WEEK, "seen")


@pytest.mark.parametrize(("keys", "mark"), [((), "guessed: no column names the rows"), (("row_number",), "given")])
def test_rows_that_nothing_names_are_told_by_their_place(
    drafted: Callable[..., tuple[Draft, ModelSpec]], keys: tuple[str, ...], mark: str
) -> None:
    rows = customers().drop(columns=["customer_id"]).assign(row_id=1)
    made, spec = drafted(rows, keys=keys)
    assert made.keys.mark.startswith(mark)
    assert (spec.entity.keys, spec.generated_key) == (("row_id_2",), "row_id_2")
    assert not [rule for rule in expectations.load(spec) if "row_id_2" in rule.columns]


def test_dates_that_are_written_as_numbers_are_taken_where_a_person_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = pd.date_range("2024-01-01", periods=400).strftime("%Y%m%d").astype(int)
    rows = write(customers().assign(seen=at), tmp_path / "rows.csv")
    assert main(["--models", str(tmp_path), "new", "m", rows, "--time", "seen"]) == 0
    assert capsys.readouterr().out.endswith(f"DATA={rows} TIME=seen\n")
    spec = catalogue.load("m", tmp_path)
    assert (spec.training.split.kind, spec.ingestion.freshness) == ("by_time", None)


def test_days_that_may_be_months_are_no_time(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    seen = [f"{1 + n % 12:02}/{1 + n // 12 % 12:02}/2024" for n in range(400)]
    made, _ = drafted(customers().assign(seen=seen))
    assert made.time.value is None


def test_numbers_with_a_few_texts_among_them_are_numbers(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    frame = customers().astype({"visits": object})
    frame.loc[:3, "visits"] = "many"
    made, spec = drafted(frame)
    assert spec.columns["visits"].type == "number"
    assert any(line.startswith("visits: 4 values are no numbers") for line in made.review())


@pytest.mark.parametrize(
    ("written", "type_", "nulls", "why"),
    [
        (
            ["NA"] * 3 + ["n/a"],
            "integer",
            ("NA", "n/a"),
            "NA is among numbers (3 rows) and n/a is among numbers (1 rows)",
        ),
        (["-999"] * 4, "integer", ("-999",), "-999 is far below all others (4 rows)"),
        (["-5", "-999"], "integer", ("-999",), "-999 is far below all others (1 rows)"),
        (["null", "-9999.0"], "number", ("-9999", "null"), "-9999 is far below all others (1 rows) and null is among"),
        (["-800", "-999"], "integer", (), ""),
        (["NA"] * 400, "text", (), ""),
        (["Yes", "no"] * 199 + ["-", "-"], "boolean", ("-",), "- is among booleans (2 rows)"),
        (["1", "0"] * 200, "integer", (), ""),
        (["T"] * 400, "text", (), ""),
        (["2024-02-29", "2024-03-01"] * 199 + ["None"] * 2, "date", ("None",), "None is among dates (2 rows)"),
        (["01/02/2024", "03/04/2024"] * 200, "text", (), ""),
    ],
)
def test_what_stands_for_no_value_is_proposed_with_its_reason(
    tmp_path: Path,
    drafted: Callable[..., tuple[Draft, ModelSpec]],
    written: list[str],
    type_: str,
    nulls: tuple[str, ...],
    why: str,
) -> None:
    frame = customers().astype({"visits": str})
    frame.loc[: len(written) - 1, "visits"] = written
    made, spec = drafted(frame)
    column = spec.columns["visits"]
    assert (column.type, column.null_values) == (type_, nulls)
    (line,) = [
        line for line in (tmp_path / "models/m/model.yaml").read_text().splitlines() if "  visits: {type" in line
    ]
    assert (f"# guessed: null where {why}" in line) if why else ("null where" not in line)
    assert any(f"visits: null where {why}" in line for line in made.review()) == bool(why)


def test_a_file_as_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(as_it_comes())
    wanted = Wanted(target="Price; EUR", time=("Sold",), grain="week")
    made = draft.make("m", str(file), wanted, TODAY, tmp_path)
    draft.write(made, tmp_path)
    spec = catalogue.load("m", tmp_path)
    assert {name: (column.type, column.source) for name, column in spec.columns.items()} == {
        "id": ("integer", "ID"),
        "wohnflache_m2": ("number", "Wohnfläche (m²)"),
        "median_income_usd_yr": ("integer", "Median Income (USD)/yr."),
        "gebaut_am": ("date", "Gebaut am"),
        "sold": ("date", "Sold"),
        "garden": ("boolean", "Garden?"),
        "rooms_no": ("integer", "Rooms.No"),
        "column_8": ("text", "価格帯"),
    }
    assert (spec.target, spec.target_source, spec.deliveries.delimiter) == ("price_eur", "Price; EUR", ";")
    assert {name: column.null_values for name, column in spec.columns.items() if column.null_values} == {
        "wohnflache_m2": ("NA", "n/a"),
        "median_income_usd_yr": ("-999",),
        "gebaut_am": ("null",),
        "garden": ("-",),
    }
    assert spec.columns["gebaut_am"].format == "%d.%m.%Y"
    assert {"gebaut_am_year", "gebaut_am_month", "garden"} <= set(query.feature_schema(spec))
    assert "EXTRACT" in query.spark_sql(spec).upper()


def test_a_date_in_the_key_is_a_text(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    _, spec = drafted(rentals().drop(columns=["ride_no"]), target="registered", keys=("day", "hr"), time=("none",))
    assert spec.columns["day"].type == "text"


def test_parquet_says_what_is_a_date_or_a_boolean(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    frame = customers()
    frame["since"] = pd.date_range("2020-01-01", periods=len(frame)).date
    frame["vip"] = [True, False] * (len(frame) // 2)
    frame["seen"] = "31.12.2024"
    _, spec = drafted(frame[["customer_id", "spent", "since", "vip", "seen", "label"]], "rows.parquet")
    found = {name: column.type for name, column in spec.columns.items()}
    assert found == {"customer_id": "text", "spent": "number", "since": "date", "vip": "boolean", "seen": "date"}


def test_names_in_capitals_or_of_the_packages_own_have_their_headers_as_source() -> None:
    headers = ["Id", "Total Rooms", "total_rooms", "2nd", "target", "all"]
    made = names.of_headers(headers)
    assert list(made) == ["id", "total_rooms_2", "total_rooms", "nd", "target", "all_value"]
    assert list(made.values()) == headers


def test_names_that_yaml_or_sql_reads_otherwise(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    frame = customers().rename(columns={"visits": "no", "spent": "select", "plan": "null"})
    _, spec = drafted(frame)
    assert list(spec.columns) == ["customer_id", "select", "no", "null"]
    assert list(query.feature_schema(spec)) == ["select", "no", "null"]
    query.spark_sql(spec)


def test_values_that_yaml_or_sql_reads_otherwise(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    values = ["yes", "1.0", "a: b", "#x", "'; DROP", '"', "{{ name }}", "über", "l\nf"]
    _, spec = drafted(customers().assign(plan=[values[n % len(values)] for n in range(400)]))
    (rule,) = [rule for rule in expectations.load(spec) if rule.columns == ("plan",) and "value_set" in rule.arguments]
    assert rule.arguments["value_set"] == sorted(values)
    assert spec.features.categories["plan"].values == tuple(sorted(values))
    query.spark_sql(spec)


def test_of_many_texts_the_frequent_ones_are_named_and_free_text_is_no_feature(
    tmp_path: Path, drafted: Callable[..., tuple[Draft, ModelSpec]]
) -> None:
    towns = [f"town {n % 20:02}" if n % 4 else f"hamlet {n}" for n in range(400)]
    made, spec = drafted(customers().assign(town=towns, note=[f"{n} times" for n in range(400)])[[
        "customer_id", "spent", "town", "note", "label"
    ]])  # fmt: skip
    frequent = sorted({town for town in towns if town.startswith("town")})
    found = spec.features.categories["town"]
    assert len(found.values) == MOST_CATEGORIES
    assert set(frequent) < set(found.values)
    assert found.unseen == "other"
    said = "the 20 most frequent of 115 texts, 76.2% of the rows that have one"
    assert f"town: {said}; the others are one category together" in made.review()
    assert f"unseen: other}}  # guessed: {said}\n" in (tmp_path / "models/m/model.yaml").read_text()
    assert made.selection.left_out["note"] == (
        "it has 400 different texts, and the 20 most frequent are 5.0% of the rows: name in features.categories those "
        "that matter"
    )


def test_classes_are_a_task_of_their_own(drafted: Callable[..., tuple[Draft, ModelSpec]]) -> None:
    frame = customers().assign(label=np.tile([0, 1, 2, 2], 100))
    _, spec = drafted(frame)
    assert (spec.task, spec.metric) == (Task.MULTICLASS, "accuracy")
    assert spec.monitoring.performance.threshold == 0.5


def bytes_of(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "nothing in it": (b"", "is empty. Name a file with a header and rows"),
    "a header alone": (b"a,b\n", "has no row, and nothing can be guessed from fewer than 30"),
    "one row": (b"a,b\n1,2\n", "has 1 row, and"),
    "the same header twice": (b"a,b,a\n" + b"1,2,3\n" * 40, "column a occurs more than once. Rename one"),
    "another encoding": (b"name,label\n" + "Jürgen,1\n".encode("latin-1") * 40, "in another encoding"),
    "gzip": (b"\x1f\x8b\x08\x00" + b"\x00" * 40, "it is gzip. Deliver it as CSV"),
    "2,000 columns": (
        ",".join(f"c{n}" for n in range(2_000)).encode() + b"\n",
        "has 2000 columns, and 1000 are taken",
    ),
    "a column without a header": (
        b",spent,target\n" + b"1,2,3\n" * 40,
        "column 1 has no header. Have it delivered with a name of one line",
    ),
    "a header of two lines": (
        b'id,"spent\nmoney",target\n' + b"1,2,3\n" * 40,
        "column 2 has a header with a line break",
    ),
    "a target of texts": (
        bytes_of(customers().replace({"label": {0: "no", 1: "yes"}})),
        "label has texts (",
    ),
    "a target with decimal commas": (
        b"id;items;label\n" + b"".join(f"{n};{n % 7};{n},5\n".encode() for n in range(60)),
        "label has numbers with a decimal comma. Have them delivered with a point: 6.71",
    ),
    "decimal commas where the target may be": (
        b"id;items;cost\n" + b"".join(f"{n};{n % 7};1.{n:03},5\n".encode() for n in range(60)),
        "the numbers of cost have a decimal comma",
    ),
    "no target": (
        bytes_of(customers().rename(columns={"label": "left"})[["customer_id", "left", "spent", "plan"]]),
        "no column looks like what is to be predicted. Name one: TARGET=spent. The columns of numbers are left, spent",
    ),
    "a key within each day": (
        bytes_of(rentals().drop(columns=["ride_no"])),
        "take KEYS=hr. If none does, take KEYS=row_number",
    ),
    "nothing but the target's parts": (
        bytes_of(rentals()[["ride_no", "casual", "registered", "cnt"]]),
        "no column is left",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_says_too_little_ends_in_a_sentence(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, message = BAD_FILES[case]
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    assert_refused(tmp_path, capsys, message, "m", str(file))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1, 2]] * 40), "column tags has no plain values. Deliver plain values"),
        (pa.array([{"a": 1}] * 40), "column tags has no plain values. Deliver plain values"),
        (pa.array([1, 2] * 20, pa.time32("s")), "no delivery can have the types of tags (time32[ms]). Write them as"),
    ],
)
def test_a_parquet_file_of_other_types_ends_in_a_sentence(
    column: pa.Array, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pa.table({"id": range(40), "tags": column, "label": [0, 1] * 20}), tmp_path / "rows.parquet")
    assert_refused(tmp_path, capsys, message, "m", str(tmp_path / "rows.parquet"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m", "nowhere.csv"], "nowhere.csv: there is no such file. Name a CSV or Parquet file"),
        (["m", ""], "DATA: no file is named"),
        (["m", "."], ".: is a folder"),
        (["m", __file__], "is no CSV file and no Parquet file"),
        (["", "ROWS"], "NAME: no model is named. Take NAME=sales"),
        (["BikeDemand", "ROWS"], "NAME: 'BikeDemand' is no name of a model: lower-case letters, digits and _, a letter "
         "first. Take NAME=bike_demand"),
        (["there", "ROWS"], "there is a model there. Take another NAME, or delete the folder first"),
        (["m", "ROWS", "--target", "spend"], "TARGET: there is no column spend. The columns are customer_id, spent"),
        (["m", "ROWS", "--keys", "visits"], "KEYS: two rows have the same visits. Name more columns"),
        (["m", "ROWS", "--keys", "spent"], "KEYS: spent holds numbers with fractions"),
        (["m", "ROWS", "--time", "plan"], "TIME: plan has no date in some row, or dates that can be read in two ways"),
        (["m", "ROWS", "--grain", "year"], "GRAIN: 'year' is no grain. Use one of hour, day, week, month"),
        (["m", "ROWS", "--task", "ranking"], "TASK: 'ranking' is no task. Use one of regression, binary, multiclass"),
        (["m", "ROWS", "--task", "binary", "--target", "visits"], "TASK: the values of visits are not 0 and 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_ends_in_a_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(customers(), tmp_path / "rows.csv")
    (tmp_path / "models" / "there").mkdir(parents=True)
    assert_refused(tmp_path, capsys, message, *(rows if word == "ROWS" else word for word in arguments))


def assert_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    root = tmp_path / "models"
    root.mkdir(exist_ok=True)
    before = sorted(root.iterdir())
    assert main(["--models", str(root), "new", *arguments]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert sorted(root.iterdir()) == before, "nothing is written"


def test_a_folder_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    made = draft.make("m", write(customers(), tmp_path / "rows.csv"), Wanted(), TODAY, tmp_path)
    (tmp_path / "m").mkdir()
    with pytest.raises(FlightlineError, match="there is one by now"):
        draft.write(made, tmp_path)
    assert list((tmp_path / "m").iterdir()) == []


def test_the_command_says_what_to_review_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(rentals(), tmp_path / "rows.csv", delimiter=";")
    assert main(["--models", str(tmp_path), "new", "m", rows]) == 0
    said = capsys.readouterr().out
    assert "  - no feature: casual, since casual + registered = cnt\n" in said
    assert said.endswith(f"Then: make check-model NAME=m DATA={rows}\n")
    assert catalogue.load("m", tmp_path).deliveries.delimiter == ";"
