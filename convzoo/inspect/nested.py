"""A layered layout of boxes in frames: every frame is laid out, then all of them.

Data enter a frame by a port in its top border, one for each source however many of its
boxes read it, and leave it by a port in its bottom border.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from convzoo.inspect.layered import Item, Layout, Link, Point, layout

Spot = tuple[str, int]  # a "box", or the port "in" or "out" of what a box gives
Pair = tuple[Spot, Spot]
Corner = Literal["start", "end", "aside"]

_PORT = Item(4.0, 0.0)


class Frame(NamedTuple):
    """A border around boxes."""

    left: float
    top: float
    right: float
    bottom: float


class Nested(NamedTuple):
    """A layout, and what frames add to it."""

    layout: Layout
    frames: list[Frame | None]  # None around a box that stands alone
    exits: list[int]  # of each edge: how many of its points lie in its first frame


class _Inside(NamedTuple):
    """The inside of a frame; the data enter or leave at x = 0, the border is y = 0."""

    spots: dict[Spot, Point]
    ways: dict[Pair, list[Point]]
    frame: Frame


def nested_layout(
    items: Sequence[Item],
    links: Sequence[Link],
    groups: Sequence[Sequence[int]],
    titles: Sequence[float],
    *,
    across: float,
    along: float,
    margin: float,
    corner: Corner = "start",
) -> Nested:
    """Place boxes inside frames, and the frames on ranks.

    Args:
        items: The boxes, sources before what reads them.
        links: Their edges, by index.
        groups: Indices of the boxes of each frame, in order; one alone has no frame.
        titles: Breadth of the title in each frame's corner, left of what enters there.
            Where it stands aside, its height.
        across: Least distance between boxes of one rank.
        along: Distance between ranks.
        margin: Distance between a frame and its boxes.
        corner: Where titles stand: where the data enter, where they leave, or "aside",
            which is above them where the data run sideways.
    """
    insides = [
        _inside(items, links, members, title, across, along, margin, corner)
        for members, title in zip(groups, titles, strict=True)
    ]
    home = {item: place for place, members in enumerate(groups) for item in members}
    numbers = _numbers(links)
    joined = _between(links, home, numbers)
    boxes = [_item(inside.frame) for inside in insides]
    outer = layout(boxes, list(joined.values()), across=across, along=along)
    routes = dict(zip(joined, outer.routes, strict=True))

    def placed(group: int, *points: Point) -> list[Point]:
        x, y = outer.centres[group]
        middle = (insides[group].frame.top + insides[group].frame.bottom) / 2
        return [(x + right, y + down - middle) for right, down in points]

    def route(link: Link, number: int) -> tuple[list[Point], int]:
        source, target = home[link.source], home[link.target]
        start, end = ("box", link.source), ("box", link.target)
        if source == target:
            return placed(source, *insides[source].ways[start, end]), 0
        out, enter = ("out", link.source), ("in", link.source)
        first = placed(source, *insides[source].ways[start, out])
        last = placed(target, *insides[target].ways[enter, end])
        return [*first, *routes[link.source, target, number], *last], len(first)

    ways = [route(*each) for each in zip(links, numbers, strict=True)]
    centres = [
        placed(home[item], insides[home[item]].spots["box", item])[0]
        for item in range(len(items))
    ]
    frames: list[Frame | None] = []
    for group, inside in enumerate(insides):
        first, last = placed(group, inside.frame[:2], inside.frame[2:])
        frames.append(Frame(*first, *last) if len(groups[group]) > 1 else None)
    whole = Layout(centres, [way for way, _ in ways], outer.breadth, outer.depth)
    return Nested(whole, frames, [count for _, count in ways])


def _numbers(links: Sequence[Link]) -> list[int]:
    """Number the edges that join the same two boxes."""
    seen: Counter[tuple[int, int]] = Counter()
    numbers = []
    for source, target, *_ in links:
        numbers.append(seen[source, target])
        seen[source, target] += 1
    return numbers


def _between(
    links: Sequence[Link], home: dict[int, int], numbers: Sequence[int]
) -> dict[tuple[int, int, int], Link]:
    """Return the edges between frames, by the box they leave and the frame they reach.

    One that also carries the data's usual way is not light.
    """
    joined: dict[tuple[int, int, int], Link] = {}
    for link, number in zip(links, numbers, strict=True):
        source, target = home[link.source], home[link.target]
        if source != target:
            other = joined.get((link.source, target, number), link)
            joined[link.source, target, number] = Link(
                source,
                target,
                other.light and link.light,
                max(other.breadth, link.breadth),
            )
    return joined


def _item(frame: Frame) -> Item:
    """Return a frame as a box whose middle is where the data pass."""
    return Item(2 * max(-frame.left, frame.right), frame.bottom - frame.top)


def _inside(
    items: Sequence[Item],
    links: Sequence[Link],
    members: Sequence[int],
    title: float,
    across: float,
    along: float,
    margin: float,
    corner: Corner,
) -> _Inside:
    pairs = _pairs(links, set(members))
    if len(members) == 1:
        breadth, depth = items[members[0]]
        frame = Frame(-breadth / 2, -depth / 2, breadth / 2, depth / 2)
        return _Inside({("box", members[0]): (0.0, 0.0)}, {p: [] for p in pairs}, frame)
    enter = list(dict.fromkeys(start for start, _ in pairs if start[0] == "in"))
    leave = list(dict.fromkeys(end for _, end in pairs if end[0] == "out"))
    spots: list[Spot] = [*enter, *(("box", member) for member in members), *leave]
    place = {spot: index for index, spot in enumerate(spots)}
    found = layout(
        [items[number] if kind == "box" else _PORT for kind, number in spots],
        [
            link._replace(source=place[start], target=place[end])
            for (start, end), link in pairs.items()
        ],
        across=across,
        along=along,
        top=[place[spot] for spot in enter],
        bottom=[place[spot] for spot in leave],
    )
    port = next(iter([*enter, *leave]), None)
    axis = found.centres[place[port]][0] if port else found.breadth / 2
    centres = [(x - axis, y) for x, y in found.centres]
    at = dict(zip(spots, centres, strict=True))
    ways = {
        (start, end): [
            *([at[start]] if start[0] == "in" else []),
            *((x - axis, y) for x, y in route),
            *([at[end]] if end[0] == "out" else []),
        ]
        for (start, end), route in zip(pairs, found.routes, strict=True)
    }
    left = axis + title if corner == "aside" else max(axis, title)
    before, behind = (along if corner == end else margin for end in ("start", "end"))
    frame = Frame(
        -left - margin,
        0.0 if enter else -before,
        found.breadth - axis + margin,
        found.depth + (0.0 if leave else behind),
    )
    return _Inside(at, ways, frame)


def _pairs(links: Sequence[Link], members: set[int]) -> dict[Pair, Link]:
    """Return the edges inside a frame, to its ports where they enter or leave it.

    Those that only skip come last, and so stand right of the others.
    """
    pairs: dict[Pair, Link] = {}
    for link in sorted(links, key=lambda link: link.light):
        start = "box" if link.source in members else "in"
        end = ("box", link.target) if link.target in members else ("out", link.source)
        if (start, end[0]) != ("in", "out"):
            # What stands beside an edge to a port does so outside the frame.
            inside = (start, end[0]) == ("box", "box")
            breadth = link.breadth if inside else _PORT.breadth
            pair = (start, link.source), end
            pairs.setdefault(pair, link._replace(breadth=breadth))
    return pairs
