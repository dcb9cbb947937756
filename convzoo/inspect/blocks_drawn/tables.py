"""Figures of the papers that are tables or maps: C3's links, VGG's columns, a tile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from convzoo.anatomy import address
from convzoo.deferred import without_weights
from convzoo.inspect.blocks_drawn.captions import BLOCKS
from convzoo.inspect.blocks_drawn.dot import CAPTION_SIZE, caption_lines
from convzoo.inspect.looks import BORDER, LABEL, LABEL_SIZE, TEXT_SIZE
from convzoo.inspect.operations import KINDS, kind, shape_text
from convzoo.inspect.picture import Picture, style
from convzoo.models.lenet import lenet
from convzoo.models.unet import unet
from convzoo.models.vgg import vgg16, vgg19

_GRID = "#dde3e7"
_CELL = (104.0, 20.0)  # of VGG's table, in points
_IMAGE = 512  # pixels of a side, as the paper's images of membranes
_READ, _GIVEN = "#1565c0", "#e0a100"  # of a tile: the paper's blue and yellow


def picture(name: str, dpi: int) -> Picture:
    """Draw "c3", "vgg" or "overlap_tile".

    Args:
        name: Which.
        dpi: Pixels per inch of a .png.
    """
    with style(), without_weights():
        return Picture(_DRAWN[name](dpi))


class _Page(NamedTuple):
    """A figure with its caption; lengths in points, from the corner under it."""

    figure: Figure
    width: float
    height: float
    full: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.full)
        return self.figure.add_axes((*place, width / self.width, height / self.full))


def _page(name: str, width: float, height: float, dpi: int) -> _Page:
    title, lines = caption_lines(BLOCKS[name])
    step = TEXT_SIZE * 1.35
    full = height + 34 + step * len(lines)
    figure = Figure(figsize=(width / 72, full / 72), dpi=dpi)
    where: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    figure.text(0.5, 1 - 17 / full, title, size=CAPTION_SIZE, weight="bold", **where)
    for number, line in enumerate(lines):
        figure.text(0.5, 1 - (35 + number * step) / full, line, size=TEXT_SIZE, **where)
    return _Page(figure, width, height, full)


def _c3(dpi: int) -> Figure:
    """Table I of LeCun et al.: a column for each map of C3, a row for each of S2."""
    layer = lenet(variant="paper").get_layer("c3")
    links, maps = layer.links, layer.input.shape[-1]
    page = _page("c3", 440, 200, dpi)
    axes = page.axes(60, 46, 364, 136)
    for column, row in enumerate(links):
        axes.plot([column] * len(row), row, "o", color=_READ, markersize=9)
    axes.set(xlim=(-0.5, len(links) - 0.5), ylim=(maps - 0.5, -0.5))
    axes.set(xticks=range(len(links)), yticks=range(maps))
    axes.set_xlabel("map of C3", size=TEXT_SIZE)
    axes.set_ylabel("map of S2", size=TEXT_SIZE)
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=LABEL_SIZE)
    ends = np.cumsum([len(list(rows)) for _, rows in groupby(links, len)])
    for column in range(1, len(links)):
        colour = BORDER if column in ends else _GRID
        axes.axvline(column - 0.5, color=colour, linewidth=0.9, zorder=0)
    for row in range(1, maps):
        axes.axhline(row - 0.5, color=_GRID, linewidth=0.9, zorder=0)
    return page.figure


class _Row(NamedTuple):
    """A row of VGG's table: one cell for both columns, or one for each."""

    cells: tuple[str, ...]
    kind: str = ""  # of the layers, a key of `KINDS`
    shape: str = ""  # of the map behind it, where it is new


def _vgg(dpi: int) -> Figure:
    """Table 1 of Simonyan and Zisserman, columns D and E."""
    models = {"D": vgg16(), "E": vgg19()}
    deep = [sum(bool(layer.weights) for layer in m.layers) for m in models.values()]
    rows = [
        _Row(tuple(models)),
        _Row(tuple(f"{layers} weight layers" for layers in deep)),
        *_rows(list(models.values())),
    ]
    width, height = 2 * _CELL[0] + 120, len(rows) * _CELL[1]
    page = _page("vgg", 440, height + 16, dpi)
    axes = page.axes((440 - 2 * _CELL[0]) / 2, 4, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for number, row in enumerate(rows):
        wide = 2 * _CELL[0] / len(row.cells)
        for column, text in enumerate(row.cells):
            spot = (column * wide, number * _CELL[1])
            face = KINDS[row.kind] if row.kind and text else "white"
            _cell(axes, spot, wide, face, text, bold=number == 0)
        y = (number + 0.5) * _CELL[1]
        look: dict[str, Any] = {
            "size": LABEL_SIZE,
            "color": LABEL,
            "va": "center_baseline",
        }
        axes.text(2 * _CELL[0] + 8, y, row.shape, **look)
    return page.figure


def _rows(models: Sequence[keras.Model]) -> list[_Row]:
    """Return the layers stage by stage; only convolutions differ between columns."""
    rows: list[_Row] = []
    columns = [
        [list(layers) for _, layers in groupby(model.layers, _stage)]
        for model in models
    ]
    for stages in zip(*columns, strict=True):
        convolutions = [
            [_entry(layer) for layer in stage if kind(layer) == "convolution"]
            for stage in stages
        ]
        cells = zip_longest(*convolutions, fillvalue="")
        rows += [_Row(texts, "convolution") for texts in cells]
        for layer in stages[0]:
            if (what := kind(layer)) in ("input", "pooling"):
                rows.append(
                    _Row((_entry(layer),), what, shape_text(layer.output.shape))
                )
            elif what == "dense":
                rows.append(_Row((_entry(layer),), what))
    return [*rows, _Row(("soft-max",), "activation")]


def _stage(layer: Any) -> str:
    return address(layer.name)[0]


def _entry(layer: Any) -> str:
    """Write a layer as the table does: ``conv3-64``, ``FC-4096``."""
    if kind(layer) == "convolution":
        return f"conv{layer.kernel_size[0]}-{layer.filters}"
    if kind(layer) == "dense":
        return f"FC-{layer.units}"
    return "maxpool" if kind(layer) == "pooling" else "input (RGB image)"


def _cell(
    axes: Axes,
    spot: tuple[float, float],
    width: float,
    face: str,
    text: str,
    *,
    bold: bool,
) -> None:
    border: dict[str, Any] = {"facecolor": face, "edgecolor": BORDER, "linewidth": 0.8}
    axes.add_patch(Rectangle(spot, width, _CELL[1], clip_on=False, **border))
    axes.text(
        spot[0] + width / 2,
        spot[1] + _CELL[1] / 2,
        text,
        size=TEXT_SIZE,
        weight="bold" if bold else "normal",
        ha="center",
        va="center_baseline",
    )


def _overlap_tile(dpi: int) -> Figure:
    """Figure 2 of Ronneberger et al.: what a tile reads, and what it gives."""
    model = unet(variant="paper")
    read, given = model.input_shape[1], model.output_shape[1]
    halo = (read - given) // 2
    side, scale = _IMAGE + 2 * halo, 300 / (_IMAGE + 2 * halo)  # points per pixel
    page = _page("overlap_tile", 640, 338, dpi)
    left = page.axes(14, 26, 300, 300)
    right = page.axes(626 - _IMAGE * scale, 26 + halo * scale, *[_IMAGE * scale] * 2)
    image, found = _cells()
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
    return page.figure


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


def _cells() -> tuple[NDArray[Any], NDArray[Any]]:
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


_DRAWN = {"c3": _c3, "vgg": _vgg, "overlap_tile": _overlap_tile}
