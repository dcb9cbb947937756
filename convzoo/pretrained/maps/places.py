"""The words of every map: what a file was made for, and where its arrays go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras

from convzoo.anatomy import links
from convzoo.pretrained.readers.content import Array

Scaling = tuple[tuple[float, ...], tuple[float, ...]]  # mean, deviation of RGB / 255

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SYMMETRIC = ((0.5,) * 3, (0.5,) * 3)


def caffe_mean(red: float, green: float, blue: float) -> Scaling:
    """Return the scaling of a network that reads 0..255 minus the mean pixel."""
    return (red / 255, green / 255, blue / 255), (1 / 255,) * 3


class Identity(NamedTuple):
    """What a file of another library was made for, told by its names and shapes."""

    layout: str  # "keras", "torchvision", "timm" or "caffe"
    builder: str
    variant: str | None  # None where all variants are one network
    options: Mapping[str, Any] = MappingProxyType({})
    classes: int | None = None  # None where the file has no head
    scaling: Scaling | None = None  # None where the layout does not fix it


class Place(NamedTuple):
    """Where a variable of ours stands in a file: ``take`` makes it of the sources."""

    sources: tuple[str, ...]
    take: Callable[..., Array]


def width_multiplier(filters: int) -> float:
    """Return MobileNet's alpha, which gave its last convolution int(1024 alpha)."""
    if filters % 32 == 0:
        return filters / 1024  # every layer's width is whole
    for digits in range(5):
        alpha: float = math.ceil(filters / 1024 * 10**digits) / 10**digits
        if int(1024 * alpha) == filters:
            return alpha
    return filters / 1024


def variables(model: keras.Model) -> Iterator[tuple[keras.Layer, str]]:
    """Yield each layer and the name of each of its variables."""
    for layer in model.layers:
        for variable in layer.weights:
            yield layer, variable.name


def flattened(model: keras.Model) -> dict[str, tuple[int, int, int]]:
    """Return the dense layers that read a flattened map, and its (h, w, channels)."""
    sources = links(model)
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            before = layer.name
            while len(sources[before]) == 1:
                before = sources[before][0]
                if not isinstance(model.get_layer(before), keras.layers.Dropout):
                    break
            flatten = model.get_layer(before)
            if isinstance(flatten, keras.layers.Flatten):
                found[layer.name] = tuple(flatten.input.shape[1:])
    return found


def same(array: Array) -> Array:
    """Leave an array as it is."""
    return array


def columns_first(kernel: Array, height: int = 1, width: int = 1) -> Array:
    """Turn (units, channels * h * w), or a convolution's axes, into (h * w * c, units).

    Raises:
        ValueError: If the map is not square, as it is wherever such a kernel was made.
    """
    if height != width:
        raise ValueError(f"the map of {height} x {width} is not square")
    maps = kernel.reshape(len(kernel), -1, height, width)
    return maps.transpose(2, 3, 1, 0).reshape(-1, len(kernel))
