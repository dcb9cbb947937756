"""Move weights between files and models: completely checked, then assigned at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from convzoo.anatomy import links
from convzoo.arguments import level_of_the_caller, one_of
from convzoo.deferred import awaits, deep_graphs, fill
from convzoo.pretrained import files
from convzoo.pretrained.conventions import (
    check_exists_in,
    check_identity,
    check_rescaling,
    check_settings,
    is_head,
    made_for,
    model_settings,
    origin_facts,
)
from convzoo.pretrained.files import Checkpoint, layer_of, layers_of
from convzoo.pretrained.maps import libraries
from convzoo.pretrained.maps.places import Place, same
from convzoo.pretrained.readers.content import Array, Stored, UnreadableError
from convzoo.pretrained.record import LicenceWarning
from convzoo.pretrained.records import Record, find_for, listed, names_weights

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
    kernel, see `adapt_channels`.

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
        matches, report = _match(model, checkpoint, skip_head=skip_head)
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
    return report


def _assign(matches: list[_Match], path: Path) -> None:
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
        for name, variable in _variables(model).items()
    }
    for name, array in tensors.items():
        if not _finite(array):
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


class _Match(NamedTuple):
    """A variable and what fills it."""

    name: str
    variable: Any
    sources: tuple[str, ...]
    arrays: tuple[Stored, ...]
    take: Callable[..., Array]
    channels: int | None  # of the images, where a first kernel must be adapted

    @np.errstate(over="ignore", invalid="ignore")  # the last check tells it in words
    def value(self) -> Array:
        """Read, turn and check the value; it may still lie in the file."""
        shape = tuple(self.variable.shape)
        for source, array in zip(self.sources, self.arrays, strict=True):
            if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
                raise ValueError(f"{source!r} must hold floats, found {array.dtype}")
        try:
            turned = self.take(*(_single(array.read()) for array in self.arrays))
        except ValueError as error:
            raise ValueError(
                f"{self._misfit(self.arrays[0].shape)} ({error})"
            ) from None
        if self.channels is not None:
            turned = adapt_channels(turned, self.channels)
        if turned.shape != shape:
            raise ValueError(self._misfit(turned.shape))
        value: Array = turned.astype(self.variable.dtype, copy=False)
        if not _finite(value):
            raise ValueError(
                f"{self.sources[0]!r} must be finite in {self.variable.dtype}, found "
                "NaN or inf"
            )
        return value

    def _misfit(self, found: tuple[int, ...]) -> str:
        expected = tuple(self.variable.shape)
        theirs = self.sources[0]
        whose = "" if theirs == self.name else f" for {self.name!r}"
        advice = (
            "; to keep a head of the model's own pass classes= to the builder, or "
            "skip_head=True to load_weights"
        )
        return (
            f"{theirs!r} must have shape {expected}{whose}, found {found}"
            f"{advice if is_head(self.name) else ''}"
        )


def _match(
    model: keras.Model, checkpoint: Checkpoint, *, skip_head: bool
) -> tuple[list[_Match], LoadReport]:
    """Pair every variable with the arrays that fill it; reads and assigns nothing."""
    variables = _variables(model)
    tensors, identity = checkpoint.tensors, checkpoint.identity
    if identity is None:
        tensors = _named(tensors, model)
        places = {name: Place((name,), same) for name in variables}
    else:
        check_identity(model, identity)
        places = libraries.places(model, checkpoint.content, identity)
    kept = [name for name in variables if skip_head and is_head(layer_of(name))]
    wanted = {name: v for name, v in variables.items() if name not in kept}
    used = {source for name in wanted if name in places for source in places[name][0]}
    unused = [name for name in tensors if name not in used]
    _check_complete(wanted, places, tensors, headless=headless(checkpoint))
    layers = layers_of(wanted)
    strays = [
        name
        for name in unused
        if (
            layer_of(name) in layers or not is_head(name)
            if identity is None
            else not libraries.may_be_left(name, identity)
        )
    ]
    if strays:
        raise ValueError(
            f"the file holds {listed(strays, most=5)}, which the model lacks"
        )
    matches = [
        _Match(
            name,
            variable,
            places[name].sources,
            tuple(tensors[source] for source in places[name].sources),
            places[name].take,
            None,
        )
        for name, variable in wanted.items()
    ]
    matches, adapted = _adapted(model, matches)
    report = LoadReport(
        str(checkpoint.path),
        checkpoint.content.format,
        tuple(wanted),
        tuple(kept),
        tuple(unused),
        adapted,
    )
    return matches, report


def headless(checkpoint: Checkpoint) -> bool:
    """Tell whether a file holds the body alone."""
    if checkpoint.identity is not None:
        return checkpoint.identity.classes is None
    return not any(map(is_head, checkpoint.tensors))


def _check_complete(
    wanted: Iterable[str],
    places: Mapping[str, Place],
    tensors: Mapping[str, Stored],
    *,
    headless: bool,
) -> None:
    """Refuse a file that lacks what fills the model."""
    wanted = list(wanted)
    lacking = [name for name in wanted if not _has(places.get(name), tensors)]
    if len(lacking) > len(wanted) / 2 and tensors:
        raise ValueError(
            f"the file holds another network, which begins with "
            f"{listed(tensors, most=2)}; the model begins with {listed(wanted, most=2)}"
        )
    if lacking:
        advice = "; the file has no head: pass skip_head=True to keep the model's"
        raise ValueError(
            f"the file lacks {listed(lacking, most=5)}, which the model has"
            f"{advice if headless and all(map(is_head, layers_of(lacking))) else ''}"
        )


def _has(place: Place | None, tensors: Mapping[str, Stored]) -> bool:
    return place is not None and all(source in tensors for source in place.sources)


def _single(array: Array) -> Array:
    """Widen half precision, in which what is turned would lose its last digits."""
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def _named(tensors: Mapping[str, Stored], model: keras.Model) -> dict[str, Stored]:
    """Replace positions (``c1/0``) by the names of the model's variables."""
    names = {
        f"{layer.name}/{position}": f"{layer.name}/{variable.name}"
        for layer in model.layers
        for position, variable in enumerate(layer.weights)
    }
    return {names.get(name, name): tensor for name, tensor in tensors.items()}


def _finite(array: Array) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        # The sum is finite in nearly every case, and needs no second array.
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def _adapted(
    model: keras.Model, matches: list[_Match]
) -> tuple[list[_Match], tuple[str, ...]]:
    """Mark the first kernels that read another number of channels."""
    differing = [
        match.name
        for match in matches
        if match.name.endswith("/kernel")
        and len(match.variable.shape) == 4
        and _differs_in_channels(_turned_shape(match), tuple(match.variable.shape))
    ]
    if not differing:
        return matches, ()
    adapted = tuple(name for name in differing if name in _first_kernels(model))
    return [
        match._replace(channels=match.variable.shape[2])
        if match.name in adapted
        else match
        for match in matches
    ], adapted


def _turned_shape(match: _Match) -> tuple[int, ...]:
    """Return the shape that a value would have; no value is read."""
    array = match.arrays[0]
    if len(array.shape) != 4:
        return array.shape
    try:
        return match.take(np.broadcast_to(array.dtype.type(0), array.shape)).shape
    except ValueError:
        return array.shape  # `value` tells it in words


def _differs_in_channels(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Tell whether two kernels (h, w, channels, filters) differ in channels only."""
    return (
        len(found) == len(expected) == 4
        and found[2] != expected[2]
        and (*found[:2], found[3]) == (*expected[:2], expected[3])
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
