"""Pictures of what a network sees and learns: heat maps, filters, training, errors."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from convzoo import calls
from convzoo.arguments import require
from convzoo.deferred import awaits
from convzoo.inspect import looks
from convzoo.inspect.features import known_layer
from convzoo.inspect.operations import kind, operation
from convzoo.inspect.picture import Picture, style, width_of
from convzoo.pretrained.images import ImageError, OneImage, load_image, split

_TRAINING, _VALIDATION = "#2f6db5", looks.SKIP
_HEAT = "turbo"
_SHARES = "Blues"
_TILES = 16  # in a row or column of filters
_GAP = (0.79, 0.87, 0.97)  # between filters: a tint that no grey one has
_NUMBERED = 20  # classes up to which a confusion matrix shows its numbers


def overlay(
    image: OneImage, heat: NDArray[Any], alpha: float = 0.4
) -> NDArray[np.uint8]:
    """Lay a heat map over its image, from blue (0) to red (1).

    Args:
        image: A path, a PIL image or an array of 0 to 255, of the heat map's size:
            ``pixels(model, images)`` of `convzoo.inspect.features` gives it.
        heat: One heat map of ``grad_cam``, (height, width) in [0, 1].
        alpha: Share of the heat map's colours, in [0, 1].

    Returns:
        (height, width, 3).

    Raises:
        ImageError: If the image cannot be used.
        ValueError: If ``heat`` or ``alpha`` is out of range, or the sizes differ.

    Example:
        >>> overlay(np.zeros((2, 2), "uint8"), np.eye(2), alpha=0.5)[0, 0]
        array([61,  2,  1], dtype=uint8)
    """
    heat = np.asarray(heat)
    require(
        heat.ndim == 2,
        f"heat must be one map, (height, width), found shape {heat.shape}: overlay the "
        "maps one by one.",
    )
    require(
        bool(((heat >= 0) & (heat <= 1)).all()),
        f"heat must lie in [0, 1], found {heat.min():g} to {heat.max():g}.",
    )
    require(0 <= alpha <= 1, f"alpha={alpha!r} must lie in [0, 1].")
    picture = _rgb(image)
    require(
        picture.shape[:2] == heat.shape,
        f"The image has {_size(picture)} pixels and heat {_size(heat)}: give it as the "
        "network saw it, convzoo.inspect.features.pixels(model, image)[0].",
    )
    colours = 255 * colormaps[_HEAT](heat)[..., :3]
    mixed: NDArray[np.uint8] = np.rint((1 - alpha) * picture + alpha * colours).astype(
        np.uint8
    )
    return mixed


def plot_filters(model: keras.Model, layer: str | None = None) -> Picture:
    """Draw the kernels of a convolution, each on a scale of its own around zero.

    Kernels that read RGB are drawn in colour, grey being zero; those that read one map
    in grey, white being positive. Of others a table is drawn: a row for each filter, a
    column for each map that it reads, the first sixteen of both.

    Args:
        model: Any functional model.
        layer: Name of a convolution; None for the first.

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        TypeError: If ``model`` has no graph of layers.
        ValueError: If the layer is not known or has no kernels.

    Example:
        >>> plot_filters(lenet(), "c1").save("filters.png")  # doctest: +SKIP
    """
    net = calls.network(model)
    kernels = {
        name: kernel
        for name, call in net.calls.items()
        if (kernel := _kernel(call.layer)) is not None
    }
    if layer is not None:
        known_layer(layer, model, net)
    require(
        bool(kernels) and layer in {None, *kernels},
        f"layer={layer!r} has no kernels to draw; the convolutions of model "
        f"{model.name!r} are {_few(list(kernels))}.",
    )
    name = layer or next(iter(kernels))
    variable = kernels[name]
    require(
        not awaits(variable),
        f"Model {model.name!r} was built without weights, so there are no filters.",
    )
    what = net.calls[name].layer
    tiles, shown = _tiles(_in_order(what, keras.ops.convert_to_numpy(variable)))
    with style():
        height, width = tiles.shape[:2]
        inches = 6 / max(height, width)
        lines = [f"{name}: {operation(what)}", *shown]
        title = max(width_of(line, looks.TEXT_SIZE) for line in lines) / 72
        figure, axes = _axes(
            max(width * inches, title), height * inches + 0.25 * (1 + len(lines))
        )
        axes.imshow(tiles, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title("\n".join(lines), fontsize=looks.TEXT_SIZE, parse_math=False)
    return Picture(figure)


def plot_history(history: Any) -> Picture:
    """Draw how training went: a curve for the loss and each metric, epoch by epoch.

    Args:
        history: What ``model.fit`` returned, or its ``.history``: lists of one value
            per epoch by name; those of the validation start with "val_".

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        ValueError: If it holds no values, or not one per epoch.

    Example:
        >>> plot_history({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
        Picture(figure=<Figure size 450x320 with 1 Axes>)
    """
    curves = _curves(getattr(history, "history", history))
    names = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    with style():
        figure = Figure(figsize=(4.5 * len(names), 3.2), layout="constrained")
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(1, len(names), place)
            _draw_curves(axes, name, curves)
    return Picture(figure)


def plot_confusion(matrix: Any, names: Sequence[str] | None = None) -> Picture:
    """Draw which classes a classifier confuses.

    A cell's colour is its share of the row, that is of the images of one class, so that
    rare classes show too; up to twenty classes it also says how many images it holds.

    Args:
        matrix: Images by true class (row) and predicted class (column), or the tuple
            ``(labels, predictions)`` of classes, one per image.
        names: Names of the classes; None for their numbers.

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        ValueError: If the numbers are no counts or classes, or there are more or fewer
            names than classes.

    Example:
        >>> plot_confusion(([0, 0, 1], [0, 1, 1]), ["cat", "dog"])
        Picture(figure=<Figure size 420x420 with 1 Axes>)
    """
    counts = _counts(_confusion(matrix, names) if isinstance(matrix, tuple) else matrix)
    classes = len(counts)
    names = [str(i) for i in range(classes)] if names is None else list(names)
    require(
        len(names) == classes,
        f"names holds {len(names)} names for {classes} classes: give one for each.",
    )
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    right = counts.trace() / max(counts.sum(), 1)
    with style():
        side = min(max(4.2, 1.8 + 0.45 * classes), 12)
        figure, axes = _axes(side, side)
        axes.imshow(shares, cmap=_SHARES, vmin=0, vmax=1, interpolation="nearest")
        axes.set(
            xlabel="predicted class",
            ylabel="true class",
            title=f"{100 * right:.1f} % of {counts.sum():,} right",
        )
        # Beyond sixty classes names would lie upon each other.
        places = range(0, classes, math.ceil(classes / 60))
        labels = [names[i] for i in places]
        longest = max(width_of(label, looks.LABEL_SIZE) for label in labels) / 72
        turned = 90 if longest * len(labels) > side / 2 else 0
        text: dict[str, Any] = {"fontsize": looks.LABEL_SIZE, "parse_math": False}
        axes.set_xticks(places, labels, rotation=turned, **text)
        axes.set_yticks(places, labels, **text)
        if classes <= _NUMBERED:
            _draw_numbers(axes, counts, shares)
    return Picture(figure)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _rgb(image: OneImage) -> NDArray[np.uint8]:
    (single, *others) = split(image)
    if others:
        raise ImageError(
            f"image holds {len(others) + 1} images: overlay them one by one."
        )
    if isinstance(single, (str, os.PathLike)):
        single = load_image(single)
    if not isinstance(single, Image.Image):
        pixels = single[..., 0] if single.shape[2:] == (1,) else single
        single = Image.fromarray(pixels)
    return np.asarray(single.convert("RGB"))


def _size(array: NDArray[Any]) -> str:
    return f"{array.shape[0]} x {array.shape[1]}"


def _few(names: Sequence[str]) -> str:
    """Return names for an error, the first ones of many."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more or "none"


def _kernel(layer: Any) -> Any:
    """Return the variable that holds a convolution's kernels, if it is one."""
    name = "depthwise_kernel" if hasattr(layer, "depthwise_kernel") else "kernel"
    kernel = getattr(layer, name, None)
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


def _curves(history: Any) -> dict[str, NDArray[Any]]:
    require(
        isinstance(history, Mapping) and bool(history),
        "history must be what model.fit returned or lists of values by name, found "
        f"{history!r}.",
    )
    curves = {name: np.asarray(values, float) for name, values in history.items()}
    epochs = max(values.size for values in curves.values())
    for name, values in curves.items():
        require(
            values.shape == (epochs,) and epochs > 0,
            f"history[{name!r}] has {values.size} values for {epochs} epochs: give one "
            "for each, NaN where nothing was measured.",
        )
    return curves


def _draw_curves(axes: Axes, name: str, curves: dict[str, NDArray[Any]]) -> None:
    for key, label, colour in (
        (name, "training", _TRAINING),
        (f"val_{name}", "validation", _VALIDATION),
    ):
        if key in curves:
            values = curves[key]
            dots = "o" if values.size <= 30 or np.isnan(values).any() else ""
            epochs = np.arange(1, values.size + 1)
            axes.plot(
                epochs, values, color=colour, label=label, marker=dots, markersize=3.5
            )
    axes.set(xlabel="epoch", title=name.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e7ea")
    if f"val_{name}" in curves:
        axes.legend(frameon=False)


def _confusion(given: tuple[Any, ...], names: Sequence[str] | None) -> NDArray[Any]:
    """Count the images of each class and what they were taken for."""
    pair = [np.asarray(part) for part in given]
    require(
        len(pair) == 2
        and all(part.ndim == 1 and part.dtype.kind in "iu" for part in pair)
        and len(pair[0]) == len(pair[1]) > 0
        and min(part.min() for part in pair) >= 0,
        "A tuple must be (labels, predictions), whole numbers, one class per image, "
        f"found {' and '.join(map(_array_words, pair))}.",
    )
    highest = max(int(part.max()) for part in pair)
    classes = highest + 1 if names is None else len(names)
    require(
        highest < classes,
        f"class {highest} has no name: names holds {classes}, and the first class is "
        "0.",
    )
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, tuple(pair), 1)
    return counts


def _array_words(array: NDArray[Any]) -> str:
    low = f" from {array.min()}" if array.size and array.dtype.kind in "iuf" else ""
    return f"{array.dtype} of shape {array.shape}{low}"


def _counts(matrix: Any) -> NDArray[Any]:
    counts = np.asarray(matrix)
    require(
        counts.ndim == 2
        and counts.shape[0] == counts.shape[1] > 0
        and counts.dtype.kind in "iu"
        and counts.min() >= 0,
        "matrix must hold counts, (classes, classes), found "
        f"{_array_words(counts)}: for labels and predictions give a tuple of both.",
    )
    return counts


def _draw_numbers(axes: Axes, counts: NDArray[Any], shares: NDArray[Any]) -> None:
    longest = len(str(counts.max()))
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                fontsize=looks.LABEL_SIZE if longest < 4 else 7,
                color="white" if shares[row, column] > 0.6 else looks.LABEL,
            )
