"""Receptive fields: which pixels of the input one place of a map sees.

They follow from windows and strides alone, so they ignore the border of the image and
may exceed it. What a normalization or a softmax sums up does not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple, TypeAlias

import keras

from convzoo.calls import (
    TRANSPOSED,
    UPSAMPLING,
    Network,
    Shape,
    bare,
    inside,
    network,
    of_tensor,
    scaled,
)
from convzoo.inspect import operations
from convzoo.inspect.cost import CONVOLUTIONS
from convzoo.layers import MatchSize, PaddedShortcut, SparseConv2D, Subsampling

Size: TypeAlias = tuple[int, ...] | Literal["all"] | None

_SLIDING = (
    *CONVOLUTIONS,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    SparseConv2D,
    Subsampling,
    PaddedShortcut,
)
_PADDING = (
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
)
_CROPPING = (
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
)
_WHOLE = (
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
)
# Layers and operations, by the names of their classes, that mix no places.
_POINTWISE_KINDS = ("normalization", "activation", "regularization")
_POINTWISE = (
    *("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "TrueDivide"),
    *("Dense", "Identity", "Rescaling"),
    *("Abs", "Clip", "Divide", "Exp", "Log", "Negative", "Power", "Sqrt", "Square"),
    *("Cast", "CustomScaleLayer", "LayerScale", "StochasticDepth"),
)
# On either side, places that an interpolation reads.
_REACH = {"bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


class Field(NamedTuple):
    """What one place of a map sees, and how far the next place's view is."""

    size: Size  # pixels along each axis; "all" of the input; None: unknown
    stride: int  # input pixels per place; a head keeps its map's


class _Axis(NamedTuple):
    """The first and the last pixel that each place of a map sees along one axis.

    Where a map grew, neighbours may see spans of different sizes. So this is a table of
    one period, after which the spans return ``step`` pixels farther.
    """

    step: int
    first: tuple[int, ...]
    last: tuple[int, ...]

    @property
    def size(self) -> int:
        """Pixels that the place with the widest view sees."""
        return max(b - a + 1 for a, b in zip(self.first, self.last, strict=True))

    @property
    def rate(self) -> Fraction:
        """Pixels per place."""
        return Fraction(self.step, len(self.first))

    def begin(self, place: int) -> int:
        """Return the first pixel that a place sees."""
        periods, rest = divmod(place, len(self.first))
        return self.first[rest] + periods * self.step

    def end(self, place: int) -> int:
        """Return the last pixel that a place sees."""
        periods, rest = divmod(place, len(self.last))
        return self.last[rest] + periods * self.step


class _Window(NamedTuple):
    """The places that a layer reads along one axis for its place ``i``."""

    rate: Fraction  # places read per place written
    first: Callable[[int], int]
    last: Callable[[int], int]


class _View(NamedTuple):
    """What the places of a tensor see."""

    axes: tuple[_Axis, ...] | Literal["all"] | None
    stride: int


def receptive_fields(model: keras.Model) -> dict[str, Field]:
    """Return the receptive field and the stride of every layer.

    Where branches meet, the field spans those of all. Where maps grow, neighbours may
    see fields of different sizes, of which the largest counts. Several inputs are taken
    for one.

    Args:
        model: A functional or a built Sequential model; models inside it are looked
            into, but each is one layer.

    Returns:
        Layer name to field; a layer that is called several times has its last call's.
        The size is None for layers whose windows are unknown here, and after them.

    Raises:
        TypeError: If ``model`` has no graph of layers.

    Example:
        >>> receptive_fields(vgg16())["block5_pool"]
        Field(size=(212, 212), stride=32)
    """
    net = network(model)
    fields = call_fields(net)
    return {call.layer.name: fields[name] for name, call in net.calls.items()}


def call_fields(net: Network) -> dict[str, Field]:
    """Return the receptive field of every call of a network already read."""
    return {name: _field(views[0]) for name, views in _views(net, {}).items()}


def _field(view: _View) -> Field:
    if isinstance(view.axes, tuple):
        return Field(tuple(axis.size for axis in view.axes), view.stride)
    return Field(view.axes, view.stride)


_Views: TypeAlias = dict[str, tuple[_View, ...]]  # of the outputs of each call


def _views(net: Network, given: Mapping[str, _View]) -> _Views:
    """Follow the calls of a network; ``given`` are the views of its inputs, if any."""
    found: _Views = {}
    for name, call in net.calls.items():
        sources = [of_tensor(found, tensor) for tensor in call.arguments]
        inputs, output = net.inputs_of(name), net.output_of(name)
        if not sources:
            found[name] = (given.get(name, _fresh(output)),)
        elif isinstance(call.layer, keras.Model):
            found[name] = _through_model(call.layer, sources)
        else:
            axes = _through(bare(call.layer), sources, inputs, output)
            stride = scaled(max(view.stride for view in sources), net, call)
            if isinstance(axes, tuple) and axes:
                stride = max(1, int(axes[0].rate))
            found[name] = (_View(axes, stride),)
    return found


def _fresh(shape: Shape) -> _View:
    """Return the view of an input, of which each place sees itself."""
    return _View((_Axis(1, (0,), (0,)),) * len(shape[1:-1]), 1)


def _through_model(model: Any, sources: list[_View]) -> tuple[_View, ...]:
    found = inside(model, sources)
    if found is None:  # without a graph to follow
        whole = any(view.axes == "all" for view in sources)
        stride = max(view.stride for view in sources)
        return (_View("all" if whole else None, stride),)
    views = _views(*found)
    return tuple(of_tensor(views, tensor) for tensor in found[0].outputs)


def _through(
    layer: Any, sources: list[_View], inputs: list[Shape], output: Shape
) -> tuple[_Axis, ...] | Literal["all"] | None:
    if isinstance(layer, MatchSize):
        sources = sources[:1]  # the other map only tells the size
    maps = [view.axes for view in sources]
    if "all" in maps or _is_whole(layer, inputs, output):
        return "all"
    windows = _windows(layer, inputs, output)
    known = [axes for axes in maps if isinstance(axes, tuple)]
    ranks = {len(axes) for axes in known}
    if windows is None or len(known) < len(maps) or ranks != {len(windows)}:
        return None
    hulls = map(_hull, zip(*known, strict=True))
    return tuple(_slid(*pair) for pair in zip(hulls, windows, strict=True))


def _is_whole(layer: Any, inputs: list[Shape], output: Shape) -> bool:
    """Say whether every place that a layer writes depends on every place it reads."""
    name = type(layer).__name__
    if name in ("Dense", "RadialBasis"):
        return len(output) == 2
    # A map of one place that is spread over another, as by squeeze-and-excitation.
    spread = name in _POINTWISE and any(
        1 in (small, large) and small != large
        for other in inputs[1:]
        for small, large in zip(
            _sides(layer, inputs[0]), _sides(layer, other), strict=False
        )
    )
    return spread or isinstance(layer, _WHOLE)


def _hull(axes: Sequence[_Axis]) -> _Axis:
    """Return what is seen through any of several maps.

    Maps of other scales than the one that sees most stem from other inputs.
    """
    widest = max(axes, key=lambda axis: axis.size)
    alike = [axis for axis in axes if axis.rate == widest.rate]
    places = range(math.lcm(*(len(axis.first) for axis in alike)))
    return _Axis(
        int(widest.rate * len(places)),
        tuple(min(axis.begin(place) for axis in alike) for place in places),
        tuple(max(axis.end(place) for axis in alike) for place in places),
    )


def _slid(axis: _Axis, window: _Window) -> _Axis:
    """Return what is seen through a window on a map."""
    periods = window.rate / len(axis.first)  # of the map for each place
    places = range(periods.denominator)
    return _Axis(
        axis.step * periods.numerator,
        tuple(axis.begin(window.first(place)) for place in places),
        tuple(axis.end(window.last(place)) for place in places),
    )


def _windows(
    layer: Any, inputs: list[Shape], output: Shape
) -> tuple[_Window, ...] | None:
    """Return a layer's window along each axis, None if it is unknown."""
    read, written = _sides(layer, inputs[0]), _sides(layer, output)

    def each(value: Any) -> tuple[Any, ...]:
        return (
            tuple(value) if isinstance(value, (tuple, list)) else (value,) * len(read)
        )

    def pairs(value: Any) -> Any:
        return value if isinstance(value[0], (tuple, list)) else (value,)

    if isinstance(layer, (*_SLIDING, *TRANSPOSED)):
        make = _growing if isinstance(layer, TRANSPOSED) else _sliding
        padding = getattr(layer, "padding", "valid")
        return tuple(
            make((kernel - 1) * dilation + 1, stride, padding, side, to)
            for kernel, dilation, stride, side, to in zip(
                each(_kernel(layer)),
                each(getattr(layer, "dilation_rate", 1)),
                each(getattr(layer, "strides", 1)),
                read,
                written,
                strict=True,
            )
        )
    if isinstance(layer, UPSAMPLING):
        reach = _REACH.get(getattr(layer, "interpolation", "nearest"))
        return tuple(_upsampled(size, reach) for size in each(layer.size))
    if isinstance(layer, _PADDING):
        return tuple(_moved(-before) for before, _ in pairs(layer.padding))
    if isinstance(layer, _CROPPING):
        return tuple(_moved(before) for before, _ in pairs(layer.cropping))
    if isinstance(layer, MatchSize):
        return tuple(map(_matched, read, written))
    return (_moved(0),) * len(read) if _is_pointwise(layer, inputs, output) else None


def _sides(layer: Any, shape: Shape) -> Shape:
    usual = keras.config.image_data_format()
    first = (getattr(layer, "data_format", None) or usual) == "channels_first"
    return shape[2:] if first else shape[1:-1]


def _kernel(layer: Any) -> Any:
    if isinstance(layer, Subsampling):
        return 2
    return getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", 1)


def _sliding(
    extent: int, stride: int, padding: str, read: int | None, _: int | None
) -> _Window:
    """Window of a convolution or a pooling whose kernel spans ``extent`` places."""
    before = extent - 1 if padding == "causal" else 0
    if padding == "same":
        # An unknown side is taken for a multiple of the stride.
        before = max(0, extent - ((read or 0) % stride or stride)) // 2
    return _Window(
        Fraction(stride),
        lambda i: i * stride - before,
        lambda i: i * stride - before + extent - 1,
    )


def _growing(
    extent: int, stride: int, padding: str, read: int | None, written: int | None
) -> _Window:
    """Window of a transposed convolution: the places whose kernels reach ``i``."""
    before = 0
    if padding == "same":
        more = 0 if read is None or written is None else written - read * stride
        before = max(0, extent - stride - more) // 2
    return _Window(
        Fraction(1, stride),
        lambda i: -((extent - 1 - i - before) // stride),
        lambda i: (i + before) // stride,
    )


def _upsampled(size: int, reach: int | None) -> _Window:
    """Window of an upsampling; without ``reach`` it repeats places."""
    if reach is None or size == 1:
        return _Window(Fraction(1, size), lambda i: i // size, lambda i: i // size)
    # Place i lies at (2 i + 1) / (2 size) - 1/2 and reads what is nearer than reach.
    return _Window(
        Fraction(1, size),
        lambda i: (2 * i + 1 - size - 2 * reach * size) // (2 * size) + 1,
        lambda i: -((size - 1 - 2 * i - 2 * reach * size) // (2 * size)) - 1,
    )


def _moved(by: int) -> _Window:
    return _Window(Fraction(1), lambda i: i + by, lambda i: i + by)


def _matched(read: int | None, written: int | None) -> _Window:
    """Window of a map cut or padded around its centre."""
    if read is None or written is None:
        return _moved(0)
    cut = (read - written) // 2 if read > written else -((written - read) // 2)
    return _moved(cut)


def _is_pointwise(layer: Any, inputs: list[Shape], output: Shape) -> bool:
    """Say whether a layer, outside training, keeps every place to itself."""
    name = type(layer).__name__
    if name == "Concatenate":
        first = keras.config.image_data_format() == "channels_first"
        return bool(layer.axis % len(output) == (1 if first else len(output) - 1))
    if name.startswith("Random"):
        return inputs[0] == output
    return name in _POINTWISE or operations.kind(layer) in _POINTWISE_KINDS
