"""Maps as stacks of sheets: LeNet-5, LeCun et al., Proc. IEEE 86(11), Figure 2."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import NamedTuple

from convzoo.inspect.architecture.page import (
    LEADING,
    SMALL,
    Page,
    Point,
    shade,
    width_of,
)
from convzoo.inspect.architecture.reading import (
    Reading,
    Unit,
    channels,
    is_map,
    sides,
    size_text,
)
from convzoo.inspect.operations import KINDS

_LARGEST = 145.0  # the side of the largest map
_SHEET = 4.5  # from one sheet of a stack to the next
_SHEETS = 16  # of a stack that are drawn
_LONGEST = 130.0  # of the bars
_BAR, _SLANT = 9.0, 0.25
_GAP = 34.0
_WORDS = {
    "convolution": "convolutions",
    "separable convolution": "convolutions",
    "pooling": "subsampling",
    "dense": "full connection",
}


class _Stack(NamedTuple):
    """Sheets, or a bar where there is nothing to see on a sheet."""

    unit: Unit
    name: str
    x: float
    sheet: tuple[float, float] | None  # width and height
    sheets: int
    length: float  # of a bar

    @property
    def spread(self) -> float:
        return _SHEET * (self.sheets - 1)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole."""
        if not self.sheet:
            return _BAR + _SLANT * self.length, self.length
        return self.sheet[0] + self.spread, self.sheet[1] + self.spread

    @property
    def right(self) -> float:
        return self.x + self.size[0]

    @property
    def front(self) -> Point:
        """Upper left corner of the foremost sheet; the middle of a bar."""
        if not self.sheet:
            return self.x + self.size[0] / 2, 0.0
        return self.x + self.spread, -self.size[1] / 2 + self.spread

    def at(self, across: float, along: float) -> Point:
        """Return a point of the foremost sheet from its shares."""
        width, height = self.sheet or (0.0, 0.0)
        return self.front[0] + across * width, self.front[1] + along * height


def fits(reading: Reading) -> bool:
    """Tell a chain whose layers are named as in the paper."""
    named = {"c1", "s2", "c3", "s4"} <= reading.stages()
    return named and reading.is_plain and reading.is_chain


def draw(reading: Reading) -> Page:
    """Draw a chain of maps and layers."""
    page = Page()
    stacks = _stacks(reading)
    for stack, target in pairwise([*stacks, stacks[-1]]):
        _draw_stack(page, stack)
        _label(page, stack, target)
    for source, target in pairwise(stacks):
        _connect(page, source, target)
    y = page.bottom + 16
    for source, target in pairwise(stacks):
        start = source.at(0.5, 0.5)[0] if source.sheet else source.right
        lines = [_word(source, target), *_detail(target.unit)]
        page.lines((start + target.x) / 2, y, lines)
    return page


def _stacks(reading: Reading) -> list[_Stack]:
    """Place the stacks so that neither their names nor the words below meet."""
    units = reading.units
    maps = [max(sides(u.shape, u.stride)) for u in units if is_map(u.shape)]
    vectors = [channels(unit.shape) for unit in units if _is_bar(unit)]
    scale, longest = _LARGEST / max(maps), max(vectors, default=1)
    stacks: list[_Stack] = []
    for unit, name in zip(units, _names(reading), strict=True):
        count = channels(unit.shape)
        sheet = None
        if not _is_bar(unit):
            high, wide = sides(unit.shape, unit.stride)
            sheet = scale * wide, scale * high
        length = max(12.0, _LONGEST * count / longest)
        stack = _Stack(unit, name, 0.0, sheet, min(count, _SHEETS), length)
        if stacks:
            stack = stack._replace(x=_after(stacks[-1], stack))
        stacks.append(stack)
    return stacks


def _after(before: _Stack, stack: _Stack) -> float:
    """Return where a stack stands behind another."""
    names = [_title(other.unit, other.name) for other in (before, stack)]
    room = sum(max(map(width_of, lines)) for lines in names) / 2 + 14
    below = max(map(width_of, [_word(before, stack), *_detail(stack.unit)])) + 12
    quarter = before.sheet[0] / 4 if before.sheet else 0.0
    return max(
        before.right + _GAP,
        before.x + before.size[0] / 2 + room - stack.size[0] / 2,
        before.front[0] + quarter + below,
    )


def _is_bar(unit: Unit) -> bool:
    return not is_map(unit.shape) or set(unit.shape[1:-1]) == {1}


def _draw_stack(page: Page, stack: _Stack) -> None:
    height = stack.size[1]
    colour = KINDS[stack.unit.kind]
    if not stack.sheet:
        low, high = height / 2, -height / 2
        lean = _SLANT * height
        outline = [
            (stack.x, high),
            (stack.x + _BAR, high),
            (stack.x + _BAR + lean, low),
            (stack.x + lean, low),
        ]
        page.polygon(outline, colour, kind="bar")
        return
    for number in range(stack.sheets):
        corner = stack.x + number * _SHEET, -height / 2 + number * _SHEET
        page.box(*corner, *stack.sheet, colour, kind="sheet")


def _names(reading: Reading) -> list[str]:
    """Name each map: a body's by its block, a head's by its layer."""
    names = {}
    for block in reading.blocks:
        for index in block.units:
            name = reading.units[index].layer.name
            head = name.startswith(f"{block.name}_") and len(block.units) > 1
            names[index] = (name.removeprefix("head_") if head else block.name).upper()
    names[0] = "INPUT"
    last = len(reading.units) - 1
    if not is_map(reading.units[last].shape):
        names[last] = "OUTPUT"
    return [names[index] for index in range(len(reading.units))]


def _title(unit: Unit, name: str) -> list[str]:
    if not is_map(unit.shape):
        return [f"{name}: {unit.shape[-1]}"]
    maps = ": feature maps" if not _is_bar(unit) and unit.kind != "input" else ""
    return [f"{name}{maps}", f"{unit.shape[-1]}@{size_text(unit.shape)}"]


def _label(page: Page, stack: _Stack, target: _Stack) -> None:
    """Name a stack above it, a bar where the lines to the next one pass below."""
    lines = _title(stack.unit, stack.name)
    high = stack.size[1] if stack.sheet else max(stack.size[1], target.size[1])
    y = -high / 2 - 5 - len(lines) * SMALL * LEADING
    if stack.sheet:
        page.lines(stack.x + stack.size[0] / 2, y, lines)
    else:  # the lines from the left end at the bar's corner
        page.lines(stack.x, y, lines, ha="left")


def _connect(page: Page, source: _Stack, target: _Stack) -> None:
    """Show what one value of the target reads: a patch, or all of a layer."""
    line = partial(page.line, kind="reads", head=False, width=0.8)
    if not source.sheet:
        for sign in (-1, 1):
            start = source.front[0] + _BAR / 2 + sign * source.length * _SLANT / 2
            end = target.front[0] - _BAR / 2 + sign * target.length * _SLANT / 2
            ends = (start, sign * source.length / 2), (end, sign * target.length / 2)
            line(ends)
        return
    convolves = target.unit.kind == "convolution"
    wide, high = _patch(source, target.unit)
    x, y = source.at(0.86, 0.8 if convolves else 0.3)
    x, y = x - 0.86 * wide, y - (0.8 if convolves else 0.3) * high
    page.box(x, y, wide, high, shade("#ffffff", 0.12), zorder=3, kind="patch")
    spot = target.front[0] - _BAR / 2, 0.0
    if target.sheet:
        spot = target.at(0.3, 0.3 if convolves else 0.7)
    for corner in ((x + wide, y), (x + wide, y + high)):
        line([corner, spot])


def _patch(source: _Stack, unit: Unit) -> tuple[float, float]:
    """Return width and height of a window on the source's scale."""
    window = getattr(unit.layer, "kernel_size", getattr(unit.layer, "pool_size", 2))
    window = window if isinstance(window, (tuple, list)) else (window, window)
    pixels = sides(source.unit.shape, source.unit.stride)
    high, wide = (min(1.0, w / p) for w, p in zip(window, pixels, strict=True))
    sheet = source.sheet or (0.0, 0.0)
    return sheet[0] * wide, sheet[1] * high


def _word(source: _Stack, target: _Stack) -> str:
    """Name a connection as the paper does; one that reads whole maps is full."""
    if type(target.unit.layer).__name__ == "RadialBasis":
        return "Gaussian connections"
    if source.sheet and not target.sheet and target.unit.kind != "pooling":
        return "full connection"
    return _WORDS.get(target.unit.kind, target.unit.kind)


def _detail(unit: Unit) -> list[str]:
    return [unit.text, *unit.after] if unit.kind != "input" else []
