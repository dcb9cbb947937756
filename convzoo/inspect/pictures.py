"""Pictures of what a network sees and learns: heat maps, filters, training, errors."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Real
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from convzoo.arguments import require
from convzoo.inspect import looks
from convzoo.inspect.filters import plot_filters
from convzoo.inspect.picture import Picture, style, width_of
from convzoo.pretrained.images import ImageError, OneImage, load_image, split

__all__ = ["overlay", "plot_confusion", "plot_filters", "plot_history"]

_TRAINING, _VALIDATION = "#2f6db5", looks.SKIP
_HEAT = "turbo"
_SHARES = "Blues"
_BESIDE = 3  # curves in a row
_NUMBERED = 20  # classes up to which a confusion matrix shows its numbers
_MOST_CLASSES = 5000  # counted: a picture has no more pixels, and the counts 200 MB
_LETTERS = 32  # of a name


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
    heat = _numbers(heat)
    require(
        heat.ndim == 2 and heat.size > 0,
        "heat must be one map of numbers, (height, width), found "
        f"{_array_words(heat)}: overlay the maps of grad_cam one by one.",
    )
    require(
        bool(((heat >= 0) & (heat <= 1)).all()),
        f"heat must lie in [0, 1], found {heat.min():g} to {heat.max():g}.",
    )
    require(
        isinstance(alpha, Real) and 0 <= alpha <= 1,
        f"alpha={alpha!r} must lie in [0, 1]: it is the heat map's share of the "
        "colours.",
    )
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


def plot_history(history: Any) -> Picture:
    """Draw how training went: a curve for the loss and each metric, epoch by epoch.

    Args:
        history: What ``model.fit`` returned, or its ``.history``: lists of one value
            per epoch by name, NaN where nothing was measured; those of the validation
            start with "val_".

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        ValueError: If it holds no lists of numbers by name, or not one per epoch.

    Example:
        >>> plot_history({"loss": [1.0, 0.5], "val_loss": [1.1, 0.7]})
        Picture(figure=<Figure size 450x320 with 1 Axes>)
    """
    curves = _curves(getattr(history, "history", history))
    names = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    count = len(next(iter(curves.values())))
    started = getattr(history, "epoch", ())  # from 0, or where training went on
    epochs = [e + 1 for e in (started if len(started) == count else range(count))]
    columns = min(len(names), _BESIDE)
    rows = math.ceil(len(names) / columns)
    with style():
        figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained")
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, columns, place)
            _draw_curves(axes, name, epochs, curves)
    return Picture(figure)


def plot_confusion(matrix: Any, names: Iterable[Any] | None = None) -> Picture:
    """Draw which classes a classifier confuses.

    A cell's colour is its share of the row, that is of the images of one class, so that
    rare classes show too; up to twenty classes it also says how many images it holds,
    beyond them a bar says what the colours mean.

    Args:
        matrix: Images by true class (row) and predicted class (column), or the tuple
            ``(labels, predictions)`` of two lists or arrays of classes below 5,000, one
            per image.
        names: Names of the classes; None for their numbers. Of long ones the first
            letters are shown.

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        ValueError: If the numbers are no counts or classes, or there are more or fewer
            names than classes.

    Example:
        >>> plot_confusion(([0, 0, 1], [0, 1, 1]), ["cat", "dog"])
        Picture(figure=<Figure size 420x420 with 1 Axes>)
    """
    known = None if names is None else _names(names)
    # Tuples in a tuple are the rows of a matrix.
    pair = isinstance(matrix, tuple) and not all(isinstance(r, tuple) for r in matrix)
    counts = _counts(_confusion(matrix, known) if pair else matrix)
    classes = len(counts)
    known = [str(i) for i in range(classes)] if known is None else known
    require(
        len(known) == classes,
        f"names holds {len(known)} names for {classes} classes: give one for each.",
    )
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    right = counts.trace() / max(counts.sum(), 1)
    with style():
        side = min(max(4.2, 1.8 + 0.45 * classes), 12)
        # Beyond sixty classes names would lie upon each other.
        places = range(0, classes, math.ceil(classes / 60))
        labels = [_shortened(known[i]) for i in places]
        longest = max(width_of(label, looks.LABEL_SIZE) for label in labels) / 72
        turned = longest * len(labels) > side / 2
        more = max(longest - 0.8, 0)  # inches that the names take from the matrix
        figure, axes = _axes(side + more, side + turned * more)
        look: dict[str, Any] = {"cmap": _SHARES, "vmin": 0, "vmax": 1}
        image = axes.imshow(shares, interpolation="nearest", **look)
        axes.set(
            xlabel="predicted class",
            ylabel="true class",
            title=f"{100 * right:.1f} % of {counts.sum():,} right",
        )
        text: dict[str, Any] = {"fontsize": looks.LABEL_SIZE, "parse_math": False}
        axes.set_xticks(places, labels, rotation=90 * turned, **text)
        axes.set_yticks(places, labels, **text)
        if classes <= _NUMBERED:
            _draw_numbers(axes, counts, shares)
        else:
            figure.colorbar(image, label="share of the true class", shrink=0.6)
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


def _curves(history: Any) -> dict[str, NDArray[Any]]:
    require(
        isinstance(history, Mapping) and bool(history),
        "history must be what model.fit returned or lists of values by name, found "
        f"{history!r}.",
    )
    for name, values in history.items():
        require(
            isinstance(name, str) and _numbers(values).ndim == 1,
            "history must hold a list of numbers for each name, one per epoch, found "
            f"{reprlib.repr(values)} for {name!r}.",
        )
    curves = {name: _numbers(values) for name, values in history.items()}
    epochs = max(values.size for values in curves.values())
    for name, values in curves.items():
        require(
            values.shape == (epochs,) and epochs > 0,
            f"history[{name!r}] has {values.size} values for {epochs} epochs: give one "
            "for each, NaN where nothing was measured, as with validation_freq.",
        )
    return curves


def _draw_curves(
    axes: Axes, name: str, epochs: Sequence[int], curves: dict[str, NDArray[Any]]
) -> None:
    for key, label, colour in (
        (name, "training", _TRAINING),
        (f"val_{name}", "validation", _VALIDATION),
    ):
        if key in curves:
            values = curves[key]
            dots = "o" if values.size <= 30 or np.isnan(values).any() else ""
            axes.plot(
                epochs, values, color=colour, label=label, marker=dots, markersize=3.5
            )
    axes.set_title(_shortened(name.replace("_", " ")), parse_math=False)
    axes.set(xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=looks.GRID)
    if f"val_{name}" in curves:
        axes.legend(frameon=False)


def _names(names: Any) -> list[str]:
    require(
        isinstance(names, Iterable)
        and not isinstance(names, (str, bytes, Mapping, Set)),
        "names must be a list of the classes' names in order, found "
        f"{reprlib.repr(names)}.",
    )
    return [" ".join(str(name).split()) for name in names]


def _shortened(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"


def _confusion(given: tuple[Any, ...], names: list[str] | None) -> NDArray[Any]:
    """Count the images of each class and what they were taken for."""
    pair = [_array(part) for part in given]
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
    require(
        classes <= _MOST_CLASSES,
        f"labels and predictions name classes up to {classes - 1:,}, and at most "
        f"{_MOST_CLASSES:,} classes can be drawn: number those in use from 0 without "
        "gaps.",
    )
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, tuple(pair), 1)
    return counts


def _array(values: Any, kind: Any = None) -> NDArray[Any]:
    """Return an array; of what is none, such as ragged lists, one that holds None."""
    try:
        return np.asarray(values, kind)
    except (TypeError, ValueError):
        return np.array(None)


def _numbers(values: Any) -> NDArray[Any]:
    return _array(values, float)


def _array_words(array: NDArray[Any]) -> str:
    if array.dtype == object:
        return "what is no array of numbers"
    low = f" from {array.min()}" if array.size and array.dtype.kind in "iuf" else ""
    return f"{array.dtype} of shape {array.shape}{low}"


def _counts(matrix: Any) -> NDArray[Any]:
    counts = _array(matrix)
    require(
        counts.ndim == 2
        and counts.shape[0] == counts.shape[1] > 0
        and counts.dtype.kind in "iu"
        and counts.min() >= 0,
        "matrix must hold counts, (classes, classes), found "
        f"{_array_words(counts)}: for labels and predictions give a tuple of two lists "
        "or arrays.",
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
