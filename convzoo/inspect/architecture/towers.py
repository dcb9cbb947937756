"""Solids in one or two towers: AlexNet, Krizhevsky et al., NIPS 25, Figure 2."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from convzoo.inspect import looks
from convzoo.inspect.architecture.legend import Line, draw_legend
from convzoo.inspect.architecture.page import (
    FAINT,
    INK,
    TEXT,
    Page,
    Point,
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

_TOWER = re.compile(r"_tower(\d+)")
_SCALE = 8.6  # points for the root of a side
_OBLIQUE = 0.4
_GAP = 24.0
_BETWEEN = 54.0  # the towers
_BAR = 12.0  # a vector's width


class _Solid(NamedTuple):
    unit: Unit
    tower: int  # 0 for one that belongs to no tower
    x: float
    y: float  # of the middle
    high: float
    wide: float
    deep: float

    @property
    def inlet(self) -> Point:
        return self.x, self.y

    @property
    def outlet(self) -> Point:
        """The middle of the side that looks to the right."""
        return self.x + self.wide + self.deep / 2, self.y - self.deep / 2


def fits(reading: Reading) -> bool:
    """Tell networks of towers, and AlexNet of one tower."""
    towers = {tower for unit in reading.units if (tower := _tower(unit))}
    named = towers == {1, 2} or reading.builder == "alexnet"
    return named and reading.is_plain and _is_row(reading)


def _is_row(reading: Reading) -> bool:
    """Tell whether each column reads the one before, at most joined by concat.

    What the towers do side by side is told once.
    """
    columns = _columns(reading)
    told = [{tuple(_lines(reading.units[i])) for i in column} for column in columns]
    place = {index: x for x, column in enumerate(columns) for index in column}
    joins = {unit.text for unit in reading.units if unit.kind == "merge"}
    return (
        joins <= {"concat"}
        and all(len(each) == 1 for each in told)
        and all(
            place[source] == x - 1
            and is_map(reading.units[source].shape)
            >= is_map(reading.units[index].shape)
            for index, x in place.items()
            for source in _sources(reading, index)
        )
    )


def draw(reading: Reading) -> Page:
    """Draw the towers, what joins them, and what each layer reads."""
    page = Page()
    columns = _columns(reading)
    solids: dict[int, _Solid] = {}
    tallest = max(_high(unit) for unit in reading.units)
    rows = {0: 0.0, 1: 0.0, 2: 0.0}
    if any(_tower(unit) for unit in reading.units):
        towers = max(_high(unit) for unit in reading.units if _tower(unit))
        rows = {0: 0.0, 1: -(towers + _BETWEEN) / 2, 2: (towers + _BETWEEN) / 2}
        tallest = max(tallest, 2 * towers + _BETWEEN)
    x = 0.0
    for column in columns:
        lines = _lines(reading.units[column[0]])
        label = max(width_of(lines[0], TEXT, "bold"), *map(width_of, lines[1:]))
        units = [reading.units[index] for index in column]
        wide = max(_wide(unit) + _deep(unit) for unit in units)
        slot = max(wide, label)
        for index in column:
            unit = reading.units[index]
            solids[index] = _Solid(
                unit,
                _tower(unit),
                x + (slot - wide) / 2,
                rows[_tower(unit)],
                _high(unit),
                _wide(unit),
                _deep(unit),
            )
        _caption(page, lines, x + slot / 2, tallest / 2 + 24)
        x += slot + _GAP
    for solid in solids.values():
        _draw_solid(page, solid)
    links = [(solids[s], solids[i]) for i in solids for s in _sources(reading, i)]
    for source, target in links:
        _connect(page, source, target)
    kinds = list(dict.fromkeys(solid.unit.kind for solid in solids.values()))
    _legend(page, kinds, crossing=any(_crosses(*link) for link in links))
    return page


def _tower(unit: Unit) -> int:
    found = _TOWER.search(unit.layer.name)
    return int(found[1]) if found else 0


def _columns(reading: Reading) -> list[list[int]]:
    """Gather what the towers do side by side; what only joins them is no column."""
    columns: dict[str, list[int]] = {}
    for index, unit in enumerate(reading.units):
        if unit.kind != "merge":
            columns.setdefault(_TOWER.sub("", unit.layer.name), []).append(index)
    return sorted(columns.values(), key=max)


def _sources(reading: Reading, index: int) -> list[int]:
    """Return what a unit reads, also what was joined for it."""
    found: list[int] = []
    for source in reading.units[index].sources:
        joined = reading.units[source].kind == "merge"
        found += _sources(reading, source) if joined else [source]
    return found


def _high(unit: Unit) -> float:
    if is_map(unit.shape):
        return _SCALE * math.sqrt(sides(unit.shape, unit.stride)[0])
    return 2.2 * math.sqrt(channels(unit.shape))


def _deep(unit: Unit) -> float:
    across = [0, *sides(unit.shape, unit.stride)][-1] if len(unit.shape) > 3 else 0
    return _OBLIQUE * _SCALE * math.sqrt(across)


def _wide(unit: Unit) -> float:
    if is_map(unit.shape):
        return 3.0 + 2.0 * math.sqrt(channels(unit.shape))
    return _BAR


def _draw_solid(page: Page, solid: _Solid) -> None:
    colour = KINDS[solid.unit.kind]
    x, y = solid.x, solid.y - solid.high / 2
    if solid.deep:
        page.slab(x, y, solid.wide, solid.high, solid.deep, colour)
    else:
        page.box(x, y, solid.wide, solid.high, colour)
    label = str(solid.unit.shape[-1])
    page.text(x + solid.wide / 2, y + solid.high + 7, label, colour=FAINT)


def _connect(page: Page, source: _Solid, target: _Solid) -> None:
    """Show what one value of the target reads: a patch of the source, or all of it."""
    cross = _crosses(source, target)
    line = partial(
        page.line,
        kind="cross" if cross else "reads",
        colour=looks.SKIP if cross else looks.BORDER,
        dashes="dashed" if cross else "solid",
        head=False,
        width=0.8,
    )
    if not is_map(target.unit.shape):
        for sign in (-1, 1):
            start = source.outlet[0], source.outlet[1] + sign * source.high / 2
            if not source.deep:
                start = source.x + source.wide, source.y + sign * source.high / 2
            end = target.x, target.y + sign * target.high / 2
            line([start, end])
        return
    patch = _patch(source, target.unit)
    page.polygon(patch, "#ffffff", edge=INK, zorder=3, kind="patch")
    for corner in patch[1:3]:
        line([corner, target.inlet])


def _crosses(source: _Solid, target: _Solid) -> bool:
    return 0 < target.tower != source.tower > 0


def _patch(source: _Solid, unit: Unit) -> list[Point]:
    """Return the window of a unit on the side of the solid that it slides over."""
    window = getattr(unit.layer, "kernel_size", getattr(unit.layer, "pool_size", (1,)))
    pixels = sides(source.unit.shape, source.unit.stride)
    pairs = zip(window, pixels, strict=False)
    shares = [min(1.0, size / side) for size, side in pairs]
    high, deep = shares[0] * source.high, shares[-1] * source.deep
    x, y = source.outlet
    x, y = x - deep / 2, y - high / 2 + deep / 2
    return [(x, y), (x + deep, y - deep), (x + deep, y - deep + high), (x, y + high)]


def _lines(unit: Unit) -> list[str]:
    name = _TOWER.sub("", unit.layer.name).removeprefix("head_")
    name = re.sub(r"_(conv|pool)$", "", name)
    size = [size_text(unit.shape)] if is_map(unit.shape) else []
    return [name, *size, *([unit.text] if unit.kind != "input" else []), *unit.after]


def _caption(page: Page, lines: Sequence[str], x: float, y: float) -> None:
    page.text(x, y, lines[0], size=TEXT, weight="bold")
    page.lines(x, y + 8, lines[1:])


def _legend(page: Page, kinds: Sequence[str], *, crossing: bool) -> None:
    lines = [Line("reads a patch, or all", looks.BORDER, head=False)]
    if crossing:
        lines.append(Line("reads the other tower", dashes="dashed", head=False))
    note = "sides and thickness: root of the map's sides and channels"
    draw_legend(page, kinds, lines, note)
