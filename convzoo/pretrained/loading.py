"""Move weights between files and models: completely checked, then assigned at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from convzoo.anatomy import links
from convzoo.arguments import one_of
from convzoo.deferred import deep_graphs
from convzoo.pretrained import files
from convzoo.pretrained.conventions import (
    check_rescaling,
    check_settings,
    is_head,
    made_for,
    model_settings,
    origin_facts,
)
from convzoo.pretrained.files import Array, Checkpoint, layer_of, layers_of
from convzoo.pretrained.records import Record, find, list_weights, listed

LAYOUTS = ("convzoo",)


class LoadReport(NamedTuple):
    """What `load_weights` did; arrays are named ``layer/variable``."""

    source: str  # path of the file
    format: str  # "safetensors", "weights.h5" or "keras"
    filled: tuple[str, ...]  # variables of the model that got a value
    kept: tuple[str, ...]  # variables left as they were, by ``skip_head``
    unused: tuple[str, ...]  # arrays of a head that the model lacks or keeps
    adapted: tuple[str, ...]  # first kernels changed to another number of channels


def load_weights(
    model: keras.Model,
    source: str | os.PathLike[str] | Record,
    *,
    skip_head: bool = False,
) -> LoadReport:
    """Fill a model from a weight file, or leave it as it is and say why.

    Everything is checked before the first value is assigned: every variable is filled
    exactly once; arrays left over belong to a head (``head_*``, ``aux*``) that the
    model lacks; shapes fit; values are finite floats; and the layers' settings are what
    the weights were made for, where the file tells (convzoo's own and ``.keras``).
    A model whose first convolution reads another number of channels gets an adapted
    kernel, see `adapt_channels`.

    Args:
        model: A flat model: of the zoo, or with layers named like it.
        source: Name of published weights (for a model just built by the zoo), a record
            from ``weights_info``, or the path of a convzoo ``.safetensors``, Keras 3
            ``.weights.h5`` or ``.keras`` file; the content decides, not the suffix.
        skip_head: Leave the head's layers as they are, for another number of classes.

    Returns:
        What was filled and what was left.

    Raises:
        FileNotFoundError: If the file is missing.
        TypeError: If ``source`` is something else.
        ValueError: If something does not fit; the model is unchanged, and the message
            names the array or the setting, expected and found.
    """
    path = _find_file(model, source)
    checkpoint = files.read(path)
    try:
        if isinstance(source, Record):
            check_rescaling(model, source)
        check_settings(model, checkpoint)
        filled, report = _match(model, checkpoint, path, skip_head=skip_head)
    except ValueError as error:
        raise ValueError(
            f"{path} does not fit the model {model.name!r}: {error}"
            f"{made_for(checkpoint.metadata, model)}."
        ) from None
    for variable, value in filled:
        variable.assign(value)
    return report


def save_weights(
    model: keras.Model, path: str | os.PathLike[str], layout: str = "convzoo"
) -> Path:
    """Write a model's weights as safetensors, keyed ``layer/variable``.

    The header carries the builder, variant, options and classes of a model built by the
    zoo, and each layer's settings, so that `load_weights` refuses a model of another
    make. An existing file is replaced in one step. Equal weights give equal bytes.

    Args:
        model: A flat model.
        path: A name that ends in ``.safetensors``.
        layout: ``"convzoo"``.

    Returns:
        The path written.

    Raises:
        ValueError: If the layout or the suffix is another, or a weight is not finite.
        FileNotFoundError: If the folder does not exist.
    """
    path = Path(path)
    one_of("layout", layout, LAYOUTS)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, found {str(path)!r}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}: create it first.")
    tensors = {
        name: keras.ops.convert_to_numpy(variable)
        for name, variable in _variables(model).items()
    }
    for name, array in tensors.items():
        if not _finite(array):
            raise ValueError(
                f"{name!r} of the model {model.name!r} holds NaN or inf: nothing saved."
            )
    files.write(path, tensors, origin_facts(model), model_settings(model))
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


def adapt_channels(kernel: Array, channels: int) -> Array:
    """Return a first kernel for images with another number of channels.

    One channel gets the sum over the old ones, so that a grey image answers like its
    RGB copy; more get the old ones in turn, scaled by old / new.

    Args:
        kernel: (height, width, old channels, filters).
        channels: Channels of the new images, at least 1.

    Returns:
        (height, width, channels, filters).
    """
    old = kernel.shape[2]
    if channels == 1:
        total: Array = kernel.sum(axis=2, keepdims=True)
        return total
    repeated: Array = kernel[:, :, np.arange(channels) % old]
    scaled: Array = repeated * kernel.dtype.type(old / channels)
    return scaled


def _find_file(model: keras.Model, source: str | os.PathLike[str] | Record) -> Path:
    """Return the file that a record, a record's name or a path means."""
    if isinstance(source, Record):
        return source.path()
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            "source must be a name, a path or a record from weights_info, "
            f"found {type(source).__name__}."
        )
    path, origin = Path(source), getattr(model, "origin", None)
    if origin is not None and source in list_weights(origin.builder):
        return find(origin.builder, str(source), origin.variant, origin.options).path()
    plain_word = isinstance(source, str) and path.name == source and not path.suffix
    if path.exists() or not plain_word:
        return path
    if origin is not None:
        return find(origin.builder, str(source), origin.variant).path()
    raise ValueError(
        f"There is no weight file {source!r}, and the model {model.name!r} does not "
        f"say who built it: pass the record, weights_info(<builder>, {source!r})."
    )


def _variables(model: keras.Model) -> dict[str, Any]:
    """Return the variables of a flat model, named ``layer/variable``.

    Random states, such as those of dropout, are no weights.
    """
    named: dict[str, Any] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            raise ValueError(
                f"the layer {layer.name!r} is a model itself, and only flat models are "
                "filled and saved"
            )
        for variable in layer.weights:
            name = f"{layer.name}/{variable.name}"
            if name in named:
                raise ValueError(f"the layer {layer.name!r} has two variables {name!r}")
            named[name] = variable
    return named


def _match(
    model: keras.Model, checkpoint: Checkpoint, path: Path, *, skip_head: bool
) -> tuple[list[tuple[Any, Array]], LoadReport]:
    """Pair every variable with its checked value; assigns nothing."""
    variables = _variables(model)
    tensors = _named(checkpoint.tensors, model)
    kept = [name for name in variables if skip_head and is_head(layer_of(name))]
    wanted = {name: v for name, v in variables.items() if name not in kept}
    unused = [name for name in tensors if name not in wanted]
    _check_names(wanted, tensors, layers_of(wanted))
    first = _first_kernels(model) if _first_differs(wanted, tensors) else ()
    filled, adapted = [], []
    for name, variable in wanted.items():
        tensor, shape = tensors[name], tuple(variable.shape)
        if name in first and _differs_in_channels(tensor.shape, shape):
            tensor = adapt_channels(tensor, shape[2])
            adapted.append(name)
        filled.append((variable, _checked(name, tensor, variable)))
    report = LoadReport(
        str(path),
        checkpoint.format,
        tuple(wanted),
        tuple(kept),
        tuple(unused),
        tuple(adapted),
    )
    return filled, report


def _named(tensors: Mapping[str, Array], model: keras.Model) -> dict[str, Array]:
    """Replace positions (``c1/0``) by the names of the model's variables."""
    names = {
        f"{layer.name}/{position}": f"{layer.name}/{variable.name}"
        for layer in model.layers
        for position, variable in enumerate(layer.weights)
    }
    return {names.get(name, name): tensor for name, tensor in tensors.items()}


def _check_names(
    wanted: Mapping[str, Any], tensors: Mapping[str, Array], layers: set[str]
) -> None:
    missing = [name for name in wanted if name not in tensors]
    if missing:
        headless = not any(is_head(layer) for layer in layers_of(tensors))
        advice = "; the file has no head: pass skip_head=True to keep the model's"
        raise ValueError(
            f"the file lacks {listed(missing, most=5)}, which the model has"
            f"{advice if headless and all(map(is_head, layers_of(missing))) else ''}"
        )
    strays = [
        name
        for name in tensors
        if name not in wanted and (layer_of(name) in layers or not is_head(name))
    ]
    if strays:
        raise ValueError(
            f"the file holds {listed(strays, most=5)}, which the model lacks"
        )


def _checked(name: str, tensor: Array, variable: Any) -> Array:
    """Return a tensor in the variable's type, if it is fit for it."""
    expected = tuple(variable.shape)
    if tensor.shape != expected:
        advice = "; pass skip_head=True to keep the model's own head"
        raise ValueError(
            f"{name!r} must have shape {expected}, found {tensor.shape}"
            f"{advice if is_head(name) else ''}"
        )
    if tensor.dtype.kind != "f" and tensor.dtype.name != "bfloat16":
        raise ValueError(f"{name!r} must hold floats, found {tensor.dtype}")
    with np.errstate(over="ignore"):
        value = tensor.astype(variable.dtype, copy=False)
    if not _finite(value):
        raise ValueError(
            f"{name!r} must be finite in {variable.dtype}, found NaN or inf"
        )
    return value


def _finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def _differs_in_channels(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Tell whether two kernels (h, w, channels, filters) differ in channels only."""
    return (
        len(found) == len(expected) == 4
        and found[2] != expected[2]
        and (*found[:2], found[3]) == (*expected[:2], expected[3])
    )


def _first_differs(wanted: Mapping[str, Any], tensors: Mapping[str, Array]) -> bool:
    return any(
        _differs_in_channels(tensors[name].shape, tuple(variable.shape))
        for name, variable in wanted.items()
    )


def _first_kernels(model: keras.Model) -> set[str]:
    """Return the kernels that read the image, with nothing learnt before them."""
    sources = links(model)
    weighted = {layer.name for layer in model.layers if layer.weights}
    reads_image: dict[str, bool] = {}
    for name, inputs in sources.items():
        reads_image[name] = all(
            reads_image.get(source, False) and source not in weighted
            for source in inputs  # one not seen yet: a layer called on its own output
        )
    return {
        f"{layer.name}/kernel"
        for layer in model.layers
        if reads_image[layer.name] and type(layer).__name__ == "Conv2D"
    }
