"""Protocol buffers on the wire, as far as Caffe's files need them; no schema, no recursion.

A message is a row of fields, each a number with a value of one of four kinds. What a value
means is for the caller to say; a message inside a message is bytes until somebody asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

MOST_FIELDS = 1_000_000  # of one message: no file of Caffe comes near, and time stays bounded
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_FIRST_ROWS = 64


class WireError(ValueError):
    """Bytes that are no protocol buffer, or are cut."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `value` is the number of a VARINT (unsigned), else the bytes.

    FIXED32 and FIXED64 fields of one number in a row come as one, their bytes joined: that
    is how an unpacked repeated float lies there, millions in a row.
    """

    number: int
    kind: int
    value: int | memoryview

    def bytes(self) -> memoryview:
        """The value of a BYTES or fixed field. Raises WireError for a VARINT."""
        if isinstance(self.value, int):
            raise WireError(f"field {self.number} is a number where bytes are expected")
        return self.value

    def message(self) -> memoryview:
        """The value of a BYTES field. Raises WireError for any other kind."""
        if self.kind != BYTES:
            raise WireError(f"field {self.number} is of kind {self.kind} and no message")
        return self.bytes()

    def text(self) -> str:
        """The value of a BYTES field as text; what is no UTF-8 is replaced."""
        return str(self.message(), "utf-8", "replace")


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message in their order. Raises WireError."""
    place = 0
    for _ in range(MOST_FIELDS):
        if place == len(message):
            return
        start = place
        tag, place = varint(message, place)
        number, kind = tag >> 3, tag & 7
        if not 1 <= number < 1 << 29:
            raise WireError(f"a field has the impossible number {number}")
        if kind == VARINT:
            value, place = varint(message, place)
            yield Field(number, kind, value)
        elif kind == BYTES:
            size, place = varint(message, place)
            if size > len(message) - place:
                raise WireError(
                    f"field {number} claims {size} bytes, and {len(message) - place} are left"
                )
            yield Field(number, kind, message[place : place + size])
            place += size
        elif kind in _WIDTHS:
            values, place = _fixed_run(message, start, place, _WIDTHS[kind])
            yield Field(number, kind, values)
        else:
            raise WireError(f"field {number} is of the unknown kind {kind}")
    if place != len(message):
        raise WireError(f"a message has more than {MOST_FIELDS:,} fields")


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """The number that begins at `place`, below 2**64, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place == len(message):
            raise WireError("it ends in the middle of a number")
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (1 << 64) - 1, place
    raise WireError("a number has more than 10 bytes")


def varints(message: memoryview) -> list[int]:
    """Packed numbers. Raises WireError."""
    numbers, place = [], 0
    while place < len(message):
        number, place = varint(message, place)
        numbers.append(number)
    return numbers


def _fixed_run(message: memoryview, start: int, place: int, width: int) -> tuple[memoryview, int]:
    """The joined values of the fields with the same tag from `start` on, and the place behind."""
    tag = message[start:place].tobytes()
    row = len(tag) + width
    most = (len(message) - start) // row
    if most == 0:
        raise WireError("it ends in the middle of a value")
    rows = np.frombuffer(message, np.uint8, most * row, start).reshape(most, row)
    count = _equal_rows(rows[:, : len(tag)], np.frombuffer(tag, np.uint8))
    values = np.ascontiguousarray(rows[:count, len(tag) :])
    return values.reshape(-1).data, start + count * row


def _equal_rows(rows: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> int:
    """How many rows equal `wanted` before the first that does not."""
    done, step = 0, _FIRST_ROWS
    while done < len(rows):
        same = (rows[done : done + step] == wanted).all(1)
        if not same.all():
            return done + int(same.argmin())
        done, step = done + len(same), step * 2
    return done
