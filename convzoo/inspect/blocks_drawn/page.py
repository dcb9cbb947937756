"""The page of a picture: its caption above, room for what is drawn below."""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convzoo.inspect.blocks_drawn.captions import BLOCKS
from convzoo.inspect.blocks_drawn.dot import CAPTION_SIZE, caption_lines
from convzoo.inspect.looks import TEXT_SIZE


class Page(NamedTuple):
    """A figure with its caption; lengths in points, from the corner under it."""

    figure: Figure
    width: float
    height: float
    full: float

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes at a place that is measured from the caption's lower left corner."""
        bottom = self.height - top - height
        place = (left / self.width, bottom / self.full)
        return self.figure.add_axes((*place, width / self.width, height / self.full))


def page(name: str, width: float, height: float, dpi: int) -> Page:
    """Return a figure with the caption of one of `BLOCKS` above room for a picture.

    Args:
        name: Which.
        width: Of the figure, in points.
        height: Of the room, in points.
        dpi: Pixels per inch of a .png.
    """
    title, lines = caption_lines(BLOCKS[name])
    step = TEXT_SIZE * 1.35
    full = height + 34 + step * len(lines)
    figure = Figure(figsize=(width / 72, full / 72), dpi=dpi)
    where: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    figure.text(0.5, 1 - 17 / full, title, size=CAPTION_SIZE, weight="bold", **where)
    for number, line in enumerate(lines):
        figure.text(0.5, 1 - (35 + number * step) / full, line, size=TEXT_SIZE, **where)
    return Page(figure, width, height, full)
