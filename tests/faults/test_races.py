"""Writers of tables that are not there yet, all at once, as processes of their own."""

from __future__ import annotations

import subprocess
import sys

from include.core.settings import PROJECT_ROOT, Settings
from include.demo.replay import CACHE, Replay, fetch
from include.lakehouse import decisions
from include.lakehouse.decisions import Kind
from include.lakehouse.schemas import QUARANTINE, RAW
from include.lakehouse.tables import Lakehouse
from tests.faults.conftest import Running

AT_ONCE = 8


def test_of_eight_days_that_are_validated_at_once_in_an_empty_lakehouse_none_is_lost(running: Running) -> None:
    spec, home = running.spec, running.stack.home / "empty"
    landing, lakehouse = home / "landing", home / "lakehouse"
    source = Replay(spec, fetch(spec, running.stack.home / "landing" / CACHE), days=100)
    for number in range(1, 1 + AT_ONCE):
        source.deliver_batch(Settings(landing_uri=str(landing)), number)
    days = [spec.first_partition.shift(number).key for number in range(1, 1 + AT_ONCE)]
    places = {"FLIGHTLINE_LANDING_URI": str(landing), "FLIGHTLINE_LAKEHOUSE_URI": str(lakehouse)}
    validate = [sys.executable, "-m", "include.jobs", "ingestion.validate_batch", "--model", spec.name, "--partition"]
    jobs = [
        subprocess.Popen(
            [*validate, day],
            env=running.stack.environment() | places,
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for day in days
    ]
    said = [job.communicate(timeout=900)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * AT_ONCE, said
    lake = Lakehouse(str(lakehouse))
    raw, waiting = (lake.rows_by_partition(table.of(spec)) for table in (RAW, QUARANTINE))
    decided = decisions.history(lake, spec.name, Kind.BATCH_VERDICT)
    verdicts = {decision.subject: decision.inputs["verdict"] for decision in decided}
    assert sorted(verdicts) == days
    assert raw == {day: verdicts[day]["rows"] for day in days}
    assert waiting == {day: verdicts[day]["quarantined"] for day in days if verdicts[day]["quarantined"]}
