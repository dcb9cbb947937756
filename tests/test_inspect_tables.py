"""Counts and tables, on the zoo's models and on those of others."""

import io
import json

import keras
import pytest
from foreign_nets import FOREIGN, application, nested, repeated, small
from keras import layers
from rich.console import Console
from structure import skeleton

from convzoo.calls import network
from convzoo.catalog import CATALOG
from convzoo.inspect import operations
from convzoo.inspect.cost import macs
from convzoo.inspect.graph import model_graph
from convzoo.inspect.plot import plot_model
from convzoo.inspect.tables import summary
from convzoo.terminal import print_models

LEVELS = ("stage", "block", "layer")


class Same(keras.Model):
    def call(self, inputs):
        return inputs


class Projected(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(units)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(inputs)


class Described(Projected):
    def get_config(self):
        return {"units": self.dense.units, "name": self.name}


# Counting


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("VGG16", 15_470_264_320),
        ("MobileNet", 568_740_352),
        ("ResNet50", 3_857_973_248),
        ("Xception", 8_357_403_496),
        ("InceptionV3", 5_713_216_096),
    ],
)
def test_macs_are_the_published_ones(name, count):
    assert sum(macs(application(name)).values()) == count


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("lenet", {"variant": "paper"}, 326_520),
        ("alexnet", {}, 724_406_816),
        ("unet", {"variant": "paper"}, 150_428_424_448),
    ],
)
def test_macs_of_paper_layers(name, options, count):
    assert sum(macs(skeleton(name, **options)).values()) == count


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (layers.Conv2D(5, (3, 2), use_bias=True), (8, 9, 4), 6 * 8 * 3 * 2 * 4 * 5),
        (layers.Conv2D(6, 3, groups=2, padding="same"), (4, 4, 4), 16 * 9 * 2 * 6),
        (layers.Conv2DTranspose(5, 2, strides=2), (3, 3, 4), 9 * 4 * 4 * 5),
        (layers.DepthwiseConv2D(3, strides=2), (9, 9, 4), 16 * 9 * 4),
        (layers.SeparableConv2D(5, 3), (6, 6, 4), 16 * (9 * 4 + 4 * 5)),
        (layers.Conv2D(2, 3, data_format="channels_first"), (3, 8, 8), 36 * 27 * 2),
        (layers.Dense(7), (5, 3), 5 * 3 * 7),
        (layers.BatchNormalization(), (4, 4, 3), 0),
        (layers.Conv2D(2, 3), (None, 8, 3), None),
        (layers.LSTM(3), (5, 2), None),
    ],
)
def test_macs_by_hand(layer, shape, count):
    source = keras.Input(shape)
    assert macs(keras.Model(source, layer(source)))[layer.name] == count


def test_macs_of_a_layer_called_three_times():
    assert macs(repeated())["shared"] == 3 * 16


def test_macs_of_models_inside_a_model():
    found = macs(nested())
    # inner is called twice, so counted twice.
    assert found["inner"] == 2 * 36 * 9 * 3 * 4
    assert found["tail"] == 16 * 9 * 4 * 2


def test_macs_of_an_inner_model_on_another_size_are_unknown():
    any_size = keras.Input((None, None, 3))
    inner = keras.Model(any_size, layers.Conv2D(4, 3)(any_size), name="inner")
    image = keras.Input((8, 8, 3))
    assert macs(keras.Model(image, inner(image)))["inner"] is None


def test_macs_of_an_inner_model_without_a_graph_are_unknown():
    image = keras.Input((8,))
    model = keras.Model(
        image, [Described(3, name="projected")(image), Same(name="same")(image)]
    )
    assert macs(model)["projected"] is None
    assert macs(model)["same"] == 0


def test_a_layer_that_does_not_describe_itself_is_named():
    image = keras.Input((8,))
    model = keras.Model(image, Projected(layers.Dense(3).units, name="x")(image))
    assert model.count_params() == 27
    with pytest.raises(TypeError, match=r"cannot be read, .*: .*Projected.*get_config"):
        macs(model)


def test_outputs_of_one_call_are_told_apart():
    image = keras.Input((4, 8, 3))
    left, right = keras.ops.split(image, [2], axis=2)
    wide, narrow = (
        layers.Conv2DTranspose(5, 1, name=name)(part)
        for name, part in (("wide", right), ("narrow", left))
    )
    found = macs(keras.Model(image, [wide, narrow]))
    assert (found["wide"], found["narrow"]) == (4 * 6 * 15, 4 * 2 * 15)


# Models of other people


@pytest.mark.parametrize("make", FOREIGN)
@pytest.mark.parametrize("level", LEVELS)
def test_foreign_models_are_drawn_and_tabulated(make, level):
    model = make()
    graph = model_graph(model, level)
    drawn = [call for node in graph.nodes for call in node.calls]
    assert sorted(drawn) == sorted(network(model).calls)
    assert all(edge.source < edge.target for edge in graph.edges)
    assert summary(model, level=level).totals.parameters == model.count_params()


@pytest.mark.parametrize("name", ["InceptionV3", "MobileNet", "DenseNet121"])
@pytest.mark.parametrize("level", ["stage", "block"])
def test_networks_with_other_names_are_drawn_in_order(name, level):
    graph = model_graph(application(name), level)
    assert all(edge.source < edge.target for edge in graph.edges)
    assert sum(bool(node.outputs) for node in graph.nodes) == 1


# Words


@pytest.mark.parametrize(
    ("layer", "text", "kind"),
    [
        (layers.Conv1D(4, 3, activation="gelu"), "3 conv 4, GELU", "convolution"),
        (layers.Conv2D(4, 3, dilation_rate=2), "3x3 conv 4, dilated 2", "convolution"),
        (layers.Conv2D(4, 1, groups=2), "1x1 conv 4, 2 groups", "convolution"),
        (layers.Conv2D(4, (1, 3), (1, 2)), "1x3 conv 4 /1x2", "convolution"),
        (layers.DepthwiseConv2D(3), "3x3 depthwise conv", "separable convolution"),
        (
            layers.Conv2DTranspose(4, 2, 2),
            "2x2 transposed conv 4, up 2",
            "transposed convolution",
        ),
        (layers.Conv1DTranspose(4, 3), "3 transposed conv 4", "transposed convolution"),
        (
            layers.Conv2DTranspose(4, 3, (1, 2), activation="tanh"),
            "3x3 transposed conv 4, up 1x2, tanh",
            "transposed convolution",
        ),
        (layers.UpSampling2D(2), "upsample x2", "upsampling"),
        (layers.UpSampling1D(3), "upsample x3", "upsampling"),
        (layers.ZeroPadding2D(((0, 1), (0, 1))), "pad 0-1", "reshape"),
        (layers.ZeroPadding1D(2), "pad 2", "reshape"),
        (layers.GlobalMaxPooling2D(), "global max pool", "pooling"),
        (layers.LayerNormalization(), "LN", "normalization"),
        (layers.Activation("log_softmax"), "log softmax", "activation"),
        (layers.SpatialDropout2D(0.25), "spatial dropout 0.25", "regularization"),
        (layers.EinsumDense("ab,bc->ac", 3), "einsum dense", "dense"),
        (layers.LSTM(3), "LSTM 3, tanh", "other"),
    ],
)
def test_operations_in_shorthand(layer, text, kind):
    assert (operations.phrase(layer), operations.kind(layer)) == (text, kind)


# Tables


def test_summary_of_a_name_has_the_exact_counts():
    found = summary("resnet50")
    assert found.totals == (25_610_152, 25_557_032, 3_857_973_248)
    row = next(row for row in found.rows if row.name == "conv4_block2..6")
    assert (row.repeats, row.stride, row.output_shape) == (5, 16, (None, 14, 14, 1024))
    one = 14 * 14 * (1024 * 256 + 9 * 256 * 256 + 256 * 1024)
    assert row.macs == 5 * one
    assert row.receptive_field == (291, 291)
    assert row.macs_share == 5 * one / 3_857_973_248
    assert row.parameters_share == row.parameters / 25_610_152
    assert sum(row.parameters_share for row in found.rows) == pytest.approx(1)
    assert (found.rows[-1].receptive_field, found.rows[-1].stride) == ("all", 32)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_share_totals(level):
    model = skeleton("googlenet", aux=True)
    found = summary(model, level=level)
    assert found.totals == summary(model, level="layer").totals
    assert found.totals.parameters == 13_378_280


def test_activations_inside_layers_are_told_but_for_relu():
    operations_of = {row.name: row.operations for row in summary("lenet").rows}
    arrow = " \N{RIGHTWARDS ARROW} "
    assert operations_of["c1"] == ("5x5 conv 6, tanh",)
    assert operations_of["head"] == (f"dense 84, tanh{arrow}dense 10, softmax",)
    (first, *_) = summary("vgg16", level="block").rows[1:]
    assert first.operations == (f"3x3 conv 64{arrow}3x3 64{arrow}2x2 max pool /2",)


def test_an_input_that_nothing_reads_has_a_row():
    image, unread = keras.Input((4,), name="image"), keras.Input((5,), name="unread")
    model = keras.Model([unread, image], layers.Dense(2, name="dense")(image))
    rows = {row.name: row for row in summary(model, level="layer").rows}
    assert list(rows) == ["image", "dense", "unread"]
    assert rows["unread"].output_shape == (None, 5)


def test_quantized_kernels_count_as_before_they_were_packed():
    model = small()
    before = macs(model)
    model.layers[-1].quantize("int4")
    kernel = next(w for w in model.layers[-1].weights if w.name == "kernel")
    assert kernel.shape != (8, 10)
    assert macs(model) == before
    assert before["head_predictions"] == 80


def test_unknown_macs_are_a_dash():
    found = summary("unet")
    assert found.totals.macs is None
    assert {row.macs_share for row in found.rows} == {None}
    assert str(found).splitlines()[-1].split()[-1] == "-"


def test_summary_shows_itself():
    found = summary(small())
    text = str(found)
    assert "conv2_block1..3 x3" in text
    assert repr(found) == text
    widths = {len(line) for line in text.splitlines() if set(line) == {"-"}}
    assert widths == {max(map(len, text.splitlines()[1:]))}
    screen = Console(file=io.StringIO(), width=120)
    found.print(screen)
    assert "conv2_block1..3 x3" in screen.file.getvalue()
    assert "<td style" in found._repr_html_()
    assert found._repr_html_().count("<tr>") == len(found.rows) + 2


@pytest.mark.parametrize(
    ("width", "gone"),
    [
        (160, ()),
        (112, ("share",)),
        (104, ("share", "stride")),
        (92, ("share", "stride", "trainable ")),
        (80, ("share", "stride", "trainable ", "receptive")),
        (70, ("share", "stride", "trainable ", "receptive", "operations")),
        (40, ("share", "stride", "trainable ", "receptive", "operations")),
    ],
)
def test_a_narrow_terminal_goes_without_columns(width, gone):
    screen = Console(file=io.StringIO(), width=width)
    summary("mobilenet").print(screen)
    shown = screen.file.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    total = shown[shown.index("total") :]
    for number in ("4,253,864", "4,231,976", "568,740,352"):
        assert number in total
    assert "stage4_block2..6 x5" in shown
    for title in ("share", "stride", "trainable ", "receptive", "operations"):
        assert (title in shown) == (title not in gone)
    if width >= 70:
        assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize(
    ("width", "there", "gone"),
    [
        (120, ("Paper", "Input", "Top-1", "71.3%"), ()),
        (90, ("Input", "Top-1"), ("Paper",)),
        (80, ("Input", "32 x 32 x 1"), ("Paper", "Top-1")),
        (65, (), ("Paper", "Input", "Top-1")),
        (20, (), ("Paper", "Input", "Top-1")),
    ],
)
def test_a_narrow_terminal_lists_models_without_columns(width, there, gone):
    screen = Console(file=io.StringIO(), width=width)
    print_models(list(CATALOG.values()), {name: ["mnist"] for name in CATALOG}, screen)
    shown = screen.file.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    for text in ("modern", "zhang2017", "61,706", "15,470.3 M", "mnist", *there):
        assert text in shown
    assert not [text for text in gone if text in shown]
    if width >= 65:
        assert max(map(len, shown.splitlines())) <= width


def test_a_pipe_gets_every_column(capsys):
    summary("lenet").print()
    assert "operations" in (shown := capsys.readouterr().out)
    assert "dense 84, tanh \N{RIGHTWARDS ARROW} dense 10, softmax" in shown
    summary("mobilenet").print()
    assert "stride" in capsys.readouterr().out


def test_a_diagram_is_one_line_at_a_prompt():
    model = small()
    figure = plot_model(model)
    boxes = len(figure.graph.nodes)
    assert boxes > 1
    assert repr(figure) == f"<Figure 'small': {boxes} boxes>"
    assert figure._repr_svg_().count("<svg") == 1


def test_summary_as_data():
    data = json.loads(json.dumps(summary(small()).to_dict()))
    assert data["totals"]["parameters"] == small().count_params()
    assert data["rows"][2]["operations"]
    assert data["rows"][2]["output_shape"] == [None, 16, 16, 8]


def test_receptive_fields_in_words():
    assert summary("lenet").rows[1].receptive_field == (5, 5)
    image = keras.Input((9, 9, 1), name="image")
    x = layers.Conv2D(1, (1, 3), name="wide1")(image)
    model = keras.Model(image, layers.Reshape((7, 9), name="turned1")(x))
    lines = str(summary(model, level="layer")).splitlines()
    assert lines[1].endswith("receptive field  stride")
    assert lines[4].endswith(" 1 x 3       1")
    assert lines[5].endswith(" ?       1")
    data = summary(model, level="layer").to_dict()
    assert [row["receptive_field"] for row in data["rows"]] == [[1, 1], [1, 3], None]
    vector = keras.Input((4,), name="vector")
    (row, _) = summary(keras.Model(vector, layers.ReLU()(vector)), level="layer").rows
    assert row.receptive_field == ()


def test_frozen_layers_are_not_trainable():
    model = small()
    model.get_layer("head_predictions").trainable = False
    rows = {row.name: row for row in summary(model).rows}
    assert (rows["head"].parameters, rows["head"].trainable) == (90, 0)


def test_unknown_builder():
    with pytest.raises(ValueError, match=r"model='resnet5' .*did you mean 'resnet50'"):
        summary("resnet5")
    with pytest.raises(ValueError, match=r"model='stages' .*accepted: 'lenet', "):
        summary("stages")
