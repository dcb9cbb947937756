"""PyTorch's checkpoints without PyTorch: zip archives since 1.6, streams before."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convzoo.pretrained.readers import pickles
from convzoo.pretrained.readers.archives import opened, pieces
from convzoo.pretrained.readers.content import (
    Array,
    Content,
    Stored,
    UnreadableError,
    mapped,
)
from convzoo.pretrained.readers.pickles import Pickle, Source, Storage, Tensor, brief

LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # a pickled int
_ZIP = b"PK\x03\x04"
_TAR_AT, _TAR = 257, b"ustar"
_START = 512  # bytes that tell the containers apart

_VERSION = 1001  # of the stream
_LENGTH = struct.Struct("<q")

_SHORT = 16  # bytes, enough for "little"
_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of the name and the extra field

# A tiny file can claim much: by compression, and by strides of zero.
_INFLATION, _INFLATED = 2, 32 << 20
_EXPANSION, _EXPANDED = 4, 64 << 20

_PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")  # DataParallel, torch.compile
_WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "weights"),
    *("state_dict_ema", "model_ema", "ema"),
)
_WRAPS = 4  # a dict may contain itself
_MODULE = "model."  # where Lightning's modules keep their network
_COUNTER = "n_averaged"  # of AveragedModel
_SHOWN = 5  # keys of a file without weights

Place = Callable[[Storage], Stored]  # where a storage's numbers lie, in one row


def is_legacy(start: bytes) -> bool:
    """Tell PyTorch's stream from before 1.6 by a file's first 15 bytes."""
    return start.startswith(LEGACY)


def read(path: Path) -> Content:
    """Read a state_dict, also one inside a training checkpoint.

    The plain weights are taken before their moving average, and the prefixes of
    DataParallel, ``torch.compile`` and Lightning are cut. Only what an archive
    compresses is held against its CRC: the rest is mapped, not read.

    Raises:
        UnreadableError: If it is anything else, or damaged; reading a compressed array
            later can raise it too.
    """
    with path.open("rb") as file:
        start = file.read(_START)
    if start.startswith(_ZIP):
        pickle, place = _archive(path)
    elif is_legacy(start):
        pickle, place = _stream(path)
    elif start[_TAR_AT:].startswith(_TAR):
        raise UnreadableError(
            "a tar archive, as PyTorch wrote until 2016 (load it with torch and save "
            "it again)"
        )
    else:
        raise UnreadableError("a file that torch.save did not write")
    tensors = {
        name: _view(place(tensor.storage), tensor)
        for name, tensor in _state_dict(pickle.value).items()
    }
    claimed, size = sum(each.nbytes for each in tensors.values()), path.stat().st_size
    if claimed > _EXPANSION * size + _EXPANDED:
        raise UnreadableError(f"{size} bytes that claim to be {claimed} of tensors")
    return Content(tensors, "PyTorch")


def _state_dict(value: Any) -> dict[str, Tensor]:
    for _ in range(_WRAPS):
        if not isinstance(value, dict):
            raise UnreadableError(
                f"a PyTorch file of a {type(value).__name__} (save a state_dict)"
            )
        inner = (value.get(key) for key in _WRAPPERS)
        full = (each for each in inner if isinstance(each, dict) and each)
        value = next(full, value)
    found = {key: each for key, each in value.items() if isinstance(each, Tensor)}
    found.pop(_COUNTER, None)
    if not found:
        raise UnreadableError(f"a PyTorch file without a state_dict{_among(value)}")
    tensors: dict[str, Tensor] = {}
    for name, tensor in zip(_plain_names(found), found.values(), strict=True):
        if name in tensors:
            raise UnreadableError(f"two tensors called {brief(name)}")
        tensors[name] = tensor
    return tensors


def _plain_names(keys: Iterable[Any]) -> list[str]:
    """Return names without what wrappers of a network put before all of them."""
    names = []
    for key in keys:
        if not isinstance(key, str):
            raise UnreadableError(f"a tensor with a {type(key).__name__} for a name")
        names.append(_PREFIXES.sub("", key))
    if all(name.startswith(_MODULE) for name in names):
        return [_PREFIXES.sub("", name[len(_MODULE) :]) for name in names]
    return names


def _among(keys: Iterable[Any]) -> str:
    """Return the first keys of a dict, to follow what is not among them."""
    names = [brief(str(key)) for key in keys]
    more = ", ..." if len(names) > _SHOWN else ""
    return f" among {', '.join(names[:_SHOWN])}{more}" if names else ""


def _view(row: Stored, tensor: Tensor) -> Stored:
    """Return a tensor as a view of its storage, which is mapped and not copied."""
    strides = tuple(step * row.dtype.itemsize for step in tensor.stride)

    def read() -> Array:
        if 0 in tensor.shape:
            return np.empty(tensor.shape, row.dtype)
        # The strides were held against the storage's length when the pickle was read.
        return as_strided(
            row.read()[tensor.offset :],
            tensor.shape,
            strides,
            subok=True,
            writeable=False,
        )

    return Stored(tensor.shape, row.dtype, read)


def _stream(path: Path) -> tuple[Pickle, Place]:
    """Read five pickles in a row; each storage follows with its length before it."""
    with path.open("rb") as file:
        head = Source(file.read(pickles.LIMIT))
        _, version, system, pickle, keys = (pickles.load(head) for _ in range(5))
        known = isinstance(system.value, dict) and system.value.get("little_endian")
        if version.value != _VERSION or known is not True:
            raise UnreadableError("a PyTorch stream of another version or byte order")
        if type(keys.value) is not list:
            raise UnreadableError("a PyTorch stream without a list of storages")
        rows: dict[str, Stored] = {}
        file.seek(head.tell())
        for key in keys.value:
            storage = pickle.storages.get(key) if isinstance(key, str) else None
            if storage is None or key in rows:
                raise UnreadableError("a PyTorch stream whose storages do not add up")
            if file.read(_LENGTH.size) != _LENGTH.pack(storage.length):
                raise UnreadableError(f"a storage that is not {storage.length} long")
            rows[key] = mapped(path, file.tell(), (storage.length,), storage.dtype)
            file.seek(rows[key].nbytes, io.SEEK_CUR)
    if len(rows) < len(pickle.storages):
        raise UnreadableError("a PyTorch stream without some of its storages")
    return pickle, lambda storage: rows[storage.key]


def _archive(path: Path) -> tuple[Pickle, Place]:
    members = _members(path)
    roots = [name[:-9] for name in members if re.fullmatch("[^/]+/data[.]pkl", name)]
    if len(roots) != 1:
        raise UnreadableError("a zip archive without PyTorch's data.pkl")
    root = roots[0]
    if f"{root}/constants.pkl" in members:
        raise UnreadableError("a TorchScript archive (save the state_dict instead)")
    if f"{root}/byteorder" in members:  # absent before PyTorch 2.1: little
        order = _unpacked(path, members[f"{root}/byteorder"], limit=_SHORT)
        if order != b"little":
            raise UnreadableError("a PyTorch file of another byte order than little")
    text = _unpacked(path, members[f"{root}/data.pkl"], limit=pickles.LIMIT)

    @cache
    def place(storage: Storage) -> Stored:
        member = members.get(f"{root}/data/{storage.key}")
        if member is None:
            raise UnreadableError(
                f"a PyTorch file without storage {brief(storage.key)}"
            )
        row = _row(path, member, storage)
        if member.size != row.nbytes:
            raise UnreadableError(
                f"a storage of {member.size} bytes in place of {row.nbytes}"
            )
        return row

    return pickles.load(Source(text)), place


def _row(path: Path, member: _Member, storage: Storage) -> Stored:
    shape, dtype = (storage.length,), storage.dtype
    if member.packed:
        numbers = cache(lambda: np.frombuffer(_unpacked(path, member), dtype))
        return Stored(shape, dtype, numbers)  # kept, for each view asks for it anew
    return mapped(path, member.start, shape, dtype)


class _Member(NamedTuple):
    name: str
    size: int
    packed: bool  # deflated; else its bytes lie in the archive as they are
    start: int


def _members(path: Path) -> dict[str, _Member]:
    """List an archive whose members are sure to be what its directory says."""
    members: dict[str, _Member] = {}
    inflated = end = 0
    with opened(path) as archive, path.open("rb") as file:
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            if info.filename in members or info.header_offset < end:
                raise UnreadableError("a zip archive with members twice or overlapping")
            if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise UnreadableError("a zip archive with an unusual compression")
            archive.open(info).close()  # holds the two headers against each other
            file.seek(info.header_offset)
            name, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            start = info.header_offset + _LOCAL_HEADER.size + name + extra
            packed = info.compress_type != zipfile.ZIP_STORED
            if not packed and info.file_size != info.compress_size:
                raise UnreadableError("a zip archive with members of two sizes")
            members[info.filename] = _Member(
                info.filename, info.file_size, packed, start
            )
            inflated += info.file_size if packed else 0
            end = start + info.compress_size
    if inflated > _INFLATION * path.stat().st_size + _INFLATED:
        raise UnreadableError(
            f"a zip archive that claims to unpack to {inflated} bytes"
        )
    return members


def _unpacked(path: Path, member: _Member, limit: int | None = None) -> bytearray:
    if limit is not None and member.size > limit:
        raise UnreadableError(f"{brief(member.name)} of {member.size} bytes in a zip")
    data = bytearray()
    with opened(path) as archive:
        for piece in pieces(archive, member.name):
            data += piece
    if len(data) != member.size:
        raise UnreadableError("a zip archive with members of two sizes")
    return data
