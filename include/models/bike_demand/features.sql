-- One row per row of clean_bike_demand: the entity's key, the event time, and what is known before the hour (weather:
-- as forecast). casual and registered are not: they add up to the target.
-- No season, no month: in the first year they tell the time as months_since_start does, and what takes growth for a
-- season fails in the second winter and spring (R2 .40 instead of .60 in March). Temperature tells the season.
SELECT
    instant,
    event_timestamp,
    hr,
    weekday,
    holiday,
    workingday,
    hr + 24 * workingday AS hour_of_day_type,
    12 * yr + mnth - 1 AS months_since_start,
    weathersit,
    temp,
    atemp,
    hum,
    windspeed
FROM clean_bike_demand
