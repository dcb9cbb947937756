"""Figures of the papers that are no graphs: C3's links, VGG's columns, U-Net's maps."""

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
    """Draw one of `NO_GRAPHS`.

    Args:
        name: Which.
        dpi: Pixels per inch of a .png.
    """
    with style(), without_weights():
        return Picture(_DRAWN[name](dpi), svg_text="none")


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


# What the table writes for a convolution.
_64, _128, _256, _512 = (f"conv3-{filters}" for filters in (64, 128, 256, 512))
# fmt: off
_OTHERS = {  # columns that the zoo does not build, stage by stage
    "A":     ((_64,),       (_128,),      (_256, _256),
              (_512, _512), (_512, _512)),
    "A-LRN": ((_64, "LRN"), (_128,),      (_256, _256),
              (_512, _512), (_512, _512)),
    "B":     ((_64, _64),   (_128, _128), (_256, _256),
              (_512, _512), (_512, _512)),
    "C":     ((_64, _64),   (_128, _128), (_256, _256, "conv1-256"),
              (_512, _512, "conv1-512"),  (_512, _512, "conv1-512")),
}
# fmt: on


class _Row(NamedTuple):
    """A row of VGG's table: one cell for all columns, or one for each."""

    cells: tuple[str, ...]
    kind: str = ""  # of the layers, a key of `KINDS`
    shape: str = ""  # of the map behind it, where it is new


def _vgg(dpi: int) -> Figure:
    """Table 1 of Simonyan and Zisserman; D and E are read from the networks."""
    built = {"D: vgg16": vgg16(), "E: vgg19": vgg19()}
    rows = _rows(list(built.values()))
    names = (*_OTHERS, *built)
    across = len(names) * _CELL[0]
    paper = page("vgg", across + 116, (len(rows) + 1) * _CELL[1] + 16, dpi)
    width, height = across + 100, (len(rows) + 1) * _CELL[1]
    axes = paper.axes(16, 4, width, height)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for number, row in enumerate((_Row(names), *rows)):
        wide = across / len(row.cells)
        for column, text in enumerate(row.cells):
            spot = (column * wide, number * _CELL[1])
            what = "normalization" if text == "LRN" else row.kind
            face = KINDS[what] if what and text else "white"
            _cell(axes, spot, wide, face, text, bold=number == 0)
        y = (number + 0.5) * _CELL[1]
        look: dict[str, Any] = {
            "size": LABEL_SIZE,
            "color": LABEL,
            "va": "center_baseline",
        }
        axes.text(across + 8, y, row.shape, **look)
    return paper.figure


def _rows(built: Sequence[keras.Model]) -> list[_Row]:
    """Return the layers stage by stage; only convolutions differ between columns."""
    networks = [
        [list(layers) for _, layers in groupby(model.layers, _stage)] for model in built
    ]
    rows: list[_Row] = []
    deep = [
        3 + sum(t != "LRN" for s in column for t in s) for column in _OTHERS.values()
    ]
    deep += [sum(bool(layer.weights) for layer in model.layers) for model in built]
    rows.append(_Row(tuple(f"{layers} weight layers" for layers in deep)))
    for stage, layers in enumerate(networks[0]):
        convolutions = [
            [_entry(layer) for layer in network[stage] if kind(layer) == "convolution"]
            for network in networks
        ]
        if any(convolutions):  # the first stage is the input
            others = [column[stage - 1] for column in _OTHERS.values()]
            cells = zip_longest(*others, *convolutions, fillvalue="")
            rows += [_Row(texts, "convolution") for texts in cells]
        for layer in layers:
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
