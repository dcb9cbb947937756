"""The graph of a diagram: a model's layers gathered into boxes of stages or blocks."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import keras

from convzoo.anatomy import address
from convzoo.arguments import one_of
from convzoo.calls import Call, Network, Shape, Tensor, network, reachable
from convzoo.inspect import operations
from convzoo.inspect.lines import gist_of, lines_of, texts_of
from convzoo.inspect.partition import Groups, acyclic

LEVELS = ("stage", "block", "layer")


class Node(NamedTuple):
    """One box: a layer, a block or a stage, or several equal ones in a row."""

    name: str  # "conv4_block2", in a row "conv4_block2..6"
    repeats: int
    kind: str  # a key of `operations.KINDS`
    lines: tuple[str, ...]  # what it does, abbreviated
    gist: tuple[str, ...]  # the same for a table: one line for each block
    operations: tuple[str, ...]  # what one of the row does, in full
    calls: tuple[str, ...]  # of the whole row
    block: str  # the block a layer stands in; else the box's own name
    shape: Shape  # of the last map
    output: bool  # whether the model's output leaves here


class Edge(NamedTuple):
    """The tensor that passes between two boxes."""

    source: int  # index of the node
    target: int
    shape: Shape
    label: bool  # whether the shape is news here
    skip: bool  # whether the data also take a longer way


class Graph(NamedTuple):
    """The boxes of a model in the order of the data, and what joins them."""

    name: str
    level: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def model_graph(model: keras.Model, level: str = "block") -> Graph:
    """Gather a model's layers into boxes.

    Names decide: a layer belongs to the stage and the block that its name states (see
    `convzoo.anatomy`). A layer that Keras named itself (``conv2d_7``) is a box of its
    own, together with the normalization and the activation that follow it. Equal boxes
    in a row become one that says how many.

    Args:
        model: A functional or a built Sequential model.
        level: ``"stage"``, ``"block"`` or ``"layer"``.

    Raises:
        ValueError: If ``level`` is another word.
        TypeError: If ``model`` has no graph of layers.
    """
    one_of("level", level, LEVELS)
    return network_graph(network(model), model.name, level)


def network_graph(net: Network, name: str, level: str) -> Graph:
    """Gather the calls of a network already read; see `model_graph`."""
    blocks = _keys(net, "block")
    if level == "layer":
        groups: Groups = {call: (call,) for call in net.calls}
    else:
        groups = acyclic(net, blocks if level == "block" else _keys(net, "stage"))
    nodes = [_node(net, *group, blocks, level) for group in groups.items()]
    if level != "layer":
        nodes = _collapse(net, nodes)
    return Graph(name, level, tuple(nodes), _edges(net, nodes))


def _keys(net: Network, level: str) -> dict[str, str]:
    """Return the name of the box that each call belongs to."""
    keys: dict[str, str] = {}
    for name, call in net.calls.items():
        auto = _named_by_keras(call)
        sources = net.sources_of(name)
        follows = operations.kind(call.layer) in operations.FOLLOWERS
        if auto and follows and len(sources) == 1:
            source = sources[0]
            alone = len(net.readers[source]) == 1
            keys[name] = keys[source] if alone else name
        else:
            keys[name] = name if auto else _stated(name, level)
    return keys


def _named_by_keras(call: Call) -> bool:
    if "#" in call.name:
        return True
    stem = re.sub(r"_\d+$", "", call.name).replace("_", "")
    return stem == type(call.layer).__name__.lower()


def _stated(name: str, level: str) -> str:
    try:
        stage, block = address(name)
    except ValueError:
        return re.split(r"[^A-Za-z0-9]", name.lstrip("_"))[0] or name
    return stage if level == "stage" else block


def _node(
    net: Network, name: str, calls: tuple[str, ...], blocks: dict[str, str], level: str
) -> Node:
    made = {tensor.call for tensor in net.outputs}
    parts: dict[str, list[str]] = {}
    for call in calls:
        parts.setdefault(blocks[call], []).append(call)
    gist = gist_of(net, list(parts.values()))
    several = level == "stage" and len(parts) > 1
    return Node(
        name=name,
        repeats=1,
        kind=_kind([net.calls[call].layer for call in calls]),
        lines=gist if several else lines_of(net, calls),
        gist=gist,
        operations=texts_of(net, calls),
        calls=calls,
        block=blocks[calls[0]] if level == "layer" else name,
        shape=net.output_of(calls[-1]),
        output=any(call in made for call in calls),
    )


def _kind(layers: list[Any]) -> str:
    found = {operations.kind(layer) for layer in layers}
    return next(kind for kind in operations.KINDS if kind in found)


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
    """Say whether the second box does to the first's output what the first did."""
    read = {tensor.call for tensor in _incoming(net, second)}
    left = {
        reader
        for call in first.calls
        for reader in net.readers[call]
        if reader not in first.calls
    }
    return (
        first.operations == second.operations
        and not first.output
        and read <= set(first.calls)
        and left <= set(second.calls)
        and _incoming_shapes(net, first) == _incoming_shapes(net, second)
        and first.shape == second.shape
    )


def _incoming(net: Network, node: Node) -> list[Tensor]:
    inside = set(node.calls)
    return [
        tensor
        for call in node.calls
        for tensor in net.calls[call].sources
        if tensor.call not in inside
    ]


def _incoming_shapes(net: Network, node: Node) -> list[Shape]:
    return [net.shapes[tensor] for tensor in _incoming(net, node)]


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
    short = same > 0 and len(last) - same <= 3
    return f"{first}..{last[same:]}" if short else f"{first} .. {last}"


def _edges(net: Network, nodes: list[Node]) -> tuple[Edge, ...]:
    place = {call: index for index, node in enumerate(nodes) for call in node.calls}
    found: dict[tuple[int, int], Tensor] = {}
    for index, node in enumerate(nodes):
        for tensor in _incoming(net, node):
            found.setdefault((place[tensor.call], index), tensor)
    skips = _skips(set(found))
    entering: dict[int, set[Shape]] = {}
    for (_, target), tensor in found.items():
        entering.setdefault(target, set()).add(net.shapes[tensor])
    edges: list[Edge] = []
    for pair in sorted(found, key=lambda pair: (pair in skips, pair)):
        shape = net.shapes[found[pair]]
        known = entering.setdefault(pair[0], set())
        said = {edge.shape for edge in edges if edge.source == pair[0]}
        new = shape not in known | said
        edges.append(Edge(*pair, shape, new, pair in skips))
    return tuple(sorted(edges))


def _skips(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Find the edges whose ends are also joined by a longer way."""
    after: dict[int, list[int]] = {}
    for source, target in sorted(pairs):
        after.setdefault(source, []).append(target)
    reached = {source: reachable(after, source) for source in after}
    return {
        (source, target)
        for source, target in pairs
        if any(target in reached.get(other, ()) for other in after[source])
    }
