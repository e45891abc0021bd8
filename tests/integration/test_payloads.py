"""What a delivery brings is text on a page, in a real browser; and where it were not, the browser runs none of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route

from include.core.settings import Settings
from include.ingestion import steps
from include.ingestion.delivery import Delivery
from include.lakehouse.run import Run
from include.pages import HEADERS, run_page
from tests import browser as browsers
from tests.unit.ingestion.cases import as_csv
from tests.unit.pages import scene
from tests.unit.pages.conftest import run

__all__ = ["run"]

PAYLOADS = (
    "<script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<img src=x onerror=alert(1)>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></title><script>alert(1)</script>",
    "--><details open ontoggle=alert(1)>.</details><!--",
    "<input autofocus onfocus=alert(1)>",
    '<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
    "<object data='https://elsewhere.test/'></object>",
    "<style>@import 'https://elsewhere.test/';</style>",
    "<link rel=stylesheet href=https://elsewhere.test/>",
    "<meta http-equiv=refresh content='0; url=https://elsewhere.test/'>",
)
ADDRESS = "https://airflow.test/page"
HARMLESS = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the session: while it is there, an event loop runs in this thread."""
    with browsers.chromium() as found:
        yield found


@dataclass
class Shown:
    """A page in the browser: its text, and what it did beside being shown."""

    text: str
    did: list[str]


def show(browser: Browser, page: str, headers: dict[str, str]) -> Shown:
    did: list[str] = []

    def answer(route: Route) -> None:
        if route.request.url == ADDRESS:
            route.fulfill(body=page, headers=headers)
        else:
            did.append(route.request.url)
            route.abort()

    tab = browser.new_page()
    tab.on("dialog", lambda dialog: (did.append(dialog.message), dialog.dismiss()))
    tab.route("**/*", answer)
    tab.goto(ADDRESS)
    tab.wait_for_timeout(150)
    shown = Shown(tab.inner_text("body"), did)
    tab.close()
    return shown


@pytest.mark.parametrize("payload", PAYLOADS)
def test_unescaped_it_acts_unless_the_headers_are_there(browser: Browser, payload: str) -> None:
    page = f"<!doctype html><title>x</title><style>p {{}}</style><p>{payload}"
    assert show(browser, page, HARMLESS).did
    assert not show(browser, page, {**HARMLESS, **HEADERS}).did


@pytest.mark.parametrize("payload", PAYLOADS)
def test_it_is_text_wherever_a_page_has_text(browser: Browser, run: Run, payload: str) -> None:
    attacked = replace(run, run_id=payload)
    scene.everything(attacked, payload)
    scene.everything(replace(run, run_id=f"later {payload}"), payload)
    page = run_page.of_run(attacked, payload, payload)
    shown = show(browser, page, HARMLESS)  # without the headers that would stop it
    assert not shown.did
    assert shown.text.count(payload) > 30


def test_it_is_text_wherever_a_delivery_has_text(browser: Browser, run: Run, tmp_path: Path) -> None:
    """In cells of numbers and categories, in names of files and columns: through the whole validation."""
    settings = Settings(landing_uri=str(tmp_path / "landing"))
    for number, payload in enumerate(PAYLOADS):
        attacked = replace(run, settings=settings, run_id=payload, asked_for=scene.DAY.shift(number))
        good = ["1", "-120", "36", "20", "1000", "200", "700", "300", "3.5", "INLAND"]
        rows = [[*good[:4], payload, *good[5:]], ["2", *good[1:9], payload], ["3", *good[1:]]]
        delivery = Delivery.expected(settings, run.spec, "batches", attacked.partition)
        delivery.write(payload.replace("/", "") + ".csv", as_csv([list(run.spec.columns), *rows]))
        steps.validate_batch(attacked)
        with_column = replace(attacked, asked_for=attacked.partition.shift(100))
        delivery = Delivery.expected(settings, run.spec, "batches", with_column.partition)
        delivery.write("a.csv", as_csv([[*run.spec.columns, payload], [*good, "1"]]))
        steps.validate_batch(with_column)
        shown = show(browser, run_page.of_run(attacked, "ingest_batch", None), HARMLESS)
        assert not shown.did
        assert payload in shown.text.replace("  ", " "), payload


def test_our_style_is_the_one_that_the_headers_let_in(browser: Browser, run: Run) -> None:
    scene.batch(run)
    tab = browser.new_page()
    page = run_page.of_run(run, "ingest_batch", None)
    tab.route("**/*", lambda route: route.fulfill(body=page, headers={**HARMLESS, **HEADERS}))
    tab.goto(ADDRESS)
    assert tab.locator("dl").evaluate("element => getComputedStyle(element).display") == "flex"
    tab.close()
