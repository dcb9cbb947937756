"""Maps from inside a model: taps at each stride, and the maps of any layer."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convzoo import calls
from convzoo.anatomy import stages, taps
from convzoo.arguments import as_int, require
from convzoo.calls import Network
from convzoo.deferred import awaits, deep_graphs
from convzoo.inspect.operations import kind
from convzoo.pretrained.images import Images, Recipe, prepare
from convzoo.pretrained.records import find_for, list_weights

_ImageShape: TypeAlias = tuple[int | None, int | None, int]

_BATCH = 32
_PICTURED = (1, 3)  # channels of pictures
_RESCALING = "image_rescaling"  # the layer of include_preprocessing=True


class _Whole(NamedTuple):
    """How images are fitted where no record tells: as much as the input holds."""

    input_shape: tuple[int, int, int]
    resize: int
    crop: int
    name: str = "whole"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    interpolation: str = "bilinear"


def feature_extractor(
    model: keras.Model, strides: Iterable[int] = (2, 4, 8, 16, 32)
) -> keras.Model:
    """Return a model that gives the map representing each stride, ready for a pyramid.

    The map is the last one at its stride through which all data pass: on ResNet50 the
    ends of conv1 to conv5, with 64, 256, 512, 1,024 and 2,048 channels. Strides and
    channels equal those of timm's ``features_only``. On U-Net, whose skips bypass the
    coarse maps, it is the last map of the expanding path, for the coarsest stride the
    bottom. AlexNet's two towers become one map.

    Args:
        model: Any model of the zoo, with or without its top and of any input size, or
            another functional model. Nothing in it changes.
        strides: Input pixels per step of the wanted maps.

    Returns:
        A flat model on the same layers, so with the same weights, that gives
        ``{"s2": ..., "s4": ...}``.

    Raises:
        TypeError: If ``model`` has no graph of layers.
        ValueError: If it has no map at a stride; the message lists those that it has.

    Example:
        >>> body = resnet18(include_top=False, input_shape=(64, 64, 3))
        >>> maps = feature_extractor(body, strides=(8, 16)).output
        >>> maps["s8"].shape, maps["s16"].shape
        ((None, 8, 8, 128), (None, 4, 4, 256))
    """
    net = calls.network(model)
    wanted = _whole_numbers(strides)
    tapped = _tapped(model, net)
    missing = [stride for stride in wanted if stride not in tapped]
    if missing:
        has = ", ".join(map(str, tapped)) or "none"
        inner = [c.layer.name for c in net.calls.values() if has_maps(c.layer)]
        hint = [
            f"; for those inside {name!r} give model.get_layer({name!r})"
            for name in inner[:1]
        ]
        raise ValueError(
            f"strides={wanted}: model {model.name!r} has no map at stride "
            f"{missing[0]}; the strides of its maps are {has}{''.join(hint)}."
        )
    for stride in wanted:
        require(
            f"{tapped[stride]}#2" not in net.calls,
            f"The layer {tapped[stride]!r}, which gives the map at stride {stride}, is "
            "called more than once in the model: take maps by feature_maps.",
        )
    names = {f"s{stride}": tapped[stride] for stride in wanted}
    return _submodel(model, names, f"{model.name}_features")


def feature_maps(
    model: keras.Model, images: Images, layer: str | Sequence[str]
) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return what layers of a model give for images.

    Args:
        model: Any functional model with one image as input.
        images: As `batch_of` takes them: anything that ``predict`` takes, where the
            model knows how to prepare it, else arrays as the model reads them.
        layer: A layer's name, or several. The second call of a shared layer is named
            ``"<layer>#2"``.

    Returns:
        For one layer an array, (n, height, width, channels) where it gives maps, n = 1
        for one image. For several, arrays by name.

    Raises:
        ImageError: If an image cannot be used.
        TypeError: If ``model`` has no graph of layers.
        ValueError: If a layer is not known (the message lists them), the arrays do not
            fit the model, or it was built without weights.

    Example:
        >>> feature_maps(lenet(), np.zeros((1, 32, 32, 1), "float32"), "c3").shape
        (1, 10, 10, 16)
    """
    net = calls.network(model)
    several = isinstance(layer, Sequence) and not isinstance(layer, str)
    names: list[Any] = list(layer) if several else [layer]
    require(bool(names), "layer=[] names no layer: give at least one.")
    for name in names:
        require_layer(name, model, net)
    require_weights(model)
    batch = batch_of(model, images)
    # Outputs are numbered, since a name such as "conv#2" may not name an output.
    inner = _submodel(model, {f"m{i}": name for i, name in enumerate(names)}, "maps")
    inner.run_eagerly = True  # compiled for one call it would take longer
    parts = [
        inner.predict_on_batch(batch[start : start + _BATCH])
        for start in range(0, len(batch), _BATCH)
    ]
    maps = {
        name: np.concatenate([part[f"m{i}"] for part in parts])
        for i, name in enumerate(names)
    }
    return maps[layer] if isinstance(layer, str) else maps


def batch_of(model: keras.Model, images: Images) -> NDArray[Any]:
    """Return images as the batch that a model reads.

    Args:
        model: A functional model with one image as input.
        images: Where the model was built with published weights, or with
            ``include_preprocessing=True`` for a fixed size and 1 or 3 channels: a path,
            a PIL image, an array of 0 to 255 or a list of those. Without published
            weights the shorter side is resized to the input's (longer) side and the
            centre cut out. Other models get arrays as they read them, (n, height,
            width, channels) or one image.

    Raises:
        ImageError: If an image cannot be used.
        ValueError: If the arrays do not fit the model.
    """
    shape = _image_shape(model)
    recipe = _recipe(model, shape)
    if recipe is None:
        return _checked(model, images, shape)
    size = _size(shape, recipe)
    return prepare(images, recipe, size=size, normalise=not _rescales(model))


def pixels(model: keras.Model, images: Images) -> NDArray[np.uint8]:
    """Return images as a model sees them: resized and cut, 0 to 255.

    The pictures that the heat maps of ``grad_cam`` lie upon.

    Raises:
        ImageError: If an image cannot be used.
        ValueError: If the model does not know how to prepare images.
    """
    shape = _image_shape(model)
    recipe = _recipe(model, shape)
    if recipe is None:
        raise ValueError(
            f"{_unprepared(model, shape)}, so how it sees images is not known: fit "
            "them to its input."
        )
    fitted = prepare(images, recipe, size=_size(shape, recipe), normalise=False)
    return fitted.astype(np.uint8)


def require_layer(name: str, model: keras.Model, net: Network) -> None:
    """Raise a ValueError that names the layers, unless the model has this one."""
    require(
        isinstance(name, str),
        f"layer must be the name of a layer, found {name!r}: give one of "
        "[layer.name for layer in model.layers].",
    )
    if name in net.calls:
        return
    path = calls.path_to(name, net)
    if path:
        steps = "".join(f".get_layer({step!r})" for step in path)
        raise ValueError(
            f"layer={name!r} stands inside the layer {path[0]!r} of model "
            f"{model.name!r}, itself a model that counts as one layer: name "
            f"{path[0]!r}, or give model{steps} instead of the model."
        )
    names = list(net.calls)
    like = difflib.get_close_matches(name, names, n=3)
    like = like or [other for other in names if other.startswith(name)][-3:]
    hint = f", did you mean {' or '.join(map(repr, like))}?" if like else ""
    raise ValueError(
        f"layer={name!r} is not a layer of model {model.name!r}{hint}; accepted: "
        f"{', '.join(map(repr, names))}."
    )


def require_weights(model: keras.Model) -> None:
    """Raise a ValueError if the variables of a model have no values."""
    require(
        not any(map(awaits, model.weights)),
        f"Model {model.name!r} was built without weights, so there are no maps.",
    )


def _whole_numbers(strides: Iterable[int]) -> tuple[int, ...]:
    try:
        found = [as_int(stride) for stride in strides]
    except TypeError:  # a single number
        found = [None]
    wanted = tuple(stride for stride in found if stride is not None)
    require(
        bool(found) and len(wanted) == len(found),
        f"strides must be whole numbers such as (8, 16, 32), found {strides!r}.",
    )
    return wanted


def _tapped(model: keras.Model, net: Network) -> dict[int, str]:
    """Return the layer that represents each stride, strides ascending."""
    strides = calls.strides(net)
    grows = any(
        strides[source] > strides[name]
        for name in net.calls
        for source in net.sources_of(name)
    )
    if not grows:
        return taps(model)
    ends: dict[int, str] = {}
    for stage in stages(model):
        if stage.name not in ("image", "head"):
            ends[stage.stride] = [
                name
                for name in stage.layers
                if kind(net.calls[name].layer) != "regularization"
            ][-1]
    return dict(sorted(ends.items()))


def has_maps(layer: Any) -> bool:
    """Say whether a layer is a model with maps inside."""
    found = calls.graph_of(layer)
    return found is not None and any(len(s) == 4 for s in found.shapes.values())


def _submodel(model: keras.Model, names: dict[str, str], called: str) -> keras.Model:
    """Return a model on the same layers that gives the maps of these calls."""
    tensors = calls.tensors_of(model)
    outputs = {key: _joined(tensors[name], name) for key, name in names.items()}
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    with deep_graphs():
        return keras.Model(inputs, outputs, name=called)


def _joined(tensors: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    """Return the only tensor of a call; AlexNet's two towers as one."""
    if len(tensors) == 1:
        return tensors[0]
    shapes = [tuple(tensor.shape) for tensor in tensors]
    require(
        len({shape[:-1] for shape in shapes}) == 1,
        f"layer={name!r} gives {len(shapes)} tensors of different shapes, "
        f"{' and '.join(map(str, shapes))}: name the layers that make them, or those "
        "that read them.",
    )
    return keras.layers.Concatenate(name=f"{name.replace('#', '_')}_concat")(tensors)


def _image_shape(model: keras.Model) -> _ImageShape:
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    require(
        len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][2] is not None,
        f"Model {model.name!r} must read one image, (height, width, channels), but its "
        f"inputs have the shapes {shapes}.",
    )
    first = next((x for x in model.layers if _is_channels_first(x)), None)
    require(
        first is None,
        f"Model {model.name!r} must have channels last, but its layer "
        f"{getattr(first, 'name', None)!r} is set to channels_first.",
    )
    height, width, channels = shapes[0]
    return height, width, channels


def _is_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _rescales(model: keras.Model) -> bool:
    return any(layer.name == _RESCALING for layer in model.layers)


def _recipe(model: keras.Model, shape: _ImageShape) -> Recipe | None:
    """Return how a model's images are prepared, as far as it is known."""
    origin = getattr(model, "origin", None)
    if origin is not None and origin.weights in list_weights(origin.builder):
        record = find_for(origin, origin.weights)
        if record.input_shape[2] == shape[2]:
            return record
    height, width, channels = shape
    if not _rescales(model) or height is None or width is None:
        return None
    side = max(height, width)
    whole = _Whole((height, width, channels), resize=side, crop=side)
    return whole if channels in _PICTURED else None


def _unprepared(model: keras.Model, shape: _ImageShape) -> str:
    """Say why it is not known how a model's images are prepared."""
    if not _rescales(model):
        cause = (
            "was built without published weights and without include_preprocessing=True"
        )
    elif shape[2] in _PICTURED:
        cause = "reads maps of no fixed size"
    else:
        cause = f"reads maps of {shape[2]} channels, not pictures"
    return f"Model {model.name!r} {cause}"


def _size(shape: _ImageShape, recipe: Recipe) -> tuple[int, int]:
    height, width, _ = recipe.input_shape
    return shape[0] or height, shape[1] or width


def _checked(model: keras.Model, images: Any, shape: _ImageShape) -> NDArray[Any]:
    """Return arrays that a model reads as they are, once they are seen to fit it."""
    sides = ("any height", "any width", "")
    form = ", ".join(str(side or word) for side, word in zip(shape, sides, strict=True))
    array = _array(images)
    if array is None:
        raise ValueError(
            f"{_unprepared(model, shape)}, so images must be an array as it reads "
            f"them, (n, {form}), found {type(images).__name__}."
        )
    batch = array[np.newaxis] if array.ndim == 3 else array
    require(
        batch.size > 0,
        f"images of shape {array.shape} hold nothing: give at least one.",
    )
    require(
        batch.ndim == 4
        and all(
            wanted in (None, found)
            for wanted, found in zip(shape, batch.shape[1:], strict=True)
        ),
        f"images of shape {array.shape} do not fit model {model.name!r}, which reads "
        f"(n, {form}).",
    )
    normalises = any(
        type(layer).__name__ in ("Rescaling", "Normalization") for layer in model.layers
    )
    require(
        batch.dtype.kind in "fiu",
        f"images of dtype {batch.dtype} hold no pixels: give numbers, of an integer or "
        "a float dtype.",
    )
    require(
        batch.dtype.kind == "f" or normalises,
        f"images of dtype {batch.dtype} are not normalised, and model {model.name!r} "
        "has no preprocessing inside: give floats, normalised as in its training.",
    )
    require(
        bool(np.isfinite(batch).all()), "images hold NaN or infinity: give finite ones."
    )
    return batch


def _array(images: Any) -> NDArray[Any] | None:
    """Return images as an array, if they are one."""
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return None
    if keras.ops.is_tensor(images):
        array = keras.ops.convert_to_numpy(images)
    else:
        try:
            array = np.asarray(images)
        except ValueError:  # of several shapes
            return None
    # Of objects and of text: of images in a list, or of their paths.
    return None if array.dtype.kind in "OUS" else array
