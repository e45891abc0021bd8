"""How large the pages of a Parquet file are, unpacked: what its reader sets memory aside for, whatever its end says.

Each page has a header, and is unpacked to just what that says, or not at all. Read here are the headers alone, by the
Parquet format (parquet.thrift: PageHeader) in Thrift's compact protocol; PyArrow does not show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

import pyarrow.parquet as pq

_FIRST_BYTES, _MOST_BYTES = 256, 1 << 20
"""Of a header: those with the least and the greatest value of a page are the long ones."""
_DEEPEST = 8
_DICTIONARY = 2
_TYPE, _UNPACKED, _PACKED = 1, 2, 3
"""Numbers of the fields of a header: what kind of page, and its sizes."""


class Page(NamedTuple):
    """One page of a column."""

    is_dictionary: bool
    unpacked: int
    """Bytes."""
    header: int
    """Bytes of its header."""


def of_column(file: IO[bytes], column: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """The pages of a column of a row group, in their order.

    Raises:
        ValueError: what is there is no page.
    """
    if not column.num_values:  # then the offsets say nothing
        return
    place, end = column.data_page_offset, 0
    if column.has_dictionary_page and 0 < (first := column.dictionary_page_offset or 0) < place:
        place = first
    end = place + column.total_compressed_size
    while place < end:
        fields, length = _header(file, place)
        if fields.get(_PACKED, -1) < 0 or fields.get(_UNPACKED, -1) < 0:
            raise ValueError("a page without a size")
        yield Page(fields.get(_TYPE) == _DICTIONARY, fields[_UNPACKED], length)
        place += length + fields[_PACKED]


def at_once(file: IO[bytes], metadata: pq.FileMetaData, group: int) -> int:
    """Bytes that a reader of a row group holds at a time: of each column its dictionary, and its largest page.

    Raises:
        ValueError: what is there is no page.
    """
    total = 0
    for n in range(metadata.num_columns):
        dictionary = largest = 0
        for page in of_column(file, metadata.row_group(group).column(n)):
            dictionary += page.unpacked if page.is_dictionary else 0
            largest = max(largest, 0 if page.is_dictionary else page.unpacked)
        total += dictionary + largest
    return total


def _header(file: IO[bytes], place: int) -> tuple[dict[int, int], int]:
    """The numbers among the fields of the header at a place, by field, and its length."""
    size = _FIRST_BYTES
    while size <= _MOST_BYTES:
        file.seek(place)
        data = file.read(size)
        reader = _Compact(data)
        try:
            return reader.struct(), reader.place
        except IndexError:
            if len(data) < size:
                break
        size *= 16
    raise ValueError("a header that does not end")


class _Compact:
    """Reads Thrift's compact protocol. IndexError where the bytes do not suffice."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place = data, 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """The numbers of a struct, by field; what else it has is passed over."""
        if depth > _DEEPEST:
            raise ValueError("too deep")
        found: dict[int, int] = {}
        field = 0
        while first := self._byte():
            field = field + (first >> 4) if first >> 4 else self._number()
            value = self._value(first & 15, depth)
            if value is not None:
                found[field] = value
        return found

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (4, 5, 6):
            return self._number()
        if kind in (3, 7, 8):
            self._pass({3: 1, 7: 8}.get(kind) or self._varint())
        elif kind in (9, 10):
            first = self._byte()
            for _ in range(first >> 4 if first >> 4 < 15 else self._varint()):
                self._item(first & 15, depth)
        elif kind == 11:
            count = self._varint()
            kinds = self._byte() if count else 0
            for _ in range(count):
                self._item(kinds >> 4, depth)
                self._item(kinds & 15, depth)
        elif kind == 12:
            self.struct(depth + 1)
        elif kind not in (1, 2):  # true and false, which a field says by its kind
            raise ValueError("an unknown kind of field")
        return None

    def _item(self, kind: int, depth: int) -> None:
        if kind in (1, 2):
            self._byte()
        else:
            self._value(kind, depth)

    def _byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def _pass(self, count: int) -> None:
        self.place += count
        if self.place > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("a number without an end")

    def _number(self) -> int:
        """Zigzag: the sign is the last bit."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
