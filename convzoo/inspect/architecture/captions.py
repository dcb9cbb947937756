"""What the steps of one resolution do, written as in the papers' tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from convzoo.inspect.architecture.page import TEXT, Page, width_of
from convzoo.inspect.architecture.reading import is_map, size_text
from convzoo.inspect.architecture.steps import Step, joined

_BRACKET = 4.0
_LINES = 36  # of a caption; more would not fit on a page


class Entry(NamedTuple):
    """One row of the table: the lines of an operation or a block."""

    lines: tuple[str, ...]
    times: int  # in a row

    @property
    def framed(self) -> bool:
        """Whether it stands in brackets."""
        return len(self.lines) > 1 or self.times > 1

    @property
    def width(self) -> float:
        """The entry's width in points."""
        wide = max(map(width_of, self.lines)) + 8 * self.framed
        if self.times > 1:  # beside the bracket, and as much on the other side
            wide += 2 * (width_of(f"x{self.times}") + 5)
        return wide


def header(steps: Sequence[Step]) -> str:
    """Return the size of the maps that the steps give."""
    return size_text(steps[0].shape) if is_map(steps[0].shape) else "vectors"


def entries(steps: Sequence[Step]) -> list[Entry]:
    """Return what steps do, equal ones in a row once."""
    found: list[Entry] = []
    if steps[0].stride > 1 and None in steps[0].shape[1:-1]:
        found.append(Entry((f"1/{steps[0].stride} of the input",), 1))
    for (_, times), row in groupby(steps, lambda step: (step.row, step.times)):
        same_row = list(row)
        if times > 1:
            lines = joined(line for step in same_row for line in step.lines)
            found.append(Entry(lines, times))
            continue
        for compound, same in groupby(same_row, lambda step: len(step.units) > 1):
            if compound:
                found += [Entry(step.lines, step.repeats) for step in same]
            else:
                lines = joined(line for step in same for line in step.lines)
                found += [Entry((line,), 1) for line in lines]
    return _cut(found)


def width(steps: Sequence[Step]) -> float:
    """Return the width of a caption in points."""
    wide = width_of(header(steps), TEXT, "bold")
    return max(wide, *(entry.width for entry in entries(steps)))


def draw_caption(page: Page, steps: Sequence[Step], x: float, y: float) -> None:
    """Write the caption of steps, centred on ``x``, from ``y`` downwards."""
    page.text(x, y, header(steps), size=TEXT, weight="bold")
    y += 10
    for entry in entries(steps):
        top = y = y + 3 * entry.framed
        y = page.lines(x, y, entry.lines)
        if entry.framed:
            _draw_brackets(page, entry, x, (top, y))
            y += 3


def _cut(found: list[Entry]) -> list[Entry]:
    """Leave out the middle of a caption that is too long."""
    left_out = 0
    kept = list(found)
    while sum(len(entry.lines) for entry in kept) > _LINES and len(kept) > 2:
        del kept[len(kept) // 2]
        left_out += 1
    if left_out:
        kept.insert((len(kept) + 1) // 2, Entry((f"... {left_out} more ...",), 1))
    return kept


def _draw_brackets(
    page: Page, entry: Entry, x: float, ends: tuple[float, float]
) -> None:
    half = max(map(width_of, entry.lines)) / 2 + 3
    top, bottom = ends
    for side in (-half, half):
        tip = side - math.copysign(_BRACKET, side)
        way = [(tip, top), (side, top), (side, bottom), (tip, bottom)]
        points = [(x + across, along) for across, along in way]
        page.line(points, kind="bracket", head=False, width=0.7)
    if entry.times > 1:
        words = f"x{entry.times}"
        page.text(x + half + 4, (top + bottom) / 2, words, ha="left")
