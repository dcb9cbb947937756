"""Damage a file: bytes, lengths and whole ranges, half of it where the structure is."""

import re

import numpy as np
from caffe_files import varint
from torch_files import text

NUMBERS = (0, 1, -1, 1 << 31, 1 << 60)
# Code as pickles bear it, where an opcode may stand; ways out of a folder.
HOSTILE = (
    b"cos\nsystem\n(" + text("touch convzoo-was-here") + b"tR0",
    b"cbuiltins\nexec\n(" + text("open('convzoo-was-here', 'w')") + b"tR0",
    b"../../convzoo-was-here",
)


def structure(data, arrays):
    """Return where the bytes lie that are no values of arrays, and not nought."""
    told = np.frombuffer(data, np.uint8) != 0
    for array in arrays:
        values = array.tobytes()
        start = data.find(values)
        if start >= 0:
            told[start : start + len(values)] = False
    return np.flatnonzero(told).tolist() or [0]


def mutated(data, spots, chance):
    """Return the data with some damages."""
    data = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        anywhere = chance.randrange(len(data) + 1)
        at = chance.choice((min(chance.choice(spots), len(data)), anywhere))
        chance.choice(DAMAGES)(data, at, chance)
    return bytes(data)


def _flip(data, at, chance):
    data[at : at + 1] = bytes(byte ^ 1 << chance.randrange(8) for byte in data[at:][:1])


def _byte(data, at, chance):
    data[at : at + 1] = bytes([chance.choice((0, 255, chance.randrange(256)))])


def _number(data, at, chance):
    """Put another length in the place of one, in either order of bytes."""
    size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    number = chance.choice(NUMBERS) % (1 << 8 * size)
    data[at : at + size] = number.to_bytes(size, order)


def _less_or_more(data, at, chance):
    size = chance.choice((1, 2, 4, 8))
    number = int.from_bytes(data[at : at + size], "little")
    number += chance.choice((-1, 1, 8, 1 << 16))
    data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size, "little")


def _varint(data, at, chance):
    data[at : at + 1] = varint(chance.choice(NUMBERS))


def _digits(data, at, chance):
    """Put another number in the place of the next one in a text."""
    found = re.compile(rb"\d+").search(data, at, at + 200)
    if found:
        numbers = (*NUMBERS, "1e999", "9" * 5000, "null", "[[1]]")
        data[slice(*found.span())] = str(chance.choice(numbers)).encode()


def _cleared(data, at, chance):
    end = min(at + chance.choice((4, 16, 300)), len(data))
    data[at:end] = bytes(end - at)


def _cut(data, at, _):
    del data[at:]


def _without(data, at, chance):
    del data[at : at + chance.choice((1, 2, 8, 100))]


def _with(data, at, chance):
    data[at:at] = chance.randbytes(chance.choice((1, 2, 8, 100)))


def _hostile(data, at, chance):
    data[at:at] = chance.choice(HOSTILE)


def _copied(data, at, chance):
    """Copy a block to another place: over what is there, or between."""
    start, size = chance.randrange(len(data) + 1), chance.choice((1, 4, 8, 46, 300))
    block = data[start : start + size]
    data[at : at + chance.choice((0, len(block)))] = block


DAMAGES = (
    *(_flip, _byte, _number, _less_or_more) * 3,
    *(_varint, _digits, _cleared, _without, _with, _hostile, _copied) * 2,
    _cut,
)
