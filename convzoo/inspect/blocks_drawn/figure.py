"""A block diagram that shows itself in Jupyter and saves itself to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from convzoo.calls import Shape
from convzoo.inspect.blocks_drawn import panels_drawn
from convzoo.inspect.blocks_drawn.captions import BLOCKS
from convzoo.inspect.blocks_drawn.dot import dot_text
from convzoo.inspect.blocks_drawn.panels import PANELS, rankdir
from convzoo.inspect.blocks_drawn.parts import called, calling
from convzoo.inspect.blocks_drawn.reading import Panel, panels_graph
from convzoo.inspect.plot import Figure


@dataclass(frozen=True, kw_only=True, repr=False)
class BlockFigure(Figure):
    """One or more blocks side by side under a caption; see `Figure`."""

    caption: str

    def _drawn(self, kind: str) -> bytes:
        return panels_drawn.draw(
            self.graph,
            self.caption,
            self.rankdir,
            show_shapes=self.show_shapes,
            dpi=self.dpi,
        ).render(kind)

    def _dot(self, dpi: int | None) -> str:
        return dot_text(
            self.graph,
            self.caption,
            self.rankdir,
            show_shapes=self.show_shapes,
            dpi=dpi,
        )


def of_name(name: str, *, show_shapes: bool, dpi: int) -> BlockFigure:
    """Return the diagram that `PANELS` describes."""
    return BlockFigure(
        graph=panels_graph(name, PANELS[name]),
        caption=BLOCKS[name],
        rankdir=rankdir(name),
        show_shapes=show_shapes,
        show_layer_names=False,
        dpi=dpi,
    )


def of_function(
    function: Callable[..., Any],
    shapes: Sequence[Shape],
    arguments: Mapping[str, Any],
    *,
    show_shapes: bool,
    dpi: int,
) -> BlockFigure:
    """Return the diagram of a block function, called on inputs of these shapes."""
    name = called(function)
    panel = Panel("", partial(calling, function, *shapes, **arguments))
    return BlockFigure(
        graph=panels_graph(name, [panel]),
        caption=name,
        rankdir="TB",
        show_shapes=show_shapes,
        show_layer_names=False,
        dpi=dpi,
    )
