"""The vectorised form of keys and values held against Feast's own, byte for byte."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_delta import encoding
from feast_delta.errors import DataError

whole_32, whole_64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
KINDS = {
    ValueType.DOUBLE: (st.floats(allow_nan=False), pa.float64()),
    ValueType.FLOAT: (st.floats(allow_nan=False, width=32), pa.float32()),
    ValueType.INT32: (whole_32, pa.int32()),
    ValueType.INT64: (whole_64, pa.int64()),
    ValueType.BOOL: (st.booleans(), pa.bool_()),
    ValueType.STRING: (text, pa.string()),
    ValueType.INT64_LIST: (st.lists(whole_64, min_size=1, max_size=3), pa.list_(pa.int64())),
}


@st.composite
def columns(draw):
    kind = draw(st.sampled_from(list(KINDS)))
    strategy, arrow = KINDS[kind]
    rows = draw(st.lists(strategy | st.none() if kind != ValueType.INT64_LIST else strategy, min_size=1, max_size=20))
    return kind, pa.array(rows, arrow)


@settings(max_examples=200, deadline=None)
@given(columns())
def test_values_are_the_messages_that_feast_writes(case):
    kind, column = case
    messages = python_values_to_proto_values(column.to_pylist(), kind)
    assert encoding.values(column, kind).to_pylist() == [item.SerializeToString() for item in messages]


@pytest.mark.parametrize("number", [0, 127, 128, 2**35 - 1, 2**63 - 1, -1, -(2**63)])
def test_whole_numbers_at_the_edges_of_their_length(number):
    message = python_values_to_proto_values([number], ValueType.INT64)[0].SerializeToString()
    assert encoding.values(pa.array([number]), ValueType.INT64).to_pylist() == [message]


def test_a_part_of_an_array_is_that_part():
    whole = pa.array([1, None, 3, 4, None], pa.int64())
    expected = encoding.values(pa.array([3, 4, None], pa.int64()), ValueType.INT64)
    assert encoding.values(whole[2:], ValueType.INT64).equals(expected)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(whole_64, whole_32, text), min_size=1, max_size=10))
def test_entity_keys_are_those_that_feast_writes(rows):
    names, kinds = ["zone", "area", "name"], [ValueType.INT64, ValueType.INT32, ValueType.STRING]
    columns = [
        pa.array(list(values), kind)
        for values, kind in zip(zip(*rows, strict=True), (pa.int64(), pa.int32(), pa.string()), strict=True)
    ]
    expected = [
        serialize_entity_key(
            EntityKey(
                join_keys=names,
                entity_values=[
                    python_values_to_proto_values([value], kind)[0] for value, kind in zip(row, kinds, strict=True)
                ],
            )
        )
        for row in rows
    ]
    assert encoding.entity_keys(names, columns, kinds).to_pylist() == expected


def test_a_missing_key_and_a_key_of_no_kind_are_refused():
    with pytest.raises(DataError, match="1 rows have no zone"):
        encoding.entity_keys(["zone"], [pa.array([1, None])], [ValueType.INT64])
    with pytest.raises(DataError, match="zone is a DOUBLE key"):
        encoding.entity_keys(["zone"], [pa.array([1.5])], [ValueType.DOUBLE])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), min_size=1, max_size=10))
def test_times_are_the_messages_that_feast_writes(moments):
    moments = [at and at.replace(tzinfo=UTC) for at in moments]
    expected = []
    for at in moments:
        message = Timestamp()
        if at:
            message.FromDatetime(at)
        expected.append(message.SerializeToString())
    assert encoding.timestamps(pa.array(moments, pa.timestamp("us", tz="UTC"))).to_pylist() == expected


def test_rows_are_fields_with_their_lengths_put_together():
    rows = encoding.rows([pa.array([b"ab", b"", b"c"]), pa.array([None, b"d", b"e"])], head=b"!")
    first = b"!" + struct.pack(">i", 2) + b"ab" + struct.pack(">i", -1)
    second = b"!" + struct.pack(">ii", 0, 1) + b"d"
    third = b"!" + struct.pack(">i", 1) + b"c" + struct.pack(">i", 1) + b"e"
    assert bytes(encoding.content(rows)) == first + second + third
    assert bytes(encoding.content(rows[1:2])) == second
    assert bytes(encoding.content(rows[3:])) == b""
