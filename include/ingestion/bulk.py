"""Judge a delivery of any size in bounded memory: what ``judgement`` does, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from include.core.spec import ModelSpec
from include.ingestion import casting, data_docs, expectations, screening, validation
from include.ingestion.expectations import Rule
from include.ingestion.facts import Facts
from include.ingestion.findings import EXAMPLES, Failure, Findings, Rows
from include.ingestion.judgement import Judgement, Surroundings, conclude, frame, shape_reasons
from include.ingestion.suspects import Suspects
from include.ingestion.validation import Judged
from include.lakehouse.tables import Lakehouse

MEMORY = "500MB"
"""What DuckDB may hold; it spills the rest to the disk."""
JUDGED_AT_ONCE = 50_000

_DUPLICATES = """
    SELECT position FROM (
        SELECT position, row_number() OVER (PARTITION BY {columns} ORDER BY position) AS n
        FROM raw JOIN suspects USING (source_file, row_number)
    ) WHERE n > 1 ORDER BY position
"""


class Chunks:
    """The judgement of one batch whose rows are shown one chunk after the other."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._rules = expectations.load(spec)
        self._facts = Facts(spec)
        self._names: list[str] = []
        self.offsets: dict[str, int] = {}
        """By source file, the position of the row before its first."""
        self._folder = TemporaryDirectory(prefix="flightline-")
        self._stage = Path(self._folder.name) / "typed.parquet"
        self._staged = self._staged_columns()
        self._writer = pq.ParquetWriter(
            self._stage, casting.schema(self._staged), compression="lz4", use_dictionary=False
        )
        self._alone = {n: rule for n, rule in enumerate(self._rules) if screening.judges_rows_alone(rule)}
        self._pending: dict[int, list[tuple[pa.Table, Rows, dict[str, Rows]]]] = {n: [] for n in self._alone}
        self._found: dict[int, list[Judged]] = {n: [] for n in self._alone}
        self._broken: dict[int, Judged] = {}
        self._keys_repeat = True
        self.suspects = Suspects(Path(self._folder.name) / "suspects.parquet")

    def close(self) -> None:
        self._writer.close()
        self.suspects.close()
        self._folder.cleanup()

    def see(self, delivered: pa.Table) -> None:
        """Judge the next rows, as ``Delivery.chunks`` returns them."""
        self._names = delivered.column_names
        if not delivered.num_rows:
            return
        start = self._facts.rows
        self.offsets.setdefault(delivered["source_file"][0].as_py(), start - delivered["row_number"][0].as_py())
        cast = casting.cast(delivered, casting.types(self._spec))
        self._facts.see(delivered, cast)
        self._writer.write_table(cast.columns.select(list(self._staged)))
        places = {name: np.flatnonzero(flags) for name, flags in cast.misfits.items()}
        misfits = {name: rows + start for name, rows in places.items()}
        suspects = list(places.values())
        for n, rule in self._alone.items():
            rows = screening.may_fail(rule, cast.columns)
            if rows is None:
                rows = np.arange(delivered.num_rows)
            else:
                suspects.append(rows)
            if rows.size:
                unread = {name: misfits[name] for name in rule.columns if name in misfits}
                some = cast.columns.select(_needed(rule, cast.columns.column_names)).take(pa.array(rows))
                self._pending[n].append((some, rows + start, unread))
                if sum(len(part[1]) for part in self._pending[n]) >= JUDGED_AT_ONCE:
                    self._ask(n)
        self.suspects.add(delivered, np.unique(np.concatenate([np.empty(0, dtype=np.int64), *suspects])), start)

    def finish(self, lake: Lakehouse, day: date, around: Surroundings, docs_folder: Path | None) -> Judgement:
        """The judgement, once ``raw_`` has all rows."""
        self._writer.close()
        self.suspects.close()
        shape = shape_reasons(self._spec, self._names, self._facts, around)
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{MEMORY}'")
            connection.execute(f"SET temp_directory = '{self._folder.name}'")
            staged = (
                f"(SELECT file_row_number AS position, * FROM read_parquet('{self._stage}', file_row_number = true))"
            )
            duplicates = self._duplicates(connection, lake, day, staged)
            findings = Findings()
            if not shape:
                judged = [self._rule(n, connection, staged, duplicates) for n in range(len(self._rules))]
                findings = validation.findings(judged)
                if docs_folder is not None:
                    rows = self._facts.rows - duplicates.size
                    data_docs.write(validation.summarize(self._spec, judged, rows), self._facts.hidden, docs_folder)
        facts = self._facts
        return conclude(self._spec, facts, findings, duplicates=duplicates, shape=shape, keys=self._keys, around=around)

    def _keys(self) -> pa.ChunkedArray:
        return pq.read_table(self._stage, columns=[self._spec.entity.key])[0]

    def _staged_columns(self) -> Mapping[str, casting.ColumnType]:
        """The columns that are looked at again, when all rows are there."""
        again = {self._spec.entity.key}
        for rule in self._rules:
            if not screening.judges_rows_alone(rule):
                if not screening.is_plain(rule):
                    again |= set(self._spec.columns)
                again |= set(rule.columns)
        return {name: kind for name, kind in casting.types(self._spec).items() if name in again}

    def _ask(self, n: int) -> None:
        """Have Great Expectations judge the rows of a rule that may fail."""
        parts, self._pending[n] = self._pending[n], []
        typed = frame(pa.concat_tables(part[0] for part in parts))
        typed.index = pd.Index(np.concatenate([part[1] for part in parts]))
        names = {name for part in parts for name in part[2]}
        unread = {name: np.concatenate([part[2][name] for part in parts if name in part[2]]) for name in names}
        (judged,) = validation.judge(self._spec, [self._rules[n]], typed, unread=unread, hidden=self._facts.hidden)
        if judged.failure is not None and judged.rows is None:
            self._broken[n] = judged
        elif judged.failure is not None:
            self._found[n].append(judged)

    def _rule(self, n: int, connection: duckdb.DuckDBPyConnection, staged: str, duplicates: Rows) -> Judged:
        rule = self._rules[n]
        if n in self._alone:
            return self._of_parts(n, duplicates)
        if screening.is_plain(rule) and rule.type in screening.ROW_COUNTS:
            counted = pd.DataFrame({"rows": [self._facts.rows - duplicates.size]})
            return replace(self._judge(screening.of_row_count(rule, "rows"), counted), rule=rule)
        connection.register("duplicates", pa.table({"position": duplicates}))
        kept = f"(FROM {staged} ANTI JOIN duplicates USING (position))"
        if screening.is_plain(rule) and rule.type in screening.STATISTICS:
            statistic = f'{screening.STATISTICS[rule.type]}("{rule.columns[0]}")'
            value = connection.sql(f"SELECT {statistic}::DOUBLE AS value FROM {kept}").to_arrow_table()
            return self._judge(rule, value.rename_columns([rule.columns[0]]).to_pandas())
        columns = _quoted(_needed(rule, self._staged))
        text = f"SELECT position{''.join(', ' + name for name in columns)} FROM {kept}"
        if screening.is_plain(rule) and rule.type in screening.UNIQUE:
            if not self._keys_repeat and self._spec.entity.key in rule.columns:
                return Judged(rule, None, None)
            some = ", ".join(_quoted(rule.columns))
            repeated = f"SELECT {some} FROM {kept} GROUP BY {some} HAVING count(*) > 1"
            connection.execute(f"CREATE OR REPLACE TEMP TABLE repeated AS {repeated}")
            same = " AND ".join(f"k.{name} IS NOT DISTINCT FROM repeated.{name}" for name in _quoted(rule.columns))
            text = f"SELECT k.* FROM ({text}) k WHERE EXISTS (FROM repeated WHERE {same})"
        table = connection.sql(f"{text} ORDER BY position").to_arrow_table()
        typed = frame(table.drop_columns(["position"])) if table.num_columns > 1 else self._no_rows()
        if len(typed) == table.num_rows:
            typed.index = pd.Index(table["position"].to_numpy())
        return self._judge(rule, typed)

    def _judge(self, rule: Rule, typed: pd.DataFrame) -> Judged:
        facts = self._facts
        (judged,) = validation.judge(self._spec, [rule], typed, unread=facts.misfits, hidden=facts.hidden)
        return judged

    def _no_rows(self) -> pd.DataFrame:
        """All columns and no row: for rules on the columns of the table."""
        return frame(casting.schema(casting.types(self._spec)).empty_table())

    def _of_parts(self, n: int, duplicates: Rows) -> Judged:
        if self._pending[n]:
            self._ask(n)
        if n in self._broken:
            return self._broken[n]
        rule, parts = self._rules[n], self._found[n]
        found = np.concatenate([np.empty(0, dtype=np.int64), *(part.rows for part in parts if part.rows is not None)])
        kept = np.setdiff1d(found, duplicates)
        if not kept.size:
            return Judged(rule, None, None)
        examples = tuple(text for part in parts for text in (part.failure.examples if part.failure else ()))
        if rule.columns and set(rule.columns) & self._facts.hidden:
            examples = examples[:1]
        return Judged(rule, kept, Failure(rule.reason, rule.severity, int(kept.size), examples[:EXAMPLES]))

    def _duplicates(self, connection: duckdb.DuckDBPyConnection, lake: Lakehouse, day: date, staged: str) -> Rows:
        """Positions of the rows that repeat an earlier one: only rows of one key, or of none, can."""
        key = f'"{self._spec.entity.key}"'
        repeated = f"SELECT {key} FROM {staged} WHERE {key} IS NOT NULL GROUP BY {key} HAVING count(*) > 1"
        suspects = connection.sql(
            f"SELECT position FROM {staged} WHERE {key} IS NULL OR {key} IN ({repeated}) ORDER BY position"
        ).to_arrow_table()["position"]
        self._keys_repeat = bool(len(suspects))
        if not self._keys_repeat:
            return np.empty(0, dtype=np.int64)
        connection.register("suspects", self._named(suspects.to_numpy()))
        name = self._spec.table("raw")
        connection.register("raw", lake.reader(name, where={"batch_date": day}))
        columns = ", ".join(_quoted([*self._spec.columns, "extra_columns"]))
        found = connection.sql(_DUPLICATES.format(columns=columns)).to_arrow_table()
        return found["position"].to_numpy().astype(np.int64)

    def _named(self, positions: Rows) -> pa.Table:
        """Source file and row number of positions."""
        files, starts = list(self.offsets), np.array(list(self.offsets.values()))
        place = np.searchsorted(starts, positions, side="left") - 1
        place = np.clip(place, 0, len(files) - 1)
        encoded = pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), pa.array(files))
        return pa.table(
            {
                "source_file": encoded.cast(pa.string()),
                "row_number": pa.array(positions - starts[place]),
                "position": pa.array(positions),
            }
        )


def positions(offsets: Mapping[str, int], batch: pa.RecordBatch) -> Rows:
    """Where the rows of ``raw_`` are in the delivery, from 0."""
    files = batch.column("source_file").dictionary_encode()
    starts = np.array([offsets[name] for name in files.dictionary.to_pylist()], dtype=np.int64)
    return starts[files.indices.to_numpy()] + batch.column("row_number").to_numpy()


def _needed(rule: Rule, columns: Iterable[str]) -> list[str]:
    """The rule's own columns; all, where a condition may name any."""
    return list(dict.fromkeys(rule.columns)) if screening.is_plain(rule) else list(columns)


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]
