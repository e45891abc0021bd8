"""Feast's stored form of keys and values, made column by column, as PostgreSQL's binary COPY takes it.

Feast makes a protobuf message for every value, one by one, in Python. Here each column of a batch becomes the bytes
of all its messages at once (numpy, Arrow); what Feast reads back is byte for byte what it would have written.
A kind of value that is not listed here is converted by Feast's own functions.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from include.errors import DataError

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
END = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
POSTGRES_EPOCH = 946_684_800_000_000
"""2000-01-01 in microseconds since 1970."""

Bytes = npt.NDArray[np.uint8]

NUMBER = {name: Value.DESCRIPTOR.fields_by_name[name].number for name in ("int32_val", "int64_val", "bool_val")}
FIXED = {
    ValueType.DOUBLE: (pa.float64(), "<f8", Value.DESCRIPTOR.fields_by_name["double_val"].number << 3 | 1),
    ValueType.FLOAT: (pa.float32(), "<f4", Value.DESCRIPTOR.fields_by_name["float_val"].number << 3 | 5),
}
VARINT = {
    ValueType.INT32: (pa.int32(), NUMBER["int32_val"] << 3),
    ValueType.INT64: (pa.int64(), NUMBER["int64_val"] << 3),
    ValueType.BOOL: (pa.bool_(), NUMBER["bool_val"] << 3),
}
STRING_TAG = Value.DESCRIPTOR.fields_by_name["string_val"].number << 3 | 2
KEY_VALUES = {
    ValueType.INT32: (pa.int32(), "<i4"),
    ValueType.INT64: (pa.int64(), "<i8"),
}


def copy_rows(columns: Sequence[pa.Array]) -> memoryview:
    """The rows of a batch as PostgreSQL's binary COPY takes them.

    Args:
        columns: fields as ``entity_keys``, ``values`` and ``times`` make them, all of one length above 0.
    """
    count = pa.scalar(struct.pack(">h", len(columns)), pa.large_binary())
    fields = [column.cast(pa.large_binary()) for column in columns]
    rows = pc.binary_join_element_wise(count, *fields, pa.scalar(b"", pa.large_binary()))
    offsets = np.frombuffer(rows.buffers()[1], np.int64)
    first, last = int(offsets[rows.offset]), int(offsets[rows.offset + len(rows)])
    return memoryview(rows.buffers()[2])[first:last]


def entity_keys(names: Sequence[str], columns: Sequence[pa.Array], kinds: Sequence[ValueType]) -> pa.Array:
    """Entity keys as Feast serialises them (version 3), each with its length before it.

    Raises:
        DataError: a key is null, or of a kind that Feast has no keys of.
    """
    order = sorted(range(len(names)), key=lambda position: names[position])
    pieces: list[Any] = [pa.scalar(serialize_entity_key_prefix(list(names)), pa.binary())]
    for position in order:
        column, kind = columns[position], kinds[position]
        if column.null_count:
            raise DataError(f"{column.null_count} rows have no {names[position]}", fix="A key cannot be null")
        if kind in KEY_VALUES:
            storage, form = KEY_VALUES[kind]
            value = np.empty(len(column), np.dtype([("kind", "<u4"), ("length", "<u4"), ("value", form)]))
            value["kind"], value["length"] = kind.value, value.dtype["value"].itemsize
            value["value"] = column.cast(storage).to_numpy(zero_copy_only=False)
            pieces.append(_fixed(value))
        elif kind == ValueType.STRING:
            text = column.cast(pa.string()).cast(pa.binary())
            head = np.empty(len(column), np.dtype([("kind", "<u4"), ("length", "<u4")]))
            head["kind"] = kind.value
            head["length"] = pc.binary_length(text).to_numpy(zero_copy_only=False)
            pieces += [_fixed(head), text]
        else:
            raise DataError(f"{names[position]} is a {kind.name} key", fix="Keys are integers or text")
    if not columns:
        raise DataError("a view without entity has no keys to encode")
    return _with_length(pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.binary())))


def values(column: pa.Array, kind: ValueType) -> pa.Array:
    """Values as serialised protobuf messages, each with its length before it; null is an empty message."""
    if kind in FIXED:
        storage, form, tag = FIXED[kind]
        rows = np.empty(len(column), np.dtype([("length", ">i4"), ("tag", "u1"), ("value", form)]))
        rows["length"], rows["tag"] = rows.dtype.itemsize - 4, tag
        rows["value"] = column.cast(storage).fill_null(0).to_numpy(zero_copy_only=False)
        return _null_is_empty(_fixed(rows), column)
    if kind in VARINT:
        storage, tag = VARINT[kind]
        # Negative numbers are written as 64 bits, whatever the kind.
        whole = column.cast(storage).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        number, used = _varints(whole.view(np.uint64))
        head = np.empty((len(column), 5), np.uint8)
        head[:, :4] = (used + 1).astype(">i4").view(np.uint8).reshape(-1, 4)
        head[:, 4] = tag
        return _null_is_empty(_ragged(np.hstack([head, number]), used + 5), column)
    if kind == ValueType.STRING:
        text = column.cast(pa.string()).cast(pa.binary()).fill_null(b"")
        number, used = _varints(pc.binary_length(text).to_numpy(zero_copy_only=False).astype(np.uint64))
        head = np.hstack([np.full((len(column), 1), STRING_TAG, np.uint8), number])
        message = pc.binary_join_element_wise(_ragged(head, used + 1), text, pa.scalar(b"", pa.binary()))
        return _null_is_empty(_with_length(message), column)
    messages = python_values_to_proto_values(column.to_pylist(), kind)
    return _with_length(pa.array([message.SerializeToString() for message in messages], pa.binary()))


def times(column: pa.Array) -> pa.Array:
    """Times as PostgreSQL's ``timestamptz``, each with its length before it."""
    whole = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    rows = np.empty(len(column), np.dtype([("length", ">i4"), ("value", ">i8")]))
    rows["length"] = 8
    rows["value"] = whole.fill_null(0).to_numpy(zero_copy_only=False) - POSTGRES_EPOCH
    return _or_else(_fixed(rows), column, NULL)


def no_times(rows: int) -> pa.Array:
    """As many nulls."""
    return pa.repeat(pa.scalar(NULL, pa.binary()), rows)


def _varints(numbers: npt.NDArray[np.uint64]) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Base-128 form of each number: 10 bytes a row, and how many of them count."""
    shifts = np.arange(0, 70, 7, dtype=np.uint64)
    used = 1 + (numbers[:, None] >= np.uint64(1) << shifts[1:]).sum(axis=1, dtype=np.int64)
    places = ((numbers[:, None] >> shifts) & np.uint64(0x7F)).astype(np.uint8)
    places[np.arange(10) < (used - 1)[:, None]] |= 0x80
    return places, used


def _ragged(matrix: Bytes, used: npt.NDArray[np.int64]) -> pa.Array:
    """The first ``used`` bytes of each row."""
    flat = matrix[np.arange(matrix.shape[1]) < used[:, None]]
    offsets = np.concatenate([[0], np.cumsum(used)]).astype(np.int32)
    return pa.BinaryArray.from_buffers(pa.binary(), len(used), [None, pa.py_buffer(offsets), pa.py_buffer(flat)])


def _fixed(rows: npt.NDArray[Any]) -> pa.Array:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.dtype.itemsize)
    return pa.BinaryArray.from_buffers(pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(rows)])


def _with_length(fields: pa.Array) -> pa.Array:
    length = pc.binary_length(fields).to_numpy(zero_copy_only=False).astype(np.dtype(">i4"))
    head = np.empty(len(fields), np.dtype([("length", ">i4")]))
    head["length"] = length
    return pc.binary_join_element_wise(_fixed(head), fields, pa.scalar(b"", pa.binary()))


def _null_is_empty(fields: pa.Array, column: pa.Array) -> pa.Array:
    return _or_else(fields, column, struct.pack(">i", 0))


def _or_else(fields: pa.Array, column: pa.Array, other: bytes) -> pa.Array:
    if not column.null_count:
        return fields
    return pc.if_else(column.is_null(), pa.scalar(other, pa.binary()), fields)
