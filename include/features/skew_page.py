"""The training-serving skew of a partition's features, as a web page."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from jinja2 import Environment

from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.lakehouse.schemas import PARTITION, SKEW
from include.lakehouse.tables import Lakehouse

PARTITIONS = 30
"""The page lists so many at most."""

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Training-serving skew of {{ model }}, {{ partition }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; max-width: 60rem; }
  .skew { font-size: 3rem; font-weight: 600; line-height: 1.1; margin: 0; }
  table { border-collapse: collapse; margin: 0.5rem 0 2rem; }
  th, td { padding: 0.2rem 1.2rem 0.2rem 0; border-bottom: 1px solid #8884; text-align: right; }
  th:first-child, td:first-child { text-align: left; }
  .beyond { color: #c62828; font-weight: 600; }
</style>
<h1>Training-serving skew of {{ model }}, {{ partition }}</h1>
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
<h2>By partition</h2>
<table>
  <tr><th>Partition</th><th>Keys</th><th>Skew</th><th>Expired</th></tr>
  {% for row in partitions %}
  <tr{% if row.skew > row.threshold %} class="beyond"{% endif %}>
    <td>{{ row.partition_key }}</td><td>{{ "{:,}".format(row["keys"]) }}</td>
    <td>{{ "%.2f" | format(100 * row.skew) }} %</td><td>{{ "{:,}".format(row.expired) }}</td>
  </tr>
  {% endfor %}
</table>
"""


def render(spec: ModelSpec, lake: Lakehouse, partition: Partition) -> str | None:
    """The page of a partition whose skew was checked, from ``skew_<model>``; None where it was not."""
    skew = SKEW.of(spec)
    checked = [key for key in lake.rows_by_partition(skew) if key <= partition.key]
    if partition.key not in checked:
        return None
    table = lake.read(skew, where=[(PARTITION, ">=", checked[-PARTITIONS:][0]), (PARTITION, "<=", partition.key)])
    features = _of_partition(table, partition)
    first = features[0]
    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            model=spec.name,
            partition=partition.key,
            features=features,
            partitions=_partitions(table),
            skew=first["skew"],
            threshold=first["threshold"],
            keys=first["keys"],
            expired=first["expired"],
            compared=sum(row["compared"] for row in features),
        )
    )


def _of_partition(table: pa.Table, partition: Partition) -> list[dict[str, Any]]:
    """The features of the partition, those that differ most first."""
    rows = [row for row in table.to_pylist() if row[PARTITION] == partition.key]
    return sorted(rows, key=lambda row: (-row["mismatches"], row["feature"]))


def _partitions(table: pa.Table) -> list[dict[str, Any]]:
    """One row a partition, newest first: what is of the whole stands on each of its features."""
    by_key = {row[PARTITION]: row for row in table.to_pylist()}
    return [by_key[key] for key in sorted(by_key, reverse=True)]
