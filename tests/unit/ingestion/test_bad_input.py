"""The real file with one thing broken: each has one verdict that says what, where, and what to do, and loses no row."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import yaml

from include.core.errors import DeliveryError
from include.core.settings import Places
from include.core.spec import ModelSpec
from include.features import query
from include.ingestion import audit, batch, conditions
from include.ingestion.batch import BatchVerdict
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Workspace
from include.lakehouse.tables import Lakehouse
from tests.unit.conftest import as_nobody
from tests.unit.ingestion.cases import CASES, ROWS, Rows, as_csv, cell, in_chunks

DAY = date(2025, 1, 2)
Deliver = Callable[..., Delivery]


@pytest.fixture(params=["at once", "in chunks"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways that a delivery is judged: small ones at once, large ones in chunks."""
    if request.param == "in chunks":
        in_chunks(monkeypatch, block_bytes=5_000)


def run(spec: ModelSpec, lake: Lakehouse, delivery: Delivery) -> tuple[BatchVerdict, batch.BatchCounts]:
    """What the DAG does with a delivery; the books are balanced after it, whatever it was."""
    verdict = batch.validate(spec, lake, delivery)
    day = delivery.day
    if verdict.outcome == "reject_batch":
        counts = batch.reject(spec, lake, day, verdict.batch_reasons)
    else:
        counts = batch.load(spec, lake, day)
    where = {"batch_date": day}
    assert counts.rows == counts.accepted + counts.quarantined
    layers = {layer: lake.count(spec.table(layer), where=where) for layer in ("raw", "clean", "quarantine")}
    assert layers == {"raw": counts.rows, "clean": counts.accepted, "quarantine": counts.quarantined}
    return verdict, counts


@pytest.mark.parametrize("case", CASES)
def test_bad_input_has_its_verdict(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At once; test_bulk.py holds the same cases in chunks against this."""
    broken = CASES[case]
    for n in range(broken.days_before + 1):
        run(spec, lake, deliver(real, DAY - timedelta(days=n)))
    content = broken.content(real)
    delivery = deliver(content)
    with caplog.at_level("INFO"):
        verdict, counts = run(spec, lake, delivery)
    assert verdict.outcome == broken.outcome
    assert counts == batch.BatchCounts(broken.rows, broken.rows - broken.quarantined, broken.quarantined)
    if broken.outcome == "reject_batch":
        (reason,) = broken.reasons
        problem = verdict.problems[verdict.batch_reasons.index(reason)]
        assert problem.startswith(delivery.folder)
        assert "\n" not in problem
        assert ". " in problem
    else:
        kept = lake.read(spec.table("quarantine"), where=[("batch_date", "=", DAY)])
        assert [tuple(row) for row in kept["reasons"].to_pylist()] == [broken.reasons] * broken.quarantined
    assert all(reason.partition(":")[0] in caplog.text for reason in broken.reasons)
    assert (Path(delivery.folder) / "california_housing.csv").read_bytes() == content
    assert delivery.is_complete()


@pytest.mark.usefixtures("path")
def test_other_delimiter_is_read_where_model_yaml_names_it(
    spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows
) -> None:
    other = spec.model_copy(update={"deliveries": spec.deliveries.model_copy(update={"delimiter": ";"})})
    delivery = Delivery.expected(places, other, "batches", DAY)
    delivery.write("california_housing.csv", as_csv(real, ";"))
    assert run(other, lake, delivery)[1] == batch.BatchCounts(ROWS, ROWS, 0)


def test_unusual_number_of_rows_is_said_with_the_usual_one(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(1, 4):
        run(spec, lake, deliver(real, DAY - timedelta(days=n)))
    with caplog.at_level("INFO"):
        run(spec, lake, deliver(real[:2]))
    assert "1 rows, usual are 40 to 4000" in caplog.text


@pytest.mark.usefixtures("path")
def test_same_batch_twice_changes_nothing(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows) -> None:
    delivery = deliver(cell("latitude", "51.5")(real))
    seen = []
    for _ in range(2):
        counts = run(spec, lake, delivery)[1]
        tables = [lake.read(spec.table(layer)) for layer in ("raw", "quarantine", "clean", "profiles")]
        seen.append((counts, [sorted(map(repr, table.to_pylist())) for table in tables]))
    assert seen[0] == seen[1]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("first", ["the earlier day", "the later day"])
@pytest.mark.parametrize(("rule", "second"), [("latest_wins", (ROWS, 0)), ("quarantine", (ROWS - 100, 100))])
def test_key_that_another_batch_has(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    real: Rows,
    first: str,
    rule: str,
    second: tuple[int, int],
) -> None:
    lenient = {"repeated_key": rule, "quarantine_budget": 0.5, "row_count_band": None}
    spec = spec.model_copy(update={"ingestion": spec.ingestion.model_copy(update=lenient)})
    days = [DAY, DAY + timedelta(days=1)]
    if first == "the later day":
        days.reverse()
    run(spec, lake, deliver(real[:101], days[0]))
    for _ in range(2):
        _, counts = run(spec, lake, deliver(real, days[1]))
        assert (counts.accepted, counts.quarantined) == second
    # The day that came first keeps its rows when it is run again.
    assert run(spec, lake, deliver(real[:101], days[0]))[1] == batch.BatchCounts(100, 100, 0)


@pytest.mark.usefixtures("path")
def test_marker_without_file_is_a_verdict(spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows) -> None:
    delivery = deliver(real)
    (Path(delivery.folder) / "california_housing.csv").unlink()
    verdict, counts = run(spec, lake, delivery)
    assert (verdict.batch_reasons, counts.rows) == (("no_file",), 0)
    assert "Deliver the file again" in verdict.problems[0]


def test_file_without_marker_is_waited_for(
    spec: ModelSpec, lake: Lakehouse, deliver: Deliver, real: Rows, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver(real)
    Path(delivery.marker).unlink()
    monkeypatch.setenv("FLIGHTLINE_LANDING_URI", places.landing_uri)
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", places.lakehouse_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", places.mlflow_uri)
    assert not conditions.batch_delivered(spec.name, DAY.isoformat())
    assert delivery.marker in conditions.batch_marker(spec.name, DAY.isoformat())
    with pytest.raises(DeliveryError, match="_SUCCESS is missing"):
        batch.validate(spec, lake, delivery)
    assert not lake.exists(spec.table("clean"))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("closed", ["the file", "the folder"])
def test_unreadable_permissions_are_a_verdict(spec: ModelSpec, real: Rows, world_folder: Path, closed: str) -> None:
    places = Places("dev", str(world_folder / "landing"), str(world_folder / "lakehouse"), "unused")
    with as_nobody():
        lake, delivery = Lakehouse(places), Delivery.expected(places, spec, "batches", DAY)
        delivery.write("california_housing.csv", as_csv(real))
        run(spec, lake, delivery)
        folder, file = Path(delivery.folder), Path(delivery.folder) / "california_housing.csv"
        (file if closed == "the file" else folder).chmod(0)
        verdict, counts = run(spec, lake, delivery)
        folder.chmod(0o755)
    assert (verdict.outcome, verdict.batch_reasons) == ("reject_batch", ("no_permission",))
    assert counts == batch.BatchCounts(0, 0, 0)
    (problem,) = verdict.problems
    assert problem.startswith(f"{file if closed == 'the file' else folder}: may not be ")
    assert problem.endswith("Let the account that Airflow's workers run as read it")


PARQUET = {
    "as is": (lambda table: table, set(), 0),
    "a null": (lambda table: table.set_column(4, "total_rooms", _with_null(table["total_rooms"])), set(), 1),
    "a column as text": (
        lambda table: table.set_column(4, "total_rooms", table["total_rooms"].cast(pa.string())),
        {"retyped_column:total_rooms"},
        ROWS,
    ),
}


def _with_null(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None, *column.to_pylist()[1:]], column.type)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("case", PARQUET)
def test_parquet(spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows, case: str) -> None:
    change, batch_reasons, quarantined = PARQUET[case]
    sink = io.BytesIO()
    pq.write_table(change(pacsv.read_csv(io.BytesIO(as_csv(real)))), sink)
    delivery = Delivery.expected(places, spec, "batches", DAY)
    delivery.write("california_housing.parquet", sink.getvalue())
    verdict, counts = run(spec, lake, delivery)
    assert set(verdict.batch_reasons) == batch_reasons
    assert counts == batch.BatchCounts(ROWS, ROWS - quarantined, quarantined)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_parquet_that_breaks_off(spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows, keep: float) -> None:
    sink = io.BytesIO()
    pq.write_table(pacsv.read_csv(io.BytesIO(as_csv(real))), sink)
    delivery = Delivery.expected(places, spec, "batches", DAY)
    delivery.write("california_housing.parquet", sink.getvalue()[: int(len(sink.getvalue()) * keep)])
    verdict, counts = run(spec, lake, delivery)
    assert (verdict.batch_reasons, counts.rows) == (("malformed_parquet",), 0)


@pytest.mark.usefixtures("path")
def test_stale_rows_reject(spec: ModelSpec, lake: Lakehouse, places: Places, real: Rows) -> None:
    columns = spec.columns | {"listed_at": spec.columns["ocean_proximity"]}
    fresh = {"column": "listed_at", "max_age_hours": 48}
    content = spec.model_dump() | {"columns": {name: column.model_dump() for name, column in columns.items()}}
    content["ingestion"]["freshness"] = fresh
    dated = ModelSpec.model_validate(content)
    dated._folder = spec.folder
    for newest, reasons in (("2025-01-01T03:00:00Z", ()), ("2024-12-31T23:00:00Z", ("stale_rows:listed_at",))):
        times = ["listed_at", *(["2024-06-01"] * (ROWS - 1)), newest]
        delivery = Delivery.expected(places, dated, "batches", DAY)
        delivery.write("california_housing.csv", as_csv([[*row, t] for row, t in zip(real, times, strict=True)]))
        assert run(dated, lake, delivery)[0].batch_reasons == reasons


@pytest.mark.usefixtures("path")
def test_personal_values_are_in_no_log_and_no_docs(
    spec: ModelSpec,
    lake: Lakehouse,
    deliver: Deliver,
    real: Rows,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [list(row) for row in real]
    secrets = {"ocean_proximity": "jane.doe@example.com", "total_rooms": "415-555-2671"}
    for n, (column, value) in enumerate(secrets.items(), start=5):
        rows[n][rows[0].index(column)] = value
    with caplog.at_level("INFO"):
        verdict = batch.validate(spec, lake, deliver(rows), tmp_path / "docs")
    assert verdict.quarantined == 2
    page = (tmp_path / "docs" / "index.html").read_text()
    profile = repr(lake.read(spec.table("profiles")).to_pylist())
    for secret in secrets.values():
        assert secret not in caplog.text
        assert secret not in page
        assert secret not in repr(verdict)
        assert secret not in profile


@pytest.mark.usefixtures("path")
def test_a_personal_column_is_in_no_log_docs_profile_decision_or_feature(
    spec: ModelSpec,
    places: Places,
    lake: Lakehouse,
    real: Rows,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Values that break a rule, are repeated, or have another type: whatever a message could show."""
    personal = with_personal_columns(spec, tmp_path)
    people = [f"person.{n}@example.com" if n % 40 else "nobody of note" for n in range(ROWS)]
    phones = [str(4155550000 + n) if n % 50 else "unlisted-4155559" for n in range(ROWS)]
    rows = [[*real[0], "contact", "phone"]]
    rows += [[*row, *more] for row, *more in zip(real[1:], people, phones, strict=True)]
    delivery = Delivery.expected(places, personal, "batches", DAY)
    delivery.write("california_housing.csv", as_csv(rows))
    workspace = Workspace(personal, replace(places, docs_folder=str(tmp_path / "docs")), lake)
    with caplog.at_level("DEBUG"):
        verdict = audit.validate(workspace, DAY, "run")
        batch.load(personal, lake, DAY)
    by_column = {reason.partition(":")[2]: count for reason, count in verdict.reasons.items()}
    assert by_column == {"contact": ROWS // 40, "phone": ROWS // 50}
    (page,) = (tmp_path / "docs").rglob("index.html")
    features = query.compute(personal, lake, DAY)
    shown = {
        "log": caplog.text + "".join(capfd.readouterr()),
        "docs": page.read_text(),
        "verdict": repr(verdict),
        **{layer: repr(lake.read(personal.table(layer)).to_pylist()) for layer in ("profiles", "metrics")},
        "decisions": repr(lake.read("decisions").to_pylist()),
        "features": repr(features.to_pylist()) + repr(features.column_names),
    }
    for where, text in shown.items():
        for secret in ("@example.com", "person.", "nobody of note", "4155550", "unlisted-"):
            assert secret not in text, where
    assert "contact" in shown["docs"], "the rule is there, its values are not"
    assert "contact" not in shown["features"]
    kept = lake.read(personal.table("clean"))
    assert "person.1@example.com" in kept["contact"].to_pylist(), "who may read the table finds them there"


def with_personal_columns(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The model with an address and a number that are tagged, and a rule on the address."""
    content = spec.model_dump()
    content["columns"] |= {
        "contact": {"type": "text", "description": "Who to ask", "pii": True},
        "phone": {"type": "integer", "description": "Where", "pii": True},
    }
    rules = yaml.safe_load((spec.folder / "expectations.yaml").read_text())
    rule = {"type": "expect_column_values_to_match_regex", "column": "contact", "regex": "@"}
    rules["expectations"].append({**rule, "severity": "quarantine_row"})
    (folder / "expectations.yaml").write_text(yaml.safe_dump(rules))
    shutil.copy(spec.folder / "features.sql", folder)
    personal = ModelSpec.model_validate(content)
    personal._folder = folder
    return personal
