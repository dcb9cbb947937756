"""What a layer does, in a word or two: the vocabulary of diagrams and tables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from convzoo.calls import Shape, bare

# Kinds of operations and their colours, what matters most in a block first.
KINDS = {
    "dense": "#f6cfc9",
    "transposed convolution": "#bfe6e4",
    "upsampling": "#bfe6e4",
    "separable convolution": "#d9cff2",
    "convolution": "#cadff7",
    "model": "#dde1e6",
    "pooling": "#cfebc9",
    "other": "#ffffff",
    "normalization": "#eee3cf",
    "merge": "#fbeebc",
    "activation": "#fbdcbb",
    "regularization": "#efefef",
    "reshape": "#e9edf0",
    "input": "#e3e7ea",
}

# Kinds that finish the operation before them: they share its line.
FOLLOWERS = ("normalization", "activation", "regularization")

_ACTIVATIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "elu": "ELU",
    "gelu": "GELU",
    "selu": "SELU",
    "celu": "CELU",
    "glu": "GLU",
    "silu": "SiLU",
    "leaky_relu": "leaky ReLU",
}
# Those that stand in a graph as operations or layers of their own, by their classes.
_OPERATIONS = {
    "".join(word.capitalize() for word in name.split("_")): text
    for name, text in _ACTIVATIONS.items()
} | {"LeakyReLU": "leaky ReLU", "PReLU": "PReLU"}
_MERGES = {
    "Add": "add",
    "Average": "average",
    "Concatenate": "concat",
    "Multiply": "multiply",
    "Subtract": "subtract",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Dot": "dot product",
}
_NORMALIZATIONS = {
    "BatchNormalization": "BN",
    "LayerNormalization": "LN",
    "GroupNormalization": "GN",
    "UnitNormalization": "unit norm",
    "LocalResponseNormalization": "LRN",
}
_DISREGARDED = re.compile(
    r"name|trainable|dtype|seed|build_config|compile_config|shared_object_id"
    r"|.*_(initializer|regularizer|constraint)"
)
_RESHAPES = ("Flatten", "Reshape", "Permute", "RepeatVector", "Identity", "GetItem")


def kind(layer: Any) -> str:
    """Return the kind of a layer's operation, a key of `KINDS`."""
    layer = bare(layer)
    name = type(layer).__name__
    for pattern, found in _KIND_OF:
        if re.search(pattern, name):
            return found
    return "model" if isinstance(layer, keras.Model) else "other"


def main_kind(kinds: Iterable[str]) -> str:
    """Return the kind that names a block of several: the first in `KINDS`."""
    found = set(kinds)
    return next(kind for kind in KINDS if kind in found)


_KIND_OF = (
    (r"^InputLayer$", "input"),
    (r"Conv\d?D?Transpose", "transposed convolution"),
    (r"^UpSampling", "upsampling"),
    (r"^(Separable|Depthwise)Conv", "separable convolution"),
    (r"Conv(?!ert)", "convolution"),
    (r"Dense$|RadialBasis", "dense"),
    (r"Pool|Subsampling", "pooling"),
    (r"Normalization$", "normalization"),
    (
        r"^(Activation|ReLU|ELU|(Log)?Softmax|Soft(plus|sign|Shrink)|Mish|HardSilu|"
        + "|".join(_OPERATIONS)
        + ")$|Tanh|Sigmoid",
        "activation",
    ),
    (r"Dropout|GaussianNoise|ActivityRegularization", "regularization"),
    (r"^(" + "|".join(_MERGES) + r")$", "merge"),
    (r"Padding|Padded|Crop|MatchSize|^(" + "|".join(_RESHAPES) + r")$", "reshape"),
)


def is_padding(layer: Any) -> bool:
    """Say whether a layer only pads a map, which the next operation is drawn with."""
    return "ZeroPadding" in type(layer).__name__


def is_crop(layer: Any) -> bool:
    """Say whether a layer cuts a map, or the operation takes a part of it."""
    name = type(layer).__name__
    return "Crop" in name or name == "GetItem"


def phrase(layer: Any) -> str:
    """Return a layer's operation in the papers' shorthand: ``3x3 conv 64 /2, ReLU``."""
    return ", ".join((operation(layer), *fused(layer)))


def operation(layer: Any) -> str:
    """Return a layer's operation without the activation that ends it."""
    layer = bare(layer)
    for known in type(layer).__mro__:
        # A class of the user's may have the name of one of Keras'.
        ours = known.__module__.startswith(("keras.", "convzoo."))
        if ours and known.__name__ in _PHRASES:
            return _PHRASES[known.__name__](layer)
    return _words(layer)


def fused(layer: Any) -> tuple[str, ...]:
    """Return the activation that a layer of another kind ends with, if any."""
    layer = bare(layer)
    if type(layer).__name__ == "TimeDistributed":
        layer = layer.layer
    activation = getattr(layer, "activation", None)
    if type(layer).__name__ == "Activation" or activation is None:
        return ()
    called = _activation(activation)
    return () if called == "linear" else (called,)


def settings(layer: Any) -> Any:
    """Return all that decides what a layer computes but its weights, as plain data.

    Names do not count, nor does how it is trained; of an operation the constants do.
    """
    # A layer has no public list of its calls.
    calls = [
        keras.tree.map_structure(
            _constant, (node.arguments.args, node.arguments.kwargs)
        )
        for node in layer._inbound_nodes
    ]
    with warnings.catch_warnings(action="ignore"):  # that lambdas load nowhere else
        told = [keras.saving.serialize_keras_object(each) for each in calls]
        plain = _plain(keras.saving.serialize_keras_object(layer), {})
    if not isinstance(layer, keras.Layer):  # an operation may be a cast
        plain["dtype"] = layer.get_config().get("dtype")
    return plain, [call for place, call in enumerate(told) if call not in told[:place]]


def _constant(argument: Any) -> Any:
    return "tensor" if isinstance(argument, keras.KerasTensor) else argument


def _plain(value: Any, places: dict[str, int]) -> Any:
    """Leave out what does not count; a model's own layers are named by their places."""
    if isinstance(value, dict):
        for place, layer in enumerate(value.get("layers") or ()):
            places = places | {layer["config"]["name"]: place}
        return {
            key: _plain(part, places)
            for key, part in value.items()
            if not _DISREGARDED.fullmatch(key)
        }
    if isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str):  # layer, call, output
            return [places.get(value[0], value[0]), *value[1:]]
        return [_plain(part, places) for part in value]
    return value


def shape_text(shape: Shape) -> str:
    """Return a shape without its batch axis: ``56 x 56 x 256``, unknown sides ``?``."""
    sides = ["?" if side is None else str(side) for side in shape[1:]]
    return " x ".join(sides) or "scalar"


def _size(sides: Sequence[int]) -> str:
    """Write a window: ``3x3``; in one dimension ``3``."""
    return "x".join(map(str, sides))


def _stride(strides: Any) -> str:
    sides = strides if isinstance(strides, (tuple, list)) else (strides,)
    if set(sides) == {1}:
        return ""
    return f" /{_side_or_sides(sides)}"


def _side_or_sides(sides: tuple[int, ...] | list[int]) -> str:
    """Write equal sides once: ``2``, else ``1x2``."""
    return str(sides[0]) if len(set(sides)) == 1 else _size(sides)


def _convolution(word: str) -> Callable[[Any], str]:
    def text(layer: Any) -> str:
        filters = getattr(layer, "filters", None)
        parts = [f"{_size(layer.kernel_size)} {word}"]
        parts += [str(filters)] if filters else []
        line = " ".join(parts) + _stride(layer.strides)
        if set(layer.dilation_rate) != {1}:
            line += f", dilated {_side_or_sides(layer.dilation_rate)}"
        if getattr(layer, "depth_multiplier", 1) > 1:
            line += f", depth multiplier {layer.depth_multiplier}"
        if getattr(layer, "groups", 1) > 1:
            line += f", {layer.groups} groups"
        return line

    return text


def _transposed(layer: Any) -> str:
    line = f"{_size(layer.kernel_size)} transposed conv {layer.filters}"
    if set(layer.strides) == {1}:
        return line
    return f"{line}, up {_side_or_sides(layer.strides)}"


def _upsampling(layer: Any) -> str:
    size = layer.size if isinstance(layer.size, (tuple, list)) else (layer.size,)
    equal = len(set(size)) == 1
    return f"upsample x{size[0]}" if equal else f"upsample {_size(size)}"


def _pooling(word: str) -> Callable[[Any], str]:
    return lambda layer: f"{_size(layer.pool_size)} {word}" + _stride(layer.strides)


def _activation(function: Any) -> str:
    if isinstance(function, keras.Layer):
        return _words(function)
    name = getattr(function, "__name__", type(function).__name__)
    name = function if isinstance(function, str) else name
    return _ACTIVATIONS.get(name, name.strip("<>").replace("_", " "))


def _square(layer: Any) -> str:
    return f"{layer.kernel_size}x{layer.kernel_size}"


def _relu(layer: Any) -> str:
    limit = getattr(layer, "max_value", None)
    leaky = "leaky " if getattr(layer, "negative_slope", 0) else ""
    return f"{leaky}ReLU" if limit is None else f"{leaky}ReLU{float(limit):g}"


def _padding(layer: Any) -> str:
    pairs = [
        pair if isinstance(pair, (tuple, list)) else (pair,) for pair in layer.padding
    ]
    sides = sorted({side for pair in pairs for side in pair})
    return "pad " + "-".join(str(side) for side in sides)


def _words(layer: Any) -> str:
    """Fall back to the class name in words: ``ScaledTanh`` is ``scaled tanh``."""
    name = type(layer).__name__
    known = (_MERGES | _NORMALIZATIONS | _OPERATIONS).get(name)
    words = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+|\d+D?", name)
    return known or " ".join(word if word.isupper() else word.lower() for word in words)


_PHRASES: dict[str, Callable[[Any], str]] = {
    "InputLayer": lambda _: "input",
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution("conv")),
    **dict.fromkeys(
        ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolution("conv LSTM")
    ),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"), _convolution("separable conv")
    ),
    **dict.fromkeys(
        ("DepthwiseConv1D", "DepthwiseConv2D"), _convolution("depthwise conv")
    ),
    **dict.fromkeys(
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed
    ),
    **dict.fromkeys(("UpSampling1D", "UpSampling2D", "UpSampling3D"), _upsampling),
    **dict.fromkeys(
        ("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"), _pooling("max pool")
    ),
    **dict.fromkeys(
        ("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
        _pooling("average pool"),
    ),
    **dict.fromkeys(
        ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
        lambda _: "global average pool",
    ),
    **dict.fromkeys(
        ("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
        lambda _: "global max pool",
    ),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"), _padding),
    "SparseConv2D": lambda layer: f"{_square(layer)} sparse conv {len(layer.links)}",
    "Subsampling": lambda _: "2x2 trainable pool /2",
    "RadialBasis": lambda layer: f"RBF {len(layer.codes)}",
    "PaddedShortcut": lambda layer: f"pad to {layer.filters}{_stride(layer.strides)}",
    **dict.fromkeys(("Cropping1D", "Cropping2D", "Cropping3D"), lambda _: "crop"),
    "Activation": lambda layer: _activation(layer.activation),
    "ReLU": _relu,
    **dict.fromkeys(
        ("LSTM", "GRU", "SimpleRNN"),
        lambda layer: f"{_words(layer)} {layer.units}",
    ),
    "Embedding": lambda layer: f"embedding {layer.output_dim}",
    "Reshape": lambda layer: f"reshape to {_size(layer.target_shape)}",
    "TimeDistributed": lambda layer: f"{operation(layer.layer)} at each time",
    "Bidirectional": lambda layer: f"bidirectional {operation(layer.forward_layer)}",
    "GetItem": lambda _: "slice",
    "Dense": lambda layer: f"dense {layer.units}",
    "Dropout": lambda layer: f"dropout {layer.rate:g}",
    "SpatialDropout2D": lambda layer: f"spatial dropout {layer.rate:g}",
}
