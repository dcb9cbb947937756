"""Read weight files of every source into named arrays, and write convzoo's own.

====================  ==================================  =======================
format                recognised by                       written by
====================  ==================================  =======================
safetensors           JSON header                         convzoo, timm
Keras 3 .weights.h5   HDF5 signature, group ``layers``    Keras 3
Keras 3 .keras        zip with ``model.weights.h5``       Keras 3
Keras 2 .h5           HDF5 signature, ``layer_names``     keras.applications
PyTorch .pth, .bin    zip with ``data.pkl``, or pickles   torchvision, timm
TensorFlow checkpoint files ``.index`` and ``.data-...``  Keras 2
caffemodel            protocol buffer with layers         Caffe
====================  ==================================  =======================

The content decides, never the suffix, and no code in it is run. A layer's *settings*
are what its arrays' shapes cannot show, such as strides, padding and epsilon: ResNet v1
and v1.5 have equal names and shapes.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from convzoo.pretrained.maps.keras import BY_NAME, strangers
from convzoo.pretrained.maps.libraries import identify
from convzoo.pretrained.maps.places import Identity
from convzoo.pretrained.readers import (
    caffe,
    hdf5,
    keras_archive,
    pytorch,
    safetensors_file,
    tensorflow_checkpoint,
)
from convzoo.pretrained.readers.archives import opened
from convzoo.pretrained.readers.content import Array, Content, Stored, UnreadableError
from convzoo.pretrained.readers.settings import Settings, serialised_layers, settings
from convzoo.pretrained.stated import stated

ACCEPTED = (
    ".safetensors of convzoo and timm, .pth of torchvision and timm, .h5 of "
    "keras.applications, .weights.h5 and .keras of Keras 3, checkpoints of TensorFlow, "
    ".caffemodel"
)
VERSION = 1  # of convzoo's safetensors

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_HEADER = "convzoo"
_LONGEST = 300  # characters of a line at either end

# What damaged content makes third-party readers raise.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


class Checkpoint(NamedTuple):
    """The content of a weight file, and what it says of its model."""

    path: Path
    content: Content  # convzoo's and Keras' arrays: "layer/variable" or "layer/0"
    metadata: Mapping[str, Any]  # as known: builder, variant, options, scaling...
    layers: Mapping[str, Settings]  # settings by layer; empty where the file has none
    identity: Identity | None  # whose names the arrays bear; None: the model's own

    @property
    def tensors(self) -> Mapping[str, Stored]:
        """The arrays by the names of the file."""
        return self.content.tensors


class _Reader(NamedTuple):
    kind: str
    read: Callable[[Path], Content]


def read(
    path: str | os.PathLike[str],
    *,
    trusted: bool = False,
    lister: hdf5.Lister | None = None,
) -> Checkpoint:
    """Open a weight file; arrays are read when they are asked for.

    Args:
        path: A file in one of the formats above, under any name.
        trusted: Whether the file's hash is that of published weights; any other HDF5
            file is parsed in a process of its own, which may crash.
        lister: That process, for who reads many files; ``None`` starts one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or something else; the message says what was
            found and what is accepted.
    """
    path = Path(path)
    kind = "file"
    try:
        reader = _reader(path, trusted, lister)
        kind = reader.kind
        return _understood(path, reader.read(path))
    except (FileNotFoundError, PermissionError):
        raise
    except UnreadableError as error:
        found = first_line(error)
    except DAMAGE as error:
        found = f"a damaged {kind} ({first_line(error)})"
    raise ValueError(
        f"{path} is not a weight file that convzoo reads: found {found}, "
        f"accepted are {ACCEPTED}."
    )


def write(
    path: Path,
    tensors: Mapping[str, Array],
    facts: Mapping[str, Any],
    layers: Mapping[str, Settings],
) -> None:
    """Write convzoo's safetensors: the same bytes for the same content.

    Raises:
        OSError: If the disk does not take it.
    """
    # One key only: the library writes several in random order.
    header = {"version": VERSION, **facts, "layers": layers}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    write_safetensors(path, tensors, {_HEADER: text})


def write_safetensors(
    path: Path, tensors: Mapping[str, Array], header: dict[str, str]
) -> None:
    """Write safetensors; the file appears under its name only when it is complete.

    Raises:
        OSError: If the disk does not take it.
    """
    dense = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}.", dir=path.parent
    ) as folder:
        unfinished = Path(folder) / path.name
        try:
            save_file(dense, unfinished, metadata=header)
        except SafetensorError as error:
            raise OSError(
                f"{path} could not be written: {first_line(error)}."
            ) from error
        # The library's files are for their owner alone; give what the umask allows.
        usual = Path(folder) / "usual"
        usual.touch()
        unfinished.chmod(usual.stat().st_mode)
        unfinished.replace(path)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without its full stop.

    What a file calls its arrays may be long: the middle of such a line is left out.
    """
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0].rstrip(".")
    if len(line) > 2 * _LONGEST:
        return f"{line[:_LONGEST]} ... {line[-_LONGEST:]}"
    return line


def exists(path: Path) -> bool:
    """Tell whether there is a file, or a checkpoint of several, under this name."""
    return path.is_file() or tensorflow_checkpoint.prefix_of(path) is not None


def _reader(path: Path, trusted: bool, lister: hdf5.Lister | None) -> _Reader:
    """Choose the reader by a file's first bytes."""
    prefix = tensorflow_checkpoint.prefix_of(path)
    if prefix is not None:
        index = prefix.with_name(f"{prefix.name}.index")
        return _Reader(
            "TensorFlow checkpoint", lambda _: tensorflow_checkpoint.read(index)
        )
    if path.is_dir():
        raise UnreadableError("a folder")
    if not path.exists():
        raise FileNotFoundError(f"There is no weight file {path}: check the path.")
    with path.open("rb") as file:
        start = file.read(16)
    recognised = (
        (start.startswith(_ZIP) and _holds_pickle(path), "PyTorch file", pytorch.read),
        (
            start.startswith(_ZIP),
            "zip archive",
            partial(keras_archive.read, trusted=trusted, lister=lister),
        ),
        (
            start.startswith(_HDF5),
            "HDF5 file",
            partial(hdf5.read, trusted=trusted, lister=lister),
        ),
        (start[8:9] == b"{", "safetensors file", safetensors_file.read),
        (start.startswith(b"\x80"), "PyTorch file", pytorch.read),
        (caffe.looks_like(start), "caffemodel", caffe.read),
    )
    for fits, kind, read in recognised:
        if fits:
            return _Reader(kind, read)
    raise UnreadableError(
        f"data that begin with {start!r}" if start else "an empty file"
    )


def _holds_pickle(path: Path) -> bool:
    with opened(path) as archive:
        return any(name.endswith("data.pkl") for name in archive.namelist())


def _understood(path: Path, content: Content) -> Checkpoint:
    """Find out what a file was made for: by its own words, else by its arrays."""
    if content.format == "safetensors" and _HEADER in content.header:
        header = _convzoo_header(content.header[_HEADER])
        return Checkpoint(path, content, stated(header), header["layers"], None)
    told: dict[str, Any]
    identity = identify(content)
    layers = content.header.get("layers") or {
        layer["config"]["name"]: settings(layer) for layer in _serialised(content)
    }
    if content.format in {"weights.h5", "keras", "h5"} and _is_ours(content, identity):
        bias = content.tensors.get("head_predictions/1")
        told = {"classes": bias.shape[0]} if bias and len(bias.shape) == 1 else {}
        return Checkpoint(path, content, told, layers, None)
    if identity is None:
        raise UnreadableError(_unknown(content))
    if identity.layout == "keras":
        _check_names(content, identity)
    told = {
        "builder": identity.builder,
        "variant": identity.variant,
        "options": dict(identity.options),
        "classes": identity.classes,
        "scaling": identity.scaling,
    }
    told = {key: value for key, value in told.items() if value is not None}
    return Checkpoint(path, content, told, {}, identity)


def _is_ours(content: Content, identity: Identity | None) -> bool:
    """Tell a network of the zoo from one of keras.applications in Keras' files."""
    names = _layer_names(content)
    if names is None:
        return False
    named_here = "image" in names or any(name.startswith("head_") for name in names)
    if named_here or identity is None:
        return True
    if identity.builder.startswith("vgg") and identity.classes is None:
        raise UnreadableError(
            "the body of a VGG without the name of its input, which may be "
            "keras.applications' for BGR or the zoo's for RGB (save the zoo's with "
            "convzoo.save_weights, keras.applications' with its top)"
        )
    return False


def _check_names(content: Content, identity: Identity) -> None:
    """Refuse a network of keras.applications with layers of somebody's own."""
    others = strangers(_layer_names(content) or (), identity.builder)
    if others:
        raise UnreadableError(
            f"{identity.builder} of keras.applications with layers of another make, "
            f"such as {others[0]!r} (save the body alone, include_top=False)"
        )


def _layer_names(content: Content) -> list[str] | None:
    """Return the names of all layers; None where a file has only those of weights."""
    if content.format in BY_NAME:
        return list(content.header["names"])
    return [layer["config"]["name"] for layer in _serialised(content)] or None


def _serialised(content: Content) -> list[Mapping[str, Any]]:
    """Return the layers of a whole model that Keras 2's format holds."""
    config = content.header.get("model_config")
    return list(serialised_layers(json.loads(config))) if config else []


def _unknown(content: Content) -> str:
    """Describe a network that the zoo does not have."""
    if not content.tensors:
        return f"a {content.format} file without arrays"
    name, stored = next(iter(content.tensors.items()))
    return (
        f"a {content.format} file of a network that the zoo does not have (it begins "
        f"with {name!r} of shape {stored.shape})"
    )


def _convzoo_header(text: str) -> dict[str, Any]:
    header = json.loads(text)
    if header["version"] > VERSION:
        raise UnreadableError(
            f"version {header['version']} of convzoo's format, of which this convzoo "
            f"reads {VERSION} (upgrade it)"
        )
    layers = header["layers"].values()
    if not all(isinstance(layer, dict) and "class" in layer for layer in layers):
        raise UnreadableError("a convzoo file with incomplete settings")
    return dict(header)


def layer_of(name: str) -> str:
    """Return the layer of an array: ``"c1"`` of ``"c1/kernel"``."""
    return name.partition("/")[0]


def layers_of(names: Iterable[str]) -> set[str]:
    """Return the layers that have at least one of these arrays."""
    return {layer_of(name) for name in names}
