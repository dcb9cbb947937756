"""The command ``convzoo plot``: a model, a block or the whole zoo as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convzoo.arguments import one_of
from convzoo.catalog import CATALOG
from convzoo.commands.errors import misuse, reported
from convzoo.commands.models import check_model, structure
from convzoo.commands.options import LEVELS, OneOf, shape_option, variant_option
from convzoo.inspect.blocks_drawn.captions import BLOCKS, NO_GRAPHS
from convzoo.inspect.formats import PICTURES, SUFFIXES, drawing_file
from convzoo.terminal import quiet_keras

if TYPE_CHECKING:
    from convzoo.inspect.graph import Level

Shape = tuple[int, int, int]
KINDS = ("graph", "architecture", "block", "zoo")


@click.command("plot")
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    type=click.Path(readable=False),
    help="File to write; else MODEL.svg, MODEL_architecture.svg or zoo.svg.",
)
@variant_option
@shape_option
@click.option(
    "--kind",
    type=OneOf(KINDS),
    default="graph",
    show_default=True,
    help="The model's graph, the paper's figure of it, a block, or all models.",
)
@click.option(
    "--level", type=OneOf(LEVELS), help="What makes a box of a graph.  [default: block]"
)
def plot_command(
    name: str | None,
    output: str | None,
    variant: str | None,
    input_shape: Shape | None,
    kind: str,
    level: Level | None,
) -> None:
    """Draw a model, a block or the zoo into a file; its suffix gives the format.

    MODEL is a name that convzoo list shows. For --kind block it is the name of a block,
    such as identity_block; --kind zoo takes none.
    """
    _check(kind, name, level, {"--variant": variant, "--input-shape": input_shape})
    if kind not in ("block", "zoo"):
        check_model(str(name), variant)
    is_graph = kind == "graph" or (kind == "block" and name not in NO_GRAPHS)
    with reported():
        file = drawing_file(
            f"{_stem(kind, name)}.svg" if output is None else output,
            SUFFIXES if is_graph else PICTURES,
        )
        hint = _draw(kind, name, variant, input_shape, level, file)
    click.echo(f"Wrote {file}")
    if hint:
        click.echo(hint, err=True)


def _stem(kind: str, name: str | None) -> str:
    """Name a file so that the figures of a model do not overwrite each other."""
    return f"{name}_{kind}" if kind == "architecture" else name or kind


def _check(
    kind: str, name: str | None, level: str | None, of_models: dict[str, Any]
) -> None:
    """Refuse what cannot be meant, before Keras is imported."""
    if kind == "zoo" and name is not None:
        misuse(f"--kind zoo draws all models: leave {name!r} out.")
    if kind == "block" and name is None:
        misuse(f"The name of a block is missing; accepted: {', '.join(BLOCKS)}.")
    if kind != "zoo" and name is None:
        misuse("MODEL is missing: name one that convzoo list shows.")
    if level is not None and kind != "graph":
        misuse(f"--level {level} is for --kind graph: leave it out for {kind}.")
    for option, value in of_models.items():
        if value is not None and kind in ("block", "zoo"):
            misuse(f"{option} is for one model: leave it out for --kind {kind}.")
    if kind == "block":
        with reported():
            one_of("block", name, BLOCKS)
    elif name in BLOCKS and name not in CATALOG:
        misuse(f"{name!r} is a block: add --kind block.")


def _draw(
    kind: str,
    name: str | None,
    variant: str | None,
    input_shape: Shape | None,
    level: Level | None,
    file: Path,
) -> str | None:
    """Draw into a file and return what to tell of it, if anything."""
    if name is None:
        from convzoo.inspect.zoo import plot_zoo  # noqa: PLC0415

        plot_zoo(file)
        return None
    with quiet_keras(f"Drawing {name}"):
        if kind == "block":
            from convzoo.inspect.block import plot_block  # noqa: PLC0415

            return getattr(plot_block(name, file), "hint", None)
        model = structure(name, variant, input_shape)
        if kind == "architecture":
            from convzoo.inspect.architecture.plot import (  # noqa: PLC0415
                plot_architecture,
            )

            plot_architecture(model, file)
            return None
        from convzoo.inspect.plot import plot_model  # noqa: PLC0415

        return plot_model(model, file, level=level or "block").hint
