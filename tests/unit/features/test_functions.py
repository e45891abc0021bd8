"""What features.sql may not call: it would say something else when a day is computed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.core import catalogue
from include.core.errors import ConfigError
from include.features import functions


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("date_diff('second', event_timestamp, now())", "now"),
        ("epoch(current_timestamp)", "current_timestamp"),
        ("epoch(Transaction_Timestamp())", "transaction_timestamp"),
        ("random()", "random"),
        ("uuid()", "uuid"),
        ("length(current_setting('memory_limit'))", "current_setting"),
        ("(SELECT count(*) FROM duckdb_settings())", "duckdb_settings"),
        ("length(version())", "version"),
        ("total_rooms + 0", ""),
        ("CASE WHEN ocean_proximity = 'now()' THEN 1 ELSE 0 END", ""),
        ('total_rooms AS "current_date"', ""),
    ],
)
def test_a_clock_chance_or_the_machine_are_no_feature(expression: str, named: str, tmp_path: Path) -> None:
    spec = catalogue.load("california_housing").model_copy()
    spec._folder = tmp_path
    (tmp_path / "features.sql").write_text(f"SELECT listing_id, event_timestamp, {expression} FROM clean_x")
    if not named:
        functions.check(spec)
        return
    with pytest.raises(ConfigError, match=f"features.sql: calls {named}, which"):
        functions.check(spec)
