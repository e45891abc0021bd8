"""Days of the housing file with a mistake, or a change of the world, and what is found in them.

`python -m tests.unit.monitoring.faulty` prints the rates (DAYS=20 QUIET=300 in the environment).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from include.core.spec import ModelSpec
from include.evaluation.drift import quantiles
from include.evaluation.faults import Fault, FaultKind
from include.features import query
from include.lakehouse.schemas import CLEAN, EVENT_TIMESTAMP
from include.lakehouse.tables import Lakehouse
from include.monitoring import faults
from include.monitoring.reference import Reference
from tests.tables import day, put
from tests.unit.training import world

Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
DAY, DAY_ROWS, HISTORY_ROWS = day("2025-01-02"), 413, 16_512
PLACES = ("longitude", "latitude")
LEVELS = ("housing_median_age", "total_rooms", "total_bedrooms", "population", "households", "median_income")
PERSISTENCE, SPREAD = 0.7, 0.05
"""Of levels from day to day: an AR(1) whose standard deviation is such a part of the column's own."""


def scaled(column: str, scale: float, share: float = 1.0, offset: float = 0.0) -> Change:
    """So many of the rows."""

    def change(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        chosen = rng.permutation(len(rows)) < round(share * len(rows))
        return rows.assign(**{column: rows[column].where(~chosen, rows[column] * scale + offset)})

    return change


def moved(**by: float) -> Change:
    return lambda rows, _: rows.assign(**{name: rows[name] + shift for name, shift in by.items()})


def shuffled(*columns: str) -> Change:
    """Together: what belongs to one row goes to another one."""

    def change(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        order = rng.permutation(len(rows))
        return rows.assign(**{name: rows[name].to_numpy()[order] for name in columns})

    return change


def swapped(one: str, other: str) -> Change:
    return lambda rows, _: rows.assign(**{one: rows[other], other: rows[one]})


def relabelled(one: str, other: str) -> Change:
    return lambda rows, _: rows.assign(ocean_proximity=rows["ocean_proximity"].replace({one: other, other: one}))


def inland(factor: float) -> Change:
    """Incomes rise there alone."""
    return lambda rows, _: rows.assign(
        median_income=rows["median_income"] * np.where(rows["ocean_proximity"] == "INLAND", factor, 1.0)
    )


@dataclass(frozen=True)
class Case:
    """A change of a day, and what is to be found then."""

    change: Change
    kind: FaultKind | None = None
    """None where it is no fault."""
    columns: Sequence[str] = ()
    """One of these is named."""
    what: str = ""


ROWS, UNIT, SWAPPED, APART, MOVED = (FaultKind(name) for name in ("rows", "unit", "swapped", "apart", "moved"))
OF_ROOMS = ("total_rooms", "rooms_per_household", "rooms_per_bedroom")
CASES: Mapping[str, Case] = {
    "5 % of incomes x10": Case(scaled("median_income", 10, 0.05), ROWS, ["median_income"], "times_10"),
    "1 % of incomes x10": Case(scaled("median_income", 10, 0.01), ROWS, ["median_income"], "times_10"),
    "5 % of rooms x10.76": Case(scaled("total_rooms", 10.76, 0.05), ROWS, OF_ROOMS, "times_10"),
    "1 % of populations x100": Case(scaled("population", 100, 0.01), ROWS, ["population"], "times_100"),
    "incomes x1000": Case(scaled("median_income", 1000), UNIT, ["median_income"], "times_1000"),
    "incomes x0.3048": Case(scaled("median_income", 0.3048), UNIT, ["median_income"], "metres"),
    "incomes x1.609": Case(scaled("median_income", 1.609344), UNIT, ["median_income"], "kilometres"),
    "latitudes x1.609": Case(scaled("latitude", 1.609344), UNIT, ["latitude"], "kilometres"),
    "latitudes C to F": Case(scaled("latitude", 1.8, offset=32), UNIT, ["latitude"], "fahrenheit"),
    "rooms x10.76": Case(scaled("total_rooms", 1 / 0.3048**2), UNIT, ["total_rooms"], "square_feet"),
    "longitude and latitude swapped": Case(swapped(*PLACES), SWAPPED, PLACES),
    "rooms and population swapped": Case(swapped("total_rooms", "population"), SWAPPED, ["total_rooms"]),
    "longitude and latitude shuffled": Case(shuffled(*PLACES), APART),
    "latitude shuffled": Case(shuffled("latitude"), APART, ["latitude"]),
    "income shuffled": Case(shuffled("median_income"), APART, ["median_income"]),
    "longitude +.1": Case(moved(longitude=0.1), MOVED, ["longitude"]),
    "latitude +.1": Case(moved(latitude=0.1), MOVED, ["latitude"]),
    "both +.1": Case(moved(longitude=0.1, latitude=0.1), MOVED, PLACES),
    "longitude +.05": Case(moved(longitude=0.05), MOVED, ["longitude"]),
    "INLAND and NEAR BAY swapped": Case(relabelled("INLAND", "NEAR BAY"), SWAPPED, ["ocean_proximity_inland"]),
    "NEAR OCEAN and NEAR BAY swapped": Case(
        relabelled("NEAR OCEAN", "NEAR BAY"), SWAPPED, ["ocean_proximity_near_bay"]
    ),
    "incomes x1.5": Case(scaled("median_income", 1.5)),
    "incomes x2": Case(scaled("median_income", 2)),
    "incomes x0.5": Case(scaled("median_income", 0.5)),
    "incomes x3": Case(scaled("median_income", 3)),
    "rooms x1.5": Case(scaled("total_rooms", 1.5)),
    "populations x2": Case(scaled("population", 2)),
    "ages +5": Case(moved(housing_median_age=5)),
    "incomes x1.5 inland": Case(inland(1.5)),
    "incomes x2.5 inland": Case(inland(2.5)),
    "the south alone": Case(lambda rows, _: rows[rows["latitude"] < 35]),
    "the rich alone": Case(lambda rows, _: rows[rows["median_income"] > 5]),
    "inland alone": Case(lambda rows, _: rows[rows["ocean_proximity"] == "INLAND"]),
    "Los Angeles alone": Case(lambda rows, _: rows[(rows["latitude"] < 34.3) & (rows["longitude"] < -118)]),
}
SELECTED = ("the south alone", "the rich alone", "inland alone", "Los Angeles alone")
"""Drawn from all rows that are left, so that a day has as many as others."""


@dataclass(frozen=True)
class Days:
    """Days of rows that the reference does not have."""

    folder: Path

    @cached_property
    def spec(self) -> ModelSpec:
        return world.quick_spec(1)

    @cached_property
    def lake(self) -> Lakehouse:
        return Lakehouse(str(self.folder))

    @cached_property
    def rows(self) -> pd.DataFrame:
        return world.housing(seed=1).astype({"total_rooms": float, "population": float})

    @cached_property
    def reference(self) -> Reference:
        features = self.features(self.rows.iloc[:HISTORY_ROWS])
        columns = {name: quantiles(features[name].to_numpy(dtype=np.float64)) for name in features}
        some = features.sample(5000, random_state=1)
        nothing = np.empty(0)
        return Reference("1", pd.DataFrame(columns), {}, some, nothing, nothing, (), pd.DataFrame())

    def features(self, rows: pd.DataFrame) -> pd.DataFrame:
        """As features.sql has them."""
        delivered = rows[list(self.spec.columns)].assign(**{EVENT_TIMESTAMP: pd.Timestamp(DAY.start).as_unit("us")})
        put(self.lake, CLEAN.of(self.spec), delivered, DAY)
        table = query.compute(self.spec, self.lake, DAY).to_pandas()
        return table[list(query.feature_schema(self.spec))].astype(float)

    def drawn(self, seed: int, name: str = "") -> pd.DataFrame:
        """A day: ordinary, or as a case has it."""
        rng, rows = np.random.default_rng([seed, 7]), self.rows.iloc[HISTORY_ROWS:]
        if name in SELECTED:
            rows = CASES[name].change(rows, rng)
        rows = rows.iloc[rng.permutation(len(rows))[:DAY_ROWS]].reset_index(drop=True)
        return rows if name in SELECTED or not name else CASES[name].change(rows, rng)

    def found(self, rows: pd.DataFrame) -> list[Fault]:
        return faults.detect(self.spec, self.reference, self.features(rows))

    def varying(self, count: int, *, of: Sequence[str] = LEVELS, seed: int = 0) -> list[pd.DataFrame]:
        """Days whose levels vary, each near that of the day before."""
        rng = np.random.default_rng(seed)
        deviation = {name: SPREAD * float(self.rows[name].std()) for name in of}
        level = {name: rng.normal() for name in of}
        days = []
        for number in range(count):
            rows = self.drawn(10_000 + number)
            for name in of:
                level[name] = PERSISTENCE * level[name] + np.sqrt(1 - PERSISTENCE**2) * rng.normal()
                shift = deviation[name] * level[name]
                # a place moves, an amount grows: below zero there are no rooms
                rows[name] = rows[name] + shift if name in PLACES else rows[name] * (1 + shift / self.rows[name].mean())
            days.append(rows)
        return days


def right(case: Case, found: Sequence[Fault]) -> bool:
    """Whether the mistake is named, or nothing is where there is none."""
    if case.kind is None:
        return not found
    named = [fault for fault in found if fault.kind is case.kind and case.what in ("", fault.what)]
    return any(not case.columns or {fault.column, fault.what} & {*case.columns} for fault in named)


def main() -> None:
    count, quiet = int(os.environ.get("DAYS", "20")), int(os.environ.get("QUIET", "300"))
    with TemporaryDirectory() as folder:
        days = Days(Path(folder))
        ordinary = {
            "nothing": [days.drawn(seed) for seed in range(quiet)],
            "levels vary": days.varying(quiet),
            "levels vary, places, too": days.varying(quiet // 10, of=(*LEVELS, *PLACES)),
        }
        for name, drawn in ordinary.items():
            began = time.process_time()
            found = [days.found(rows) for rows in drawn]
            seconds = (time.process_time() - began) / len(drawn)
            print(f"{name:34} {sum(map(bool, found)):4} of {len(drawn)}   {seconds:.2f} s", flush=True)
        for name, case in CASES.items():
            found = [days.found(days.drawn(seed, name)) for seed in range(count)]
            good = sum(right(case, each) for each in found)
            said = next((each[0].said for each in found if each), "")
            print(f"{name:34} {sum(map(bool, found)):4} of {count}, {good:3} right   {said}", flush=True)


if __name__ == "__main__":
    main()
