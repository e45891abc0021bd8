"""The rows of one batch in ``raw_``, ``quarantine_`` and ``clean_``, and what is kept of a batch beside its rows.

Rows in = accepted + quarantined, always: a row of ``raw_`` is either in ``clean_`` or, with its reasons, in
``quarantine_``. Each function replaces its partitions, so a retry or a backfill leaves the same rows. A batch of
any size goes through in bounded memory.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.core.errors import DataError, UsageError
from include.core.partition import Partition
from include.core.spec import ModelSpec
from include.core.text import composed
from include.ingestion import event_time
from include.ingestion.expectations import RuleOutcome
from include.ingestion.files import Flag
from include.ingestion.rows import NO_ROWS, POSITION, RowReasons, Rows, are_among, ascending, cast_delivered
from include.ingestion.verdict import BatchHistory, Reprocessing, RowVerdicts
from include.lakehouse import checksum
from include.lakehouse.decisions import Reason
from include.lakehouse.run import Run
from include.lakehouse.schemas import (
    CLEAN,
    EVENT_TIMESTAMP,
    EXTRA_COLUMNS,
    METRICS,
    PARTITION,
    PROFILES,
    QUARANTINE,
    RAW,
    REASONS,
    ROW_NUMBER,
    SOURCE_FILE,
    WORKING,
    Table,
)
from include.lakehouse.selection import within

log = logging.getLogger(__name__)

METRIC_SOURCE = "ingestion"
"""Of our rows in ``metrics_``, beside those of monitoring."""

_REJECTED = f"""
    SELECT raw.*, list_concat(
        $reasons, list_filter(coalesce({REASONS}, []), lambda own: NOT list_contains($reasons, own))
    ) AS {REASONS}
    FROM raw LEFT JOIN quarantine USING ({SOURCE_FILE}, {ROW_NUMBER})
    ORDER BY {SOURCE_FILE}, {ROW_NUMBER}
"""


@dataclass(frozen=True)
class BatchCounts:
    """Where the rows of a batch are: rows = accepted + quarantined."""

    rows: int
    accepted: int
    quarantined: int


@dataclass(frozen=True)
class Waiting:
    """The raw rows of a partition of which some are in quarantine: what there is to validate again."""

    raw: pa.Table
    earlier: list[list[str]]
    """The reasons of each raw row, none where it is not in quarantine."""

    @classmethod
    def of(cls, run: Run) -> Waiting:
        """Those of the run's partition.

        Raises:
            UsageError: no batch of that partition was ever validated.
        """
        raw = _raw(run) if run.lake.exists(run.table(RAW)) else None
        if raw is None or not raw.num_rows:
            raise UsageError(
                f"no row of {run.partition} is there",
                where=f"{run.spec.name}, batch of {run.partition}",
                fix="Have it delivered, then ingest it",
            )
        raw = raw.sort_by([(SOURCE_FILE, "ascending"), (ROW_NUMBER, "ascending")])
        columns = [SOURCE_FILE, ROW_NUMBER, REASONS]
        quarantine = run.lake.read(run.table(QUARANTINE), where=within(run.partition), columns=columns)
        known = {
            (row[SOURCE_FILE], row[ROW_NUMBER]): row[REASONS] or [Reason.QUARANTINE_BUDGET_EXCEEDED.value]
            for row in quarantine.to_pylist()
        }
        places = zip(raw[SOURCE_FILE].to_pylist(), raw[ROW_NUMBER].to_pylist(), strict=True)
        return cls(raw, [known.get(place, []) for place in places])

    def delivered(self, spec: ModelSpec) -> pa.Table:
        """The rows as their files had them."""
        return as_delivered(spec, self.raw).select([SOURCE_FILE, ROW_NUMBER, *spec.columns])

    @property
    def flags(self) -> list[tuple[int, Flag]]:
        """The rows that their file could not hold as they were meant, by position."""
        return [
            (n, Flag(reason, n + 1, f"row {n + 1}"))
            for n, reasons in enumerate(self.earlier)
            for reason in (Reason.TRUNCATED_LINE, Reason.SWALLOWED_LINES)
            if reason in reasons
        ]

    def shape(self, spec: ModelSpec) -> list[str]:
        """The reasons of the batch's shape that still hold: what was missing and is still wanted, and so on."""
        still, known = [], _by_source(spec)
        names = list(_extra_columns(self.raw))
        extra, come_to_know = iter(names), {known.get(composed(name)) for name in names}
        for reason in dict.fromkeys(reason for reasons in self.earlier for reason in reasons):
            code, _, column = reason.partition(":")
            if code == Reason.EXTRA_COLUMN:
                # Named by its position; the names are in the order of the positions.
                holds = composed(next(extra, "")) not in known and spec.deliveries.extra_columns == "reject"
            else:
                wanted = column in spec.columns and column not in come_to_know
                holds = code == Reason.NO_HEADER or (code in (Reason.MISSING_COLUMN, Reason.RETYPED_COLUMN) and wanted)
            still += [reason] if holds else []
        return still

    def staying(self, verdicts: RowVerdicts) -> tuple[Reprocessing, pa.Table]:
        """Of the rows that wait, those that fail again, or all where the batch does.

        Returns:
            What is found, and the rows that stay, as ``quarantine_`` has them.
        """
        waiting, staying = np.flatnonzero([bool(reasons) for reasons in self.earlier]), RowReasons()
        for reason in verdicts.batch_reasons:
            staying.add(reason, waiting)
        for reason in verdicts.rows.counts():
            staying.add(reason, np.intersect1d(verdicts.rows.rows_of(reason), waiting))
        rows = staying.rows()
        found = Reprocessing(waiting.size, int(waiting.size - rows.size), staying.counts(), verdicts.batch_reasons)
        return found, self.raw.take(pa.array(rows)).append_column(REASONS, staying.column())


def raw_rows(spec: ModelSpec, partition: Partition, delivered: pa.Table) -> pa.Table:
    """Delivered rows as ``raw_`` has them. Columns that model.yaml does not know are kept together, as JSON."""
    schema = RAW.of(spec).schema
    extra = [name for name in delivered.column_names if name not in schema.names]
    rows = delivered.drop_columns(extra).append_column(PARTITION, pa.repeat(partition.key, delivered.num_rows))
    if extra:
        # As the file calls them: the reader has marked what is called as a column is that has another source.
        called = [name.removeprefix(WORKING) if name.removeprefix(WORKING) in spec.columns else name for name in extra]
        named = delivered.select(extra).rename_columns(called)
        texts = pa.array([json.dumps(row) for row in named.to_pylist()], pa.string())
        rows = rows.append_column(EXTRA_COLUMNS, texts)
    return _declared(rows, schema)


def as_delivered(spec: ModelSpec, raw: pa.Table) -> pa.Table:
    """Raw rows as their file had them: a column that model.yaml has come to know is where it belongs."""
    if raw[EXTRA_COLUMNS].null_count == raw.num_rows:
        return raw
    extra = [json.loads(text) if text else {} for text in raw[EXTRA_COLUMNS].to_pylist()]
    known = _by_source(spec)
    for source in {source for row in extra for source in row if composed(source) in known}:
        name = known[composed(source)]
        own = raw[name].to_pylist() if name in raw.column_names else [None] * raw.num_rows
        values = [row.get(source, value) for row, value in zip(extra, own, strict=True)]
        raw = raw.drop_columns([name] if name in raw.column_names else []).append_column(
            name, pa.array(values, pa.string())
        )
    return raw


def _by_source(spec: ModelSpec) -> dict[str, str]:
    """The columns by what the delivered files call them, as that is compared."""
    return {composed(source): name for name, source in spec.sources.items() if name in spec.columns}


def _extra_columns(raw: pa.Table) -> Iterator[str]:
    """The names that the file has and model.yaml did not have, in the order of the file."""
    kept = raw[EXTRA_COLUMNS].drop_null()
    return iter(json.loads(kept[0].as_py()) if len(kept) else ())


def _declared(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with the columns of a schema; those that they lack are null."""
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, names=schema.names).cast(schema)


def history(run: Run, keys: pa.Table | None) -> BatchHistory:
    """What the verdict on the batch takes from the accepted batches of other partitions.

    Args:
        keys: the typed key of each row, in order; None where nobody looks for it.
    """
    return BatchHistory(
        complete=run.partition.end,
        row_count_band=row_count_band(run),
        known_keys=NO_ROWS if keys is None else known_keys(run, keys),
        accepted=run.spec.deliveries.no_rows == "accept" and run.is_accepted(),
    )


def row_count_band(run: Run, delivered: Table = RAW, accepted: Table = CLEAN) -> tuple[float, float] | None:
    """Least and greatest number of rows that are usual, or None while too few partitions are there to tell."""
    learned = run.spec.ingestion.row_count_band
    if learned is None:
        return None
    some, all_rows = (run.lake.rows_by_partition(run.table(table)) for table in (accepted, delivered))
    counts = [rows for key, rows in all_rows.items() if key < run.partition.key and some.get(key)]
    counts = counts[-learned.batches :]
    if len(counts) < learned.at_least:
        return None
    middle = median(counts)
    return middle / learned.factor, middle * learned.factor


def known_keys(run: Run, keys: pa.Table) -> Rows:
    """Positions of the keys that an accepted row of another partition has."""
    clean, others = run.table(CLEAN), [(PARTITION, "!=", run.partition.key)]
    files = run.lake.paths_with_keys(clean, keys, others)
    if not files:
        return NO_ROWS
    names = list(run.spec.entity.keys)
    quoted = ", ".join(f'"{name}"' for name in names)
    with duckdb.connect() as connection:
        connection.register("mine", keys.append_column(POSITION, pa.array(np.arange(keys.num_rows))))
        # DuckDB opens a file five times faster than a Delta reader does, but only one of this machine.
        known = f"read_parquet({files})"
        if "://" in run.lake.uri(clean):
            connection.register("others", run.lake.reader(clean, where=others, columns=names))
            known = "others"
        found = connection.sql(f"SELECT {POSITION} FROM mine SEMI JOIN {known} USING ({quoted}) ORDER BY {POSITION}")
        return found.to_arrow_table()[POSITION].to_numpy()


def write_quarantine(
    run: Run, rows: Callable[[Rows | None], Iterator[tuple[pa.Table, Rows]]], verdicts: RowVerdicts
) -> None:
    """Write the rows that are not accepted, each with its reasons; those of the batch come first.

    Args:
        rows: reads raw rows and their positions, at least those asked for (`RawLoader.rows`).
    """
    listed = verdicts.rows.rows()

    def quarantined() -> Iterator[pa.RecordBatch]:
        if not listed.size and not verdicts.batch_reasons:
            return
        for laid_out, positions in rows(None if verdicts.batch_reasons else listed):
            everything = np.arange(positions.size)
            chosen = everything if verdicts.batch_reasons else np.flatnonzero(are_among(positions, listed))
            if not chosen.size:
                continue
            reasons = RowReasons()
            for reason in verdicts.batch_reasons:
                reasons.add(reason, np.arange(chosen.size))
            reasons.add_all(verdicts.rows.of(positions[chosen]))
            yield from laid_out.take(pa.array(chosen)).append_column(REASONS, reasons.column()).to_batches()

    run.lake.replace_stream(run.table(QUARANTINE), quarantined, _replaced(run))


def write_metrics(run: Run, outcomes: Sequence[RuleOutcome], rows: int) -> None:
    """Write how each expectation fared: one row for each, beside those of monitoring.

    ``metric`` is ``<severity>:<reason>``, ``slice`` the columns. ``value`` is the share of failing rows, from 0 to 1,
    or what was observed where the rule checks a number of the batch; a rule on the batch without a number has 1 where
    it fails. ``threshold`` is 0 where it is a share that should be 0.
    """
    table, replaced = run.table(METRICS), _replaced(run) | {"source": METRIC_SOURCE}
    # Of two rules with one name, on the same columns, the one that fails stands for both.
    lines: dict[tuple[object, object], dict[str, object]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.success):
        line = replaced | _metric(outcome, rows)
        lines.setdefault((line["metric"], line["slice"]), line)
    run.lake.replace(table, pa.Table.from_pylist(list(lines.values()), schema=table.schema), replaced)


def clear(run: Run) -> None:
    """Take everything of the partition out that a validation writes but for ``clean_``."""
    for declared in (RAW, QUARANTINE, PROFILES):
        table = run.table(declared)
        run.lake.replace(table, table.schema.empty_table(), _replaced(run))
    write_metrics(run, (), 0)


def files(run: Run) -> dict[str, list[str]]:
    """The files of the partition that a validation has left, by table."""
    tables = [run.table(declared) for declared in (RAW, QUARANTINE)]
    return {table.name: sorted(run.lake.paths(table, within(run.partition))) for table in tables}


def content(run: Run) -> float | None:
    """A checksum of the partition's raw rows and, where these name them, of their places; None where there are none."""
    rows = _raw(run).select([PARTITION, *run.spec.columns])
    return checksum.by_partition(rows).get(run.partition.key)


def load(run: Run) -> BatchCounts:
    """Write ``clean_`` (`steps.load_batch`)."""
    rows = run.lake.count(run.table(RAW), where=within(run.partition))
    quarantined = run.lake.count(run.table(QUARANTINE), where=within(run.partition))
    accepted = 0
    if rows:
        clean = run.table(CLEAN)
        run.lake.replace_stream(clean, lambda: _accepted(run), _replaced(run))
        accepted = run.lake.count(clean, where=within(run.partition))
    if not rows or rows != accepted + quarantined:
        raise DataError(
            f"{rows} rows in = {accepted} accepted + {quarantined} quarantined: not so",
            where=f"{run.spec.name}, batch of {run.partition}",
            fix="Validate the delivery again",
        )
    return BatchCounts(rows, accepted, quarantined)


def reject(run: Run, reasons: Sequence[str]) -> BatchCounts:
    """Quarantine every raw row of the partition, each with these reasons before its own, and empty ``clean_``."""
    if not _all_have(run, reasons):
        columns = [SOURCE_FILE, ROW_NUMBER, REASONS]
        with duckdb.connect() as connection:
            connection.register("raw", _raw(run))
            quarantine = run.lake.read(run.table(QUARANTINE), where=within(run.partition), columns=columns)
            connection.register("quarantine", quarantine)
            rejected = connection.sql(_REJECTED, params={"reasons": list(reasons)}).to_arrow_table()
        run.lake.replace(run.table(QUARANTINE), rejected, _replaced(run))
    clean = run.table(CLEAN)
    run.lake.replace(clean, clean.schema.empty_table(), _replaced(run))
    rows = run.lake.count(run.table(RAW), where=within(run.partition))
    log.info("%s, batch of %s: rejected, %d rows in quarantine", run.spec.name, run.partition, rows)
    return BatchCounts(rows, accepted=0, quarantined=rows)


def _raw(run: Run) -> pa.Table:
    """The raw rows of the partition, with the columns that model.yaml has today."""
    raw = run.table(RAW)
    return run.lake.read(raw, where=within(run.partition), columns=raw.schema.names)


def _replaced(run: Run) -> dict[str, str | int]:
    return {PARTITION: run.partition.key}


def _accepted(run: Run) -> Iterator[pa.RecordBatch]:
    quarantined = _quarantined_rows(run)
    for batch in run.lake.reader(run.table(RAW), where=within(run.partition), encoded=True):
        keep = np.ones(batch.num_rows, dtype=bool)
        files = batch.column(SOURCE_FILE).dictionary_encode()
        for place, file in enumerate(files.dictionary.to_pylist()):
            if file in quarantined:
                of_file = files.indices.to_numpy() == place
                keep &= ~(of_file & are_among(batch.column(ROW_NUMBER).to_numpy(), quarantined[file]))
        accepted = pa.Table.from_batches([batch]).filter(pa.array(keep))
        typed = cast_delivered(run.spec, as_delivered(run.spec, accepted))
        if typed.errors:
            raise DataError(
                f"accepted rows hold values that do not fit {', '.join(typed.errors)}",
                where=f"{run.spec.name}, batch of {run.partition}",
                fix="Validate again",
            )
        timed = typed.columns.append_column(EVENT_TIMESTAMP, event_time.of(run.spec, run.partition, typed.columns))
        yield from timed.append_column(
            PARTITION, pa.repeat(pa.scalar(run.partition.key), accepted.num_rows)
        ).to_batches()


def _quarantined_rows(run: Run) -> dict[str, Rows]:
    """Row numbers by source file, ascending."""
    found: dict[str, list[Rows]] = defaultdict(list)
    columns = [SOURCE_FILE, ROW_NUMBER]
    for batch in run.lake.reader(run.table(QUARANTINE), where=within(run.partition), columns=columns):
        files = batch.column(SOURCE_FILE).dictionary_encode()
        for place, file in enumerate(files.dictionary.to_pylist()):
            found[file].append(batch.column(ROW_NUMBER).filter(pc.equal(files.indices, place)).to_numpy())
    return {file: ascending(*parts) for file, parts in found.items()}


def _all_have(run: Run, reasons: Sequence[str]) -> bool:
    """Whether every raw row of the partition is in quarantine already, with these reasons first."""
    where = within(run.partition)
    if run.lake.count(run.table(RAW), where=where) != run.lake.count(run.table(QUARANTINE), where=where):
        return False
    for batch in run.lake.reader(run.table(QUARANTINE), where=where, columns=[REASONS]):
        first = pc.list_slice(batch.column(REASONS), 0, len(reasons))
        if not first.equals(pa.repeat(pa.scalar(list(reasons), first.type), batch.num_rows)):
            return False
    return True


def _metric(outcome: RuleOutcome, rows: int) -> dict[str, object]:
    failing = outcome.failure.count if outcome.failure else 0
    share = failing / rows if rows and failing else float(not outcome.success)
    shown = outcome.observed is not None
    return {
        "metric": f"{outcome.rule.severity}:{outcome.reason}",
        "slice": ",".join(outcome.rule.columns) or "all",
        "value": outcome.observed if shown else share,
        "threshold": None if shown else 0.0,
        "model_version": None,
    }
