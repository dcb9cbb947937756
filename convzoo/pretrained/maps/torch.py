"""What PyTorch's networks share: the parts of a layer, and the order of their axes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import keras
import numpy as np

from convzoo.pretrained.maps.places import (
    Place,
    columns_first,
    flattened,
    same,
    variables,
)
from convzoo.pretrained.readers.content import Array, Stored

Names = Mapping[str, str]  # their layer by ours
COUNTER = "num_batches_tracked"  # counts training steps; nothing reads it here


class Part(NamedTuple):
    """A variable's name behind its layer's, and its axes there and here."""

    name: str
    ours: Callable[[Array], Array]
    theirs: Callable[[Array], Array]


def _kernel_here(kernel: Array) -> Array:
    """(out, in, h, w) -> (h, w, in, out); files of 2018 lack the axes of size 1."""
    square = kernel.shape[2:] or (1, 1)
    return kernel.reshape(*kernel.shape[:2], *square).transpose(2, 3, 1, 0)


def _rows_there(kernel: Array, height: int = 1, width: int = 1) -> Array:
    maps = kernel.reshape(height, width, -1, kernel.shape[1])
    return maps.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)


def _depthwise(kernel: Array) -> Array:
    """(channels, 1, h, w) <-> (h, w, channels, 1)."""
    return kernel.transpose(2, 3, 0, 1)


_KERNEL = Part("weight", _kernel_here, lambda k: k.transpose(3, 2, 0, 1))
_DEPTHWISE = Part("weight", _depthwise, _depthwise)
_PARTS = {
    ("Conv2D", "kernel"): _KERNEL,
    ("DepthwiseConv2D", "kernel"): _DEPTHWISE,
    ("SeparableConv2D", "depthwise_kernel"): _DEPTHWISE._replace(name="conv1.weight"),
    ("SeparableConv2D", "pointwise_kernel"): _KERNEL._replace(name="pointwise.weight"),
    ("Dense", "kernel"): Part("weight", columns_first, _rows_there),
    ("BatchNormalization", "gamma"): Part("weight", same, same),
    ("BatchNormalization", "beta"): Part("bias", same, same),
    ("BatchNormalization", "moving_mean"): Part("running_mean", same, same),
    ("BatchNormalization", "moving_variance"): Part("running_var", same, same),
}
_BIAS = Part("bias", same, same)


def _parts(model: keras.Model, names: Names) -> dict[str, tuple[str, Part]]:
    """Return their layer and the part of each variable of ours."""
    fields = flattened(model)
    found = {}
    for layer, variable in variables(model):
        part = _PARTS.get((type(layer).__name__, variable), _BIAS)
        if variable == "kernel" and layer.name in fields:
            height, width, _ = fields[layer.name]
            part = Part(
                part.name,
                partial(columns_first, height=height, width=width),
                partial(_rows_there, height=height, width=width),
            )
        if layer.name in names:
            found[f"{layer.name}/{variable}"] = names[layer.name], part
    return found


def places(model: keras.Model, names: Names) -> dict[str, Place]:
    """Return where each variable of a model stands in a state dict."""
    return {
        ours: Place((f"{layer}.{part.name}",), part.ours)
        for ours, (layer, part) in _parts(model, names).items()
    }


def state_dict(
    model: keras.Model, values: Mapping[str, Array], names: Names
) -> dict[str, Array]:
    """Return a model's weights as a state dict that PyTorch loads strictly."""
    state = {}
    for ours, (layer, part) in _parts(model, names).items():
        state[f"{layer}.{part.name}"] = part.theirs(values[ours])
        if part.name == "running_var":
            state[f"{layer}.{COUNTER}"] = np.zeros((), np.int64)
    return state


def rename(rules: Mapping[str, str], layers: list[str]) -> dict[str, str]:
    """Return their layers' names by the first rule whose pattern fits all of ours."""
    names = {}
    for layer in layers:
        for pattern, theirs in rules.items():
            match = re.fullmatch(pattern, layer)
            if match:
                names[layer] = match.expand(theirs)
                break
    return names


def numbers(tensors: Mapping[str, Stored], pattern: str) -> list[tuple[int, ...]]:
    """Return the numbers that a pattern finds in the names, each once, in order."""
    found = (re.fullmatch(pattern, name) for name in tensors)
    return list(dict.fromkeys(tuple(map(int, m.groups())) for m in found if m))
