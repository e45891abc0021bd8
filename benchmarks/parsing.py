"""What parsing the DAG files costs with more models: `make bench BENCH=parsing` (ARGS="1 10 100" are the models).

Each figure is of a process of its own, with all DAG files in one DagBag, as CPU seconds: the first parse, which checks
each model's folder, and one after it, which finds them in order. Beside it what `import airflow.sdk` and DagBag's own
imports cost. A further model that costs more than LIMIT CPU seconds a parse of all files makes the run fail.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from include.core.settings import PROJECT_ROOT

MODEL = "california_housing"
COUNTS = (1, 10, 100)
LIMIT = 0.1

_PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
imported, modules = time.process_time(), set(sys.modules)
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
heavy = {"duckdb", "deltalake", "pyarrow", "sklearn", "mlflow", "feast", "pandas"} & (set(sys.modules) - modules)
found = {"import": imported, "parse": time.process_time() - imported, "dags": len(bag.dags), "heavy": sorted(heavy)}
print(json.dumps(found))
"""


def main(counts: list[int]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="flightline-parsing-"))
    print(f"{'models':>8}{'DAGs':>8}{'first parse':>14}{'next parse':>14}{'imports':>10}   imported by the next parse")
    taken = {}
    try:
        for count in counts:
            models = _models(folder / str(count), count)
            first, second = (_parse(models, folder / f"home-{count}") for _ in range(2))
            taken[count] = second["parse"]
            print(
                f"{count:>8}{second['dags']:>8}{first['parse']:>12.2f} s{second['parse']:>12.2f} s"
                f"{second['import']:>8.2f} s   {', '.join(second['heavy']) or 'nothing heavy'}"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if len(counts) < 2:
        return 0
    each = (taken[counts[-1]] - taken[counts[0]]) / (counts[-1] - counts[0])
    print(f"A further model costs {each:.3f} CPU s in a parse of all files (limit {LIMIT}).")
    return int(each > LIMIT)


def _models(folder: Path, count: int) -> Path:
    """So many copies of the package's model, each with names of its own."""
    for number in range(count):
        name = f"houses_{number}"
        shutil.copytree(PROJECT_ROOT / "include" / "models" / MODEL, folder / name)
        for file in (folder / name).glob("*.[ys]*"):
            text = file.read_text().replace(MODEL, name)
            file.write_text(text.replace(f"service: {name}_v1", f"service: {name}_v1\n  view: {name}_features"))
    return folder


def _parse(models: Path, home: Path) -> dict:
    environment = {
        **os.environ,
        "FLIGHTLINE_MODELS": str(models),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}",
    }
    command = [sys.executable, "-c", _PARSE, str(PROJECT_ROOT / "dags")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main([int(text) for text in sys.argv[1:]] or list(COUNTS)))
