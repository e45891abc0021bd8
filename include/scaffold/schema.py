"""JSON Schemas of a model's files, by which editors complete and check them: `make schema` writes docs/schema.

That of model.yaml is made from `core.spec`, with the names that can be chosen; that of expectations.yaml from the table
of Great Expectations' types. A test holds the committed files against what is made here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from include.core.spec import ModelSpec
from include.evaluation.corrections import CORRECTIONS
from include.evaluation.drift import TESTS
from include.evaluation.metrics import METRICS
from include.ingestion.expectations import KINDS, Kind, Severity
from include.registry.checks import CHECKS
from include.training.algorithms import ALGORITHMS
from include.training.splits import SPLITS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODEL, EXPECTATIONS = "model.schema.json", "expectations.schema.json"
_CHOICES: Mapping[tuple[str, str], Iterable[str]] = {
    ("ModelSpec", "metric"): METRICS,
    ("Training", "algorithm"): ALGORITHMS,
    ("Split", "kind"): SPLITS,
    ("DriftRule", "test"): TESTS,
    ("Drift", "correction"): CORRECTIONS,
    ("GateCheck", "check"): CHECKS,
}
"""By section and key of model.yaml the package's own names."""
_PATH = r"^[A-Za-z_][\w.]*:\w+$"


def of_model() -> Schema:
    """The schema of model.yaml."""
    made = ModelSpec.model_json_schema(ref_template="#/$defs/{model}")
    sections = {"ModelSpec": made, **made["$defs"]}
    for (section, key), known in _CHOICES.items():
        found = sections[section]["properties"][key]
        found.pop("pattern")
        kept = {name: found.pop(name) for name in list(found) if name != "type"}
        found.pop("type")
        path = {"type": "string", "pattern": _PATH, "description": "One of your own: my_package.my_module:name"}
        found |= {"anyOf": [{"enum": sorted(known)}, path], **kept}
    check = sections["GateCheck"]
    name = check["properties"]["check"]
    told = {"type": "object", "properties": {"check": name}, "required": ["check"]}
    made["$defs"]["GateCheck"] = {"description": check["description"], "anyOf": [name, told]}
    _close(made)
    return {"$schema": DIALECT, **made, "title": "model.yaml of Flightline"}


def _close(schema: object) -> None:
    """Where keys are names, have no others."""
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _close(part)
    if isinstance(schema, dict) and "patternProperties" in schema:
        schema["additionalProperties"] = False


def of_expectations() -> Schema:
    """The schema of expectations.yaml."""
    rules = {"type": "array", "items": {"$ref": "#/$defs/rule"}}
    return {
        "$schema": DIALECT,
        "title": "expectations.yaml of Flightline",
        "type": "object",
        "properties": {
            "expectations": {**rules, "description": "What each batch has to keep"},
            "labels": {**rules, "description": "What the labels have to keep"},
        },
        "required": ["expectations"],
        "additionalProperties": False,
        "$defs": {"rule": {"oneOf": [_rule(type_, kind) for type_, kind in sorted(KINDS.items())]}},
    }


def _rule(type_: str, kind: Kind) -> Schema:
    severities = [severity for severity in get_args(Severity) if kind.on_rows or severity != "quarantine_row"]
    properties: Schema = {"type": {"const": type_}, "severity": {"enum": severities}}
    properties |= {key: _argument(key) for key in kind.keys}
    return {
        "title": type_,
        "type": "object",
        "properties": properties,
        "required": ["type", *kind.required, "severity"],
        "additionalProperties": False,
    }


def _argument(key: str) -> Schema:
    """What a key holds, where our own checks say so; the rest Great Expectations knows."""
    if key in ("column", "column_A", "column_B"):
        return {"type": "string"}
    if key in ("column_list", "column_set"):
        return {"type": "array", "items": {"type": "string"}}
    if key in ("min_value", "max_value"):
        return {"type": ["number", "string", "null"]}
    return {}


def texts() -> dict[str, str]:
    """The content of each file, by name."""
    made = {MODEL: of_model(), EXPECTATIONS: of_expectations()}
    return {name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in made.items()}


def write(folder: Path) -> list[Path]:
    """Write the schemas; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts()]
