"""Take back the quarantined rows of a day that pass now: what the DAG reprocess_quarantine does, for real."""

from __future__ import annotations

from include.ingestion import reprocess
from include.jobs.command import run_for_day

if __name__ == "__main__":
    run_for_day("reprocess_quarantine", reprocess.take_back)
