"""A model's graph drawn by matplotlib, for machines without Graphviz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from convzoo.calls import Shape
from convzoo.inspect import dot, looks
from convzoo.inspect.curves import draw_line, turned, way
from convzoo.inspect.graph import Edge, Graph, Node
from convzoo.inspect.layered import Item, Link, Point
from convzoo.inspect.nested import Corner, Nested, nested_layout
from convzoo.inspect.operations import KINDS, shape_text
from convzoo.inspect.picture import Picture, style, width_of

# All lengths are in points.
_LEADING = 1.3  # of a line, in font sizes
_INSET = (11.0, 5.0)  # between a box's border and its text
_MARGIN = 12.0
_ACROSS = 22.0
_ALONG = {"stage": 28.0, "block": 28.0, "layer": 22.0}
_FRAME = 8.0  # between a block's border and its layers
_SWATCH = 14.0
# Where frames have their titles, which is the page's upper left corner.
_CORNERS: dict[str, Corner] = {
    "TB": "start",
    "BT": "end",
    "LR": "aside",
    "RL": "aside",
}


class _Text(NamedTuple):
    text: str
    size: float
    weight: str


class _Box(NamedTuple):
    lines: list[_Text]
    width: float
    height: float


class _Measured(NamedTuple):
    """The texts of a diagram and their sizes, turned so that data go downwards."""

    boxes: list[_Box]
    labels: list[_Text | None]  # of the edges
    titles: list[_Text]  # of the frames
    sizes: list[Item]
    links: list[Link]
    rankdir: str

    @property
    def sideways(self) -> bool:
        return self.rankdir in ("LR", "RL")


def draw(
    graph: Graph,
    *,
    show_shapes: bool,
    show_layer_names: bool,
    rankdir: str,
    dpi: int,
) -> Picture:
    """Draw a graph, the same bytes for the same graph.

    Args:
        graph: What to draw.
        show_shapes: Whether edges say where the shape of the map changes.
        show_layer_names: Whether boxes have their names as titles.
        rankdir: Direction of the data: "TB", "BT", "LR" or "RL".
        dpi: Pixels per inch of a png.
    """
    with style():
        measured = _measured(
            graph,
            rankdir,
            show_shapes=show_shapes,
            show_layer_names=show_layer_names,
        )
        figure = _drawn(graph, measured, _placed(graph, measured))
    figure.set_dpi(dpi)
    return Picture(figure, svg_text="none")


def _box(node: Node, *, show_shapes: bool, show_layer_names: bool) -> _Box:
    lines = [
        _Text(line, looks.TEXT_SIZE, "normal")
        for line in dot.lines_of(
            node, show_shapes=show_shapes, show_layer_names=show_layer_names
        )
    ]
    if show_layer_names:
        lines.insert(0, _Text(dot.title_of(node), looks.TITLE_SIZE, "bold"))
    width = max((_width(line) for line in lines), default=0.0) + 2 * _INSET[0]
    height = sum(line.size * _LEADING for line in lines) + 2 * _INSET[1]
    return _Box(lines, width, height)


def _width(text: _Text) -> float:
    return width_of(text.text, text.size, text.weight)


def _measured(
    graph: Graph, rankdir: str, *, show_shapes: bool, show_layer_names: bool
) -> _Measured:
    sideways = rankdir in ("LR", "RL")
    boxes = [
        _box(node, show_shapes=show_shapes, show_layer_names=show_layer_names)
        for node in graph.nodes
    ]
    labels = [
        _label(edge.shape) if show_shapes and edge.label else None
        for edge in graph.edges
    ]
    sizes = [
        Item(box.height, box.width) if sideways else Item(box.width, box.height)
        for box in boxes
    ]
    links = [
        Link(edge.source, edge.target, edge.skip, _beside(edge, label, sideways))
        for edge, label in zip(graph.edges, labels, strict=True)
    ]
    titles = [
        _Text(block, looks.TEXT_SIZE, "normal") for block, _ in dot.clusters_of(graph)
    ]
    return _Measured(boxes, labels, titles, sizes, links, rankdir)


def _placed(graph: Graph, measured: _Measured) -> Nested:
    _, labels, titles, sizes, links, _ = measured
    sideways = measured.sideways
    return nested_layout(
        sizes if sideways else _with_room(sizes, graph, labels),
        links,
        [members for _, members in dot.clusters_of(graph)],
        [title.size + 2 if sideways else _width(title) + 4 for title in titles],
        across=_ACROSS,
        along=_widest(labels) + 24 if sideways else _ALONG[graph.level],
        margin=_FRAME,
        corner=_CORNERS[measured.rankdir],
    )


def _drawn(graph: Graph, measured: _Measured, placed: Nested) -> Figure:
    found, turn = placed.layout, turned(measured.rankdir, placed.layout.depth)
    width, height = found.breadth, found.depth
    if measured.sideways:
        width, height = height, width
    legend = _legend(graph)
    row = looks.TEXT_SIZE * 1.7
    side = max(_width(text) for _, _, text in legend) + _SWATCH + 8
    axes = _page(width + 24 + side, max(height, len(legend) * row))
    for frame, title in zip(placed.frames, measured.titles, strict=True):
        if frame:
            _draw_frame(axes, turn(frame[:2]), turn(frame[2:]), title)
    _draw_edges(axes, graph, measured, placed)
    for node, box, centre in zip(
        graph.nodes, measured.boxes, found.centres, strict=True
    ):
        _draw_box(axes, box, turn(centre), KINDS[node.kind])
    for number, entry in enumerate(legend):
        _draw_legend_row(axes, (width + 24, (number + 0.5) * row), *entry)
    return cast(Figure, axes.figure)


def _page(width: float, height: float) -> Axes:
    """Return axes in points, downwards from the upper left corner, with margins."""
    whole = width + 2 * _MARGIN, height + 2 * _MARGIN
    figure = Figure(figsize=(whole[0] / 72, whole[1] / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(-_MARGIN, width + _MARGIN), ylim=(height + _MARGIN, -_MARGIN))
    axes.axis("off")
    return axes


def _draw_edges(axes: Axes, graph: Graph, measured: _Measured, placed: Nested) -> None:
    found, turn = placed.layout, turned(measured.rankdir, placed.layout.depth)
    for edge, link, route, start, label in zip(
        graph.edges,
        measured.links,
        found.routes,
        placed.exits,
        measured.labels,
        strict=True,
    ):
        line = way(link, route, measured.sizes, found.centres)
        # Where ways run together, the data's usual one is seen.
        draw_line(axes, line, turn, *dot.LINKS[edge.link], 0.9 if edge.skip else 1)
        if label:
            spots = [turn(point) for point in line.points[start:]]
            _draw_label(axes, edge, spots, label, measured.sideways)


def _widest(labels: Sequence[_Text | None]) -> float:
    return max((_width(label) for label in labels if label), default=0.0)


def _beside(edge: Edge, label: _Text | None, sideways: bool) -> float:
    """Return the breadth of a line that skips boxes, with the label at its side."""
    return 2 * _width(label) + 8 if label and edge.skip and not sideways else 4.0


def _with_room(
    sizes: Sequence[Item], graph: Graph, labels: Sequence[_Text | None]
) -> list[Item]:
    """Widen boxes for the labels that stand beside the edges below them."""
    room = list(sizes)
    for edge, label in zip(graph.edges, labels, strict=True):
        if label and not edge.skip:
            breadth, depth = room[edge.source]
            room[edge.source] = Item(max(breadth, 2 * _width(label) + 16), depth)
    return room


def _draw_label(
    axes: Axes,
    edge: Edge,
    points: Sequence[Point],
    label: _Text,
    sideways: bool,
) -> None:
    """Write on the middle of a slanting edge, else beside it."""
    (x1, y1), (x2, y2) = points[:2]
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    slanting = abs((y2 - y1) if sideways else (x2 - x1)) > 1
    ha = "center" if slanting or sideways else "left"
    if edge.skip and len(points) > 2:
        x, y, slanting = x2 + 4, y2 - 2 if sideways else y2 + 8, False
        ha = "left"
    elif edge.skip and not sideways:
        # Away from where a short one turns to.
        x, ha = (x1 + 5, "left") if x1 > x2 else (x1 - 5, "right")
        slanting = False
    elif not slanting:
        x, y = (x, y - 3) if sideways else (x + 5, y)
    axes.text(
        x,
        y,
        label.text,
        size=label.size,
        color=looks.LABEL,
        va="bottom" if sideways and not slanting else "center",
        ha=ha,
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
    axes.add_artist(
        FancyBboxPatch(
            (x, y),
            box.width,
            box.height,
            boxstyle=rounded,
            facecolor=colour,
            edgecolor=looks.BORDER,
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
    return _Text(shape_text(shape), looks.LABEL_SIZE, "normal")


def _legend(graph: Graph) -> list[tuple[str, str, _Text]]:
    """Return the style of a line, or "" for a box, the colour, and the meaning."""
    boxes = [("", KINDS[kind], kind) for kind in dot.kinds_of(graph)]
    lines = [(*dot.LINKS[link], link) for link in dot.links_of(graph)]
    return [
        (style, colour, _Text(text, looks.TEXT_SIZE, "normal"))
        for style, colour, text in (*boxes, *lines)
    ]


def _draw_legend_row(
    axes: Axes, spot: Point, style: str, colour: str, text: _Text
) -> None:
    x, y = spot
    if style:
        axes.plot(
            [x, x + _SWATCH], [y, y], linestyle=style, color=colour, linewidth=1.2
        )
    else:
        corner = (x, y - _SWATCH / 2)
        axes.add_artist(
            Rectangle(
                corner,
                _SWATCH,
                _SWATCH,
                facecolor=colour,
                edgecolor=looks.BORDER,
                linewidth=0.8,
            )
        )
    axes.text(
        x + _SWATCH + 6, y, text.text, size=text.size, va="center", parse_math=False
    )


def _draw_frame(axes: Axes, corner: Point, other: Point, title: _Text) -> None:
    """Draw the border of a block's layers, its name in the upper left corner."""
    left, right = sorted((corner[0], other[0]))
    top, bottom = sorted((corner[1], other[1]))
    axes.add_artist(
        FancyBboxPatch(
            (left, top),
            right - left,
            bottom - top,
            boxstyle="round,pad=0,rounding_size=5",
            facecolor=looks.FRAME_FILL,
            edgecolor=looks.FRAME,
            linewidth=0.8,
            zorder=0,
        )
    )
    axes.text(
        left + 5,
        top + 3,
        title.text,
        size=title.size,
        ha="left",
        va="top",
        color=looks.LABEL,
        parse_math=False,
    )
