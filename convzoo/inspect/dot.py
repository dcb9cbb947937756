"""A model's graph as text in the DOT language."""

from __future__ import annotations

import html
from itertools import groupby

import graphviz

from convzoo.calls import Shape
from convzoo.inspect import looks
from convzoo.inspect.graph import (
    ADDED,
    COPIED,
    CROPPED,
    SIDE_HEAD,
    Edge,
    Graph,
    Node,
)
from convzoo.inspect.operations import KINDS, shape_text

_FRAME = 20  # points between a frame and its layers
_WIDTH = 122  # points, the least of a layer in one
_CHARACTER = 0.6  # breadth of one on average, in font sizes
# Style and colour of the edges that a legend explains.
LINKS = {
    "": ("solid", looks.BORDER),
    ADDED: ("dashed", looks.SKIP),
    COPIED: ("dashed", looks.SKIP),
    CROPPED: ("dashed", looks.SKIP),
    SIDE_HEAD: ("dotted", looks.SIDE_HEAD),
}


def title_of(node: Node) -> str:
    """Return a box's first line."""
    name = _one_line(node.name)
    return name if node.repeats == 1 else f"{name}  x{node.repeats}"


def lines_of(node: Node, *, show_shapes: bool, show_layer_names: bool) -> list[str]:
    """Return the lines of a box below its title."""
    lines = list(node.lines)
    if not show_layer_names and node.repeats > 1:
        lines.append(f"(x{node.repeats})")
    if show_shapes:
        for shape, same in groupby(node.outputs):
            count = len(list(same))
            times = f"  x{count}" if count > 1 else ""
            lines.append(f"output {shape_text(shape)}{times}")
    return lines


def kinds_of(graph: Graph) -> list[str]:
    """Return the kinds of operations that a graph has, in the order of the data."""
    return list(dict.fromkeys(node.kind for node in graph.nodes))


def links_of(graph: Graph) -> list[str]:
    """Return the kinds of edges that a legend explains, in the order of `LINKS`."""
    found = {edge.link for edge in graph.edges}
    return [link for link in LINKS if link and link in found]


def clusters_of(graph: Graph) -> list[tuple[str, list[int]]]:
    """Return the nodes that stand in one frame, by index: the layers of a block."""
    if graph.level != "layer":
        return [(node.name, [index]) for index, node in enumerate(graph.nodes)]
    numbered = groupby(enumerate(graph.nodes), lambda item: item[1].home)
    found = [[index for index, _ in members] for _, members in numbered]
    return [(_one_line(graph.nodes[row[0]].block), row) for row in found]


def _one_line(name: str) -> str:
    """Return a name without what no font has a letter for."""
    return "".join(letter if letter.isprintable() else " " for letter in name)


def dot_text(
    graph: Graph,
    *,
    show_shapes: bool,
    show_layer_names: bool,
    rankdir: str,
    dpi: int | None = None,
) -> str:
    """Return a graph in the DOT language, the same bytes for the same model.

    Args:
        graph: What to draw.
        show_shapes: Whether edges say where the shape of the map changes.
        show_layer_names: Whether boxes have their names as titles.
        rankdir: Direction of the data: "TB", "BT", "LR" or "RL".
        dpi: Pixels per inch of a raster image; None leaves it to Graphviz.
    """
    dot = _digraph(graph, rankdir, dpi)
    for number, (block, members) in enumerate(clusters_of(graph)):
        clustered = len(members) > 1
        box = graphviz.Digraph(name=f"cluster_{number}") if clustered else dot
        if clustered:
            box.attr(label=_escape(block), labeljust="l", color=looks.FRAME)
            box.attr(
                style="rounded,filled", fillcolor=looks.FRAME_FILL, margin=str(_FRAME)
            )
            _make_room(box, block, graph, members[0])
        for index in members:
            node = graph.nodes[index]
            lines = lines_of(
                node, show_shapes=show_shapes, show_layer_names=show_layer_names
            )
            title = title_of(node) if show_layer_names else ""
            box.node(f"n{index}", _label(title, lines), fillcolor=KINDS[node.kind])
        if clustered:
            dot.subgraph(box)
    for edge in graph.edges:
        dot.edge(f"n{edge.source}", f"n{edge.target}", **_edge(edge, show_shapes))
    return str(dot.source)


def _digraph(graph: Graph, rankdir: str, dpi: int | None) -> graphviz.Digraph:
    """Return the style of a diagram, with its legend and nothing else."""
    tight = graph.level == "layer"
    return graphviz.Digraph(
        name=_escape(graph.name),
        graph_attr={
            **looks.GRAPH,
            "rankdir": rankdir,
            "nodesep": "0.3",
            "ranksep": "0.16" if tight else "0.24",
            "label": _legend(graph),
            **({"dpi": str(dpi)} if dpi else {}),
        },
        # Inside a frame also a shape beside an edge has room.
        node_attr={**looks.NODE, "width": f"{_WIDTH / 72:.1f}" if tight else "0.75"},
        edge_attr=looks.EDGE,
    )


def _edge(edge: Edge, show_shapes: bool) -> dict[str, str]:
    style, colour = LINKS[edge.link]
    # The data's usual way is kept straight.
    drawn = {"style": style, "color": colour} if edge.link else {"weight": "8"}
    return drawn | (_edge_label(edge.shape) if show_shapes and edge.label else {})


def _edge_label(shape: Shape) -> dict[str, str]:
    return {"label": f" {shape_text(shape)}"}


def _label(title: str, lines: list[str]) -> str:
    rows = [f'<FONT POINT-SIZE="{looks.TITLE_SIZE}"><B>{_text(title)}</B></FONT>']
    rows = [*(rows if title else []), *map(_text, lines)]
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>>'


def _legend(graph: Graph) -> str:
    cells = [
        f'<TD BGCOLOR="{KINDS[kind]}" BORDER="1" WIDTH="18"></TD>'
        f'<TD ALIGN="LEFT">{kind}</TD>'
        for kind in kinds_of(graph)
    ]
    for link in links_of(graph):
        style, colour = LINKS[link]
        line = "- - -" if style == "dashed" else ". . . ."
        cells.append(
            f'<TD><FONT COLOR="{colour}">{line}</FONT></TD><TD ALIGN="LEFT">{link}</TD>'
        )
    half = (len(cells) + 1) // 2
    rows = "".join(f"<TR>{''.join(cells[row::half])}</TR>" for row in range(half))
    return f'<<TABLE BORDER="0" COLOR="{looks.BORDER}">{rows}</TABLE>>'


def _text(text: str) -> str:
    """Write a text for a label, in which Graphviz expands what follows a backslash."""
    return html.escape(text, quote=False).replace("\\", "\\\\")


def _make_room(box: graphviz.Digraph, title: str, graph: Graph, first: int) -> None:
    """Widen a frame to the left, so that no edge to its first layer crosses its title.

    Where other layers stand beside the first, the frame is wide enough.
    """
    heads = [
        edge.target
        for edge in graph.edges
        if graph.nodes[edge.target].home == graph.nodes[first].home
        and graph.nodes[edge.source].home != graph.nodes[first].home
        and not edge.skip
    ]
    half = max(_WIDTH, _CHARACTER * looks.TITLE_SIZE * len(graph.nodes[first].name)) / 2
    missing = _CHARACTER * looks.TEXT_SIZE * len(title) + 10 - half - _FRAME
    if heads == [first] and missing > 0:
        with box.subgraph() as row:
            row.attr(rank="same")
            width = f"{missing / 72:.2f}"
            row.node(f"space{first}", label="", style="invis", width=width)
            row.node(f"n{first}")
        box.edge(f"space{first}", f"n{first}", style="invis")


def _escape(text: str) -> str:
    escaped: str = graphviz.escape(text)  # a kind of str that is never taken for HTML
    return escaped
