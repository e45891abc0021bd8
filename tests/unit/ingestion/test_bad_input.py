"""The real file with one thing broken: each has one verdict that says what, where, and what to do, and loses no row."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import yaml

from include.core.errors import DeliveryError
from include.core.settings import Settings
from include.core.spec import ModelSpec
from include.features import query
from include.ingestion import delivery as deliveries
from include.ingestion import steps
from include.ingestion.batch import BatchCounts
from include.ingestion.delivery import Delivery
from include.ingestion.verdict import BatchVerdict
from include.lakehouse.run import Run
from include.lakehouse.schemas import CLEAN, METRICS, PROFILES, QUARANTINE, RAW
from include.lakehouse.selection import within
from include.lakehouse.tables import Lakehouse
from include.pages import run_page
from tests.unit.conftest import as_nobody
from tests.unit.ingestion.cases import CASES, DAY, ROWS, Rows, as_csv, cell, ingest, with_ingestion, with_rules

pytestmark = pytest.mark.slow

Deliver = Callable[..., Run]


def balanced(run: Run) -> tuple[BatchVerdict, BatchCounts]:
    """What the DAG does with a delivery; the books are balanced after it, whatever it was."""
    verdict, counts = ingest(run)
    assert counts.rows == counts.accepted + counts.quarantined
    found = [run.lake.count(run.table(table), where=within(run.partition)) for table in (RAW, CLEAN, QUARANTINE)]
    assert found == [counts.rows, counts.accepted, counts.quarantined]
    return verdict, counts


@pytest.fixture(scope="module")
def kept() -> dict[int, Path]:
    """Lakehouses that `good_days` has made."""
    return {}


@pytest.fixture
def good_days(
    run: Run, deliver: Deliver, real: Rows, kept: dict[int, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], None]:
    """Return a function that ingests the day's good batch and those of days before it: once, then it is copied."""

    def ingested(days_before: int) -> None:
        lakehouse = Path(run.settings.lakehouse_uri)
        if days_before in kept:
            shutil.copytree(kept[days_before], lakehouse)
            return
        for n in range(days_before + 1):
            balanced(deliver(real, DAY.shift(-n)))
        kept[days_before] = shutil.copytree(lakehouse, tmp_path_factory.mktemp("kept") / "lakehouse")

    return ingested


def delivery_of(run: Run) -> Delivery:
    return Delivery.expected(run.settings, run.spec, "batches", run.partition)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_has_its_verdict(
    run: Run,
    deliver: Deliver,
    real: Rows,
    good_days: Callable[[int], None],
    case: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once; test_chunked.py holds the same cases in chunks against this."""
    broken = CASES[case]
    good_days(broken.days_before)
    content = broken.content(real)
    deliver(content)
    with caplog.at_level("INFO"):
        verdict, counts = balanced(run)
    delivery = delivery_of(run)
    assert verdict.outcome == broken.outcome
    assert counts == BatchCounts(broken.rows, broken.rows - broken.quarantined, broken.quarantined)
    if broken.outcome == "reject_batch":
        (reason,) = broken.reasons
        problem = verdict.problems[verdict.batch_reasons.index(reason)]
        assert problem.startswith(delivery.folder)
        assert "\n" not in problem
        assert ". " in problem
    else:
        kept = run.lake.read(run.table(QUARANTINE), where=within(DAY))
        assert [tuple(row) for row in kept["reasons"].to_pylist()] == [broken.reasons] * broken.quarantined
    assert all(reason.partition(":")[0] in caplog.text for reason in broken.reasons)
    assert (Path(delivery.folder) / "california_housing.csv").read_bytes() == content
    assert delivery.is_complete()


@pytest.mark.usefixtures("path")
def test_other_delimiter_is_read_where_model_yaml_names_it(run: Run, deliver: Deliver, real: Rows) -> None:
    deliveries = run.spec.deliveries.model_copy(update={"delimiter": ";"})
    other = replace(run, spec=run.spec.model_copy(update={"deliveries": deliveries}))
    assert balanced(deliver(as_csv(real, ";"), of=other))[1] == BatchCounts(ROWS, ROWS, 0)


def test_unusual_number_of_rows_is_said_with_the_usual_one(
    deliver: Deliver, real: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(1, 4):
        balanced(deliver(real, DAY.shift(-n)))
    with caplog.at_level("INFO"):
        balanced(deliver(real[:2]))
    assert "1 rows, usual are 40 to 4000" in caplog.text


@pytest.mark.usefixtures("path")
def test_same_batch_twice_changes_nothing(run: Run, deliver: Deliver, real: Rows) -> None:
    deliver(cell("latitude", "51.5")(real))
    seen = []
    for _ in range(2):
        counts = balanced(run)[1]
        tables = [run.lake.read(run.table(table)) for table in (RAW, QUARANTINE, CLEAN, PROFILES)]
        seen.append((counts, [sorted(map(repr, table.to_pylist())) for table in tables]))
    assert seen[0] == seen[1]


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("first", ["the earlier day", "the later day"])
@pytest.mark.parametrize(("rule", "second"), [("latest_wins", (ROWS, 0)), ("quarantine", (ROWS - 100, 100))])
def test_key_that_another_batch_has(
    run: Run,
    deliver: Deliver,
    real: Rows,
    first: str,
    rule: str,
    second: tuple[int, int],
) -> None:
    unique = {"type": "expect_column_values_to_be_unique", "column": "listing_id", "severity": "quarantine_row"}
    run = with_rules(run, unique, and_own=False)  # the others say nothing of keys, and take long
    run = with_ingestion(run, repeated_key=rule, quarantine_budget=0.5, row_count_band=None)
    days = [DAY, DAY.shift(1)]
    if first == "the later day":
        days.reverse()
    balanced(deliver(real[:101], days[0], of=run))
    for _ in range(2):
        _, counts = balanced(deliver(real, days[1], of=run))
        assert (counts.accepted, counts.quarantined) == second
    # The day that came first keeps its rows when it is run again.
    assert balanced(deliver(real[:101], days[0], of=run))[1] == BatchCounts(100, 100, 0)


@pytest.mark.usefixtures("path")
def test_marker_without_file_is_a_verdict(run: Run, deliver: Deliver, real: Rows) -> None:
    balanced(deliver(real))
    (Path(delivery_of(run).folder) / "california_housing.csv").unlink()
    verdict, counts = balanced(run)
    assert run.lake.count(run.table(PROFILES)) == run.lake.count(run.table(METRICS)) == 0, (
        "nor of what was there before"
    )
    assert (verdict.batch_reasons, counts.rows) == (("no_file",), 0)
    assert "Deliver the file again" in verdict.problems[0]


def test_file_without_marker_is_waited_for(
    run: Run, deliver: Deliver, real: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = delivery_of(deliver(real))
    Path(delivery.marker).unlink()
    monkeypatch.setenv("FLIGHTLINE_LANDING_URI", run.settings.landing_uri)
    monkeypatch.setenv("FLIGHTLINE_LAKEHOUSE_URI", run.settings.lakehouse_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.settings.mlflow_uri)
    assert not deliveries.batch_delivered(run.spec.name, DAY.key)
    assert delivery.marker in deliveries.batch_marker(run.spec.name, DAY.key)
    with pytest.raises(DeliveryError, match="_SUCCESS is missing"):
        steps.validate_batch(run)
    assert not run.lake.exists(run.table(CLEAN))
    assert not run.lake.exists("decisions")


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("closed", ["the file", "the folder"])
def test_unreadable_permissions_are_a_verdict(
    spec: ModelSpec, deliver: Deliver, real: Rows, world_folder: Path, closed: str
) -> None:
    places = Settings(landing_uri=str(world_folder / "landing"))
    run = Run(spec, places, Lakehouse(str(world_folder / "lakehouse")), "run", DAY)
    with as_nobody():
        balanced(deliver(real, of=run))
        delivery = delivery_of(run)
        folder, file = Path(delivery.folder), Path(delivery.folder) / "california_housing.csv"
        (file if closed == "the file" else folder).chmod(0)
        verdict, counts = balanced(run)
        folder.chmod(0o755)
    assert (verdict.outcome, verdict.batch_reasons) == ("reject_batch", ("no_permission",))
    assert counts == BatchCounts(0, 0, 0)
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
def test_parquet(deliver: Deliver, real: Rows, case: str) -> None:
    change, batch_reasons, quarantined = PARQUET[case]
    sink = io.BytesIO()
    pq.write_table(change(pacsv.read_csv(io.BytesIO(as_csv(real)))), sink)
    verdict, counts = balanced(deliver(sink.getvalue(), file="california_housing.parquet"))
    assert set(verdict.batch_reasons) == batch_reasons
    assert counts == BatchCounts(ROWS, ROWS - quarantined, quarantined)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_parquet_that_breaks_off(deliver: Deliver, real: Rows, keep: float) -> None:
    sink = io.BytesIO()
    pq.write_table(pacsv.read_csv(io.BytesIO(as_csv(real))), sink)
    content = sink.getvalue()[: int(len(sink.getvalue()) * keep)]
    verdict, counts = balanced(deliver(content, file="california_housing.parquet"))
    assert (verdict.batch_reasons, counts.rows) == (("malformed_parquet",), 0)


@pytest.mark.usefixtures("path")
def test_stale_rows_reject(run: Run, spec: ModelSpec, deliver: Deliver, real: Rows) -> None:
    columns = spec.columns | {"listed_at": spec.columns["ocean_proximity"]}
    fresh = {"column": "listed_at", "max_age_hours": 48}
    content = spec.model_dump() | {"columns": {name: column.model_dump() for name, column in columns.items()}}
    content["ingestion"]["freshness"] = fresh
    dated = ModelSpec.model_validate(content)
    dated._folder = spec.folder
    for newest, reasons in (("2025-01-01T03:00:00Z", ()), ("2024-12-31T23:00:00Z", ("stale_rows:listed_at",))):
        times = ["listed_at", *(["2024-06-01"] * (ROWS - 1)), newest]
        rows = [[*row, t] for row, t in zip(real, times, strict=True)]
        assert balanced(deliver(rows, of=replace(run, spec=dated)))[0].batch_reasons == reasons


@pytest.mark.usefixtures("path")
def test_personal_values_are_in_no_log_and_on_no_page(
    run: Run,
    deliver: Deliver,
    real: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [list(row) for row in real]
    secrets = {"ocean_proximity": "jane.doe@example.com", "total_rooms": "415-555-2671"}
    for n, (column, value) in enumerate(secrets.items(), start=5):
        rows[n][rows[0].index(column)] = value
    with caplog.at_level("INFO"):
        verdict = steps.validate_batch(deliver(rows, of=run))
    assert verdict.quarantined == 2
    page = run_page.of_run(run, "ingest_batch", None)
    profile = repr(run.lake.read(run.table(PROFILES)).to_pylist())
    for secret in secrets.values():
        assert secret not in caplog.text
        assert secret not in page
        assert secret not in repr(verdict)
        assert secret not in profile


@pytest.mark.usefixtures("path")
def test_a_personal_column_is_in_no_log_page_profile_decision_or_feature(
    run: Run,
    deliver: Deliver,
    real: Rows,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Values that break a rule, are repeated, or have another type: whatever a message could show."""
    personal = with_personal_columns(run.spec, tmp_path)
    run = replace(run, spec=personal)
    people = [f"person.{n}@example.com" if n % 40 else "nobody of note" for n in range(ROWS)]
    phones = [str(4155550000 + n) if n % 50 else "unlisted-4155559" for n in range(ROWS)]
    rows = [[*real[0], "contact", "phone"]]
    rows += [[*row, *more] for row, *more in zip(real[1:], people, phones, strict=True)]
    with caplog.at_level("DEBUG"):
        verdict, _ = ingest(deliver(rows, of=run))
    by_column = {reason.partition(":")[2]: count for reason, count in verdict.reasons.items()}
    assert by_column == {"contact": ROWS // 40, "phone": ROWS // 50}
    features = query.compute(personal, run.lake, DAY)
    shown = {
        "log": caplog.text + "".join(capfd.readouterr()),
        "page": run_page.of_run(run, "ingest_batch", None),
        "verdict": repr(verdict),
        **{table.layer: repr(run.lake.read(run.table(table)).to_pylist()) for table in (PROFILES, METRICS)},
        "decisions": repr(run.lake.read("decisions").to_pylist()),
        "features": repr(features.to_pylist()) + repr(features.column_names),
    }
    for where, text in shown.items():
        for secret in ("@example.com", "person.", "nobody of note", "4155550", "unlisted-"):
            assert secret not in text, where
    assert "contact" in shown["page"], "the rule is there, its values are not"
    assert "contact" not in shown["features"]
    kept = run.lake.read(run.table(CLEAN))
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
