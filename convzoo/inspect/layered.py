"""A layered layout: ranks down the page, edges routed around the boxes they pass.

Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system
structures", IEEE Transactions on Systems, Man, and Cybernetics 11(2), 1981: ranks by
the longest path, waypoints for edges that pass ranks, barycenters against crossings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]

_SWEEPS = 16
_HAIR = 1e-3
_STIFF = 1000.0  # how much more a box resists being moved than a waypoint


class Item(NamedTuple):
    """A box to place; its breadth lies across the direction of the data."""

    breadth: float
    depth: float


class Link(NamedTuple):
    """An edge to route; ``light`` ones give way to the others."""

    source: int
    target: int
    light: bool
    breadth: float  # of the label at its first waypoint, if it has any


class Layout(NamedTuple):
    """Centres of the boxes; of each edge, where it enters and leaves other ranks."""

    centres: list[Point]
    routes: list[list[Point]]
    breadth: float
    depth: float


def layout(
    items: Sequence[Item],
    links: Sequence[Link],
    *,
    across: float,
    along: float,
    top: Sequence[int] = (),
    bottom: Sequence[int] = (),
) -> Layout:
    """Place boxes on ranks and route the edges between them.

    Args:
        items: The boxes, sources before what reads them.
        links: Their edges, by index.
        across: Least distance between boxes of one rank.
        along: Distance between ranks.
        top: Boxes without sources that stand on the first rank.
        bottom: Boxes without readers that stand on a rank of their own at the end.
    """
    beside = Counter(link[:2] for link in links)
    ranks = _ranks(len(items), links, top, bottom, beside)
    cells = list(items)
    rank_of = list(ranks)
    pairs: list[tuple[int, int, bool]] = []
    waypoints: list[list[int]] = []
    for link in links:
        # Of edges side by side the usual one stays as straight as a box.
        depth = _HAIR if beside[link[:2]] > 1 and not link.light else 0.0
        way: list[int] = []
        last = link.source
        for rank in range(ranks[link.source] + 1, ranks[link.target]):
            cells.append(Item(link.breadth if not way else 4.0, depth))
            rank_of.append(rank)
            way.append(len(cells) - 1)
            pairs.append((last, way[-1], link.light))
            last = way[-1]
        pairs.append((last, link.target, link.light))
        waypoints.append(way)
    rows: list[list[int]] = [[] for _ in range(max(rank_of, default=0) + 1)]
    for cell, rank in enumerate(rank_of):
        rows[rank].append(cell)
    above, below = _neighbours(len(cells), pairs)
    _order(rows, above, below)
    columns = _columns(len(items), waypoints, above, below)
    xs = _across(rows, cells, columns, (above, below), across)
    ys, depth = _along(rows, cells, along)
    left = min((xs[i] - cells[i].breadth / 2 for i in range(len(cells))), default=0)
    right = max((xs[i] + cells[i].breadth / 2 for i in range(len(cells))), default=0)
    centres = [(xs[i] - left, ys[ranks[i]]) for i in range(len(items))]
    halves = [max((cells[cell].depth for cell in row), default=0.0) / 2 for row in rows]
    routes = [
        [
            (xs[cell] - left, ys[rank_of[cell]] + side * halves[rank_of[cell]])
            for cell in way
            for side in (-1, 1)
        ]
        for way in waypoints
    ]
    return Layout(
        centres,
        routes,
        right - left,
        depth,
    )


Neighbours = list[list[tuple[int, bool]]]  # of each cell: the other end, whether light


def _ranks(
    count: int,
    links: Sequence[Link],
    top: Sequence[int],
    bottom: Sequence[int],
    beside: Counter[tuple[int, int]],
) -> list[int]:
    ranks = [0] * count
    for link in sorted(links):
        # Edges side by side part on a rank of their own.
        steps = 1 + (beside[link[:2]] > 1)
        ranks[link.target] = max(ranks[link.target], ranks[link.source] + steps)
    # An input that enters late stands just before its reader.
    read = {link.target for link in links}
    for item in range(count):
        readers = [ranks[link.target] for link in links if link.source == item]
        if item not in read and item not in top and readers:
            ranks[item] = min(readers) - 1
    end = 1 + max(
        (ranks[item] for item in range(count) if item not in bottom), default=0
    )
    return [end if item in bottom else rank for item, rank in enumerate(ranks)]


def _neighbours(
    count: int, pairs: Sequence[tuple[int, int, bool]]
) -> tuple[Neighbours, Neighbours]:
    above: Neighbours = [[] for _ in range(count)]
    below: Neighbours = [[] for _ in range(count)]
    for source, target, light in pairs:
        above[target].append((source, light))
        below[source].append((target, light))
    return above, below


def _order(rows: list[list[int]], above: Neighbours, below: Neighbours) -> None:
    """Sort every rank by the mean place of its neighbours, down and up in turn."""
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        place = {cell: i for row in rows for i, cell in enumerate(row)}
        for row in rows if down else reversed(rows):
            mean = {
                cell: sum(place[other] for other, _ in near[cell]) / len(near[cell])
                if near[cell]
                else place[cell]
                for cell in row
            }
            row.sort(key=mean.__getitem__)
            place.update({cell: i for i, cell in enumerate(row)})


def _columns(
    boxes: int, waypoints: list[list[int]], above: Neighbours, below: Neighbours
) -> list[list[int]]:
    """Gather the cells that should stand in line: unbranched chains and edges' ways."""
    columns: dict[int, list[int]] = {}
    for cell in range(boxes):
        up = [other for other, light in above[cell] if not light]
        alone = len(up) == 1 and up[0] < boxes
        only = alone and sum(not light for _, light in below[up[0]]) == 1
        columns[cell] = [*columns.pop(up[0]), cell] if only else [cell]
    return [*columns.values(), *(way for way in waypoints if way)]


def _across(
    rows: list[list[int]],
    cells: Sequence[Item],
    columns: list[list[int]],
    near: tuple[Neighbours, Neighbours],
    gap: float,
) -> list[float]:
    """Move columns between their neighbours as far as the order of ranks allows."""
    xs = [0.0] * len(cells)
    weights = [_STIFF if cell.depth else 1.0 for cell in cells]
    for row in rows:
        _settle(row, list(xs), weights, cells, gap, xs)
    for sweep in range(3 * _SWEEPS):
        pulls = sweep < 2 * _SWEEPS
        wishes = list(xs)
        for column in columns:
            middle = _middle(column, near, xs)
            mean = sum(xs[cell] for cell in column) / len(column)
            # Half way, or neighbours that all move at once change sides for ever.
            wish = (middle + mean) / 2 if pulls else _outer(column, mean - middle, xs)
            for cell in column:
                wishes[cell] = wish
        for row in rows:
            _settle(row, wishes, weights, cells, gap, xs)
    return xs


def _middle(
    column: list[int], near: tuple[Neighbours, Neighbours], xs: list[float]
) -> float:
    """Return the mean place of what a column is joined to."""
    ends = [*near[0][column[0]], *near[1][column[-1]]]
    heavy = [other for other, light in ends if not light]
    chosen = heavy or [other for other, _ in ends] or [column[0]]
    return sum(xs[other] for other in chosen) / len(chosen)


def _outer(column: list[int], offset: float, xs: list[float]) -> float:
    """Return where a column is straight and all that stands inside has room."""
    places = [xs[cell] for cell in column]
    if abs(offset) < 1.0:
        return sum(places) / len(places)
    return max(places) if offset > 0 else min(places)


def _settle(
    row: Sequence[int],
    wishes: Sequence[float],
    weights: Sequence[float],
    cells: Sequence[Item],
    gap: float,
    xs: list[float],
) -> None:
    """Place a rank as near its wishes as it fits (pool adjacent violators)."""
    offsets, offset = [], 0.0
    for i, cell in enumerate(row):
        if i:
            offset += (cells[row[i - 1]].breadth + cells[cell].breadth) / 2 + gap
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # weight, mean, members
    for cell, shift in zip(row, offsets, strict=True):
        weight, mean, size = weights[cell], wishes[cell] - shift, 1
        while pools and pools[-1][1] > mean:
            other, level, members = pools.pop()
            mean = (weight * mean + other * level) / (weight + other)
            weight, size = weight + other, size + members
        pools.append((weight, mean, size))
    places = [mean for _, mean, size in pools for _ in range(size)]
    for cell, place, shift in zip(row, places, offsets, strict=True):
        xs[cell] = place + shift


def _along(
    rows: list[list[int]], cells: Sequence[Item], gap: float
) -> tuple[list[float], float]:
    ys, edge = [], 0.0
    for row in rows:
        depth = max((cells[cell].depth for cell in row), default=0.0)
        ys.append(edge + depth / 2)
        edge += depth + gap
    return ys, max(edge - gap, 0.0)
