"""Read TensorFlow's checkpoints, such as Keras 2 wrote, without TensorFlow.

``<prefix>.index`` is a sorted table in LevelDB's format: of each variable its type,
shape and place in ``<prefix>.data-00000-of-00001``, a "tensor bundle". Source:
``tensorflow/core/util/tensor_bundle`` and ``tsl/lib/io/table*``.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np
import numpy.typing as npt

from convzoo.pretrained.readers.content import (
    Content,
    Stored,
    UnreadableError,
    mapped,
)
from convzoo.pretrained.readers.protobuf import (
    BYTES,
    VARINT,
    Field,
    Wire,
    signed,
    varint,
)

MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # the last bytes of an index

_FOOTER = 48
_TRAILER = struct.Struct("<BI")  # of a block: compression, masked checksum
_COMPRESSIONS = {1: "snappy"}

# tensorflow/core/framework/types.proto
_DTYPES: dict[int, npt.DTypeLike] = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    10: "?",
    14: ml_dtypes.bfloat16,
    17: "<u2",
    19: "<f2",
    22: "<u4",
    23: "<u8",
}
_STRING = 7

# How a checkpoint of objects names them: TensorFlow's `trackable_utils.py`.
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = ".OPTIMIZER_SLOT"
_OTHERS = frozenset({_SLOT, "optimizer", "save_counter", "keras_api"})
_ESCAPES = {"..": ".", ".S": "/"}
_ESCAPED = re.compile(r"\.[.S]")
_LAYER = re.compile(r"layer_with_weights-([0-9]{1,9})")

# Far above any network: small files must not become many or long Python objects.
_LARGEST_INDEX = 1 << 22  # bytes
_MOST_NAMES = 1 << 15
_MOST_FIELDS = 1 << 19
_LONGEST_NAME = 1 << 10
_MOST_AXES = 32


class _Entry(NamedTuple):
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def prefix_of(path: Path) -> Path | None:
    """Return a checkpoint's prefix, given that, its index or one of its data files.

    Returns:
        None if there is no such checkpoint.
    """
    prefix = _prefix(path)
    return prefix if Path(f"{prefix}.index").is_file() else None


def read(path: Path) -> Content:
    """Read a checkpoint's variables by its ``.index``.

    Of a checkpoint of objects, which Keras 2 writes, the names are paths such as
    ``layer_with_weights-0/kernel``, by number of the layer; what belongs to an
    optimizer or counts the training is left out. Older ones keep their names and order.

    Raises:
        UnreadableError: If the file is no index, or its variables cannot be read.
        FileNotFoundError: If a data file is missing.
    """
    size = path.stat().st_size
    if size > _LARGEST_INDEX:
        raise UnreadableError(f"an index of {size} bytes, over {_LARGEST_INDEX}")
    index = memoryview(path.read_bytes())
    wire = Wire(index, _MOST_FIELDS)
    table = _table(index)
    shards = _shards(wire, next(table, None))
    entries = {
        (name := _text(key)): _entry(wire, start, stop, name)
        for key, start, stop in table
    }
    variables = {
        name: entry
        for name, entry in _of_model(entries).items()
        if entry.dtype != _STRING
    }
    if not variables:
        raise UnreadableError("a TensorFlow checkpoint without variables")
    files = {
        shard: _data_file(path, shard, shards)
        for shard in sorted({entry.shard for entry in variables.values()})
    }
    tensors = {
        name: _stored(files[entry.shard], entry, name)
        for name, entry in variables.items()
    }
    held = sum(file.stat().st_size for file in files.values())
    if sum(tensor.nbytes for tensor in tensors.values()) > held:
        raise UnreadableError("a TensorFlow checkpoint whose variables overlap")
    return Content(tensors, "TensorFlow checkpoint")


def crc32c(data: memoryview | bytes) -> int:
    """Return the Castagnoli checksum, which ``zlib`` lacks."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum as LevelDB stores it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = tuple(_crc_of(byte) for byte in range(256))


def _prefix(path: Path) -> Path:
    part = r"(?<=[^/\\])\.(index|data-[0-9]{5}-of-[0-9]{5})$"
    return Path(re.sub(part, "", str(path)))


def _data_file(index: Path, shard: int, shards: int) -> Path:
    if shard >= shards:
        raise _damaged(f"data file {shard} of {shards}")
    file = Path(f"{_prefix(index)}.data-{shard:05d}-of-{shards:05d}")
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no file {file}, where {index} has its values: put it there."
        )
    return file


def _table(index: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Yield the keys of a table, ascending, and where their values lie."""
    if len(index) < _FOOTER or index[-len(MAGIC) :] != MAGIC:
        raise UnreadableError("no index of a TensorFlow checkpoint (its end differs)")
    footer = len(index) - _FOOTER
    # Two handles: of what other tables filter by, and of the block of blocks.
    _, _, position = _handle(index, footer, len(index))
    root, size, _ = _handle(index, position, len(index))
    last, end, number = None, 0, 0
    for _, handle, limit in _block(index, root, size, footer):
        number += 1  # a block counts as well: it may be empty
        offset, size, _ = _handle(index, handle, limit)
        if offset < end:
            raise _damaged("its blocks overlap")
        end = offset + size
        for key, start, stop in _block(index, offset, size, root):
            number += 1
            if number > _MOST_NAMES:
                raise UnreadableError(f"an index of over {_MOST_NAMES} names")
            if last is not None and key <= last:
                raise _damaged("its names are not in order")
            yield key, start, stop
            last = key


def _handle(index: memoryview, start: int, stop: int) -> tuple[int, int, int]:
    """Return a block's offset and size, and where its handle ends."""
    offset, start = varint(index, start, stop)
    size, start = varint(index, start, stop)
    return offset, size, start


def _block(
    index: memoryview, start: int, size: int, limit: int
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the keys of one block and where their values lie."""
    stop = start + size
    if size < 4 or stop + _TRAILER.size > limit:
        raise _damaged(f"a block of {size} bytes at {start}, where {limit} is the end")
    compression, checksum = _TRAILER.unpack_from(index, stop)
    if masked(crc32c(index[start : stop + 1])) != checksum:
        raise _damaged(f"the block at {start} has another checksum")
    if compression:
        name = _COMPRESSIONS.get(compression, f"method {compression}")
        raise UnreadableError(f"a TensorFlow checkpoint with an index packed by {name}")
    (number,) = struct.unpack_from("<I", index, stop - 4)
    end = stop - 4 - 4 * number
    if end < start:
        raise _damaged(f"a block claims {number} restarts")
    whole = set()  # where keys stand in full, as they do at each restart
    position, key = start, b""
    while position < end:
        entry = position
        shared, position = varint(index, position, end)
        unshared, position = varint(index, position, end)
        length, position = varint(index, position, end)
        value = position + unshared
        if shared > len(key) or value + length > end:
            raise _damaged(f"the entry at {entry} goes past its block")
        if shared + unshared > _LONGEST_NAME:
            raise UnreadableError(f"an index with a name of over {_LONGEST_NAME} bytes")
        if not shared:
            whole.add(entry - start)
        key = key[:shared] + bytes(index[position:value])
        position = value + length
        yield key, value, position
    restarts = struct.iter_unpack("<I", index[end : stop - 4])
    if any(restart not in whole for (restart,) in restarts):
        raise _damaged("a block restarts within an entry")


def _shards(wire: Wire, header: tuple[bytes, int, int] | None) -> int:
    """Return the number of data files, which the header tells, under no name."""
    if header is None or header[0]:
        raise _damaged("it has no header")
    found = {
        field.number: field.value
        for field in wire.fields(*header[1:])
        if field.wire == VARINT
    }
    if found.get(2):
        raise UnreadableError("a TensorFlow checkpoint of a big-endian machine")
    return found.get(1, 0)


def _entry(wire: Wire, start: int, stop: int, name: str) -> _Entry:
    shape: list[int] = []
    numbers: dict[int, int] = {}
    for field in wire.fields(start, stop):
        if field.wire == VARINT:
            numbers[field.number] = field.value
        elif field.wire == BYTES and field.number == 2:
            shape += _sides(wire, field)
        elif field.number == 7:
            raise UnreadableError(f"{name!r} in parts, a partitioned variable")
    if len(shape) > _MOST_AXES:
        raise UnreadableError(f"a variable {name!r} of over {_MOST_AXES} axes")
    dtype, shard, offset, size = (numbers.get(number, 0) for number in (1, 3, 4, 5))
    return _Entry(dtype, tuple(shape), shard, signed(offset), size)


def _sides(wire: Wire, shape: Field) -> Iterator[int]:
    for axis in wire.fields(shape.start, shape.stop):
        if axis.number == 2 and axis.wire == BYTES:
            sides = (
                signed(field.value)
                for field in wire.fields(axis.start, axis.stop)
                if field.number == 1 and field.wire == VARINT
            )
            yield next(sides, 0)


def _text(key: bytes) -> str:
    if key.startswith(b"\0"):  # an encoded name with its part
        raise UnreadableError("a TensorFlow checkpoint with partitioned variables")
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise _damaged("a name is not UTF-8") from None


def _of_model(entries: dict[str, _Entry]) -> dict[str, _Entry]:
    """Return the variables that a model has, in the order of its layers."""
    if _OBJECTS not in entries:
        return entries
    found: dict[str, _Entry] = {}
    for key, entry in entries.items():
        path = key.removesuffix(_VARIABLE).split("/")
        if key.endswith(_VARIABLE) and _OTHERS.isdisjoint(path):
            name = "/".join(map(_unescaped, path))
            if name in found:
                raise _damaged(f"two variables {name!r}")
            found[name] = entry
    return dict(sorted(found.items(), key=lambda item: _layer_numbers(item[0])))


def _unescaped(part: str) -> str:
    return _ESCAPED.sub(lambda escape: _ESCAPES[escape[0]], part)


def _layer_numbers(name: str) -> list[int]:
    """Return the places of a layer in its model, and in models inside that."""
    return [int(number) for number in _LAYER.findall(name)]


def _stored(file: Path, entry: _Entry, name: str) -> Stored:
    if entry.dtype not in _DTYPES:
        raise UnreadableError(
            f"a variable {name!r} of TensorFlow's type {entry.dtype}, not of numbers"
        )
    dtype = np.dtype(_DTYPES[entry.dtype])
    size = math.prod(entry.shape) * dtype.itemsize
    if min(entry.shape, default=1) < 1 or size != entry.size:
        raise UnreadableError(
            f"a variable {name!r} of shape {entry.shape} and {entry.size} bytes"
        )
    # The checksum of the data is left: in Python it would take a minute a network.
    return mapped(file, entry.offset, entry.shape, dtype)


def _damaged(reason: str) -> UnreadableError:
    return UnreadableError(f"a damaged TensorFlow index ({reason})")
