"""A model's folder, drafted from a file: three texts with every guess marked, checked before they are written."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.core import catalogue
from include.core.catalogue import FILES
from include.core.errors import UsageError
from include.core.files import short_path
from include.core.partition import Grain
from include.core.sections import Task
from include.core.settings import PROJECT_ROOT
from include.core.text import shown
from include.evaluation.metrics import METRICS, Metric
from include.orchestration import models
from include.scaffold import features, guess, names, profile, source, split, windows
from include.scaffold.features import Selection
from include.scaffold.guess import Guess, Wanted
from include.scaffold.profile import MOST_CATEGORIES, NULL_NUMBERS, Column, Profile
from include.scaffold.source import Source
from include.scaffold.times import Times

SEED = 20640
LABEL_DELAY = 1
TEST_SHARE = 0.3
SCHEMAS = PROJECT_ROOT / "docs" / "schema"
_METRICS = {Task.REGRESSION: "adjusted_r2", Task.BINARY: "auc", Task.MULTICLASS: "accuracy"}
_FRESH_HOURS = {Grain.HOUR: 24, Grain.DAY: 48, Grain.WEEK: 24 * 14, Grain.MONTH: 24 * 62}
"""Two partitions, or a day: a date without an hour is that of its midnight."""
_PLURAL = {"integer": "numbers", "number": "numbers", "date": "dates", "timestamp": "timestamps", "boolean": "booleans"}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 _.-]*[A-Za-z0-9_.]|[A-Za-z]")


@dataclass(frozen=True)
class Draft:
    """What was made of a file, and why."""

    name: str
    source: Source
    profile: Profile
    target: Guess[Column]
    task: Guess[Task]
    keys: Guess[tuple[Column, ...]]
    time: Guess[Times | None]
    grain: Guess[Grain]
    split: Guess[split.Options]
    selection: Selection
    today: date

    @cached_property
    def metric(self) -> Metric:
        return METRICS[_METRICS[self.task.value]]

    @cached_property
    def threshold(self) -> Guess[float]:
        """Of the metric: what somebody reaches who knows nothing of a row."""
        if self.task.value is Task.REGRESSION:
            return Guess(0.0, "what the mean as prediction gets; raise it to what the use needs")
        if self.task.value is Task.BINARY:
            return Guess(0.5, "what a coin gets; raise it to what the use needs")
        _, counts = np.unique(self.target.value.numbers, return_counts=True)
        share = float(np.ceil(counts.max() / counts.sum() * 1000) / 1000)
        return Guess(share, "what the most frequent class as prediction gets; raise it to what the use needs")

    @cached_property
    def window(self) -> Guess[int]:
        """Partitions of a monitored window."""
        when, n_features = self.time.value, len(self.selection.features)
        if when is None:
            return Guess(1, "the rows have no time")
        rows, least = windows.usual_rows(when.values, self.grain.value), self.metric.least_rows(n_features)
        said = f"a {self.grain.value} has some {rows} rows, and {self.metric.title} needs {least}"
        return Guess(windows.partitions_needed(self.metric, n_features, rows), said)

    @property
    def columns(self) -> list[Column]:
        """Those of a batch, and the key that is made."""
        generated = [key for key in self.keys.value if key.generated]
        return [*generated, *(column for column in self.profile.columns.values() if column is not self.target.value)]

    @property
    def names_time(self) -> bool:
        """Whether the folder can say which column is the time: ``ingestion.freshness`` reads no other texts."""
        when = self.time.value
        if when is None:
            return False
        type_ = self.profile.columns[when.columns[0]].type
        return type_ in ("date", "timestamp") or (when.is_iso and type_ == "text")

    @property
    def event_time(self) -> str | None:
        """The column that ``event_time`` may name."""
        when = self.time.value
        type_ = self.profile.columns[when.columns[0]].type if when else None
        fits = type_ == "timestamp" or (type_ == "date" and self.grain.value is not Grain.HOUR)
        return when.columns[0] if when and fits else None

    def files(self, folder: Path) -> dict[str, str]:
        """The text of each file, by name."""
        when = self.time.value
        values: Mapping[str, Any] = {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "columns": self.columns,
            "metric": self.metric,
            "threshold": self.threshold,
            "window": self.window,
            "entity": self._entity(),
            "event_time": self.event_time,
            "first_day": when.values.min().date() if when else self.today,
            "fresh_hours": _FRESH_HOURS[self.grain.value] if self.names_time else None,
            "described": [feature for feature in self.selection.features if feature.description],
            "remarks": {column.name: self._remark(column) for column in self.columns},
            "rules": [_line(rule) for rule in self._rules()],
            "label_rules": [_line(self._label_rule())],
            "label_delay": LABEL_DELAY,
            "split_line": _line(self._split()),
            "seed": SEED,
            "schema_folder": os.path.relpath(SCHEMAS, folder),
        }
        return {file: _templates().get_template(f"{file}.j2").render(values) for file in FILES}

    def review(self) -> list[str]:
        """What a person has to look at, a line each."""
        guesses: dict[str, Guess[Any]] = {
            f"target {self.target.value.name}": self.target,
            f"task {self.task.value}": self.task,
            f"key {', '.join(key.name for key in self.keys.value)}": self.keys,
            f"time {', '.join(self.time.value.columns) if self.time.value else 'none'}": self.time,
            f"grain {self.grain.value}": self.grain,
            f"split {self.split.value['kind']}": self.split,
        }
        if self.window.value > 1:
            guesses[f"monitored windows of {self.window.value} {self.grain.value}s"] = self.window
        lines = [f"{said} ({found.mark})" for said, found in guesses.items()]
        lines += [f"no feature: {name}, since {reason}" for name, reason in self.selection.left_out.items()]
        lines += [
            f"{name}: {found.reason}; the others are one category together"
            for name, found in self.selection.categories.items()
            if found.value.unseen == "other"
        ]
        for column in self.profile.columns.values():
            if column.null_values:
                lines.append(f"{column.name}: {_of_no_value(column)}")
            if column.cast_errors:
                lines.append(
                    f"{column.name}: {column.cast_errors} values are no {_PLURAL[column.type]}: deliver empty cells "
                    "where there is none"
                )
        if nulls := self.target.value.nulls + self.target.value.cast_errors:
            lines.append(
                f"{self.target.value.name}: {nulls} rows have none; a label that is delivered has a value, or "
                "deliveries.null_labels says that there is none"
            )
        if not self.source.is_whole:
            lines.append(f"only the first {self.profile.rows:,} rows of {self.source.name} were looked at")
        lines.append("descriptions, owner, label_delay, thresholds: the file does not say them")
        return lines

    def _remark(self, column: Column) -> str:
        """The comment beside a column of model.yaml; empty where nothing about it is to be reviewed."""
        if column.personal:
            return f"  # guessed: {column.personal}"
        said = [_of_no_value(column)] if column.null_values else []
        if column.cast_errors:
            said.append(
                f"but {column.cast_errors} values are no {_PLURAL[column.type]}, and those rows wait in quarantine"
            )
        elif reason := self.selection.given_away.get(column.name):
            said.append(f"{reason}; delete the line if it is not known before the label is")
        return f"  # guessed: {'; '.join(said)}" if said else ""

    def _entity(self) -> str:
        if len(self.keys.value) > 1:
            return "row"
        return self.keys.value[0].name.removesuffix("_id")

    def _split(self) -> dict[str, Any]:
        kind, *options = self.split.value.items()
        return dict([kind, ("test_share", TEST_SHARE), *options, ("seed", SEED)])

    def _rules(self) -> Iterator[dict[str, Any]]:
        keys = [key.name for key in self.keys.value]
        rows = {"severity": "quarantine_row"}
        if len(keys) == 1 and not self.keys.value[0].generated:
            yield {"type": "expect_column_values_to_be_unique", "column": keys[0], **rows}
        elif len(keys) > 1:
            yield {"type": "expect_compound_columns_to_be_unique", "column_list": keys, **rows}
        for column in self.columns:
            if column.name in self.selection.given_away or column.generated:
                continue
            if not column.nulls:
                yield {"type": "expect_column_values_to_not_be_null", "column": column.name, **rows}
            if column.name not in keys and not column.personal and (rule := _values(column)):
                yield {**rule, **rows}

    def _label_rule(self) -> dict[str, Any]:
        target, rows = self.target.value, {"severity": "quarantine_row"}
        if self.task.value is Task.REGRESSION:
            return {**_range(target), **rows}
        classes = np.unique(target.numbers[np.isfinite(target.numbers)]).astype(int).tolist()
        return {"type": "expect_column_values_to_be_in_set", "column": target.name, "value_set": classes, **rows}


def make(name: str, path: str, wanted: Wanted, today: date, root: Path = catalogue.MODELS) -> Draft:
    """Look at a file.

    Args:
        name: of the model.
        today: taken as the first day where the rows have no time.

    Raises:
        UsageError: the model cannot be named so, or is there; or the file does not say what has to be known.
        BadFile: the file cannot be read.
    """
    names.require_model(name)
    if (root / name).exists():
        what = f"there is a model {name}"
        raise UsageError(what, where=short_path(root / name), fix="Take another NAME, or delete the folder first")
    read = source.read(path)
    wanted = wanted.by_name(read.sources)
    found = profile.of(read).with_texts(wanted.keys)
    target = guess.target(found, wanted)
    task = guess.task(target.value, wanted)
    time = guess.time(found, target.value.name, wanted)
    grain = guess.grain(time.value, wanted)
    keys = guess.keys(found, target.value.name, time.value, grain.value, wanted, read)
    selection = features.select(found, target.value, keys.value, time.value.columns if time.value else ())
    if not selection.features:
        why = "; ".join(f"{name}: {reason}" for name, reason in selection.left_out.items())
        raise UsageError(f"no column is left for a feature. {why}", where=path, fix="Deliver more columns")
    parted = split.of(found, target.value, keys.value, time, LABEL_DELAY)
    return Draft(name, read, found, target, task, keys, time, grain, parted, selection, today)


def write(draft: Draft, root: Path = catalogue.MODELS) -> Path:
    """Write the folder, once it loads as every model's does.

    Raises:
        ConfigError: it does not.
        UsageError: there is one of that name by now.
    """
    folder = root / draft.name
    with TemporaryDirectory(prefix="flightline-") as scratch:
        trial = Path(scratch, draft.name)
        trial.mkdir()
        for file, text in draft.files(folder).items():
            (trial / file).write_text(text, encoding="utf-8")
        models.check(catalogue.load(draft.name, Path(scratch)))
        try:
            shutil.copytree(trial, folder)
        except FileExistsError:
            raise UsageError("there is one by now", where=short_path(folder), fix="Take another NAME") from None
    return folder


def _of_no_value(column: Column) -> str:
    """What stands for no value in a column of numbers, dates or booleans, and why that is so."""
    said = []
    for text, rows in column.null_values.items():
        lowest = text in map(str, NULL_NUMBERS)
        why = "is far below all others" if lowest else f"is among {_PLURAL[column.type]}"
        said.append(f"{text} {why} ({rows} rows)")
    return f"null where {' and '.join(said)}"


def _values(column: Column) -> dict[str, Any] | None:
    if not column.distinct or column.type in ("date", "timestamp", "boolean"):
        return None
    if column.is_of_numbers:
        return _range(column)
    if column.distinct > MOST_CATEGORIES:
        return None
    values = sorted(column.categories)
    return {"type": "expect_column_values_to_be_in_set", "column": column.name, "value_set": values}


def _range(column: Column) -> dict[str, Any]:
    """As far again as the values reach; what is nowhere below 0 stays so."""
    span = column.high - column.low or abs(column.high) or 1.0
    low, high = column.low - span, column.high + span
    bounds = (0 if column.low >= 0 > low else low), (0 if column.high <= 0 < high else high)
    least, most = (int(bound) if column.type == "integer" else float(f"{bound:.6g}") for bound in bounds)
    return {
        "type": "expect_column_values_to_be_between",
        "column": column.name,
        "min_value": least,
        "max_value": most,
    }


def _line(rule: Mapping[str, Any]) -> str:
    """A mapping on one line."""
    return "{" + ", ".join(f"{_yaml(key)}: {_yaml(value)}" for key, value in rule.items()) + "}"


def _yaml(value: object) -> str:
    """A value as YAML has it within braces, without quotes where that means the same."""
    if isinstance(value, list):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, dict):
        return _line(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _templates() -> Environment:
    found = Environment(  # noqa: S701  (YAML and SQL, in which `q` and `sql` quote what comes from the file)
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {
        "q": _yaml,
        "sql": features.quoted,
        "words": lambda name: name.replace("_", " ").capitalize() if names.NAME.fullmatch(name) else name,
        "comment": shown,
    }
    return found
