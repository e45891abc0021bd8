from __future__ import annotations

from include.core.settings import PROJECT_ROOT
from include.orchestration import dag_docs


def test_the_catalogue_of_dags_is_up_to_date():
    stored = (PROJECT_ROOT / "docs" / "dags.md").read_text()
    assert stored == dag_docs.render(), "docs/dags.md is stale: run `make docs`"
