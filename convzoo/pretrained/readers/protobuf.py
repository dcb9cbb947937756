"""Walk protocol buffers in wire format; no length is trusted, nothing is copied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from convzoo.pretrained.readers.content import UnreadableError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST = 10  # bytes of a varint


class Field(NamedTuple):
    """A field of a message, which lies at ``start`` to ``stop`` of the buffer.

    Neighbours of a fixed size and one number are one field that repeats, in which a
    byte, the tag, lies before each value.
    """

    number: int
    wire: int  # VARINT, FIXED64, BYTES or FIXED32
    start: int
    stop: int
    value: int = 0  # of a varint
    repeats: int = 1


class Wire:
    """A buffer of messages, of which so many fields are read at most.

    The limit bounds the time and memory that a file without sense may cost.
    """

    def __init__(self, data: memoryview, most: int) -> None:
        self.data = data
        self._most = most
        self._left = most

    def fields(self, start: int, stop: int) -> Iterator[Field]:
        """Yield the fields of the message that lies at ``start`` to ``stop``.

        Messages inside it are not entered, so nesting costs nothing.

        Raises:
            UnreadableError: If the bytes are no message, or the limit is reached.
        """
        while start < stop:
            if not self._left:
                raise UnreadableError(f"protocol buffers of over {self._most} fields")
            self._left -= 1
            field = self._field(start, stop)
            yield field
            start = field.stop

    def _field(self, begin: int, stop: int) -> Field:
        tag, start = varint(self.data, begin, stop)
        number, wire = tag >> 3, tag & 7
        value, repeats = 0, 1
        if wire == VARINT:
            value, end = varint(self.data, start, stop)
        elif wire == BYTES:
            size, start = varint(self.data, start, stop)
            end = start + size
        elif wire in _SIZES:
            step = 1 + _SIZES[wire]
            if start == begin + 1:
                repeats = self._alike(begin, step, stop)
            end = start + repeats * step - 1
        else:
            raise _damaged(f"field {number} has the unknown wire type {wire}")
        if not number:
            raise _damaged("a field has the number 0")
        if end > stop:
            raise _damaged(f"{end - start} bytes, where {stop - start} are left")
        return Field(number, wire, start, end, value, repeats)

    def _alike(self, begin: int, step: int, stop: int) -> int:
        """Count the fields with one tag, of a byte, in time linear in their number."""
        count, most = 1, (stop - begin) // step
        while count < most:
            ahead = min(count, most - count)
            tags = np.frombuffer(
                self.data, np.uint8, ahead * step, begin + count * step
            )[::step]
            alike = tags == self.data[begin]
            if not alike.all():
                return count + int(alike.argmin())
            count += ahead
        return count


def varint(data: memoryview, start: int, stop: int) -> tuple[int, int]:
    """Return the number that begins at ``start``, and where it ends.

    Raises:
        UnreadableError: If it is longer than 64 bits or goes on past ``stop``.
    """
    value = shift = 0
    for position in range(start, min(start + _LONGEST, stop)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + 1
    raise _damaged("a number that does not end, or has over 64 bits")


def signed(value: int) -> int:
    """Return a varint's value as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def _damaged(reason: str) -> UnreadableError:
    return UnreadableError(f"a damaged protocol buffer ({reason})")
