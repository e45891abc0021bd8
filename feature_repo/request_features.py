"""An example of features computed at request time, from stored features and what the caller sends along.

`price_to_income` puts an asking price, known only when somebody asks, beside the stored median income. It is computed
by the same function offline (`get_historical_features`, the price as a column of the entity frame) and online
(`get_online_features`, the price in each entity row).
"""

import pandas as pd
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from include.core import catalogue
from include.core.settings import Settings
from include.features.definitions import feature_view

asking = RequestSource(
    name="asking",
    schema=[Field(name="asking_price", dtype=Float64, description="In US dollars")],
    description="What a caller sends along with the key",
)


@on_demand_feature_view(
    sources=[
        feature_view(catalogue.load("california_housing"), Settings.load(need=("lakehouse_uri",)).lakehouse_uri),
        asking,
    ],
    schema=[Field(name="price_to_income", dtype=Float64)],  # Feast takes no description here
    description="Request-time features of a listing: asking price over yearly household income",
)
def listing_request_features(inputs: pd.DataFrame) -> pd.DataFrame:
    income = inputs["median_income"] * 10_000
    return pd.DataFrame({"price_to_income": inputs["asking_price"] / income})
