"""The web UI in a real browser: every DAG is triggered there; the tab of a run says what it decided, and acts not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from include.runtime.airflow_api import Run
from tests.browser import chromium
from tests.played import WAIT_SECONDS, Played, logged_in, wait_for

KEY, TRAINING_SECONDS = "partitionKey", 900
Fields = dict[str, str]
FORMS: dict[str, Callable[[Played], Fields]] = {
    "replay_source": lambda played: {},
    "maintain_tables": lambda played: {},
    "ingest_batch": lambda played: {KEY: played.day(1)},
    "ingest_labels": lambda played: {KEY: played.day(1)},
    "build_features": lambda played: {KEY: played.day(1)},
    "score_batch": lambda played: {KEY: played.day(1)},
    "monitor_model": lambda played: {KEY: played.day(1)},
    "reprocess_quarantine": lambda played: {"element_partition": played.day(1)},
    "withdraw_batch": lambda played: {"element_partition": played.day(1)},
    "roll_back_model": lambda played: {"element_version": "1"},
    "collect_requests": lambda played: {},
    "rebuild_version": lambda played: {"element_version": "1"},
    "promote_model": lambda played: {KEY: "1"},
    "train_model": lambda played: {KEY: played.day(3)},
    "request_training": lambda played: {KEY: played.day(3)},  # the last: it starts a training, which nobody waits for
}
"""By DAG the fields of its trigger form that a person fills in; the others are as they are."""


@pytest.fixture(scope="module")
def page(played: Played) -> Iterator[Page]:
    """A tab of a browser in which an admin is logged in."""
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    with chromium() as browser:
        yield logged_in(played, browser)


def trigger(played: Played, page: Page, dag: str, fields: Fields) -> Run:
    """Fill the trigger form in and send it; the run that it made."""
    dag_id = f"{played.spec.name}.{dag}"
    before = {run.run_id for run in played.airflow.runs(dag_id)}
    page.goto(f"/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    if KEY in fields:
        form.get_by_text("Advanced Options").click()
    for name, value in fields.items():
        form.locator(f"input[name={name}]").fill(value)
        form.locator(f"input[name={name}]").blur()
    form.get_by_role("button", name="Trigger", exact=True).click()

    def made() -> list[Run]:
        return [run for run in played.airflow.runs(dag_id) if run.run_id not in before and "manual" in run.run_id]

    (run,) = wait_for(made, f"a run of {dag_id}")
    return run


def test_every_dag_has_its_form(played: Played) -> None:
    assert {f"{played.spec.name}.{dag}" for dag in FORMS} == set(played.airflow.dag_ids(played.spec.name))


@pytest.mark.parametrize("dag", FORMS)
def test_a_dag_is_triggered_from_its_form(played: Played, page: Page, dag: str) -> None:
    fields = FORMS[dag](played)
    run = trigger(played, page, dag, fields)
    assert run.partition == fields.get(KEY)
    assert "success" in played.airflow.task_states(played.finish(run, TRAINING_SECONDS)).values(), (
        "a run without a task succeeds, too"
    )


def test_reprocessing_without_a_day_offers_those_that_have_rows_in_quarantine(played: Played, page: Page) -> None:
    run = played.finish(trigger(played, page, "reprocess_quarantine", {}))
    assert played.airflow.task_states(run)["list_partitions"] == "success"
    assert played.airflow.task_states(run)["judge_again"] == "skipped"
    page.goto(f"/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}/plugin/report")
    report = page.frame_locator("iframe[title=Report]")
    expect(report.get_by_text("In quarantine now")).to_be_visible()
    expect(report.get_by_role("cell", name=played.day(1), exact=True)).to_be_visible()


def test_the_tab_of_a_run_says_what_it_decided(played: Played, page: Page) -> None:
    line = played.summary["days"][1]
    runs = played.airflow.runs(f"{played.spec.name}.ingest_batch")
    run = next(run for run in runs if run.partition == line["date"])
    page.goto(f"/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}")
    page.get_by_role("link", name="Report", exact=True).click()
    report = page.frame_locator("iframe[title=Report]")
    verdict = f"{line['accepted']:,} of {line['rows']:,} rows accepted, {line['quarantined']:,} in quarantine"
    expect(report.get_by_role("heading", name=verdict)).to_be_visible()


def test_mlflow_and_feast_are_linked_in_the_menu(played: Played, page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Browse").click()
    for name, address in {"MLflow": played.stack.mlflow_url, "Feast": played.stack.feast_url}.items():
        expect(page.get_by_role("menuitem", name=name)).to_have_attribute("href", address)


def test_a_cell_does_nothing_with_the_rights_of_an_admin(played: Played, page: Page) -> None:
    """What it did when pages were Great Expectations' own: an Airflow variable was there afterwards."""
    body = "{method:'POST',headers:{'Content-Type':'application/json'},body:JSON.stringify({key:'owned',value:'1'})}"
    cell = f"<svg/onload=fetch('/api/v2/variables',{body})>"
    day, header = played.day(22), ",".join(played.spec.columns)
    line = "{},-120,36,20,1000,200,700,300,3.5,{}"
    rows = [header, *(line.format(number, "INLAND") for number in range(50)), line.format(99, f'"{cell}"')]
    played.delivery("batches", day).write("a.csv", ("\n".join(rows) + "\n").encode())
    run = played.finish(played.trigger("ingest_batch", partition=day))
    answer = page.goto(f"/run-report/{run.dag_id}/{quote(run.run_id, safe='')}")
    assert answer is not None
    assert answer.status == 200
    expect(page.get_by_role("cell", name=cell[:60])).to_be_visible()  # an example has 80 characters at most
    page.wait_for_timeout(500)
    assert page.request.get("/api/v2/variables/owned").status == 404
