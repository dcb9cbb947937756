"""`plot_zoo`: what the networks cost, how well they do and how large they are."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Affine2D, Bbox

from convzoo.arguments import near
from convzoo.catalog import CATALOG, Variant, list_models
from convzoo.inspect import looks
from convzoo.inspect.formats import PICTURES, drawing_file
from convzoo.inspect.picture import Picture, style, width_of
from convzoo.inspect.placing import Disc, best_place
from convzoo.pretrained.records import RECORDS, Record, find

_AREA = 26.0  # of a bubble for a million parameters, in square points
_SIZES = (5, 25, 60, 140)  # millions of parameters in the legend
_DOT = 2.0  # radius in points
_GAIN = 0.02  # from which a later training gets its dot
_NOTE = 8.5  # size of letters, in points


class Measured(NamedTuple):
    """A network and published weights that tell how accurate it is on ImageNet."""

    usual: Record  # what ``weights="imagenet"`` loads
    best: Record | None  # much more accurate ones of the same or another variant


def plot_zoo(
    to_file: str | os.PathLike[str] | None = None, *, pattern: str = "*"
) -> Picture:
    """Draw the accuracy of the zoo's networks on ImageNet against their cost.

    A bubble is a builder with ``weights="imagenet"``: top-1 accuracy as published with
    these weights, of one central crop in the usual size, against the
    multiply-accumulates of one image on a logarithmic axis. Its area is proportional
    to the parameters, trainable or not; its colour is the paper's year. A dot is the
    most accurate training since, of any variant, where it gains at least two points;
    weights for another image size, with other options (batch norm in VGG, another
    alpha) or closed to commercial use do not count. The numbers are those of the
    catalogue and the records: no model is built.

    Builders without published accuracy on ImageNet, that is ``lenet``, ``unet`` and the
    miniatures, are not drawn.

    Args:
        to_file: File to write, ending in .svg, .png or .pdf; None writes none.
        pattern: Shell-style pattern of the builders to draw, such as ``"resnet*"``.

    Returns:
        A picture that shows itself in Jupyter; ``.save(path)`` writes it.

    Raises:
        ValueError: If ``pattern`` fits no builder with published accuracy, or the
            suffix of ``to_file`` is none of the above.
        OSError: If ``to_file`` cannot be written.

    Example:
        >>> plot_zoo(pattern="resnet*")
        Picture(figure=<Figure size 1080x640 with 1 Axes>)
    """
    if to_file is not None:
        drawing_file(to_file, PICTURES)
    zoo = measured(pattern)
    with style():
        figure = Figure(figsize=(10.8, 6.4))
        axes = figure.add_axes((0.075, 0.2, 0.765, 0.74))
        _prepare(axes, zoo)
        colours = _colours()
        for one in zoo:
            _draw(axes, one, colours[_year(one)])
        _add_legends(axes, zoo, colours)
        _add_names(axes, zoo)
        caption = textwrap.fill(_caption(zoo), 150)
        figure.text(0.075, 0.095, caption, fontsize=_NOTE, color=looks.LABEL, va="top")
    picture = Picture(figure)
    if to_file is not None:
        picture.save(to_file)
    return picture


def measured(pattern: str = "*") -> list[Measured]:
    """Return the builders with published accuracy on ImageNet, in catalogue order.

    Raises:
        ValueError: If the pattern fits none of them; the message lists them.
    """
    known = [name for name, entry in CATALOG.items() if entry.top1 is not None]
    names = [name for name in list_models(pattern) if name in known]
    if not names:
        raise ValueError(
            f"pattern={pattern!r} fits no model with published accuracy on ImageNet"
            f"{near(pattern, known)}; those are {', '.join(known)}."
        )
    return [_measured(name) for name in names]


def _measured(name: str) -> Measured:
    usual = find(name, "imagenet", CATALOG[name].default)
    best = max(_comparable(usual), key=_top1)
    return Measured(usual, best if _top1(best) - _top1(usual) >= _GAIN else None)


def _comparable(usual: Record) -> Iterator[Record]:
    """Yield weights of a network, in its usual size, that anyone may use."""
    for record in RECORDS:
        if (
            record.model == usual.model
            and record.crop == _form(record).input_shape[0]
            and all(usual.options.get(k, v) == v for k, v in record.options.items())
            and record.commercial
        ):
            yield record


def _form(record: Record) -> Variant:
    return CATALOG[record.model].variants[record.variant]


def _top1(record: Record) -> float:
    return record.top1 or 0.0


def _year(one: Measured) -> int:
    return CATALOG[one.usual.model].year


def _place(record: Record) -> tuple[float, float]:
    """Return billions of multiply-accumulates and per cent of accuracy."""
    return (_form(record).macs or 0) / 1e9, 100 * _top1(record)


def _area(record: Record) -> float:
    return _AREA * _form(record).total / 1e6


def _prepare(axes: Axes, zoo: Sequence[Measured]) -> None:
    """Give the axes their range, with room for the bubbles at the edges."""
    costs, shares = zip(*(_place(r) for one in zoo for r in one if r), strict=True)
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.5, max(costs) * 1.5)
    axes.set_ylim(min(shares) - 4, max(shares) + 4)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g} %"))
    axes.set_xlabel(
        "multiply-accumulates of one image, in billions", fontsize=looks.TEXT_SIZE
    )
    axes.set_ylabel("top-1 accuracy on ImageNet", fontsize=looks.TEXT_SIZE)
    title = "Accuracy, cost and size"
    axes.set_title(title, fontsize=looks.TITLE_SIZE, fontweight="bold", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=looks.GRID)
    axes.set_axisbelow(True)


def _colours() -> dict[int, str]:
    """Return a colour for each year of the zoo, the later the darker."""
    years = sorted({e.year for e in CATALOG.values() if e.top1 is not None})
    shades = [0.3 + 0.6 * i / (len(years) - 1) for i in range(len(years))]
    return {
        year: to_hex(colormaps["YlGnBu"](shade))
        for year, shade in zip(years, shades, strict=True)
    }


def _draw(axes: Axes, one: Measured, colour: str) -> None:
    cost, share = _place(one.usual)
    area = _area(one.usual)
    axes.scatter(cost, share, area, color=colour, edgecolor="white", zorder=3)
    if one.best:
        to_cost, to_share = _place(one.best)
        axes.plot([cost, to_cost], [share, to_share], color=looks.BORDER, linewidth=0.8)
        axes.plot(to_cost, to_share, "o", color=looks.BORDER, markersize=2 * _DOT)


def _add_legends(axes: Axes, zoo: Sequence[Measured], colours: dict[int, str]) -> None:
    """Explain colours, areas and dots in a column beside the axes."""
    years = [_key(str(y), 11, colours[y]) for y in sorted(set(map(_year, zoo)))]
    _add_legend(axes, "Year of the paper", years, 1.0)
    _add_sizes(axes)
    if any(one.best for one in zoo):
        dot = _key("best weights", 2 * _DOT, looks.BORDER)
        _add_legend(axes, "Trained since", [dot], 0.28)


def _key(label: str, size: float, colour: str) -> Line2D:
    return Line2D([], [], ls="", marker="o", markersize=size, color=colour, label=label)


def _add_legend(axes: Axes, title: str, keys: list[Line2D], top: float) -> None:
    legend = Legend(
        axes,
        keys,
        [str(key.get_label()) for key in keys],
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.02, top),
        borderpad=0,
        borderaxespad=0,
        handlelength=1,
        labelspacing=0.6,
        fontsize=looks.LABEL_SIZE,
        title_fontproperties={"size": looks.LABEL_SIZE, "weight": "bold"},
        alignment="left",
        frameon=False,
    )
    axes.add_artist(legend)


def _add_sizes(axes: Axes) -> None:
    """Draw circles inside each other, the area of each a number of parameters."""
    widest = math.sqrt(_AREA * max(_SIZES))
    box = axes.inset_axes((1.02, 0.4, 0.185, 0.19))
    box.set_axis_off()
    box.set_title(
        "Parameters", fontsize=looks.LABEL_SIZE, fontweight="bold", loc="left"
    )
    inset = box.get_window_extent().transformed(_to_points(axes))
    box.set_xlim(-1, inset.width - 1)
    box.set_ylim(-1, inset.height - 1)
    for size in _SIZES:
        width = math.sqrt(_AREA * size)
        centre = (widest / 2, width / 2)
        box.add_patch(Circle(centre, width / 2, fill=False, edgecolor=looks.BORDER))
        box.plot(
            [widest / 2, widest + 8], [width, width], color=looks.BORDER, linewidth=0.6
        )
        box.text(
            widest + 11, width, f"{size} M", fontsize=looks.LABEL_SIZE, va="center"
        )


def _add_names(axes: Axes, zoo: Sequence[Measured]) -> None:
    """Name bubbles and dots, each where its name is clear of everything else."""
    named: list[tuple[Record, str, float]] = [
        *((one.usual, one.usual.model, looks.LABEL_SIZE) for one in zoo),
        *((one.best, _training(one.best), _NOTE) for one in zoo if one.best),
    ]
    discs = [_disc(axes, record) for record, _, _ in named]
    lines = [disc for one in zoo for disc in _line(axes, one)]
    room = axes.bbox.transformed(_to_points(axes))
    taken: list[Bbox] = []
    for disc, (record, name, size) in zip(discs, named, strict=True):
        width = width_of(name, size)
        others = [other for other in discs if other != disc]
        box = best_place(disc, (width, size), room, others, lines, taken)
        taken.append(box)
        axes.annotate(
            name,
            _place(record),
            ((box.x0 + box.x1) / 2 - disc.x, (box.y0 + box.y1) / 2 - disc.y),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            color=looks.LABEL,
            zorder=4,
        )


def _training(record: Record) -> str:
    return f"{record.name.removeprefix('imagenet/')} ({record.variant})"


def _to_points(axes: Axes) -> Affine2D:
    return Affine2D().scale(72 / axes.figure.dpi)


def _disc(axes: Axes, record: Record) -> Disc:
    x, y = (axes.transData + _to_points(axes)).transform(_place(record))
    usual = record.name == "imagenet"
    return Disc(x, y, math.sqrt(_area(record)) / 2 if usual else _DOT)


def _line(axes: Axes, one: Measured) -> list[Disc]:
    """Return the line from a bubble's rim to its dot as a chain of little discs."""
    if one.best is None:
        return []
    start, end = _disc(axes, one.usual), _disc(axes, one.best)
    away = math.dist(start[:2], end[:2])
    beads = [start.radius + 3 * i for i in range(int((away - start.radius) / 3))]
    return [
        Disc(
            start.x + bead / away * (end.x - start.x),
            start.y + bead / away * (end.y - start.y),
            1.0,
        )
        for bead in beads
    ]


def _caption(zoo: Sequence[Measured]) -> str:
    """Say what is drawn: whose accuracy, of which crop, and what the marks mean."""
    sizes: dict[int, list[str]] = {}
    for one in zoo:
        sizes.setdefault(one.usual.crop, []).append(one.usual.model)
    usual = max(sizes, key=lambda size: len(sizes[size]))
    others = [
        f"{' and '.join(names)} {size} x {size}"
        for size, names in sizes.items()
        if size != usual
    ]
    inputs = ", ".join([f"{usual} x {usual} pixels", *others])
    text = (
        'Bubbles: top-1 as published with the weights that weights="imagenet" loads, '
        f"one central crop of {inputs}; area: all parameters; colour: year of the "
        "paper."
    )
    if any(one.best for one in zoo):
        text += (
            " Dots: the most accurate weights since that are free for commercial use, "
            "of the variant in brackets with the usual size and options, where they "
            f"gain at least {100 * _GAIN:g} points; a recipe of training can matter as "
            "much as an architecture."
        )
    return text
