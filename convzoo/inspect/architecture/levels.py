"""Maps as bars on the level of their resolution: U-Net's Figure 1, and any network.

Ronneberger, Fischer, Brox, arXiv:1505.04597: a network that goes down and up again
becomes a U by itself. Bars are higher where maps are larger and wider where they have
more channels, both by the logarithm.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from convzoo.inspect import looks, operations
from convzoo.inspect.architecture.bars import (
    COPIES,
    LABEL,
    MANY,
    Arrow,
    Bar,
    label_of,
    met,
    place,
)
from convzoo.inspect.architecture.legend import Line, draw_legend
from convzoo.inspect.architecture.page import (
    FAINT,
    Page,
    Point,
    arc,
    shade,
    width_of,
)
from convzoo.inspect.architecture.reading import Reading, is_map, size_text
from convzoo.inspect.architecture.skips import passed, skips
from convzoo.inspect.architecture.steps import Path, Step, path
from convzoo.inspect.operations import KINDS

_WORDS = 12  # kinds of arrows that a legend tells apart
_LANES, _LANE = 5, 4.0  # above a level that have room, and from one to the next
_COPIED = "#ffffff"
_COLOURS = {  # of the arrows; of several operations of a kind the first come first
    "convolution": ("#2f6db5", "#0e8f93", "#6a51a3", "#7a8b00"),
    "separable convolution": ("#8e5bb5", "#c2577f", "#5b4b8a"),
    "pooling": ("#c0392b", "#d9822b"),
    "transposed convolution": ("#2e8b57",),
    "upsampling": ("#6aa84f",),
    "dense": ("#a0522d", "#d2844f"),
    "copy": ("#98a4ad",),
    "merge": ("#b59a00", "#5f5200"),
    "model": (looks.BORDER, "#2b3a42"),
    "other": ("#b0486a", "#00796b", "#455a9c"),
}


def draw(reading: Reading) -> Page:
    """Draw any network on the levels of its resolutions."""
    page = Page()
    whole, arrows = met(reading, path(reading, merged=False))
    bars = place(reading, whole, arrows)
    arrows = _around(arrows, bars)
    bars = _spread(bars, arrows)
    many = len(bars) > MANY
    for index, bar in enumerate(bars):
        news = not any(
            _same(bar, bars[arrow.source]) for arrow in arrows if arrow.target == index
        )
        _draw_bar(page, bar, labelled=news or not many)
    for (*_, times), row in groupby(bars, _block):
        if times > 1:
            _draw_times(page, list(row), times)
    words = [_does(reading, whole, arrow) for arrow in arrows]
    if len(set(words)) > _WORDS:
        words = [arrow.kind for arrow in arrows]
    lines = _looks(words, arrows)
    for word, arrow in zip(words, arrows, strict=True):
        _draw_arrow(page, bars, arrow, lines[word])
    _ends(page, whole, bars, arrows)
    draw_legend(page, (), list(lines.values()))
    return page


def fits(reading: Reading) -> bool:
    """Tell a network that climbs back to maps of a size it had, and joins them."""
    whole = path(reading, merged=False)
    return bool(skips(whole).over)


def _same(bar: Bar, other: Bar) -> bool:
    return bar.step.shape == other.step.shape


def _draw_bar(page: Page, bar: Bar, *, labelled: bool) -> None:
    x = bar.x
    for part in bar.parts[:-1]:
        page.box(x, bar.top, part, bar.height, _COPIED, kind="copied")
        x += part
    colour = shade(KINDS[bar.step.kind], 0.02)
    page.box(x, bar.top, bar.parts[-1], bar.height, colour, kind="bar")
    middle = (bar.x + bar.right) / 2
    if labelled:
        page.text(middle, bar.top - LABEL + 5, label_of(bar.step))
        size = size_text(bar.step.shape) if is_map(bar.step.shape) else ""
        if size:
            page.text(bar.centre, bar.y, size, colour=FAINT, turned=True)


def _block(bar: Bar) -> tuple[int, int, int]:
    return bar.level, bar.step.row, _times(bar.step)


def _draw_times(page: Page, row: Sequence[Bar], times: int) -> None:
    """Say below the bars of a block how often they stand in a row."""
    first, last = row[0], row[-1]
    words, y = f"x{times}", first.bottom + 7
    middle, half = (first.x + last.right) / 2, width_of(words) / 2 + 3
    page.text(middle, y, words)
    if len(row) > 1:
        for x, side in ((first.x, -half), (last.right, half)):
            way = [(x, y - 5), (x, y), (middle + side, y)]
            page.line(way, kind="repeat", head=False)


def _times(step: Step) -> int:
    return max(step.repeats, step.times)


def _around(arrows: Sequence[Arrow], bars: Sequence[Bar]) -> list[Arrow]:
    """Give each arrow that must go around bars of its level a lane above them."""
    found = list(arrows)
    taken: list[tuple[int, float, float, int]] = []  # level, ends and lane

    def ends(number: int) -> tuple[Bar, Bar]:
        return bars[arrows[number].source], bars[arrows[number].target]

    def length(number: int) -> float:
        return ends(number)[1].x - ends(number)[0].x

    for number in sorted(range(len(arrows)), key=length):
        (source, target), level = ends(number), ends(number)[0].level
        between = [bar for bar in bars if source.x < bar.x < target.x]
        if target.level != level or all(bar.level != level for bar in between):
            continue
        left, right = source.centre, target.centre
        busy = {
            lane
            for other, start, end, lane in taken
            if other == level and start < right and left < end
        }
        lane = min(set(range(1, len(busy) + 2)) - busy)
        taken.append((level, left, right, lane))
        found[number] = arrows[number]._replace(lane=lane)
    return found


def _spread(bars: Sequence[Bar], arrows: Sequence[Arrow]) -> list[Bar]:
    """Move levels down where more lanes than usual pass above one."""
    lanes: Counter[int] = Counter()
    for arrow in arrows:
        level = bars[arrow.target].level
        lanes[level] = max(lanes[level], arrow.lane - _LANES)
    down = [_LANE * sum(lanes[level] for level in range(b.level + 1)) for b in bars]
    return [bar._replace(y=bar.y + by) for bar, by in zip(bars, down, strict=True)]


def _draw_arrow(page: Page, bars: Sequence[Bar], arrow: Arrow, look: Line) -> None:
    source, target = bars[arrow.source], bars[arrow.target]
    note = (source.right + target.x) / 2 - 3, source.y - 8
    if arrow.lane:
        y = source.top - LABEL - 2
        wide = arrow.kind == "copy"  # whose head is larger
        top, aside = y - 6 - 2 * wide - _LANE * arrow.lane, 5 + 3 * wide
        points = arc((source.centre + aside, y), (target.centre - aside, y), top)
        note = (source.centre + target.centre) / 2, top + 8
    elif source.level == target.level:
        points = [(source.right + 1.5, source.y), (target.x - 1.5, target.y)]
    else:
        points = _between(bars, source, target)
    page.line(
        points,
        kind=arrow.kind,
        colour=look.colour,
        dashes=look.dashes,
        width=look.width,
    )
    if arrow.note and source.level == target.level:
        page.text(*note, arrow.note)


def _ends(
    page: Page, whole: Path, bars: Sequence[Bar], arrows: Sequence[Arrow]
) -> None:
    """Say where the data come in and go out."""
    sinking = {a.source for a in arrows if bars[a.target].level > bars[a.source].level}
    risen = {a.target for a in arrows if bars[a.target].level < bars[a.source].level}
    fallen = {a.target for a in arrows if bars[a.target].level > bars[a.source].level}
    used = {end for arrow in arrows for end in arrow[:2]} | set(whole.outputs)
    for index, bar in enumerate(bars):
        words = ["input"] if bar.step.kind == "input" else []
        words += ["output"] if index in whole.outputs else []
        if words:
            below = bar.bottom + (17 if _times(bar.step) > 1 else 7)
            y = bar.top - LABEL - 6 if index in sinking else below
            # An arrow ends here.
            beside = index in (fallen if index in sinking else risen)
            x, ha = (bar.centre + 4, "left") if beside else (bar.centre, "center")
            for word in words if index not in sinking else words[::-1]:
                page.text(x, y, word, colour=FAINT, ha=ha)
                y += -10 if index in sinking else 10
        if index not in used:
            page.text(bar.centre, bar.bottom + 17, "unused", colour=FAINT)


def _between(bars: Sequence[Bar], source: Bar, target: Bar) -> list[Point]:
    """Return the way of an arrow from one level to another."""
    if target.level > source.level:
        start = source.bottom + (13 if _times(source.step) > 1 else 1.5)
        end = target.top - LABEL - 1
    else:
        start, end = source.top - LABEL - 1, target.bottom + 1.5
    lane = _lane(bars, source, target)
    if lane == source.centre == target.centre:
        return [(lane, start), (lane, end)]
    near = abs(target.level - source.level) == 1
    if near and target.level < source.level and target.centre > source.right + 6:
        corner = (target.centre, source.y)
        return [(source.right + 1.5, source.y), corner, (target.centre, end)]
    first, last = (
        y + math.copysign(10, z - y) for y, z in ((start, end), (end, start))
    )
    if near:
        first = last
    return [
        (source.centre, start),
        (source.centre, first),
        (lane, first),
        (lane, last),
        (target.centre, last),
        (target.centre, end),
    ]


def _lane(bars: Sequence[Bar], source: Bar, target: Bar) -> float:
    """Return where to pass the levels between two bars without touching a third."""
    if abs(source.centre - target.centre) < 0.5:
        wanted = source.centre
    else:
        wanted = target.centre
    first, last = sorted((source.level, target.level))
    between = [bar for bar in bars if first < bar.level < last]
    edges = [x for bar in between for x in (bar.x - 9, bar.right + 9)]
    free = [
        x
        for x in (wanted, *edges)
        if not any(bar.x - 6 < x < bar.right + 6 for bar in between)
    ]
    return min(free, key=lambda x: abs(x - wanted))


def _looks(words: Sequence[str], arrows: Sequence[Arrow]) -> dict[str, Line]:
    """Return by what it does how each kind of arrow looks."""
    found: dict[str, Line] = {}
    used: Counter[str] = Counter()
    for word, arrow in zip(words, arrows, strict=True):
        if word in found:
            continue
        if arrow.kind == "skip connection":
            found[word] = Line(word, dashes="dashed")
            continue
        palette = _COLOURS.get(arrow.kind, (looks.BORDER,))
        turn, place = divmod(used[arrow.kind], len(palette))
        used[arrow.kind] += 1
        dashes = "dotted" if turn else "solid"
        wide = 3.0 if arrow.kind == "copy" else 1.3
        found[word] = Line(word, palette[place], dashes, wide)
    return found


def _does(reading: Reading, whole: Path, arrow: Arrow) -> str:
    """Say in a few words what an arrow does, whatever the number of filters."""
    step = whole.steps[arrow.target]
    if arrow.kind in COPIES:
        return _copies(reading, step, arrow)
    if step.shortcut in ("identity", "projection", "resized"):
        return "residual block"
    unit = reading.units[step.units[-1]]
    if arrow.kind == "merge" and len(step.units) == 1:
        return ", ".join((*_before(reading, whole, arrow), unit.text))
    several = f"block of {len(step.units)} operations"
    words = step.lines[0] if len(step.units) == 1 else several
    words = re.sub(r"( conv| dense) \d+", r"\1", words)
    if step.kind != unit.kind:  # an up-convolution that is joined
        return words
    resized = ("crop",) if _pads(unit.layer) else ("crop", "pad")
    first = [w for w in _before(reading, whole, arrow) if w.startswith(resized)]
    return ", ".join((*first, words, *unit.after))


def _pads(layer: Any) -> bool:
    """Say whether a layer's window, sliding over a padded map, gives as many values."""
    window = getattr(layer, "kernel_size", getattr(layer, "pool_size", ()))
    return max(window, default=1) > 1 and getattr(layer, "padding", "") == "valid"


def _before(reading: Reading, whole: Path, arrow: Arrow) -> list[str]:
    """Say how what an arrow's operation reads is shaped for it, which has no bar."""
    source, target = whole.steps[arrow.source], whole.steps[arrow.target]
    layers = passed(reading, source.units, target.units[-1])
    return [operations.operation(x) for x in layers if operations.kind(x) == "reshape"]


def _copies(reading: Reading, step: Step, arrow: Arrow) -> str:
    """Say what becomes of a map that is led around others."""
    merge = reading.units[step.units[-1]].text
    if arrow.kind != "copy":
        usual = merge in ("add", "concat")
        return arrow.kind if usual else f"{arrow.kind}, {merge}"
    cropped = ["crop n pixels a side"] if arrow.note else []
    joined = [] if merge == "concat" else [merge]
    return " and ".join(("copy", *cropped, *joined))
