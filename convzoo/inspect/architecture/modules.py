"""Inception modules in rows, one row for each resolution, side heads below.

Szegedy et al., arXiv:1409.4842, Figures 2(b) and 3, and arXiv:1512.00567, Figures 5 to
8 and 10: the data run from left to right and from row to row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from convzoo.inspect.architecture.legend import draw_legend
from convzoo.inspect.architecture.page import (
    FAINT,
    INK,
    Page,
    Point,
    width_of,
)
from convzoo.inspect.architecture.reading import Reading, Unit, is_map
from convzoo.inspect.architecture.steps import Path, Step, path
from convzoo.inspect.operations import KINDS, shape_text

_CELL, _PITCH = 14.0, 19.0  # an operation's height, and from one to the next
_APART = 9.0  # columns of a module
_BUS = 9.0  # from a module's entry to its first column
_JOIN = 14.0  # width of the bar that joins the branches
_BAR = 30.0
_GAP = 16.0  # between the things of a row
_ROWS = 44.0
_MOST = 24  # operations of a module
_USUAL = ("BN", "ReLU")  # what most convolutions end with


class _Cell(NamedTuple):
    unit: Unit
    text: str
    column: int
    row: float
    entry: bool


class _Item(NamedTuple):
    step: Step
    cells: dict[int, _Cell]  # by unit; of a module
    widths: tuple[float, ...]  # of a module's columns
    height: float

    @property
    def title(self) -> str:
        times = f"  x{self.step.repeats}" if self.step.repeats > 1 else ""
        return self.step.name + times

    @property
    def width(self) -> float:
        if not self.cells:
            return _BAR
        return self.bus + sum(self.widths) + _APART * len(self.widths) + _JOIN

    @property
    def bus(self) -> float:
        """From the entry to the first column, longer below a long name."""
        wide = sum(self.widths) + _APART * len(self.widths) + _JOIN
        return max(_BUS, width_of(self.title, weight="bold") - wide)


def fits(reading: Reading) -> bool:
    """Tell a network of modules whose branches start and end together."""
    whole = path(reading)
    compound = [step for step in whole.steps if len(step.units) > 1]
    modules = len(compound) > 1 and all(
        len(step.units) <= _MOST and _is_module(reading, step) for step in compound
    )
    once = all(step.times == 1 for step in whole.steps)  # an item says no "x5" of many
    return modules and once and _is_row_with_heads(whole)


def _is_row_with_heads(whole: Path) -> bool:
    main = _main(whole)
    heads = [[index, *_side_head(whole, main, index)] for index in main]
    beside = [whole.steps[index] for head in heads for index in head[1:]]
    plain = all(len(step.units) == 1 for step in beside)
    return plain and whole.is_drawn_by([main, *heads])


def draw(reading: Reading) -> Page:
    """Draw the main path in rows, and each side head below the module it reads."""
    page = Page()
    whole = path(reading)
    main = _main(whole)
    rows = _rows(reading, whole, main)
    top, end = 0.0, (0.0, 0.0, 0.0)
    for number, row in enumerate(rows):
        items = [_item(reading, whole.steps[index]) for index in row]
        middle = top + 14 + max(item.height for item in items) / 2
        if number:
            _wrap(page, end, middle)
        x, bottom, far = 0.0, middle, 0.0
        for place, (index, item) in enumerate(zip(row, items, strict=True)):
            if place:
                page.line([(x - _GAP, middle), (x, middle)], kind="data")
            _draw_item(page, reading, item, x, middle)
            x += item.width
            start = middle + item.height / 2 + 17
            bottom, far = max(bottom, start), max(far, x)
            head = [whole.steps[i] for i in _side_head(whole, main, index)]
            if head:
                last = place == len(row) - 1
                corner = _draw_head(page, reading, head, (x, middle), start, last=last)
                far, bottom = max(far, corner[0]), max(bottom, corner[1])
            x += _GAP
        end = (x - _GAP, middle, far + 10)
        top = bottom + _ROWS
    _legend(page, reading)
    return page


def _is_module(reading: Reading, step: Step) -> bool:
    ends, inner = _ends(reading, step), _inner(reading, step)
    joins = set(step.units).difference(inner)
    plain = all(  # neither adds nor reads what is joined midway
        len(reading.units[index].sources) == 1
        and joins.isdisjoint(reading.units[index].sources)
        for index in inner
    )
    return len(ends) > 1 and set(ends) <= set(step.units) and plain


def _ends(reading: Reading, step: Step) -> list[int]:
    """Return the last operations of a module's branches, as they are joined."""

    def ends(index: int) -> list[int]:
        sources = reading.units[index].sources
        if reading.units[index].text != "concat" or index not in step.units:
            return [index]
        return [end for source in sources for end in ends(source)]

    found = ends(step.units[-1])
    return [] if found == [step.units[-1]] else found


def _inner(reading: Reading, step: Step) -> list[int]:
    """Return a module's operations without what joins them."""
    return [index for index in step.units if reading.units[index].text != "concat"]


def _main(whole: Path) -> list[int]:
    """Return the steps of the output that needs the most operations."""
    before: list[set[int]] = []
    for index in range(len(whole.steps)):
        sources = [before[i] for i, j in whole.links if j == index]
        before.append({index}.union(*sources))

    costs = [sum(len(whole.steps[i].units) for i in way) for way in before]
    return sorted(before[costs.index(max(costs))])


def _rows(reading: Reading, whole: Path, main: Sequence[int]) -> list[list[int]]:
    """Start a row where the resolution changes after the first module."""
    rows: list[list[int]] = [[]]
    begun = False
    for before, index in pairwise([main[0], *main]):
        step, old = whole.steps[index], whole.steps[before]
        same = (step.shape[1:-1], step.stride) == (old.shape[1:-1], old.stride)
        if begun and is_map(step.shape) and not same:
            rows.append([])
        rows[-1].append(index)
        begun = begun or _is_module(reading, step)
    return rows


def _item(reading: Reading, step: Step) -> _Item:
    if len(step.units) == 1 or not _is_module(reading, step):
        text = max(width_of(line) for line in _bar_lines(reading, step))
        return _Item(step, {}, (), text + 12)
    cells = _cells(reading, step)
    columns = 1 + max(cell.column for cell in cells.values())
    widths = [
        max(width_of(cell.text) for cell in cells.values() if cell.column == column) + 7
        for column in range(columns)
    ]
    rows = 1 + max(cell.row for cell in cells.values())
    return _Item(step, cells, tuple(widths), max(rows * _PITCH, 48.0))


def _cells(reading: Reading, step: Step) -> dict[int, _Cell]:
    """Place a module's operations as late as can be, in the order of its branches."""
    inner = _inner(reading, step)
    readers = {
        index: [other for other in inner if index in reading.units[other].sources]
        for index in inner
    }
    late: dict[int, int] = {}
    rows: dict[int, float] = {}
    for row, index in enumerate(_ends(reading, step)):
        rows[index] = float(row)
    for index in reversed(inner):
        late[index] = 1 + max((late[reader] for reader in readers[index]), default=-1)
        if readers[index] and index not in rows:
            own = [rows[reader] for reader in readers[index]]
            rows[index] = sum(own) / len(own)
    deepest = max(late.values())
    return {
        index: _Cell(
            unit := reading.units[index],
            unit.text.replace(" conv", "").replace(" pool", ""),
            deepest - late[index],
            rows[index],
            not set(unit.sources) & set(inner),
        )
        for index in inner
    }


def _bar_lines(reading: Reading, step: Step) -> list[str]:
    """Say what a step does and what it gives, unless that says it again."""
    words, shape = _words(reading, step), shape_text(step.shape)
    return [words] if shape in words.replace(",", "").split() else [words, shape]


def _words(reading: Reading, step: Step) -> str:
    """Say what a step does, with what follows it but for norm and ReLU."""
    ends = reading.units[step.units[-1]].after
    after = [end for end in ends if end not in _USUAL]
    text = step.lines[0] if len(step.lines) == 1 else f"{len(step.units)} operations"
    return ", ".join((text, *after))


def _draw_item(page: Page, reading: Reading, item: _Item, x: float, y: float) -> None:
    step, top = item.step, y - item.height / 2
    if not item.cells:
        page.box(x, top, _BAR, item.height, KINDS[step.kind], corner=3, kind="bar")
        lines = _bar_lines(reading, step)
        shares = (0.5,) if len(lines) == 1 else (0.3, 0.7)
        for line, share in zip(lines, shares, strict=True):
            colour = INK if share <= 0.5 else FAINT
            page.text(x + share * _BAR, y, line, turned=True, colour=colour)
        return
    middle = x + item.width / 2
    page.text(middle, top - 9, item.title, weight="bold")
    page.text(middle, top + item.height + 9, shape_text(step.shape), colour=FAINT)
    _draw_module(page, reading, item, x, y)


def _draw_module(page: Page, reading: Reading, item: _Item, x: float, y: float) -> None:
    """Draw branches between an entry and the bar that joins them."""
    rows = 1 + max(cell.row for cell in item.cells.values())
    starts = [x + item.bus]
    for width in item.widths:
        starts.append(starts[-1] + width + _APART)
    spots = {}
    for index, cell in item.cells.items():
        middle = y + (cell.row - (rows - 1) / 2) * _PITCH
        wide = item.widths[cell.column]
        left = starts[cell.column]
        spots[index] = left, left + wide, middle
        corner = left, middle - _CELL / 2
        colour = KINDS[cell.unit.kind]
        page.box(*corner, wide, _CELL, colour, corner=2.5, kind="cell")
        page.text(left + wide / 2, middle, cell.text)
    join = starts[-1]
    page.box(join, y - item.height / 2, _JOIN, item.height, KINDS["merge"], kind="join")
    page.text(join + _JOIN / 2, y, "concat", turned=True)
    ends = _ends(reading, item.step)
    for index, cell in item.cells.items():
        left, right, middle = spots[index]
        if cell.entry:
            way = [(x, y), (x, middle), (left, middle)]
            page.line(way, kind="wire", width=0.8, head=False, zorder=1)
        for source in cell.unit.sources:
            if source in spots:
                _wire(page, spots[source], (left, middle))
        if index in ends:
            page.line([(right, middle), (join, middle)], kind="branch", width=0.8)


def _wire(page: Page, source: tuple[float, float, float], target: Point) -> None:
    _, right, y = source
    turn = target[0] - _APART / 2
    ends = [(right, y), (turn, y), (turn, target[1]), target]
    page.line(ends, kind="wire", width=0.8, head=False, zorder=1)


def _wrap(page: Page, end: tuple[float, float, float], middle: float) -> None:
    """Lead the data from the end of a row around it to the start of the next."""
    lane = page.bottom + 14
    out, back = end[2], -14.0
    ends = [
        end[:2],
        (out, end[1]),
        (out, lane),
        (back, lane),
        (back, middle),
        (0.0, middle),
    ]
    page.line(ends, kind="data")


def _side_head(whole: Path, main: Sequence[int], index: int) -> list[int]:
    """Return the steps of the side head that reads a step of the main path."""
    found = [index]
    for source, target in whole.links:
        if source == found[-1] and target not in main:
            found.append(target)
    return found[1:]


def _draw_head(
    page: Page,
    reading: Reading,
    head: Sequence[Step],
    start: Point,
    top: float,
    *,
    last: bool,
) -> Point:
    """Draw a side head downwards; return its lower right corner."""
    lines = [": ".join(_bar_lines(reading, step)) for step in head]
    wide = max(map(width_of, lines)) + 12
    x, y = start
    turn = x + _GAP / 2
    left = turn - wide + 30 if last else turn - wide / 2
    y = top + 14
    page.text(turn - 5, y - 1, head[0].name, weight="bold", ha="right")
    page.line([start, (turn, start[1]), (turn, y + 10)], kind="side", zorder=1)
    y += 10
    for number, (step, line) in enumerate(zip(head, lines, strict=True)):
        if number:
            page.line([(turn, y), (turn, y + 8)], kind="side")
            y += 8
        page.box(left, y, wide, _CELL, KINDS[step.kind], corner=2.5, kind="cell")
        page.text(left + wide / 2, y + _CELL / 2, line)
        y += _CELL
    return left + wide, y


def _legend(page: Page, reading: Reading) -> None:
    kinds = list(dict.fromkeys(unit.kind for unit in reading.units))
    ends = {
        tuple(end for end in unit.after if end in _USUAL)
        for unit in reading.units
        if unit.kind == "convolution"
    }
    note = "in a module: kernel and filters"
    if len(ends) == 1 and (common := ends.pop()):
        note += f"; behind each convolution: {', '.join(common)}"
    draw_legend(page, kinds, (), note)
