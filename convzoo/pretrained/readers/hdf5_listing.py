"""List the arrays of Keras' HDF5 files; run as a script, serve a parent process.

The HDF5 library crashes or loops on some damaged files, so ``hdf5.py`` runs this in a
child process: a JSON request per line of standard input, a JSON reply per line of
standard output. It imports nothing of convzoo, which would make every start slow.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

try:
    import resource
except ImportError:  # Windows: there only the parent's time limit holds
    resource = None  # type: ignore[assignment]

READY = b"ready\n"
# Arrays may not unpack to more than this many times the file, or this many bytes.
EXPANSION, ROOM = 4, 1 << 26

_TEXT = 1 << 24  # characters in a reply
_ENTRY = 512  # characters that an array counts for, beside its name
_SLAB = 1 << 23  # bytes decoded at once


class RefusedError(Exception):
    """Says what was found in place of weights."""


def answer(
    path: str, spill: str, start: int | None = None, size: int | None = None
) -> dict[str, Any]:
    """List the arrays of an HDF5 file, or say in ``found`` why not.

    Args:
        path: The file.
        spill: A file to write for arrays that do not lie plainly in the first.
        start: Where the HDF5 file begins, if it is a part of ``path``.
        size: How long that part is.

    Returns:
        ``format``, ``header`` and ``arrays``: name, shape, dtype, offset from the start
        and whether this is the offset in ``spill``. Only ``found`` after a refusal.
    """
    try:
        return _listing(path, spill, start, size)
    except RefusedError as error:
        return {"found": str(error)}
    except MemoryError:
        raise
    except Exception as error:  # h5py raises any kind on damaged files
        # A KeyError puts its text in quotes.
        text = str(error.args[0] if isinstance(error, KeyError) else error).strip()
        text = text or type(error).__name__
        return {"found": f"a damaged HDF5 file ({text.splitlines()[0].rstrip('.')})"}


def _listing(
    path: str, spill: str, start: int | None, size: int | None
) -> dict[str, Any]:
    source: Any = path
    with contextlib.ExitStack() as stack:
        if start is None or size is None:
            size = Path(path).stat().st_size
        else:
            source = _Part(stack.enter_context(Path(path).open("rb")), start, size)
        file = stack.enter_context(h5py.File(source, "r"))
        walk = _Walk(size)
        kind, header = walk.file(file)
        unpacked = sum(_claimed(dataset) for dataset in walk.arrays.values())
        if unpacked > max(EXPANSION * size, ROOM):
            raise RefusedError(f"{size} bytes that claim to unpack to {unpacked}")
        decoded = stack.enter_context(Path(spill).open("wb"))
        arrays = [walk.entry(*pair, decoded) for pair in walk.arrays.items()]
    return {"format": kind, "header": header, "arrays": arrays}


class _Part(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}
        self._at = max(base[whence] + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(self._size - self._at, 0)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view)  # type: ignore[attr-defined]
        self._at += count
        return int(count)


class _Walk:
    """Finds the arrays of one file: none outside of it, none twice."""

    def __init__(self, size: int) -> None:
        self.arrays: dict[str, h5py.Dataset] = {}
        self._size = size
        self._text = 0
        self._seen: set[int] = set()

    def file(self, file: h5py.File) -> tuple[str, dict[str, Any]]:
        """Find the arrays; return the format and what else the file says."""
        if (layers := self._texts(file, "layer_names")) is not None:
            return "h5", {"names": self._legacy(file, layers)}
        if _link(file, "model_weights") is not None:
            weights = self._member(file, "model_weights", h5py.Group)
            if (layers := self._texts(weights, "layer_names")) is None:
                raise RefusedError(
                    "an HDF5 file whose model_weights has no layer_names"
                )
            header: dict[str, Any] = {"names": self._legacy(weights, layers)}
            if config := self._texts(file, "model_config"):
                header["model_config"] = config[0]
            return "h5", header
        if _link(file, "layers") is None:
            raise RefusedError("an HDF5 file without weights of Keras")
        names = list(self._layers(self._member(file, "layers", h5py.Group)))
        header = {"names": names}
        if _link(file, "vars") is not None:
            variables = self._member(file, "vars", h5py.Group)
            if name := self._texts(variables, "name"):
                header["model"] = name[0]
        return "weights.h5", header

    def _layers(self, layers: h5py.Group) -> Iterator[str]:
        """Take Keras 3's layers, also of models inside the model; yield their names."""
        self._first(layers)
        for key in layers:
            layer = self._member(layers, key, h5py.Group)
            self._first(layer)
            if _link(layer, "layers") is not None:
                yield from self._layers(self._member(layer, "layers", h5py.Group))
            if _link(layer, "vars") is not None:
                variables = self._member(layer, "vars", h5py.Group)
                name = next(iter(self._texts(variables, "name") or ()), None)
                if name is not None:
                    yield name
                elif len(variables):
                    raise RefusedError(
                        "an HDF5 file of an early Keras 3, without the names of its "
                        "layers (load it and save it with a current Keras)"
                    )
                for position in variables:
                    dataset = self._member(variables, position, h5py.Dataset)
                    self._take(f"{name}/{position}", dataset)

    def _legacy(self, weights: h5py.Group, layers: list[str]) -> dict[str, list[str]]:
        """Take Keras 2's layers in their order; return the weights' own names."""
        names: dict[str, list[str]] = {}
        for layer in layers:
            group = self._member(weights, layer, h5py.Group)
            self._first(group)
            own = self._texts(group, "weight_names")
            if own is None:
                raise RefusedError(
                    f"an HDF5 file whose layer {layer!r} has no weight_names"
                )
            if own:
                names[layer] = own
            for position, name in enumerate(own):
                self._take(
                    f"{layer}/{position}", self._member(group, name, h5py.Dataset)
                )
        return names

    def _take(self, name: str, dataset: h5py.Dataset) -> None:
        if name in self.arrays:
            raise RefusedError("an HDF5 file in which two layers share a name")
        self._first(dataset)
        if dataset.external or dataset.is_virtual:
            raise RefusedError("an HDF5 file with data in other files")
        self._count(len(name.encode()) + _ENTRY)
        self.arrays[name] = dataset

    def _first(self, member: h5py.HLObject) -> None:
        """Refuse what has two places: such links make cycles and endless listings."""
        address = h5py.h5o.get_info(member.id).addr
        if address in self._seen:
            raise RefusedError(
                f"an HDF5 file with two links to what is at {member.name!r}"
            )
        self._seen.add(address)

    def _count(self, characters: int) -> None:
        self._text += characters
        if self._text > _TEXT:
            raise RefusedError("an HDF5 file with too many or too long names")

    def _member(self, group: h5py.Group, path: str | bytes, kind: type) -> Any:
        """Return what lies at a path of this very file."""
        member: Any = group
        if isinstance(path, bytes):  # what h5py gives when it cannot decode
            raise RefusedError("an HDF5 file with names that are no UTF-8")
        for key in filter(None, path.split("/")):
            link = _link(member, key) if isinstance(member, h5py.Group) else None
            if link is None:
                raise RefusedError(f"an HDF5 file without {path!r} in {group.name!r}")
            if link != h5py.h5l.TYPE_HARD:
                raise RefusedError("an HDF5 file with links to other places")
            member = member[key]
        if not isinstance(member, kind):
            raise RefusedError(f"an HDF5 file whose {member.name!r} is misplaced")
        return member

    def _texts(self, owner: h5py.HLObject, name: str) -> list[str] | None:
        """Return a list of texts, which Keras splits when it is too long for HDF5."""
        if name in owner.attrs:
            return self._attribute(owner, name)
        if f"{name}0" not in owner.attrs:
            return None
        parts = (f"{name}{number}" for number in range(len(owner.attrs)))
        present = itertools.takewhile(owner.attrs.__contains__, parts)
        return [text for part in present for text in self._attribute(owner, part)]

    def _attribute(self, owner: h5py.HLObject, name: str) -> list[str]:
        attribute = owner.attrs.get_id(name)
        if 0 in (attribute.shape or ()):
            return []  # Keras stores an empty list as floats
        if (
            h5py.check_string_dtype(attribute.dtype) is None
            or attribute.get_storage_size() > self._size
        ):
            raise RefusedError(f"an HDF5 file whose attribute {name!r} is no text")
        value = owner.attrs[name]
        items = value.ravel().tolist() if isinstance(value, np.ndarray) else [value]
        texts = [item.decode() if isinstance(item, bytes) else item for item in items]
        self._count(sum(len(text.encode()) for text in texts))
        return texts

    def entry(self, name: str, dataset: h5py.Dataset, spill: BinaryIO) -> list[Any]:
        """Describe an array; decode it into ``spill`` unless it can be mapped."""
        kind = dataset.dtype
        # HDF5 has no bfloat16: Keras stores its two bytes as they are, with a note.
        brain = kind.kind == "V" and self._texts(dataset, "dtype") == ["bfloat16"]
        if kind.kind not in "biuf" and not (brain and kind.itemsize == 2):
            raise RefusedError(f"an HDF5 file whose {dataset.name!r} holds no numbers")
        offset = dataset.id.get_offset()
        # The stored type may differ from the one that h5py converts it to.
        plain = (
            offset is not None
            and dataset.id.get_storage_size() == dataset.nbytes
            and dataset.id.get_type() == h5py.h5t.py_create(kind)
        )
        if not plain:
            offset = spill.tell()
            for part in _slabs(dataset):
                spill.write(np.ascontiguousarray(part).data)
        text = "bfloat16" if brain else kind.str
        return [name, list(dataset.shape), text, offset, not plain]


def _link(group: h5py.Group, key: str) -> int | None:
    """Return the type of a link, ``None`` without one; ``in`` would follow it."""
    links, name = group.id.links, key.encode("utf-8", "surrogateescape")
    kind: int | None = links.get_info(name).type if links.exists(name) else None
    return kind


def _claimed(dataset: h5py.Dataset) -> int:
    if dataset.shape is None:
        raise RefusedError(f"an HDF5 file whose {dataset.name!r} is empty")
    # A length counts even beside a length of nought: NumPy has limits there, too.
    lengths = [max(length, 1) for length in dataset.shape]
    return math.prod([*lengths, dataset.dtype.itemsize])


def _slabs(dataset: h5py.Dataset) -> Iterator[Any]:
    """Yield the values piece by piece, each chunk of the file in one piece."""
    if not dataset.shape:
        yield dataset[()]
        return
    row = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    rows = dataset.chunks[0] if dataset.chunks else 1
    rows *= max(_SLAB // max(row * rows, 1), 1)
    for first in range(0, dataset.shape[0], rows):
        yield dataset[first : first + rows]


def _serve() -> None:
    """Answer requests until the parent goes."""
    out = sys.stdout.buffer
    limits = resource.getrlimit(resource.RLIMIT_AS) if resource else None
    if resource:  # a crash is expected here: no core file
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out.write(READY)
    out.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        seconds, memory = request.pop("seconds"), request.pop("memory")
        if hasattr(signal, "alarm"):  # ends a loop even when the parent is gone
            signal.alarm(int(seconds) + 1)
        if limits:
            _limit_memory(memory, *limits)
        try:
            reply = json.dumps(answer(**request))
        except MemoryError:
            found = f"an HDF5 file that takes more than {memory >> 20} MB to read"
            reply = json.dumps({"found": found})
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        out.write(reply.encode() + b"\n")
        out.flush()


def _limit_memory(memory: int, soft: int, hard: int) -> None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # macOS: no such file, nor does the system keep the limit
        return
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(
        resource.RLIMIT_AS,
        (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard),
    )


if __name__ == "__main__":
    _serve()
