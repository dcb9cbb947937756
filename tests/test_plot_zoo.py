"""The figure of the zoo: its marks are read back and held against published numbers."""

import math
import os
import subprocess
import sys

import pytest
from matplotlib.colors import to_hex
from matplotlib.legend import Legend
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from convzoo.catalog import CATALOG
from convzoo.inspect.placing import Disc, best_place
from convzoo.inspect.zoo import measured, plot_zoo

# Billions of multiply-accumulates, top-1 in per cent, millions of parameters.
BUBBLES = {
    "alexnet": (0.724406816, 57.1, 60.965224),
    "vgg16": (15.47026432, 71.3, 138.357544),
    "vgg19": (19.632062464, 71.3, 143.66724),
    "googlenet": (1.582671872, 68.7, 6.998552),
    "inception_v3": (5.713216096, 77.9, 23.851784),
    "resnet18": (1.814073344, 69.758, 11.699112),
    "resnet34": (3.663761408, 73.314, 21.814696),
    "resnet50": (3.857973248, 74.9, 25.610152),
    "resnet101": (7.570194432, 76.4, 44.654504),
    "resnet152": (11.282415616, 76.6, 60.344232),
    "xception": (8.357403496, 79.0, 22.91048),
    "mobilenet": (0.568740352, 70.4, 4.253864),
}
DOTS = {
    "resnet50": ("torchvision-v2 (v1.5)", 4.089184256, 80.858),
    "resnet101": ("torchvision-v2 (v1.5)", 7.80140544, 81.886),
    "resnet152": ("torchvision-v2 (v1.5)", 11.513626624, 82.284),
    "mobilenet": ("timm-ra4_e3600_r224_in1k (torch)", 0.568740352, 75.388),
}
YEARS = {2012: 1, 2015: 3, 2016: 6, 2017: 2}


@pytest.fixture(scope="module")
def axes():
    return plot_zoo().figure.axes[0]


def names(axes):
    """Return the places that texts name, by text."""
    return [(t.get_text(), t.xy) for t in axes.texts if isinstance(t, Annotation)]


def bubbles(axes):
    return [(tuple(b.get_offsets()[0]), b.get_sizes()[0]) for b in axes.collections]


def test_bubbles_stand_where_the_papers_put_them(axes):
    assert list(BUBBLES) == [name for name, _ in names(axes)[: len(BUBBLES)]]
    places = dict(names(axes)[: len(BUBBLES)])
    drawn = dict(bubbles(axes))
    assert len(drawn) == len(BUBBLES)
    for name, (cost, share, millions) in BUBBLES.items():
        assert places[name] == pytest.approx((cost, share), rel=1e-9)
        assert drawn[places[name]] / millions == pytest.approx(26)


def test_dots_are_the_best_later_trainings(axes):
    expected = [(text, pytest.approx(place)) for text, *place in DOTS.values()]
    assert sorted(names(axes)[len(BUBBLES) :], key=lambda n: n[1][0]) == sorted(
        expected, key=lambda dot: dot[1].expected[0]
    )
    lines = [line.get_xydata().tolist() for line in axes.lines]
    for name, (_, cost, share) in DOTS.items():
        assert [list(BUBBLES[name][:2]), [cost, share]] in [
            [pytest.approx(point) for point in line] for line in lines
        ]


def test_what_has_no_accuracy_on_imagenet_is_left_out():
    drawn = [one.usual.model for one in measured()]
    assert set(CATALOG) - set(drawn) == {
        *("lenet", "unet", "mini_vgg", "mini_inception", "mini_resnet")
    }
    for one in measured():
        assert one.usual.top1 == CATALOG[one.usual.model].top1


def test_closed_and_other_weights_do_not_count():
    for one in measured():
        for record in filter(None, one):
            assert record.commercial
            assert record.options.get("batch_norm", False) is False
            assert record.options.get("alpha", 1.0) == 1.0
            side = CATALOG[record.model].variants[record.variant].input_shape[0]
            assert record.crop == side


def test_a_colour_for_each_year(axes):
    colours = {}
    for name, bubble in zip(BUBBLES, axes.collections, strict=True):
        colours.setdefault(to_hex(bubble.get_facecolor()[0]), []).append(name)
    counts = {}
    for colour, group in colours.items():
        (year,) = {CATALOG[name].year for name in group}
        counts[year] = len(group)
        colours[colour] = str(year)
    assert counts == YEARS
    legend = next(child for child in axes.get_children() if isinstance(child, Legend))
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [str(year) for year in YEARS]
    assert [colours[key.get_color()] for key in legend.legend_handles] == texts


def test_the_caption_tells_whose_accuracy_it_is():
    (caption,) = plot_zoo().figure.texts
    words = " ".join(caption.get_text().split())
    assert "one central crop of 224 x 224 pixels, alexnet 227 x 227, " in words
    assert "inception_v3 and xception 299 x 299" in words
    assert "gain at least 2 points" in words
    (caption,) = plot_zoo(pattern="vgg*").figure.texts
    assert "Dots" not in caption.get_text()


@pytest.mark.parametrize("pattern", ["*", "resnet*", "vgg*", "alexnet", "*ception*"])
def test_nothing_covers_a_name(pattern):
    figure = plot_zoo(pattern=pattern).figure
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [
        text.get_window_extent() for text in axes.texts if isinstance(text, Annotation)
    ]
    pixels = figure.dpi / 72
    for i, box in enumerate(boxes):
        assert not any(map(box.overlaps, boxes[:i]))
        assert axes.bbox.contains(*box.p0)
        assert axes.bbox.contains(*box.p1)
        for place, area in bubbles(axes):
            disc = Disc(*axes.transData.transform(place), math.sqrt(area) / 2 * pixels)
            assert disc.distance(box) > 0
        for line in axes.lines:
            path = axes.transData.transform_path(line.get_path())
            assert not path.intersects_bbox(box, filled=False)
    drawn = figure.get_tightbbox()
    assert figure.bbox_inches.contains(*drawn.p0)
    assert figure.bbox_inches.contains(*drawn.p1)


def test_a_name_goes_where_there_is_room():
    disc, size, room = Disc(50, 50, 5), (20, 10), Bbox([[0, 0], [100, 100]])
    right = best_place(disc, size, room, [], [], [])
    assert right.x0 == pytest.approx(59)
    left = best_place(disc, size, room, [Disc(65, 50, 2)], [], [])
    assert left.x1 == pytest.approx(41)
    above = best_place(disc, size, room, [Disc(65, 50, 2)], [], [left])
    assert above.y0 == pytest.approx(59)
    line = [Disc(57, y, 1) for y in range(100)]
    assert best_place(disc, size, room, [], line, []).x1 < 57
    tight = Bbox([[0, 0], [70, 100]])
    assert best_place(disc, size, tight, [], [], []).x1 < 70


def test_files(tmp_path):
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        plot_zoo(tmp_path / f"zoo{suffix}", pattern="vgg*")
        assert (tmp_path / f"zoo{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": "rsnet50"}, "'rsnet50' fits .*, did you mean 'resnet50'.*alexnet"),
        ({"pattern": "lenet"}, "'lenet' fits no model with published accuracy on"),
        ({"to_file": "zoo.dot"}, "must end in one of .svg, .png, .pdf, found '.dot'"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plot_zoo(**arguments)


def test_a_wrong_file_is_refused_before_anything_is_drawn():
    with pytest.raises(ValueError, match=r"'x.gif' must end in .*, found '.gif'."):
        plot_zoo("x.gif", pattern="nothing fits")


def test_a_place_that_does_not_exist(tmp_path):
    with pytest.raises(OSError, match=r"no/zoo.svg' cannot be written: No such file"):
        plot_zoo(tmp_path / "no" / "zoo.svg")


def test_same_bytes_in_every_process_and_no_framework():
    code = (
        "import sys\n"
        "from convzoo.inspect.zoo import plot_zoo\n"
        "sys.stdout.buffer.write(plot_zoo().render('svg'))\n"
        "assert 'keras' not in sys.modules\n"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1] == plot_zoo().render("svg")
