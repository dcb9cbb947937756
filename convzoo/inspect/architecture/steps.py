"""The steps that a figure draws: operations, and blocks whose branches meet again."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple, TypeVar

from convzoo.calls import Shape
from convzoo.inspect import operations
from convzoo.inspect.architecture.reading import Block, Reading

Place = TypeVar("Place", str, int)

_EXPANDED = 3  # equal blocks in a row that are drawn one by one
_LISTED = 6  # operations of a block that are listed one by one


class Step(NamedTuple):
    """One thing on the way of the data: an operation or a whole block."""

    name: str
    kind: str
    lines: tuple[str, ...]  # what it does
    shape: Shape
    stride: int
    repeats: int
    row: int  # the block it belongs to
    times: int  # how often that block stands in a row
    shortcut: str  # "", "identity", "projection", "resized" or "concatenation"
    units: tuple[int, ...]  # of the first repetition


class Path(NamedTuple):
    """Steps in the order of the data and what joins them."""

    steps: tuple[Step, ...]
    links: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]  # steps that give what the model gives

    @property
    def is_chain(self) -> bool:
        """Whether each step reads the one before and nothing else."""
        return self.is_drawn_by([range(len(self.steps))])

    def is_drawn_by(self, ways: Iterable[Sequence[int]]) -> bool:
        """Whether a figure of these ways leaves out no link, no step and no output.

        Each step must be reached once: a way that branches off begins with a step of
        another. Outputs must be ends, where a figure need not name them.
        """
        links = sorted(link for way in ways for link in pairwise(way))
        read, reached = {i for i, _ in links}, {j for _, j in links}
        once = len(reached) == len(links) == len(self.steps) - 1
        return once and tuple(links) == self.links and read.isdisjoint(self.outputs)


def path(reading: Reading, *, merged: bool = True) -> Path:
    """Return the steps of a model.

    Args:
        reading: The model.
        merged: Whether what lies between two points that all data pass becomes one
            step, so that a network of one output becomes a chain.
    """
    steps = [
        step for row in range(len(reading.blocks)) for step in _steps(reading, row)
    ]
    home = _homes(reading, steps)
    outputs = tuple(sorted({home[index] for index in reading.outputs}))
    found = Path(tuple(steps), _links(reading, home), outputs)
    inputs = sum(unit.kind == "input" for unit in reading.units)
    one_way = len(reading.outputs) == 1 and inputs == 1
    return _merged(reading, found) if merged and one_way else found


def main_lines(reading: Reading, inside: Sequence[int]) -> tuple[str, ...]:
    """Say what a region does: its longest way, or its number of branches."""
    if alike := _alike(reading, inside):
        return alike

    def kept(source: int, index: int) -> bool:
        shapes = reading.units[source].shape, reading.units[index].shape
        return shapes[0][:-1] == shapes[1][:-1]

    members, length = set(inside), dict[int, int]()
    before: dict[int, int] = {}
    for index in inside:
        # A gate's way is no part of the block's: it leaves the map.
        longest = max(
            reading.units[index].sources,
            key=lambda s: (kept(s, index), length.get(s, 0)),
            default=-1,
        )
        length[index] = 1 + length.get(longest, 0)
        if longest in members:
            before[index] = longest
    entries = [i for i in inside if not members & set(reading.units[i].sources)]
    if len(entries) > 2:
        return (f"{len(entries)} branches",)
    way = [inside[-1]]
    while way[0] in before:
        way.insert(0, before[way[0]])
    lines = _texts(reading, way) or [reading.units[way[-1]].text]
    shortcut = _short_way(reading, inside)[1] if _shortcut(reading, inside) else []
    beside = _texts(reading, sorted(members - {*way, *shortcut}))
    if beside:
        few = len(beside) == 1
        lines.append(f"beside: {beside[0] if few else f'{len(beside)} operations'}")
    return tuple(lines) if len(lines) <= _LISTED else joined(lines)


def _alike(reading: Reading, inside: Sequence[int]) -> tuple[str, ...]:
    """Say what branches do that all do the same, and how they are joined."""
    *others, end = inside
    ways = [
        chain(source, others, lambda index: reading.units[index].sources)
        for source in reading.units[end].sources
    ]
    lines = {tuple(_texts(reading, way)) for way in ways}
    once = sorted(index for way in ways for index in way) == sorted(others)
    if len(ways) < 2 or len(lines) > 1 or not once or () in lines:
        return ()
    return (f"{len(ways)} branches:", *joined(lines.pop()), reading.units[end].text)


def _texts(reading: Reading, inside: Iterable[int]) -> list[str]:
    units = [reading.units[index] for index in inside]
    return [unit.text for unit in units if unit.kind != "merge"]


def chain(
    end: Place, inside: Collection[Place], sources: Callable[[Place], Sequence[Place]]
) -> list[Place]:
    """Return the way inside a region that leads to one of its members.

    It follows what each reads first.
    """
    way: list[Place] = []
    now: Sequence[Place] = [end]
    while now and now[0] in inside:
        way.insert(0, now[0])
        now = sources(now[0])
    return way


def joined(lines: Iterable[str]) -> tuple[str, ...]:
    """Write equal lines in a row once: ``3x3 conv 64  x2``."""
    counted = [(line, len(list(same))) for line, same in groupby(lines)]
    return tuple(f"{line}  x{n}" if n > 1 else line for line, n in counted)


def _steps(reading: Reading, row: int) -> list[Step]:
    """Return a block as one step if its data part and meet again, else its units.

    What goes down and up again inside a block is a U, whose levels are worth drawing.
    """
    block = reading.blocks[row]
    size = len(block.units) // block.repeats
    first = block.units[:size]
    deepest = max(reading.units[index].stride for index in first)
    closed = _is_closed(reading, block, size)
    parts = closed and _parts(reading, first)
    if parts and deepest <= reading.units[first[-1]].stride:
        inputs = [i for i in first if reading.units[i].kind == "input"]
        inside = [index for index in first if index not in inputs]
        return [
            *(_single(reading, row, index, 1) for index in inputs),
            _compound(reading, row, inside, block.repeats),
        ]
    few = block.repeats <= _EXPANDED or not closed
    return [
        _single(reading, row, index, 1 if few else block.repeats)
        for index in (block.units if few else first)
    ]


def _is_closed(reading: Reading, block: Block, size: int) -> bool:
    """Tell whether others read a block, and each repetition the one before, at its end.

    A figure of the block as one thing would hide all else.
    """
    times = {index: place // size for place, index in enumerate(block.units)}
    end = block.units[-1]
    ends = block.units[size - 1 :: size]
    crossing = {
        (source, times.get(index))
        for index, unit in enumerate(reading.units)
        for source in unit.sources
        if source in times and times[source] != times.get(index)
    }
    shown = all(
        source == end or (source in ends and time == times[source] + 1)
        for source, time in crossing
    )
    return shown and not (times.keys() - {end}) & set(reading.outputs)


def _parts(reading: Reading, inside: Sequence[int]) -> bool:
    read = [source for index in inside for source in reading.units[index].sources]
    return len(read) > len(set(read))


def _single(reading: Reading, row: int, index: int, times: int) -> Step:
    unit = reading.units[index]
    return Step(
        reading.blocks[row].name,
        unit.kind,
        (unit.text,),
        unit.shape,
        unit.stride,
        1,
        row,
        times,
        "",
        (index,),
    )


def _compound(reading: Reading, row: int, inside: Sequence[int], repeats: int) -> Step:
    last = reading.units[reading.blocks[row].units[-1] if repeats > 1 else inside[-1]]
    kinds = {reading.units[index].kind for index in inside}
    return Step(
        reading.blocks[row].name,
        operations.main_kind(kinds),
        main_lines(reading, inside),
        last.shape,
        last.stride,
        repeats,
        row,
        1,
        _shortcut(reading, inside),
        tuple(inside),
    )


def _shortcut(reading: Reading, inside: Sequence[int]) -> str:
    """Say what kind of connection a block's last operation adds to its branch."""
    last = reading.units[inside[-1]]
    if last.kind != "merge" or len(last.sources) != 2:
        return ""
    source, way = _short_way(reading, inside)
    if last.text != "add":
        return "concatenation" if not way and last.text == "concat" else ""
    if not way and _numbers(reading.units[source].shape) == _numbers(last.shape):
        return "identity"
    kinds = {reading.units[index].kind for index in way}
    return "projection" if "convolution" in kinds else "resized"


def _numbers(shape: Shape) -> tuple[int, int]:
    """Count a map's open sides and numbers: what only orders them anew keeps both."""
    return shape.count(None), math.prod(side or 1 for side in shape)


def _short_way(reading: Reading, inside: Sequence[int]) -> tuple[int, list[int]]:
    """Return the shorter of two ways to a block's end, and the operation it ends with.

    What both share is no part of it.
    """
    ways = {
        source: chain(source, inside, lambda index: reading.units[index].sources)
        for source in reading.units[inside[-1]].sources
    }
    (source, short), (_, long) = sorted(ways.items(), key=lambda way: len(way[1]))
    return source, [index for index in short if index not in long]


def _homes(reading: Reading, steps: Sequence[Step]) -> dict[int, int]:
    """Return each operation's step; a later repetition's is that of the first."""
    home: dict[int, int] = {}
    for number, step in enumerate(steps):
        home.update(dict.fromkeys(step.units, number))
    for row, block in enumerate(reading.blocks):
        own = [number for number, step in enumerate(steps) if step.row == row]
        for place, index in enumerate(block.units):
            if index not in home:
                home[index] = own[place % len(own)]
    return home


def _links(reading: Reading, home: dict[int, int]) -> tuple[tuple[int, int], ...]:
    """Return which step reads which."""
    found = {
        (home[source], home[index])
        for index, unit in enumerate(reading.units)
        for source in unit.sources
    }
    return tuple(sorted((i, j) for i, j in found if i < j))


def _merged(reading: Reading, whole: Path) -> Path:
    """Make one step of what lies between two that all data pass."""
    reach = list(range(len(whole.steps)))
    for i, j in whole.links:
        reach[i] = max(reach[i], j)
    steps: list[Step] = []
    region: list[Step] = []
    farthest = 0
    for number, step in enumerate(whole.steps):
        region.append(step)
        if farthest <= number:
            one = region[0] if len(region) == 1 else _region(reading, region)
            if steps and _equal(reading, steps[-1], one):
                together = steps[-1].repeats + one.repeats
                steps[-1] = steps[-1]._replace(repeats=together)
            else:
                steps.append(one)
            region = []
        farthest = max(farthest, reach[number])
    links = tuple((i, i + 1) for i in range(len(steps) - 1))
    return Path((*steps,), links, (len(steps) - 1,))


def _region(reading: Reading, region: Sequence[Step]) -> Step:
    inside = [index for step in region for index in step.units]
    return _compound(reading, region[-1].row, inside, 1)


def _equal(reading: Reading, last: Step, one: Step) -> bool:
    """Tell whether a block does to the result of the one before what that one did."""
    if len(one.units) == 1 or one.shortcut != "identity":
        return False
    return _wiring(reading, last) == _wiring(reading, one)


def _wiring(reading: Reading, step: Step) -> list[tuple[str, Shape, list[int]]]:
    """Return what each operation of a block does, gives and reads; -1 is outside."""
    place = {index: number for number, index in enumerate(step.units)}
    units = [reading.units[index] for index in step.units]
    return [
        (unit.text, unit.shape, [place.get(source, -1) for source in unit.sources])
        for unit in units
    ]
