-- One row per row of clean_california_housing: the entity's key, the event time, and the features.
-- Plain SQL that means the same on DuckDB and on Spark. What becomes of a text, features.categories in model.yaml says.
SELECT
    listing_id,
    event_timestamp,
    longitude,
    latitude,
    housing_median_age,
    total_rooms,
    population,
    median_income,
    total_rooms / total_bedrooms AS rooms_per_bedroom,
    total_rooms / households AS rooms_per_household,
    population / households AS population_per_household,
    (longitude + latitude) * 0.70710678 AS northeast,
    (latitude - longitude) * 0.70710678 AS northwest,
    sqrt(power(latitude - 34.05, 2) + power(0.8 * (longitude + 118.24), 2)) AS degrees_to_los_angeles,
    sqrt(power(latitude - 37.77, 2) + power(0.8 * (longitude + 122.42), 2)) AS degrees_to_san_francisco,
    ocean_proximity
FROM clean_california_housing
