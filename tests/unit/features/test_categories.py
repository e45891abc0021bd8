"""Texts as categories: what the declaration makes of them, against a dictionary, and what is refused."""

from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.core import catalogue
from include.core.category import Category
from include.core.errors import ConfigError, DataError
from include.core.spec import ModelSpec
from include.features import categories, query
from include.features.definitions import feast_objects
from include.lakehouse.schemas import CLEAN
from tests.tables import day

DAY = day("2025-01-02")
SELECT = "SELECT listing_id, event_timestamp, median_income"
FROM = "FROM clean_california_housing"
SQL = f"{SELECT}, ocean_proximity {FROM}"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
WORDS = ["near bay", "NEAR BAY", "it's", '"', "inland", "a\\b", "über", "-1", "b", "a b"]


def declared(**category: object) -> str:
    """One line of YAML: the category of ocean_proximity."""
    told = {"values": ["INLAND", "ISLAND"], "unseen": "missing", **category}
    return f"{{ocean_proximity: {told}}}".replace("'", '"')


def with_category(category: Category) -> ModelSpec:
    spec = catalogue.load("california_housing")
    features = spec.features.model_copy(update={"categories": {"place": category}})
    return spec.model_copy(update={"features": features})


def encoded(category: Category, texts: list[str | None]) -> dict[str, list[Any]]:
    rows = pa.table({"before": range(len(texts)), "place": pa.array(texts, pa.string()), "after": range(len(texts))})
    return categories.encode(with_category(category), rows).to_pydict()


@given(st.data(), st.sampled_from(["missing", "other"]))
def test_codes_are_those_of_a_dictionary(data: st.DataObject, unseen: Any) -> None:
    values = data.draw(st.lists(TEXTS | st.sampled_from(WORDS), min_size=1, max_size=6, unique=True))
    texts = data.draw(st.lists(st.none() | st.sampled_from(values) | TEXTS | st.sampled_from(WORDS), max_size=20))
    code = {text: place + 1 for place, text in enumerate(values)}
    other = 0 if unseen == "other" else None
    found = encoded(Category(values=tuple(values), unseen=unseen), texts)
    assert list(found) == ["before", "place", "after"]
    assert found["place"] == [None if text is None else code.get(text, other) for text in texts]


@given(st.data(), st.sampled_from(["missing", "other"]))
def test_one_hot_features_say_which_value_a_text_is(data: st.DataObject, unseen: Any) -> None:
    values = data.draw(st.lists(st.sampled_from(["<1H OCEAN", "it's", "c", "D  d"]), min_size=1, unique=True))
    texts = data.draw(st.lists(st.none() | st.sampled_from(values) | TEXTS, max_size=20))
    ends = {"<1H OCEAN": "1h_ocean", "it's": "it_s", "c": "c", "D  d": "d_d"}
    expected = {f"place_{ends[value]}": [int(text == value) for text in texts] for value in values}
    if unseen == "other":
        expected["place_other"] = [int(text is not None and text not in values) for text in texts]
    found = encoded(Category(values=tuple(values), unseen=unseen, encode="one_hot"), texts)
    assert list(found) == ["before", *expected, "after"]
    assert {name: found[name] for name in expected} == expected


def test_a_value_that_is_appended_changes_no_other_code() -> None:
    texts = ["a", "b", "c", "d", None]
    few = encoded(Category(values=("b", "a"), unseen="other"), texts)["place"]
    more = encoded(Category(values=("b", "a", "d"), unseen="other"), texts)["place"]
    assert few == [2, 1, 0, 0, None]
    assert more == [2, 1, 0, 3, None]


def test_the_features_of_california_housing_are_what_five_case_lines_made_of_them() -> None:
    """Of every place of the file, of none, and of one that nobody has named."""
    spec = catalogue.load("california_housing")
    places = ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]
    schema, texts = CLEAN.of(spec).schema, [*places, None, "MOON", "inland"]
    frame = pd.DataFrame(dict.fromkeys(schema.names, 2.0), index=range(len(texts)))
    frame = frame.assign(
        listing_id=frame.index, event_timestamp=DAY.start, partition_key=DAY.key, ocean_proximity=texts
    )
    clean = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    sql = (spec.folder / "features.sql").read_text()
    cases = [
        f"CASE WHEN ocean_proximity = '{place}' THEN 1 ELSE 0 END AS ocean_proximity_{name}"
        for place, name in zip(places, ["1h_ocean", "inland", "island", "near_bay", "near_ocean"], strict=True)
    ]
    assert sql.count("    ocean_proximity\n") == 1
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("clean_california_housing", clean)
        by_hand = connection.sql(sql.replace("    ocean_proximity\n", f"{', '.join(cases)}\n")).to_arrow_table()
    assert query._run(spec, clean).equals(by_hand.combine_chunks())


def test_codes_and_zeros_and_ones_are_features_of_their_types(make_spec: Any) -> None:
    coded, one_hot = (make_spec(SQL, categories=declared(encode=encode)) for encode in ("codes", "one_hot"))
    assert query.feature_schema(coded) == {"median_income": pa.float64(), "ocean_proximity": pa.int32()}
    names = ["ocean_proximity_inland", "ocean_proximity_island"]
    assert query.feature_schema(one_hot) == {"median_income": pa.float64()} | dict.fromkeys(names, pa.int32())


def test_feast_says_what_codes_and_zeros_and_ones_stand_for(make_spec: Any) -> None:
    def fields(encode: str) -> dict[str, Any]:
        spec = make_spec(SQL, categories=declared(encode=encode))
        return {field.name: field for field in feast_objects(spec, "/lake")[2].schema}

    field = fields("codes")["ocean_proximity"]
    assert field.tags["codes"] == '{"INLAND": 1, "ISLAND": 2}'
    assert field.description == "Where the block group lies towards the ocean"
    assert fields("one_hot")["ocean_proximity_island"].description == "1 if ocean_proximity is ISLAND"


@pytest.mark.parametrize("encode", ["codes", "one_hot"])
def test_texts_that_nobody_has_named_stop_the_step_and_nothing_is_written(
    make_spec: Any, lake: Any, put_clean: Any, encode: str
) -> None:
    spec = make_spec(SQL, categories=declared(unseen="fail", encode=encode))
    texts = ["INLAND", "MOON", "person@example.com", "MOON", None, "a\nb", "x", "x", "y", "y"]
    put_clean(spec, list(range(10)), ocean_proximity=texts)
    with pytest.raises(DataError) as caught:
        query.write(spec, lake, DAY)
    assert str(caught.value) == (
        f"{spec.folder}/model.yaml: features.categories.ocean_proximity: ocean_proximity has texts that are not among "
        "its values, in 8 rows: 'MOON', 'x', 'y', …. Append them to the values, have `unseen` say what they become, or "
        "have the sender mend them"
    )
    assert not lake.exists("features_california_housing")
    put_clean(spec, [1, 2], ocean_proximity=["INLAND", None])
    assert query.write(spec, lake, DAY).rows == 2


def test_spark_is_told_to_stop_where_duckdb_has_looked_before(make_spec: Any) -> None:
    sql = query.spark_sql(make_spec(SQL, categories=declared(unseen="fail")))
    assert "WHEN NOT `ocean_proximity` IS NULL THEN RAISE_ERROR('ocean_proximity has a text that" in sql


def test_the_encoding_stands_around_sql_of_any_form(make_spec: Any, lake: Any, put_clean: Any) -> None:
    sql = f"WITH selected AS ({SQL})\nSELECT * FROM selected ORDER BY listing_id; -- all of them\n"
    spec = make_spec(sql, categories=declared())
    put_clean(spec, [1, 2], ocean_proximity=["ISLAND", "INLAND"])
    assert query.compute(spec, lake, DAY)["ocean_proximity"].to_pylist() == [2, 1]
    translated = query.spark_sql(spec)
    assert translated.count("WITH selected AS (") == 1
    assert ";" not in translated


@pytest.mark.parametrize(
    ("sql", "category", "file", "said"),
    [
        (f"{SELECT} {FROM}", declared(), "model.yaml", "features.categories.ocean_proximity: features.sql selects no"),
        (
            f"{SELECT}, length(ocean_proximity)::INT AS ocean_proximity {FROM}",
            declared(),
            "model.yaml",
            "features.categories.ocean_proximity: features.sql selects it as int32, and a category is a text. Remove",
        ),
        (
            f"{SELECT} {FROM}",
            "{listing_id: {values: [A], unseen: missing}}",
            "model.yaml",
            "key features.categories.listing_id: listing_id names a row, and is no feature. Remove it there",
        ),
        (SQL, "", "features.sql", "selects ocean_proximity, a text, and no feature is one. Say in "),
        (
            f"{SELECT}, ocean_proximity, 1 AS ocean_proximity_island {FROM}",
            declared(encode="one_hot"),
            "model.yaml",
            "the feature ocean_proximity_island of features.categories.ocean_proximity has the name of "
            "ocean_proximity_island of features.sql",
        ),
        (
            f"{SELECT}, ocean_proximity, ocean_proximity AS ocean {FROM}",
            "{ocean_proximity: {values: [X], unseen: missing, encode: one_hot}, "
            "ocean: {values: [PROXIMITY X], unseen: missing, encode: one_hot}}",
            "model.yaml",
            "the feature ocean_proximity_x of features.categories.ocean has the name of the feature ocean_proximity_x "
            "of features.categories.ocean_proximity",
        ),
        (
            f"{SELECT}, ocean_proximity AS median {FROM}",
            "{median: {values: [House value], unseen: missing, encode: one_hot}}",
            "features.sql",
            "selects median_house_value, which is no feature",
        ),
    ],
)
def test_what_does_not_fit_the_sql_is_said_with_file_and_key(
    make_spec: Any, sql: str, category: str, file: str, said: str
) -> None:
    spec = make_spec(sql, categories=category)
    with pytest.raises(ConfigError) as caught:
        query.feature_schema(spec)
    assert str(caught.value).startswith(f"{spec.folder}/{file}: ")
    assert said in str(caught.value)


def test_the_line_that_is_missing_is_said_in_full(make_spec: Any) -> None:
    with pytest.raises(ConfigError, match=r"ocean_proximity: \{values: \[\.\.\.\], unseen: missing\}"):
        query.feature_schema(make_spec(SQL))


@pytest.mark.parametrize(
    ("category", "said"),
    [
        (declared(values=[]), r"values: Tuple should have at least 1 item"),
        (declared(values=["A", "B", "A"]), r"values: 'A' is there more than once"),
        ("{ocean_proximity: {values: [1, 2], unseen: missing}}", r'write "1", with quotes'),
        (declared(values=[""]), r"values.0: String should have at least 1 character"),
        ("{ocean_proximity: {values: [A]}}", r"unseen: Field required"),
        (declared(unseen="ignore"), r"unseen: Input should be 'missing', 'other' or 'fail'"),
        (declared(encode="target"), r"encode: Input should be 'codes' or 'one_hot'"),
        (declared(encode="one_hot", values=["a b", "A-B"]), r"'a b' and 'A-B' both name a feature …_a_b"),
        (declared(encode="one_hot", values=["?"]), r"'\?' has no letter or digit to name a feature by"),
        (
            declared(encode="one_hot", values=["Other"], unseen="other"),
            r"'Other' names a feature as unseen: other does",
        ),
    ],
)
def test_a_wrong_declaration_is_refused_when_it_is_loaded(make_spec: Any, category: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.yaml: .*key features\.categories\.ocean_proximity.*{said}"):
        make_spec(SQL, categories=category)
