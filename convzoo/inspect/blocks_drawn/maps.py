"""Figures of the paper of U-Net that are maps: an overlapping tile, a weight map."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from convzoo.arguments import require
from convzoo.inspect.blocks_drawn.page import page
from convzoo.inspect.looks import BORDER, LABEL_SIZE, TEXT_SIZE
from convzoo.models.unet import unet

_IMAGE = 512  # pixels of a side, as the paper's images of membranes
_READ, _GIVEN = "#1565c0", "#e0a100"  # of a tile: the paper's blue and yellow
_COLOURS = colormaps["Set3"](range(12))  # of cells
_AROUND = to_rgba("#263238")


def overlap_tile(dpi: int) -> Figure:
    """Figure 2 of Ronneberger et al.: what a tile reads, and what it gives."""
    model = unet(variant="paper")
    read, given = model.input_shape[1], model.output_shape[1]
    halo = (read - given) // 2
    side, scale = _IMAGE + 2 * halo, 300 / (_IMAGE + 2 * halo)  # points per pixel
    paper = page("overlap_tile", 640, 338, dpi)
    left = paper.axes(14, 26, 300, 300)
    right = paper.axes(626 - _IMAGE * scale, 26 + halo * scale, *[_IMAGE * scale] * 2)
    image, found = _membranes()
    pale = np.pad(1 - 0.4 * (1 - image), halo // 2, "symmetric")
    pale[halo // 2 : -(halo // 2), halo // 2 : -(halo // 2)] = image
    _show(left, pale, -halo, side)
    _show(right, found[: given // 2, : given // 2], 0, given)
    _square(left, 0, _IMAGE, BORDER, linestyle=(0, (4, 3)))
    _square(left, -halo, read, _READ)
    _square(right, 0, _IMAGE, BORDER, linestyle=(0, (4, 3)))
    for axes, limits in ((left, (-halo, _IMAGE + halo)), (right, (0, _IMAGE))):
        _square(axes, 0, given, _GIVEN)
        axes.set(xlim=limits, ylim=limits[::-1])
        axes.axis("off")
    _say(left, (read / 2 - halo, -halo - 18), f"reads {read} x {read}", _READ)
    span: dict[str, Any] = {"arrowstyle": "<|-|>", "color": _READ, "linewidth": 1.6}
    span |= {"shrinkA": 0, "shrinkB": 0}
    left.annotate("", (-halo, given / 2), (0, given / 2), arrowprops=span)
    _say(left, (-halo / 2, given / 2 - 20), str(halo), _READ)
    _say(right, (given / 2, -18), f"gives {given} x {given}", _GIVEN)
    way = {"arrowstyle": "-|>", "color": BORDER, "linewidth": 1.6}
    start, end = (side - halo + 20, given / 2), (side - halo + 150, given / 2)
    left.annotate("", end, start, arrowprops=way, annotation_clip=False)
    _say(left, ((start[0] + end[0]) / 2, given / 2 - 22), "U-Net", BORDER)
    return paper.figure


def weight_map(dpi: int) -> Figure:
    """Figure 3 of Ronneberger et al.: cells, and the weight of each pixel's loss."""
    cells = _touching()
    weights = pixel_weights(cells)
    paper = page("weight_map", 680, 336, dpi)
    left, right = paper.axes(14, 26, 300, 300), paper.axes(326, 26, 300, 300)
    bar = paper.axes(638, 26, 12, 300)
    # Neighbours are never twelve numbers apart, so that each differs in colour.
    number = np.where(cells > 0, cells % len(_COLOURS), -1)
    # A vector file holds the pixels themselves, none between them.
    look: dict[str, Any] = {"interpolation": "none"}
    left.imshow(number, ListedColormap([_AROUND, *_COLOURS]), vmin=-1, **look)
    image = right.imshow(weights, "turbo", vmin=0, **look)
    paper.figure.colorbar(image, bar).ax.tick_params(labelsize=LABEL_SIZE)
    middle, above = len(cells) / 2, -0.04 * len(cells)
    _say(left, (middle, above), "cells", BORDER)
    _say(right, (middle, above), "weight w", BORDER)
    for axes in (left, right):
        axes.axis("off")
    return paper.figure


def pixel_weights(
    cells: NDArray[np.integer[Any]], *, w0: float = 10.0, sigma: float = 5.0
) -> NDArray[np.float64]:
    """Weight the loss of each pixel so that narrow gaps between cells are learned.

    Equation 2 of arXiv:1505.04597: w = w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)), where
    d1 and d2 lead to the borders of the nearest cell and the second nearest. The paper
    does not state how w_c balances cells and background: here both weigh the same in
    all, and the mean of w_c is 1.

    Args:
        cells: Number of the cell of each pixel, 0 for the background.
        w0: What a gap of no breadth would weigh more.
        sigma: How broad gaps are that still weigh more, in pixels.

    Returns:
        Weights of the shape of ``cells``.

    Raises:
        ValueError: If there are not at least two cells and background.
    """
    background, *numbers = np.unique(cells)
    require(
        background == 0 and len(numbers) > 1,
        f"cells must hold 0 and at least two other numbers, found {len(numbers) + 1} "
        f"numbers from {background}: number the cells from 1, the background is 0.",
    )
    share = (cells > 0).mean()
    balance = np.where(cells > 0, 0.5 / share, 0.5 / (1 - share))
    distances = [_to_border(cells == number) for number in numbers]
    nearest, second = np.partition(distances, 1, axis=0)[:2]
    weights: NDArray[np.float64] = balance + w0 * np.exp(
        -((nearest + second) ** 2) / (2 * sigma**2)
    )
    return weights


def _to_border(cell: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far each pixel is from the outermost ones of a cell."""
    border = cell & ~binary_erosion(cell, border_value=1)
    distances: NDArray[np.float64] = distance_transform_edt(~border)
    return distances


def _show(axes: Axes, image: NDArray[Any], first: int, size: int) -> None:
    extent = (first, first + size, first + size, first)
    look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}
    axes.imshow(image, extent=extent, interpolation="none", **look)


def _square(axes: Axes, first: int, size: int, colour: str, **look: Any) -> None:
    corner = (first, first)
    border: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": 2.2}
    axes.add_patch(Rectangle(corner, size, size, clip_on=False, **border, **look))


def _say(axes: Axes, spot: tuple[float, float], text: str, colour: str) -> None:
    place: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
    axes.text(*spot, text, size=TEXT_SIZE, weight="bold", color=colour, **place)


def _membranes() -> tuple[NDArray[Any], NDArray[Any]]:
    """Make up an image of cells and what is to be found in it, at half the pixels.

    Returns:
        Grey values, and 1 inside a cell and 0 on a membrane.
    """
    half, row = _IMAGE // 2, 9
    step = half / row
    moved = np.random.default_rng(1998).uniform(0.1, 0.9, (2, row, row))
    centres = (np.mgrid[:row, :row] + moved) * step
    pixels = np.mgrid[:half, :half].reshape(2, 1, half, half)
    distances = np.hypot(*(pixels - centres.reshape(2, row * row, 1, 1)))
    nearest, second = np.partition(distances, 1, axis=0)[:2]
    inside = (second - nearest > 2.5).astype(float)
    return 0.35 + 0.45 * inside, inside


def _touching() -> NDArray[np.int64]:
    """Make up cells that lie close to each other, numbered from 1, 0 around them."""
    side, row = 256, 6
    step = side / row
    moved = np.random.default_rng(2015).uniform(0, 1, (2, row, row))
    centres = (np.mgrid[:row, :row] + moved).reshape(2, row * row, 1, 1) * step
    pixels = np.mgrid[:side, :side].reshape(2, 1, side, side)
    distances = np.hypot(*(pixels - centres))
    nearest, second = np.partition(distances, 1, axis=0)[:2]
    inside = (nearest < 0.39 * step) & (second - nearest > 3)
    return np.where(inside, distances.argmin(0) + 1, 0)
