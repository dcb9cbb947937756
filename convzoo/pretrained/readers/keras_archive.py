"""Read Keras 3's ``.keras``, a zip of ``config.json`` and ``model.weights.h5``."""

from __future__ import annotations

import collections
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from convzoo.pretrained.readers import hdf5
from convzoo.pretrained.readers.archives import opened, pieces
from convzoo.pretrained.readers.content import Content, UnreadableError
from convzoo.pretrained.readers.hdf5_listing import EXPANSION, ROOM
from convzoo.pretrained.readers.settings import serialised_layers, settings

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_LOCAL = 30  # bytes of a member's local header, before its name
_LONGEST_CONFIG = 1 << 22  # bytes; Python's objects of it take 20 times as much


def read(
    path: Path, trusted: bool = False, lister: hdf5.Lister | None = None
) -> Content:
    """Read the weights and the layers' settings of a ``.keras`` file.

    Args:
        path: The file.
        trusted: Whether its hash is a record's; see ``hdf5.read``.
        lister: See ``hdf5.read``.

    Returns:
        The arrays as ``layer/position``; the header's ``layers`` are the settings by
        layer, its ``names`` the names of all layers.

    Raises:
        UnreadableError: If the file is damaged, hostile or no ``.keras`` file.
    """
    with tempfile.TemporaryDirectory(prefix="convzoo-") as folder:
        unpacked = Path(folder) / _WEIGHTS
        with opened(path) as archive:
            config, weights = _members(archive, path.stat().st_size)
            layers, names = _layers(b"".join(pieces(archive, config)))
            start = None
            if weights.compress_type == zipfile.ZIP_STORED:
                start = _start(path, weights)
                if not trusted:  # reads a member to its end
                    collections.deque(pieces(archive, weights), maxlen=0)
            else:
                with unpacked.open("wb") as copy:
                    copy.writelines(pieces(archive, weights))
        content = (
            hdf5.read_part(unpacked, None, None, trusted, lister, keep=True)
            if start is None
            else hdf5.read_part(path, start, weights.file_size, trusted, lister)
        )
    if content.format != "weights.h5":
        raise UnreadableError(f"a zip archive whose {_WEIGHTS} is of another Keras")
    return Content(content.tensors, "keras", {"layers": layers, "names": names})


def _members(
    archive: zipfile.ZipFile, size: int
) -> tuple[zipfile.ZipInfo, zipfile.ZipInfo]:
    names = archive.namelist()
    for name in (_CONFIG, _WEIGHTS):
        if name not in names:
            raise UnreadableError(f"a zip archive without {_CONFIG} and {_WEIGHTS}")
        if names.count(name) > 1:
            raise UnreadableError(f"a zip archive with two members {name}")
        member = archive.getinfo(name)
        if member.flag_bits & 1:
            raise UnreadableError("an encrypted zip archive")
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise UnreadableError(
                f"a zip archive whose {name} is packed by method "
                f"{member.compress_type} (pack it by deflate)"
            )
    config, weights = archive.getinfo(_CONFIG), archive.getinfo(_WEIGHTS)
    if config.file_size > _LONGEST_CONFIG:
        raise UnreadableError(
            f"a zip archive whose {_CONFIG} has {config.file_size} bytes"
        )
    if (unpacked := config.file_size + weights.file_size) > max(EXPANSION * size, ROOM):
        raise UnreadableError(f"{size} bytes that claim to unpack to {unpacked}")
    return config, weights


def _layers(config: bytes) -> tuple[dict[str, Any], list[str]]:
    """Return the settings by layer and all layers' names."""
    try:
        layers = {
            str(layer["config"]["name"]): settings(layer)
            for layer in serialised_layers(json.loads(config))
        }
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise UnreadableError(f"a zip archive with a damaged {_CONFIG}") from error
    return layers, list(layers)


def _start(path: Path, member: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin, by its own header."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL)
    if len(header) < _LOCAL or member.compress_size != member.file_size:
        raise UnreadableError(f"a zip archive whose {member.filename} is incomplete")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + _LOCAL + name + extra
