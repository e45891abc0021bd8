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


def write(frame: pd.DataFrame, file: Path, delimiter: str = ",") -> str:
    """The file's path."""
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        frame.to_csv(file, index=False, sep=delimiter)
    return str(file)
