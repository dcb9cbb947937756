"""The legend below a figure: its colours, its lines and its scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convzoo.inspect import looks
from convzoo.inspect.architecture.page import FAINT, TITLE, Page, width_of
from convzoo.inspect.operations import KINDS

_SWATCH, _LINE, _PAD = 12.0, 22.0, 16.0
_BELOW = 22.0


class Line(NamedTuple):
    """How a kind of connection is drawn."""

    name: str
    colour: str = looks.SKIP
    dashes: str = "solid"
    width: float = 1.0
    head: bool = True


def draw_legend(
    page: Page,
    kinds: Sequence[str],
    lines: Sequence[Line] = (),
    note: str = "",
) -> None:
    """Draw a legend below all that is on the page, broken into rows as wide as that.

    Args:
        page: The page.
        kinds: Kinds of operations, keys of `convzoo.inspect.operations.KINDS`.
        lines: Of each kind of connection its name and look.
        note: A sentence below.
    """
    left = page.left
    right = max(page.right, left + width_of(note))
    x, y = left, page.bottom + _BELOW
    entries: list[str | Line] = [*kinds, *lines]
    for entry in entries:
        name, mark = (
            (entry.name, _LINE) if isinstance(entry, Line) else (entry, _SWATCH)
        )
        wide = mark + 5 + width_of(name)
        if x > left and x + wide > right:
            x, y = left, y + 16
        if isinstance(entry, Line):
            page.line(
                [(x, y), (x + mark, y)],
                kind="legend",
                colour=entry.colour,
                dashes=entry.dashes,
                width=entry.width,
                head=entry.head,
            )
        else:
            page.box(x, y - mark / 2, mark, mark, KINDS[name], kind="legend")
        page.text(x + mark + 5, y, name, ha="left")
        x += wide + _PAD
    if note:
        page.text(left, y + 16, note, colour=FAINT, ha="left")


def draw_title(page: Page, title: str) -> None:
    """Write the model's name above all that is on the page."""
    y = page.top - 16
    page.text(page.left, y, title, size=TITLE, weight="bold", ha="left")
