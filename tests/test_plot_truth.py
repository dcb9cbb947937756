"""Diagrams of any model: nothing in them says what is not so."""

import re
import sys
import threading
from functools import partial
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from keras import layers, ops
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from convzoo import mini_resnet, mini_vgg, resnet50, unet
from convzoo.deferred import without_weights
from convzoo.inspect import dot, graph, matplotlib_graph, operations
from convzoo.inspect.graph import COPIED, CROPPED, model_graph
from convzoo.inspect.plot import plot_model


@pytest.fixture(autouse=True)
def _numbers_of_layers_start_anew():
    keras.utils.clear_session()


def boxes(model):
    return [node.name for node in model_graph(model).nodes]


def edges(model):
    found = model_graph(model)
    names = [node.name for node in found.nodes]
    return [(names[edge.source], names[edge.target]) for edge in found.edges]


def lines(model, name):
    nodes = {node.name: node for node in plot_model(model).graph.nodes}
    return nodes[name].lines


def outputs_of(model):
    return {
        node.name: [line for line in lines_of(node) if line.startswith("output")]
        for node in model_graph(model).nodes
        if node.outputs
    }


def lines_of(node):
    return dot.lines_of(node, show_shapes=True, show_layer_names=True)


def test_heads_side_by_side_are_no_chain():
    body = keras.Input((8,), name="body")
    x = layers.Dense(8, name="trunk1_fc")(body)
    sizes = {"age": 2, "sex": 5, "race": 2}
    heads = [layers.Dense(size, name=f"head_{n}")(x) for n, size in sizes.items()]
    model = keras.Model(body, heads)
    assert outputs_of(model) == {
        f"head_{name}": [f"output {size}"] for name, size in sizes.items()
    }
    assert edges(model)[1:] == [("trunk1", f"head_{name}") for name in sizes]
    (*_, head) = model_graph(model, "stage").nodes
    assert lines_of(head)[-3:] == ["output 2", "output 5", "output 2"]
    same = keras.Model(body, [layers.Dense(2, name=f"head_{n}")(x) for n in "ab"])
    (*_, head) = model_graph(same, "stage").nodes
    assert lines_of(head) == ["dense 2  x2 in parallel", "output 2  x2"]


def test_branches_joined_by_more_than_an_addition_stand_beside_each_other():
    image = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(4, 1, name="block1_a")(image)
    b = layers.Conv2D(4, 3, padding="same", name="block1_b")(image)
    model = keras.Model(image, layers.Concatenate(name="block1_concat")([a, b]))
    assert lines(model, "block1") == ("1x1 conv 4", "beside: 3x3 conv 4", "concat")


def test_an_output_has_the_shape_that_leaves():
    text = keras.Input((10, 4), name="text")
    states = layers.LSTM(8, return_sequences=True, return_state=True, name="rnn")(text)
    all_three = keras.Model(text, list(states))
    assert outputs_of(all_three) == {"rnn": ["output 10 x 8", "output 8  x2"]}
    one = keras.Model(text, [states[1], layers.Dense(2, name="head")(states[0])])
    assert outputs_of(one) == {"rnn": ["output 8"], "head": ["output 10 x 2"]}
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv1_conv")(image)
    y = layers.Conv2D(2, 1, name="head")(layers.MaxPooling2D(name="conv1_pool")(x))
    assert outputs_of(keras.Model(image, [x, y]))["conv1"] == ["output 8 x 8 x 4"]


def test_logits_that_leave_keep_their_box():
    image = keras.Input((4,), name="image")
    logits = layers.Dense(3)(image)
    model = keras.Model(image, [logits, layers.Softmax()(logits)])
    assert list(outputs_of(model).values()) == [["output 3"], ["output 3"]]


@pytest.mark.parametrize(
    ("makes", "texts"),
    [
        (
            [partial(layers.LSTM, 4, return_sequences=True), partial(layers.LSTM, 8)],
            ("LSTM 4", "LSTM 8"),
        ),
        (
            [partial(layers.Reshape, (2, 6)), partial(layers.Reshape, (3, 4))],
            ("reshape to 2x6", "reshape to 3x4"),
        ),
        (
            [
                partial(layers.Lambda, lambda t: t * 2),
                partial(layers.Lambda, lambda t: t - 3),
            ],
            ("lambda", "lambda"),
        ),
        (2 * [partial(layers.Dense, 12)], ("dense 12  x2",)),
        (
            [partial(layers.Dense, 12, use_bias=False), partial(layers.Dense, 12)],
            ("dense 12", "dense 12"),
        ),
    ],
)
def test_only_equal_operations_are_counted(makes, texts):
    x = image = keras.Input((3, 4), name="image")
    for number, make in enumerate(makes):
        x = make(name=f"block1_{number}")(x)
    model = keras.Model(image, layers.Flatten(name="head")(x))
    found = lines(model, "block1")
    assert tuple(line.split(",")[0] for line in found) == texts


@pytest.mark.parametrize(
    ("layer", "text", "kind"),
    [
        (
            layers.TimeDistributed(layers.Conv2D(4, 3)),
            "3x3 conv 4 at each time",
            "other",
        ),
        (layers.Bidirectional(layers.LSTM(4)), "bidirectional LSTM 4", "other"),
        (layers.Embedding(9, 4), "embedding 4", "other"),
        (
            layers.SpectralNormalization(layers.Conv2D(4, 3)),
            "3x3 conv 4",
            "convolution",
        ),
        (layers.ConvLSTM2D(4, 3), "3x3 conv LSTM 4, tanh", "convolution"),
        (layers.LeakyReLU(), "leaky ReLU", "activation"),
        (layers.PReLU(), "PReLU", "activation"),
        (layers.ReLU(negative_slope=0.2), "leaky ReLU", "activation"),
        (
            layers.Dense(2, activation=layers.LeakyReLU()),
            "dense 2, leaky ReLU",
            "dense",
        ),
        (layers.CenterCrop(4, 4), "center crop", "reshape"),
    ],
)
def test_wrappers_and_activations_in_shorthand(layer, text, kind):
    assert (operations.phrase(layer), operations.kind(layer)) == (text, kind)


class Dropout(layers.Layer):
    """A class of the user's with a name of Keras'."""


class Subsampling(layers.Layer):
    activation = "gelu"


class Scaled(layers.Conv2D):
    """A convolution of the user's."""


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Dropout(), "dropout"),
        (Subsampling(), "subsampling, GELU"),
        (Scaled(4, 3), "3x3 conv 4"),
    ],
)
def test_classes_of_the_users_may_have_any_name(layer, text):
    assert operations.phrase(layer) == text


def test_a_mask_is_no_convolution():
    text = keras.Input((5,), name="text")
    x = layers.Embedding(9, 4, mask_zero=True)(text)
    model = keras.Model(text, layers.LSTM(3)(x))
    kinds = {node.kind for node in plot_model(model, level="layer").graph.nodes}
    assert "convolution" not in kinds


@pytest.mark.parametrize(
    "name", ["silu", "leaky_relu", "selu", "softplus", "log_softmax"]
)
def test_activations_as_operations_finish_a_box(name):
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    model = keras.Model(image, getattr(ops, name)(x))
    assert len(boxes(model)) == 2


def test_skips_leave_the_shapes_of_the_main_way():
    with without_weights():
        found = model_graph(unet(input_shape=(256, 256, 1)))
    names = [node.name for node in found.nodes]
    told = {
        (names[e.source], names[e.target]): e.shape[1:] for e in found.edges if e.label
    }
    assert told["up4", "up3"] == (32, 32, 512)
    assert told["up1", "head"] == (256, 256, 64)


def test_every_shape_between_two_boxes_is_told():
    text = keras.Input((10,), name="text")
    a, b = ops.split(text, [3], -1)
    model = keras.Model(text, layers.Concatenate(name="both")([b, a]))
    found = model_graph(model, "layer")
    assert sorted(e.shape for e in found.edges if e.label) == [
        (None, 3),
        (None, 7),
        (None, 10),
    ]


def attention_gate():
    image = keras.Input((16, 16, 3), name="image")
    skip = layers.Conv2D(4, 3, padding="same", name="down1_conv")(image)
    x = layers.Conv2D(8, 3, padding="same", name="bottom_conv")(
        layers.MaxPooling2D(name="down1_pool")(skip)
    )
    up = layers.Conv2DTranspose(4, 2, 2, name="up1_up")(x)
    gate = layers.Add(name="up1_add")([up, layers.Conv2D(4, 1, name="up1_conv")(skip)])
    gate = layers.Conv2D(1, 1, activation="sigmoid", name="up1_gate")(gate)
    x = layers.Multiply(name="up1_weighed")([skip, gate])
    return keras.Model(image, layers.Concatenate(name="up1_concat")([up, x]))


def cropped(crop):
    image = keras.Input((16, 16, 3), name="image")
    skip = layers.Conv2D(4, 3, padding="same", name="down1_conv")(image)
    x = layers.Conv2D(8, 3, name="bottom_conv")(
        layers.MaxPooling2D(name="down1_pool")(skip)
    )
    x = layers.Conv2DTranspose(4, 2, 2, name="up1_up")(x)
    return keras.Model(image, layers.Concatenate(name="up1_concat")([crop(skip), x]))


@pytest.mark.parametrize(
    ("make", "link"),
    [
        (attention_gate, COPIED),
        (lambda: cropped(layers.CenterCrop(12, 12)), CROPPED),
        (lambda: cropped(layers.Cropping2D(2)), CROPPED),
        (lambda: cropped(lambda x: x[:, 2:14, 2:14]), CROPPED),
    ],
)
def test_links_are_called_by_how_they_are_taken_up(make, link):
    links = {edge.link for edge in plot_model(make()).graph.edges}
    assert links == {"", link}


def test_casts_to_other_numbers_are_not_equal():
    x = image = keras.Input((4,), name="image")
    for dtype in ("float16", "float64", "int32"):
        x = ops.cast(x, dtype)
    assert all(
        node.repeats == 1 for node in plot_model(keras.Model(image, x)).graph.nodes
    )


def test_a_long_way_around_is_no_box():
    x = image = keras.Input((6, 8), name="image")
    for _ in range(10):
        x = layers.TimeDistributed(layers.Dense(8))(x)
    model = keras.Model(image, layers.Add()([image, x]))
    assert boxes(model) == ["image", "time_distributed .. time_distributed_9", "add"]


def test_one_name_for_all_says_nothing():
    x = image = keras.Input((8, 8, 3), name="image")
    for number in (1, 2):
        x = layers.Conv2D(4 * number, 3, name=f"mynet_conv{number}")(x)
        x = layers.BatchNormalization(name=f"mynet_bn{number}")(x)
    model = keras.Model(
        image, layers.Dense(2, name="mynet_fc")(layers.Flatten(name="mynet_flatten")(x))
    )
    assert len(boxes(model)) == 5
    assert lines(model, "mynet_conv1") == ("3x3 conv 4, BN",)


def test_blocks_may_be_numbered_apart():
    x = image = keras.Input((8, 8, 4), name="image")
    for block in (0, 1, 2):
        y = layers.Conv2D(4, 3, padding="same", name=f"stage_1_block_{block}_conv")(x)
        x = layers.Add(name=f"stage_1_block_{block}_add")([x, y])
    model = keras.Model(image, layers.Flatten(name="head")(x))
    assert [node.repeats for node in plot_model(model).graph.nodes] == [1, 3, 1]


def test_a_layer_used_again_is_no_row():
    x = image = keras.Input((8,), name="image")
    shared = layers.Dense(8, name="shared")
    for layer in (
        shared,
        layers.Dense(8, name="other"),
        shared,
        layers.Dense(8, name="third"),
    ):
        x = layer(x)
    assert boxes(keras.Model(image, x)) == [
        *("image", "shared .. other", "shared#2", "third")
    ]


def test_long_rows_are_read_in_linear_steps(monkeypatch):
    """Every call was once compared with every other: minutes for a published depth."""
    steps = []
    original = graph.reachable
    monkeypatch.setattr(graph, "reachable", lambda *a: steps.append(a) or original(*a))
    with without_weights():
        model = mini_resnet(depth=110)
    assert len(model_graph(model, "layer").nodes) == 45
    assert len(steps) < 4 * len(model.layers)


class MixedOperation(layers.Layer):
    operations = (1,)

    def call(self, x):
        return x * 2


def test_a_layer_may_have_operations():
    image = keras.Input((8,), name="image")
    model = keras.Model(image, MixedOperation(name="mix")(image))
    assert boxes(model) == ["image", "mix"]


def test_layers_that_do_not_tell_their_settings():
    lock = threading.Lock()
    image = keras.Input((8,), name="image")
    model = keras.Model(image, layers.Lambda(lambda x: (lock, x)[1])(image))
    with pytest.raises(TypeError, match=r"cannot be read, .*\(TypeError\): ") as caught:
        plot_model(model)
    assert str(caught.value).count("\n") == 0


def test_an_empty_model_is_called_so():
    with pytest.raises(TypeError, match="'empty' has no layers"):
        plot_model(keras.Sequential([keras.Input((3,))], name="empty"))


NAMES = ["two\nlines", r"back\N\Gslash", "bell\x08"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("renderer", ["pygraphviz", "matplotlib"])
def test_strange_letters_are_one_line_of_text(name, renderer, monkeypatch):
    monkeypatch.setenv("PATH", "")
    if renderer == "matplotlib":
        monkeypatch.setitem(sys.modules, "pygraphviz", None)
    else:
        pytest.importorskip("pygraphviz")
    image = keras.Input((4,), name="image")
    model = keras.Model(image, layers.Dense(2, name=name)(image))
    page = ElementTree.fromstring(plot_model(model, level="layer").render("svg"))
    texts = [
        "".join(t.itertext()) for t in page.iter("{http://www.w3.org/2000/svg}text")
    ]
    assert name.replace("\n", " ").replace("\x08", " ").strip() in [
        t.strip() for t in texts
    ]


def test_nothing_crosses_the_title_of_a_frame():
    """A frame is as wide to the left of what enters it as its title is long."""
    with without_weights():
        found = model_graph(resnet50(), "layer")
    options = {"show_shapes": True, "show_layer_names": True, "rankdir": "TB"}
    text = dot.dot_text(found, **options)
    titles = {members[0]: title for title, members in dot.clusters_of(found)}
    widened = {titles[n] for n in titles if f"space{n} " in text}
    # Beside a projection there is room, and short names need none.
    assert widened == {title for title in titles.values() if "  x" in title}


@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_shapes_stand_beside_their_edges(rankdir):
    """By matplotlib, near the middle of the edge and on no box."""
    with without_weights():
        found = model_graph(mini_vgg())
    options = {"show_shapes": True, "show_layer_names": True, "dpi": 72}
    (axes,) = matplotlib_graph.draw(found, rankdir=rankdir, **options).figure.axes
    shapes = [t for t in axes.texts if re.fullmatch(r"\d+( x \d+)+", t.get_text())]
    assert [t.get_text() for t in shapes] == [
        operations.shape_text(edge.shape) for edge in found.edges if edge.label
    ]
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    boxes = [b.get_window_extent(renderer) for b in axes.findobj(FancyBboxPatch)]
    arrows = axes.findobj(FancyArrowPatch)
    lines = [arrow.get_path().get_extents(axes.transData) for arrow in arrows]
    middles = [(line.min + line.max) / 2 for line in lines]
    along, across = (1, 0) if rankdir == "TB" else (0, 1)
    for text in shapes:
        span = text.get_window_extent(renderer)
        assert not any(span.overlaps(box) for box in boxes)
        apart = [(span.min + span.max) / 2 - middle for middle in middles]
        nearest = min(apart, key=lambda away: np.hypot(*away))
        assert abs(nearest[along]) < 12
        assert abs(nearest[across]) < span.size[across] / 2 + 12
