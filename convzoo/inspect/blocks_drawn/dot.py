"""Block diagrams as text in the DOT language."""

from __future__ import annotations

import html
import math
import textwrap
from itertools import groupby, pairwise

import graphviz

from convzoo.inspect import looks
from convzoo.inspect.blocks_drawn.reading import is_identity
from convzoo.inspect.graph import Edge, Graph, Node
from convzoo.inspect.operations import KINDS, shape_text

CAPTION_SIZE = 14  # of the title, in points
_COLUMNS = 68  # of the text under the title
_WORD = {
    "shape": "plain",
    "style": "",
    "fontsize": str(looks.LABEL_SIZE),
    "fontcolor": looks.LABEL,
}


def caption_lines(caption: str) -> tuple[str, list[str]]:
    """Split "title: source; remark" into the title and the lines under it."""
    title, _, rest = caption.partition(": ")
    return title, [line for text in rest.split("; ") for line in _wrapped(text)]


def _wrapped(text: str) -> list[str]:
    """Break a text into as few lines as fit, about equally long."""
    lines = math.ceil(len(text) / _COLUMNS)
    return textwrap.wrap(text, len(text) // lines + 6) if lines > 1 else [text][:lines]


def edge_text(graph: Graph, edge: Edge, show_shapes: bool) -> str:
    """Return what stands beside an edge: a new shape, or that it is the identity."""
    if is_identity(graph, edge):
        return "identity"
    return shape_text(edge.shape) if edge.label and show_shapes else ""


def is_dotted(graph: Graph, edge: Edge) -> bool:
    """Say whether an edge belongs to a shortcut that changes the shape."""
    return edge.skip and not is_identity(graph, edge)


def dot_text(
    graph: Graph, caption: str, rankdir: str, *, show_shapes: bool, dpi: int | None
) -> str:
    """Return the panels of a diagram side by side, the same bytes for the same blocks.

    Args:
        graph: The nodes of all panels.
        caption: "title: source; remark".
        rankdir: Direction of the data: "TB" or "BT".
        show_shapes: Whether edges say where height and width change.
        dpi: Pixels per inch of a raster image; None leaves it to Graphviz.
    """
    dot = graphviz.Digraph(
        name=graph.name,
        graph_attr={
            **looks.GRAPH,
            "rankdir": rankdir,
            "ordering": "out",
            "nodesep": "0.25",
            "ranksep": "0.3",
            "label": _caption(caption),
            **({"dpi": str(dpi)} if dpi else {}),
        },
        node_attr=looks.NODE,
        edge_attr=looks.EDGE,
    )
    numbered = enumerate(graph.nodes)
    for number, (title, row) in enumerate(groupby(numbered, lambda it: it[1].block)):
        panel = graphviz.Digraph(name=f"cluster_{number}")
        if title:
            panel.attr(label=title, style="rounded", color=looks.FRAME, margin="12")
            panel.attr(labelloc="b" if rankdir == "BT" else "t")
        else:
            panel.attr(label="", style="invis", margin="0")
        _fill(panel, graph, [index for index, _ in row], show_shapes=show_shapes)
        dot.subgraph(panel)
    return str(dot.source)


def _fill(
    panel: graphviz.Digraph, graph: Graph, members: list[int], *, show_shapes: bool
) -> None:
    """Add the nodes and the edges of one panel."""
    lines, middles = spines(graph), _middles(graph)
    _order_inputs(panel, graph, members)
    for index in members:
        node = graph.nodes[index]
        look = {"fillcolor": KINDS[node.kind], "group": f"g{lines[index]}"}
        panel.node(f"n{index}", _label(node), **look)
    for edge in graph.edges:
        if edge.source not in members:
            continue
        if edge in middles:
            unseen = f"n{edge.source}", f"n{middles[edge]}"
            panel.edge(*unseen, style="invis", weight="100")
        straight = lines[edge.source] == lines[edge.target]
        look = _edge(graph, edge, show_shapes, straight)
        if is_identity(graph, edge):
            # As a label it would not count for the panel's frame.
            word = f"identity{edge.target}"
            panel.node(word, label=look.pop("label").strip(), **_WORD)
            panel.edge(f"n{edge.source}", word, arrowhead="none", **look)
            panel.edge(word, f"n{edge.target}", **look)
        else:
            panel.edge(f"n{edge.source}", f"n{edge.target}", **look)


def _order_inputs(panel: graphviz.Digraph, graph: Graph, members: list[int]) -> None:
    """Let inputs stand side by side in the order of the arguments."""
    read = {edge.target for edge in graph.edges}
    inputs = [f"n{index}" for index in members if index not in read]
    with panel.subgraph() as row:
        row.attr(rank="same")
        for ends in pairwise(inputs):
            row.edge(*ends, style="invis")


def spines(graph: Graph) -> list[int]:
    """Return the vertical line that each node stands on, by its first node.

    A way goes straight on through a fork or a join that has a middle; a shortcut stands
    beside.
    """
    lines: list[int] = []
    for index in range(len(graph.nodes)):
        read = _middle(
            [e.source for e in graph.edges if e.target == index and not e.skip]
        )
        goes = -1 if read is None else _onward(graph, read)
        lines.append(lines[read] if read is not None and goes == index else index)
    for edge, join in _middles(graph).items():
        onto, fork = lines[join], lines[edge.source]
        lines = [fork if line == onto else line for line in lines]
    return lines


def _middle(ends: list[int]) -> int | None:
    return ends[len(ends) // 2] if len(ends) % 2 else None


def _onward(graph: Graph, index: int) -> int | None:
    return _middle([e.target for e in graph.edges if e.source == index and not e.skip])


def _middles(graph: Graph) -> dict[Edge, int]:
    """Find the joins that stand straight over a fork into an even number of ways.

    Returns:
        The edge of the first way right of the middle, and the join.
    """
    found: dict[Edge, int] = {}
    for fork, node in enumerate(graph.nodes):
        ways = [e for e in graph.edges if e.source == fork and not e.skip]
        joins = [
            index
            for index, other in enumerate(graph.nodes)
            if other.block == node.block
            and other.kind == "merge"
            and sum(e.target == index and not e.skip for e in graph.edges) % 2 == 0
        ]
        if node.kind == "input" and len(ways) > 1 and len(ways) % 2 == 0 and joins:
            found[ways[len(ways) // 2]] = joins[-1]
    return found


def _edge(
    graph: Graph, edge: Edge, show_shapes: bool, straight: bool
) -> dict[str, str]:
    style = {"color": looks.SKIP} if edge.skip else {}
    if is_dotted(graph, edge):
        style |= {"style": "dotted", "penwidth": "1.6"}
    if edge.skip or straight:
        style["weight"] = "0" if edge.skip else "100"
    elif graph.nodes[edge.target].kind != "merge":
        style["weight"] = "2"
    text = edge_text(graph, edge, show_shapes)
    return style | ({"label": f" {text}"} if text else {})


def _label(node: Node) -> str:
    rows = "".join(f"<TR><TD>{html.escape(line)}</TD></TR>" for line in node.lines)
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{rows}</TABLE>>'


def _caption(caption: str) -> str:
    title, lines = caption_lines(caption)
    rows = [f'<FONT POINT-SIZE="{CAPTION_SIZE}"><B>{html.escape(title)}</B></FONT>']
    rows += [html.escape(line) for line in lines]
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    gap = '<TR><TD HEIGHT="6"></TD></TR>'
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}{gap}</TABLE>>'
