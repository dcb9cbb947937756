"""Blocks read as graphs: a box for each convolution with its norm and activation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from convzoo.calls import Network, Tensor
from convzoo.inspect import lines, operations
from convzoo.inspect.blocks_drawn.parts import Part, owner
from convzoo.inspect.graph import Edge, Graph, Node
from convzoo.inspect.operations import shape_text

Pair = tuple[int, int]


class Panel(NamedTuple):
    """One of the drawings of a figure."""

    title: str
    part: Callable[[], Part]
    whole: str = ""  # prefix of the layers that are drawn as one box, its name


def panels_graph(name: str, panels: Sequence[Panel]) -> Graph:
    """Return one graph of all panels; a node's ``block`` is the title of its panel."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for panel in panels:
        found, joined = _read(panel)
        first = len(nodes)
        edges += [
            edge._replace(source=edge.source + first, target=edge.target + first)
            for edge in joined
        ]
        nodes += found
    return Graph(name, "block", tuple(nodes), tuple(edges))


def is_identity(graph: Graph, edge: Edge) -> bool:
    """Say whether an edge alone is the shortcut that an addition reads."""
    boxes = {
        other.target
        for other in graph.edges
        if other.skip and not _adds(graph.nodes[other.target])
    }
    return edge.skip and not boxes & {edge.source, edge.target}


def _read(panel: Panel) -> tuple[list[Node], list[Edge]]:
    net, calls = panel.part()
    inside = set(calls)
    sources = dict.fromkeys(
        tensor
        for call in calls
        for tensor in net.calls[call].sources
        if tensor.call not in inside
    )
    nodes = [_end(net, tensor, _source(net, tensor), panel) for tensor in sources]
    nodes += _boxes(net, calls, panel)
    made = {call: index for index, node in enumerate(nodes) for call in node.calls}
    home = {tensor: index for index, tensor in enumerate(sources)}
    home |= {t: made[t.call] for t in net.shapes if t.call in made}
    pairs = {
        (home[tensor], index): tensor
        for index, node in enumerate(nodes)
        for call in node.calls
        for tensor in net.calls[call].sources
        if home[tensor] != index
    }
    for tensor, reader in _results(net, calls):
        pairs[home[tensor], len(nodes)] = tensor
        nodes.append(_end(net, tensor, reader, panel))
    return _beside(nodes, _edges(net, nodes, pairs))


def _edges(
    net: Network, nodes: Sequence[Node], pairs: dict[Pair, Tensor]
) -> list[Edge]:
    shortcuts = _shortcuts(nodes, pairs)
    return [
        Edge(
            *pair,
            net.shapes[tensor],
            _is_news(net, nodes, pair, pairs),
            pair in shortcuts,
        )
        for pair, tensor in pairs.items()
    ]


def _beside(
    nodes: Sequence[Node], edges: Sequence[Edge]
) -> tuple[list[Node], list[Edge]]:
    """Move a shortcut's boxes behind the others, so that it stands to the right."""
    after = {edge.source: edge.target for edge in edges if edge.skip}
    entered = {edge.target for edge in edges if edge.skip}

    def place(index: int) -> float:
        end = index
        while end in entered and not _adds(nodes[end]):
            end = after[end]
        return end if end == index else end - 0.5

    order = sorted(range(len(nodes)), key=place)
    to = {old: new for new, old in enumerate(order)}
    moved = [e._replace(source=to[e.source], target=to[e.target]) for e in edges]
    moved.sort(key=lambda edge: (edge.source, edge.skip, edge.target))
    return [nodes[index] for index in order], moved


def _boxes(net: Network, calls: Sequence[str], panel: Panel) -> list[Node]:
    """Return a node for each unit, and one for all layers drawn as a whole."""

    def within(unit: lines.Unit) -> bool:
        return bool(panel.whole) and unit.calls[0].startswith(f"{panel.whole}_")

    boxes: list[Node] = []
    for whole, units in groupby(lines.units_of(net, calls), within):
        if whole:
            all_calls = tuple(call for unit in units for call in unit.calls)
            box = _node(net, all_calls, (panel.whole,), panel)
            boxes.append(box._replace(kind="model"))
        else:
            boxes += [_node(net, u.calls, _lines(net, u), panel) for u in units]
    return boxes


def _lines(net: Network, unit: lines.Unit) -> tuple[str, ...]:
    """Write what leads to an operation, the operation and what follows in a line each.

    What a diagram of blocks tells beyond that of a network follows the operation.
    """
    details = tuple(
        _DETAILS[type(layer).__name__](layer)
        for layer in (net.calls[call].layer for call in unit.calls)
        if type(layer).__name__ in _DETAILS
    )
    ends = (", ".join(unit.before), unit.operation, *details, ", ".join(unit.after))
    return tuple(line for line in ends if line)


def _cropped(layer: Any) -> str:
    pixels = {side for sides in layer.cropping for side in sides}
    return f"{'-'.join(map(str, sorted(pixels)))} pixels a side"


_DETAILS: dict[str, Callable[[Any], str]] = {
    "SeparableConv2D": lambda _: "(depthwise, then 1x1)",
    "Cropping2D": _cropped,
    "PaddedShortcut": lambda _: "with zeros",
}


def _end(net: Network, tensor: Tensor, name: str, panel: Panel) -> Node:
    """Return the node of a tensor that enters or leaves."""
    shape = net.shapes[tensor]
    node = _node(net, (tensor.call,), (name, shape_text(shape)), panel)
    return node._replace(kind="input", shape=shape, calls=())


def _node(
    net: Network, calls: tuple[str, ...], text: tuple[str, ...], panel: Panel
) -> Node:
    kinds = {operations.kind(net.calls[call].layer) for call in calls}
    return Node(
        name=text[0],
        repeats=1,
        kind=operations.main_kind(kinds),
        lines=text,
        gist=text,
        operations=text,
        calls=calls,
        block=panel.title,
        shape=net.output_of(calls[-1]),
        outputs=(),
    )


def _source(net: Network, tensor: Tensor) -> str:
    """Name where a tensor comes from: an argument, or another block of the model."""
    inputs = [
        name
        for name, call in net.calls.items()
        if operations.kind(call.layer) == "input"
    ]
    if tensor.call in inputs:
        return "input" if len(inputs) == 1 else tensor.call
    return owner(tensor.call)


def _results(net: Network, calls: Sequence[str]) -> list[tuple[Tensor, str]]:
    """Return the tensors that leave, and to which block of the model."""
    inside = set(calls)
    results = dict.fromkeys(
        (tensor, f"to {owner(call.name)}")
        for call in net.calls.values()
        if call.name not in inside
        for tensor in call.sources
        if tensor.call in inside
    )
    ends = [(tensor, "output") for tensor in net.outputs if tensor.call in inside]
    return [*results, *ends]


def _is_news(
    net: Network, nodes: Sequence[Node], pair: Pair, pairs: dict[Pair, Tensor]
) -> bool:
    """Say whether a box gives a map of another height or width than it reads.

    What enters and leaves states its shape itself, an addition does not change it.
    """
    stated = [target for source, target in pairs if source == pair[0]] + [pair[0]]
    if any(nodes[index].kind == "input" for index in stated) or _adds(nodes[pair[1]]):
        return False
    read = [tensor for (_, reader), tensor in pairs.items() if reader == pair[0]]
    return all(
        net.shapes[tensor][1:-1] != net.shapes[pairs[pair]][1:-1] for tensor in read
    )


def _adds(node: Node) -> bool:
    return node.kind == "merge" and node.lines[0] == "add"


def _shortcuts(nodes: Sequence[Node], pairs: dict[Pair, Tensor]) -> set[Pair]:
    """Find the shortest of the ways between a fork and the addition that they reach."""
    found: set[Pair] = set()
    for index, node in enumerate(nodes):
        if _adds(node):
            read = [pair for pair in pairs if pair[1] == index]
            for pair in read:
                way = _way(pair, pairs)
                away = _away_from(way[-1][0], pairs)
                # The branch may fork and join again, which its way does not tell.
                longer = [away.get(other[0], -1) >= len(way) for other in read]
                if len(read) > 1 and sum(longer) == len(read) - 1:
                    found |= set(way)
    return found


def _way(pair: Pair, pairs: dict[Pair, Tensor]) -> list[Pair]:
    """Follow an unbranched way back to where it forked."""
    way = [pair]
    while True:
        source = way[-1][0]
        before = [other for other in pairs if other[1] == source]
        after = [other for other in pairs if other[0] == source]
        if len(before) != 1 or len(after) != 1:
            return way
        way.append(before[0])


def _away_from(start: int, pairs: Iterable[Pair]) -> dict[int, int]:
    """Return the boxes that one leads to, each with how many edges it is away."""
    away, front = {start: 0}, {start}
    while front:
        front = {target for source, target in pairs if source in front} - away.keys()
        away |= dict.fromkeys(front, max(away.values()) + 1)
    return away
