"""The same features.sql on DuckDB and on Spark: the values are equal. Needs Java, as Spark does."""

from __future__ import annotations

import logging
import os
import shutil
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.errors import ConfigError
from include.features import query
from include.lakehouse.schemas import CLEAN
from include.models.california_housing import sample
from tests.tables import day, put

DAY = day("2025-01-02")


@pytest.fixture(scope="module")
def spark():
    pyspark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: `make lock` has it in the extra dev")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("no Java on this machine (java on PATH, or JAVA_HOME): Spark 4 needs Java 17")
    logging.getLogger("py4j").setLevel(logging.WARNING)  # it reports each closed connection, also after the last test
    session = (
        pyspark.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture
def clean_rows():
    """Rows of the model's clean table, with the edges of its values."""
    rows = sample.generate().dropna().head(400)
    rows = rows.assign(listing_id=range(len(rows)), event_timestamp=pd.Timestamp(DAY.start))
    classes = ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]
    rows["ocean_proximity"] = [classes[number % 5] for number in range(len(rows))]
    rows.loc[rows.index[0], "median_income"] = None
    return rows


@pytest.mark.parametrize("name", catalogue.registered())
def test_values_are_those_of_duckdb(spark, clean_rows, lake, tmp_path, name):
    spec = catalogue.load(name)
    table = CLEAN.of(spec)
    version = put(lake, table, clean_rows[[*spec.columns, "event_timestamp"]], DAY)
    ours = query.compute(spec, lake, DAY).to_pandas().sort_values(list(spec.entity.keys), ignore_index=True)

    # As on Databricks, Spark reads the files of the table.
    files = lake.open(table, version).file_uris()
    spark.read.parquet(*files).createOrReplaceTempView(table.name)
    theirs = spark.sql(query.spark_sql(spec)).toPandas().sort_values(list(spec.entity.keys), ignore_index=True)

    assert list(theirs.columns) == list(ours.columns)
    assert len(theirs) == len(ours) == 400
    for feature in query.feature_schema(spec):
        np.testing.assert_allclose(
            theirs[feature].astype(float), ours[feature].astype(float), rtol=1e-12, atol=0, err_msg=feature
        )
    assert set(pd.to_datetime(theirs["event_timestamp"], utc=True)) == {pd.Timestamp(datetime(2025, 1, 2), tz="UTC")}


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
