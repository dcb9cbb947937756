"""What a layer costs: its multiply-accumulates and its parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras

from convzoo.calls import TRANSPOSED, Network, Shape, bare, network

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)

# Weights that are multiplied with the map at every position.
_MULTIPLIED = ("kernel", "depthwise_kernel", "pointwise_kernel", "prototypes")
_KNOWN = (*CONVOLUTIONS, *TRANSPOSED)


def macs(model: keras.Model) -> dict[str, int | None]:
    """Return the multiply-accumulates of every layer for one example.

    Convolutions and dense layers count, taps over zero padding included; biases,
    normalisation, pooling and activations do not. A layer called twice counts twice.
    Only the shapes of variables are read, so a model built without weights will do, and
    a quantized one counts as before.

    Args:
        model: A functional or a built Sequential model.

    Returns:
        Layer name to MACs: 0 for a layer that multiplies by no kernel, None where a
        side of the map is unknown or the layer has kernels of a kind unknown here.

    Raises:
        TypeError: If ``model`` has no graph of layers.

    Example:
        >>> sum(macs(vgg16()).values())
        15470264320
    """
    net = network(model)
    found: dict[str, int | None] = {}
    for name, cost in call_macs(net).items():
        layer = net.calls[name].layer.name
        found[layer] = total((found.get(layer, 0), cost))
    return found


def call_macs(net: Network) -> dict[str, int | None]:
    """Return the multiply-accumulates of every call of a network already read."""
    return {
        name: _call_macs(
            bare(call.layer),
            [net.shapes[tensor] for tensor in call.arguments],
            net.output_of(name),
        )
        for name, call in net.calls.items()
    }


def total(parts: Iterable[int | None]) -> int | None:
    """Add costs; the sum is unknown if one of them is."""
    known: int = 0
    for part in parts:
        if part is None:
            return None
        known += part
    return known


def call_parameters(net: Network) -> dict[str, tuple[int, int]]:
    """Return all and the trainable parameters of every call, from shapes alone.

    What several calls share, also inside models, counts with the first of them.
    """
    seen: set[int] = set()
    found: dict[str, tuple[int, int]] = {}
    for name, call in net.calls.items():
        own = [w for w in getattr(call.layer, "weights", ()) if id(w) not in seen]
        seen |= {id(weight) for weight in own}
        trained = {id(w) for w in getattr(call.layer, "trainable_weights", ())}
        found[name] = _size(own), _size(w for w in own if id(w) in trained)
    return found


def _size(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _call_macs(layer: Any, inputs: list[Shape], output: Shape) -> int | None:
    if isinstance(layer, keras.Model):
        return _model_macs(layer, inputs)
    if not isinstance(layer, keras.layers.Layer):
        return 0
    multiplied = _multiplied(layer, inputs)
    if not multiplied:
        return multiplied
    shape = inputs[0] if isinstance(layer, TRANSPOSED) else output
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    positions = 1
    for side in shape[2:] if first else shape[1:-1]:
        if side is None:
            return None
        positions *= side
    return positions * multiplied


def _multiplied(layer: Any, inputs: list[Shape]) -> int | None:
    """Return the multiply-accumulates at one position; None if they are unknown."""
    if isinstance(layer, keras.layers.Dense):  # whose kernel may be quantized, packed
        return None if inputs[0][-1] is None else inputs[0][-1] * layer.units
    kernels = [weight for weight in layer.weights if weight.name in _MULTIPLIED]
    if isinstance(layer, _KNOWN) or type(layer).__module__.startswith("convzoo."):
        return _size(kernels)
    # A layer of the user's may multiply by any matrix that it holds.
    foreign = not type(layer).__module__.startswith("keras.")
    matrices = foreign and any(len(weight.shape) > 1 for weight in layer.weights)
    return None if kernels or matrices else 0


def _model_macs(model: Any, inputs: list[Shape]) -> int | None:
    try:
        inner = network(model)
    except TypeError:  # a subclassed model has no graph to count
        return None if model.weights else 0
    own = [tuple(tensor.shape)[1:] for tensor in model.inputs]
    if own != [shape[1:] for shape in inputs]:
        return None
    return total(call_macs(inner).values())
