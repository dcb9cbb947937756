"""A model's graph as text in the DOT language."""

from __future__ import annotations

import html
from itertools import groupby

import graphviz

from convzoo.calls import Shape
from convzoo.inspect.graph import Edge, Graph, Node
from convzoo.inspect.operations import KINDS, shape_text

FONT = "Helvetica"
TITLE_SIZE, TEXT_SIZE, LABEL_SIZE = 12, 11, 10  # points
BORDER, SKIP, LABEL = "#5f6b76", "#8a5a00", "#37474f"


def title_of(node: Node) -> str:
    """Return a box's first line."""
    return node.name if node.repeats == 1 else f"{node.name}  x{node.repeats}"


def lines_of(node: Node, *, show_shapes: bool, show_layer_names: bool) -> list[str]:
    """Return the lines of a box below its title."""
    lines = list(node.lines)
    if not show_layer_names and node.repeats > 1:
        lines.append(f"(x{node.repeats})")
    if node.output and show_shapes:
        lines.append(f"output {shape_text(node.shape)}")
    return lines


def legend_of(graph: Graph) -> list[str]:
    """Return the kinds of operations that a graph has, in the order of the data."""
    return list(dict.fromkeys(node.kind for node in graph.nodes))


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
    tight = graph.level == "layer"
    dot = graphviz.Digraph(
        name=graph.name,
        graph_attr={
            "rankdir": rankdir,
            "fontname": FONT,
            "fontsize": str(TEXT_SIZE),
            "nodesep": "0.3",
            "ranksep": "0.16" if tight else "0.24",
            "pad": "0.15",
            "label": _legend(graph),
            "labelloc": "t",
            **({"dpi": str(dpi)} if dpi else {}),
        },
        node_attr={
            "shape": "box",
            "style": "rounded,filled",
            "fontname": FONT,
            "fontsize": str(TEXT_SIZE),
            "color": BORDER,
            "margin": "0.1,0.03",
            "height": "0.25",
        },
        edge_attr={
            "fontname": FONT,
            "fontsize": str(LABEL_SIZE),
            "fontcolor": LABEL,
            "color": BORDER,
            "arrowsize": "0.7",
        },
    )
    numbered = list(enumerate(graph.nodes))
    for number, (block, row) in enumerate(
        groupby(numbered, lambda item: item[1].block)
    ):
        members = list(row)
        clustered = tight and len(members) > 1
        box = graphviz.Digraph(name=f"cluster_{number}") if clustered else dot
        if clustered:
            box.attr(label=_escape(block), color="#b0bec5", style="rounded")
            box.attr(labeljust="l")
        for index, node in members:
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


def _edge(edge: Edge, show_shapes: bool) -> dict[str, str]:
    style = {"style": "dashed", "color": SKIP} if edge.skip else {}
    return style | (_edge_label(edge.shape) if show_shapes and edge.label else {})


def _edge_label(shape: Shape) -> dict[str, str]:
    return {"label": f" {shape_text(shape)}"}


def _label(title: str, lines: list[str]) -> str:
    rows = [f'<FONT POINT-SIZE="{TITLE_SIZE}"><B>{_text(title)}</B></FONT>']
    rows = [*(rows if title else []), *map(_text, lines)]
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>>'


def _legend(graph: Graph) -> str:
    cells = [
        f'<TD BGCOLOR="{KINDS[kind]}" BORDER="1" WIDTH="18"></TD>'
        f'<TD ALIGN="LEFT">{kind}</TD>'
        for kind in legend_of(graph)
    ]
    if any(edge.skip for edge in graph.edges):
        cells.append(
            f'<TD><FONT COLOR="{SKIP}">- - -</FONT></TD>'
            '<TD ALIGN="LEFT">skip connection</TD>'
        )
    half = (len(cells) + 1) // 2
    rows = "".join(f"<TR>{''.join(cells[row::half])}</TR>" for row in range(half))
    return f'<<TABLE BORDER="0" COLOR="{BORDER}">{rows}</TABLE>>'


def _text(text: str) -> str:
    return html.escape(text, quote=False)


def _escape(text: str) -> str:
    return str(graphviz.escape(text))
