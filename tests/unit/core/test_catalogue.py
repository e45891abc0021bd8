"""Every registered model is in order, and every mistake in a model's folder is one line with file and key."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import ConfigError
from include.core.files import read_yaml
from include.core.registry import choose
from include.evaluation.metrics import METRICS
from include.orchestration import models
from tests.unit.conftest import as_nobody

NAME = "california_housing"
OWN = METRICS["mae"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "include" / "models"
    shutil.copytree(catalogue.MODELS / NAME, folder / NAME)
    return folder


@pytest.fixture
def broken(root: Path) -> Path:
    """A second model, which is in order until a test breaks it."""
    folder = root / "broken"
    folder.mkdir()
    for file in catalogue.FILES:
        (folder / file).write_text((root / NAME / file).read_text().replace(NAME, folder.name))
    return folder


@pytest.mark.parametrize("name", catalogue.registered())
def test_every_registered_model_is_in_order(name: str) -> None:
    assert models.problem(name) is None


def test_a_folder_is_a_model_as_soon_as_it_has_one_of_the_files(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "half").mkdir()
    (root / "half" / "features.sql").write_text("SELECT 1")
    assert catalogue.registered(root) == (NAME, "half")
    assert models.valid(root) == (NAME,)
    assert "model.yaml is missing" in str(models.problem("half", root))


def test_what_is_loaded_is_frozen(root: Path) -> None:
    spec = catalogue.load(NAME, root)
    with pytest.raises(Exception, match="frozen"):
        spec.name = "other"
    assert spec.folder == root / NAME


def column(text: str, name: str, more: str) -> str:
    """Say more about a column of numbers."""
    start = f"  {name}: {{type: number, "
    assert text.count(start) == 1
    return text.replace(start, f"{start}{more}, ")


MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown key": (lambda text: text + "extra: 1\n", "key extra: unknown key"),
    "unknown key inside": (
        lambda text: text.replace("trials: 20", "trails: 20"),
        "key training.search.trails: unknown",
    ),
    "wrong type": (lambda text: text.replace("trials: 20", "trials: many"), "key training.search.trials"),
    "out of range": (lambda text: text.replace("test_share: 0.3", "test_share: 3"), "key training.split.test_share"),
    "no test rows": (lambda text: text.replace("test_share: 0.3", "test_share: 0"), "key training.split.test_share"),
    "only test rows": (lambda text: text.replace("test_share: 0.3", "test_share: 1"), "key training.split.test_share"),
    "n above m": (
        lambda text: text.replace("below_windows: 2", "below_windows: 9"),
        "below_windows is above of_windows",
    ),
    "unknown key column": (lambda text: text.replace("keys: [listing_id]", "keys: [id]"), "entity.keys: column 'id'"),
    "confirmed week of days": (
        lambda text: text.replace("    fixed: [longitude", "    confirmed: [2025-W03]\n    fixed: [longitude"),
        "monitoring.faults.confirmed: '2025-W03' is no day such as 2025-",
    ),
    "unknown fixed column": (lambda text: text.replace("fixed: [longitude", "fixed: [x"), "monitoring.faults.fixed"),
    "unknown drift column": (lambda text: text.replace("{column: median_income", "{column: x"), "replay.drift.column"),
    "days in disorder": (lambda text: text.replace("last_day: 2025", "last_day: 2020"), "last_day is before first_day"),
    "empty range": (lambda text: text.replace("low: 20,", "low: 99,"), "low is not below high"),
    "start outside": (lambda text: text.replace("num_leaves: 48", "num_leaves: 480"), "start.num_leaves"),
    "no time of day": (
        lambda text: text.replace("  deadline_minutes", "  schedule: '0 24 * * *'\n  deadline_minutes"),
        "deliveries.schedule: '0 24 * * *' does not fire once a day",
    ),
    "no schedule of the grain": (
        lambda text: text.replace("  deadline_minutes", "  schedule: '0 0 1 * *'\n  deadline_minutes"),
        "deliveries.schedule: '0 0 1 * *' does not fire once a day",
    ),
    "features that expire before their partition ends": (
        lambda text: text.replace("grain: day", "grain: month").replace("ttl_days: 400", "ttl_days: 30"),
        "features.ttl_days: is below 31: features of a month would expire within it",
    ),
    "a lookback without a unit": (
        lambda text: text.replace("ttl_days: 400", "ttl_days: 400\n  lookback: 28"),
        "key features.lookback: 28 is no number of hours, days or weeks above 0: write 28 days, or 6 hours",
    ),
    "a lookback of nothing": (
        lambda text: text.replace("ttl_days: 400", "ttl_days: 400\n  lookback: 0 days"),
        "key features.lookback: '0 days' is no number of hours, days or weeks above 0",
    ),
    "a lookback of too many partitions": (
        lambda text: text.replace("grain: day", "grain: hour").replace(
            "ttl_days: 400", "ttl_days: 400\n  lookback: 32 days"
        ),
        "features.lookback: is 32 days, and the features of one hour read at most 750 before it: 31 days",
    ),
    "more persons than approvers": (
        lambda text: text.replace("prod: person}", "prod: person, approvers: [ada], persons: 2}"),
        "approval: persons: is 2, and approvers names 1",
    ),
    "an approver twice": (
        lambda text: text.replace("prod: person}", "prod: person, approvers: [ada, ada]}"),
        "approval: approvers: ada is named more than once",
    ),
    "an approver of spaces": (
        lambda text: text.replace("prod: person}", "prod: person, approvers: [' ada']}"),
        "approval: approvers: ' ada' is no user's name",
    ),
    "three persons": (lambda text: text.replace("prod: person}", "prod: person, persons: 3}"), "key approval.persons"),
    "a reminder after the end": (
        lambda text: text.replace("prod: person}", "prod: person, remind_after: 3 days}"),
        "approval: remind_after is not before times_out_after",
    ),
    "a time of seconds": (
        lambda text: text.replace("prod: person}", "prod: person, times_out_after: 9 seconds}"),
        "key approval.times_out_after: '9 seconds' is no number of minutes",
    ),
    "a mail to nobody": (
        lambda text: text + "notify: [{kind: email, connection: smtp_default}]\n",
        "key notify.0: to is missing",
    ),
    "a webhook to an address of mail": (
        lambda text: text + "notify: [{kind: webhook, connection: x, to: [a@b.c]}]\n",
        "key notify.0: to is of e-mail, and kind is webhook",
    ),
    "no kind of a place": (lambda text: text + "notify: [{kind: pigeon, connection: x}]\n", "key notify.0.kind"),
    "no occasion": (
        lambda text: text + "notify: [{kind: slack, connection: x, occasions: [tea]}]\n",
        "key notify.0.occasions.0",
    ),
    "an address instead of a connection": (
        lambda text: text + "notify: [{kind: slack, connection: 'https://x'}]\n",
        "key notify.0.connection",
    ),
    "no address of mail": (
        lambda text: text + "notify: [{kind: email, connection: x, to: [ada]}]\n",
        "key notify.0.to.0",
    ),
    "unknown task": (lambda text: text.replace("task: regression", "task: guessing"), "key task"),
    "no name of a check": (
        lambda text: text.replace("check: drifted_rows", "chekc: drifted_rows"),
        "gates.production.4",
    ),
    "other name": (lambda text: text.replace(f"name: {NAME}", "name: other", 1), "key name: is 'other'"),
    "half of a pin": (
        lambda text: text.replace("  bytes: 1423529\n", ""),
        "key replay: url, bytes and sha256 are given together",
    ),
    "no order of the rows": (
        lambda text: text.replace("  history_share: 0.8\n", ""),
        "key replay: takes either time, or history_share and seed",
    ),
    "two orders of the rows": (
        lambda text: text + "  time: {column: ocean_proximity, format: '%Y', history_partitions: 2}\n",
        "key replay: takes either time, or history_share and seed",
    ),
    "no column with the time": (
        lambda text: (
            text.replace("  history_share: 0.8\n  seed: 20640\n", "")
            + "  time: {column: day, format: '%Y', history_partitions: 2}\n"
        ),
        "replay.time.column: column 'day'",
    ),
    "two columns of one source": (
        lambda text: column(column(text, "latitude", 'source: "Lage (Ort)"'), "longitude", 'source: "Lage (Ort)"'),
        "columns.latitude.source: 'Lage (Ort)' is the source of longitude, too",
    ),
    "two columns of one source, composed otherwise": (
        lambda text: column(column(text, "latitude", 'source: "Nähe"'), "longitude", 'source: "Na\u0308he"'),
        "is the source of longitude, too",
    ),
    "a source that is another column's name": (
        lambda text: column(text, "latitude", "source: longitude"),
        "columns.latitude.source: 'longitude' is the name of another column",
    ),
    "a source that is the target's name": (
        lambda text: column(text, "latitude", "source: median_house_value"),
        "columns.latitude.source: 'median_house_value' is the name of another column",
    ),
    "the source of the target is a column's": (
        lambda text: text + "target_source: latitude\n",
        "target_source: 'latitude' is the name of another column",
    ),
    "a source of two lines": (
        lambda text: column(text, "latitude", 'source: "one\\ntwo"'),
        "key columns.latitude.source: has a line break, or another control character",
    ),
    "an empty source": (lambda text: column(text, "latitude", 'source: ""'), "key columns.latitude.source"),
    "a format of no date": (
        lambda text: column(text, "latitude", "format: '%d.%m.'").replace(
            "{type: number, format", "{type: date, format"
        ),
        "key columns.latitude.format: '%d.%m.' does not say year, month and day",
    ),
    "an hour that does not heed the afternoon": (
        lambda text: column(text, "latitude", "format: '%d.%m.%Y %H:%M %p'"),
        "key columns.latitude.format: '%d.%m.%Y %H:%M %p' reads AM and PM, and an hour that does not heed them",
    ),
    "a zone by its name": (
        lambda text: column(text, "latitude", "format: '%d.%m.%Y %H:%M %Z'"),
        "key columns.latitude.format: '%d.%m.%Y %H:%M %Z' has names of zones",
    ),
    "a format of no type": (
        lambda text: column(text, "latitude", "format: '%d.%m.%Y'"),
        "key columns.latitude: format is of dates and timestamps, and the type is number",
    ),
    "a no for a text": (
        lambda text: text.replace("owner: data-platform", "owner: no"),
        'model.yaml: line 5, column 8: no is read as false. Write "no", with quotes, for the text, or false',
    ),
    "an ON for true": (
        lambda text: text.replace("deadline_minutes: 720", "deadline_minutes: 720\n  final_newline: ON"),
        'line 20, column 18: ON is read as true. Write "ON", with quotes, for the text, or true',
    ),
    "a key that is a no": (
        lambda text: text.replace("  latitude:", "  no:"),
        'line 25, column 3: the key no is read as true or false. Write "no", with quotes',
    ),
    "a key that is a number": (
        lambda text: text.replace("  latitude:", "  2024:"),
        'line 25, column 3: the key 2024 is read as a number. Write "2024", with quotes',
    ),
    "a repeated key": (
        lambda text: text.replace("owner: data-platform", "owner: data-platform\nowner: me"),
        "line 6, column 1: the key owner is there twice. Remove one: YAML would take the last",
    ),
    "a number for a text": (
        lambda text: text.replace("owner: data-platform", "owner: 007"),
        'key owner: 007 in line 5 is read as a number, and a text is expected: write "007", with quotes',
    ),
    "a time for a text": (
        lambda text: text.replace("deadline_minutes: 720", "deadline_minutes: 720\n  schedule: 12:30"),
        "key deliveries.schedule: 12:30 in line 20 is read as a number, and a text is expected",
    ),
    "a date for a text": (
        lambda text: text.replace("owner: data-platform", "owner: 2025-01-01"),
        'key owner: 2025-01-01 in line 5 is read as a date, and a text is expected: write "2025-01-01", with quotes',
    ),
    "nothing for a text": (
        lambda text: text.replace("owner: data-platform", "owner:"),
        "key owner: has no value in line 5, and a text is expected",
    ),
    "nothing among texts": (
        lambda text: column(text, "latitude", "null_values: [NA, ~]"),
        "key columns.latitude.null_values.1: ~ in line 25 is read as nothing, and a text is expected",
    ),
    "a text for a list": (
        lambda text: column(text, "latitude", "null_values: NA"),
        "key columns.latitude.null_values: a list is expected: [NA]",
    ),
    "no such choice of further columns": (
        lambda text: text.replace("  deadline_minutes", "  extra_columns: drop\n  deadline_minutes"),
        "key deliveries.extra_columns",
    ),
    "no mapping": (lambda text: "- 1\n", "model.yaml"),
    "tab": (lambda text: text + "\tx: 1\n", "not valid YAML"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_file_and_key(root: Path, case: str) -> None:
    change, expected = MISTAKES[case]
    path = root / NAME / "model.yaml"
    text = change(path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        catalogue.load(NAME, root)
    message = str(caught.value)
    assert message.startswith(f"include/models/{NAME}/model.yaml: ")
    assert expected in message
    assert "\n" not in message


def test_what_varies_is_chosen_by_name_or_by_path() -> None:
    known = {"rmse": METRICS["rmse"]}
    assert choose(known, "rmse", "here") is METRICS["rmse"]
    assert choose(known, "tests.unit.core.test_catalogue:OWN", "here") is OWN
    for name, message in (
        ("rsme", "here: 'rsme' is not known. Use one of rmse"),
        ("no.such.module:metric", "cannot be imported"),
        ("tests.unit.core.test_catalogue:NAME", "is a str, not a Metric"),
    ):
        with pytest.raises(ConfigError, match=message):
            choose(known, name, "here")


def test_a_model_that_is_in_order_is_checked_once_for_its_content(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    checked: list[str] = []
    monkeypatch.setattr(models, "check", lambda spec: checked.append(spec.name))
    assert [models.problem(NAME, root) for _ in range(3)] == [None] * 3
    assert checked == [NAME]
    sql = root / NAME / "features.sql"
    sql.write_text(sql.read_text() + "-- changed\n")
    assert models.problem(NAME, root) is None
    assert checked == [NAME] * 2


def test_a_model_that_is_not_in_order_is_checked_until_it_is(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    sql = root / NAME / "features.sql"
    good = sql.read_text()
    sql.write_text(good.replace("median_income,", "median_incom,"))
    for _ in range(2):
        assert "median_incom" in str(models.problem(NAME, root))
    sql.write_text(good)
    assert models.problem(NAME, root) is None


UNREADABLE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "Latin-1 in model.yaml": (
        "model.yaml",
        lambda text: text.replace(b"description: Number", b"description: Num\xe9ro", 1),
        "model.yaml: line 23 is not UTF-8. Save",
    ),
    "Latin-1 in features.sql": ("features.sql", lambda text: text + b"-- \xe9t\xe9\n", "features.sql: line "),
    "Latin-1 in expectations.yaml": ("expectations.yaml", lambda text: b"# \xe9\n" + text, "line 1 is not UTF-8"),
    "control character in model.yaml": ("model.yaml", lambda text: text + b"# \x07\n", "model.yaml: not valid YAML: "),
    "control character in features.sql": ("features.sql", lambda text: b"\x00" + text, "broken"),
    "no such day": (
        "model.yaml",
        lambda text: text.replace(b"2025-12-31", b"2025-13-31"),
        "model.yaml: not valid YAML: month must be in 1..12",
    ),
    "a thousand brackets": ("expectations.yaml", lambda text: b"[" * 5000, "not valid YAML"),
    "a key twice": (
        "model.yaml",
        lambda text: text + b"owner: somebody\n",
        "column 1: the key owner is there twice",
    ),
    "an inner key twice": (
        "expectations.yaml",
        lambda text: text.replace(b"min_value: 1,", b"min_value: 1, min_value: 9,", 1),
        "the key min_value is there twice",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_takes_no_other_model_away(root: Path, broken: Path, case: str) -> None:
    file, change, expected = UNREADABLE[case]
    path = broken / file
    text = path.read_bytes()
    path.write_bytes(change(text))
    assert path.read_bytes() != text
    assert models.valid(root) == (NAME,)
    message = str(models.problem("broken", root))
    assert message.startswith("include/models/broken/")
    assert expected in message
    assert "\n" not in message


TAKEN: dict[str, tuple[str, str, str, str]] = {
    "column": (
        "model.yaml",
        "  population:",
        "  source_file: {type: text, description: x}\n  population:",
        "model.yaml: source_file: raw_broken has",
    ),
    "working": (
        "features.sql",
        "median_income,",
        "median_income, 1 AS __was,",
        "features.sql: __was: the package",
    ),
    "DuckDB's": (
        "model.yaml",
        "  population:",
        "  file_row_number: {type: text, description: x}\n  population:",
        "model.yaml: file_row_number: the package uses that name itself",
    ),
    "slice": ("features.sql", "median_income,", 'median_income, 1 AS "all",', "features.sql: all: the package uses"),
    "target": ("model.yaml", "target: median_house_value", "target: split", "split: training_sets_broken has"),
    "feature": ("features.sql", "median_income,", "median_income, 1 AS weight,", "features.sql: weight: training_sets"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_name_that_a_table_has_anyway_is_no_models(root: Path, broken: Path, case: str) -> None:
    file, old, new, expected = TAKEN[case]
    path = broken / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    if case == "target":
        rules = broken / "expectations.yaml"
        rules.write_text(rules.read_text().replace("column: median_house_value", "column: split"))
    assert expected in str(models.problem("broken", root))


def test_a_folder_that_may_not_be_looked_into_takes_no_other_model_away(world_folder: Path) -> None:
    closed = world_folder / "closed"
    closed.mkdir()
    (closed / "model.yaml").touch()
    closed.chmod(0)
    with as_nobody():
        assert catalogue.registered(world_folder) == ("closed",)
        assert models.valid(world_folder) == ()
        assert "closed: cannot be checked: PermissionError" in str(models.problem("closed", world_folder))
    closed.chmod(0o700)  # to be deleted


@pytest.mark.parametrize("content", ["metric = 1 +\n", "raise SystemExit(2)\n", "1 / 0\n", "import no_such\n"])
def test_a_module_of_the_users_that_cannot_be_imported_takes_no_other_model_away(
    root: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "their_metrics.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    path = broken / "model.yaml"
    path.write_text(path.read_text().replace("metric: adjusted_r2", "metric: their_metrics:metric"))
    assert models.valid(root) == (NAME,)
    message = str(models.problem("broken", root))
    assert message.startswith("include/models/broken/model.yaml: metric: their_metrics:metric cannot be imported")


def test_yaml_that_says_a_thing_once_and_uses_it_twice_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("a: &a {b: {c: 1}, d: 2}\ne: {<<: *a, d: 3}\nf: [*a, *a]\n'1': y\n")
    assert read_yaml(file) == {
        "a": {"b": {"c": 1}, "d": 2},
        "e": {"b": {"c": 1}, "d": 3},
        "f": [{"b": {"c": 1}, "d": 2}] * 2,
        "1": "y",
    }
