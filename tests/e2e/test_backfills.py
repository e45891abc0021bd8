"""Backfills as people do them. Afterwards the tables are as if each day had been run once, in order."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from playwright.sync_api import Page, expect

from include.core import catalogue
from include.core.partition import Partition
from include.core.settings import Settings
from include.demo import loop
from include.features import steps as features
from include.ingestion import steps as ingestion
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind, Outcome
from include.lakehouse.run import Run as Step
from include.lakehouse.schemas import (
    CLEAN,
    FEATURES,
    FEATURES_VERSION,
    METRICS,
    PARTITION,
    PREDICTIONS,
    PROFILES,
    QUARANTINE,
    RAW,
    RUN_ID,
    Table,
)
from include.lakehouse.tables import Lakehouse
from include.models.california_housing import sample
from include.monitoring import steps as monitoring
from include.registry import steps as registry
from include.runtime.airflow_api import Run
from include.scoring import steps as scoring
from include.training import steps as training
from tests.browser import chromium
from tests.played import BACKFILLED_DAYS, BACKFILLED_MODEL, WAIT_SECONDS, Played, logged_in, wait_for

MONTH, WEEK = range(1, 32), range(32, 39)
DAYS = (*MONTH, *WEEK)
ROWS, HISTORY_ROWS, REPEATED = 48, 400, 4
BAD_DAY, CLEARED_DAY = 16, 24
OF_A_BATCH = (RAW, QUARANTINE, PROFILES, CLEAN)
OF_ALL_STAGES = (*OF_A_BATCH, FEATURES, PREDICTIONS, METRICS)
OF_THE_RUN = (RUN_ID, FEATURES_VERSION)
"""Columns that say which run wrote a row."""
FOLLOWING = ("build_features", "score_batch", "monitor_model")
CHAIN = ("ingest_batch", "ingest_labels", *FOLLOWING)
MONTH_SECONDS = 900
Content = dict[Table, pa.Table]
_SAMPLE = sample.generate().dropna().sample(frac=1, random_state=20640)


@pytest.fixture(scope="module")
def page(played: Played) -> Iterator[Page]:
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    with chromium() as browser:
        yield logged_in(played, browser)


@dataclass
class Month:
    """A month of the model's batches and all stages of the week after it; what ran before a backfill.

    The tables are to hold what they had where each day was run once, in order.
    """

    played: Played
    expected: dict[Table, pa.Table]
    seen: set[str] = field(default_factory=set)

    def dag(self, verb_noun: str) -> str:
        return f"{self.played.spec.name}.{verb_noun}"

    def keys(self, days: Iterable[int]) -> set[str]:
        return {self.played.day(number) for number in days}

    def begin(self, verb_noun: str) -> None:
        """What runs from here on is of a new backfill: the one before has ended, or Airflow refuses it."""
        wait_for(lambda: not self.played.airflow.runs_backfill(self.dag(verb_noun)), "the last backfill to end")
        self.seen = {run.run_id for dag in CHAIN for run in self.played.airflow.runs(self.dag(dag))}

    def backfill(self, verb_noun: str, days: Sequence[int], *options: str) -> None:
        """On the command line, four runs at once."""
        self.begin(verb_noun)
        first, last = self.played.day(days[0]), self.played.day(days[-1])
        command = ["airflow", "backfill", "create", "--dag-id", self.dag(verb_noun), "--max-active-runs", "4"]
        done = subprocess.run(
            [*command, "--from-date", first, "--to-date", last, *options],
            env=self.played.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]

    def runs(self, verb_noun: str) -> list[Run]:
        """The runs of a DAG since `begin`, newest first."""
        return [run for run in self.played.airflow.runs(self.dag(verb_noun)) if run.run_id not in self.seen]

    def ended(self, verb_noun: str, days: Iterable[int]) -> dict[str, Run]:
        """Wait until each of these days has a run of the DAG since `begin`, and all of theirs ended; the newest."""
        wanted = self.keys(days)

        def newest() -> dict[str, Run]:
            theirs = [run for run in self.runs(verb_noun) if run.partition in wanted]
            runs = {str(run.partition): run for run in reversed(theirs)}
            return runs if wanted == runs.keys() and all(run.finished for run in theirs) else {}

        found: dict[str, Run] = wait_for(newest, f"{verb_noun} of {len(wanted)} days", MONTH_SECONDS)
        return found

    def went_through(self, days: Iterable[int], *dags: str) -> None:
        """Wait until they did."""
        for dag in dags:
            assert {run.state for run in self.ended(dag, days).values()} == {"success"}, dag

    def holds(self, days: Iterable[int], tables: Sequence[Table]) -> None:
        """Check that the tables have of these days what they had where each was run once, in order."""
        for table in tables:
            now, expected = content(self.played, table, days), only(self.expected[table], self.keys(days))
            assert now.num_rows == expected.num_rows > 0, table.layer
            assert now.equals(expected), table.layer


def content(played: Played, table: Table, days: Iterable[int]) -> pa.Table:
    """The rows of some days in one order, but for what names a run."""
    rows = played.lake.read(table.of(played.spec), where=[(PARTITION, "in", [played.day(day) for day in days])])
    names = sorted(set(rows.column_names) - {*OF_THE_RUN})
    plain = [(name, "ascending") for name in names if not pa.types.is_nested(rows[name].type)]
    return rows.select(names).sort_by(plain).combine_chunks()


def only(rows: pa.Table, keys: set[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows[PARTITION], pa.array(keys))).combine_chunks()


@pytest.fixture(scope="module")
def month(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Month:
    """A version is in production, and the days are delivered. Each was run once, in order; then that was undone."""
    spec = catalogue.load(BACKFILLED_MODEL, Path(played.environment()["FLIGHTLINE_MODELS"]))
    played = replace(played, spec=spec)
    for number in (0, *DAYS):
        deliver(played, number)

    def step(number: int) -> Step:
        return Step(spec, Settings.load(), played.lake, "reference", Partition.parse(played.day(number), spec.grain))

    ingest(step(0))
    features.materialize_features(step(0))
    promote(step(0))
    kept, lake = tmp_path_factory.mktemp("kept"), played.stack.home / "lakehouse"
    names = [table.of(spec).name for table in OF_ALL_STAGES if (lake / table.of(spec).name).exists()]
    for name in names:
        shutil.copytree(lake / name, kept / name)
    for number in MONTH:
        take_in(step(number))
    for number in WEEK:
        ingest(step(number))
        scoring.score_rows(step(number))
        monitoring.measure_window(step(number))
        monitoring.decide(step(number))
    month = Month(played, {table: content(played, table, DAYS) for table in OF_ALL_STAGES})
    for table in OF_ALL_STAGES:
        shutil.rmtree(lake / table.of(spec).name)
    for name in names:
        shutil.copytree(kept / name, lake / name)
    month.played = replace(played, lake=Lakehouse(str(lake)))  # the other one remembers what was undone

    deliver(played, BAD_DAY, broken=True)
    wait_for(lambda: len(played.airflow.dag_ids(spec.name)) == loop.DAGS, f"the DAGs of {spec.name}")
    return month


def take_in(step: Step) -> None:
    assert ingestion.validate_batch(step).outcome is not Outcome.REJECT_BATCH
    ingestion.load_batch(step)


def ingest(step: Step) -> None:
    take_in(step)
    ingestion.load_labels(step)
    features.compute_features(step)


def promote(step: Step) -> None:
    """Train a version on the history, and put it into production."""
    training_set = training.build_training_set(step)
    version = registry.register_candidate(step, training.fit_baseline(step, training_set), training_set)
    assert registry.check_staging(step, version).passed
    assert registry.check_production(step, version).passed
    registry.approve(step, version)
    registry.promote(step, version)


def deliver(played: Played, number: int, *, broken: bool = False) -> None:
    """A day's batch and labels. Some listings are there each day, with other values; one has no bedrooms."""
    begin, rows = (0, HISTORY_ROWS) if number == 0 else (HISTORY_ROWS + number * ROWS, ROWS)
    day = _SAMPLE.iloc[begin : begin + rows].reset_index(drop=True)
    day["listing_id"] = [*range(REPEATED), *range(begin + REPEATED, begin + rows)]
    day.loc[number % rows, "total_bedrooms"] = None
    batch = day[["listing_id", "longitude"]] if broken else day[list(played.spec.columns)]
    labels = day[["listing_id", played.spec.target]]
    for kind, frame in (("batches", batch), ("labels", labels)):
        played.delivery(kind, played.day(number)).write("rows.csv", frame.to_csv(index=False).encode())


def test_a_month_that_was_missed_is_caught_up_from_the_command_line_and_a_bad_day_is_seen(month: Month) -> None:
    """Switched on, a DAG starts the run of today alone: the days before are backfilled, those that are missing."""
    airflow, today = month.played.airflow, month.played.day(BACKFILLED_DAYS)
    month.begin("ingest_batch")
    airflow.unpause(month.dag("ingest_batch"))
    wait_for(lambda: month.runs("ingest_batch"), "the run of today")
    month.backfill("ingest_batch", MONTH)

    ended = month.ended("ingest_batch", MONTH)
    others = {str(run.partition) for run in airflow.runs(month.dag("ingest_batch"))} - {*ended}
    assert min(others) >= today, "and none of the days that were missed"
    bad = ended.pop(month.played.day(BAD_DAY))
    assert bad.state == "failed"
    assert bad.note.startswith(f"{bad.partition}: batch rejected (missing_column:")
    assert {run.state for run in ended.values()} == {"success"}
    month.holds([day for day in MONTH if day != BAD_DAY], OF_A_BATCH)
    assert content(month.played, CLEAN, [BAD_DAY]).num_rows == 0


def test_a_month_that_is_there_goes_in_reverse_from_the_form_while_a_task_is_cleared(month: Month, page: Page) -> None:
    played, dag = month.played, month.dag("ingest_batch")
    month.begin("ingest_batch")
    page.goto(f"/dags/{dag}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog").filter(has=page.get_by_role("heading", name=dag))
    form.get_by_text("Backfill", exact=True).click()
    for place, day in enumerate((MONTH[0], MONTH[-1])):
        form.get_by_test_id("datetime-input").nth(place).click()
        page.get_by_placeholder("YYYY/MM/DD").fill(played.day(day).replace("-", "/"))
        page.get_by_placeholder("HH:mm").fill("00:00")
        page.keyboard.press("Escape")
        expect(page.get_by_placeholder("HH:mm")).to_have_count(0)  # or the next one opens beside it
    form.get_by_text("All Runs").click()
    form.locator("input[name=max_active_runs]").fill("4")
    form.get_by_text("Run Backwards").click()
    expect(form.get_by_text(f"{len(MONTH)} runs will be triggered.")).to_be_visible()
    form.get_by_role("button", name="Run Backfill").click()

    def cleared() -> Run | None:
        runs = [run for run in month.runs("ingest_batch") if run.partition == played.day(CLEARED_DAY)]
        return next((run for run in runs if run.state == "success"), None)

    first = wait_for(cleared, f"the run of day {CLEARED_DAY}", MONTH_SECONDS)
    over = {run.partition for run in month.runs("ingest_batch") if run.finished}
    assert played.day(MONTH[-1]) in over
    assert played.day(MONTH[0]) not in over
    played.airflow.clear(first, "validate_batch")

    ended = month.ended("ingest_batch", MONTH)
    assert len(month.runs("ingest_batch")) == len(MONTH)
    bad = ended.pop(played.day(BAD_DAY))
    assert bad.state == "failed"
    assert {run.state for run in ended.values()} == {"success"}
    page.goto(f"/dags/{dag}/runs/{quote(bad.run_id, safe='')}/plugin/report")
    expect(page.frame_locator("iframe[title=Report]").get_by_text("missing_column").first).to_be_visible()
    month.holds([day for day in MONTH if day != BAD_DAY], OF_A_BATCH)


def test_the_bad_day_alone_is_run_again_once_it_is_delivered_anew(month: Month) -> None:
    deliver(month.played, BAD_DAY)
    month.backfill("ingest_batch", MONTH, "--reprocess-behavior", "failed")
    month.went_through([BAD_DAY], "ingest_batch")
    assert {run.partition for run in month.runs("ingest_batch")} == month.keys([BAD_DAY])
    month.holds(MONTH, OF_A_BATCH)


def test_a_week_that_paused_dags_missed_is_caught_up_and_flows_on(month: Month) -> None:
    """DAGs that assets start miss their events while they are paused; their days are backfilled as any other's."""
    month.played.airflow.unpause(month.dag("ingest_batch"))
    month.backfill("ingest_batch", WEEK)
    month.went_through(WEEK, "ingest_batch")
    for dag in ("ingest_labels", *FOLLOWING):
        month.played.airflow.unpause(month.dag(dag))
    month.backfill("ingest_labels", WEEK, "--run-backwards")
    month.went_through(WEEK, "ingest_labels", "monitor_model")
    month.backfill("build_features", WEEK, "--run-backwards")
    month.went_through(WEEK, *FOLLOWING)
    assert {run.partition for run in month.runs("build_features")} == month.keys(WEEK)
    wait_for(lambda: said(month, in_order=False) == said(month, in_order=True), "the decisions to be as in order")
    month.went_through(WEEK, *FOLLOWING)
    month.holds(WEEK, OF_ALL_STAGES)


@pytest.mark.parametrize(("dag", "follows"), [("score_batch", ["monitor_model"]), ("monitor_model", [])])
def test_a_stage_is_backfilled_alone(month: Month, dag: str, follows: list[str]) -> None:
    month.backfill(dag, WEEK, "--reprocess-behavior", "completed", "--run-backwards")
    month.went_through(WEEK, dag, *follows)
    for other in {*CHAIN} - {dag, *follows}:
        assert not month.runs(other)
    month.holds(WEEK, OF_ALL_STAGES)


def test_the_policy_decided_on_each_day_as_if_they_had_come_in_order(month: Month) -> None:
    """The last word on each day is the one that was said where each day was run once, in order."""
    assert said(month, in_order=False) == said(month, in_order=True)
    assert said(month, in_order=True).keys() == month.keys(WEEK)


def said(month: Month, *, in_order: bool) -> dict[str, str]:
    """By day the last word of the policy, and what it took: on those that were run once, in order, or on the others."""
    history = decisions.history(month.played.lake, month.played.spec.name, Kind.RETRAINING_POLICY)
    words = {}
    for item in sorted(history, key=lambda item: item.recorded_at):
        if in_order == (item.run_id == "reference"):
            words[item.subject] = json.dumps([item.outcome, item.reasons, item.inputs])
    return words
