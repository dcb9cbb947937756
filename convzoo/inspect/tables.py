"""`summary`: a model as a table of its blocks."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from convzoo import terminal
from convzoo.arguments import one_of
from convzoo.calls import Shape, network
from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights
from convzoo.inspect.cost import call_macs, call_parameters, total
from convzoo.inspect.graph import LEVELS, Level, Node, network_graph
from convzoo.inspect.operations import shape_text
from convzoo.inspect.receptive import Field, Size, call_fields
from convzoo.terminal import Column, fitted, table_of

# Title of each column, whether it holds numbers.
_COLUMNS = (
    ("name", False),
    ("operations", False),
    ("output", False),
    ("parameters", True),
    ("share", True),
    ("trainable", True),
    ("MACs", True),
    ("share", True),
    ("receptive\nfield", True),
    ("stride", True),
)
# What a narrow terminal goes without, the least important first.
_SPARE = ("share", "stride", "trainable", "receptive\nfield", "operations")


class Row(NamedTuple):
    """A stage, a block or a layer, or several equal blocks in a row."""

    name: str  # "conv4_block2", of a row "conv4_block2..6"
    repeats: int
    kind: str  # of its main operation
    operations: tuple[str, ...]  # of one of the row, in short
    output_shape: Shape  # with the batch axis
    parameters: int  # of the whole row, as the numbers below
    trainable: int
    macs: int | None  # None where a side of a map is unknown
    parameters_share: float  # of the whole model's, in [0, 1], as the next
    macs_share: float | None
    receptive_field: Size  # of the output, see `convzoo.inspect.receptive`
    stride: int  # input pixels per step of the output


class Totals(NamedTuple):
    """What the whole model has."""

    parameters: int
    trainable: int
    macs: int | None


class Summary(NamedTuple):
    """A model's table: text, rich table and HTML of the same rows.

    ``str(summary)`` is plain text, `print` writes a table to the terminal, and Jupyter
    shows HTML.
    """

    model: str
    level: str
    rows: tuple[Row, ...]
    totals: Totals

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain data, fit for JSON."""
        return {
            "model": self.model,
            "level": self.level,
            "rows": [
                row._asdict()
                | {"operations": list(row.operations)}
                | {"output_shape": list(row.output_shape)}
                | {"receptive_field": _listed(row.receptive_field)}
                for row in self.rows
            ],
            "totals": self.totals._asdict(),
        }

    def print(self, console: Console | None = None) -> None:
        """Write the table to the standard output, or to a rich ``console``.

        Numbers are never cut: a narrow terminal goes without the shares, then without
        strides, trainable parameters but for their total, fields and operations.
        """
        (console or terminal.console()).print(self, crop=False)

    def __str__(self) -> str:
        """Return the table as plain text."""
        titles = [" ".join(title.split()) for title, _ in _COLUMNS]
        table = [titles, *map(_cells, self.rows), self._total_cells()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, (_, number) in zip(row, widths, _COLUMNS, strict=True)
            ).rstrip()
            for row in table
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([self.model, lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        """Return the table as plain text, so that a Python prompt shows it."""
        return str(self)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Table | Text]:
        """Give rich the table; where the screen is narrow, columns are left out."""
        width = options.max_width
        cells = zip(*map(_cells, self.rows), strict=True)
        columns = [
            Column(title, each, foot, number, 16 if title == "operations" else None)
            for (title, number), each, foot in zip(
                _COLUMNS, cells, self._total_cells(), strict=True
            )
        ]
        kept = fitted(columns, width, spare=_SPARE)
        yield table_of(kept, width, title=self.model)
        if "trainable" not in [column.title for column in kept]:
            yield Text(f" trainable: {self.totals.trainable:,}")

    def _repr_html_(self) -> str:
        def line(cells: list[str], tag: str) -> str:
            return "".join(
                f'<{tag} style="text-align:{"right" if number else "left"};'
                f'{"" if title == "operations" else "white-space:nowrap"}">'
                f"{html.escape(cell)}</{tag}>"
                for cell, (title, number) in zip(cells, _COLUMNS, strict=True)
            )

        head = line([title for title, _ in _COLUMNS], "th")
        body = "".join(f"<tr>{line(_cells(row), 'td')}</tr>" for row in self.rows)
        foot = line(self._total_cells(), "th")
        return (
            f"<table><caption>{html.escape(self.model)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
            f"<tfoot><tr>{foot}</tr></tfoot></table>"
        )

    def _total_cells(self) -> list[str]:
        every, trainable, macs = self.totals
        numbers = [f"{every:,}", "", f"{trainable:,}", _macs(macs)]
        return ["total", "", "", *numbers, "", "", ""]


def summary(model: keras.Model | str, *, level: Level = "block") -> Summary:
    """Tabulate a model: operations, output shapes, parameters, MACs, receptive fields.

    Equal blocks in a row share a line, ``conv4_block2..6 x5``, with their sums and the
    output, receptive field and stride of the last.

    Args:
        model: A functional or a built Sequential model, or the name of a builder, which
            is then built without weights: no time, no memory.
        level: "stage", "block" or "layer".

    Returns:
        The table; its ``rows`` and ``totals`` are plain tuples. MACs are multiply-
        accumulates of convolutions and dense layers for one example (see
        `convzoo.inspect.cost`), None, written ``-``, where a side is not fixed. A
        receptive field is (height, width) in pixels and may exceed the image, "all"
        behind a global pooling, or None, written ``?``, behind a layer whose windows
        are unknown (see `convzoo.inspect.receptive`).

    Raises:
        ValueError: If ``level`` is none of the above, or no builder has the name.
        TypeError: If ``model`` has no graph of layers.

    Example:
        >>> summary("vgg16").totals
        Totals(parameters=138357544, trainable=138357544, macs=15470264320)
    """
    one_of("level", level, LEVELS)
    if isinstance(model, str):
        model = _built(model)
    net = network(model)
    costs, fields = call_macs(net), call_fields(net)
    sizes = call_parameters(net)
    totals = Totals(
        sum(every for every, _ in sizes.values()),
        sum(trainable for _, trainable in sizes.values()),
        total(costs.values()),
    )
    graph = network_graph(net, model.name, level)
    rows = tuple(_row(node, sizes, costs, fields, totals) for node in graph.nodes)
    return Summary(model.name, level, rows, totals)


def _built(name: str) -> keras.Model:
    one_of("model", name, CATALOG)
    with without_weights():
        return CATALOG[name].load()()


def _row(
    node: Node,
    sizes: dict[str, tuple[int, int]],
    costs: dict[str, int | None],
    fields: dict[str, Field],
    totals: Totals,
) -> Row:
    owned = [sizes[call] for call in node.calls]
    every, macs = sum(size for size, _ in owned), total(map(costs.get, node.calls))
    field = fields[node.calls[-1]]
    return Row(
        name=node.name,
        repeats=node.repeats,
        kind=node.kind,
        operations=node.gist,
        output_shape=node.shape,
        parameters=every,
        trainable=sum(trainable for _, trainable in owned),
        macs=macs,
        parameters_share=every / max(1, totals.parameters),
        macs_share=_share(macs, totals.macs),
        receptive_field=field.size,
        stride=field.stride,
    )


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or whole is None else part / max(1, whole)


def _cells(row: Row) -> list[str]:
    return [
        row.name if row.repeats == 1 else f"{row.name} x{row.repeats}",
        "; ".join(row.operations),
        shape_text(row.output_shape),
        f"{row.parameters:,}",
        _percent(row.parameters_share),
        f"{row.trainable:,}",
        _macs(row.macs),
        _percent(row.macs_share),
        _size(row.receptive_field),
        str(row.stride),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _size(field: Size) -> str:
    """Write a receptive field: ``43``, where its sides differ ``43 x 7``."""
    if not isinstance(field, tuple):
        return field or "?"
    sides = list(map(str, field))
    return " x ".join(sides[:1] if len(set(sides)) == 1 else sides) or "-"


def _macs(macs: int | None) -> str:
    return "-" if macs is None else f"{macs:,}"


def _listed(field: Size) -> list[int] | str | None:
    return list(field) if isinstance(field, tuple) else field
