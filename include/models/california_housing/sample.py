"""A generated stand-in for the California housing file, for machines that cannot download the real one.

What it is: 20,640 made-up block groups with the columns, types, null count, category counts, ranges and main
relations of the real file. Prices depend on place and income, so a model trained on it passes the same gate
and fails in the same way when incomes drift. The same seed gives the same rows.

What it is not: census data. No row describes a real place or household; the towns below only give the
clusters a plausible position and level, in rounded figures. Draw no conclusion about California from it, and
do not quote a model's accuracy on it as accuracy on the real file.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

COLUMNS = (
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
    "median_house_value",
    "ocean_proximity",
)
COAST, INLAND, OCEAN, BAY, ISLAND = "<1H OCEAN", "INLAND", "NEAR OCEAN", "NEAR BAY", "ISLAND"
CATEGORY_ROWS = {COAST: 9136, INLAND: 6551, OCEAN: 2658, BAY: 2290, ISLAND: 5}
ROWS = sum(CATEGORY_ROWS.values())
NULL_BEDROOMS = 207

LONGITUDE_RANGE = (-124.35, -114.31)
LATITUDE_RANGE = (32.54, 41.95)
AGE_RANGE = (1, 52)  # years; the top value stands for "52 or older"
INCOME_RANGE = (0.4999, 15.0001)  # tens of thousands of dollars
VALUE_RANGE = (14_999, 500_001)  # dollars; the top value stands for "above 500,000"
CAPPED_SHARE = 0.047  # of the rows, at the top of VALUE_RANGE
MOST_ROOMS, MOST_BEDROOMS, MOST_PEOPLE, MOST_HOUSEHOLDS = 39_320, 6_445, 35_682, 6_082


class Place(NamedTuple):
    """A cluster of block groups, described by what is typical of it."""

    proximity: str
    longitude: float
    latitude: float
    spread: float  # degrees
    weight: int  # relative to the other places of the same proximity
    age: int  # years
    income: float  # tens of thousands of dollars
    value: int  # thousands of dollars


PLACES = (
    Place(COAST, -118.29, 33.99, 0.035, 51, 42, 2.0, 120),  # South Los Angeles
    Place(COAST, -118.30, 34.09, 0.04, 52, 39, 2.7, 250),  # Hollywood
    Place(COAST, -118.43, 34.04, 0.04, 52, 37, 4.2, 400),  # West Los Angeles
    Place(COAST, -118.55, 34.21, 0.06, 37, 28, 5.0, 250),  # Woodland Hills
    Place(COAST, -118.40, 34.21, 0.06, 57, 34, 3.7, 220),  # San Fernando Valley
    Place(COAST, -118.14, 34.11, 0.045, 39, 39, 3.4, 215),  # Pasadena
    Place(COAST, -118.19, 34.03, 0.035, 32, 39, 2.4, 150),  # East Los Angeles
    Place(COAST, -118.34, 33.88, 0.045, 51, 34, 4.2, 240),  # Torrance
    Place(COAST, -118.21, 33.92, 0.035, 44, 36, 2.6, 145),  # Compton
    Place(COAST, -118.09, 33.89, 0.045, 54, 35, 4.3, 200),  # Norwalk
    Place(COAST, -117.95, 34.05, 0.06, 40, 33, 3.9, 180),  # West Covina
    Place(COAST, -117.92, 33.85, 0.055, 54, 25, 4.5, 215),  # Anaheim
    Place(COAST, -117.91, 33.72, 0.06, 63, 24, 4.3, 230),  # Santa Ana
    Place(COAST, -117.69, 33.61, 0.08, 35, 15, 5.5, 270),  # Mission Viejo
    Place(COAST, -118.85, 34.22, 0.07, 14, 21, 5.6, 250),  # Thousand Oaks
    Place(COAST, -117.11, 33.15, 0.11, 27, 15, 4.1, 190),  # Escondido
    Place(COAST, -116.98, 32.81, 0.07, 29, 17, 4.2, 170),  # El Cajon
    Place(COAST, -120.45, 34.97, 0.12, 15, 17, 3.3, 160),  # Santa Maria
    Place(COAST, -121.68, 36.68, 0.12, 18, 24, 3.3, 180),  # Salinas
    Place(COAST, -121.88, 37.30, 0.07, 59, 24, 4.8, 255),  # San Jose
    Place(COAST, -122.01, 37.35, 0.04, 26, 26, 5.7, 335),  # Cupertino
    Place(COAST, -121.95, 37.65, 0.08, 12, 20, 6.0, 270),  # Pleasanton
    Place(COAST, -122.73, 38.43, 0.15, 33, 24, 3.5, 185),  # Santa Rosa
    Place(COAST, -123.35, 39.30, 0.25, 8, 24, 2.6, 120),  # Ukiah
    Place(INLAND, -121.45, 38.57, 0.10, 54, 32, 2.9, 115),  # Sacramento
    Place(INLAND, -121.26, 38.72, 0.12, 39, 17, 3.7, 140),  # Roseville
    Place(INLAND, -121.29, 37.98, 0.10, 41, 27, 3.0, 115),  # Stockton
    Place(INLAND, -120.98, 37.65, 0.16, 41, 24, 2.9, 125),  # Modesto
    Place(INLAND, -120.49, 37.31, 0.25, 18, 20, 2.5, 90),  # Merced
    Place(INLAND, -119.78, 36.78, 0.15, 59, 24, 2.7, 76),  # Fresno
    Place(INLAND, -119.32, 36.30, 0.22, 37, 23, 2.4, 70),  # Visalia
    Place(INLAND, -119.02, 35.37, 0.17, 33, 29, 2.5, 70),  # Bakersfield
    Place(INLAND, -118.13, 34.68, 0.15, 17, 14, 3.9, 125),  # Lancaster
    Place(INLAND, -118.01, 34.14, 0.06, 28, 34, 4.0, 235),  # Arcadia
    Place(INLAND, -117.66, 34.07, 0.07, 37, 24, 3.7, 145),  # Ontario
    Place(INLAND, -117.33, 34.06, 0.09, 60, 26, 3.2, 115),  # San Bernardino
    Place(INLAND, -116.99, 33.80, 0.12, 14, 15, 2.6, 110),  # Hemet
    Place(INLAND, -116.42, 33.78, 0.16, 19, 17, 2.6, 100),  # Palm Springs
    Place(INLAND, -117.22, 34.49, 0.22, 15, 14, 3.1, 98),  # Victorville
    Place(INLAND, -115.54, 32.82, 0.25, 14, 20, 2.1, 70),  # El Centro
    Place(INLAND, -121.64, 39.55, 0.30, 35, 23, 2.4, 85),  # Chico
    Place(INLAND, -122.36, 40.55, 0.30, 19, 20, 2.3, 80),  # Redding
    Place(INLAND, -120.78, 38.73, 0.22, 14, 16, 3.0, 130),  # Placerville
    Place(INLAND, -122.02, 38.40, 0.20, 24, 20, 3.3, 130),  # Vacaville
    Place(INLAND, -121.83, 37.98, 0.08, 22, 22, 4.7, 180),  # Antioch
    Place(INLAND, -120.10, 39.10, 0.20, 12, 20, 3.0, 120),  # Tahoe
    Place(INLAND, -121.80, 41.40, 0.40, 5, 22, 2.2, 64),  # Mount Shasta
    Place(OCEAN, -117.15, 32.76, 0.055, 63, 32, 3.0, 170),  # San Diego
    Place(OCEAN, -117.07, 32.64, 0.04, 25, 22, 3.2, 135),  # Chula Vista
    Place(OCEAN, -117.29, 33.12, 0.06, 17, 16, 4.2, 245),  # Encinitas
    Place(OCEAN, -117.75, 33.52, 0.06, 6, 22, 5.1, 360),  # Laguna Beach
    Place(OCEAN, -118.18, 33.79, 0.03, 22, 37, 3.1, 190),  # Long Beach
    Place(OCEAN, -118.31, 33.75, 0.035, 11, 33, 4.6, 340),  # Palos Verdes
    Place(OCEAN, -118.70, 34.07, 0.07, 3, 16, 7.0, 500),  # Malibu
    Place(OCEAN, -119.19, 34.24, 0.06, 17, 26, 3.9, 220),  # Oxnard
    Place(OCEAN, -119.80, 34.44, 0.08, 14, 24, 3.9, 275),  # Santa Barbara
    Place(OCEAN, -120.67, 35.28, 0.14, 9, 21, 3.1, 220),  # San Luis Obispo
    Place(OCEAN, -121.91, 36.59, 0.06, 5, 32, 3.7, 300),  # Monterey
    Place(OCEAN, -122.01, 36.98, 0.06, 14, 29, 3.9, 255),  # Santa Cruz
    Place(OCEAN, -122.29, 37.52, 0.055, 23, 36, 5.1, 390),  # San Mateo
    Place(OCEAN, -122.46, 37.69, 0.05, 25, 37, 4.2, 275),  # Daly City
    Place(OCEAN, -123.30, 38.70, 0.30, 2, 28, 2.7, 160),  # Mendocino coast
    Place(OCEAN, -124.13, 40.80, 0.15, 11, 31, 2.4, 85),  # Eureka
    Place(BAY, -122.43, 37.76, 0.028, 50, 50, 3.7, 340),  # San Francisco
    Place(BAY, -122.23, 37.80, 0.04, 45, 46, 2.8, 165),  # Oakland
    Place(BAY, -122.30, 37.91, 0.04, 29, 41, 3.4, 190),  # Berkeley
    Place(BAY, -122.10, 37.68, 0.045, 32, 34, 3.9, 190),  # Hayward
    Place(BAY, -122.12, 37.44, 0.05, 24, 33, 5.1, 365),  # Palo Alto
    Place(BAY, -122.53, 37.97, 0.05, 13, 33, 5.2, 355),  # San Rafael
    Place(BAY, -122.24, 38.11, 0.04, 9, 33, 3.6, 135),  # Vallejo
    Place(BAY, -122.30, 38.29, 0.05, 8, 25, 3.6, 185),  # Napa
    Place(BAY, -122.06, 37.95, 0.045, 19, 27, 4.6, 220),  # Concord
    Place(ISLAND, -118.33, 33.35, 0.01, 1, 52, 2.7, 415),  # Avalon
)

# A rough outline of the state: latitude and longitude of the westernmost and of the easternmost land.
WEST_COAST = (
    (32.54, -117.13),
    (33.2, -117.39),
    (33.6, -117.93),
    (33.75, -118.41),
    (34.03, -118.85),
    (34.4, -119.9),
    (34.5, -120.6),
    (35.4, -120.9),
    (36.6, -121.97),
    (37.5, -122.52),
    (38.0, -122.98),
    (39.0, -123.7),
    (40.4, -124.35),
    (41.95, -124.22),
)
EAST_BORDER = (
    (32.54, -114.8),
    (32.75, -114.55),
    (34.3, -114.31),
    (35.0, -114.63),
    (39.0, -120.0),
    (41.95, -120.0),
)
PLACEMENT_ROUNDS = 8

# Neighbourhoods: fields that vary smoothly over the map. They are the same for every seed of the rows, since
# another sample is not another California. Scales are the degrees over which a field changes.
MAP_SEED = 31
FIELD_WAVES = 48
WEALTH_SCALE, WEALTH_SD = 0.08, 0.26  # what people earn; in log units, as all that follow
APPEAL_SCALE, APPEAL_SD = 0.12, 0.20  # how sought after a spot is
FAMILY_SCALE, FAMILY_SD = 0.15, 0.12  # people in a household

AGE_SD = 10.0  # years
INCOME_SD = 0.26
HOUSEHOLDS_MEDIAN, HOUSEHOLDS_SD, HOUSEHOLDS_AGE_EFFECT = 435, 0.57, -0.014  # the effect of one year
SMALL_SHARE, SMALL_SHRINK = 0.06, 1.3  # block groups with very few households
ROOMS_PER_HOUSEHOLD, ROOMS_SD, ROOMS_INCOME_EFFECT, ROOMS_PRICE_EFFECT = 5.2, 0.08, 0.52, -0.13
BEDROOMS_PER_HOUSEHOLD, BEDROOMS_SD = 1.05, 0.06
RESORT_SHARE, RESORT_SHRINK = 0.02, 0.7  # holiday homes: many rooms for the few households that live there
PEOPLE_PER_HOUSEHOLD, PEOPLE_SD = 2.8, 0.25
BARRACKS_SHARE, BARRACKS_SHRINK = 0.004, 1.2  # barracks, prisons, colleges: many people, few households

VALUE_INCOME_EFFECT, VALUE_WEALTH_EFFECT = 0.74, 0.50  # of the row's income, of its neighbourhood's
VALUE_PEOPLE_EFFECT = -0.45
VALUE_AGE_EFFECT = 0.002  # of a year more than is typical of the place
VALUE_SD = 0.20
VALUE_STEP = 100  # dollars


def generate(seed: int = 20640) -> pd.DataFrame:
    """Return 20,640 generated rows with the ten columns of the real file, in random order.

    Args:
        seed: of the random generator; the same seed gives the same rows.
    """
    rng = np.random.default_rng(seed)
    place = _draw_places(rng)
    longitude, latitude = _draw_positions(rng, place)
    map_rng = np.random.default_rng(MAP_SEED)
    wealth = WEALTH_SD * _smooth_field(map_rng, longitude, latitude, WEALTH_SCALE)
    appeal = APPEAL_SD * _smooth_field(map_rng, longitude, latitude, APPEAL_SCALE)
    family = FAMILY_SD * _smooth_field(map_rng, longitude, latitude, FAMILY_SCALE)

    age = _whole(rng.normal(place["age"], AGE_SD), *AGE_RANGE)
    income = place["income"].to_numpy() * np.exp(wealth + rng.normal(0, INCOME_SD, ROWS))
    income = np.clip(income, *INCOME_RANGE).round(4)
    rows = pd.DataFrame(
        {
            "longitude": longitude,
            "latitude": latitude,
            "housing_median_age": age,
            **_draw_counts(rng, place, family, age, income),
            "median_income": income,
            "ocean_proximity": place["proximity"],
        }
    )
    rows["median_house_value"] = _draw_values(rng, place, appeal + VALUE_WEALTH_EFFECT * wealth, rows)
    rows.loc[rng.choice(ROWS, NULL_BEDROOMS, replace=False), "total_bedrooms"] = np.nan
    return rows[list(COLUMNS)].iloc[rng.permutation(ROWS)].reset_index(drop=True)


def _draw_places(rng: np.random.Generator) -> pd.DataFrame:
    """Return the place of every row: as many rows of each proximity as the real file has."""
    places = pd.DataFrame(PLACES)
    chosen = []
    for proximity, rows in CATEGORY_ROWS.items():
        candidates = places[places["proximity"] == proximity]
        share = (candidates["weight"] / candidates["weight"].sum()).to_numpy()
        chosen.append(rng.choice(candidates.index.to_numpy(), rows, p=share))
    return places.loc[np.concatenate(chosen)].reset_index(drop=True)


def _draw_positions(rng: np.random.Generator, place: pd.DataFrame) -> tuple[Floats, Floats]:
    """Scatter the rows around their places, on land.

    What falls off the land is drawn again, and after the last round put at the centre of its place.
    """
    centre = place[["longitude", "latitude"]].to_numpy()
    spread = place[["spread"]].to_numpy()
    island = (place["proximity"] == ISLAND).to_numpy()
    position = centre.copy()
    missing = np.arange(ROWS)
    for _ in range(PLACEMENT_ROUNDS):
        drawn = rng.normal(centre[missing], spread[missing]).round(2)
        accepted = _on_land(drawn[:, 0], drawn[:, 1]) | island[missing]
        position[missing[accepted]] = drawn[accepted]
        missing = missing[~accepted]
    return position[:, 0], position[:, 1]


def _on_land(longitude: Floats, latitude: Floats) -> npt.NDArray[np.bool_]:
    """Tell which positions are inside the rough outline of the state."""
    west = np.interp(latitude, *np.transpose(WEST_COAST))
    east = np.interp(latitude, *np.transpose(EAST_BORDER))
    between = (latitude >= LATITUDE_RANGE[0]) & (latitude <= LATITUDE_RANGE[1])
    return between & (longitude >= west) & (longitude <= east)


def _smooth_field(rng: np.random.Generator, longitude: Floats, latitude: Floats, scale: float) -> Floats:
    """Return a random function of the position with mean 0 and standard deviation 1: a sum of plane waves."""
    waves = rng.normal(0, 1 / scale, (2, FIELD_WAVES))
    phases = rng.uniform(0, 2 * np.pi, FIELD_WAVES)
    field: Floats = np.cos(np.column_stack([longitude, latitude]) @ waves + phases).sum(axis=1)
    return (field - field.mean()) / field.std()


def _draw_counts(
    rng: np.random.Generator, place: pd.DataFrame, family: Floats, age: Floats, income: Floats
) -> dict[str, Floats]:
    """Return households and, by ratios to them, rooms, bedrooms and people; every count is at least 1."""
    small = _rare(rng, SMALL_SHARE, SMALL_SHRINK)
    resort = _rare(rng, RESORT_SHARE, RESORT_SHRINK)
    barracks = _rare(rng, BARRACKS_SHARE, BARRACKS_SHRINK)
    size = np.log(HOUSEHOLDS_MEDIAN) + HOUSEHOLDS_AGE_EFFECT * (age - age.mean()) - small - resort - barracks
    households = _whole(np.exp(rng.normal(size, HOUSEHOLDS_SD)), 1, MOST_HOUSEHOLDS)

    richer = np.log(income / np.median(income))
    dearer = np.log((place["value"] / place["value"].median()).to_numpy())
    rooms = rng.normal(resort + ROOMS_INCOME_EFFECT * richer + ROOMS_PRICE_EFFECT * dearer, ROOMS_SD)
    bedrooms = rng.normal(resort, BEDROOMS_SD)
    people = rng.normal(barracks + family, PEOPLE_SD)

    total_rooms = _whole(households * ROOMS_PER_HOUSEHOLD * np.exp(rooms), 2, MOST_ROOMS)
    total_bedrooms = _whole(households * BEDROOMS_PER_HOUSEHOLD * np.exp(bedrooms), 1, MOST_BEDROOMS)
    return {
        "total_rooms": total_rooms,
        "total_bedrooms": np.minimum(total_bedrooms, total_rooms),
        "population": _whole(households * PEOPLE_PER_HOUSEHOLD * np.exp(people), 3, MOST_PEOPLE),
        "households": households,
    }


def _draw_values(rng: np.random.Generator, place: pd.DataFrame, spot: Floats, rows: pd.DataFrame) -> Floats:
    """Return house values from the place, the spot, income, crowding and age, cut at the cap."""
    richer = np.log((rows["median_income"] / place["income"]).to_numpy())
    people_per_household = (rows["population"] / rows["households"]).to_numpy()
    crowding = np.log(people_per_household / PEOPLE_PER_HOUSEHOLD).clip(-1, 1)
    older = (rows["housing_median_age"] - place["age"]).to_numpy()
    log_value = (
        np.log(place["value"].to_numpy())
        + spot
        + VALUE_INCOME_EFFECT * richer
        + VALUE_PEOPLE_EFFECT * crowding
        + VALUE_AGE_EFFECT * older
        + rng.normal(0, VALUE_SD, ROWS)
    )
    lowest, cap = VALUE_RANGE
    value = cap * np.exp(log_value - np.quantile(log_value, 1 - CAPPED_SHARE))
    rounded = VALUE_STEP * np.round(value / VALUE_STEP)
    return np.where(value >= cap, float(cap), rounded).clip(lowest, cap)


def _rare(rng: np.random.Generator, share: float, mean: float) -> Floats:
    """Return an exponential draw for a share of the rows and 0 for the others."""
    return np.where(rng.random(ROWS) < share, rng.exponential(mean, ROWS), 0.0)


def _whole(numbers: npt.ArrayLike, lowest: int, highest: int) -> Floats:
    """Return whole numbers, as floats, within the bounds."""
    return np.clip(np.round(np.asarray(numbers, dtype=np.float64)), lowest, highest)
