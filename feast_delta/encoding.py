"""Feast's stored form of keys, values and times, made column by column, for any online store.

Feast makes a protobuf message for every value, one by one, in Python. Here each column of a batch becomes the bytes
of all its messages at once (numpy, Arrow); what Feast reads back is byte for byte what it would have written.
A kind of value that is not listed here is converted by Feast's own functions.
"""

from __future__ import annotations

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
from google.protobuf.timestamp_pb2 import Timestamp

from feast_delta.errors import DataError

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
TIMESTAMP = pa.timestamp("us", tz="UTC")
SECONDS_TAG, NANOS_TAG = (Timestamp.DESCRIPTOR.fields_by_name[name].number << 3 for name in ("seconds", "nanos"))
KEY_VALUES = {
    ValueType.INT32: (pa.int32(), "<i4"),
    ValueType.INT64: (pa.int64(), "<i8"),
}


def rows(fields: Sequence[pa.Array], head: bytes = b"") -> pa.LargeBinaryArray:
    """Each row as bytes: ``head``, then its fields, each with its length before it (4 bytes, big-endian).

    Args:
        fields: binary columns of one length; a null is the length -1 and no bytes.
    """
    pieces: list[Any] = [pa.scalar(head, pa.large_binary())]
    for field in fields:
        lengths = pc.binary_length(field).fill_null(-1).to_numpy(zero_copy_only=False)
        pieces.append(fixed(lengths.astype(np.dtype(">i4"))).cast(pa.large_binary()))
        pieces.append((field.fill_null(b"") if field.null_count else field).cast(pa.large_binary()))
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))


def content(rows: pa.LargeBinaryArray) -> memoryview:
    """The bytes of all rows, one after the other, without a copy."""
    offsets = np.frombuffer(rows.buffers()[1], np.int64)
    first, last = int(offsets[rows.offset]), int(offsets[rows.offset + len(rows)])
    return memoryview(rows.buffers()[2] or b"")[first:last]


def entity_keys(names: Sequence[str], columns: Sequence[pa.Array], kinds: Sequence[ValueType]) -> pa.Array:
    """Entity keys as Feast serialises them (version 3).

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
            pieces.append(fixed(value))
        elif kind == ValueType.STRING:
            text = column.cast(pa.string()).cast(pa.binary())
            head = np.empty(len(column), np.dtype([("kind", "<u4"), ("length", "<u4")]))
            head["kind"] = kind.value
            head["length"] = pc.binary_length(text).to_numpy(zero_copy_only=False)
            pieces += [fixed(head), text]
        else:
            raise DataError(f"{names[position]} is a {kind.name} key", fix="Keys are integers or text")
    if not columns:
        raise DataError("a view without entity has no keys to encode")
    return pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.binary()))


def values(column: pa.Array, kind: ValueType) -> pa.Array:
    """Values as serialised protobuf messages; null is an empty message."""
    if kind in FIXED:
        storage, form, tag = FIXED[kind]
        numbers = np.empty(len(column), np.dtype([("tag", "u1"), ("value", form)]))
        numbers["tag"] = tag
        numbers["value"] = column.cast(storage).fill_null(0).to_numpy(zero_copy_only=False)
        return _null_is_empty(fixed(numbers), column)
    if kind in VARINT:
        storage, tag = VARINT[kind]
        # Negative numbers are written as 64 bits, whatever the kind.
        whole = column.cast(storage).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return _null_is_empty(_ragged(*_tagged(tag, whole.view(np.uint64))), column)
    if kind == ValueType.STRING:
        text = column.cast(pa.string()).cast(pa.binary()).fill_null(b"")
        lengths = pc.binary_length(text).to_numpy(zero_copy_only=False).astype(np.uint64)
        head = _ragged(*_tagged(STRING_TAG, lengths))
        return _null_is_empty(pc.binary_join_element_wise(head, text, pa.scalar(b"", pa.binary())), column)
    messages = python_values_to_proto_values(column.to_pylist(), kind)
    return pa.array([message.SerializeToString() for message in messages], pa.binary())


def timestamps(column: pa.Array) -> pa.Array:
    """Times as serialised ``google.protobuf.Timestamp`` messages; null is an empty message, as is the epoch."""
    whole = column.cast(TIMESTAMP).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    seconds, micros = np.divmod(whole, 1_000_000)
    parts = []
    for tag, number in ((SECONDS_TAG, seconds), (NANOS_TAG, micros * 1000)):
        bytes_, used = _tagged(tag, number.view(np.uint64))
        parts.append(_ragged(bytes_, np.where(number == 0, 0, used)))  # zero is not written
    return pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))


def fixed(rows: npt.NDArray[Any]) -> pa.Array:
    """Each row of an array of fixed-size items, as its bytes."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.dtype.itemsize)
    return pa.BinaryArray.from_buffers(pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(rows)])


def _tagged(tag: int, numbers: npt.NDArray[np.uint64]) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """A field of varints: 11 bytes a row, and how many of them count."""
    places, used = _varints(numbers)
    return np.hstack([np.full((len(numbers), 1), tag, np.uint8), places]), used + 1


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


def _null_is_empty(messages: pa.Array, column: pa.Array) -> pa.Array:
    if not column.null_count:
        return messages
    return pc.if_else(column.is_null(), pa.scalar(b"", pa.binary()), messages)
