"""A reopened window is decided on again; one of several partitions is measured again, too: its rows may be others."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException

from include.core.settings import PROJECT_ROOT
from include.lakehouse.windows import Content
from include.monitoring import steps
from include.orchestration.assets import assets_of
from tests.dags.test_broken_model import BAD, GOOD, models_folder

pytestmark = pytest.mark.slow

__all__ = ["models_folder"]


def test_only_a_window_of_several_partitions_is_measured_again(models_folder, monkeypatch):
    file = models_folder / BAD / "model.yaml"
    file.write_text(file.read_text().replace("\nmonitoring:\n", "\nmonitoring:\n  window: {partitions: 3}\n"))
    bag = DagBag(str(PROJECT_ROOT / "dags" / "monitor_model.py"))
    assert not bag.import_errors
    monkeypatch.setattr(steps, "measure_window", lambda run: Content(run, {}, {}))
    for model, measured in ((GOOD, False), (BAD, True)):
        measure = bag.dags[f"{model}.monitor_model"].get_task("measure_window").python_callable
        monkeypatch.setitem(measure.__globals__, "run_of", lambda context: context["run"])
        assets = assets_of(model)
        for events, expected in (([assets.reopened], measured), ([assets.reopened, assets.labels], True)):
            context = {"triggering_asset_events": dict.fromkeys(events), "run": "the run"}
            if expected:
                assert measure(**context)["version"] == "the run"
            else:
                with pytest.raises(AirflowSkipException, match="decided on again"):
                    measure(**context)
