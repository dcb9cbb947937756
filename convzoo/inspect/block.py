"""`plot_block`: the building blocks of the networks, as their papers draw them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convzoo.arguments import as_int, one_of, require, whole_number
from convzoo.inspect.blocks_drawn.captions import BLOCKS, NO_GRAPHS
from convzoo.inspect.formats import PICTURES, SUFFIXES, drawing_file

if TYPE_CHECKING:
    from convzoo.inspect.blocks_drawn.figure import BlockFigure
    from convzoo.inspect.picture import Picture

__all__ = ["BLOCKS", "block_names", "plot_block"]


def block_names() -> list[str]:
    """Return the names that `plot_block` knows; ``BLOCKS`` holds their captions."""
    return list(BLOCKS)


def plot_block(
    block: str | Callable[..., Any],
    to_file: str | os.PathLike[str] | None = None,
    *,
    input_shape: Sequence[Any] | None = None,
    show_shapes: bool = True,
    dpi: int = 96,
    **arguments: Any,
) -> BlockFigure | Picture:
    """Draw a building block as its paper does.

    The diagrams are read from the functions of `convzoo.blocks`, called at the paper's
    sizes. A box holds one convolution with its batch norm and activation, branches
    stand side by side, and the data go the way they do in the paper's figure: upwards
    in those of Szegedy et al., downwards in the others. A shortcut is solid where it is
    the identity and dotted where it changes the shape. What is no graph is a picture:
    LeNet's table of links ``"c3"``, VGG's columns ``"vgg"``, U-Net's
    ``"overlap_tile"`` and ``"weight_map"``.

    Args:
        block: A name of `block_names`, or a function that takes one or more tensors
            first and ``name=``, as all of `convzoo.blocks` do.
        to_file: File to write, ending in .svg, .png, .pdf or, for a diagram, .dot; None
            writes none.
        input_shape: Of a function, the shape of its input without the batch axis, or a
            list of shapes if it takes several tensors.
        show_shapes: Whether edges say where height and width change.
        dpi: Pixels per inch of a .png, at least 1; fewer beyond 89 million pixels.
        arguments: Of a function, what else it takes.

    Returns:
        The figure: shows itself in Jupyter, ``.save(path)`` writes it, and ``.dot`` is
        the text of a diagram.

    Raises:
        ValueError: If ``block``, ``dpi`` or the suffix of ``to_file`` is none of the
            above, ``input_shape`` is missing, or the function adds no layers.
        TypeError: If ``block`` is neither a name nor a function that can be called so,
            or arguments come with a name. What the function itself raises is passed on.
        OSError: If ``to_file`` cannot be written.

    Example:
        >>> plot_block("inception_a", "inception_a.svg")  # doctest: +SKIP
        >>> plot_block(my_block, input_shape=(56, 56, 64), width=32)  # doctest: +SKIP
    """
    _check(block, to_file, input_shape, arguments)
    whole_number("dpi", dpi)
    figure: BlockFigure | Picture
    if isinstance(block, str) and block in NO_GRAPHS:
        from convzoo.inspect.blocks_drawn.tables import picture  # noqa: PLC0415

        figure = picture(block, dpi)
    else:
        from convzoo.inspect.blocks_drawn import figure as figures  # noqa: PLC0415

        if isinstance(block, str):
            figure = figures.of_name(block, show_shapes=show_shapes, dpi=dpi)
        else:
            figure = figures.of_function(
                block,
                _shapes(input_shape),
                arguments,
                show_shapes=show_shapes,
                dpi=dpi,
            )
    if to_file is not None:
        figure.save(to_file)
    return figure


def _check(
    block: Any,
    to_file: str | os.PathLike[str] | None,
    input_shape: Any,
    arguments: Mapping[str, Any],
) -> None:
    """Refuse what does not fit together, before Keras is imported."""
    if isinstance(block, str):
        one_of("block", block, BLOCKS)
        given = [*(["input_shape"] if input_shape is not None else []), *arguments]
        if given:
            raise TypeError(
                f"block={block!r} is drawn as published and takes no {given[0]!r}: "
                "pass the function itself, as in plot_block(identity_block, "
                "input_shape=(28, 28, 512), width=128)."
            )
    elif not callable(block):
        raise TypeError(
            f"block must be a name or a block function, found {type(block).__name__}; "
            f"names: {', '.join(BLOCKS)}."
        )
    if to_file is not None:
        drawing_file(to_file, PICTURES if block in NO_GRAPHS else SUFFIXES)


def _shapes(input_shape: Any) -> list[tuple[int | None, ...]]:
    """Return the shapes of all inputs of a function."""
    shapes = [input_shape] if _is_shape(input_shape) else input_shape
    is_list = isinstance(shapes, (list, tuple)) and bool(shapes)
    require(
        is_list and all(map(_is_shape, shapes)),
        f"input_shape={input_shape!r} must be the shape that the block function reads, "
        "without the batch axis, such as (56, 56, 64), or a list of such shapes; None "
        "stands for any number.",
    )
    return [tuple(map(as_int, shape)) for shape in shapes]


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(side is None or (as_int(side) or 0) > 0 for side in value)
    )
