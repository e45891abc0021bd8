"""features.sql in Spark's words; tests/integration/test_spark.py holds its values against DuckDB's."""

from __future__ import annotations

import pytest

from include.core.errors import ConfigError
from include.features import query


def test_the_translation_says_the_same_in_sparks_words(make_spec):
    spec = make_spec(
        "SELECT listing_id, event_timestamp, total_rooms::DOUBLE / 2 AS half, strftime(event_timestamp, '%Y') AS year "
        "FROM clean_california_housing"
    )
    translated = query.spark_sql(spec)
    assert "CAST(total_rooms AS DOUBLE) / 2 AS half" in translated
    assert "DATE_FORMAT(" in translated


def test_sql_that_has_no_translation_names_the_file(make_spec):
    spec = make_spec("SELECT listing_id, event_timestamp, FROM (")
    with pytest.raises(ConfigError, match=r"california_housing/features.sql: cannot be translated to Spark SQL"):
        query.spark_sql(spec)
