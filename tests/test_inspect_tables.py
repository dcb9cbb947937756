"""Counts and tables, on the zoo's models and on those of others."""

import io
import json

import keras
import pytest
from keras import layers
from rich.console import Console

import convzoo
from convzoo.anatomy import layer_strides
from convzoo.deferred import without_weights
from convzoo.inspect import operations
from convzoo.inspect.calls import network, strides
from convzoo.inspect.cost import macs
from convzoo.inspect.graph import model_graph
from convzoo.inspect.tables import summary

LEVELS = ("stage", "block", "layer")


def build(name, **options):
    with without_weights():
        return getattr(convzoo, name)(**options)


def application(name):
    with without_weights():
        return getattr(keras.applications, name)(weights=None)


def small(blocks=3, side=16):
    """Residual network of two stages whose names follow the zoo's rule."""
    image = keras.Input((side, side, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv1_conv")(image)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.ReLU(name="conv1_relu")(x)
    for number in range(1, blocks + 1):
        name = f"conv2_block{number}"
        y = layers.Conv2D(8, 3, padding="same", name=f"{name}_1_conv")(x)
        y = layers.ReLU(6.0, name=f"{name}_1_relu")(y)
        y = layers.Conv2D(8, 3, padding="same", name=f"{name}_2_conv")(y)
        x = layers.Add(name=f"{name}_add")([x, y])
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dense(10, activation="softmax", name="head_predictions")(x)
    return keras.Model(image, x, name="small")


def repeated():
    """One dense layer called three times, once on its own output."""
    shared = layers.Dense(4, name="shared")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    total = layers.Add(name="total")([shared(shared(left)), shared(right)])
    return keras.Model([left, right], total, name="repeated")


def nested():
    """A functional and a Sequential model inside a model; its output is a model's."""
    image = keras.Input((8, 8, 3))
    inner = keras.Model(image, layers.Conv2D(4, 3)(image), name="inner")
    tail = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(2, 3)], name="tail")
    outer = keras.Input((8, 8, 3), name="image")
    return keras.Model(outer, [inner(outer), tail(inner(outer))], name="nested")


def with_operations():
    image = keras.Input((8, 8, 3), name="image")
    doubled = keras.ops.concatenate([image * 2.0, keras.ops.relu(image)], axis=-1)
    return keras.Model(image, layers.Conv2D(2, 3, name="conv1")(doubled))


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.Flatten(),
            layers.Dense(2),
        ],
        name="sequential",
    )


def named_outputs():
    image = keras.Input((8,), name="image")
    b, a = layers.Dense(2, name="b1")(image), layers.Dense(3, name="a1")(image)
    return keras.Model({"image": image}, {"z": a, "first": b})


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


FOREIGN = (repeated, nested, with_operations, sequential, named_outputs)


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
    assert sum(macs(build(name, **options)).values()) == count


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
    with pytest.raises(TypeError, match=r"cannot be read: .*Projected.*get_config"):
        macs(model)


@pytest.mark.parametrize("name", ["MobileNet", "InceptionV3"])
def test_strides_agree_with_the_anatomy(name):
    model = application(name)
    assert strides(network(model)) == layer_strides(model)


# Reading a model


def test_calls_of_a_shared_layer_are_told_apart():
    net = network(repeated())
    found = {name: [t.call for t in call.sources] for name, call in net.calls.items()}
    assert sorted(found) == ["left", "right", "shared", "shared#2", "shared#3", "total"]
    assert len(found["total"]) == 2
    order = list(net.calls)
    assert all(order.index(s) < order.index(n) for n in found for s in found[n])


def test_shapes_of_dictionary_outputs():
    net = network(named_outputs())
    assert {(t.call, net.shapes[t]) for t in net.outputs} == {
        ("a1", (None, 3)),
        ("b1", (None, 2)),
    }


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
    assert sum(node.output for node in graph.nodes) == 1


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
            "2x2 up-conv 4, x2",
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
        (layers.LSTM(3), "LSTM, tanh", "other"),
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


@pytest.mark.parametrize("level", LEVELS)
def test_levels_share_totals(level):
    model = build("googlenet", aux=True)
    found = summary(model, level=level)
    assert found.totals == summary(model, level="layer").totals
    assert found.totals.parameters == 13_378_280


def test_unknown_macs_are_a_dash():
    found = summary("unet")
    assert found.totals.macs is None
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


def test_summary_as_data():
    data = json.loads(json.dumps(summary(small()).to_dict()))
    assert data["totals"]["parameters"] == small().count_params()
    assert data["rows"][2]["operations"]
    assert data["rows"][2]["output_shape"] == [None, 16, 16, 8]


def test_frozen_layers_are_not_trainable():
    model = small()
    model.get_layer("head_predictions").trainable = False
    rows = {row.name: row for row in summary(model).rows}
    assert (rows["head"].parameters, rows["head"].trainable) == (90, 0)


def test_unknown_builder():
    with pytest.raises(ValueError, match=r"found 'resnet5': did you mean 'resnet50'"):
        summary("resnet5")
    with pytest.raises(ValueError, match=r"found 'stages'.*choose one of .*'lenet'"):
        summary("stages")
