"""The JSON Schemas by which editors check a model's files."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from include.core import catalogue
from include.core.settings import PROJECT_ROOT
from include.ingestion.expectations import KINDS
from include.scaffold import schema

FILES = {schema.MODEL: "model.yaml", schema.EXPECTATIONS: "expectations.yaml"}
MADE = {name: json.loads(text) for name, text in schema.texts().items()}


def problems(name: str, content: Any) -> list[str]:
    plain = json.loads(json.dumps(content, default=str))
    return [error.message for error in Draft202012Validator(MADE[name]).iter_errors(plain)]


def read(file: str, model: str = "california_housing") -> Any:
    return yaml.safe_load((catalogue.MODELS / model / file).read_text())


@pytest.mark.parametrize("name", FILES)
def test_the_committed_schema_is_up_to_date(name: str) -> None:
    committed = (PROJECT_ROOT / "docs" / "schema" / name).read_text()
    assert committed == schema.texts()[name], f"docs/schema/{name} is stale: run `make schema`"
    Draft202012Validator.check_schema(MADE[name])


@pytest.mark.parametrize("name", FILES)
def test_the_files_of_every_model_fit(name: str) -> None:
    for model in catalogue.registered():
        assert problems(name, read(FILES[name], model)) == []


@pytest.mark.parametrize("name", FILES)
def test_the_first_model_names_its_schema(name: str) -> None:
    file = catalogue.MODELS / "california_housing" / FILES[name]
    first = file.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == PROJECT_ROOT / "docs" / "schema" / name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metric",), "adjusted_r3"),
        (("colums",), {}),
        (("columns", "Total Rooms"), {"type": "number", "description": ""}),
        (("columns", "total_rooms", "type"), "float"),
        (("training", "split", "kind"), "by_luck"),
        (("gates", "staging"), [{"threshold": 0.8}]),
        (("deliveries", "label_delay"), -1),
    ],
)
def test_a_mistake_in_model_yaml_is_found(path: tuple[str, ...], value: Any) -> None:
    content = read("model.yaml")
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert problems(schema.MODEL, content)


def test_a_path_to_ones_own_is_taken() -> None:
    content = read("model.yaml")
    content["metric"] = "my_package.metrics:wape"
    content["gates"]["production"].append("my_package.checks:no_slice_is_worse")
    assert problems(schema.MODEL, content) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "expect_column_values_to_be_nice", "column": "latitude", "severity": "warn"},
        {"type": "expect_column_values_to_not_be_null", "severity": "warn"},
        {"type": "expect_column_values_to_not_be_null", "column": "latitude"},
        {"type": "expect_column_values_to_not_be_null", "column": "latitude", "severity": "warn", "min": 0},
        {"type": "expect_column_mean_to_be_between", "column": "latitude", "severity": "quarantine_row"},
    ],
)
def test_a_mistake_in_expectations_yaml_is_found(wrong: dict[str, Any]) -> None:
    content = read("expectations.yaml")
    content["expectations"].append(wrong)
    assert problems(schema.EXPECTATIONS, content)


def test_every_type_of_expectation_is_known() -> None:
    for type_, kind in KINDS.items():
        severity = "quarantine_row" if kind.on_rows else "warn"
        given = {key: ["a"] if key in ("column_list", "column_set") else "a" for key in kind.required}
        assert problems(schema.EXPECTATIONS, {"expectations": [{"type": type_, "severity": severity, **given}]}) == []
