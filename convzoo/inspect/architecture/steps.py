"""The steps that a figure draws: operations, and blocks whose branches meet again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from convzoo.calls import Shape
from convzoo.inspect import operations
from convzoo.inspect.architecture.reading import Reading

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

    @property
    def is_chain(self) -> bool:
        """Whether each step reads the one before and nothing else."""
        ends = range(len(self.steps) - 1)
        return self.links == tuple((i, i + 1) for i in ends)


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
    found = Path(tuple(steps), _links(reading, steps))
    inputs = sum(unit.kind == "input" for unit in reading.units)
    one_way = len(reading.outputs) == 1 and inputs == 1
    return _merged(reading, found) if merged and one_way else found


def main_lines(reading: Reading, inside: Sequence[int]) -> tuple[str, ...]:
    """Say what a region does: its longest way, or its number of branches."""
    members, length = set(inside), dict[int, int]()
    before: dict[int, int] = {}
    for index in inside:
        own = [s for s in reading.units[index].sources if s in members]
        longest = max(own, key=lambda s: length[s], default=None)
        length[index] = 1 + (0 if longest is None else length[longest])
        if longest is not None:
            before[index] = longest
    entries = [i for i in inside if not members & set(reading.units[i].sources)]
    if len(entries) > 2:
        return (f"{len(entries)} branches",)
    way = [inside[-1]]
    while way[-1] in before:
        way.append(before[way[-1]])
    units = [reading.units[index] for index in reversed(way)]
    lines = [unit.text for unit in units if unit.kind != "merge"] or [units[-1].text]
    return tuple(lines) if len(lines) <= _LISTED else joined(lines)


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
    if _parts(reading, first) and deepest <= reading.units[first[-1]].stride:
        return [_compound(reading, row, first, block.repeats)]
    few = block.repeats <= _EXPANDED
    return [
        _single(reading, row, index, 1 if few else block.repeats)
        for index in (block.units if few else first)
    ]


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
    ways = sorted((_back(reading, source, inside) for source in last.sources), key=len)
    outside = [source for source in last.sources if source not in inside]
    if last.text != "add":
        return "concatenation" if outside and last.text == "concat" else ""
    if outside and reading.units[outside[0]].shape == last.shape:
        return "identity"
    kinds = {reading.units[index].kind for index in ways[0]}
    return "projection" if "convolution" in kinds else "resized"


def _back(reading: Reading, index: int, inside: Sequence[int]) -> list[int]:
    """Return the chain inside a block that ends with an operation."""
    way: list[int] = []
    while index in inside:
        way.append(index)
        index = reading.units[index].sources[0]
    return way


def _links(reading: Reading, steps: Sequence[Step]) -> tuple[tuple[int, int], ...]:
    """Return which step reads which; the later repetitions count as the first."""
    home: dict[int, int] = {}
    for number, step in enumerate(steps):
        home.update(dict.fromkeys(step.units, number))
    for row, block in enumerate(reading.blocks):
        own = [number for number, step in enumerate(steps) if step.row == row]
        for place, index in enumerate(block.units):
            if index not in home:
                home[index] = own[place % len(own)] if len(own) > 1 else own[0]
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
            if steps and _equal(steps[-1], one):
                together = steps[-1].repeats + one.repeats
                steps[-1] = steps[-1]._replace(repeats=together)
            else:
                steps.append(one)
            region = []
        farthest = max(farthest, reach[number])
    links = tuple((i, i + 1) for i in range(len(steps) - 1))
    return Path((*steps,), links)


def _region(reading: Reading, region: Sequence[Step]) -> Step:
    inside = [index for step in region for index in step.units]
    return _compound(reading, region[-1].row, inside, 1)


def _equal(last: Step, one: Step) -> bool:
    """Tell whether a block does to the result of the one before what that one did."""
    keys = [(s.lines, s.shape, s.shortcut, s.kind) for s in (last, one)]
    return len(one.units) > 1 and one.shortcut == "identity" and keys[0] == keys[1]
