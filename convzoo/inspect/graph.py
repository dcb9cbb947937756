"""The graph of a diagram: a model's layers gathered into boxes of stages or blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import keras

from convzoo.arguments import one_of
from convzoo.calls import Network, Shape, Tensor, network, reachable
from convzoo.inspect import operations
from convzoo.inspect.lines import gist_of, lines_of, texts_of
from convzoo.inspect.partition import groups, wiring

Level = Literal["stage", "block", "layer"]
LEVELS = ("stage", "block", "layer")
COPIED, CROPPED, ADDED = "skip connection", "copy and crop", "residual connection"
SKIPS = (COPIED, CROPPED, ADDED)
SIDE_HEAD = "side head"


class Node(NamedTuple):
    """One box: a layer, a block or a stage, or several equal ones in a row."""

    name: str  # "conv4_block2", in a row "conv4_block2..6"
    repeats: int
    kind: str  # a key of `operations.KINDS`
    lines: tuple[str, ...]  # what it does, abbreviated
    gist: tuple[str, ...]  # the same for a table: one line for each block
    operations: tuple[str, ...]  # what one of the row does, in full
    calls: tuple[str, ...]  # of the whole row, also of a layer that stands for several
    block: str  # the block a layer stands in, of a row with its "x5"; else its name
    shape: Shape  # of the last map
    outputs: tuple[Shape, ...]  # of the model that leave here
    home: int = 0  # index of the block; two may have one name


class Edge(NamedTuple):
    """What passes between two boxes; a tensor that skips a part of both has its own."""

    source: int  # index of the node
    target: int
    shape: Shape
    label: bool  # whether the shape is news here
    skip: bool  # whether the data also take a longer way
    link: str = ""  # one of `SKIPS`, `SIDE_HEAD`, or nothing to tell


class Graph(NamedTuple):
    """The boxes of a model in the order of the data, and what joins them."""

    name: str
    level: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def model_graph(
    model: keras.Model, level: str = "block", *, collapse: bool = True
) -> Graph:
    """Gather a model's layers into boxes.

    Names decide which box a layer belongs to, and where they say nothing the graph
    does; see `convzoo.inspect.partition`. Equal boxes in a row become one that says how
    many; of equal blocks in a row the layers of the first stand for all.

    Args:
        model: A functional or a built Sequential model.
        level: ``"stage"``, ``"block"`` or ``"layer"``.
        collapse: Whether equal boxes in a row become one.

    Raises:
        ValueError: If ``level`` is another word.
        TypeError: If ``model`` has no graph of layers.
    """
    one_of("level", level, LEVELS)
    return network_graph(network(model), model.name, level, collapse=collapse)


def network_graph(
    net: Network, name: str, level: str, *, collapse: bool | None = None
) -> Graph:
    """Gather the calls of a network already read; see `model_graph`.

    Unless ``collapse`` says otherwise, equal boxes become one but layers do not.
    """
    blocks = groups(net, "block")
    boxes = groups(net, "stage") if level == "stage" else blocks
    block_of = {call: key.title for key, calls in blocks.items() for call in calls}
    nodes = [
        _node(net, key.title, calls, block_of, level) for key, calls in boxes.items()
    ]
    if level != "layer" if collapse is None else collapse:
        nodes = _collapse(net, nodes)
    if level == "layer":
        nodes = [
            layer._replace(home=home)
            for home, node in enumerate(nodes)
            for layer in _layers(net, node, block_of)
        ]
    return Graph(name, level, tuple(nodes), _edges(net, nodes))


def _node(
    net: Network, name: str, calls: tuple[str, ...], blocks: dict[str, str], level: str
) -> Node:
    parts: dict[str, list[str]] = {}
    for call in calls:
        parts.setdefault(blocks[call], []).append(call)
    gist = gist_of(net, list(parts.values()))
    several = level == "stage" and len(parts) > 1
    return Node(
        name=name,
        repeats=1,
        kind=operations.main_kind(
            operations.kind(net.calls[call].layer) for call in calls
        ),
        lines=gist if several else lines_of(net, calls),
        gist=gist,
        operations=texts_of(net, calls),
        calls=calls,
        block=name,
        shape=net.output_of(calls[-1]),
        outputs=tuple(net.shapes[t] for t in net.outputs if t.call in calls),
    )


def _collapse(net: Network, nodes: list[Node]) -> list[Node]:
    """Join equal boxes that follow each other in a single chain."""
    rows: list[list[Node]] = []
    for node in nodes:
        if rows and _repeats(net, rows[-1][-1], node):
            rows[-1].append(node)
        else:
            rows.append([node])
    return [_row(row) for row in rows]


def _repeats(net: Network, first: Node, second: Node) -> bool:
    """Say whether the second box does to the first's output what the first did.

    Both read one tensor and no more: of several, which stands for which is not told.
    """
    pair = first, second
    left = {reader for call in first.calls for reader in net.readers[call]}
    return bool(
        first.operations == second.operations
        and not first.outputs
        # A layer that is used again has no weights of its own.
        and all(
            call == net.calls[call].layer.name for box in pair for call in box.calls
        )
        and len(set(_incoming(net, first))) == 1
        and set(_incoming(net, second)) == {Tensor(first.calls[-1], 0)}
        and left - set(first.calls) <= set(second.calls)
        and _grow_alike(net, first, second)
        and wiring(net, first.calls) == wiring(net, second.calls)
    )


def _grow_alike(net: Network, first: Node, second: Node) -> bool:
    """Say whether maps differ by one number of channels: none, in DenseNet a few."""
    layers = [net.calls[call].layer for call in first.calls]
    formats = {getattr(layer, "data_format", "") for layer in layers}
    axis = 1 if "channels_first" in formats else -1
    ends = [(net.shapes[_incoming(net, box)[0]], box.shape) for box in (first, second)]
    pairs = [(_parted(a, axis), _parted(b, axis)) for a, b in zip(*ends, strict=True)]
    grown = {after - before for (_, before), (_, after) in pairs}
    return len(grown) == 1 and all(before[0] == after[0] for before, after in pairs)


def _parted(shape: Shape, axis: int) -> tuple[list[int | None], int]:
    """Return a shape without its channels, and their number."""
    sides = list(shape)
    return (sides, sides.pop(axis) or 0) if len(sides) > 1 else (sides, 0)


def _incoming(net: Network, node: Node) -> list[Tensor]:
    inside = set(node.calls)
    return [
        tensor
        for call in node.calls
        for tensor in net.calls[call].sources
        if tensor.call not in inside
    ]


def _row(row: list[Node]) -> Node:
    first, last = row[0], row[-1]
    if len(row) == 1:
        return first
    calls = tuple(call for node in row for call in node.calls)
    name = _span(first.name, last.name)
    return last._replace(name=name, block=name, repeats=len(row), calls=calls)


def _span(first: str, last: str) -> str:
    """Name a row by its ends: ``conv4_block2..6``."""
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    while same and (first[same - 1].isdigit() or same == len(last)):
        same -= 1
    short = 0 < same < len(first) and len(last) - same <= 3
    return f"{first}..{last[same:]}" if short else f"{first} .. {last}"


def _layers(net: Network, node: Node, blocks: dict[str, str]) -> Iterator[Node]:
    """Yield the layers of a block; of a row, those of the first block for all."""
    size = len(node.calls) // node.repeats
    if size == node.repeats == 1:
        yield node._replace(name=node.calls[0])
        return
    if size == 1:
        yield node
        return
    times = f"  x{node.repeats}" if node.repeats > 1 else ""
    for place, name in enumerate(node.calls[:size]):
        calls = node.calls[place::size]
        layer = _node(net, name, calls[-1:], blocks, "layer")
        yield layer._replace(calls=calls, block=node.name + times)


def _edges(net: Network, nodes: list[Node]) -> tuple[Edge, ...]:
    found = _joined(net, nodes)
    links = _links(net, nodes, found)
    entering: dict[int, set[Shape]] = {}
    for way in sorted(found, key=lambda way: links[way] in SKIPS):
        # What skips boxes tells nothing of the usual way, if there is one.
        if links[way] not in SKIPS or way[1] not in entering:
            entering.setdefault(way[1], set()).add(net.shapes[way[2]])
    edges: list[Edge] = []
    for way in sorted(found, key=lambda way: (links[way] != "", way[:2])):
        source, target, tensor = way
        shape = net.shapes[tensor]
        known = entering.setdefault(source, set())
        said = {edge.shape for edge in edges if edge.source == source}
        # What is told beside another shape is news.
        new = shape not in (said if found[way] else known | said)
        link = links[way]
        edges.append(Edge(source, target, shape, new, link in SKIPS, link))
    return tuple(sorted(edges, key=lambda edge: (edge.source, edge.target)))


Way = tuple[int, int, Tensor]  # from box to box


def _joined(net: Network, nodes: list[Node]) -> dict[Way, bool]:
    """Return the ways from box to box, one for each shape, and whether it overtakes."""
    place = {call: index for index, node in enumerate(nodes) for call in node.calls}
    found: dict[tuple[int, int], list[Tensor]] = {}
    for index, node in enumerate(nodes):
        for tensor in dict.fromkeys(_incoming(net, node)):
            # An edge back leads from one block of a row to the next, drawn once.
            if place[tensor.call] < index:
                found.setdefault((place[tensor.call], index), []).append(tensor)
    ways: dict[Way, bool] = {}
    for (source, target), tensors in found.items():
        short = _overtaking(net, tensors, nodes[target])
        usual = {net.shapes[t]: t for t in reversed(tensors) if t not in short}
        ways |= {(source, target, t): t in short for t in (*usual.values(), *short)}
    return ways


def _overtaking(net: Network, tensors: list[Tensor], target: Node) -> list[Tensor]:
    """Find what leaves a box earlier and is read later than what goes beside it."""
    if len(tensors) == 1:
        return []
    reader = {
        tensor: next(c for c in target.calls if tensor in net.calls[c].sources)
        for tensor in tensors
    }
    starts = {tensor.call for tensor in tensors} | set(reader.values())
    after = {call: reachable(net.readers, call) & starts for call in starts}
    return [
        one
        for one in tensors
        if any(
            other.call in after[one.call] and reader[one] in after[reader[other]]
            for other in tensors
        )
    ]


def _links(net: Network, nodes: list[Node], found: dict[Way, bool]) -> dict[Way, str]:
    """Tell what the edges are: the data's way, what skips it, or where it parts."""
    after: dict[int, list[int]] = {}
    before: dict[int, list[int]] = {}
    for source, target in sorted({(source, target) for source, target, _ in found}):
        after.setdefault(source, []).append(target)
        before.setdefault(target, []).append(source)
    reached = {index: reachable(after, index) | {index} for index in range(len(nodes))}

    def past(index: int, onwards: dict[int, list[int]]) -> int:
        """Pass by what only crops or pads a copy, as if it were its edge."""
        while nodes[index].kind == "reshape" and (
            len(before.get(index, ())) == len(after.get(index, ())) == 1
        ):
            (index,) = onwards[index]
        return index

    def skips(source: int, target: int) -> bool:
        start, end = past(source, before), past(target, after)
        ways = [other for other in after[start] if past(other, after) != end]
        return any(end in reached[way] for way in ways)

    links = {
        way: _skip(net, way[2], nodes[way[1]]) if short or skips(*way[:2]) else ""
        for way, short in found.items()
    }
    return links | dict.fromkeys(_side_heads(nodes, reached, found), SIDE_HEAD)


def _side_heads(
    nodes: list[Node], reached: dict[int, set[int]], found: Iterable[Way]
) -> list[Way]:
    """Find the edges to ends of their own where the trunk goes on twice as long."""
    ends = [index for index, node in enumerate(nodes) if node.outputs]
    # The end that most of the boxes lead to is the trunk's.
    main = max(ends, key=lambda end: sum(end in behind for behind in reached.values()))

    def size(indices: Iterable[int]) -> int:
        return sum(len(nodes[index].calls) for index in indices)

    def trunk(source: int) -> list[int]:
        return [i for i in reached[source] if i != source and main in reached[i]]

    return [
        way
        for way in found
        if main not in reached[way[1]]
        and size(trunk(way[0])) > 2 * size(reached[way[1]])
    ]


def _skip(net: Network, tensor: Tensor, target: Node) -> str:
    """Tell how what skipped boxes is taken up: added, or joined and cropped first."""
    # A gate reads a copy before that is taken up.
    *_, reader = (c for c in target.calls if tensor in net.calls[c].sources)
    way = [tensor.call, reader]
    while len(net.sources_of(way[-1])) == len(net.readers[way[-1]]) == 1:
        way += net.readers[way[-1]]
    layers = [net.calls[call].layer for call in way]
    if operations.operation(layers[-1]) == "add":
        return ADDED
    cropped = any(operations.is_crop(layer) for layer in layers)
    return CROPPED if cropped else COPIED
