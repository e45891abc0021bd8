"""``make new-model``, ``make check-model`` and ``make schema``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.core import catalogue
from include.core.errors import FlightlineError
from include.core.files import short_path
from include.scaffold import draft
from include.scaffold.guess import Wanted


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if all went well; 1 otherwise, with a sentence that says what to do."""
    options = _parser().parse_args(arguments)
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    try:
        return int(options.run(options))
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _new(options: argparse.Namespace) -> int:
    wanted = Wanted(options.target, _listed(options.keys), _listed(options.time), options.grain, options.task)
    made = draft.make(options.name, options.data, wanted, datetime.now(UTC).date(), options.models)
    folder = draft.write(made, options.models)
    print(f"Wrote {short_path(folder)}/: {', '.join(catalogue.FILES)}. Review what was guessed:\n")
    print("\n".join(f"  - {line}" for line in made.review()))
    when = made.time.value
    dates = f" TIME={','.join(when.columns)}" if when and not made.names_time else ""
    print(f"\nThen: make check-model NAME={made.name} DATA={options.data}{dates}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from include.scaffold import check  # Feast, MLflow and Great Expectations take seconds to import

    return 0 if check.run(options.name, options.data, _listed(options.time), options.models) else 1


def _schema(options: argparse.Namespace) -> int:
    from include.scaffold import schema

    for file in schema.write(options.folder):
        print(f"Wrote {file}")
    return 0


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _folder(text: str) -> Path:
    return Path(text).resolve()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m include.scaffold", description=__doc__)
    parser.add_argument(
        "--models", type=_folder, default=catalogue.MODELS.resolve(), help="the folder of the models' folders"
    )
    verbs = parser.add_subparsers(required=True)
    new = verbs.add_parser("new", help="draft a model's folder from a file")
    new.add_argument("name")
    new.add_argument("data", help="a CSV or Parquet file: rows with what is to be predicted of them")
    new.add_argument("--target", default="", help="the column that is predicted")
    new.add_argument("--keys", default="", help="the columns that name a row, with commas")
    new.add_argument("--time", default="", help="the column of dates, or those of dates and of hours; or none")
    new.add_argument("--grain", default="", help="hour, day, week or month")
    new.add_argument("--task", default="", help="regression, binary or multiclass")
    new.set_defaults(run=_new)
    check = verbs.add_parser("check", help="run all of a model's folder on a sample")
    check.add_argument("name")
    check.add_argument("--data", default="", help="as new; by default what the section replay names")
    check.add_argument("--time", default="", help="as new; by default as the folder says")
    check.set_defaults(run=_check)
    schema = verbs.add_parser("schema", help="write the JSON Schemas of model.yaml and expectations.yaml")
    schema.add_argument("folder", type=Path)
    schema.set_defaults(run=_schema)
    return parser


if __name__ == "__main__":
    sys.exit(main())
