"""Caffe's AlexNet and GoogLeNet: BGR, grouped kernels, and the LRN of another constant.

The paper divides by (2 + 1e-4 S)^0.75, Caffe by (1 + 2e-5 S)^0.75, S the sum of squares
over five maps. ReLU and max pooling pass a factor on, so it moves into the neighbours:
with c = sqrt(0.4) on the convolution before, 2 + 1e-4 c^2 S = 2 (1 + 2e-5 S); and the
kernel after it makes good for it by 2^0.75 / c.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import keras
import numpy as np

from convzoo.pretrained.maps.places import (
    Identity,
    Place,
    caffe_mean,
    columns_first,
    flattened,
    variables,
)
from convzoo.pretrained.readers.content import Array, Content, UnreadableError

MEAN = caffe_mean(123, 117, 104)
HEAD = re.compile(r"(fc\d\w*|loss\d/.*)/\d+")

BEFORE = math.sqrt(0.4)
AFTER = 2**0.75 / BEFORE
# The convolutions before and after a response normalisation; conv2 is both in AlexNet.
BEFORE_LRN = r"conv[12]_tower[12]|conv1_7x7|conv2_3x3"
AFTER_LRN = (
    r"conv[23]_tower[12]|conv2_3x3_reduce|inception_3a_(1x1|\dx\d_reduce|pool_proj)"
)
FIRST = r"conv1_tower[12]|conv1_7x7"
ALEXNET = (96, 3, 11, 11), (256, 192, 3, 3)  # its first and last kernel

Turn = Callable[[Array], Array]


def identify(content: Content) -> Identity | None:
    """Tell AlexNet from GoogLeNet; None if it is neither.

    Raises:
        UnreadableError: If it is CaffeNet, whose arrays are those of AlexNet.
    """
    shapes = {name: stored.shape for name, stored in content.tensors.items()}
    if (shapes.get("conv1/0"), shapes.get("conv5/0")) == ALEXNET:
        order = [name for name in content.header["order"] if name in {"norm1", "pool1"}]
        if order == ["pool1", "norm1"]:
            raise UnreadableError(
                "CaffeNet, which pools before it normalises (AlexNet does not)"
            )
        classes = math.prod(shapes["fc8/1"]) if "fc8/1" in shapes else None
        return Identity("caffe", "alexnet", "paper", {}, classes, MEAN)
    if "inception_3a/1x1/0" in shapes:
        bias = shapes.get("loss3/classifier/1")
        classes = math.prod(bias) if bias else None
        return Identity("caffe", "googlenet", "paper", {}, classes, MEAN)
    return None


def places(model: keras.Model, builder: str) -> dict[str, Place]:
    """Return where each variable of a model stands in a caffemodel."""
    fields = flattened(model)
    theirs = _alexnet if builder == "alexnet" else _googlenet
    found = {}
    for layer, variable in variables(model):
        field = fields.get(layer.name, (1, 1, 0))
        take = _kernel(layer, field) if variable == "kernel" else _bias(layer.name)
        number = ("kernel", "bias").index(variable)
        found[f"{layer.name}/{variable}"] = Place(
            (f"{theirs(layer.name)}/{number}",), take
        )
    return found


def _alexnet(layer: str) -> str:
    named = {"head_predictions": "fc8"}.get(layer, layer.removeprefix("head_"))
    return re.sub(r"_tower\d$", "", named)


def _googlenet(layer: str) -> str:
    if layer == "head_predictions":
        return "loss3/classifier"
    if layer == "conv1_7x7":
        return "conv1/7x7_s2"
    side = re.fullmatch(r"aux(\d)_(\w+)", layer)
    if side:
        part = {"1x1": "conv", "fc": "fc", "predictions": "classifier"}[side[2]]
        return f"loss{side[1]}/{part}"
    return re.sub(r"^(conv2|inception_\w\w)_", r"\1/", layer)


def _kernel(layer: keras.Layer, field: tuple[int, int, int]) -> Turn:
    name = layer.name
    if isinstance(layer, keras.layers.Dense):
        height, width, _ = field

        def dense(kernel: Array) -> Array:
            # Old files write (1, 1, units, inputs).
            return columns_first(kernel.reshape(kernel.shape[-2:]), height, width)

        return dense
    factor = _factor(name, BEFORE_LRN, BEFORE) * _factor(name, AFTER_LRN, AFTER)

    def convolution(kernel: Array) -> Array:
        own = _own_filters(name, kernel)
        if re.fullmatch(FIRST, name):
            own = own[:, ::-1] if own.shape[1] == 3 else own  # BGR to RGB
        turned = own.transpose(2, 3, 1, 0)
        return turned if factor == 1 else turned * kernel.dtype.type(factor)

    return convolution


def _bias(name: str) -> Turn:
    factor = _factor(name, BEFORE_LRN, BEFORE)

    def bias(values: Array) -> Array:
        own = _own_filters(name, values.ravel())
        return own if factor == 1 else own * values.dtype.type(factor)

    return bias


def _factor(name: str, pattern: str, factor: float) -> float:
    return factor if re.fullmatch(pattern, name) else 1.0


def _own_filters(name: str, array: Array) -> Array:
    """Return a tower's half of the filters."""
    if not re.search(r"_tower[12]$", name):
        return array
    return np.split(array, 2)[int(name[-1]) - 1]
