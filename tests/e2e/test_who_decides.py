"""In production two persons decide, in a real browser and by the REST API; others are told, and cannot.

The last of the files here: it leaves an environment in which persons are asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Page, expect

from include.core.errors import StackError
from include.lakehouse import decisions
from include.lakehouse.decisions import Decision, Kind
from include.runtime.airflow_api import Run
from tests.browser import chromium
from tests.played import TOLD, WAIT_SECONDS, Played, logged_in, wait_for

COMMENT = "better ![x](https://elsewhere.test/p.png) <img src=x> https://elsewhere.test"
SCHEDULER_HEARS_SECONDS = 5
FIRST, SECOND = "wait_for_approval", "wait_for_second_approval"


@pytest.fixture(scope="module")
def told(played: Played) -> Iterator[list[dict[str, Any]]]:
    """What is told of the model, from here on; the stack asks persons."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FLIGHTLINE_ENV", "prod")
        played.stack.down()
        played.stack.up()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    login = {"username": "admin", "password": played.stack.password()}
    url = played.stack.airflow_url
    token = httpx.post(f"{url}/auth/token", json=login, timeout=WAIT_SECONDS).json()["access_token"]
    made = httpx.post(
        f"{url}/api/v2/connections",
        headers={"Authorization": f"Bearer {token}"},
        json={
            "connection_id": TOLD,
            "conn_type": "http",
            "host": "127.0.0.1",
            "schema": "http",
            "port": server.server_port,
        },
        timeout=WAIT_SECONDS,
    )
    assert made.status_code == 201, made.text
    yield posted
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    with chromium() as found:
        yield found


def serving(played: Played) -> str:
    return str(MlflowClient(played.stack.mlflow_url).get_registered_model(played.spec.name).aliases["production"])


def asked(played: Played, run: Run, task: str) -> None:
    wait_for(lambda: played.airflow.task_states(run).get(task) == "awaiting_input", f"{task} to ask")
    # Airflow loses an answer that is there before its scheduler has heard that the task waits, and asks again.
    time.sleep(SCHEDULER_HEARS_SECONDS)


def answers(played: Played, run: Run) -> list[Decision]:
    found = decisions.history(played.lake, played.spec.name, Kind.ANSWER, run_id=run.run_id)
    return sorted(found, key=lambda item: item.inputs["at"])


def said_of(told: list[dict[str, Any]], run: Run, occasion: str) -> list[str]:
    about = [item for item in told if item["occasion"] == occasion and quote(run.run_id, safe="") in item["link"]]
    return [item["text"] for item in about]


def required_actions(run: Run, task: str) -> str:
    return f"/dags/{run.dag_id}/runs/{quote(run.run_id, safe='')}/tasks/{task}/required_actions"


def answer_in_the_browser(page: Page, run: Run, task: str, option: str, comment: str) -> None:
    page.goto(required_actions(run, task))
    expect(page.get_by_text("Against production")).to_be_visible()
    expect(page.get_by_role("cell", name="has_signature")).to_be_visible()
    page.locator("input[name=element_comment], textarea[name=element_comment]").first.fill(comment)
    page.get_by_role("button", name=option, exact=True).click()


def test_two_approvers_put_a_version_into_production_and_nobody_else_can(
    played: Played, told: list[dict[str, Any]], browser: Browser
) -> None:
    version = serving(played)
    played.finish(
        played.trigger("roll_back_model", conf={"version": 1, "dry_run": False, "comment": "to be put back by two"})
    )
    assert serving(played) == "1"
    run = played.trigger("promote_model", partition=version)
    asked(played, run, FIRST)
    with pytest.raises(StackError, match="is not a respondent"):
        played.as_user("mallory").answer(run, FIRST, "Approve")
    played.airflow.answer(run, FIRST, "Approve", "I asked for it")
    wait_for(lambda: answers(played, run), "the answer of who asked")
    asked(played, run, FIRST)
    wait_for(lambda: said_of(told, run, "reminded"), "the reminder")
    asked(played, run, FIRST)

    page = logged_in(played, browser, "ada")
    answer_in_the_browser(page, run, FIRST, "Approve", COMMENT)
    asked(played, run, SECOND)
    played.as_user("ada").answer(run, SECOND, "Approve")
    wait_for(lambda: len(answers(played, run)) == 3, "the second answer of the same person")
    asked(played, run, SECOND)
    assert serving(played) == "1"
    shown = logged_in(played, browser, "grace")
    shown.goto(required_actions(run, SECOND))
    expect(shown.get_by_text("Approved by ada: better")).to_contain_text("<img src=x>")
    assert shown.locator("img[src=x], img[src*=elsewhere], a[href*=elsewhere]").count() == 0, "what ada said is text"
    played.as_user("grace").answer(run, SECOND, "Approve", "so it is")
    played.finish(run)
    assert serving(played) == version
    assert [(item.actor, item.outcome, *item.reasons) for item in answers(played, run)] == [
        ("admin", "refused", "own_request"),
        ("ada", "approved", "approved_by_person"),
        ("ada", "refused", "approved_before"),
        ("grace", "approved", "approved_by_person"),
    ]
    (approval,) = decisions.history(played.lake, played.spec.name, Kind.APPROVAL, run_id=run.run_id)
    assert (approval.actor, approval.inputs["comment"]) == ("ada, grace", f"ada: {COMMENT}; grace: so it is")
    wait_for(lambda: said_of(told, run, "promoted"), "the news")
    question = f"Put version {version} of {played.spec.name} into production?"
    assert said_of(told, run, "asked")[:2] == [
        question,
        f"{question} The answer does not count: admin asked for this promotion, so somebody else has to approve it.",
    ]
    assert len(said_of(told, run, "promoted")) == 1


def test_a_no_in_the_browser_ends_it(played: Played, told: list[dict[str, Any]], browser: Browser) -> None:
    version = serving(played)
    run = played.trigger("promote_model", partition=version)
    asked(played, run, FIRST)
    answer_in_the_browser(logged_in(played, browser, "grace"), run, FIRST, "Reject", "not on a Friday")
    states = played.airflow.task_states(played.finish(run))
    assert (states["promote_version"], states[SECOND], states["reject_candidate"]) == ("skipped", "skipped", "success")
    assert serving(played) == version
    (rejected,) = decisions.history(played.lake, played.spec.name, Kind.REJECTION, run_id=run.run_id)
    assert (rejected.actor, rejected.inputs["comment"]) == ("grace", "not on a Friday")
    wait_for(lambda: said_of(told, run, "rejected"), "the news")
