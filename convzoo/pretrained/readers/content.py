"""What every reader of a weight file gives: arrays that still lie in their file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class UnreadableError(Exception):
    """Says what was found in place of weights, to follow "found"."""


class Stored(NamedTuple):
    """An array known by its form; ``read`` brings its values, each time anew."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """Size of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Content(NamedTuple):
    """A file's arrays under the names that the file gives them, in its order."""

    tensors: Mapping[str, Stored]
    format: str
    header: Mapping[str, Any] = MappingProxyType({})  # what else the file says


def stored(array: Array) -> Stored:
    """Return an array that is in memory already."""
    return Stored(array.shape, array.dtype, lambda: array)


def mapped(
    path: Path, offset: int, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> Stored:
    """Return an array that lies in a file in C order, mapped when it is read.

    Raises:
        UnreadableError: If it does not lie within the file.
    """
    kind, stamp = np.dtype(dtype), _stamp(path.stat())
    array = Stored(shape, kind, lambda: _map(path, stamp, offset, shape, kind))
    size = stamp[2]
    if min(shape, default=0) < 0 or offset < 0 or offset + array.nbytes > size:
        raise UnreadableError(
            f"an array of shape {shape} at byte {offset}, past the end of the file's "
            f"{size} bytes"
        )
    return array


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _map(
    path: Path,
    stamp: tuple[int, int, int, int],
    offset: int,
    shape: tuple[int, ...],
    kind: np.dtype[Any],
) -> Array:
    if 0 in shape:
        return np.empty(shape, kind)  # nothing to map
    with path.open("rb") as file:
        if _stamp(os.fstat(file.fileno())) != stamp:
            raise UnreadableError("a file that changed while it was read")
        return np.memmap(file, kind, mode="r", offset=offset, shape=shape)
