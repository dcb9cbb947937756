"""The lines of edges between boxes that are laid out down the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path

from convzoo.inspect.layered import Item, Link, Point

_CORNER = 8.0  # kept clear at the end of a side


class Way(NamedTuple):
    """The points that an edge passes, and how it meets its boxes."""

    points: list[Point]
    leaves: bool  # a box at its side, else at its bottom
    enters: bool  # a box at its side, else at its top


def way(
    link: Link, route: Sequence[Point], sizes: Sequence[Item], centres: Sequence[Point]
) -> Way:
    """Return the way of an edge from border to border.

    A light edge that turns away meets its boxes at their sides, if nothing stands
    there.

    Args:
        link: The edge.
        route: The points between its boxes.
        sizes: Of all boxes.
        centres: Of all boxes.
    """

    def end(box: int, side: int, towards: float) -> tuple[Point, bool]:
        (x, y), (breadth, depth) = centres[box], sizes[box]
        far = abs(towards - x) > breadth / 2 + _CORNER
        turns = link.light and far and (route or box == link.target)
        if turns and not _beside(box, towards, sizes, centres):
            # What arrives does so above what leaves.
            return (
                x + math.copysign(breadth / 2, towards - x),
                y + side * depth / 4,
            ), True
        reach = breadth / 2 - _CORNER if link.light else 0.0
        return (min(max(towards, x - reach), x + reach), y + side * depth / 2), False

    after = route[0] if route else centres[link.target]
    before = route[-1] if route else centres[link.source]
    first, leaves = end(link.source, 1, after[0])
    last, enters = end(link.target, -1, before[0])
    return Way([first, *route, last], leaves, enters)


def _beside(
    box: int, towards: float, sizes: Sequence[Item], centres: Sequence[Point]
) -> bool:
    """Say whether other boxes stand between a box and what lies beside it."""
    x, y = centres[box]
    left, right = min(x, towards), max(x, towards)
    return any(
        abs(level - y) < (size.depth + sizes[box].depth) / 2
        and left < place + size.breadth / 2
        and place - size.breadth / 2 < right
        for other, ((place, level), size) in enumerate(zip(centres, sizes, strict=True))
        if other != box
    )


def curve(found: Way) -> tuple[list[Point], list[Any]]:
    """Return the vertices and codes of a `matplotlib.path.Path` with round corners."""
    vertices: list[Point] = [found.points[0]]
    codes: list[Any] = [Path.MOVETO]
    last = len(found.points) - 2
    for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(found.points)):
        leaves = number == 0 and found.leaves
        if leaves or (number == last and found.enters):
            vertices += [(x2, y1) if leaves else (x1, y2), (x2, y2)]
            codes += [Path.CURVE3] * 2
        else:
            middle = (y1 + y2) / 2
            vertices += [(x1, middle), (x2, middle), (x2, y2)]
            codes += [Path.CURVE4] * 3
    return vertices, codes


def turned(rankdir: str, depth: float) -> Callable[[Point], Point]:
    """Return what turns a point of a page this deep so that the data go their way."""

    def turn(point: Point) -> Point:
        across, along = point
        along = depth - along if rankdir in ("BT", "RL") else along
        return (along, across) if rankdir in ("LR", "RL") else (across, along)

    return turn


def draw_line(
    axes: Axes,
    found: Way,
    turn: Callable[[Point], Point],
    style: str,
    colour: str,
    zorder: float,
) -> None:
    """Draw an edge as an arrow.

    Args:
        axes: Where to.
        found: The way of the edge, down the page.
        turn: Gives the place of each of its points.
        style: Of its line.
        colour: Likewise.
        zorder: What has more lies above it.
    """
    vertices, codes = curve(found)
    axes.add_artist(
        FancyArrowPatch(
            path=Path([turn(vertex) for vertex in vertices], codes),
            arrowstyle="-|>",
            mutation_scale=9,
            shrinkA=0,
            shrinkB=0,
            linewidth=0.9,
            linestyle=style,
            color=colour,
            zorder=zorder,
        )
    )
