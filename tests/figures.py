"""What a drawn figure holds, and small parts of networks to draw."""

import itertools
from collections import Counter

import numpy as np
import pytest
from keras import layers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from convzoo.inspect.architecture.plot import _layout, plot_architecture
from convzoo.inspect.architecture.reading import read
from convzoo.inspect.architecture.steps import path


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def drawn(figure):
    """Count the lines and the filled shapes by what they stand for."""
    (axes,) = figure.axes
    return Counter(artist.get_label() for artist in (*axes.lines, *axes.patches))


def lines_of(figure, label):
    return [
        line.get_xydata() for line in figure.axes[0].lines if line.get_label() == label
    ]


def faults(figure):
    """List texts that are small, cut, on each other or under a line; large pages."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    width, height = figure.bbox.width, figure.bbox.height
    places = [(t.get_text(), t.get_window_extent(renderer)) for t in axes.texts]
    small = 6.999
    found = [("small", t.get_text()) for t in axes.texts if t.get_fontsize() < small]
    found += [
        ("cut", text)
        for text, box in places
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height
    ]
    inset = np.array((1, 1.5))
    cores = [(t, Bbox([b.min + inset, b.max - inset])) for t, b in places]
    found += [
        ("overlap", first, second)
        for (first, a), (second, b) in itertools.combinations(cores, 2)
        if a.overlaps(b)
    ]
    found += [
        ("line", line.get_label(), text)
        for line in axes.lines
        if line.zorder >= 2  # the others pass behind the boxes
        for path in [line.get_path().transformed(line.get_transform())]
        for text, box in cores
        if path.intersects_bbox(box, filled=False)
    ]
    if width > 16.01 * figure.dpi or height > 9.01 * figure.dpi:
        found.append(("large", width, height))
    return found


def conv(x, filters, size=3, **settings):
    return layers.Conv2D(filters, size, padding="same", **settings)(x)


def ending(x, name="fc"):
    return layers.Dense(3, name=name)(layers.GlobalAveragePooling2D()(x))


def layout_of(model):
    return _layout(read(model)).__module__.rpartition(".")[2]


def assert_all_is_drawn(model):
    """Count what a figure draws against the operations and links of the model."""
    figure, reading, layout = (
        plot_architecture(model).figure,
        read(model),
        layout_of(model),
    )
    counts = drawn(figure)
    lines = sum(line.get_label() != "legend" for line in figure.axes[0].lines)
    levelled, merged = path(reading, merged=False), path(reading)
    if layout == "levels":
        met = len(levelled.steps) - counts["bar"]  # an up-convolution and its concat
        assert lines == len(levelled.links) - met
        assert texts(figure).count("output") == len(reading.outputs)
        assert texts(figure).count("input") == len(model.inputs)
        assert met <= sum(unit.kind == "merge" for unit in reading.units)
    elif layout == "modules":
        assert counts["data"] + counts["side"] == len(merged.links)
        branches = [u for s in merged.steps for u in s.units if len(s.units) > 1]
        cells = [i for i in branches if reading.units[i].text != "concat"]
        heads = counts["side"]
        assert counts["cell"] == len(cells) + heads
    elif layout == "volumes":
        assert counts["front"] == len(merged.steps)
        inside = [index for step in merged.steps for index in step.units]
        repeated = sum(step.repeats > 1 or step.times > 1 for step in merged.steps)
        assert repeated or sorted(inside) == list(range(len(reading.units)))
    else:
        pytest.fail(f"a test of its own counts {layout}")
