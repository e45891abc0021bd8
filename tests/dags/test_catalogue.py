from __future__ import annotations

from include.core.settings import PROJECT_ROOT
from include.orchestration import catalogue


def test_the_catalogue_of_dags_is_up_to_date():
    stored = (PROJECT_ROOT / "docs" / "dags.md").read_text()
    assert stored == catalogue.render(), "docs/dags.md is stale: run `make docs`"
