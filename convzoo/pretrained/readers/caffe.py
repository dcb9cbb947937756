"""Read Caffe's binary networks, ``.caffemodel``, without Caffe.

A protocol buffer ``NetParameter``: layers with a name and blobs, a blob with a shape
and floats. https://github.com/BVLC/caffe, ``src/caffe/proto/caffe.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convzoo.pretrained.readers.content import (
    Array,
    Content,
    Stored,
    UnreadableError,
    mapped,
)
from convzoo.pretrained.readers.protobuf import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    Field,
    Wire,
    signed,
    varint,
)


class _Numbers(NamedTuple):
    """Where a layer has its parts."""

    name: int
    blobs: int


class _Values(NamedTuple):
    """How a blob has its values: packed, or one a field of this wire type."""

    number: int
    dtype: np.dtype[Any]
    wire: int


# The layers of a network by field: `layer`, and `layers` of Caffe's version 1.
_LAYERS = {100: _Numbers(name=1, blobs=7), 2: _Numbers(name=4, blobs=6)}
_SHAPE, _DIM = 7, 1
_LEGACY_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
_FLOATS = _Values(5, np.dtype("<f4"), FIXED32)
_DOUBLES = _Values(8, np.dtype("<f8"), FIXED64)
_STARTS = (
    b"\x0a",  # the network's name
    b"\x12",  # layers
    b"\x1a",  # input
    b"\xa2\x06",  # layer
)

# Far above any network: small files must not become many Python objects.
_MOST_FIELDS = 1 << 17
_LONGEST_NAME = 1 << 8
_MOST_AXES = 32  # as in Caffe


def looks_like(start: bytes) -> bool:
    """Say whether a file that begins so may be Caffe's, which has no signature.

    Other files begin so too: ask for every other format first.
    """
    return start.startswith(_STARTS)


def read(path: Path) -> Content:
    """Read a network's weights as ``<layer>/<index of the blob>``, in file order.

    The header's ``order`` has the names of all layers, those without weights too.

    Raises:
        UnreadableError: If the file is no network of Caffe with weights.
    """
    if not path.stat().st_size:
        raise UnreadableError("an empty file")
    data = np.memmap(path, np.uint8, mode="r").data
    wire = Wire(data, _MOST_FIELDS)
    tensors: dict[str, Stored] = {}
    names: list[str] = []
    for layer in wire.fields(0, len(data)):
        if layer.wire == BYTES and layer.number in _LAYERS:
            name, blobs = _parts(wire, layer, _LAYERS[layer.number])
            names.append(name)
            if blobs and f"{name}/0" in tensors:
                raise UnreadableError(f"a Caffe model with two layers {name!r}")
            for index, blob in enumerate(blobs):
                title = f"{name}/{index}"
                tensors[title] = _stored(path, wire, blob, title)
    if not tensors:
        raise UnreadableError("no Caffe model (not one layer with weights)")
    return Content(tensors, "caffemodel", {"order": names})


def _parts(wire: Wire, layer: Field, numbers: _Numbers) -> tuple[str, list[Field]]:
    name = ""
    blobs: list[Field] = []
    for field in wire.fields(layer.start, layer.stop):
        if field.wire == BYTES and field.number == numbers.name:
            name = _text(wire.data, field)
        elif field.wire == BYTES and field.number == numbers.blobs:
            blobs.append(field)
    if blobs and not name:
        raise UnreadableError("a Caffe model whose layers with weights have no names")
    return name, blobs


def _text(data: memoryview, field: Field) -> str:
    size = field.stop - field.start
    if size > _LONGEST_NAME:
        raise UnreadableError(f"a Caffe model with a layer's name of {size} bytes")
    try:
        return str(data[field.start : field.stop], "utf-8")
    except UnicodeDecodeError:
        raise UnreadableError("a Caffe model with names that are not UTF-8") from None


def _stored(path: Path, wire: Wire, blob: Field, title: str) -> Stored:
    fields = list(wire.fields(blob.start, blob.stop))
    # Caffe reads the doubles where a blob has them.
    values = _DOUBLES if _pieces(fields, _DOUBLES) else _FLOATS
    pieces = _pieces(fields, values)
    held = sum(_size(piece, values) for piece in pieces)
    shape = _shape(wire, fields)
    if min(shape, default=1) < 1 or math.prod(shape) != held:
        raise UnreadableError(
            f"a Caffe blob {title!r} of shape {shape} that holds {held} values"
        )
    if len(pieces) == 1 and pieces[0].wire == BYTES:
        return mapped(path, pieces[0].start, shape, values.dtype)
    return Stored(
        shape,
        values.dtype,
        lambda: np.concatenate(
            [_array(wire.data, piece, values) for piece in pieces]
        ).reshape(shape),
    )


def _pieces(fields: list[Field], values: _Values) -> list[Field]:
    return [
        field
        for field in fields
        if field.number == values.number and field.wire in (BYTES, values.wire)
    ]


def _size(piece: Field, values: _Values) -> int:
    if piece.wire != BYTES:
        return piece.repeats
    size = piece.stop - piece.start
    if size % values.dtype.itemsize:
        raise UnreadableError(f"a Caffe blob with {size} bytes of floats")
    return size // values.dtype.itemsize


def _array(data: memoryview, piece: Field, values: _Values) -> Array:
    size = _size(piece, values)
    if piece.wire == BYTES:
        return np.frombuffer(data, values.dtype, size, piece.start)
    tagged = np.dtype([("tag", "u1"), ("value", values.dtype)])
    array: Array = np.frombuffer(data, tagged, size, piece.start - 1)["value"]
    return array


def _shape(wire: Wire, fields: list[Field]) -> tuple[int, ...]:
    """Return the sides of a blob; of an old one always four, as in Caffe."""
    legacy = {
        field.number: signed(field.value)
        for field in fields
        if field.wire == VARINT and field.number in _LEGACY_SHAPE
    }
    if legacy:
        return tuple(legacy.get(number, 0) for number in _LEGACY_SHAPE)
    shape: list[int] = []
    for field in fields:
        if field.wire == BYTES and field.number == _SHAPE:
            for side in _sides(wire, field):
                if len(shape) == _MOST_AXES:
                    raise UnreadableError(f"a Caffe blob of over {_MOST_AXES} axes")
                shape.append(side)
    return tuple(shape)


def _sides(wire: Wire, shape: Field) -> Iterator[int]:
    for field in wire.fields(shape.start, shape.stop):
        if field.number == _DIM and field.wire == VARINT:
            yield signed(field.value)
        elif field.number == _DIM and field.wire == BYTES:
            start = field.start
            while start < field.stop:
                side, start = varint(wire.data, start, field.stop)
                yield signed(side)
