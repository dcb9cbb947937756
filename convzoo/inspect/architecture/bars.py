"""Where the bars of a figure by levels stand, and which arrows join them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from convzoo.inspect.architecture.page import width_of
from convzoo.inspect.architecture.reading import Reading, channels, size_text
from convzoo.inspect.architecture.skips import Skips, crop_text, passed, skips
from convzoo.inspect.architecture.steps import Path, Step

COPIES = ("copy", "skip connection")  # over lower levels, and beside others
LABEL = 12.0  # from a bar to its channels
MANY = 70  # bars beyond which only news is written
_HIGHEST, _BETWEEN = (118.0, 92.0), (43.0, 28.0)  # of few levels and of many
_SHRINK = 0.74  # share of a bar's height on the next level
_FEW = 6  # levels


class Bar(NamedTuple):
    """One map on its level."""

    step: Step
    level: int
    x: float  # of the left edge
    parts: tuple[float, ...]  # widths: of what is copied, and of the map itself
    y: float  # of the middle
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.x + sum(self.parts)

    @property
    def centre(self) -> float:
        """The middle of the part that the network makes here."""
        return self.right - self.parts[-1] / 2

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height / 2


class Arrow(NamedTuple):
    """What a map is made from another by; both are numbers of bars."""

    source: int
    target: int
    kind: str  # of the operation, or one of `COPIES`
    lane: int = 0  # above the bars of its level, if some stand between its ends
    note: str = ""  # what is written on it


def met(reading: Reading, whole: Path) -> tuple[Path, list[Arrow]]:
    """Let what comes up and what is copied meet in one bar, as in the paper.

    Inputs that nothing reads come first, among the others.
    """
    around = skips(whole)
    into = _meetings(whole, around)
    used = {end for link in whole.links for end in link} | set(whole.outputs)
    kept = [index for index in range(len(whole.steps)) if index not in into]
    kept.sort(key=lambda index: index in used)
    place = {index: number for number, index in enumerate(kept)}
    place |= {source: place[target] for source, target in into.items()}
    arrows = []
    for source, target in whole.links:
        if into.get(source) != target:
            link = place[source], place[target]
            if (source, target) in around.over:
                step, merge = whole.steps[source], whole.steps[target].units[-1]
                note = crop_text(passed(reading, step.units, merge))
                arrows.append(Arrow(*link, "copy", note=note))
            else:
                beside = (source, target) in around.beside
                kind = "skip connection" if beside else whole.steps[target].kind
                arrows.append(Arrow(*link, kind))
    steps = [whole.steps[index] for index in kept]
    for source, target in into.items():
        up, number = whole.steps[source], place[target]
        steps[number] = steps[number]._replace(kind=up.kind, lines=up.lines)
    links = tuple((arrow.source, arrow.target) for arrow in arrows)
    outputs = tuple(place[index] for index in whole.outputs)
    return Path(tuple(steps), links, outputs), arrows


def _meetings(whole: Path, around: Skips) -> dict[int, int]:
    """Return which steps give all their map to nothing but the merge behind them."""
    copied = {target for _, target in around.over}
    read = Counter(source for source, _ in whole.links)
    reads = Counter(target for _, target in whole.links)
    return {
        source: target
        for source, target in whole.links
        if target == source + 1
        and read[source] == 1
        and reads[target] == 2
        and target in copied
        and (source, target) not in around.over
        and len(whole.steps[target].units) == 1
        and whole.steps[source].kind != "merge"
        and _is_kept(whole, source, target)
    }


def _is_kept(whole: Path, source: int, target: int) -> bool:
    """Tell whether a bar of the target can show the source's map, too."""
    step, merge = whole.steps[source], whole.steps[target]
    joined = merge.lines == ("concat",)
    axes = slice(1, -1 if joined else None)
    return (
        step.shape[axes] == merge.shape[axes]
        and source not in whole.outputs
        and step.repeats == step.times == merge.times
    )


def place(reading: Reading, whole: Path, arrows: Sequence[Arrow]) -> list[Bar]:
    """Place bars from left to right, each above or below what it comes from."""
    strides = sorted({step.stride for step in whole.steps})
    heights = _heights(whole, strides)
    gap = 9.0 if len(whole.steps) > MANY else 20.0
    between = _BETWEEN[len(strides) > _FEW]
    ends: dict[int, float] = {}  # of the last bar on each level
    bars: list[Bar] = []
    for index, step in enumerate(whole.steps):
        level = strides.index(step.stride)
        incoming = [arrow for arrow in arrows if arrow.target == index]
        parts = _parts(reading, whole, step, incoming)
        label = max(width_of(label_of(step)) - sum(parts), 0.0) / 2
        start = ends.get(level, -math.inf if incoming else 0.0) + gap + label
        for arrow in incoming:
            source = bars[arrow.source]
            if arrow.kind in COPIES:
                room = width_of(arrow.note) + 14 if arrow.note else gap
                start = max(start, source.right + max(gap, room))
            elif source.level == level:
                start = max(start, source.right + gap + label)
            else:  # straight above or below
                start = max(start, source.centre + parts[-1] / 2 - sum(parts))
        height = heights[level]
        y = sum(heights[:level]) + height / 2 + level * between
        bars.append(Bar(step, level, start, parts, y, height))
        _align(bars, incoming, ends)
        ends[level] = bars[-1].right + label
    return bars


def _align(bars: list[Bar], incoming: Sequence[Arrow], ends: dict[int, float]) -> None:
    """Move what the last bar comes up from below it, where nothing is in the way."""
    target = bars[-1]
    for arrow in incoming:
        source = bars[arrow.source]
        shift = target.centre - source.centre
        label = ends[source.level] - source.right
        beside = any(bar.level == source.level for bar in bars[: arrow.source])
        above = source.level > target.level and shift > 0
        if above and beside and 0 <= label < LABEL:
            bars[arrow.source] = source._replace(x=source.x + shift)
            ends[source.level] += shift


def _heights(whole: Path, strides: Sequence[int]) -> list[float]:
    """Return the heights of the levels' bars, which hold the size of their maps."""
    highest, heights = _HIGHEST[len(strides) > _FEW], []
    for level, stride in enumerate(strides):
        sizes = [size_text(s.shape) for s in whole.steps if s.stride == stride]
        room = max(width_of(size) for size in sizes) + 8
        heights.append(max(highest * _SHRINK**level, room, 24.0))
    return heights


def _parts(
    reading: Reading, whole: Path, step: Step, incoming: Sequence[Arrow]
) -> tuple[float, ...]:
    copies = [arrow.source for arrow in incoming if arrow.kind in COPIES]
    copied = [channels(whole.steps[source].shape) for source in copies]
    own = channels(step.shape) - sum(copied)
    appended = reading.units[step.units[-1]].text == "concat" and own > 0
    if not appended or step.shape[-1] is None:
        return (_width(channels(step.shape)),)
    return (*map(_width, copied), _width(own))


def _width(number: int) -> float:
    return max(13.0, 4 + 2.2 * math.log2(number))


def label_of(step: Step) -> str:
    """Return what stands above a bar: its channels."""
    return str(step.shape[-1] or "?") if len(step.shape) > 1 else "scalar"
