"""`plot_filters`: the kernels of a convolution as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from convzoo import calls
from convzoo.arguments import require
from convzoo.deferred import awaits
from convzoo.inspect import looks
from convzoo.inspect.features import require_layer
from convzoo.inspect.operations import kind, operation
from convzoo.inspect.picture import Picture, style, width_of

_TILES = 16  # in a row or column of filters
_GAP = (0.79, 0.87, 0.97)  # between filters: a tint that no grey one has


def plot_filters(model: keras.Model, layer: str | None = None) -> Picture:
    """Draw the kernels of a 2D convolution, each on its own scale around zero.

    Kernels that read RGB are drawn in colour, grey being zero; those that read one map
    in grey, white being positive. Of others a table is drawn: a row for each filter, a
    column for each map that it reads, the first sixteen of both.

    Args:
        model: Any functional model.
        layer: Name of a 2D convolution; None for the first.

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        TypeError: If ``model`` has no graph of layers.
        ValueError: If the layer is not known, has no kernels, or they are not finite.

    Example:
        >>> plot_filters(lenet(), "c1").save("filters.png")  # doctest: +SKIP
    """
    net = calls.network(model)
    kernels = _kernels(net)
    if layer is not None:
        require_layer(layer, model, net)
    if not kernels or layer not in {None, *kernels}:
        raise ValueError(
            f"layer={layer!r} has no kernels to draw; the 2D convolutions of model "
            f"{model.name!r} {_where(net, list(kernels))}."
        )
    name = layer or next(iter(kernels))
    variable = kernels[name]
    require(
        not awaits(variable),
        f"Model {model.name!r} was built without weights, so there are no filters.",
    )
    what = net.calls[name].layer
    values = _in_order(what, keras.ops.convert_to_numpy(variable))
    require(
        bool(np.isfinite(values.astype(np.float32)).all()),
        f"layer={name!r} has kernels that are not finite: there is no scale to draw "
        "them on.",
    )
    tiles, shown = _tiles(values)
    with style():
        height, width = tiles.shape[:2]
        inches = 6 / max(height, width)
        lines = [f"{name}: {operation(what)}", *shown]
        title = max(width_of(line, looks.TEXT_SIZE) for line in lines) / 72
        size = max(width * inches, title), height * inches + 0.25 * (1 + len(lines))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(tiles, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title("\n".join(lines), fontsize=looks.TEXT_SIZE, parse_math=False)
    return Picture(figure)


def _kernels(net: calls.Network) -> dict[str, Any]:
    """Return the variables that hold the kernels of a network's own convolutions."""
    return {
        name: kernel
        for name, call in net.calls.items()
        if (kernel := _kernel(call.layer)) is not None
    }


def _where(net: calls.Network, names: Sequence[str]) -> str:
    """Say for an error where the convolutions are, naming the first ones of many."""
    models = [f"model{path}" for path in dict.fromkeys(_paths(net))]
    if models and not names:
        return f"stand inside a layer that is a model itself: draw {_few(models)}"
    return f"are {_few(names) or 'none'}"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _paths(net: calls.Network) -> Iterator[str]:
    """Yield what leads to each model inside a network that has convolutions."""
    for call in net.calls.values():
        found = calls.graph_of(call.layer)
        if found is not None:
            step = f".get_layer({call.layer.name!r})"
            if _kernels(found):
                yield step
            yield from (step + rest for rest in _paths(found))


def _kernel(layer: Any) -> Any:
    """Return the variable that holds a 2D convolution's kernels, if it is one."""
    name = "depthwise_kernel" if hasattr(layer, "depthwise_kernel") else "kernel"
    kernel = getattr(layer, name, None) if "conv" in kind(layer) else None
    return kernel if len(getattr(kernel, "shape", ())) == 4 else None


def _in_order(layer: Any, kernel: NDArray[Any]) -> NDArray[Any]:
    """Return kernels as (height, width, maps read, filters)."""
    if kind(layer) == "separable convolution":  # each of its filters reads one map
        return kernel.reshape((*kernel.shape[:2], 1, -1))
    transposed = "Transpose" in type(layer).__name__
    return kernel.swapaxes(2, 3) if transposed else kernel


def _tiles(kernel: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Return filters side by side as one RGB picture, and what of them is shown."""
    height, width, maps, filters = kernel.shape
    kernel = kernel.astype(np.float32)
    peaks = np.abs(kernel).max((0, 1, 2))
    kernel = 0.5 + kernel / np.where(peaks > 0, 2 * peaks, 1)
    if maps in {1, 3}:
        columns = min(math.ceil(math.sqrt(filters)), _TILES)
        tiles = [kernel[..., i] for i in range(min(filters, _TILES**2))]
        whole, shown = len(tiles) == filters, f"{len(tiles)} of {filters} filters"
    else:
        rows, columns = min(filters, _TILES), min(maps, _TILES)
        tiles = [kernel[:, :, [j], i] for i in range(rows) for j in range(columns)]
        whole = (rows, columns) == (filters, maps)
        shown = f"{rows} of {filters} filters, {columns} of {maps} maps"
    rows = math.ceil(len(tiles) / columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), _GAP)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        picture[top : top + height, left : left + width] = tile
    unused = columns * rows - len(tiles)
    if unused:
        picture[-height:, -unused * (width + 1) + 1 :] = 1.0
    return picture, [] if whole else [shown]
