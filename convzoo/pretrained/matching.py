"""Which array of a weight file fills which variable of a model, and whether it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from convzoo.anatomy import links
from convzoo.pretrained.conventions import check_identity, is_head
from convzoo.pretrained.files import Checkpoint, layer_of, layers_of
from convzoo.pretrained.maps import libraries
from convzoo.pretrained.maps.places import Place, same
from convzoo.pretrained.readers.content import Array, Stored
from convzoo.pretrained.records import listed


class Match(NamedTuple):
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
        if not is_finite(value):
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


class Pairing(NamedTuple):
    """How a file fills a model; variables are named ``layer/variable``."""

    matches: list[Match]
    kept: tuple[str, ...]  # variables that stay as they are
    unused: tuple[str, ...]  # arrays that fill nothing


def pair(model: keras.Model, checkpoint: Checkpoint, *, skip_head: bool) -> Pairing:
    """Pair every variable with the arrays that fill it; reads and assigns nothing.

    Raises:
        ValueError: If the file holds another network, or too little or too much.
    """
    variables = variables_of(model)
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
        Match(
            name,
            variable,
            places[name].sources,
            tuple(tensors[source] for source in places[name].sources),
            places[name].take,
            None,
        )
        for name, variable in wanted.items()
    ]
    return Pairing(_adapted(model, matches), tuple(kept), tuple(unused))


def variables_of(model: keras.Model) -> dict[str, Any]:
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


def headless(checkpoint: Checkpoint) -> bool:
    """Tell whether a file holds the body alone."""
    if checkpoint.identity is not None:
        return checkpoint.identity.classes is None
    return not any(map(is_head, checkpoint.tensors))


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


def is_finite(array: Array) -> bool:
    """Tell whether an array holds neither NaN nor inf."""
    with np.errstate(over="ignore", invalid="ignore"):
        # The sum is finite in nearly every case, and needs no second array.
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def _adapted(model: keras.Model, matches: list[Match]) -> list[Match]:
    """Mark the first kernels that read another number of channels."""
    differing = [
        match.name
        for match in matches
        if match.name.endswith("/kernel")
        and len(match.variable.shape) == 4
        and _differs_in_channels(_turned_shape(match), tuple(match.variable.shape))
    ]
    if not differing:
        return matches
    adapted = _first_kernels(model).intersection(differing)
    return [
        match._replace(channels=match.variable.shape[2])
        if match.name in adapted
        else match
        for match in matches
    ]


def _turned_shape(match: Match) -> tuple[int, ...]:
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
