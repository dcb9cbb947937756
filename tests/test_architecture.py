"""Whole networks on one page: what is written and drawn against the model's graph."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter

import keras
import matplotlib as mpl
import numpy as np
import pytest
from figures import drawn, faults, lines_of, texts
from keras import layers

import convzoo
from convzoo.calls import network
from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights
from convzoo.inspect.architecture.plot import plot_architecture
from convzoo.inspect.operations import kind

OPEN = (None, None, 3)
OPTIONS = [
    ("unet", {"variant": "paper"}),
    ("unet", {"filters": 12, "depth": 2, "input_shape": (64, 48, 3)}),
    ("unet", {"encoder": "mini_resnet"}),
    ("lenet", {"variant": "paper"}),
    ("lenet", {"input_shape": (64, 48, 3), "classes": 1000}),
    ("alexnet", {"variant": "torch", "classes": 7}),
    ("googlenet", {"aux": True}),
    ("vgg16", {"batch_norm": True, "input_shape": (32, 64, 1), "classes": 10}),
]
MORE = [
    ("unet", {"filters": 2, "depth": 8, "input_shape": (512, 512, 1)}),
    ("unet", {"up": "nearest", "depth": 1}),
    ("unet", {"encoder": "resnet50"}),
    ("unet", {"encoder": "vgg16", "input_shape": (224, 160, 3)}),
    ("unet", {"encoder": "xception"}),
    ("unet", {"encoder": "alexnet"}),
    ("unet", {"encoder": "mobilenet"}),
    ("lenet", {"include_top": False, "input_shape": (None, None, 1)}),
    ("alexnet", {"include_top": False, "input_shape": OPEN}),
    ("alexnet", {"input_shape": (300, 200, 1), "classes": 2}),
    ("googlenet", {"include_top": False, "input_shape": OPEN}),
    ("googlenet", {"variant": "torch", "aux": True, "classes": 5}),
    ("inception_v3", {"aux": True}),
    ("mini_inception", {"variant": "zhang2017"}),
    ("xception", {"include_top": False, "input_shape": OPEN}),
    ("resnet50", {"include_top": False, "input_shape": OPEN}),
    ("resnet101", {"input_shape": (64, 96, 1)}),
    ("mobilenet", {"input_shape": (128, 128, 3)}),
    ("mini_resnet", {"depth": 110, "shortcut": "B"}),
    ("mini_vgg", {"input_shape": (8, 8, 1), "classes": 2}),
]
INSIDE = [("unet", {"encoder": "googlenet"})]  # modules drawn as one bar
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in MORE]
CASES = [*((name, {}) for name in CATALOG), *OPTIONS, *SLOW]


@pytest.fixture(scope="module", name="built")
def models():
    """Build each model once, without weights."""
    found = {}

    def build(name, **options):
        key = name, str(options)
        if key not in found:
            with without_weights():
                found[key] = getattr(convzoo, name)(**options)
        return found[key]

    return build


@pytest.fixture(scope="module", name="figure")
def figures(built):
    found = {}

    def draw(name, **options):
        model = built(name, **options)
        if id(model) not in found:
            found[id(model)] = plot_architecture(model).figure
        return found[id(model)]

    return draw


def shapes(model):
    """Return the shapes that the operations of a model give, read by themselves."""
    net = network(model)
    shown = {"convolution", "separable convolution", "transposed convolution"}
    shown |= {"pooling", "dense", "input", "merge"}
    return {
        net.output_of(name)[1:]
        for name, call in net.calls.items()
        if kind(call.layer) in shown and not re.search("aux|_concat$", name)
    }


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_every_size_and_channel_of_the_graph_is_written(name, options, built, figure):
    words = "\n".join(texts(figure(name, **options)))
    numbers = set(map(int, re.findall(r"\d+", words)))
    for *sides, channels in shapes(built(name, **options)):
        assert channels in numbers
        size = " x ".join("?" if side is None else str(side) for side in sides)
        assert size in words


@pytest.mark.parametrize(("name", "options"), CASES + INSIDE, ids=str)
def test_page_is_legible(name, options, figure):
    assert faults(figure(name, **options)) == []


def test_faults_are_found():
    plain = plot_architecture(small_unet()).figure
    (axes,) = plain.axes
    assert faults(plain) == []
    first, second = axes.texts[0], axes.texts[1]
    second.set_position(first.get_position())
    axes.texts[2].set_fontsize(5)
    axes.texts[3].set_x(-1000)
    assert {fault[0] for fault in faults(plain)} == {"overlap", "small", "cut"}


def test_the_u_is_figure_1(figure):
    found = figure("unet", variant="paper")
    down = [572, 570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28]
    up = [56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388]
    channels = [1, 64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512]
    channels += [512, 1024, 1024, 1024, 512, 512, 512, 256, 256]
    channels += [256, 128, 128, 128, 64, 64, 2]
    written = texts(found)
    sides = [text.split(" x ") for text in written if " x " in text]
    assert [int(side) for side, _ in sides] == down + up
    assert [int(text) for text in written if text.isdigit()] == channels
    assert all(side == other for side, other in sides)
    arrows = {"copy": 4, "pooling": 4, "transposed convolution": 4}
    counts = drawn(found)
    assert {kind: counts[kind] for kind in arrows} == arrows
    assert counts["convolution"] == 19
    assert counts["copied"] == 4
    legend = ["3x3 conv, ReLU", "2x2 max pool /2", "copy and crop n pixels a side"]
    legend += ["2x2 transposed conv, up 2", "1x1 conv"]
    assert written[-6:-1] == legend


def test_the_u_has_a_level_for_each_resolution(figure):
    found = figure("unet", variant="paper")
    copies = lines_of(found, "copy")
    assert all(start[1] == end[1] and start[0] < end[0] for start, end in copies)
    tops = sorted(line[0][1] for line in copies)
    assert len(set(tops)) == 4
    for label, sign in (("pooling", 1), ("transposed convolution", -1)):
        for line in lines_of(found, label):
            assert line[0][0] == pytest.approx(line[-1][0])  # straight
            assert (line[-1][1] - line[0][1]) * sign > 0


def test_arrows_up_are_straight_where_the_left_side_is_short(figure):
    arrows = lines_of(figure("unet", encoder="mini_resnet"), "transposed convolution")
    assert len(arrows) == 2
    assert all(start[0] == pytest.approx(end[0]) for start, *_, end in arrows)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_u_follows_its_options(depth, figure):
    found = figure("unet", depth=depth, filters=3)
    counts = drawn(found)
    assert counts["copy"] == counts["pooling"] == counts["copied"] == depth
    assert str(3 * 2**depth) in texts(found)
    assert "? x ?" in texts(found)
    assert "copy" in texts(found)
    assert not any("crop" in text for text in texts(found))


def small_unet(join=layers.Concatenate):
    image = x = keras.Input((32, 32, 3))
    skips = []
    for filters in (4, 8):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    for filters in (8, 4):
        x = layers.Conv2DTranspose(filters, 2, 2)(x)
        x = join()([x, skips.pop()])
    return keras.Model(image, layers.Conv2D(1, 1)(x), name="mine")


@pytest.mark.parametrize(
    ("join", "word", "copied"),
    [(layers.Concatenate, "copy", 2), (layers.Add, "copy and add", 0)],
)
def test_a_users_network_of_this_form_is_a_u(join, word, copied):
    found = plot_architecture(small_unet(join)).figure
    counts = drawn(found)
    assert counts["copy"] == 2
    assert counts["copied"] == copied
    assert word in texts(found)
    assert texts(found)[-1] == "mine"


def test_lenet_is_figure_2(figure):
    written = texts(figure("lenet", variant="paper"))
    sizes = ["1@32 x 32", "6@28 x 28", "6@14 x 14", "16@10 x 10", "16@5 x 5"]
    assert [text for text in written if "@" in text] == [*sizes, "120@1 x 1"]
    for name in ("INPUT", "C1: feature maps", "S2: feature maps", "C5"):
        assert name in written
    assert {"F6: 84", "OUTPUT: 10"} <= set(written)
    below = ["convolutions", "subsampling", "convolutions", "subsampling"]
    below += ["full connection", "full connection", "Gaussian connections"]
    assert [text for text in written if text in below] == below
    counts = drawn(figure("lenet"))
    assert counts["sheet"] == 1 + 6 + 6 + 16 + 16
    assert counts["bar"] == 3
    assert counts["patch"] == 5
    assert "Gaussian connections" not in texts(figure("lenet"))


def test_the_towers_of_alexnet_meet_where_the_paper_says(figure):
    found = figure("alexnet")
    counts = drawn(found)
    assert counts["front"] == 1 + 2 * 7 + 1  # image; conv1..5, pool1, pool2; pool5
    assert counts["patch"] == 2 * 7 + 2 + 2  # conv3 reads both, and so does pool5
    crosses = lines_of(found, "cross")
    assert len(crosses) == 4  # two lines from the patch of each
    written = texts(found)
    assert written.count("192") == written.count("128") - 2 == 4
    conv3 = next(t for t in found.axes[0].texts if t.get_text() == "conv3")
    assert all(abs(line[-1][0] - conv3.get_position()[0]) < 40 for line in crosses)
    one = figure("alexnet", variant="torch", classes=7)
    assert drawn(one)["front"] == 9
    assert not lines_of(one, "cross")
    assert "reads the other tower" not in texts(one)


def test_the_side_heads_of_googlenet_hang_where_they_attach(figure):
    plain, whole = figure("googlenet"), figure("googlenet", aux=True)
    assert drawn(plain)["join"] == drawn(whole)["join"] == 9
    assert not lines_of(plain, "side")
    where = {t.get_text(): t.get_position() for t in whole.axes[0].texts}
    for head, module, after in (
        ("aux1", "inception_4a", "inception_4b"),
        ("aux2", "inception_4d", "inception_4e"),
    ):
        assert where[module][0] < where[head][0] < where[after][0]
        assert where[module][1] < where[head][1]
    written = texts(whole)
    assert written.count("5x5 average pool /3: 4 x 4 x 512") == 1
    assert written.count("5x5 average pool /3: 4 x 4 x 528") == 1
    assert written.count("dense 1024") == 2
    assert written.count("dense 1000, softmax") == 3
    rows = {where[f"inception_{module}"][1] for module in ("3a", "4a", "5a")}
    assert len(rows) == 3
    assert where["inception_4a"][1] == where["inception_4e"][1]


def test_a_module_of_googlenet_is_a_row_of_table_1(figure):
    written = texts(figure("googlenet"))
    start = written.index("inception_3a")
    branches = {"1x1 64", "1x1 96", "3x3 128", "1x1 16", "5x5 32", "3x3 max", "1x1 32"}
    assert set(written[start + 2 : start + 9]) == branches
    assert written[start + 1] == "28 x 28 x 256"


def test_the_modules_of_inception_v3(figure):
    found = figure("inception_v3")
    written, counts = texts(found), drawn(found)
    assert counts["join"] == 10
    assert "mixed_6c..6d  x2" in written
    assert counts["branch"] == 3 * 4 + 3 + 3 * 4 + 3 + 2 * 6
    assert written.count("1x3 384") == written.count("3x1 384") == 4
    assert not lines_of(found, "side")


@pytest.mark.slow
def test_the_side_head_of_inception_v3(figure):
    whole = figure("inception_v3", aux=True)
    assert "5x5 conv 768: 1 x 1 x 768" in texts(whole)
    assert len(lines_of(whole, "side")) == 5


def test_the_flows_of_xception_are_figure_5(figure):
    found = figure("xception")
    written, counts = texts(found), drawn(found)
    assert counts["frame"] == 3
    assert counts["ring"] == 5
    assert (counts["projection"], counts["identity"]) == (4, 1)
    assert "repeated 8 times" in written
    titles = ["Entry flow", "Middle flow", "Exit flow"]
    assert [text for text in written if text in titles] == titles
    assert written.count("ReLU") == 2 + (1 + 2 + 2) + 3 + 2 + 2
    assert written.count("3x3 separable conv 728") == 2 + 3 + 1
    assert written[-2] == (
        "batch normalization behind every convolution is not drawn, as in the paper"
    )


@pytest.mark.parametrize(
    ("name", "options", "shortcuts", "repeats"),
    [
        ("resnet18", {}, {"identity": 4, "projection": 3}, ["x2"]),
        ("resnet50", {}, {"identity": 4, "projection": 4}, ["x2", "x3", "x5", "x2"]),
        ("resnet152", {}, {"identity": 4, "projection": 4}, ["x2", "x7", "x35", "x2"]),
        ("mini_resnet", {}, {"identity": 3, "resized": 2}, ["x3", "x2", "x2"]),
        (
            "mini_resnet",
            {"depth": 56, "shortcut": "B"},
            {"identity": 3, "projection": 2},
            ["x9", "x8", "x8"],
        ),
    ],
)
def test_the_shortcuts_of_resnets(name, options, shortcuts, repeats, figure):
    found = figure(name, **options)
    counts = drawn(found)
    kinds = ("identity", "projection", "resized", "concatenation")
    assert {kind: counts[kind] for kind in kinds if counts[kind]} == shortcuts
    dashes = {
        line.get_label(): line.get_linestyle()
        for line in found.axes[0].lines
        if line.get_label() in kinds
    }
    assert dashes["identity"] == "-"
    assert all(style != "-" for kind, style in dashes.items() if kind != "identity")
    written = texts(found)
    over = [text for text in written if re.fullmatch(r"x\d+", text)]
    assert Counter(over) == Counter(2 * repeats)  # above the solids and in the table


def test_a_block_is_listed_as_in_table_1(figure):
    written = texts(figure("resnet50"))
    start = written.index("28 x 28")
    block = ["1x1 conv 128 /2", "3x3 conv 128", "1x1 conv 512"]
    assert written[start + 1 : start + 4] == block
    assert written[start + 4 : start + 8] == ["1x1 conv 128", *block[1:], "x3"]
    assert texts(figure("resnet18")).count("3x3 conv 64") == 2


def test_the_columns_of_vgg_are_its_table(figure):
    found = figure("vgg16")
    written = texts(found)
    assert drawn(found)["front"] == 22
    sizes = [f"{side} x {side}" for side in (224, 112, 56, 28, 14, 7)]
    assert [text for text in written if text in sizes] == sizes
    table = ["3x3 conv 64  x2", "3x3 conv 128  x2", "3x3 conv 256  x3"]
    table += ["3x3 conv 512  x3", "3x3 conv 512  x3"]
    table += ["dense 4096, ReLU  x2", "dense 1000, softmax"]
    assert [text for text in written if text in table] == table


def test_mobilenet_repeats_its_pair_five_times(figure):
    found = figure("mobilenet")
    assert drawn(found)["repeat"] == 1
    assert texts(found).count("x5") == 2


def test_solids_shrink_and_thicken_with_their_maps(figure):
    found = figure("vgg16")
    fronts = [
        patch.get_xy()
        for patch in found.axes[0].patches
        if patch.get_label() == "front"
    ]
    maps, head = fronts[:19], fronts[19:]
    widths, heights = np.array([np.ptp(corners, axis=0).round(6) for corners in maps]).T
    assert list(heights) == sorted(heights, reverse=True)
    assert list(widths) == sorted(widths)
    assert len(set(heights)) == 6
    assert len(head) == 3


def siamese():
    shared = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, 2)])
    left, right = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    joined = layers.Subtract()([shared(left), shared(right)])
    return keras.Model([left, right], layers.Conv2D(2, 1)(joined), name="siamese")


def two_outputs():
    image = keras.Input((16, 16, 3))
    body = layers.Conv2D(8, 3, 2, padding="same")(image)
    label = layers.Dense(5)(layers.GlobalAveragePooling2D()(body))
    return keras.Model(image, {"mask": layers.Conv2D(1, 1)(body), "label": label})


def residual():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    for rate in (0.1, 0.2, 0.3):  # alike but for what is not drawn
        branch = layers.ReLU()(layers.BatchNormalization()(x))
        branch = layers.Dropout(rate)(layers.Conv2D(4, 3, padding="same")(branch))
        x = layers.Add()([x, branch])
    return keras.Model(image, x)


def unused_input():
    image, number = keras.Input((8, 8, 3)), keras.Input((4,))
    return keras.Model([image, number], layers.Conv2D(2, 3)(image))


def volume():
    stack = [layers.Conv3D(4, 3), layers.GlobalMaxPooling3D(), layers.Dense(2)]
    return keras.Sequential([keras.Input((8, 16, None, 1)), *stack])


def series():
    return keras.Sequential([keras.Input((None, 4)), layers.Conv1D(16, 9, 2)])


def perceptron():
    return keras.Sequential([keras.Input((20,)), layers.Dense(10), layers.Dense(3)])


def only_activation():
    image = keras.Input((8, 8, 3))
    return keras.Model(image, layers.Activation("relu")(image))


def scalar():
    number = keras.Input(())
    return keras.Model(number, keras.ops.exp(number))


@pytest.mark.parametrize(
    ("make", "expected", "count"),
    [
        (siamese, ["4", "8 x 8", "3 x 3", "input", "subtract"], {"merge": 2}),
        (two_outputs, ["8 x 8", "5", "output"], {"bar": 5, "dense": 1}),
        (residual, ["16 x 16", "3x3 conv 4", "x3"], {"identity": 1, "front": 3}),
        (unused_input, ["8 x 8", "6 x 6", "4", "unused"], {"bar": 3}),
        (volume, ["8 x 16 x ?", "3x3x3 conv 4", "dense 2"], {"front": 4}),
        (series, ["?", "1/2 of the input", "9 conv 16 /2"], {"front": 2}),
        (perceptron, ["vectors", "dense 10", "dense 3"], {"front": 3}),
        (only_activation, ["8 x 8", "input"], {"front": 1}),
        (scalar, ["exp"], {"front": 2}),
    ],
)
def test_any_other_network(make, expected, count):
    found = plot_architecture(make()).figure
    written = texts(found)
    assert set(expected) <= set(written)
    counts = drawn(found)
    assert {kind: counts[kind] for kind in count} == count
    assert faults(found) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shortcuts"),
    [("DenseNet121", {"concatenation": 4}), ("ResNet50", {"projection": 4})],
)
def test_networks_of_keras_applications(name, shortcuts):
    with without_weights():
        model = getattr(keras.applications, name)(weights=None)
    found = plot_architecture(model).figure
    counts = drawn(found)
    assert {kind: counts[kind] for kind in shortcuts} == shortcuts
    assert faults(found) == []


@pytest.mark.slow
def test_modules_without_names_are_found_by_structure():
    with without_weights():
        model = keras.applications.InceptionV3(weights=None)
    found = plot_architecture(model).figure
    assert drawn(found)["join"] == 10  # eleven, of which two are alike
    assert faults(found) == []


SAME = ("unet", "mini_resnet", "lenet")
CODE = f"""
import hashlib, convzoo
from convzoo.deferred import without_weights
from convzoo.inspect.architecture.plot import plot_architecture
for name in {SAME}:
    with without_weights():
        model = getattr(convzoo, name)()
    print(hashlib.sha256(plot_architecture(model).render("svg")).hexdigest())
"""


def test_the_same_model_gives_the_same_bytes_in_every_process(built):
    elsewhere = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.grid": True}):
        files = [plot_architecture(built(name)).render("svg") for name in SAME]
    assert [hashlib.sha256(file).hexdigest() for file in files] == elsewhere


def test_files(tmp_path, built):
    model = built("lenet")
    for suffix, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        file = tmp_path / f"lenet{suffix}"
        picture = plot_architecture(model, file)
        assert file.read_bytes().startswith(start)
        assert file.read_bytes() == picture.render(suffix[1:])
    assert picture._repr_svg_().startswith("<?xml")


def test_bad_files(tmp_path, built):
    with pytest.raises(
        ValueError, match=r"must end in one of .svg, .png, .pdf, found '\.dot'"
    ):
        plot_architecture("no model: files come first", tmp_path / "lenet.dot")
    with pytest.raises(OSError, match=r"no.svg' cannot be written: No such file"):
        plot_architecture(built("lenet"), tmp_path / "nowhere" / "no.svg")
    assert not list(tmp_path.iterdir())


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Subclassed(),
            "a functional or Sequential keras.Model, found Subclassed: ",
        ),
        (keras.Sequential([layers.Dense(2)]), "is a Sequential model without an input"),
        (
            "unet",
            "keras.Model, found str: build it, as in resnet50(), or open its",
        ),
    ],
)
def test_what_has_no_graph_is_refused(model, message):
    with pytest.raises(TypeError, match=re.escape(message)) as caught:
        plot_architecture(model)
    assert str(caught.value).count("\n") == 0
