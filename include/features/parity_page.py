"""The training-serving skew of a day's features, as a web page."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
from jinja2 import Environment

from include.lakehouse.tables import Lakehouse
from include.models.spec import ModelSpec

DAYS = 30
"""That the page lists at most."""

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Training-serving skew of {{ model }}, {{ day }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; max-width: 60rem; }
  .skew { font-size: 3rem; font-weight: 600; line-height: 1.1; margin: 0; }
  table { border-collapse: collapse; margin: 0.5rem 0 2rem; }
  th, td { padding: 0.2rem 1.2rem 0.2rem 0; border-bottom: 1px solid #8884; text-align: right; }
  th:first-child, td:first-child { text-align: left; }
  .beyond { color: #c62828; font-weight: 600; }
</style>
<h1>Training-serving skew of {{ model }}, {{ day }}</h1>
<p class="skew{{ ' beyond' if skew > threshold }}">{{ "%.2f" | format(100 * skew) }} %</p>
<p>of {{ "{:,}".format(compared) }} values read online differ from a point-in-time join of the table as of the same
moment. The limit is {{ "%.2f" | format(100 * threshold) }} %. Of the {{ "{:,}".format(keys) }} keys sampled,
{{ "{:,}".format(expired) }} were served values older than the time to live, which are not compared.</p>
<h2>By feature</h2>
<table>
  <tr><th>Feature</th><th>Compared</th><th>Differ</th></tr>
  {% for row in features %}
  <tr{% if row.mismatches %} class="beyond"{% endif %}>
    <td>{{ row.feature }}</td><td>{{ "{:,}".format(row.compared) }}</td><td>{{ "{:,}".format(row.mismatches) }}</td>
  </tr>
  {% endfor %}
</table>
<h2>By day</h2>
<table>
  <tr><th>Day</th><th>Keys</th><th>Skew</th><th>Expired</th></tr>
  {% for row in days %}
  <tr{% if row.skew > row.threshold %} class="beyond"{% endif %}>
    <td>{{ row.batch_date }}</td><td>{{ "{:,}".format(row["keys"]) }}</td>
    <td>{{ "%.2f" | format(100 * row.skew) }} %</td><td>{{ "{:,}".format(row.expired) }}</td>
  </tr>
  {% endfor %}
</table>
"""


def render(spec: ModelSpec, lake: Lakehouse, day: date) -> str | None:
    """The page of a day whose parity was checked, from ``parity_<model>``; None where it was not."""
    name = spec.table("parity")
    days = lake.rows_by_partition(name, "batch_date") if lake.exists(name) else []
    checked = sorted(at for at, _ in days if at <= day)
    if day not in checked:
        return None
    table = lake.read(name, where=[("batch_date", ">=", checked[-DAYS:][0]), ("batch_date", "<=", day)])
    features = _of_day(table, day)
    first = features[0]
    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            model=spec.name,
            day=day,
            features=features,
            days=_days(table),
            skew=first["skew"],
            threshold=first["threshold"],
            keys=first["keys"],
            expired=first["expired"],
            compared=sum(row["compared"] for row in features),
        )
    )


def _of_day(table: pa.Table, day: date) -> list[dict[str, object]]:
    """The features of the day, those that differ most first."""
    rows = [row for row in table.to_pylist() if row["batch_date"] == day]
    return sorted(rows, key=lambda row: (-row["mismatches"], row["feature"]))


def _days(table: pa.Table) -> list[dict[str, object]]:
    """One row a day, newest first: what is of the whole day stands on each of its features."""
    by_day = {row["batch_date"]: row for row in table.to_pylist()}
    return [by_day[day] for day in sorted(by_day, reverse=True)]
