"""Safetensors: a length, a header in JSON, and the arrays one behind the other."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from convzoo.pretrained.readers.content import (
    Content,
    Stored,
    UnreadableError,
    mapped,
)

_LENGTH = 8  # bytes of the header's length
# The format allows 100 MB, of which Python would make gigabytes.
_LONGEST = 8 << 20
_PARTS = 250_000  # a tensor has about ten
_MOST = 1 << 40  # elements of a tensor
_RANK = 32  # dimensions of an array in NumPy 1

_DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(dtype)
    for name, dtype in {
        "F64": "<f8",
        "F32": "<f4",
        "F16": "<f2",
        "BF16": ml_dtypes.bfloat16,
        "I64": "<i8",
        "I32": "<i4",
        "I16": "<i2",
        "I8": "i1",
        "U64": "<u8",
        "U32": "<u4",
        "U16": "<u2",
        "U8": "u1",
        "BOOL": "?",
    }.items()
}


def read(path: Path) -> Content:
    """Read a safetensors file; the arrays stay on disk until they are asked for.

    Raises:
        UnreadableError: If it breaks a rule of the format or has 8-bit floats.
    """
    header, start = _header(path)
    texts = _texts(header.pop("__metadata__", {}))
    tensors: dict[str, Stored] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(name, entry)
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise UnreadableError(
                f"{end - begin} bytes for {_brief(name)} of shape {shape} and "
                f"{dtype.name}"
            )
        spans.append((begin, end))
        tensors[name] = mapped(path, start + begin, shape, dtype)
    _check_cover(spans, path.stat().st_size - start)
    return Content(tensors, "safetensors", texts)


def metadata(path: Path) -> dict[str, str]:
    """Return the texts that the header of a safetensors file holds; reads no arrays.

    Raises:
        UnreadableError: If there is no such header.
    """
    header, _ = _header(path)
    return _texts(header.get("__metadata__", {}))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header and where the arrays begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if length > min(size - _LENGTH, _LONGEST):
            raise UnreadableError(
                f"a safetensors file of {size} bytes with a header of {length}"
            )
        text = file.read(length)
    if sum(map(text.count, (b"[", b"{", b",", b":"))) > _PARTS:
        raise UnreadableError(f"a safetensors header of more than {_PARTS} parts")
    try:
        header = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"a damaged safetensors header ({error})") from error
    if not isinstance(header, dict):
        raise UnreadableError("a safetensors header that is no object")
    return header, _LENGTH + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableError("a safetensors header with a key twice")
    return found


def _texts(texts: Any) -> dict[str, str]:
    if not isinstance(texts, dict) or not all(
        isinstance(text, str) for text in texts.values()
    ):
        raise UnreadableError("a safetensors file whose metadata are no texts")
    return texts


def _entry(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    """Return a tensor's dtype, shape, begin and end."""
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [begin, end]}:
            pass
        case _:
            raise UnreadableError(
                f"a safetensors header without form of {_brief(name)}"
            )
    if kind not in _DTYPES:
        raise UnreadableError(
            f"a tensor of dtype {_brief(kind)} (convert it to one of "
            f"{', '.join(_DTYPES)})"
        )
    if (
        not all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        or len(shape) > _RANK
        or math.prod(max(side, 1) for side in shape) > _MOST
    ):
        raise UnreadableError(f"a tensor {_brief(name)} of impossible form")
    return _DTYPES[kind], tuple(shape), begin, end


def _check_cover(spans: list[tuple[int, int]], size: int) -> None:
    """Demand that the arrays lie end to end and fill the file."""
    last = 0
    for begin, end in sorted(spans):
        if begin != last:
            raise UnreadableError("a safetensors file with holes or shared bytes")
        last = end
    if last != size:
        raise UnreadableError(
            f"a safetensors file with {size} bytes of arrays in place of {last}"
        )


def _brief(word: str) -> str:
    return ascii(word[:80])
