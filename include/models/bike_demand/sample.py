"""A generated stand-in for the bike sharing file, for machines that do not have the real one.

What it is: the hours of 2011 and 2012 with the columns, types, ranges and main relations of the real file: demand that
grows by two thirds from one year to the next, seasons, commuters' hours on working days, weather. A version trained on
the first months falls behind as on the real file. The same seed gives the same rows.

What it is not: counts of any hire. Do not quote a model's accuracy on it as accuracy on the real file.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.tseries.holiday import USFederalHolidayCalendar

Floats = npt.NDArray[np.float64]

FIRST, LAST = "2011-01-01", "2012-12-31"
MISSING_HOURS = 165
"""In the real file they are hours without a hire, most of them at night."""
SEASON_STARTS = (321, 621, 923, 1221)
"""Month and day, as one number, of spring, summer, autumn and winter."""

COLDEST_DAY = 20  # of the year
TEMP_MEAN, TEMP_SEASON, TEMP_DAY, TEMP_SD = 0.50, 0.27, 0.07, 0.08  # in the file's unit, of 0 to 1
HUM_MEAN, HUM_DAY, HUM_SD = 0.63, -0.12, 0.14
WIND_MEAN, WIND_SD = 0.19, 0.11
WEATHER_SHARES = (0.66, 0.26, 0.08, 0.0002)  # clear, misty, light rain, heavy rain
WEATHER_KEEPS = 0.8
"""Correlation of the weather of one hour with that of the hour before."""
DAY_KEEPS = 0.75
"""The same for the temperature of a day."""

COMMUTING = (7, 2, 1, 1, 1, 4, 17, 50, 80, 38, 24, 28, 35, 34, 33, 39, 60, 108, 100, 69, 50, 37, 27, 17)
"""Registered users' hires by hour of a working day."""
STROLLING = (24, 18, 14, 7, 2, 2, 4, 9, 20, 33, 46, 56, 63, 65, 62, 61, 62, 59, 51, 41, 33, 28, 23, 17)
"""Theirs on other days."""
CASUAL = (6, 4, 3, 2, 1, 1, 2, 5, 11, 23, 36, 50, 59, 63, 66, 65, 62, 54, 45, 35, 26, 20, 15, 10)
CASUAL_WORKING = 0.38
GROWTH = 0.52
"""Log of the second year's demand over the first one's."""
WARMTH, HEAT, HUMIDITY, WIND = 1.5, -2.0, -0.5, -0.35
TOO_WARM = 0.75
RAIN = (0.0, -0.06, -0.65, -1.3)
CASUAL_WARMTH = 2.8
REGISTERED_LEVEL, CASUAL_LEVEL = 3.9, 1.85
DAY_SPREAD, HOUR_SPREAD = 0.10, 0.14


def generate(seed: int = 20110101) -> pd.DataFrame:
    """Return the hours of two years in their order, with the 17 columns of the real file.

    Args:
        seed: of the random generator; the same seed gives the same rows.
    """
    rng = np.random.default_rng(seed)
    hours = pd.date_range(FIRST, f"{LAST} 23:00", freq="h")
    there = np.ones(len(hours), dtype=bool)
    there[rng.choice(len(hours), MISSING_HOURS, replace=False, p=_at_night(hours))] = False
    rows = _weather(rng, _calendar(hours))[there].reset_index(drop=True)
    counts = _counts(rng, rows)
    rows.insert(0, "instant", np.arange(1, len(rows) + 1))
    return rows.assign(**counts, cnt=counts["casual"] + counts["registered"])


def _at_night(hours: pd.DatetimeIndex) -> Floats:
    weight = np.where((hours.hour >= 2) & (hours.hour <= 5), 30.0, 1.0)
    return weight / weight.sum()


def _calendar(hours: pd.DatetimeIndex) -> pd.DataFrame:
    holidays = USFederalHolidayCalendar().holidays(FIRST, LAST)
    weekday = (hours.dayofweek + 1) % 7
    holiday = hours.normalize().isin(holidays)
    return pd.DataFrame(
        {
            "dteday": hours.strftime("%Y-%m-%d"),
            "season": np.searchsorted(SEASON_STARTS, hours.month * 100 + hours.day, side="right") % 4 + 1,
            "yr": hours.year - 2011,
            "mnth": hours.month,
            "hr": hours.hour,
            "holiday": holiday.astype(int),
            "weekday": weekday,
            "workingday": (~holiday & (weekday > 0) & (weekday < 6)).astype(int),
        }
    )


def _weather(rng: np.random.Generator, rows: pd.DataFrame) -> pd.DataFrame:
    day = np.arange(len(rows)) // 24
    daily = _keeping(rng, int(day[-1]) + 1, DAY_KEEPS)[day]
    wet = _keeping(rng, len(rows), WEATHER_KEEPS)
    # The rank of the wetness, so that each kind of weather has its share.
    rank = (np.argsort(np.argsort(wet)) + 0.5) / len(rows)
    weathersit = 1 + np.searchsorted(np.cumsum(WEATHER_SHARES)[:-1], rank)
    season = -np.cos(2 * np.pi * (day - COLDEST_DAY) / 365.25)
    afternoon = np.cos(2 * np.pi * (rows["hr"].to_numpy() - 15) / 24)
    temp = TEMP_MEAN + TEMP_SEASON * season + TEMP_DAY * afternoon + TEMP_SD * daily
    hum = HUM_MEAN + HUM_DAY * afternoon + HUM_SD * (0.8 * wet + 0.6 * rng.normal(size=len(rows)))
    wind = rng.gamma((WIND_MEAN / WIND_SD) ** 2, WIND_SD**2 / WIND_MEAN, len(rows))
    return rows.assign(
        weathersit=weathersit,
        temp=np.clip(temp, 0.02, 1).round(2),
        atemp=np.clip(0.04 + 0.9 * temp - 0.1 * (wind - WIND_MEAN), 0, 1).round(4),
        hum=np.clip(hum, 0.08, 1).round(2),
        windspeed=np.clip(wind, 0, 0.85).round(4),
    )


def _keeping(rng: np.random.Generator, count: int, share: float) -> Floats:
    """An autoregressive series of mean 0 and standard deviation 1."""
    steps = rng.normal(size=count) * np.sqrt(1 - share**2)
    series = np.empty(count)
    value = rng.normal()
    for place, step in enumerate(steps):
        value = share * value + step
        series[place] = value
    return series


def _counts(rng: np.random.Generator, rows: pd.DataFrame) -> dict[str, npt.NDArray[np.int64]]:
    """Casual and registered hires: of each hour what is usual then, times growth, weather and chance."""
    hour, working = rows["hr"].to_numpy(), rows["workingday"].to_numpy() == 1
    temp = rows["temp"].to_numpy()
    years = np.arange(len(rows)) / len(rows) * 2
    weather = (
        HEAT * np.clip(temp - TOO_WARM, 0, None)
        + HUMIDITY * (rows["hum"].to_numpy() - HUM_MEAN)
        + WIND * rows["windspeed"].to_numpy()
        + np.take(RAIN, rows["weathersit"].to_numpy() - 1)
    )
    days = rows["dteday"].factorize()[0]
    luck = DAY_SPREAD * rng.normal(size=days[-1] + 1)[days] + HOUR_SPREAD * rng.normal(size=len(rows))
    shared = GROWTH * (years - 1) + weather + luck
    registered = np.where(working, np.take(COMMUTING, hour), np.take(STROLLING, hour))
    casual = np.take(CASUAL, hour) * np.where(working, CASUAL_WORKING, 1.0)
    warm = temp - TEMP_MEAN
    return {
        "casual": rng.poisson(CASUAL_LEVEL * casual * np.exp(shared + CASUAL_WARMTH * warm)),
        "registered": rng.poisson(REGISTERED_LEVEL * registered * np.exp(shared + WARMTH * warm)),
    }
