"""`plot_model`: a model as a diagram of its blocks."""

from __future__ import annotations

import functools
import logging
import math
import os
import re
import zlib
from dataclasses import dataclass, field
from typing import Literal

import keras

from convzoo.arguments import one_of, whole_number
from convzoo.inspect import matplotlib_graph, rendering
from convzoo.inspect.dot import dot_text
from convzoo.inspect.formats import SUFFIXES, drawing_file, write
from convzoo.inspect.graph import LEVELS, Graph, Level, model_graph
from convzoo.inspect.picture import MOST_AREA, shown

Rankdir = Literal["TB", "BT", "LR", "RL"]

RANKDIRS = ("TB", "BT", "LR", "RL")
_PAGE = 96  # pixels per inch that the widest network bears
_HINT = (
    "Drawn by matplotlib: install Graphviz, or pip install pygraphviz, for a finer "
    "layout."
)


@dataclass(frozen=True)
class Figure:
    """A diagram that shows itself in Jupyter and saves itself to a file.

    It is rendered by the ``dot`` command if that is on the path, else by pygraphviz if
    that is installed (``pip install pygraphviz`` needs no system package), else by
    matplotlib, which draws the same graph in a plainer layout; `hint` then says so, as
    does the log the first time. What fails is passed over.
    """

    graph: Graph
    show_shapes: bool
    show_layer_names: bool
    rankdir: str
    dpi: int
    # Kinds of files that matplotlib had to draw.
    _plain: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def dot(self) -> str:
        """The diagram in the DOT language; the same model gives the same text."""
        return self._dot(None)

    @property
    def hint(self) -> str | None:
        """One line on how to get a finer layout, None if there is nothing to gain.

        Once matplotlib has drawn the figure it is told, whatever is installed.
        """
        finer = not self._plain and rendering.installed()
        return None if finer else _HINT

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the diagram to a file, whole or not at all.

        Args:
            path: A file name that ends in .svg, .png, .pdf or .dot.

        Raises:
            ValueError: If the suffix is another one.
            OSError: If the file cannot be written.
        """
        file = drawing_file(path)
        write(file, self.render(file.suffix.lower()[1:]))

    def render(self, kind: str) -> bytes:
        """Return the diagram as the content of an svg, png, pdf or dot file.

        Raises:
            ValueError: If ``kind`` is another word.
        """
        one_of("kind", kind, [suffix[1:] for suffix in SUFFIXES])
        if kind == "dot":
            return self.dot.encode()
        # Only of raster images: Graphviz scales an SVG by it twice.
        text = self._dot(self._resolution() if kind == "png" else None)
        content = rendering.render(text, kind)
        if content:
            return content
        self._plain.add(kind)
        _tell_hint()
        return self._drawn(kind)

    def _resolution(self) -> int:
        """Return the pixels per inch, fewer where a png would fill the memory."""
        if self.dpi <= _PAGE:
            return self.dpi
        svg = rendering.render(self._dot(None), "svg") or b""
        size = re.search(rb'<svg width="(\d+)pt" height="(\d+)pt"', svg)
        if not size:
            return self.dpi
        inches = math.prod((int(side) + 1) / 72 for side in size.groups())
        return min(self.dpi, int((MOST_AREA / inches) ** 0.5))

    def _drawn(self, kind: str) -> bytes:
        """Render without Graphviz."""
        return matplotlib_graph.draw(
            self.graph,
            show_shapes=self.show_shapes,
            show_layer_names=self.show_layer_names,
            rankdir=self.rankdir,
            dpi=self.dpi,
        ).render(kind)

    def _dot(self, dpi: int | None) -> str:
        return dot_text(
            self.graph,
            show_shapes=self.show_shapes,
            show_layer_names=self.show_layer_names,
            rankdir=self.rankdir,
            dpi=dpi,
        )

    def __repr__(self) -> str:
        """Return one line; all the boxes would flood a Python prompt."""
        boxes = len(self.graph.nodes)
        return f"<Figure {self.graph.name!r}: {boxes} box{'es' * (boxes != 1)}>"

    def _repr_png_(self) -> bytes:
        """Return the diagram for a page that does not trust an SVG."""
        return self.render("png")

    def _repr_svg_(self) -> str:
        """Return the diagram as a part of a page, which may show several of them."""
        svg = shown(self.render("svg").decode())
        mark = f"convzoo{zlib.crc32(svg.encode()):08x}-"
        inside = svg[svg.index("<svg") :]
        return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{mark}", inside)


def plot_model(
    model: keras.Model,
    to_file: str | os.PathLike[str] | None = None,
    *,
    level: Level = "block",
    show_shapes: bool = True,
    show_layer_names: bool = True,
    collapse: bool = True,
    rankdir: Rankdir = "TB",
    dpi: int = 96,
) -> Figure:
    """Draw a model as the papers do: a box for every block, equal ones drawn once.

    A box holds the operations of its block, with batch norm and activation on the line
    of their convolution; ``x5`` stands for five equal blocks in a row. Shapes stand on
    the edges where they change, in the model's own order (height x width x channels, or
    channels x height x width if it is "channels_first"), ``?`` for a side that is not
    fixed. Colours tell the kinds of operations; what skips blocks is dashed, what leads
    to a side head dotted. Needs neither weights nor Graphviz (see `Figure`), which
    `keras.utils.plot_model` does.

    Args:
        model: Any functional or built Sequential model. Names that follow the zoo's
            rule give the stages and blocks (see `convzoo.anatomy`); where names say
            nothing, all between a fork and its join is a block (see
            `convzoo.inspect.partition`).
        to_file: File to write, ending in .svg, .png, .pdf or .dot; None writes none.
        level: "stage" (coarsest), "block", or "layer": each layer in its block's frame.
        show_shapes: Whether edges say where the shape changes.
        show_layer_names: Whether boxes have names.
        collapse: Whether equal blocks in a row are drawn once, at any level.
        rankdir: Direction of the data: "TB" (downwards), "BT", "LR" or "RL".
        dpi: Pixels per inch of a .png, at least 1; fewer if it would have more than
            32,767 on a side or 89 million in all.

    Returns:
        The figure: shows itself in Jupyter; ``.dot`` is its text, ``.save(path)``
        writes it, ``.hint`` says how to get a finer layout where Graphviz is missing.

    Raises:
        TypeError: If ``model`` has no graph of layers.
        ValueError: If ``level``, ``rankdir``, ``dpi`` or the suffix of ``to_file`` is
            none of the above.
        OSError: If ``to_file`` cannot be written.

    Example:
        >>> plot_model(resnet50(), "resnet50.svg")  # doctest: +SKIP
    """
    one_of("level", level, LEVELS)
    one_of("rankdir", rankdir, RANKDIRS)
    whole_number("dpi", dpi)
    if to_file is not None:
        drawing_file(to_file)
    graph = model_graph(model, level, collapse=collapse)
    figure = Figure(graph, show_shapes, show_layer_names, rankdir, dpi)
    if to_file is not None:
        figure.save(to_file)
    return figure


@functools.cache
def _tell_hint() -> None:
    """Say on the standard error, unless logging is set up otherwise, and only once."""
    logging.getLogger("convzoo").warning(_HINT)
