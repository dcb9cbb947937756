"""A page measured in points that becomes as large as what is drawn on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyBboxPatch, Polygon
from matplotlib.text import Text

from convzoo.inspect import looks, picture

Point = tuple[float, float]

INK, FAINT = "#263238", looks.LABEL
SMALL, TEXT, TITLE = 8.0, 9.0, 13.0  # sizes of text; none is smaller
LEADING = 1.32  # of a line, in font sizes
_LEAST = 7.0  # points: what is printed smaller cannot be read
_LARGEST = (16 * 72.0, 9 * 72.0)
_MARGIN = 14.0
_HEAD = (6.0, 2.6)  # length and half the width of an arrow's head
_DASHES = {"solid": "-", "dashed": (0, (4, 2.2)), "dotted": (0, (1.2, 1.8))}


def width_of(words: str, size: float = SMALL, weight: str = "normal") -> float:
    """Return how wide a text is, in points; small unless told otherwise."""
    return picture.width_of(words, size, weight)


def shade(colour: str, share: float) -> str:
    """Return a colour mixed with so much of the ink."""
    (r, g, b), ink = to_rgb(colour), to_rgb(INK)
    rest = 1 - share
    return to_hex(
        (
            rest * r + share * ink[0],
            rest * g + share * ink[1],
            rest * b + share * ink[2],
        )
    )


def arc(start: Point, end: Point, top: float) -> list[Point]:
    """Return a flat arch over two points on one line, rounded at its corners."""
    (x1, y1), (x2, _) = start, end
    turn = min(6.0, (x2 - x1) / 2, 0.45 * abs(y1 - top))
    sign = 1 if top < y1 else -1
    left = [
        (x1 + turn * (1 - math.cos(a)), top + sign * turn * (1 - math.sin(a)))
        for a in (math.pi / 8 * i for i in range(5))
    ]
    return [start, *left, *((x1 + x2 - x, y) for x, y in reversed(left)), (x2, y1)]


class Page:
    """What has been drawn so far; x runs to the right, y downwards, in points."""

    def __init__(self) -> None:
        self.left = self.top = math.inf
        self.right = self.bottom = -math.inf
        self._figure = Figure(figsize=(1, 1))
        self._axes = self._figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.axis("off")
        self._sizes: list[tuple[Text, float]] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = SMALL,
        weight: str = "normal",
        colour: str = INK,
        ha: str = "center",
        turned: bool = False,
    ) -> None:
        """Write one line, centred on ``y``; ``turned`` reads upwards, centred on x."""
        long, high = width_of(words, size, weight), size * LEADING
        start = {"left": 0.0, "center": -long / 2, "right": -long}[ha]
        if turned:
            self._reach(x - high / 2, y - long / 2, x + high / 2, y + long / 2)
        else:
            self._reach(x + start, y - high / 2, x + start + long, y + high / 2)
        drawn = self._axes.text(
            x,
            y,
            words,
            size=size,
            weight=weight,
            color=colour,
            ha=ha,
            va="center" if turned else "center_baseline",
            rotation=90 if turned else 0,
            parse_math=False,
            zorder=4,
        )
        self._sizes.append((drawn, size))

    def lines(
        self, x: float, y: float, lines: Sequence[str], *, ha: str = "center"
    ) -> float:
        """Write lines downwards from the top ``y``; return where they end."""
        for line in lines:
            self.text(x, y + SMALL * LEADING / 2, line, ha=ha)
            y += SMALL * LEADING
        return y

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        corner: float = 0.0,
        zorder: float = 2,
        kind: str = "box",
    ) -> None:
        """Draw a rectangle from its upper left corner."""
        style = f"round,pad=0,rounding_size={corner}" if corner else "square,pad=0"
        self._reach(x, y, x + width, y + height)
        self._axes.add_patch(
            FancyBboxPatch(
                (x, y),
                width,
                height,
                boxstyle=style,
                facecolor=colour,
                edgecolor=looks.BORDER,
                linewidth=0.8,
                zorder=zorder,
                label=kind,
            )
        )

    def polygon(
        self,
        points: Sequence[Point],
        colour: str,
        *,
        edge: str = looks.BORDER,
        zorder: float = 2,
        kind: str = "polygon",
    ) -> None:
        """Fill an outline."""
        for x, y in points:
            self._reach(x, y, x, y)
        self._axes.add_patch(
            Polygon(
                points,
                closed=True,
                facecolor=colour,
                edgecolor=edge,
                linewidth=0.8 if edge != "none" else 0.0,
                joinstyle="round",
                zorder=zorder,
                label=kind,
            )
        )

    def ring(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a circle around its centre."""
        self._reach(x - radius, y - radius, x + radius, y + radius)
        self._axes.add_patch(
            Circle(
                (x, y),
                radius,
                facecolor=colour,
                edgecolor=looks.BORDER,
                linewidth=0.8,
                zorder=2,
                label="ring",
            )
        )

    def slab(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        depth: float,
        colour: str,
    ) -> None:
        """Draw a solid whose front's upper left corner is given."""
        x2, y2 = x + width, y + height
        back = [(x + depth, y - depth), (x2 + depth, y - depth)]
        side = [(x2, y), (x2 + depth, y - depth), (x2 + depth, y2 - depth), (x2, y2)]
        self.polygon([(x, y), *back, (x2, y)], shade(colour, 0.06), kind="top")
        self.polygon(side, shade(colour, 0.2), kind="side")
        self.polygon([(x, y), (x2, y), (x2, y2), (x, y2)], colour, kind="front")

    def line(
        self,
        points: Sequence[Point],
        *,
        kind: str,
        colour: str = looks.BORDER,
        dashes: str = "solid",
        width: float = 1.0,
        head: bool = True,
        zorder: float = 3,
    ) -> None:
        """Draw a polyline; ``kind`` says what it stands for."""
        points = list(points)
        for x, y in points:
            self._reach(x, y, x, y)
        if head:
            points[-1] = self._head(points[-2], points[-1], colour, width, zorder)
        style: Any = _DASHES[dashes]
        self._axes.add_line(
            Line2D(
                [x for x, _ in points],
                [y for _, y in points],
                color=colour,
                linestyle=style,
                linewidth=width,
                solid_joinstyle="round",
                zorder=zorder,
                label=kind,
            )
        )

    def figure(self) -> Figure:
        """Return the figure, cut to what is drawn and at most a page large."""
        width = self.right - self.left + 2 * _MARGIN
        height = self.bottom - self.top + 2 * _MARGIN
        scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
        scale = max(scale, _LEAST / SMALL)
        for text, size in self._sizes:
            text.set_fontsize(size * scale)
        self._figure.set_size_inches(width * scale / 72, height * scale / 72)
        self._axes.set(
            xlim=(self.left - _MARGIN, self.right + _MARGIN),
            ylim=(self.bottom + _MARGIN, self.top - _MARGIN),
        )
        return self._figure

    def _head(
        self, before: Point, tip: Point, colour: str, width: float, zorder: float
    ) -> Point:
        """Draw an arrow's head and return where its line ends."""
        (x1, y1), (x2, y2) = before, tip
        length = math.dist(before, tip) or 1.0
        along, across = ((x2 - x1) / length, (y2 - y1) / length), width**0.5
        long, half = min(_HEAD[0] * across, length), _HEAD[1] * across
        x, y = x2 - long * along[0], y2 - long * along[1]
        wings = [
            (x - half * along[1], y + half * along[0]),
            (x + half * along[1], y - half * along[0]),
        ]
        self.polygon([tip, *wings], colour, edge="none", zorder=zorder, kind="head")
        return x, y

    def _reach(self, left: float, top: float, right: float, bottom: float) -> None:
        self.left, self.top = min(self.left, left), min(self.top, top)
        self.right, self.bottom = max(self.right, right), max(self.bottom, bottom)
