"""Online values beside a point-in-time join."""

from __future__ import annotations

from include.core.partition import Partition
from include.lakehouse.decisions import Decision
from include.lakehouse.run import Run
from include.lakehouse.schemas import PARTITION, SKEW
from include.pages.section import Row, Section, Table
from include.pages.sections import plain


def skew(run: Run, decision: Decision) -> Section:
    found, threshold = decision.inputs["skew"], decision.inputs["max_skew"]
    share = found["mismatches"] / found["compared"] if found["compared"] else 0.0
    differing = sorted(found["differing"].items(), key=lambda item: (-item[1], item[0]))
    return plain.section(
        decision,
        f"Training-serving skew {share:.2%}, of {threshold:.2%} allowed",
        sentences=[
            "Values read online, beside a point-in-time join of the table as of the same moment. "
            "Values older than the time to live are not compared."
        ],
        facts=[
            ("Keys sampled", found["keys"]),
            ("Values compared", found["compared"]),
            ("Differ", found["mismatches"]),
            ("Keys with expired values", found["expired"]),
        ],
        tables=[
            Table(
                "Features that differ", ("Feature", "Values"), [Row((name, count), "bad") for name, count in differing]
            ),
            _earlier_skew(run, Partition.parse(decision.subject, run.spec.grain)),
        ],
    )


def _earlier_skew(run: Run, partition: Partition) -> Table:
    table = run.table(SKEW)
    keys = [key for key in run.lake.rows_by_partition(table) if key < partition.key][-plain.EARLIER :]
    read = run.lake.read(table, where=[(PARTITION, "in", keys)]).to_pylist() if keys else []
    by_key = {row[PARTITION]: row for row in read}  # what is of the whole stands on each of its features
    return Table(
        "Partitions before",
        ("Partition", "Keys", "Skew", "Expired"),
        [
            Row(
                (key, row["keys"], f"{row['skew']:.2%}", row["expired"]),
                "bad" if row["skew"] > row["threshold"] else "",
            )
            for key, row in sorted(by_key.items(), reverse=True)
        ],
    )
