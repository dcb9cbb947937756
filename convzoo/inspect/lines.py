"""The text of a box: its operations, one line for each step of the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from convzoo.calls import Network
from convzoo.inspect import operations

_MOST_LINES = 8
_WIDEST = 72  # characters
_CONVOLUTION = re.compile(r"( [a-z]+)? conv\b")
_ARROW = " \N{RIGHTWARDS ARROW} "


class Unit(NamedTuple):
    """An operation with what finishes it: convolution, batch norm, activation."""

    calls: tuple[str, ...]
    before: tuple[str, ...]  # phrases of the activations that lead to it
    operation: str  # "" while only padding and activations are known
    after: tuple[str, ...]  # phrases of what finishes it
    kind: str  # of the operation

    @property
    def text(self) -> str:
        """The unit on one line."""
        return ", ".join((*self.before, self.operation, *self.after))


Chain = list[Unit]  # units that only follow each other


def texts_of(net: Network, calls: Sequence[str]) -> tuple[str, ...]:
    """Return all operations of a box in full, in the order of the data."""
    return tuple(unit.text for chain in _chains(net, calls) for unit in chain)


def lines_of(net: Network, calls: Sequence[str]) -> tuple[str, ...]:
    """Return the operations of a box as a few short lines.

    A line is one step of the data; of three and more branches, and of two that would
    read as one, a line is a branch. Equal lines in a row become one with ``x2``; of
    more than eight the middle goes.
    """
    chains = _chains(net, calls)
    branches = _entries(net, chains)
    if len(branches) >= 3 or _alike(net, chains):
        told = _branch_lines(net, _as_joined(net, chains))
        return _short(told, [True] * len(told))
    lines: list[str] = []
    units: list[Unit | None] = []  # of each line, if it has one
    for chain in chains:
        prefix = _shortcut(net, chain, chains) or _beside(net, chain, chains)
        for unit in chain:
            told = [*_identity(net, unit, branches), prefix + unit.text]
            lines += told
            units += [*[None] * (len(told) - 1), unit]
    # What reads alike may differ in what is not said.
    number, numbers = 0, [0] * len(lines)
    for place in range(1, len(lines)):
        number += lines[place] != lines[place - 1] or not _same(
            net, units[place - 1], units[place]
        )
        numbers[place] = number
    return _short(lines, numbers=numbers)


def _same(net: Network, first: Unit | None, second: Unit | None) -> bool:
    if first is None or second is None:
        return first is second
    one, other = (
        [operations.settings(net.calls[call].layer) for call in unit.calls]
        for unit in (first, second)
    )
    return one == other


def gist_of(net: Network, blocks: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return one line for each block of a stage, equal blocks joined by ``x3``."""
    lines = []
    for calls in blocks:
        chains = _chains(net, calls)
        branches = len(_entries(net, chains))
        if branches >= 3 or (branches == 2 and _alike(net, chains)):
            lines.append(f"{branches} branches{_ARROW}{chains[-1][-1].operation}")
        else:
            heads = [
                _gist(net, unit)
                for chain in chains
                if not _shortcut(net, chain, chains)
                for unit in chain
                if unit.kind not in ("merge", "reshape", *operations.FOLLOWERS)
            ]
            lines.append(_chain_line(heads) or chains[-1][-1].text)
    read = [{s for call in calls for s in net.sources_of(call)} for calls in blocks]
    apart = [
        number > 0 and read[number].isdisjoint(blocks[number - 1])
        for number in range(len(blocks))
    ]
    return _short(lines, apart)


def _gist(net: Network, unit: Unit) -> str:
    """Write an operation with the activation inside its layer, unless that is ReLU."""
    ends = [
        end for call in unit.calls for end in operations.fused(net.calls[call].layer)
    ]
    return ", ".join((unit.operation, *(end for end in ends if "ReLU" not in end)))


def _short(
    lines: Sequence[str], apart: Sequence[bool] = (), numbers: Sequence[int] = ()
) -> tuple[str, ...]:
    """Join equal lines in a row and leave out the middle of many.

    Args:
        lines: The lines.
        apart: Of each, whether it stands beside the one before, not behind it.
        numbers: Differ where lines that read alike are not equal.
    """
    merged = []
    rows = zip_longest(lines, numbers, apart)
    for (line, _), same in groupby(rows, key=lambda row: row[:2]):
        *_, (*_, beside) = row = list(same)
        how = " in parallel" if beside else ""
        times = f"  x{len(row)}{how}" if len(row) > 1 else ""
        cut = (
            line
            if len(line) <= _WIDEST
            else line[: _WIDEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
        )
        merged.append(cut + times)
    if len(merged) > _MOST_LINES:
        left_out = len(merged) - _MOST_LINES + 1
        merged[4 : 4 + left_out] = [
            f"\N{HORIZONTAL ELLIPSIS} {left_out} more \N{HORIZONTAL ELLIPSIS}"
        ]
    return tuple(merged)


def _branch_lines(net: Network, chains: Sequence[Chain]) -> list[str]:
    """Write one branch to a line, and once what follows every convolution."""
    tails = {", ".join(u.after) for chain in chains for u in chain if "conv" in u.kind}
    common = tails.pop() if len(tails) == 1 else ""

    def heads(chain: Chain) -> list[str]:
        convs = ["conv" in unit.kind and common for unit in chain]
        pairs = zip(chain, convs, strict=True)
        return [unit.operation if conv else unit.text for unit, conv in pairs]

    lines, drawn = [], set[str]()
    for chain in chains:
        if chain[0].calls[0] in drawn:
            continue
        forks = [
            other
            for other in chains
            if {tensor.call for tensor in net.calls[other[0].calls[0]].sources}
            == {chain[-1].calls[-1]}
        ]
        drawn |= {fork[0].calls[0] for fork in forks}
        ends = {fork[-1].calls[-1] for fork in forks}
        # What only joins the forks again goes without saying.
        drawn |= {
            other[0].calls[0]
            for other in chains[:-1]
            if len(other) == 1 and set(net.sources_of(other[0].calls[0])) == ends
        }
        line = _chain_line(heads(chain))
        if forks:
            parts = " | ".join(_chain_line(heads(fork)) for fork in forks)
            line += _ARROW + parts.replace(" conv ", " ")
        lines += [*_identity(net, chain[0], _entries(net, chains)), line]
    return [*lines, f"(each conv: {common})"] if common else lines


def _as_joined(net: Network, chains: Sequence[Chain]) -> list[Chain]:
    """Order branches as the operation that joins them lists them."""
    home = {call: i for i, ch in enumerate(chains) for u in ch for call in u.calls}
    order: dict[int, None] = {}

    def visit(chain: int) -> None:
        for tensor in net.calls[chains[chain][0].calls[0]].sources:
            if tensor.call in home and home[tensor.call] not in order:
                visit(home[tensor.call])
        order[chain] = None

    visit(len(chains) - 1)
    rest = [index for index in range(len(chains)) if index not in order]
    return [chains[index] for index in (*order, *rest)]


def _chain_line(heads: Sequence[str]) -> str:
    """Join operations by arrows; a convolution like the one before is not named."""
    said, parts = "", []
    for head in heads:
        word = _CONVOLUTION.search(head)
        parts.append(head.replace(said, "", 1) if word and word[0] == said else head)
        said = word[0] if word else said
    return _ARROW.join(parts)


def _alike(net: Network, chains: Sequence[Chain]) -> bool:
    """Say whether branches that are joined hold the same, as if one came after one."""
    if len(chains) > 4:  # what forks, two branches, what joins: lines tell no more
        return False
    branches: dict[tuple[str, ...], set[str]] = {}  # by what joins them
    for chain in chains:
        joins = tuple(net.readers[chain[-1].calls[-1]])
        texts = {unit.text for unit in chain}
        if not _shortcut(net, chain, chains):
            if not texts.isdisjoint(branches.get(joins, ())):
                return True
            branches[joins] = branches.get(joins, set()) | texts
    return False


def _shortcut(net: Network, chain: Chain, chains: Sequence[Chain]) -> str:
    """Name the shorter of two branches that are added."""
    readers = net.readers[chain[-1].calls[-1]]
    rivals = [
        other
        for other in chains
        if other is not chain and net.readers[other[-1].calls[-1]] == readers
    ]
    added = any(
        unit.operation == "add" and set(unit.calls) & set(readers)
        for other in chains
        for unit in other
    )
    short = all(len(chain) < len(other) for other in rivals)
    return "shortcut: " if rivals and added and short else ""


def _beside(net: Network, chain: Chain, chains: Sequence[Chain]) -> str:
    """Tell a branch from what follows the one that is listed before it."""
    readers = net.readers[chain[-1].calls[-1]]
    earlier = chains[: chains.index(chain)]
    joined = any(net.readers[other[-1].calls[-1]] == readers for other in earlier)
    return "beside: " if readers and joined else ""


def _identity(net: Network, unit: Unit, branches: Sequence[Chain]) -> tuple[str, ...]:
    """Name the shortcut that adds what a box reads to what it makes of it."""
    others = [chain[0].calls[0] for chain in branches if chain[0] != unit]
    entering = {tensor for call in others for tensor in net.calls[call].sources}
    kept = entering.intersection(net.calls[unit.calls[0]].sources)
    return ("shortcut: identity",) if unit.operation == "add" and kept else ()


def _chains(net: Network, calls: Sequence[str]) -> list[Chain]:
    """Return the units of a box as unbranched chains, each before what reads it."""
    units = units_of(net, calls)
    home = {call: index for index, unit in enumerate(units) for call in unit.calls}
    before = [
        sorted(
            {
                home[tensor.call]
                for call in unit.calls
                for tensor in net.calls[call].sources
                if tensor.call in home
            }
            - {index}
        )
        for index, unit in enumerate(units)
    ]
    after = [
        [reader for reader in range(len(units)) if index in before[reader]]
        for index in range(len(units))
    ]
    chains: list[Chain] = []
    waiting = [len(sources) for sources in before]
    ready = [index for index in reversed(range(len(units))) if not waiting[index]]
    steps: dict[int, int] = {}  # to the end of the box
    for index in reversed(range(len(units))):
        steps[index] = 1 + max((steps[reader] for reader in after[index]), default=0)
    # The longest way is told first, what only fits a skip to its place last.
    ready.sort(key=lambda index: (units[index].kind != "reshape", steps[index]))
    last = -1
    while ready:
        index = ready.pop()
        continues = before[index] == [last] and after[last] == [index]
        if continues:
            chains[-1].append(units[index])
        else:
            chains.append([units[index]])
        last = index
        for reader in reversed(after[index]):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return chains


def _entries(net: Network, chains: Sequence[Chain]) -> list[Chain]:
    """Return the chains that read nothing of their own box."""
    inside = {call for chain in chains for unit in chain for call in unit.calls}
    return [
        chain
        for chain in chains
        if not any(
            tensor.call in inside for tensor in net.calls[chain[0].calls[0]].sources
        )
    ]


def units_of(net: Network, calls: Sequence[str]) -> list[Unit]:
    """Join operations with the padding before and the activation after them."""
    units: dict[str, Unit] = {}  # by last call
    leads = _activates_first(net, calls)
    for name in calls:
        unit = _unit(name, net.calls[name].layer, leads)
        sources = [tensor.call for tensor in net.calls[name].sources]
        source = sources[0] if len(sources) == 1 else ""
        before = units.get(source) if len(net.readers.get(source, ())) == 1 else None
        if before and not before.operation:
            del units[source]
            joined = (*before.before, *unit.before)
            unit = unit._replace(calls=(*before.calls, name), before=joined)
        elif before and unit.kind in operations.FOLLOWERS:
            del units[source]
            ends = (*before.after, unit.text)
            unit = before._replace(calls=(*before.calls, name), after=ends)
        units[name] = unit
    return [unit if unit.operation else _bare(net, unit) for unit in units.values()]


def _unit(name: str, layer: Any, leads: bool) -> Unit:
    """Return a layer as a unit; of padding and leading activations the beginning."""
    kind = operations.kind(layer)
    if operations.is_padding(layer):
        return Unit((name,), (), "", (), "padding")
    if leads and kind == "activation":
        return Unit((name,), (operations.phrase(layer),), "", (), "leading")
    return Unit((name,), (), operations.operation(layer), operations.fused(layer), kind)


def _bare(net: Network, unit: Unit) -> Unit:
    """Complete a unit of padding and activations that no operation follows."""
    phrases = [operations.phrase(net.calls[call].layer) for call in unit.calls]
    kind = "activation" if unit.before else unit.kind
    return Unit(unit.calls, (), ", ".join(phrases), (), kind)


def _activates_first(net: Network, calls: Sequence[str]) -> bool:
    """Say whether the box is of the kind that activates before it convolves."""
    kinds = [operations.kind(net.calls[call].layer) for call in calls]
    return kinds[0] == "activation" and len(kinds) > 1
