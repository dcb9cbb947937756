"""A model's graph drawn by matplotlib, for machines without Graphviz."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from convzoo.calls import Shape
from convzoo.inspect import dot
from convzoo.inspect.graph import Edge, Graph, Node
from convzoo.inspect.layered import Item, Layout, Link, Point, layout
from convzoo.inspect.operations import KINDS, shape_text

# All lengths are in points.
_LEADING = 1.3  # of a line, in font sizes
_INSET = (11.0, 5.0)  # between a box's border and its text
_MARGIN = 12.0
_ACROSS = 22.0
_SWATCH = 14.0
_RENDERER = RendererAgg(1, 1, 72)  # type: ignore[no-untyped-call]


class _Text(NamedTuple):
    text: str
    size: float
    weight: str


class _Box(NamedTuple):
    lines: list[_Text]
    width: float
    height: float


def draw(
    graph: Graph,
    kind: str,
    *,
    show_shapes: bool,
    show_layer_names: bool,
    rankdir: str,
    dpi: int,
) -> bytes:
    """Draw a graph.

    Args:
        graph: What to draw.
        kind: "svg", "png" or "pdf".
        show_shapes: Whether edges say where the shape of the map changes.
        show_layer_names: Whether boxes have their names as titles.
        rankdir: Direction of the data: "TB", "BT", "LR" or "RL".
        dpi: Pixels per inch of a png.

    Returns:
        The content of the file; the same bytes for the same graph.
    """
    with matplotlib.style.context(["default", {"svg.hashsalt": "convzoo"}]):
        boxes = [
            _box(node, show_shapes=show_shapes, show_layer_names=show_layer_names)
            for node in graph.nodes
        ]
        figure = _figure(graph, boxes, rankdir, show_shapes=show_shapes)
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=dpi, metadata=dates.get(kind))
        return content.getvalue()


def _box(node: Node, *, show_shapes: bool, show_layer_names: bool) -> _Box:
    lines = [
        _Text(line, dot.TEXT_SIZE, "normal")
        for line in dot.lines_of(
            node, show_shapes=show_shapes, show_layer_names=show_layer_names
        )
    ]
    if show_layer_names:
        lines.insert(0, _Text(dot.title_of(node), dot.TITLE_SIZE, "bold"))
    width = max((_width(line) for line in lines), default=0.0) + 2 * _INSET[0]
    height = sum(line.size * _LEADING for line in lines) + 2 * _INSET[1]
    return _Box(lines, width, height)


def _width(text: _Text) -> float:
    font = FontProperties(size=text.size, weight=text.weight)
    renderer: Any = _RENDERER
    return float(renderer.get_text_width_height_descent(text.text, font, False)[0])


def _figure(
    graph: Graph, boxes: Sequence[_Box], rankdir: str, *, show_shapes: bool
) -> Figure:
    sideways = rankdir in ("LR", "RL")
    labels = [
        _label(edge.shape) if show_shapes and edge.label else None
        for edge in graph.edges
    ]
    found = _layout(graph, boxes, labels, sideways)
    turn = _turn(rankdir, found)
    width, height = found.breadth, found.depth
    if sideways:
        width, height = height, width
    names = _cluster_names(graph)
    left = _MARGIN + max((_width(name) + 10 for name in names.values()), default=0)
    legend = _legend(graph)
    side = max(_width(text) for _, text in legend) + _SWATCH + 8
    figure_width = left + width + 24 + side + _MARGIN
    row = dot.TEXT_SIZE * 1.7
    figure_height = max(height, len(legend) * row) + 2 * _MARGIN
    figure = Figure(figsize=(figure_width / 72, figure_height / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(
        xlim=(-left, figure_width - left), ylim=(figure_height - _MARGIN, -_MARGIN)
    )
    axes.axis("off")
    centres = [turn(point) for point in found.centres]
    _draw_clusters(axes, graph, boxes, centres, names)
    for edge, route, label in zip(graph.edges, found.routes, labels, strict=True):
        points = _points(edge, route, boxes, found.centres, sideways=sideways)
        _draw_edge(axes, edge, [turn(point) for point in points], label, sideways)
    for node, box, centre in zip(graph.nodes, boxes, centres, strict=True):
        _draw_box(axes, box, centre, KINDS[node.kind])
    for number, (colour, text) in enumerate(legend):
        _draw_legend_row(axes, (width + 24, (number + 0.5) * row), colour, text)
    return figure


def _layout(
    graph: Graph, boxes: Sequence[_Box], labels: Sequence[_Text | None], sideways: bool
) -> Layout:
    """Lay the graph out; a label stands beside its edge and needs room there."""
    room = [0.0] * len(boxes)
    for edge, label in zip(graph.edges, labels, strict=True):
        if label and not edge.skip and not sideways:
            room[edge.source] = max(room[edge.source], 2 * _width(label) + 16)
    items = [
        Item(box.height, box.width)
        if sideways
        else Item(max(box.width, wide), box.height)
        for box, wide in zip(boxes, room, strict=True)
    ]
    wide = max((_width(label) for label in labels if label), default=0.0)
    links = []
    for edge, label in zip(graph.edges, labels, strict=True):
        needs = 2 * _width(label) + 8 if label and edge.skip and not sideways else 4.0
        links.append(Link(edge.source, edge.target, edge.skip, needs))
    tight = graph.level == "layer" and not any(labels)
    along = wide + 24 if sideways else 16.0 if tight else 28.0
    return layout(items, links, across=_ACROSS, along=along)


def _turn(rankdir: str, found: Layout) -> Callable[[Point], Point]:
    def turn(point: Point) -> Point:
        across, along = point
        along = found.depth - along if rankdir in ("BT", "RL") else along
        return (along, across) if rankdir in ("LR", "RL") else (across, along)

    return turn


def _points(
    edge: Edge,
    route: Sequence[Point],
    boxes: Sequence[_Box],
    centres: Sequence[Point],
    *,
    sideways: bool,
) -> list[Point]:
    """Return an edge's way; one that skips boxes keeps clear of the others' ends."""

    def end(index: int, side: int, towards: float) -> Point:
        box, (x, y) = boxes[index], centres[index]
        breadth, depth = (
            (box.height, box.width) if sideways else (box.width, box.height)
        )
        reach = breadth / 2 - 8 if edge.skip else 0.0
        return min(max(towards, x - reach), x + reach), y + side * depth / 2

    first = route[0][0] if route else centres[edge.target][0]
    last = route[-1][0] if route else centres[edge.source][0]
    return [end(edge.source, 1, first), *route, end(edge.target, -1, last)]


def _draw_edge(
    axes: Axes,
    edge: Edge,
    points: Sequence[Point],
    label: _Text | None,
    sideways: bool,
) -> None:
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x1, y1), (x2, y2) in pairwise(points):
        if sideways:
            middle = (x1 + x2) / 2
            vertices += [(middle, y1), (middle, y2), (x2, y2)]
        else:
            middle = (y1 + y2) / 2
            vertices += [(x1, middle), (x2, middle), (x2, y2)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>",
            mutation_scale=9,
            shrinkA=0,
            shrinkB=0,
            linewidth=0.9,
            linestyle="--" if edge.skip else "-",
            color=dot.SKIP if edge.skip else dot.BORDER,
            zorder=1,
        )
    )
    if label:
        _draw_label(axes, edge, points, label, sideways)


def _draw_label(
    axes: Axes,
    edge: Edge,
    points: Sequence[Point],
    label: _Text,
    sideways: bool,
) -> None:
    (x1, y1), (x2, y2) = points[:2]
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    slanting = abs((y2 - y1) if sideways else (x2 - x1)) > 1
    if edge.skip:
        x, y, slanting = x2 + 4, y2 - 2 if sideways else y2 + 8, False
    elif not slanting:
        x, y = (x, y - 3) if sideways else (x + 5, y)
    axes.text(
        x,
        y,
        label.text,
        size=label.size,
        color=dot.LABEL,
        va="bottom" if sideways and not slanting else "center",
        ha="center" if slanting or (sideways and not edge.skip) else "left",
        parse_math=False,
        zorder=4,
        # A label on a slanting edge interrupts it.
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        if slanting
        else None,
    )


def _draw_box(axes: Axes, box: _Box, centre: Point, colour: str) -> None:
    x, y = centre[0] - box.width / 2, centre[1] - box.height / 2
    rounded = "round,pad=0,rounding_size=5"
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            box.width,
            box.height,
            boxstyle=rounded,
            facecolor=colour,
            edgecolor=dot.BORDER,
            linewidth=0.9,
            zorder=2,
        )
    )
    line_top = y + _INSET[1]
    for line in box.lines:
        axes.text(
            centre[0],
            line_top + line.size * _LEADING / 2,
            line.text,
            size=line.size,
            weight=line.weight,
            ha="center",
            va="center_baseline",
            parse_math=False,
            zorder=3,
        )
        line_top += line.size * _LEADING


def _label(shape: Shape) -> _Text:
    return _Text(shape_text(shape), dot.LABEL_SIZE, "normal")


def _legend(graph: Graph) -> list[tuple[str, _Text]]:
    rows = [
        (KINDS[kind], _Text(kind, dot.TEXT_SIZE, "normal"))
        for kind in dot.legend_of(graph)
    ]
    if any(edge.skip for edge in graph.edges):
        rows.append(("", _Text("skip connection", dot.TEXT_SIZE, "normal")))
    return rows


def _draw_legend_row(axes: Axes, spot: Point, colour: str, text: _Text) -> None:
    x, y = spot
    if colour:
        corner = (x, y - _SWATCH / 2)
        axes.add_patch(
            FancyBboxPatch(
                corner,
                _SWATCH,
                _SWATCH,
                boxstyle="square,pad=0",
                facecolor=colour,
                edgecolor=dot.BORDER,
                linewidth=0.8,
            )
        )
    else:
        axes.plot([x, x + _SWATCH], [y, y], "--", color=dot.SKIP, linewidth=1.2)
    axes.text(
        x + _SWATCH + 6, y, text.text, size=text.size, va="center", parse_math=False
    )


def _clusters(graph: Graph) -> Iterator[tuple[str, list[int]]]:
    """Yield the blocks of several layers, where layers are drawn."""
    if graph.level == "layer":
        numbered = enumerate(graph.nodes)
        for block, row in groupby(numbered, lambda item: item[1].block):
            members = [index for index, _ in row]
            if len(members) > 1:
                yield block, members


def _cluster_names(graph: Graph) -> dict[str, _Text]:
    return {
        block: _Text(block, dot.TEXT_SIZE, "normal") for block, _ in _clusters(graph)
    }


def _draw_clusters(
    axes: Axes,
    graph: Graph,
    boxes: Sequence[_Box],
    centres: Sequence[Point],
    names: dict[str, _Text],
) -> None:
    """Frame the layers of each block whose frame would hold no layer of another."""
    for block, members in _clusters(graph):
        left = min(centres[i][0] - boxes[i].width / 2 for i in members) - 6
        right = max(centres[i][0] + boxes[i].width / 2 for i in members) + 6
        top = min(centres[i][1] - boxes[i].height / 2 for i in members) - 5
        bottom = max(centres[i][1] + boxes[i].height / 2 for i in members) + 5
        strangers = [
            i
            for i, (x, y) in enumerate(centres)
            if i not in members
            and left < x + boxes[i].width / 2
            and x - boxes[i].width / 2 < right
            and top < y + boxes[i].height / 2
            and y - boxes[i].height / 2 < bottom
        ]
        if strangers:
            continue
        frame = (left, top), right - left, bottom - top
        axes.add_patch(
            FancyBboxPatch(
                *frame,
                boxstyle="round,pad=0,rounding_size=5",
                facecolor="#f6f8f9",
                edgecolor="#b0bec5",
                linewidth=0.8,
                zorder=0,
            )
        )
        axes.text(
            left - 4,
            top + 8,
            names[block].text,
            size=names[block].size,
            ha="right",
            va="center",
            color=dot.LABEL,
            parse_math=False,
        )
