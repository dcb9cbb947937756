"""Block diagrams drawn by matplotlib, for machines without Graphviz."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from convzoo.inspect import looks
from convzoo.inspect.blocks_drawn.dot import (
    CAPTION_SIZE,
    caption_lines,
    edge_text,
    is_dotted,
)
from convzoo.inspect.curves import Way, curve
from convzoo.inspect.graph import Edge, Graph, Node
from convzoo.inspect.layered import Item, Layout, Link, Point, layout
from convzoo.inspect.operations import KINDS
from convzoo.inspect.picture import Picture, style, width_of

# All lengths are in points.
_LEADING = 1.35  # of a line, in font sizes
_INSET = (10.0, 5.0)  # between a box's border and its text
_MARGIN = 12.0
_UPRIGHT = 4.0  # the most that an upright edge leans
_ACROSS = 22.0  # between boxes
_ALONG = (30.0, 42.0)  # the same without and with texts beside the edges


class _Panel(NamedTuple):
    title: str
    nodes: list[Node]
    edges: list[Edge]  # by the panel's own places
    texts: list[str]  # beside the edges
    dotted: list[bool]
    items: list[Item]  # the boxes
    layout: Layout

    @property
    def width(self) -> float:
        return max(self.layout.breadth, width_of(self.title, looks.TEXT_SIZE))


def draw(
    graph: Graph, caption: str, rankdir: str, *, show_shapes: bool, dpi: int
) -> Picture:
    """Draw the panels of a diagram side by side.

    Args:
        graph: The nodes of all panels.
        caption: "title: source; remark".
        rankdir: Direction of the data: "TB" or "BT".
        show_shapes: Whether edges say where height and width change.
        dpi: Pixels per inch of a png.

    Returns:
        The picture; its files are the same bytes for the same graph.
    """
    with style():
        panels = _panels(graph, show_shapes=show_shapes)
        return Picture(_figure(panels, caption, dpi, upwards=rankdir == "BT"))


def _panels(graph: Graph, *, show_shapes: bool) -> list[_Panel]:
    panels = []
    for title, row in groupby(enumerate(graph.nodes), lambda item: item[1].block):
        places = {index: place for place, (index, _) in enumerate(row)}
        nodes = [graph.nodes[index] for index in places]
        own = [edge for edge in graph.edges if edge.source in places]
        texts = [edge_text(graph, edge, show_shapes) for edge in own]
        dotted = [is_dotted(graph, edge) for edge in own]
        edges = [
            edge._replace(source=places[edge.source], target=places[edge.target])
            for edge in own
        ]
        items = [_item(node) for node in nodes]
        found = _layout(items, edges, [width_of(t, looks.LABEL_SIZE) for t in texts])
        panels.append(_Panel(title, nodes, edges, texts, dotted, items, found))
    return panels


def _layout(
    items: Sequence[Item], edges: Sequence[Edge], widths: Sequence[float]
) -> Layout:
    """Lay a panel out; a text stands beside its edge and needs room there."""
    room = list(items)
    links = []
    for edge, width in zip(edges, widths, strict=True):
        wide = 2 * width + 14 if width else 4.0
        links.append(Link(edge.source, edge.target, edge.skip, wide))
        own = room[edge.source]
        if width and not edge.skip:
            room[edge.source] = own._replace(breadth=max(own.breadth, wide))
    return layout(room, links, across=_ACROSS, along=_ALONG[any(widths)])


def _item(node: Node) -> Item:
    width = max(width_of(line, looks.TEXT_SIZE) for line in node.lines) + 2 * _INSET[0]
    return Item(width, len(node.lines) * looks.TEXT_SIZE * _LEADING + 2 * _INSET[1])


def _figure(
    panels: Sequence[_Panel], caption: str, dpi: int, *, upwards: bool
) -> Figure:
    title, lines = caption_lines(caption)
    row = looks.TEXT_SIZE * _LEADING
    heading = CAPTION_SIZE * _LEADING + len(lines) * row + 10
    framed = any(panel.title for panel in panels)
    pad, head = (12.0, row + 10) if framed else (0.0, 0.0)
    spread = sum(panel.width + 2 * pad for panel in panels) + 8 * (len(panels) - 1)
    texts = [(title, CAPTION_SIZE * 1.1), *((line, looks.TEXT_SIZE) for line in lines)]
    width = max(spread, *(width_of(*text) for text in texts)) + 2 * _MARGIN
    depth = max(panel.layout.depth for panel in panels)
    height = heading + head + depth + 2 * pad + 2 * _MARGIN
    figure = Figure(figsize=(width / 72, height / 72), dpi=dpi)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    top = _MARGIN
    for number, (line, _) in enumerate(texts):
        size = looks.TEXT_SIZE if number else CAPTION_SIZE
        weight = "normal" if number else "bold"
        _text(axes, (width / 2, top + size * _LEADING / 2), line, size, weight=weight)
        top += size * _LEADING
    left, top = (width - spread) / 2, _MARGIN + heading
    for panel in panels:
        inside = panel.layout.depth + head + 2 * pad
        if framed:
            frame = (left, top), panel.width + 2 * pad, inside
            _box(axes, *frame, edgecolor=looks.FRAME, facecolor="none")
            middle = left + pad + panel.width / 2
            _text(axes, (middle, top + row / 2 + 4), panel.title, looks.TEXT_SIZE)
        _draw_panel(axes, panel, (left + pad, top + head + pad), upwards=upwards)
        left += panel.width + 2 * pad + 8
    return figure


def _draw_panel(axes: Axes, panel: _Panel, corner: Point, *, upwards: bool) -> None:
    found = panel.layout
    left = corner[0] + (panel.width - found.breadth) / 2

    def turn(point: Point) -> Point:
        return left + point[0], corner[1] + (
            found.depth - point[1] if upwards else point[1]
        )

    for edge, route, text, dotted in zip(
        panel.edges, found.routes, panel.texts, panel.dotted, strict=True
    ):
        points = [turn(point) for point in _points(panel, edge, route, bool(text))]
        _draw_edge(axes, edge, points, dotted=dotted)
        if text:
            # Where ways join, they come close to each other at the end.
            joins = panel.nodes[edge.target].kind == "merge" and not edge.skip
            _draw_label(axes, points, text, 0.35 if joins else 0.5)
    for node, item, centre in zip(panel.nodes, panel.items, found.centres, strict=True):
        x, y = turn(centre)
        spot = (x - item.breadth / 2, y - item.depth / 2)
        colours = {"facecolor": KINDS[node.kind], "edgecolor": looks.BORDER}
        _box(axes, spot, item.breadth, item.depth, **colours)
        step = looks.TEXT_SIZE * _LEADING
        first = y - (len(node.lines) - 1) / 2 * step
        for number, line in enumerate(node.lines):
            _text(axes, (x, first + number * step), line, looks.TEXT_SIZE)


def _points(
    panel: _Panel, edge: Edge, route: Sequence[Point], labelled: bool
) -> list[Point]:
    """Return an edge's way; its ends lean towards where it comes from and goes.

    One with a text leaves in the middle, where its text has most room; a shortcut
    leaves at the side, where it crosses no branch.
    """

    def end(index: int, side: int, towards: float) -> Point:
        (x, y), item = panel.layout.centres[index], panel.items[index]
        middle = labelled and side > 0 and not edge.skip
        reach = 0.0 if middle else item.breadth / 2 - 8
        return min(max(towards, x - reach), x + reach), y + side * item.depth / 2

    centres = panel.layout.centres
    first = route[0][0] if route else centres[edge.target][0]
    last = route[-1][0] if route else centres[edge.source][0]
    return [end(edge.source, 1, first), *route, end(edge.target, -1, last)]


def _draw_edge(
    axes: Axes, edge: Edge, points: Sequence[Point], *, dotted: bool
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            path=Path(*curve(Way(list(points), leaves=False, enters=False))),
            arrowstyle="-|>",
            mutation_scale=11,
            shrinkA=0,
            shrinkB=0,
            linewidth=0.9,
            linestyle=(0, (1.5, 2.5)) if dotted else "-",
            color=looks.SKIP if edge.skip else looks.BORDER,
            zorder=1,
        )
    )


def _draw_label(axes: Axes, points: Sequence[Point], text: str, share: float) -> None:
    """Write beside the longest upright piece of an edge, else on the longest.

    It stands after this share of the piece.
    """
    pieces = list(pairwise(points))
    upright = [(a, b) for a, b in pieces if abs(a[0] - b[0]) < _UPRIGHT]
    (x1, y1), (x2, y2) = max(
        upright or pieces, key=lambda piece: abs(piece[0][1] - piece[1][1])
    )
    axes.text(
        max(x1, x2) + 5 if upright else (x1 + x2) / 2,
        y1 + share * (y2 - y1) if upright else (y1 + y2) / 2,
        text,
        size=looks.LABEL_SIZE,
        color=looks.LABEL,
        ha="left" if upright else "center",
        va="center_baseline",
        parse_math=False,
        zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def _box(
    axes: Axes, corner: Point, width: float, height: float, **colours: Any
) -> None:
    rounded = "round,pad=0,rounding_size=5"
    patch = FancyBboxPatch(
        corner, width, height, boxstyle=rounded, linewidth=0.9, zorder=2, **colours
    )
    axes.add_patch(patch)


def _text(
    axes: Axes, spot: Point, text: str, size: float, weight: str = "normal"
) -> None:
    axes.text(
        *spot,
        text,
        size=size,
        weight=weight,
        ha="center",
        va="center_baseline",
        parse_math=False,
        zorder=3,
    )
