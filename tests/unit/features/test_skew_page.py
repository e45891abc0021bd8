from __future__ import annotations

from pathlib import Path

import pytest

from include.core.spec import ModelSpec
from include.features import query, skew, skew_page
from include.features.skew import Skew
from include.lakehouse.tables import Lakehouse
from tests.tables import day

DAY, NEXT = day("2025-01-02"), day("2025-01-03")


@pytest.fixture
def checked(spec: ModelSpec, lake: Lakehouse) -> int:
    """Two days of skew, the second with differences; how many values were compared a day."""
    values = 200 * len(query.feature_schema(spec))
    skew.record(spec, lake, DAY, Skew(keys=200, mismatches=0, expired=0, features=(), compared=values))
    names = list(query.feature_schema(spec))
    differing = {names[-1]: 27, names[0]: 9}
    found = Skew(200, 36, 4, tuple(differing), compared=values, differing=differing)
    skew.record(spec, lake, NEXT, found)
    return values


def test_skew_is_a_number_on_the_page(spec: ModelSpec, lake: Lakehouse, checked: int) -> None:
    page = skew_page.render(spec, lake, NEXT)
    assert page is not None
    assert f'<p class="skew beyond">{100 * 36 / checked:.2f} %</p>' in page
    assert f"of {checked:,} values" in page
    first, *_, last = query.feature_schema(spec)
    assert page.index(f"<td>{last}</td>") < page.index(f"<td>{first}</td>")
    assert page.index("<td>2025-01-03</td>") < page.index("<td>2025-01-02</td>")


def test_a_page_is_of_its_day(spec: ModelSpec, lake: Lakehouse, checked: int) -> None:
    page = skew_page.render(spec, lake, DAY)
    assert page is not None
    assert '<p class="skew">0.00 %</p>' in page
    assert "2025-01-03" not in page


def test_a_day_without_a_check_has_no_page(spec: ModelSpec, lake: Lakehouse) -> None:
    assert skew_page.render(spec, lake, DAY) is None


def test_a_page_lists_the_last_days_and_reads_no_others(spec: ModelSpec, lake: Lakehouse) -> None:
    days = [DAY.shift(2 * number) for number in range(skew_page.PARTITIONS + 3)]
    for one in days:
        skew.record(spec, lake, one, Skew(keys=200, mismatches=0, expired=0, features=(), compared=600))
    table = lake.open(spec.table("skew"))
    for path in table.file_uris(file_pruning_predicate=[("partition_key", "<", days[2].key)]):
        Path(path).unlink()
    page = skew_page.render(spec, lake, days[-2])
    assert page is not None
    assert page.count("<td>2025-") == skew_page.PARTITIONS
    assert days[-1].key not in page
