"""A chain as solids in a row, one column for each resolution.

The text below is that of the papers' tables: VGG (Simonyan, Zisserman, arXiv:1409.1556,
Table 1), ResNet (He et al., arXiv:1512.03385, Table 1, shortcuts as in Figure 3) and
MobileNet (Howard et al., arXiv:1704.04861, Table 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from convzoo.calls import Shape
from convzoo.inspect import looks
from convzoo.inspect.architecture import captions
from convzoo.inspect.architecture.legend import Line, draw_legend
from convzoo.inspect.architecture.page import FAINT, TEXT, Page, arc, width_of
from convzoo.inspect.architecture.reading import (
    Reading,
    channels,
    endings,
    is_map,
    sides,
    stage_of,
)
from convzoo.inspect.architecture.steps import Path, Step, path
from convzoo.inspect.operations import KINDS

_COLUMN, _GAP = 24.0, 9.0  # between columns, and between solids in one
_OBLIQUE = 0.26  # how far a solid's back is moved, in its sides
_BAR = 9.0  # a vector's thickness
_CROWD = 30  # solids, beyond which they are thinner
_MOST = 40  # operations of a block
_SCALE = "height: log of the side or length; thickness: log of the channels"
_DASHES = {  # dotted where the shape changes, as in the paper
    "identity": "solid",
    "projection": "dotted",
    "resized": "dotted",
    "concatenation": "dashed",
}


class _Solid(NamedTuple):
    step: Step
    wide: float
    high: float
    deep: float
    label: str  # "" where a crowd of solids leaves no room to say it again
    slot: float  # from its left edge to that of the next


class _Column(NamedTuple):
    steps: list[Step]
    solids: list[_Solid]

    @property
    def solid_width(self) -> float:
        """Of the solids, the last one's depth included."""
        return sum(solid.slot for solid in self.solids) - _GAP + self.solids[-1].deep

    @property
    def width(self) -> float:
        return max(self.solid_width, captions.width(self.steps))


def fits(reading: Reading) -> bool:
    """Tell a chain of operations and of blocks that a figure can sum up.

    What goes down and up again inside a block has levels, which it would hide.
    """
    whole = path(reading)
    return whole.is_chain and all(
        len(step.units) <= _MOST
        and max(reading.units[index].stride for index in step.units) <= step.stride
        for step in whole.steps
    )


def draw(reading: Reading) -> Page:
    """Draw a network that is a chain of operations and blocks."""
    page = Page()
    whole = _ended(reading, path(reading))
    columns = _columns(whole)
    low = max(solid.high for column in columns for solid in column.solids) / 2
    lefts = [0.0]
    for column in columns:
        lefts.append(lefts[-1] + column.width + _COLUMN)
    end = 0.0
    for left, column in zip(lefts, columns, strict=False):
        middle = left + column.width / 2
        x = middle - column.solid_width / 2
        if left:
            page.line([(end, 0.0), (x - 3, 0.0)], kind="data")
        _draw_solids(page, column.solids, x)
        end = x + column.solid_width + 3
        captions.draw_caption(page, column.steps, middle, low + 20)
    _titles(page, columns, lefts)
    _legend(page, reading, whole)
    return page


def _ended(reading: Reading, whole: Path) -> Path:
    """Say of each dense layer also how it ends, as the legend does of convolutions."""
    steps = []
    for step in whole.steps:
        unit = reading.units[step.units[-1]]
        dense = len(step.units) == 1 and unit.kind == "dense"
        lines = (", ".join((unit.text, *unit.after)),) if dense else step.lines
        steps.append(step._replace(lines=lines))
    return whole._replace(steps=tuple(steps))


def _columns(whole: Path) -> list[_Column]:
    """Gather the steps that work on maps of one size."""

    def key(step: Step) -> tuple[Shape, int]:
        return (step.shape[1:-1], step.stride) if is_map(step.shape) else ((), 0)

    groups = [list(same) for _, same in groupby(whole.steps, key)]
    return [_Column(steps, _solids(steps, whole)) for steps in groups]


def _solids(steps: Sequence[Step], whole: Path) -> list[_Solid]:
    thin = min(1.0, _CROWD / len(whole.steps))
    solids: list[_Solid] = []
    said = ""
    for step in steps:
        label = str(step.shape[-1] or "?") if len(step.shape) > 1 else "1"
        shown = "" if thin < 1 and label == said else label
        said = label
        if is_map(step.shape):
            first, *others = sides(step.shape, step.stride)
            wide = thin * (3 + 2.2 * math.log2(channels(step.shape)))
            high = 24 + 15 * math.log2(first)
            deep = _OBLIQUE * (8 + 12 * math.log2(others[0] if others else 1))
        else:
            wide, deep = _BAR, 3.0
            high = 30 + 9 * math.log2(channels(step.shape))
        slot = max(wide + _GAP * thin, width_of(shown) + 4)
        solids.append(_Solid(step, wide, high, deep, shown, slot))
    return solids


def _draw_solids(page: Page, solids: Sequence[_Solid], x: float) -> None:
    starts = []
    for solid in solids:
        starts.append(x)
        top = -solid.high / 2
        size = solid.wide, solid.high, solid.deep
        page.slab(x, top, *size, KINDS[solid.step.kind])
        _slices(page, solid, x)
        over = x + solid.deep, top - solid.deep
        if solid.step.shortcut:
            _shortcut(page, solid, *over)
        elif solid.step.repeats > 1:
            page.text(over[0] + solid.wide / 2, over[1] - 8, f"x{solid.step.repeats}")
        if solid.label:
            page.text(x + solid.wide / 2, -top + 6, solid.label, colour=FAINT)
        x += solid.slot
    numbered = zip(starts, solids, strict=True)
    for (_, times), row in groupby(
        numbered, lambda s: (s[1].step.row, s[1].step.times)
    ):
        if times > 1:
            _brace(page, list(row), times)


def _slices(page: Page, solid: _Solid, x: float) -> None:
    """Cut a solid that stands for several."""
    pieces = min(solid.step.repeats, 4)
    top, deep = -solid.high / 2, solid.deep
    for place in range(1, pieces):
        cut = x + solid.wide * place / pieces
        way = [(cut, -top), (cut, top), (cut + deep, top - deep)]
        page.line(way, kind="slice", head=False, width=0.5)


def _brace(page: Page, row: Sequence[tuple[float, _Solid]], times: int) -> None:
    """Say above the solids of a block how often they stand in a row."""
    (first, solid), (last, end) = row[0], row[-1]
    left, right = first + solid.deep, last + end.wide + end.deep
    y = -solid.high / 2 - solid.deep - 3
    way = [(left, y), (left, y - 5), (right, y - 5), (right, y)]
    page.line(way, kind="repeat", head=False)
    page.text((left + right) / 2, y - 12, f"x{times}")


def _shortcut(page: Page, solid: _Solid, x: float, y: float) -> None:
    """Draw the way around a block from the gap before to the gap behind it."""
    gap = (solid.slot - solid.wide) / 2
    gap = min(gap, _GAP / 2) - 1
    ends = (x - gap, y - 2), (x + solid.wide + gap, y - 2)
    kind = solid.step.shortcut
    page.line(arc(*ends, y - 13), kind=kind, colour=looks.SKIP, dashes=_DASHES[kind])
    if solid.step.repeats > 1:
        page.text(x + solid.wide / 2, y - 20, f"x{solid.step.repeats}")


def _titles(page: Page, columns: Sequence[_Column], lefts: Sequence[float]) -> None:
    """Name above each column the stages that work in it."""
    y = page.top - 12
    for left, column in zip(lefts, columns, strict=False):
        label = _stages(column.steps)
        if label and width_of(label, TEXT, "bold") <= column.width + _COLUMN - 6:
            x = left + column.width / 2
            page.text(x, y, label, size=TEXT, weight="bold", colour=FAINT)


def _stages(steps: Sequence[Step]) -> str:
    """Return the stages of a column; a pool belongs to the one before it."""
    working = [step for step in steps if step.kind not in ("pooling", "input")]
    if not working and (steps[0].kind == "input" or not is_map(steps[0].shape)):
        working = list(steps)
    names = list(dict.fromkeys(stage_of(step.name) for step in working if step.name))
    return f"{names[0]} .. {names[-1]}" if len(names) > 2 else ", ".join(names)


def _legend(page: Page, reading: Reading, whole: Path) -> None:
    kinds = dict.fromkeys(step.kind for step in whole.steps)
    shortcuts = dict.fromkeys(step.shortcut for step in whole.steps if step.shortcut)
    lines = [
        Line(
            kind if kind == "concatenation" else f"{kind} shortcut",
            dashes=_DASHES[kind],
        )
        for kind in shortcuts
    ]
    draw_legend(page, list(kinds), lines, "; ".join((_SCALE, *endings(reading))))
