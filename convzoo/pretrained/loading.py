"""Move weights between files and models: completely checked, then assigned at once."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from convzoo.arguments import level_of_the_caller, one_of
from convzoo.deferred import awaits, deep_graphs, fill
from convzoo.pretrained import files
from convzoo.pretrained.conventions import (
    check_exists_in,
    check_rescaling,
    check_settings,
    made_for,
    model_settings,
    origin_facts,
)
from convzoo.pretrained.files import Checkpoint
from convzoo.pretrained.maps import libraries
from convzoo.pretrained.matching import Match, is_finite, pair, variables_of
from convzoo.pretrained.readers.content import Array, UnreadableError
from convzoo.pretrained.record import LicenceWarning
from convzoo.pretrained.records import Record, find_for, names_weights

LAYOUTS = ("convzoo", *libraries.TORCH)


class LoadReport(NamedTuple):
    """What `load_weights` did; variables are named ``layer/variable``."""

    source: str  # path of the file
    format: str  # such as "safetensors" or "PyTorch"
    filled: tuple[str, ...]  # variables of the model that got a value
    kept: tuple[str, ...]  # variables left as they were, by ``skip_head``
    unused: tuple[str, ...]  # arrays of a head that the model lacks or keeps; counters
    adapted: tuple[str, ...]  # first kernels changed to another number of channels


def load_weights(
    model: keras.Model,
    source: str | os.PathLike[str] | Record,
    *,
    skip_head: bool = False,
) -> LoadReport:
    """Fill a model from a weight file, or leave it as it is and say why.

    Reads the files of convzoo, keras.applications, torchvision, timm and Caffe, in the
    formats that `convzoo.pretrained.files` lists; the content decides, not the suffix,
    and no code in it is run. Files of the others are turned into the zoo's form:
    PyTorch's and Caffe's axes; BGR into RGB, for VGG and ResNet of keras.applications
    and for Caffe; a bias before batch norm, another epsilon and Caffe's response
    normalisation into the neighbouring weights, exactly.

    Everything is checked before the first value is assigned: every variable is filled
    exactly once; arrays left over belong to a head that the model lacks, or count
    PyTorch's batches; shapes fit; values are finite floats; and the network is the one
    the weights were made for, by the layers' settings where the file tells them, else
    by its names and shapes.
    A model whose first convolution reads another number of channels gets an adapted
    kernel, see `convzoo.pretrained.matching.adapt_channels`.

    Args:
        model: A flat model: of the zoo, or with layers named like it.
        source: Name of published weights (for a model just built by the zoo), a record
            from ``weights_info``, or the path of a file; of a TensorFlow checkpoint
            its prefix or any of its files.
        skip_head: Leave the head's layers as they are, for another number of classes.

    Returns:
        What was filled and what was left.

    Raises:
        FileNotFoundError: If the file is missing.
        OSError: If published weights cannot be downloaded.
        TypeError: If ``source`` is something else.
        ValueError: If something does not fit; the model is unchanged, and the message
            names the array or the setting, expected and found.
    """
    source = _chosen(model, source)
    if isinstance(source, Record):
        _tell_licence(source)
        checkpoint = files.read(source.path(), trusted=source.hash is not None)
        return fill_from(model, checkpoint, source, skip_head=skip_head)
    return fill_from(model, files.read(source), skip_head=skip_head)


def fill_from(
    model: keras.Model,
    checkpoint: Checkpoint,
    record: Record | None = None,
    *,
    skip_head: bool = False,
) -> LoadReport:
    """Fill a model from an open file; see `load_weights`."""
    try:
        told = checkpoint.metadata.get("scaling")
        scaling = (record.mean, record.std) if record else told
        if scaling is not None:
            check_rescaling(model, *scaling)
        check_settings(model, checkpoint)
        pairing = pair(model, checkpoint, skip_head=skip_head)
        matches = pairing.matches
        # A model that has no values yet has none to lose, and is read in one pass.
        fresh = all(awaits(match.variable) for match in matches)
        for match in matches:
            value = match.value()
            if fresh:
                fill(match.variable, value)
    except (ValueError, UnreadableError, *files.DAMAGE) as error:
        raise ValueError(
            f"{checkpoint.path} does not fit the model {model.name!r}: "
            f"{files.first_line(error)}{made_for(checkpoint.metadata, model)}."
        ) from None
    if not fresh:
        _assign(matches, checkpoint.path)
    return LoadReport(
        source=str(checkpoint.path),
        format=checkpoint.content.format,
        filled=tuple(match.name for match in matches),
        kept=pairing.kept,
        unused=pairing.unused,
        adapted=tuple(match.name for match in matches if match.channels is not None),
    )


def _assign(matches: list[Match], path: Path) -> None:
    """Give every variable its value, or all their old ones back."""
    before: list[tuple[Any, Array]] = []
    try:
        for match in matches:
            value = match.value()
            old = np.array(keras.ops.convert_to_numpy(match.variable))
            before.append((match.variable, old))
            fill(match.variable, value)
    except BaseException as error:
        for variable, old in before:
            fill(variable, old)
        if not isinstance(error, (ValueError, UnreadableError, *files.DAMAGE)):
            raise
        raise ValueError(
            f"{path} changed while it was loaded ({files.first_line(error)}): the "
            "model is as it was; load the file again."
        ) from error


def _tell_licence(record: Record) -> None:
    if not record.commercial:
        warnings.warn(
            f"The weights {record.model}/{record.name} are licensed {record.licence}, "
            "which forbids commercial use.",
            LicenceWarning,
            stacklevel=level_of_the_caller(),
        )


def save_weights(
    model: keras.Model, path: str | os.PathLike[str], layout: str = "convzoo"
) -> Path:
    """Write a model's weights as safetensors.

    ``layout="convzoo"`` keys them ``layer/variable``. The header carries the builder,
    variant, options and classes of a model built by the zoo, and each layer's settings,
    so that `load_weights` refuses a model of another make. ``"torchvision"`` and
    ``"timm"`` name and turn them as those libraries do, whose models of the same
    network load the file with ``strict=True`` and answer alike. An existing file is
    replaced in one step. Equal weights give equal bytes.

    Args:
        model: A flat model; for another library's layout, one built by the zoo in a
            variant that the library has.
        path: A name that ends in ``.safetensors``.
        layout: "convzoo", "torchvision" or "timm".

    Returns:
        The path written.

    Raises:
        ValueError: If the layout or the suffix is another, a weight is not finite, or
            the library has no such network.
        FileNotFoundError: If the folder does not exist.
    """
    path = Path(path)
    one_of("layout", layout, LAYOUTS)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, found {str(path)!r}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}: create it first.")
    if layout != "convzoo":
        check_exists_in(layout, model)
    tensors = {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in variables_of(model).items()
    }
    for name, array in tensors.items():
        if not is_finite(array):
            raise ValueError(
                f"{name!r} of the model {model.name!r} holds NaN or inf: nothing saved."
            )
    if layout == "convzoo":
        files.write(path, tensors, origin_facts(model), model_settings(model))
    else:
        state = libraries.state_dict(model, tensors, layout, model.origin.builder)
        files.write_safetensors(path, state, {"format": "pt"})
    return path


def load_model(path: str | os.PathLike[str]) -> keras.Model:
    """Open a ``.keras`` file that may hold layers of the zoo.

    Files that ask to run code (lambda layers) are refused.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ``.keras`` file, or damaged.
    """
    from convzoo import layers  # noqa: F401, PLC0415 (registers the zoo's layers)

    path = Path(path)
    if path.is_dir() or path.suffix != ".keras":
        raise ValueError(f"load_model opens .keras files, found {str(path)!r}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no model file {path}: check the path.")
    try:
        with deep_graphs():
            return keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # a damaged file makes Keras raise anything
        raise ValueError(
            f"{path} cannot be opened as a .keras model: {files.first_line(error)}."
        ) from error


def _chosen(
    model: keras.Model, source: str | os.PathLike[str] | Record
) -> Path | Record:
    """Return the record or the path that the source of the weights means."""
    if isinstance(source, Record):
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "source must be a name, a path or a record from weights_info, "
            f"found {type(source).__name__}."
        )
    path, origin = Path(source).expanduser(), getattr(model, "origin", None)
    word = isinstance(source, str) and path.name == source and not path.suffix
    is_file = files.exists(path) or not word
    if origin is not None and (names_weights(origin.builder, source) or not is_file):
        return find_for(origin, str(source))
    if is_file:
        return path
    raise ValueError(
        f"There is no weight file {source!r}, and the model {model.name!r} does not "
        f"say who built it: pass the record, weights_info(<builder>, {source!r})."
    )
