"""Figures of the papers that are tables: C3's links and VGG's columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convzoo.anatomy import address
from convzoo.deferred import without_weights
from convzoo.inspect.blocks_drawn import maps
from convzoo.inspect.blocks_drawn.page import page
from convzoo.inspect.looks import BORDER, LABEL, LABEL_SIZE, TEXT_SIZE
from convzoo.inspect.operations import KINDS, kind, shape_text
from convzoo.inspect.picture import Picture, style
from convzoo.models.lenet import lenet
from convzoo.models.vgg import vgg16, vgg19

_GRID = "#dde3e7"
_CELL = (104.0, 20.0)  # of VGG's table, in points
_DOT = "#1565c0"


def picture(name: str, dpi: int) -> Picture:
    """Draw one of `TABLES`.

    Args:
        name: Which.
        dpi: Pixels per inch of a .png.
    """
    with style(), without_weights():
        return Picture(_DRAWN[name](dpi))


def _c3(dpi: int) -> Figure:
    """Table I of LeCun et al.: a column for each map of C3, a row for each of S2."""
    layer = lenet(variant="paper").get_layer("c3")
    links, maps = layer.links, layer.input.shape[-1]
    paper = page("c3", 440, 200, dpi)
    axes = paper.axes(60, 46, 364, 136)
    for column, row in enumerate(links):
        axes.plot([column] * len(row), row, "o", color=_DOT, markersize=9)
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
    return paper.figure


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
    paper = page("vgg", 440, height + 16, dpi)
    axes = paper.axes((440 - 2 * _CELL[0]) / 2, 4, width, height)
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
    return paper.figure


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


_DRAWN = {
    "c3": _c3,
    "vgg": _vgg,
    "overlap_tile": maps.overlap_tile,
    "weight_map": maps.weight_map,
}
