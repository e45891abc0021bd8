-- One row per row of clean_california_housing: the entity's key, the event time, and the features.
-- Plain SQL that means the same on DuckDB and on Spark.
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
    CASE WHEN ocean_proximity = '<1H OCEAN' THEN 1 ELSE 0 END AS ocean_proximity_1h_ocean,
    CASE WHEN ocean_proximity = 'INLAND' THEN 1 ELSE 0 END AS ocean_proximity_inland,
    CASE WHEN ocean_proximity = 'ISLAND' THEN 1 ELSE 0 END AS ocean_proximity_island,
    CASE WHEN ocean_proximity = 'NEAR BAY' THEN 1 ELSE 0 END AS ocean_proximity_near_bay,
    CASE WHEN ocean_proximity = 'NEAR OCEAN' THEN 1 ELSE 0 END AS ocean_proximity_near_ocean
FROM clean_california_housing
