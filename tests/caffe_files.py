"""Write Caffe's binary networks by hand: the same bytes for the same arrays."""

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(value):
    """Return a number as protocol buffers write it; a negative one as an int64."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def tag(number, wire):
    return varint(number << 3 | wire)


def message(number, *parts):
    """Return a field of bytes: a text or a message."""
    return b"".join([tag(number, BYTES), varint(sum(map(len, parts))), *parts])


def number(number, value):
    return tag(number, VARINT) + varint(value)


def save_caffemodel(path, layers, v1=False, packed=True, legacy_shape=False):
    """Write ``{layer: [arrays]}`` as Caffe does, doubles as doubles.

    Args:
        path: File to write.
        layers: Layers in their order, each with its blobs.
        v1: Write ``layers``, as Caffe did until 2014, for ``layer``.
        packed: Write a blob's values as one field; else each is one.
        legacy_shape: Write the shape as num, channels, height and width.
    """
    field, name_field, blob_field = (2, 4, 6) if v1 else (100, 1, 7)
    with path.open("wb") as file:
        file.write(message(1, b"net"))
        for name, arrays in layers.items():
            title = message(name_field, name.encode())
            blobs = [_blob(array, packed, legacy_shape) for array in arrays]
            starts = [
                tag(blob_field, BYTES) + varint(len(head) + values.nbytes) + head
                for head, values in blobs
            ]
            sizes = [values.nbytes for _, values in blobs]
            file.write(tag(field, BYTES))
            file.write(varint(len(title) + sum(map(len, starts)) + sum(sizes)))
            file.write(title)
            for start, (_, values) in zip(starts, blobs, strict=True):
                file.write(start)
                file.write(values.data)
    return path


def _blob(array, packed, legacy_shape):
    """Return a blob's first bytes, and its values as they follow."""
    double = array.dtype == np.float64
    field, kind = (8, "<f8") if double else (5, "<f4")
    values = np.ascontiguousarray(array, kind).reshape(-1)
    if legacy_shape:
        sides = (1,) * (4 - array.ndim) + array.shape
        head = b"".join(number(i, side) for i, side in enumerate(sides, 1))
    else:
        head = message(7, message(1, *map(varint, array.shape)))
    if packed:
        return head + tag(field, BYTES) + varint(values.nbytes), values.view("u1")
    start = tag(field, FIXED64 if double else FIXED32)
    fields = np.empty(values.size, [("tag", "u1"), ("value", kind)])
    fields["tag"], fields["value"] = start[0], values
    return head, fields.view("u1")
