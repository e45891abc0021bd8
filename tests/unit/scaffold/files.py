"""Small files that models are drafted from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 400


def rentals(rows: int = ROWS) -> pd.DataFrame:
    """Hours with a key, a time, texts, personal data, and parts that add up to the target, the last column."""
    random = np.random.default_rng(1)
    times = pd.date_range("2024-03-01", periods=rows, freq="h")
    warm = random.normal(15, 8, rows).round(1)
    casual = random.poisson(20, rows)
    registered = (60 + 8 * times.hour + 5 * warm + random.normal(0, 5, rows)).round().astype(int)
    return pd.DataFrame(
        {
            "ride_no": np.arange(1, rows + 1),
            "day": times.strftime("%Y-%m-%d"),
            "hr": times.hour,
            "temperature": warm,
            "order": random.integers(0, 5, rows),
            "weather": random.choice(["clear", "rain, heavy", "it's fog"], rows),
            "contact": [f"rider{n}@example.com" for n in range(rows)],
            "casual": casual,
            "registered": registered,
            "cnt": casual + registered,
        }
    )


def shops(days: int = 14) -> pd.DataFrame:
    """A row for each shop and day; what is sold is nearly what was stocked on the two days before."""
    random, shops = np.random.default_rng(4), 40
    stock = random.normal(100, 30, (days, shops)).round(1)
    before = (np.roll(stock, 1, axis=0) + np.roll(stock, 2, axis=0)) / 2
    frame = pd.DataFrame(
        {
            "shop": np.tile(np.arange(shops) + 1, days),
            "day": np.repeat(pd.date_range("2024-03-01", periods=days).strftime("%Y-%m-%d"), shops),
            "stock": stock.ravel(),
            "sold": (before + random.normal(0, 3, stock.shape)).round(2).ravel(),
        }
    )
    return frame[2 * shops :].reset_index(drop=True)


def measured_rentals() -> pd.DataFrame:
    """As `rentals`, with so many measurements that 24 rows of a day are too few to judge a model of them."""
    random, rows = np.random.default_rng(3), rentals()
    for number in range(12):
        rows.insert(3, f"sensor_{number}", random.normal(0, 1, len(rows)).round(3))
    return rows


def customers(rows: int = ROWS) -> pd.DataFrame:
    """Rows without a time, of which 0 or 1 is to be predicted."""
    random = np.random.default_rng(2)
    spent = random.normal(50, 10, rows).round(2)
    left = (random.random(rows) < 1 / (1 + np.exp((spent - 50) / 4))).astype(int)
    return pd.DataFrame(
        {
            "customer_id": [f"C{n:04d}" for n in random.permutation(rows)],
            "spent": spent,
            "visits": random.integers(0, 9, rows),
            "plan": random.choice(["basic", "pro"], rows),
            "label": left,
        }
    )


def as_it_comes(rows: int = ROWS) -> bytes:
    """A file that nobody made for us: a mark and CRLF, semicolons, headers of people, NA, dates and booleans."""
    random = np.random.default_rng(3)
    built = pd.to_datetime("1990-01-01") + pd.to_timedelta(random.integers(0, 9000, rows), unit="D")
    area, garden = random.normal(90, 25, rows).round(1), random.random(rows) < 0.5
    price = (900 * area + 20_000 * garden + 2 * (built - built.min()).days + random.normal(0, 3_000, rows)).round()
    frame = pd.DataFrame(
        {
            "ID": np.arange(1, rows + 1),
            "Wohnfläche (m²)": [f"{value}" for value in area],
            "Median Income (USD)/yr.": random.integers(20, 90, rows).astype(str),
            "Gebaut am": built.strftime("%d.%m.%Y"),
            "Sold": (pd.to_datetime("2024-01-01") + pd.to_timedelta(np.arange(rows) // 8, unit="D")).strftime(
                "%Y-%m-%d"
            ),
            "Garden?": np.where(garden, "Yes", "no"),
            "Rooms.No": random.integers(1, 7, rows).astype(str),
            "価格帯": random.choice(["low", "high", "NA"], rows),
            "Price; EUR": price.astype(int),
        }
    )
    frame.loc[::50, "Wohnfläche (m²)"] = "NA"
    frame.loc[7::90, "Wohnfläche (m²)"] = "n/a"
    frame.loc[5::60, "Median Income (USD)/yr."] = "-999"
    frame.loc[3::70, "Gebaut am"] = "null"
    frame.loc[9::80, "Garden?"] = "-"
    return b"\xef\xbb\xbf" + frame.to_csv(index=False, sep=";", lineterminator="\r\n").encode()


def write(frame: pd.DataFrame, file: Path, delimiter: str = ",") -> str:
    """The file's path."""
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        frame.to_csv(file, index=False, sep=delimiter)
    return str(file)


def readings(days: int = 12, rows: int = 60) -> pd.DataFrame:
    """Rows that nothing names, some of them alike, each with its own moment of the day."""
    random = np.random.default_rng(4)
    at = pd.date_range("2024-03-01", periods=days, freq="D").repeat(rows) + pd.to_timedelta(
        random.integers(0, 24 * 60, days * rows), unit="min"
    )
    load = random.integers(0, 4, days * rows)
    power = 10.0 * load + at.hour + random.normal(0, 4, days * rows).round(2)
    return pd.DataFrame({"Read at": at.strftime("%d.%m.%Y %H:%M"), "load": load, "warm": load % 2, "power": power})


def sensors(rows: int, columns: int) -> pd.DataFrame:
    """Measurements that say nothing."""
    values = np.random.default_rng(5).normal(0, 1, (rows, columns)).round(3)
    return pd.DataFrame(values, columns=[f"sensor_{number}" for number in range(columns)])
