"""`plot_architecture`: a whole network on one page, as its paper draws it."""

from __future__ import annotations

import os
from collections.abc import Callable

import keras

from convzoo.inspect.architecture import (
    flows,
    levels,
    modules,
    stack,
    towers,
    volumes,
)
from convzoo.inspect.architecture.legend import draw_title
from convzoo.inspect.architecture.page import Page
from convzoo.inspect.architecture.reading import Reading, read
from convzoo.inspect.formats import PICTURES, drawing_file
from convzoo.inspect.picture import Picture, style


def plot_architecture(
    model: keras.Model, to_file: str | os.PathLike[str] | None = None
) -> Picture:
    """Draw a whole network on one page, in the manner of its paper.

    All that is drawn is read from the model: shapes, operations, connections. Its
    structure, and for some the names of its layers or its builder, choose the layout:

    - a network that goes down and up again: U-Net's U (arXiv:1505.04597, Figure 1);
    - LeNet-5: stacks of maps (LeCun et al. 1998, Figure 2);
    - AlexNet: solids in two towers (Krizhevsky et al. 2012, Figure 2);
    - modules of branches: rows of modules with side heads, as GoogLeNet
      (arXiv:1409.4842, Figure 3) and InceptionV3 (arXiv:1512.00567, Figures 5 to 10);
    - Xception: entry, middle and exit flow (arXiv:1610.02357, Figure 5);
    - any other chain of operations and blocks, such as VGG, ResNet and MobileNet:
      solids by resolution above the rows of the papers' tables;
    - any other network: bars by resolution, as in the U.

    Args:
        model: Any functional or built Sequential model; its weights are not read.
        to_file: File to write, ending in .svg, .png or .pdf; None writes none.

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it. Sides that
        are not fixed are drawn as ``?``.

    Raises:
        TypeError: If ``model`` has no graph of layers.
        ValueError: If the suffix of ``to_file`` is another one.
        OSError: If ``to_file`` cannot be written.

    Example:
        >>> plot_architecture(unet(variant="paper"), "unet.svg")  # doctest: +SKIP
    """
    if to_file is not None:
        drawing_file(to_file, PICTURES)
    reading = read(model)
    with style():
        page = _layout(reading)(reading)
        draw_title(page, reading.name)
        picture = Picture(page.figure())
    if to_file is not None:
        picture.save(to_file)
    return picture


def _layout(reading: Reading) -> Callable[[Reading], Page]:
    """Return what draws a model of this structure."""
    layouts = (
        (levels.fits, levels.draw),  # also where a U has an encoder named as below
        (stack.fits, stack.draw),
        (towers.fits, towers.draw),
        (flows.fits, flows.draw),
        (modules.fits, modules.draw),
        (volumes.fits, volumes.draw),
    )
    return next((draw for fits, draw in layouts if fits(reading)), levels.draw)
