"""The offline store through Feast: FeatureStore with a local registry, real Delta tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast.errors import (
    FeastEntityDFMissingColumnsError,
    FeatureViewNotFoundException,
    SavedDatasetLocationAlreadyExists,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from feast_delta.errors import DataError
from feast_delta.source import DeltaSource, SavedDatasetDeltaStorage

TIMESTAMP = pa.timestamp("us", tz="UTC")
LISTING = Entity(name="listing", join_keys=["listing_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region"], value_type=ValueType.STRING)


def day(number: float) -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=number - 1)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=str(tmp_path / "registry.db"),
            offline_store={
                "type": "feast_delta.offline_store.DeltaOfflineStore",
                "lakehouse_uri": str(tmp_path),
                "memory_limit": "500MB",
                "threads": 2,
            },
            online_store=None,
            entity_key_serialization_version=3,
        )
    )


@pytest.fixture
def prices(tmp_path, store):
    """A view with field mapping, created time and composite key; the table has two versions."""
    path = str(tmp_path / "prices")
    columns = {
        "listing_id": pa.array([1, 1, 1, 2], pa.int64()),
        "region": pa.array(["north", "north", "south", "north"]),
        "at": pa.array([day(1), day(3), day(1), day(2)], TIMESTAMP),
        "known": pa.array([day(1), day(9), day(1), day(2)], TIMESTAMP),
        "amount": pa.array([1.0, 2.0, 3.0, None]),
        "batch_date": pa.array([day(1).date(), day(3).date(), day(1).date(), day(2).date()]),
    }
    table = pa.table(columns)
    write_deltalake(path, table.slice(0, 3), partition_by=["batch_date"])
    write_deltalake(path, table.slice(3), mode="append")
    source = DeltaSource(
        path=path,
        name="prices",
        timestamp_field="at",
        created_timestamp_column="known",
        field_mapping={"amount": "price"},
        date_partition_column="batch_date",
    )
    view = FeatureView(
        name="prices",
        entities=[LISTING, REGION],
        schema=[
            Field(name="listing_id", dtype=Int64),
            Field(name="region", dtype=String),
            Field(name="price", dtype=Float64),
        ],
        source=source,
        ttl=timedelta(days=5),
        online=False,
    )
    store.apply([LISTING, REGION, view])
    return view


def entity_df(rows, **columns):
    frame = pd.DataFrame(rows, columns=["listing_id", "region", "event_timestamp"])
    return frame.assign(**columns)


def features(store, frame, **options):
    return store.get_historical_features(entity_df=frame, features=["prices:price"], **options)


def test_rows_keep_their_order_their_columns_and_their_repetitions(store, prices):
    north = [(2, "north", day(2)), (1, "north", day(8)), (1, "north", day(2)), (1, "north", day(8))]
    frame = entity_df([*north, (1, "south", day(7))], note=["a", "b", "c", "d", "e"])
    result = features(store, frame).to_df()
    assert list(result.columns) == ["listing_id", "region", "event_timestamp", "note", "price"]
    assert result["note"].tolist() == ["a", "b", "c", "d", "e"]
    assert features(store, frame).to_arrow()["price"].to_pylist() == [None, 2.0, 1.0, 2.0, None]


def test_only_what_was_known_then(store, prices):
    frame = entity_df([(1, "north", day(4))])
    assert features(store, frame).to_df()["price"].tolist() == [2.0]
    assert features(store, frame, filter_by_created_timestamp=True).to_df()["price"].tolist() == [1.0]


@pytest.mark.parametrize(
    "time",
    [
        "2025-01-04T01:00:00+01:00",
        "2025-01-04",
        pd.Timestamp("2025-01-04"),
        pd.Timestamp("2025-01-04T01:00", tz="Europe/Berlin"),
        pd.Timestamp("2025-01-04").as_unit("ns"),
        datetime(2025, 1, 4),
    ],
)
def test_times_are_understood_and_naive_ones_are_utc(store, prices, time):
    result = features(store, entity_df([(1, "north", time)])).to_arrow()
    assert result["event_timestamp"].to_pylist() == [day(4)]
    assert result["price"].to_pylist() == [2.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_entity_times_of_every_unit_and_zone(store, prices, unit, zone):
    times = pd.to_datetime(["2025-01-01T00:00", "2025-01-03T00:00"], utc=zone is not None)
    times = times.as_unit(unit) if zone is None else times.tz_convert(zone).as_unit(unit)
    frame = entity_df([(1, "north", time) for time in times]).astype({"event_timestamp": times.dtype})
    assert features(store, frame).to_arrow()["price"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_feature_times_of_every_unit_and_zone(store, tmp_path, unit, zone):
    """Delta keeps microseconds, with a zone or without; nanoseconds are cut to them when a table is written."""
    path = str(tmp_path / "times")
    naive = pa.array([day(1).replace(tzinfo=None), day(3).replace(tzinfo=None)], pa.timestamp(unit))
    at = naive if zone is None else pa.compute.assume_timezone(naive, zone)
    write_deltalake(path, pa.table({"listing_id": [1, 1], "at": at, "rooms": [1.0, 2.0]}))
    source = DeltaSource(path=path, name="times", timestamp_field="at")
    schema = [Field(name="listing_id", dtype=Int64), Field(name="rooms", dtype=Float64)]
    store.apply([LISTING, FeatureView(name="times", entities=[LISTING], schema=schema, source=source, online=False)])
    frame = entity_df([(1, "x", day(2)), (1, "x", day(3)), (1, "x", day(0))])
    result = store.get_historical_features(entity_df=frame, features=["times:rooms"]).to_arrow()
    assert result["rooms"].to_pylist() == [1.0, 2.0, None]


def test_entity_rows_before_any_feature_and_in_the_future(store, prices):
    frame = entity_df([(1, "north", day(-400)), (1, "north", day(8)), (1, "north", day(9)), (1, "north", day(40_000))])
    # The newest row is of day 3 and lives five days, the last moment included.
    assert features(store, frame).to_arrow()["price"].to_pylist() == [None, 2.0, None, None]


def test_no_features_and_unknown_features_are_said(store, prices):
    frame = entity_df([(1, "north", day(4))])
    with pytest.raises(ValueError, match="No features specified"):  # Feast's own words
        store.get_historical_features(entity_df=frame, features=[])
    empty = FeatureService(name="empty", features=[])
    store.apply([empty])
    with pytest.raises(DataError, match="no feature is asked for"):
        store.get_historical_features(entity_df=frame, features=empty)
    with pytest.raises(FeatureViewNotFoundException, match="rents"):
        store.get_historical_features(entity_df=frame, features=["rents:rent"])
    with pytest.raises(KeyError, match="Feature rent not found in projection prices"):
        store.get_historical_features(entity_df=frame, features=["prices:rent"])


def test_a_nanosecond_before_is_before(store, prices):
    frame = entity_df([(1, "north", pd.Timestamp(day(3)) - pd.Timedelta(1, "ns"))])
    assert features(store, frame).to_df()["price"].tolist() == [1.0]


def test_missing_keys_match_nothing(store, prices):
    frame = entity_df([(1, "north", day(4)), (None, "north", day(4)), (1, None, day(4))])
    assert frame["listing_id"].dtype == float
    assert features(store, frame).to_arrow()["price"].to_pylist() == [2.0, None, None]


def test_an_empty_frame_gives_an_empty_result(store, prices):
    result = features(store, entity_df([])).to_arrow()
    assert (result.num_rows, result.schema.field("price").type) == (0, pa.float64())


def test_names_can_be_full(store, prices):
    result = features(store, entity_df([(1, "north", day(4))], price=[7]), full_feature_names=True).to_df()
    assert result.iloc[0][["price", "prices__price"]].tolist() == [7, 2.0]


def test_join_keys_can_be_renamed_and_a_view_used_twice(store, prices):
    renamed = {"listing_id": "seller_id", "region": "seller_region"}
    buyer, seller = prices.with_name("buyer"), prices.with_name("seller").with_join_key_map(renamed)
    service = FeatureService(name="both", features=[buyer, seller])
    store.apply([service])
    frame = entity_df([(1, "north", day(4))], seller_id=[1], seller_region=["south"])
    result = store.get_historical_features(entity_df=frame, features=service, full_feature_names=True).to_df()
    assert result.iloc[0][["buyer__price", "seller__price"]].tolist() == [2.0, 3.0]


def test_on_demand_views_are_computed(store, prices):
    request = RequestSource(name="request", schema=[Field(name="discount", dtype=Float64)])

    @on_demand_feature_view(sources=[prices, request], schema=[Field(name="paid", dtype=Float64)])
    def paid(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"paid": inputs["price"] - inputs["discount"]})

    store.apply([request, paid])
    frame = entity_df([(1, "north", day(4))], discount=[0.5])
    result = store.get_historical_features(entity_df=frame, features=["prices:price", "paid:paid"]).to_df()
    assert result.iloc[0][["price", "paid"]].tolist() == [2.0, 1.5]


def test_a_view_without_entity_has_one_value_for_all(store, tmp_path):
    path = str(tmp_path / "rates")
    write_deltalake(path, pa.table({"at": pa.array([day(1), day(3)], TIMESTAMP), "rate": [0.1, 0.2]}))
    source = DeltaSource(path=path, name="rates", timestamp_field="at")
    view = FeatureView(name="rates", schema=[Field(name="rate", dtype=Float64)], source=source, online=False)
    store.apply([view])
    frame = entity_df([(1, "north", day(2)), (2, "south", day(3)), (2, "south", day(0))])
    result = store.get_historical_features(entity_df=frame, features=["rates:rate"]).to_arrow()
    assert result["rate"].to_pylist() == [0.1, 0.2, None]


@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        ("SELECT 1", DataError, "an SQL string"),
        (None, DataError, "no entity frame"),
        (
            entity_df([(1, "north", day(4))]).drop(columns="region"),
            FeastEntityDFMissingColumnsError,
            "region",
        ),
        (entity_df([(1, "north", None)]), DataError, "1 rows of the entity frame have no event_timestamp"),
        (entity_df([(1, "north", "soon")]), DataError, "the entity frame cannot be read"),
        (entity_df([("1", "north", day(4))]), DataError, "entity key listing_id is of type string"),
        (entity_df([(1.5, "north", day(4))]), DataError, "no whole numbers"),
        (entity_df([(1, "north", day(4))], price=[7]), DataError, "both have price"),
    ],
)
def test_what_cannot_be_joined_is_said(store, prices, frame, error, said):
    with pytest.raises(error, match=said):
        features(store, frame).to_arrow()


def test_missing_table_and_missing_column_are_said(store, prices, tmp_path):
    store.apply(
        [
            FeatureView(
                name="other",
                entities=[LISTING],
                schema=[Field(name="listing_id", dtype=Int64), Field(name="rooms", dtype=Float64)],
                source=DeltaSource(path=prices.batch_source.path, name="other", timestamp_field="at"),
                online=False,
            ),
            FeatureView(
                name="unbuilt",
                entities=[LISTING],
                schema=[Field(name="listing_id", dtype=Int64), Field(name="rooms", dtype=Float64)],
                source=DeltaSource(path=str(tmp_path / "none"), name="unbuilt", timestamp_field="at"),
                online=False,
            ),
        ]
    )
    frame = entity_df([(1, "north", day(4))])
    with pytest.raises(DataError, match="source other has no column rooms"):
        store.get_historical_features(entity_df=frame, features=["other:rooms"]).to_arrow()
    with pytest.raises(DataError, match="source unbuilt does not exist"):
        store.get_historical_features(entity_df=frame, features=["unbuilt:rooms"])


def test_the_job_reads_the_version_it_names(store, prices):
    job = features(store, entity_df([(2, "south", day(4))]))
    late = {"listing_id": [2], "region": ["south"], "at": [day(3)], "known": [day(3)], "amount": [9.0]}
    schema = DeltaTable(prices.batch_source.path).to_pyarrow_dataset().schema
    rows = pa.table({**late, "batch_date": [day(3).date()]}).select(schema.names).cast(schema)
    write_deltalake(prices.batch_source.path, rows, mode="append")
    assert job.table_versions == {"prices": 1}
    assert job.to_arrow()["price"].to_pylist() == [None]
    assert features(store, entity_df([(2, "south", day(4))])).to_arrow()["price"].to_pylist() == [9.0]


def pull(store, source, name, **options):
    keys = ["listing_id", "region"]
    method = getattr(store._get_provider().offline_store, f"pull_{name}_from_table_or_query")
    return method(store.config, source, keys, ["amount"], "at", "known", **options).to_arrow()


def test_pull_includes_both_ends(store, prices):
    source = prices.batch_source
    everything = pull(store, source, "all", start_date=day(1), end_date=day(3))
    assert sorted(everything["amount"].to_pylist(), key=str) == [1.0, 2.0, 3.0, None]
    assert pull(store, source, "all", start_date=day(1.5), end_date=day(2.5)).num_rows == 1
    newest = pull(store, source, "latest", start_date=day(1), end_date=day(3))
    newest = newest.sort_by([("listing_id", "ascending"), ("region", "ascending")])
    assert newest["amount"].to_pylist() == [2.0, 3.0, None]
    assert newest.column_names == ["listing_id", "region", "amount", "at", "known"]
    assert newest["amount"].num_chunks == 1


def test_rows_written_twice_are_there_once(store, prices):
    rows = pd.DataFrame({"listing_id": [7], "region": ["north"], "at": [day(5)], "known": [day(5)], "amount": [4.0]})
    for amount in (4.0, 5.0):
        store.write_to_offline_store("prices", rows.assign(amount=amount))
    of_day = [("batch_date", "=", day(5).date())]
    written = DeltaTable(prices.batch_source.path).to_pyarrow_table(filters=of_day)
    assert written["amount"].to_pylist() == [5.0]


def test_rows_with_other_columns_are_not_written(store, prices):
    table = pa.table({"listing_id": [7], "amount": [1.0]})
    with pytest.raises(DataError, match="have the columns amount, listing_id"):
        store._get_provider().offline_write_batch(store.config, prices, table, None)


@pytest.mark.filterwarnings("ignore:.*is an experimental feature")
def test_a_saved_dataset_is_a_delta_table(store, prices, tmp_path):
    storage = SavedDatasetDeltaStorage(str(tmp_path / "saved"))
    frame = entity_df([(1, "north", day(4)), (2, "north", day(4))])
    store.create_saved_dataset(features(store, frame), "saved", storage)
    again = store.get_saved_dataset("saved").to_df()
    assert again["price"].dropna().tolist() == [2.0]
    assert len(again) == 2
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        store.create_saved_dataset(features(store, frame), "saved", storage)
    store.create_saved_dataset(features(store, frame.head(1)), "saved", storage, allow_overwrite=True)
    assert len(store.get_saved_dataset("saved").to_df()) == 1
