"""`make check-model`: the steps of the DAGs on a drafted folder, and what is said of the first that fails."""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path

import pytest

from include.scaffold import check, draft
from include.scaffold.guess import Wanted
from tests.unit.scaffold.files import (
    as_it_comes,
    customers,
    measured_rentals,
    readings,
    rentals,
    sensors,
    shops,
    write,
)

pytestmark = pytest.mark.slow

STEPS = [
    *("model.yaml", "the three files together", "features.sql on Spark", "data", "stores"),
    *("ingestion.validate_batch", "ingestion.load_batch", "ingestion.load_labels"),
    *("features.compute_features", "features.sql in time", "features.materialize_features", "features.check_skew"),
    *("training.build_training_set", "training.fit_baseline", "training.fit_tuned"),
    "training.explain_candidate",
    *("registry.register_candidate", "registry.check_staging", "registry.check_production", "registry.promote"),
    *("scoring.score_rows", "monitoring.measure_window"),
]


LOOKING_BACK = """
SELECT shop, event_timestamp,
    lag(stock) OVER (PARTITION BY shop ORDER BY event_timestamp) AS last_stock,
    avg(stock) OVER (
        PARTITION BY shop ORDER BY event_timestamp
        RANGE BETWEEN INTERVAL 2 DAYS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
    ) AS avg_stock_2d
FROM clean_rides
"""
IMPOSSIBLE = "column: temperature, min_value: 100, max_value: 101, severity: quarantine_row}  # "


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def rows(models: Path) -> str:
    """The file that the model ``rides`` was drafted from: rows with a time."""
    path = write(rentals(), models / "rows.csv")
    draft.write(draft.make("rides", path, Wanted(), date(2026, 3, 1), models), models)
    return path


def checked(models: Path, data: str) -> tuple[bool, list[str]]:
    said: list[str] = []
    return check.run("rides", data, (), models, said.append), said


def ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("FLIGHTLINE_", "MLFLOW_"))}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new))


def test_a_drafted_folder_comes_through_every_step(models: Path, rows: str) -> None:
    before = ours(), Path.cwd()
    came_through, said = checked(models, rows)
    assert came_through, said
    assert [re.split("  +", line)[1] for line in said[:-1]] == STEPS
    assert all(line.startswith("ok ") for line in said[:-1])
    lines = dict(zip(STEPS, said, strict=False))
    assert lines["data"].endswith("280 as 2024-03-01, 120 as 2024-03-03"), (
        "one day's gap before the rows that are tested on"
    )
    assert "400 rows accepted, 0 quarantined" in lines["ingestion.validate_batch"]
    assert re.search("4 features; .*, 120 to test$", lines["training.build_training_set"])
    assert "120 rows predicted" in lines["scoring.score_rows"]
    assert (ours(), Path.cwd()) == before


def test_windows_that_are_never_judged_are_said_with_how_many_partitions_would_do(models: Path) -> None:
    """The sample is cut into two deliveries; those that come are of a day."""
    path = write(measured_rentals(), models / "rows.csv")
    draft.write(draft.make("rides", path, Wanted(), date(2026, 3, 1), models), models)
    edit(models / "rides/model.yaml", "window: {partitions: 6}", "window: {partitions: 1}")
    came_through, said = checked(models, path)
    assert came_through, said
    assert said[-2].endswith(
        "but a window of 1 x 24 rows, as a day has, is never judged: adjusted R2 needs 34 with 16 features. Set "
        "monitoring.window.partitions to 6"
    )


def test_a_file_as_it_comes_comes_through_every_step(models: Path) -> None:
    file = models / "rows.csv"
    file.write_bytes(as_it_comes())
    wanted = Wanted(target="Price; EUR", time=("Sold",), grain="week")
    draft.write(draft.make("rides", str(file), wanted, date(2026, 3, 1), models), models)
    came_through, said = checked(models, str(file))
    assert came_through, said
    lines = dict(zip(STEPS, said, strict=False))
    assert "400 rows accepted, 0 quarantined" in lines["ingestion.validate_batch"]
    assert "400 labels, 0 quarantined" in lines["ingestion.load_labels"]


@pytest.fixture
def looking_back(models: Path) -> str:
    """The file of a model ``rides`` whose features are all of the days before."""
    path = write(shops(), models / "rows.csv")
    draft.write(
        draft.make("rides", path, Wanted(target="sold", keys=("shop",), time=("day",)), date(2026, 3, 1), models),
        models,
    )
    edit(models / "rides/model.yaml", "  ttl_days: 400\n", "  ttl_days: 400\n  lookback: 2 days\n")
    (models / "rides/features.sql").write_text(LOOKING_BACK)
    return path


def test_features_that_look_back_come_through_every_step(models: Path, looking_back: str) -> None:
    came_through, said = checked(models, looking_back)
    assert came_through, said
    lines = dict(zip(STEPS, said, strict=False))
    assert lines["features.sql in time"].endswith("a partition is of one moment")
    assert "224 to train, 56 to tune, 120 to test" in lines["training.build_training_set"], "the first day has nulls"
    assert re.search(r"adjusted_r2 0\.[89]", lines["training.fit_baseline"]), "what is sold follows from those days"


def test_a_feature_that_depends_on_the_order_of_rows_is_a_problem(models: Path, looking_back: str) -> None:
    edit(models / "rides/features.sql", "lag(stock) OVER (PARTITION BY shop ORDER", "lag(stock) OVER (ORDER")
    came_through, said = checked(models, looking_back)
    assert not came_through
    assert said[-1].startswith("problem  features.sql in time")
    assert re.search(r"features\.sql: last_stock differs in \d+ of 40 rows when the same rows of 2024-03-03", said[-1])


SEARCHES = {
    "lightgbm": "learning_rate: {kind: uniform, low: 0.1, high: 0.2}",
    "hist_gradient_boosting": "learning_rate: {kind: uniform, low: 0.1, high: 0.2}",
    "linear": "alpha: {kind: log_uniform, low: 0.1, high: 10}",
}


@pytest.mark.parametrize(("algorithm", "unseen"), zip(SEARCHES, ("other", "missing", "other"), strict=True))
def test_texts_are_categories_of_every_algorithm(models: Path, algorithm: str, unseen: str) -> None:
    """Some rows have none, and some of those that are tested on a text that was not there before."""
    known = rentals()
    draft.write(
        draft.make("rides", write(known, models / "known.csv"), Wanted(), date(2026, 3, 1), models),
        models,
    )
    later = known.assign(weather=known["weather"].where(known.index % 20 != 0).where(known.index < 370, "hail"))
    path = write(later, models / "rows.csv")
    yaml, rules = models / "rides/model.yaml", models / "rides/expectations.yaml"
    edit(yaml, "unseen: missing}", f"unseen: {unseen}}}")
    text = yaml.read_text().replace("algorithm: lightgbm", f"algorithm: {algorithm}")
    start, end = text.index("  baseline:"), text.index("\ngates:")
    search = f"{{trials: 20, seed: 1, space: {{{SEARCHES[algorithm]}}}}}"
    yaml.write_text(f"{text[:start]}  baseline: {{}}\n  search: {search}\n{text[end:]}")
    rules.write_text("".join(line for line in rules.read_text().splitlines(True) if "weather" not in line))

    came_through, said = checked(models, path)
    assert came_through, said
    lines = dict(zip(STEPS, said, strict=False))
    assert "400 rows accepted, 0 quarantined" in lines["ingestion.validate_batch"]
    assert "4 features; " in lines["training.build_training_set"]
    assert "120 rows predicted" in lines["scoring.score_rows"]


def test_a_batch_that_the_rules_reject_is_said_with_its_reasons(models: Path, rows: str) -> None:
    edit(models / "rides/expectations.yaml", "column: temperature, min_value: ", IMPOSSIBLE)
    _, said = checked(models, rows)
    assert said[-1].startswith("problem  ingestion.validate_batch")
    reason = "the batch of 2024-03-01 is rejected: quarantine_budget_exceeded (out_of_range:temperature 280)"
    assert f"rides/expectations.yaml: {reason}. Mend the rule or ingestion in model.yaml, or the data" in said[-1]


@pytest.mark.parametrize(
    ("file", "old", "new", "step", "message"),
    [
        (
            "model.yaml",
            "label_delay: 1",
            "label_delay: -1",
            "model.yaml",
            "key deliveries.label_delay: Input should be",
        ),
        ("model.yaml", "metric: adjusted_r2", "metric: auc", "the three files together", "auc is for binary"),
        ("model.yaml", "  temperature: {", "  warmth: {", "the three files together", 'column "temperature" not found'),
        ("features.sql", '"order"', "nowhere", "the three files together", 'column "nowhere" not found'),
        ("features.sql", "FROM", "FROM (", "the three files together", "rides/features.sql: Parser Error"),
    ],
)
def test_a_mistake_in_a_file_is_said_before_anything_runs(
    models: Path, rows: str, file: str, old: str, new: str, step: str, message: str
) -> None:
    edit(models / "rides" / file, old, new)
    came_through, said = checked(models, rows)
    assert not came_through
    assert said[-1].startswith(f"problem  {step} ")
    assert message.lower() in said[-1].lower()


def test_a_file_that_lacks_columns_is_said(models: Path, rows: str) -> None:
    other = write(customers(), models / "others.csv")
    _, said = checked(models, other)
    assert said[-1].startswith("problem  data")
    assert "others.csv: has no column ride_no, day, hr, " in said[-1]


def test_a_model_without_data_asks_for_a_file(models: Path, rows: str) -> None:
    _, said = checked(models, "")
    assert "there is no section replay. make check-model NAME=rides DATA=file.csv" in said[-1]


def test_a_model_that_is_not_there_is_said(models: Path) -> None:
    _, said = checked(models, "")
    assert said == [said[0]]
    assert "rides: model.yaml is missing. Every model needs model.yaml, features.sql, expectations.yaml" in said[0]


def test_rows_without_a_key_and_with_a_time_of_their_own_come_through_every_step(models: Path) -> None:
    path = write(readings(), models / "rows.csv")
    draft.write(draft.make("rides", path, Wanted(target="power"), date(2026, 3, 1), models), models)
    file = models / "rides" / "model.yaml"
    assert '{type: timestamp, description: Read at, source: Read at, format: "%d.%m.%Y %H:%M"}' in file.read_text()
    edit(file, "# event_time: read_at", "event_time: read_at")
    edit(
        models / "rides" / "features.sql",
        "    event_timestamp,\n",
        "    event_timestamp,\n    EXTRACT(hour FROM read_at) AS hour,\n",
    )
    passed, said = checked(models, path)
    assert passed, said[-1]
    assert any("60 as 2024-03-01, 60 as 2024-03-02" in line for line in said), said
    (fitted,) = (line for line in said if "training.fit_baseline" in line)
    assert float(fitted.rpartition(" ")[2]) > 0.85, fitted  # of the hour; by load alone it is 0.65
    assert any("features.sql in time" in line and "no later row known, at 48 moments" in line for line in said), said


def test_a_feature_that_knows_later_rows_of_its_day_is_a_problem(models: Path) -> None:
    path = write(readings(), models / "rows.csv")
    draft.write(draft.make("rides", path, Wanted(target="power"), date(2026, 3, 1), models), models)
    edit(models / "rides" / "model.yaml", "# event_time: read_at", "event_time: read_at")
    sql = models / "rides" / "features.sql"
    edit(sql, "    event_timestamp,\n", "    event_timestamp,\n    avg(load) OVER (PARTITION BY warm) AS avg_load,\n")
    passed, said = checked(models, path)
    assert not passed
    assert said[-1].startswith("problem  features.sql in time")
    found = (
        r"features.sql: avg_load differs in \d+ of \d+ rows of 2024-03-01 \d\d:\d\d:00 UTC or before once later rows"
    )
    assert re.search(found, said[-1])
    assert "End each window at its row" in said[-1]


def test_five_hundred_columns_come_through_every_step(models: Path) -> None:
    path = write(customers(800).join(sensors(800, 497)), models / "rows.csv")
    draft.write(draft.make("rides", path, Wanted(target="label"), date(2026, 3, 1), models), models)
    shorten(models / "rides" / "expectations.yaml", 20)
    passed, said = checked(models, path)
    assert passed, said[-1]
    assert "501 columns" in said[0]


def shorten(file: Path, rules: int) -> None:
    """Leave the first rules of a batch: Great Expectations takes as long for each, whatever it is about."""
    lines, kept = file.read_text().splitlines(), []
    batch = [line for line in lines if line.startswith("  - ")][:-1]
    for line in lines:
        if line not in batch or batch.index(line) < rules:
            kept.append(line)
    file.write_text("\n".join(kept) + "\n")
