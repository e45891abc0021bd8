"""The model card: one page of HTML among a model's files that says what it is for, made of, good at, and not tested on.

As other pages it runs no script and loads nothing, and every value on it is text (`core.html`).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.metadata import version as installed
from pathlib import Path

import pandas as pd

from include.core import html
from include.core.sections import Task
from include.core.spec import ModelSpec
from include.evaluation import metrics
from include.evaluation.metrics import Floats, Metric
from include.features import fitted_categories
from include.lakehouse.schemas import SPLIT
from include.training import algorithms, importance, slice_metrics
from include.training.algorithms import Fitted
from include.training.floors import Floor
from include.training.importance import Importance
from include.training.search import SearchResult
from include.training.slice_metrics import CONFIDENCE
from include.training.splits import TEST
from include.training.training_set import TrainingSetRef

FILE = "model_card.html"
SECTIONS = ("Purpose", "Data", "Features", "Metrics", "Floors", "Slices", "Limits", "How it was chosen", "Lineage")
NULLS_WORTH_SAYING = 0.01
_PACKAGES = ("mlflow", "numpy", "pandas")

Cell = str | float | None


@dataclass(frozen=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Section:
    """One of `SECTIONS`."""

    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Evidence:
    """What is known of a candidate once it is fitted and measured."""

    candidate: str
    fitted: Fitted
    found: SearchResult | None
    """Of the search; None of a candidate whose parameters model.yaml gives."""
    frame: pd.DataFrame
    """The training set."""
    test: pd.DataFrame
    """Its rows that the candidate is judged by."""
    predicted: Floats
    """For these."""
    measured: Mapping[str, float]
    tags: Mapping[str, str]
    """Of its run in MLflow."""
    run_id: str
    floors: Sequence[Floor] = ()


def render(spec: ModelSpec, ref: TrainingSetRef, known: Evidence) -> str:
    """The page of a candidate."""
    weights = importance.of(spec, known.fitted.model, known.test[list(ref.features)], known.test[spec.target])
    contents = {
        "Purpose": _purpose(spec),
        "Data": _data(spec, ref, known),
        "Features": _features(spec, ref, known, weights),
        "Metrics": _metrics(spec, known),
        "Floors": _floors(spec, known),
        "Slices": _slices(spec, ref, known, weights.shares),
        "Limits": _limits(spec, ref, known),
        "How it was chosen": _choice(spec, known),
        "Lineage": _lineage(spec, ref, known),
    }
    title = f"{spec.name}, {known.candidate} of {ref.training_set}"
    sections = [Section(name, *contents[name]) for name in SECTIONS]
    return _environment.get_template("card.html").render(title=title, sections=sections)


def missing(page: str) -> list[str]:
    """The sections that a card has not, or that say nothing."""
    reader = _Reader()
    reader.feed(page)
    return [name for name in SECTIONS if not "".join(reader.texts.get(name, ())).strip()]


class _Reader(HTMLParser):
    """The text below each heading."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {}
        self._heading: str | None = None
        self._inside = ""
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden = tag in ("style", "script")
        if tag == "h3":
            self._heading = ""

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False
        if tag == "h3" and self._heading is not None:
            self._inside, self._heading = self._heading.strip(), None
        elif tag == "section":
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading += data
        elif self._inside and not self._hidden:
            self.texts.setdefault(self._inside, []).append(data)


Content = tuple[Sequence[str], Sequence[Table]]


def _purpose(spec: ModelSpec) -> Content:
    rows = [
        ("Predicts", spec.target),
        ("For each", f"{spec.entity.name}: {spec.entity.description}"),
        ("Task", spec.task.value),
        ("Owner", spec.owner),
    ]
    return [spec.description], [Table(("", ""), rows)]


def _data(spec: ModelSpec, ref: TrainingSetRef, known: Evidence) -> Content:
    rows: list[Sequence[Cell]] = [
        ("Training set", f"{ref.training_set}, {spec.table('training_sets')}@{ref.table_version}"),
        ("Made of", ref.data_version),
        (f"{spec.grain.value.capitalize()}s", f"{ref.partitions}, {ref.first_partition} to {ref.last_partition}"),
        ("Labels known by", ref.known_at),
        ("Rows", ref.rows),
        ("fitted to", ref.train_rows + ref.validation_rows),
        ("tested on", ref.test_rows),
        ("left out by the split", ref.left_out),
        ("labels without features", ref.without_features),
        ("Split", f"{spec.training.split.kind}, {spec.training.split.test_share:.0%} to test on"),
        ("Delivered files", known.tags.get("data.origin") or "not known"),
    ]
    return ref.concept_drifts, [Table(("", ""), rows)]


def _features(spec: ModelSpec, ref: TrainingSetRef, known: Evidence, weights: Importance) -> Content:
    described = {name: column.description for name, column in spec.columns.items()} | spec.features.descriptions
    nulls = known.frame[list(ref.features)].isna().mean()
    shares = weights.shares
    ordered = sorted(ref.features, key=lambda name: -shares.get(name, 0.0))
    rows = [
        (name, described.get(name, ""), f"{nulls[name]:.1%}", f"{shares[name]:.1%}" if name in shares else "")
        for name in ordered
    ]
    told = f" Importance is the {weights.meaning}." if shares else ""
    head = ("Feature", "What it is", "Null", "Importance" if shares else "")
    return [f"{len(rows)} features of {ref.feature_service}.{told}"], [Table(head, rows)]


def _metrics(spec: ModelSpec, known: Evidence) -> Content:
    rows: list[tuple[str, ...]] = []
    for name, metric in metrics.of_task(spec).items():
        if name in known.measured:
            fitted, drifted = (known.measured.get(prefix + name) for prefix in ("train_", "drifted_"))
            low, high = (known.measured.get(f"{name}.{end}") for end in ("low", "high"))
            rows.append(
                (
                    metric.title,
                    metric.shown(known.measured[name]),
                    _between(metric, (low, high) if low is not None and high is not None else None),
                    metric.shown(fitted) if fitted is not None else "",
                    metric.shown(drifted) if drifted is not None else "",
                )
            )
    said = f"On {len(known.test):,} test rows. The intervals, by a delete-a-group jackknife, tell of rows like these."
    head: Sequence[str] = ("Metric", "Test rows", f"{CONFIDENCE:.0%} interval", "Fitted rows", "Drifted windows")
    if not any(drifted for *_, drifted in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return [said], [Table(head, rows)]


def _floors(spec: ModelSpec, known: Evidence) -> Content:
    """What anybody could predict without the model, beside it."""
    metric, own = metrics.of(spec), known.measured[spec.metric]
    rows: list[Sequence[Cell]] = []
    for floor in known.floors:
        gained = metric.gain(own, floor.value)
        rows.append(
            (floor.title, metric.shown(floor.value), metric.shown(gained), "better" if gained > 0 else "no better")
        )
    head = ("Predicting", metric.title, "The model gains", "So the model is")
    return [] if rows else ["Nothing simpler can be measured on these rows."], [Table(head, rows)]


def _slices(spec: ModelSpec, ref: TrainingSetRef, known: Evidence, shares: Mapping[str, float]) -> Content:
    metric = metrics.of(spec)
    rows: list[Sequence[Cell]] = [
        (
            item.title,
            item.rows,
            "too few rows" if item.value is None else metric.shown(item.value),
            "" if item.value is None else _between(metric, item.bounds),
            item.residual,
        )
        for item in slice_metrics.of(spec, ref, known.test, known.predicted, shares)
    ]
    left = "Wrong" if spec.task is Task.MULTICLASS else "Mean residual"
    head = ("Slice of the test rows", "Rows", metric.title, f"{CONFIDENCE:.0%} interval", left)
    return [] if rows else ["No column has slices."], [Table(head, rows)]


def _limits(spec: ModelSpec, ref: TrainingSetRef, known: Evidence) -> Content:
    labels = known.frame.loc[known.frame[SPLIT] != TEST, spec.target]
    shares = known.frame[list(ref.features)].isna().mean()
    nulls = [f"{name} ({share:.0%})" for name, share in shares.items() if share >= NULLS_WORTH_SAYING]
    said = [
        f"It knows nothing of after {ref.last_partition}, and is tested on no {spec.grain.value} after that.",
        f"The labels that it was fitted to are between {labels.min():,.6g} and {labels.max():,.6g}: beyond these it is "
        "tested on nothing.",
    ]
    if spec.training.split.kind == "random_by_key":
        said.append(
            "Test rows were drawn by their key: where rows are alike in place or time, others of them were fitted to."
        )
    if ref.drifted:
        said.append(f"These drifted, and weigh more: {', '.join(ref.drifted)}.")
        if f"drifted_{spec.metric}" not in known.measured:
            said.append("They have too few test rows to say how good it is there.")
    if nulls:
        said.append(f"Null in the training set: {', '.join(nulls)}.")
    for column, category in fitted_categories.read_all(ref.categories).items():
        said.append(f"Texts of {column} that were not declared when it was fitted: {category.unseen}.")
    if ref.suspected:
        said.append(f"{ref.suspected} nearly determine the label together: nobody has confirmed that they are known.")
    if spec.training.known_features:
        confirmed = ", ".join(spec.training.known_features)
        said.append(f"That they are known when a prediction is asked for, a person has confirmed of: {confirmed}.")
    return said, []


def _choice(spec: ModelSpec, known: Evidence) -> Content:
    metric = metrics.for_search(spec)
    if known.found is None:
        return ["Its parameters are those of training.baseline in model.yaml: nothing was searched."], [_params(known)]
    baseline, best = known.found.trials[0].validation, known.found.best
    there = f"{metric.title} {metric.shown(best.validation)}; the baseline's parameters have {metric.shown(baseline)}"
    said = [
        f"The best of {len(known.found.trials)} trials on the validation rows is trial {best.number}, by {there}.",
        f"Test rows have no say. The search ended by its limit of {known.found.ended_by}.",
    ]
    return said, [_params(known)]


def _lineage(spec: ModelSpec, ref: TrainingSetRef, known: Evidence) -> Content:
    packages, rules = dict.fromkeys((*_PACKAGES, *algorithms.of(spec).requirements)), spec.training
    rows: list[Sequence[Cell]] = [
        ("Version", f"that of the registry whose source run is {known.run_id}: it has a number once it is registered"),
        ("MLflow run", known.run_id),
        ("Airflow run", known.tags.get("airflow.run_id", "")),
        ("Commit", known.tags.get("git.sha", "not known")),
        ("Tables", f"{spec.table('training_sets')}@{ref.table_version} {ref.data_version}"),
        ("Feature service", ref.feature_service),
        ("Algorithm", spec.training.algorithm),
        (
            "Seeds",
            f"training {rules.seed}, split {rules.split.seed}, search {rules.search.seed}",
        ),
        ("Threads", f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}, {os.cpu_count()} cores"),
        ("Python", platform.python_version()),
        *((package, installed(package)) for package in packages),
    ]
    return [], [Table(("", ""), rows)]


def _params(known: Evidence) -> Table:
    return Table(("Parameter", "Value"), [(name, str(value)) for name, value in known.fitted.params.items()])


def _between(metric: Metric, found: tuple[float, float] | None) -> str:
    return f"{metric.shown(found[0])} to {metric.shown(found[1])}" if found else "too few rows"


_environment = html.environment(Path(__file__).parent / "templates")
