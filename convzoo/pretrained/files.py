"""Read weight files into named arrays, and write them; imports no Keras, runs no code.

====================  ===============================  =========================
format                recognised by                    carries
====================  ===============================  =========================
convzoo safetensors   JSON header, key ``convzoo``     names, settings, variant
Keras 3 .weights.h5   HDF5 signature, group ``layers``  names of layers
Keras 3 .keras        zip with ``model.weights.h5``    names of layers, settings
====================  ===============================  =========================

The content decides, never the suffix. A layer's *settings* are what its arrays' shapes
cannot show, such as strides, padding and epsilon: ResNet v1 and v1.5 have equal names
and shapes.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

ACCEPTED = "convzoo .safetensors, Keras 3 .weights.h5 and Keras 3 .keras files"
VERSION = 1  # of convzoo's safetensors

Array = npt.NDArray[Any]
Settings = Mapping[str, Any]

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_HEADER = "convzoo"
_MEMBERS = ("config.json", "model.weights.h5")
# Arrays may not unpack to more than this many times the file, or this many bytes.
_EXPANSION, _ROOM = 4, 1 << 26

# What third-party readers raise on damaged content.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)

# Configuration that shapes show, only training reads, or the input size fixes.
_SILENT = frozenset(
    {
        "batch_shape",
        "center",
        "codes",
        "cropping",
        "depth_multiplier",
        "dtype",
        "filters",
        "gain",
        "kernel_size",
        "momentum",
        "name",
        "noise_shape",
        "optional",
        "quantization_config",
        "ragged",
        "rate",
        "seed",
        "sparse",
        "synchronized",
        "target_shape",
        "trainable",
        "units",
        "use_bias",
    }
)
_SILENT_ENDS = ("_constraint", "_initializer", "_regularizer", "_rank", "_alpha")


class Checkpoint(NamedTuple):
    """The content of a weight file."""

    tensors: Mapping[
        str, Array
    ]  # "layer/variable", or "layer/0" where only order is told
    metadata: Mapping[str, Any]  # builder, variant, options, classes, where known
    layers: Mapping[str, Settings]  # settings by layer; empty where the file has none
    format: str


class _UnreadableError(Exception):
    """Says what was found in place of weights."""


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read every array of a weight file.

    Args:
        path: A file in one of the formats above, under any name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or something else; the message says what was
            found and what is accepted.
    """
    content: Checkpoint = _guarded(Path(path), lambda reader: reader.content)
    return content


def metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a weight file says of its model; reads no arrays.

    Returns:
        ``builder``, ``variant``, ``options``, ``classes``, ``input_shape`` and
        ``scaling`` (mean and deviation of the images), as far as the file knows
        them; empty for Keras' own formats.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no weights.
    """
    facts: dict[str, Any] = _guarded(Path(path), lambda reader: reader.facts)
    return facts


def write(
    path: Path,
    tensors: Mapping[str, Array],
    facts: Mapping[str, Any],
    layers: Mapping[str, Settings],
) -> None:
    """Write convzoo's safetensors: the same bytes for the same content.

    The file appears under its name only when it is complete.

    Raises:
        OSError: If the disk does not take it.
    """
    # One key only: the library writes several in random order.
    header = {"version": VERSION, **facts, "layers": layers}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    dense = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}.", dir=path.parent
    ) as folder:
        unfinished = Path(folder) / path.name
        try:
            save_file(dense, unfinished, metadata={_HEADER: text})
        except SafetensorError as error:
            raise OSError(
                f"{path} could not be written: {first_line(error)}."
            ) from error
        # The library's files are for their owner alone; give what the umask allows.
        usual = Path(folder) / "usual"
        usual.touch()
        unfinished.chmod(usual.stat().st_mode)
        unfinished.replace(path)


def settings(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer as Keras serialises it (``config.json``)."""
    return {
        "class": layer["class_name"],
        **{
            key: _plain(value)
            for key, value in layer["config"].items()
            if key not in _SILENT and not key.endswith(_SILENT_ENDS)
        },
    }


def _plain(value: Any) -> Any:
    """Shorten a serialised function to its name."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), str):
        return value["config"]
    return value


class _Reader(NamedTuple):
    kind: str
    content: Callable[[Path], Checkpoint]
    facts: Callable[[Path], dict[str, Any]]


def _guarded(path: Path, part: Callable[[_Reader], Callable[[Path], Any]]) -> Any:
    kind = "file"
    try:
        reader = _reader(path)
        kind = reader.kind
        return part(reader)(path)
    except (FileNotFoundError, PermissionError):
        raise
    except _UnreadableError as error:
        found = str(error)
    except _DAMAGE as error:
        found = f"a damaged {kind} ({first_line(error)})"
    raise ValueError(
        f"{path} is not a weight file that convzoo reads: found {found}, "
        f"accepted are {ACCEPTED}."
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def _reader(path: Path) -> _Reader:
    """Choose the reader by a file's first bytes."""
    if path.is_dir():
        raise _UnreadableError("a folder")
    if not path.exists():
        raise FileNotFoundError(f"There is no weight file {path}: check the path.")
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(_HDF5):
        return _Reader("HDF5 file", _read_h5, _no_facts)
    if start.startswith(_ZIP):
        return _Reader("zip archive", _read_keras, _no_facts)
    if start[8:9] == b"{":
        return _Reader("safetensors file", _read_safetensors, _safetensors_facts)
    if not start:
        raise _UnreadableError("an empty file")
    raise _UnreadableError(f"data that begin with {start!r}")


def _no_facts(path: Path) -> dict[str, Any]:
    del path
    return {}


def _read_safetensors(path: Path) -> Checkpoint:
    with safe_open(path, framework="numpy") as file:
        header = _convzoo_header(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(tensors, _known_facts(header), header["layers"], "safetensors")


def _safetensors_facts(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as file:
        return _known_facts(_convzoo_header(file.metadata()))


def _known_facts(header: Mapping[str, Any]) -> dict[str, Any]:
    known = ("builder", "variant", "options", "classes", "input_shape", "scaling")
    return {key: header[key] for key in known if header.get(key) is not None}


def _convzoo_header(texts: Mapping[str, str] | None) -> dict[str, Any]:
    if not texts or _HEADER not in texts:
        raise _UnreadableError("a safetensors file of another library")
    header = json.loads(texts[_HEADER])
    if header["version"] > VERSION:
        raise _UnreadableError(
            f"version {header['version']} of convzoo's format, of which this convzoo "
            f"reads {VERSION} (upgrade it)"
        )
    layers = header["layers"].values()
    if not all(isinstance(layer, dict) and "class" in layer for layer in layers):
        raise _UnreadableError("a convzoo file with incomplete settings")
    return dict(header)


def _read_h5(path: Path) -> Checkpoint:
    with h5py.File(path, "r") as file:
        tensors = _h5_tensors(file, path.stat().st_size)
    return Checkpoint(tensors, {}, {}, "weights.h5")


def _read_keras(path: Path) -> Checkpoint:
    with zipfile.ZipFile(path) as archive:
        if not set(_MEMBERS) <= set(archive.namelist()):
            torch = any(name.endswith("/data.pkl") for name in archive.namelist())
            raise _UnreadableError(
                "a PyTorch checkpoint"
                if torch
                else f"a zip archive without {' and '.join(_MEMBERS)}"
            )
        unpacked = sum(archive.getinfo(member).file_size for member in _MEMBERS)
        _check_expansion(unpacked, path.stat().st_size)
        config, weights = (archive.read(member) for member in _MEMBERS)
    layers = {
        layer["config"]["name"]: settings(layer)
        for layer in _serialised_layers(json.loads(config))
    }
    with h5py.File(io.BytesIO(weights), "r") as file:
        tensors = _h5_tensors(file, len(weights))
    return Checkpoint(tensors, {}, layers, "keras")


def _serialised_layers(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for layer in model["config"].get("layers", ()):
        if "layers" in layer["config"]:
            yield from _serialised_layers(layer)
        else:
            yield layer


def _h5_tensors(file: h5py.File, size: int) -> dict[str, Array]:
    if "layer_names" in file.attrs or "model_weights" in file:
        raise _UnreadableError("an HDF5 file of Keras 2")
    if "layers" not in file:
        raise _UnreadableError("an HDF5 file without Keras 3's group 'layers'")
    datasets = list(_datasets(_member(file, "layers", h5py.Group)))
    _check_expansion(sum(dataset.nbytes for _, dataset in datasets), size)
    tensors = {name: _array(dataset) for name, dataset in datasets}
    if len(tensors) < len(datasets):
        raise _UnreadableError("an HDF5 file in which two layers share a name")
    return tensors


def _datasets(layers: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield ``layer/position`` and its dataset, also of models inside the model."""
    for key in layers:
        layer = _member(layers, key, h5py.Group)
        if "layers" in layer:
            yield from _datasets(_member(layer, "layers", h5py.Group))
        if "vars" in layer:
            variables = _member(layer, "vars", h5py.Group)
            name = variables.attrs.get("name")
            if len(variables) and not isinstance(name, str):
                raise _UnreadableError(
                    "an HDF5 file of an early Keras 3, without the names of its layers "
                    "(load it and save it with a current Keras)"
                )
            for position in variables:
                yield f"{name}/{position}", _member(variables, position, h5py.Dataset)


def _member(group: h5py.Group, key: str, kind: type) -> Any:
    """Return a member that lies in this very file."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise _UnreadableError("an HDF5 file with links to other places")
    member = group[key]
    if not isinstance(member, kind):
        raise _UnreadableError(f"an HDF5 file whose {member.name} is misplaced")
    if isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
        raise _UnreadableError("an HDF5 file with data in other files")
    return member


def _array(dataset: h5py.Dataset) -> Array:
    array: Array = np.asarray(dataset[()])
    # HDF5 has no bfloat16: Keras stores its two bytes as they are, with a note.
    if dataset.attrs.get("dtype") == "bfloat16":
        return array.view(ml_dtypes.bfloat16)
    return array


def _check_expansion(unpacked: int, size: int) -> None:
    if unpacked > max(_EXPANSION * size, _ROOM):
        raise _UnreadableError(f"{size} bytes that claim to unpack to {unpacked}")


def layer_of(name: str) -> str:
    """Return the layer of an array: ``"c1"`` of ``"c1/kernel"``."""
    return name.partition("/")[0]


def layers_of(names: Iterable[str]) -> set[str]:
    """Return the layers that have at least one of these arrays."""
    return {layer_of(name) for name in names}
