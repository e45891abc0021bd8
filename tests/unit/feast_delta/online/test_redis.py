from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from feast import Entity, FeatureView, Field
from feast.infra.online_stores.redis import RedisOnlineStore as OfFeast
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64
from feast.value_type import ValueType
from pydantic import ValidationError

from feast_delta.errors import DataError
from feast_delta.online.redis import RedisOnlineStore, RedisOnlineStoreConfig
from tests.unit.feast_delta.online.conftest import (
    AT,
    FEATURES,
    PROJECT,
    SERVICE,
    define,
    key,
    open_store,
    reopened,
    values,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
on_redis = pytest.mark.parametrize("online_kind", ["redis"], indirect=True)


@pytest.fixture
def client(online):
    """The server's side of ``online``."""
    return online.stores._get_client(online.store.config.online_store)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"skip_dedup": True}, "older values overwrite newer"),
        ({"full_scan_for_deletion": False}, "a removed feature would come back"),
        ({"redis_type": "redis_cluster"}, "use one server, or redis_sentinel"),
    ],
)
def test_what_would_break_a_promise_is_refused(option, said):
    with pytest.raises(ValidationError, match=said):
        RedisOnlineStoreConfig(type="x", **option)


@on_redis
@pytest.mark.parametrize("at", [AT, AT + timedelta(microseconds=1), EPOCH, EPOCH - timedelta(days=200, microseconds=5)])
def test_what_is_written_is_what_feasts_own_store_writes(online, client, at):
    rows = [(key(number), values(number + 0.5), at, None) for number in range(3)]
    rows[1][1]["rooms_per_household"] = Value()
    online.stores.online_write_batch(online.store.config, online.view(), rows, None)
    ours = held(client)
    assert len(ours) == 3
    client.delete(*ours)
    OfFeast.online_write_batch(OfFeast(), online.store.config, online.view(), rows, None)
    assert ours == held(client)


def held(client):
    return {name: client.hgetall(name) for name in client.scan_iter() if not name.startswith((b"_layout", b"_times"))}


@on_redis
def test_what_feasts_own_store_wrote_is_kept_in_order_too(online):
    rows = [(key(1), values(2.0), AT, None)]
    OfFeast().online_write_batch(online.store.config, online.view(), rows, None)
    online.write((1, 1.0, AT - timedelta(microseconds=1), None))
    assert online.served("median_income") == [2.0]
    online.write((1, 3.0, AT, None))
    assert online.served("median_income") == [3.0]


@on_redis
def test_a_created_time_does_not_outlive_its_row(online, client):
    online.write((1, 1.0, AT, AT))
    (name,) = held(client)
    assert b"_created:listing_features" in client.hgetall(name)
    online.write((1, 2.0, AT + timedelta(hours=1), None))
    assert b"_created:listing_features" not in client.hgetall(name)


@on_redis
def test_a_removed_feature_leaves_no_field(online, client):
    online.write((1, 1.0, AT, None), (2, 2.0, AT, None))
    assert {len(fields) for fields in held(client).values()} == {4}
    define(online.store, "median_income")
    assert {len(fields) for fields in held(client).values()} == {2}
    assert reopened().served("median_income") == [1.0]


@on_redis
def test_a_removal_that_was_cut_off_is_finished_by_the_next_change(online, client, monkeypatch):
    online.write((1, 1.0, AT, None))
    with monkeypatch.context() as cut:
        cut.setattr(type(client), "scan_iter", cut_off)
        with pytest.raises(OSError, match="cut off"):
            define(online.store, "median_income")
    assert len(next(iter(held(client).values()))) == 4
    define(open_store(), *FEATURES)  # all features again, which have no values yet
    assert reopened().served("median_income", "rooms_per_household", "inland") == [1.0, None, None]


def cut_off(*arguments, **named):
    raise OSError("cut off")


@on_redis
def test_a_writer_of_other_features_is_refused(online):
    old = online.view()
    define(online.store, "median_income")
    late = [(key(1), values(1.0), AT, None)]
    said = r'holds the features \["median_income"\], not \["inland", .* write again; if it stays, run `feast apply`'
    with pytest.raises(DataError, match=said):
        online.stores.online_write_batch(online.store.config, old, late, None)
    online = reopened()
    assert online.served("median_income") == [None]
    online.stores.online_write_batch(online.store.config, online.view(), late, None)
    assert online.served("median_income") == [1.0]


@on_redis
def test_applying_again_settles_what_a_change_without_redis_left(online, client):
    client.hset(f"_layout:{PROJECT}:listing_features", "features", '["of another day"]')
    with pytest.raises(DataError, match="of another day"):
        online.write((1, 1.0, AT, None))
    online.store.apply([online.view()])  # as `feast apply` does
    online.write((1, 1.0, AT, None))
    assert online.served("median_income") == [1.0]


@on_redis
def test_a_server_that_lost_everything_is_written_anew(online, client):
    online.write((1, 1.0, AT, None))
    client.flushdb()
    client.script_flush()
    online.write((1, 2.0, AT - timedelta(days=1), None))
    assert online.served("median_income") == [2.0]


@on_redis
def test_a_view_that_is_deleted_leaves_what_is_not_its_own(online, client):
    listing, source = online.store.get_entity("listing"), online.view().batch_source
    other = FeatureView(name="other", entities=[listing], schema=[Field(name="x", dtype=Float64)], source=source)
    online.store.apply([other])
    write = online.stores.online_write_batch
    write(online.store.config, other, [(key(1), {"x": Value(double_val=1.0)}, AT, None)], None)
    # A project whose name ends as ours.
    neighbour = online.store.config.model_copy(update={"project": "my" + online.store.project})
    write(neighbour, online.view(), [(key(1), values(4.0), AT, None)], None)
    online.write((1, 2.0, AT, AT), (2, 3.0, AT, AT))
    before = held(client)
    service = online.store.get_feature_service(SERVICE)
    online.store.apply([], objects_to_delete=[service, online.view()], partial=False)
    left = held(client)
    assert len(before) == 3
    assert sorted(len(fields) for fields in left.values()) == [2, 4]
    assert sum(name.endswith(neighbour.project.encode()) for name in left) == 1


@on_redis
def test_nothing_is_left_after_teardown_also_of_a_key_with_letters_that_mean_something_to_redis(online, client):
    # 91 letters: the length is written as the byte "[".
    name = "k" * 91
    entity = Entity(name="odd", join_keys=[name], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=Int64), Field(name="x", dtype=Float64)]
    odd = FeatureView(name="odd", entities=[entity], schema=schema, source=online.view().batch_source)
    online.store.apply([entity, odd])
    row = EntityKey(join_keys=[name], entity_values=[Value(int64_val=1)])
    online.stores.online_write_batch(online.store.config, odd, [(row, {"x": Value(double_val=1.0)}, AT, None)], None)
    online.write((1, 2.0, AT, AT))
    assert len(held(client)) == 2
    online.store.teardown()
    assert client.dbsize() == 0


@on_redis
def test_keys_expire_where_the_configuration_says_so(online, client):
    online.write((1, 1.0, AT, None))
    (name,) = held(client)
    assert client.ttl(name) == -1
    expiring = RedisOnlineStoreConfig(
        type="x", connection_string=online.store.config.online_store.connection_string, key_ttl_seconds=600
    )
    config = online.store.config
    config._online_store = expiring
    online.write((1, 2.0, AT, None))
    assert 590 < client.ttl(name) <= 600


@on_redis
def test_the_asynchronous_write_keeps_the_order_too(online):
    online.write((1, 2.0, AT, None))

    async def late(hours, income):
        rows = [(key(1), values(income), AT + timedelta(hours=hours), None)]
        await RedisOnlineStore().online_write_batch_async(online.store.config, online.view(), rows, None)

    asyncio.run(late(-1, 1.0))
    assert online.served("median_income") == [2.0]
    asyncio.run(late(0, 3.0))
    assert online.served("median_income") == [3.0]


@on_redis
def test_memory_that_is_full_is_said(online, client):
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(DataError, match=r"Redis has no memory left\. Raise its maxmemory"):
            online.write((1, 2.0, AT, None))
    finally:
        client.config_set("maxmemory", before)
