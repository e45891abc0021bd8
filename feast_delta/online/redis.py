"""Feast's Redis online store with writes of whole batches, never an older row over a newer one.

The layout is Feast's, and so is every read: a hash a key, in it a field a feature and one for the event time. Feast
compares times in Python and writes afterwards, so that two writers can overtake each other; and it leaves out a row of
the same event time, so that a day computed anew would keep its old values. Here a script in the server does both.

Beside the hashes, one more for each feature view (``_layout:<project>:<view>``) says which features are written: a
writer that still has other ones is refused, and what a removed feature left is found. A sorted set
(``_times:<project>:<view>``) has the keys by event time, so that what is expired is found.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import chain, islice
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.infra.online_stores import redis as of_feast
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name
from feast.repo_config import RepoConfig
from pydantic import field_validator, model_validator
from redis.exceptions import ResponseError

from feast_delta import encoding
from feast_delta.errors import DataError
from feast_delta.online.rows import Message, Rows
from feast_delta.online.writer import Progress, RowWriter

ROWS_A_CALL = 250
"""The server does nothing else during a call of the script: a few milliseconds for so many rows."""
CALLS_A_TRIP = 40
KEYS_A_SCAN = 10_000
OLDEST = -(2**53)
"""A second before all others, which Lua has exactly."""
Client = Any
"""Of redis-py, whose types do not say which commands are awaited."""

# KEYS: the layout, the times, then the key of each row. ARGV: the features of the layout, seconds to live (0: ever),
# the fields of the event time and the created time, the field of each feature; and last all rows, each as event time,
# created time and values with their lengths. Times are messages: varints with the tags 8 (seconds) and 16 (nanos).
WRITE = """
local layout = redis.call('HGET', KEYS[1], 'features')
if not layout then
    redis.call('HSET', KEYS[1], 'features', ARGV[1])
elseif layout ~= ARGV[1] then
    return redis.error_reply('LAYOUT ' .. layout)
end

local function varint(message, at)
    -- A Lua number is exact up to 2^53, so a negative one (10 bytes) is read as its complement.
    local value, complement, scale, length = 0, 0, 1, 0
    repeat
        local byte = string.byte(message, at + length)
        value = value + byte % 128 * scale
        if length < 9 then complement = complement + (127 - byte % 128) * scale end
        scale = scale * 128
        length = length + 1
    until byte < 128
    if length == 10 then value = -1 - complement end
    return value, at + length
end

local parsed = {}
local function time(message)
    local found = parsed[message]
    if not found then
        found = {0, 0}
        local at = 1
        while at <= #message do
            local tag = string.byte(message, at)
            found[tag / 8], at = varint(message, at + 1)
        end
        parsed[message] = found
    end
    return found[1], found[2]
end

local function compare(left, right)
    if left == right then return 0 end
    local seconds, nanos = time(left)
    local other_seconds, other_nanos = time(right)
    if seconds ~= other_seconds then return seconds - other_seconds end
    return nanos - other_nanos
end

local to_live, event_field, created_field = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local features, rows = #ARGV - 5, ARGV[#ARGV]
local form, at = '>' .. string.rep('I4c0', features + 2), 1
local hash = {event_field}
for feature = 1, features do hash[2 * feature + 1] = ARGV[4 + feature] end

local keys, call, unpack_row, unpack = KEYS, redis.call, struct.unpack, unpack  -- local names are found faster
for number = 3, #keys do
    local key = keys[number]
    local row = {unpack_row(form, rows, at)}
    local event, created = row[1], row[2]
    at = row[features + 3]
    local held = call('HGET', key, event_field)
    local newer = 0
    if held then
        newer = compare(event, held)
        if newer == 0 then newer = compare(created, call('HGET', key, created_field) or '') end
    end
    if newer >= 0 then
        hash[2] = event
        for feature = 1, features do hash[2 * feature + 2] = row[feature + 2] end
        local last = 2 * features + 2
        if created ~= '' then
            hash[last + 1], hash[last + 2] = created_field, created
            last = last + 2
        elseif held then
            call('HDEL', key, created_field)
        end
        call('HSET', key, unpack(hash, 1, last))
        call('ZADD', keys[2], (time(event)), key)
        if to_live > 0 then call('EXPIRE', key, to_live) end
    end
end
"""

# KEYS: the times, then keys. ARGV: the first and the last second whose rows are taken out, and all fields of the view.
TAKE_OUT = """
for number = 2, #KEYS do
    local time = tonumber(redis.call('ZSCORE', KEYS[1], KEYS[number]) or nil)
    if time and tonumber(ARGV[1]) <= time and time <= tonumber(ARGV[2]) then
        redis.call('HDEL', KEYS[number], unpack(ARGV, 3))
        redis.call('ZREM', KEYS[1], KEYS[number])
    end
end
"""
REMOVE = "for _, key in ipairs(KEYS) do redis.call('HDEL', key, unpack(ARGV)) end"


class RedisOnlineStoreConfig(of_feast.RedisOnlineStoreConfig):
    """The section ``online_store`` of feature_store.yaml: the keys of Feast's Redis online store."""

    @field_validator("type", mode="before")
    @classmethod
    def _as_feast_knows_it(cls, _: str) -> str:
        return "redis"  # what its inherited methods expect; this class was found by the path in the file

    @model_validator(mode="after")
    def _nothing_that_breaks_a_promise(self) -> RedisOnlineStoreConfig:
        if self.skip_dedup:
            raise ValueError("skip_dedup would let older values overwrite newer ones")
        if not self.full_scan_for_deletion:
            raise ValueError("without full_scan_for_deletion the values of a removed feature would come back")
        if self.redis_type == of_feast.RedisType.redis_cluster:
            raise ValueError("rows of many keys are written by one script: use one server, or redis_sentinel")
        return self


class RedisOnlineStore(RowWriter, of_feast.RedisOnlineStore):
    """A hash a key, shared by the feature views of an entity; reads are inherited."""

    def write_rows(
        self, config: RepoConfig, table: FeatureView, parts: Iterator[Rows], progress: Progress | None
    ) -> int:
        """Write in calls of a few hundred rows, each key at once or not at all.

        What was written before an error stays: nothing of it is wrong, and writing again completes it.

        Raises:
            DataError: the feature view has other features by now, or Redis has no memory left.
        """
        client, view = self._get_client(config.online_store), _View(config, table)
        script, arguments = client.register_script(WRITE), _arguments(config, view)
        count = 0

        def finish(rows: int, replies: Future[list[Any]]) -> None:
            _require(replies.result(), view)
            if progress:
                progress(rows)

        # One trip is under way while the next is made ready.
        with ThreadPoolExecutor(1) as sender:
            under_way: tuple[int, Future[list[Any]]] | None = None
            for trip in chain.from_iterable(part.parts(ROWS_A_CALL * CALLS_A_TRIP) for part in parts):
                pipe = client.pipeline(transaction=False)
                for keys, rows in _calls(trip, view.project):
                    script(keys=[view.layout, view.times, *keys], args=[*arguments, rows], client=pipe)
                if under_way:
                    finish(*under_way)
                under_way = len(trip), sender.submit(pipe.execute, raise_on_error=False)
                count += len(trip)
            if under_way:
                finish(*under_way)
        return count

    def remove_older(self, config: RepoConfig, table: FeatureView, before: datetime) -> None:
        client, view = self._get_client(config.online_store), _View(config, table)
        script, second = client.register_script(TAKE_OUT), int(before.timestamp())
        arguments = [OLDEST, second - 1, *view.all_fields()]
        while keys := client.zrangebyscore(view.times, "-inf", f"({second}", start=0, num=ROWS_A_CALL):
            script(keys=[view.times, *keys], args=arguments)

    def keys_between(self, config: RepoConfig, table: FeatureView, first: datetime, last: datetime) -> pa.Array:
        """Of a time its second counts."""
        client, view = self._get_client(config.online_store), _View(config, table)
        found = client.zrangebyscore(view.times, *_seconds(first, last))
        return pa.array([key.removesuffix(view.project) for key in found], pa.binary())

    def put_back(
        self, config: RepoConfig, table: FeatureView, keys: pa.Array, first: datetime, last: datetime, rows: Rows
    ) -> None:
        """In transactions of some hundred keys."""
        client, view = self._get_client(config.online_store), _View(config, table)
        take_out, write = client.register_script(TAKE_OUT), client.register_script(WRITE)
        for start in range(0, len(keys), ROWS_A_CALL):
            some = keys.slice(start, ROWS_A_CALL)
            pipe = client.pipeline(transaction=True)
            named = [view.times, *(key + view.project for key in some.to_pylist())]
            take_out(keys=named, args=[*_seconds(first, last), *view.all_fields()], client=pipe)
            for written, packed in _calls(rows.of(some), view.project):
                args = [*_arguments(config, view), packed]
                write(keys=[view.layout, view.times, *written], args=args, client=pipe)
            _require(pipe.execute(raise_on_error=False), view)

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[Message], progress: Progress | None
    ) -> None:
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Note the features of each view, and delete the values of those that are gone.

        Left there, their old values would come back as new ones with a feature of that name.
        """
        client = self._get_client(config.online_store)
        for table in tables_to_delete:
            self.delete_table(config, table)
        for table in tables_to_keep:
            view = _View(config, table)
            features, leaving = view.held(client)
            view.remove(client, leaving)  # by a change that was cut off
            gone = set(features) - set(view.features)
            # From here on writers of the old features are refused.
            client.hset(view.layout, mapping={"features": _listed(view.features), "leaving": _listed(gone)})
            view.remove(client, gone)
            client.hdel(view.layout, "leaving")

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """Delete what is held of a feature view; other views of its entity keep theirs."""
        client, view = self._get_client(config.online_store), _View(config, table)
        features, leaving = view.held(client)
        view.remove(client, {*features, *leaving, *view.features}, with_times=True)
        client.delete(view.layout, view.times)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        for table in tables:
            self.delete_table(config, table)
        super().teardown(config, [], entities)  # closes connections


class _View:
    """Names in Redis of one feature view: its layout, its keys, their fields."""

    def __init__(self, config: RepoConfig, table: FeatureView) -> None:
        self.name = compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)
        self.features = [feature.name for feature in table.features]
        self.project = config.project.encode()
        self.layout, self.times = (f"_{what}:{config.project}:{self.name}".encode() for what in ("layout", "times"))
        self.event_field, self.created_field = f"_ts:{self.name}".encode(), f"_created:{self.name}".encode()
        self._key_prefix = serialize_entity_key_prefix(table.join_keys)
        self._key_parts = len(table.join_keys)

    def fields(self, features: Iterable[str]) -> list[bytes]:
        return [_mmh3(f"{self.name}:{feature}") for feature in features]

    def all_fields(self) -> list[bytes]:
        return [self.event_field, self.created_field, *self.fields(self.features)]

    def held(self, client: Client) -> tuple[list[str], list[str]]:
        """Features that are written, and those whose values are being removed."""
        features, leaving = client.hmget(self.layout, ["features", "leaving"])
        return json.loads(features or "[]"), json.loads(leaving or "[]")

    def remove(self, client: Client, features: Iterable[str], *, with_times: bool = False) -> None:
        """Delete the values of features; a hash without fields is gone by itself."""
        fields = self.fields(features)
        if with_times:
            fields += [self.event_field, self.created_field]
        if not fields:
            return
        script = client.register_script(REMOVE)
        pattern = b"*".join(re.sub(rb"([*?\[\]^\\-])", rb"\\\1", part) for part in (self._key_prefix, self.project))
        found = filter(self._is_key, client.scan_iter(pattern, count=KEYS_A_SCAN))
        while keys := list(islice(found, KEYS_A_SCAN)):
            with client.pipeline(transaction=False) as pipe:
                for start in range(0, len(keys), ROWS_A_CALL):
                    script(keys=keys[start : start + ROWS_A_CALL], args=fields, client=pipe)
                pipe.execute()

    def _is_key(self, key: bytes) -> bool:
        """Whether it ends with this project's name: another's may end in the same letters."""
        at = len(self._key_prefix)
        for _ in range(self._key_parts):
            if at + 8 > len(key):
                return False
            at += 8 + struct.unpack_from("<I", key, at + 4)[0]
        return key[at:] == self.project


def _calls(rows: Rows, project: bytes) -> Iterator[tuple[list[bytes], bytes]]:
    """Keys, and rows as the script takes them, for each call."""
    times = [encoding.timestamps(rows.event_times), encoding.timestamps(rows.created_times)]
    packed = encoding.rows([*times, *rows.values])
    keys = [key + project for key in rows.keys.to_pylist()]
    for start in range(0, len(rows), ROWS_A_CALL):
        yield keys[start : start + ROWS_A_CALL], bytes(encoding.content(packed.slice(start, ROWS_A_CALL)))


def _arguments(config: RepoConfig, view: _View) -> list[Any]:
    """What the script that writes is told beside the rows."""
    return [_listed(view.features), config.online_store.key_ttl_seconds or 0, *view.all_fields()]


def _seconds(first: datetime, last: datetime) -> tuple[int, int]:
    return math.floor(first.timestamp()), math.floor(last.timestamp())


def _listed(features: Iterable[str]) -> str:
    return json.dumps(sorted(features))


def _require(replies: list[Any], view: _View) -> None:
    for reply in replies:
        if isinstance(reply, ResponseError) and str(reply).startswith("LAYOUT"):
            held = str(reply).removeprefix("LAYOUT ")
            raise DataError(
                f"the online store holds the features {held}, not {_listed(view.features)}",
                where=view.name,
                fix="The view was changed meanwhile: write again; if it stays, run `feast apply`",
            )
        if isinstance(reply, ResponseError) and "maxmemory" in str(reply):
            raise DataError(
                "Redis has no memory left",
                where=view.name,
                fix="Raise its maxmemory, then write again; the rows before these are written",
            )
        if isinstance(reply, Exception):
            raise reply
