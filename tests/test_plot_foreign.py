"""Diagrams of models that are not of the zoo: what is a box, and what joins them."""

import itertools
import time

import keras
import pytest
from foreign_nets import application, named_outputs, nested, repeated, sequential
from keras import layers, ops

from convzoo.inspect.dot import clusters_of
from convzoo.inspect.graph import model_graph
from convzoo.inspect.layered import Item, Link, layout
from convzoo.inspect.plot import plot_model

ARROW = " \N{RIGHTWARDS ARROW} "


@pytest.fixture(autouse=True)
def _numbers_of_layers_start_anew():
    keras.utils.clear_session()


def boxes(model, level="block", **options):
    return [node.name for node in model_graph(model, level, **options).nodes]


def edges(model, level="block", **options):
    graph = model_graph(model, level, **options)
    names = [node.name for node in graph.nodes]
    return [(names[e.source], names[e.target]) for e in graph.edges]


# Kinds of models


def test_layers_called_again():
    """Drawn each by itself: a row of boxes would have weights of their own."""
    assert edges(repeated()) == [
        ("left", "shared"),
        ("shared", "shared#2"),
        ("shared#2", "total"),
        ("right", "shared#3"),
        ("shared#3", "total"),
    ]


def test_models_in_models():
    graph = model_graph(nested())
    assert edges(nested()) == [
        ("image", "inner"),
        ("image", "inner#2"),
        ("inner#2", "tail"),
    ]
    assert [node.kind for node in graph.nodes] == ["input", "model", "model", "model"]
    assert [node.name for node in graph.nodes if node.outputs] == ["inner", "tail"]


def test_sequential_models():
    names = ["input_layer", "conv2d", "flatten", "dense"]
    assert edges(sequential()) == list(itertools.pairwise(names))


def test_outputs_by_name():
    assert edges(named_outputs()) == [("image", "b1"), ("image", "a1")]


def test_operations_are_boxes():
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    both = ops.add(a, b) + a
    twice = layers.Lambda(lambda t: t * 2, name="twice")(both)
    model = keras.Model([a, b], [twice, ops.relu(both) * 3])
    assert edges(model) == [
        ("a", "add"),
        ("a", "add_1"),
        ("b", "add"),
        ("add", "add_1"),
        ("add_1", "twice"),
        ("add_1", "relu"),
        ("relu", "multiply"),
    ]
    assert [node.name for node in model_graph(model).nodes if node.outputs] == [
        "twice",
        "multiply",
    ]


def test_siamese_towers():
    image = keras.Input((8, 8, 1))
    vector = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    tower = keras.Model(image, vector, name="tower")
    left, right = (
        keras.Input((8, 8, 1), name="left"),
        keras.Input((8, 8, 1), name="right"),
    )
    model = keras.Model([left, right], ops.abs(tower(left) - tower(right)))
    assert edges(model) == [
        ("left", "tower"),
        ("tower", "subtract"),
        ("right", "tower#2"),
        ("tower#2", "subtract"),
        ("subtract", "absolute"),
    ]


def test_layers_with_several_outputs():
    image = keras.Input((8,), name="image")
    left, right = ops.split(image, 2, axis=-1)
    both = layers.Concatenate(name="both")([right, layers.Dense(4)(left)])
    model = keras.Model(image, both)
    assert edges(model, "layer") == [
        ("image", "split"),
        ("split", "dense"),
        ("split", "both"),
        ("dense", "both"),
    ]


def test_inputs_that_are_outputs_or_unread():
    image, unread = keras.Input((4,), name="image"), keras.Input((4,), name="unread")
    other = keras.Input((4,), name="other")
    model = keras.Model([unread, image, other], [image, layers.Dense(2)(image)])
    graph = model_graph(model)
    assert edges(model) == [("image", "dense")]
    assert boxes(model) == ["image", "dense", "unread", "other"]
    assert [bool(node.outputs) for node in graph.nodes] == [True, True, False, False]
    assert [node.shape for node in graph.nodes] == [
        (None, 4),
        (None, 2),
        (None, 4),
        (None, 4),
    ]
    assert "output 4" in plot_model(keras.Model(image, image)).dot


def test_sequences_volumes_and_fixed_batches():
    text = keras.Input((None, 4), name="text")
    x = layers.Conv1D(8, 3, activation="relu")(text)
    dot = plot_model(keras.Model(text, layers.MaxPooling1D(2)(x))).dot
    assert "3 conv 8, ReLU" in dot
    assert "? x 8" in dot
    volume = keras.Input((8, 8, 8, 1), name="volume")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv3D(4, 3)(volume)))
    dot = plot_model(keras.Model(volume, layers.GlobalAveragePooling3D()(x))).dot
    assert "3x3x3 conv 4, BN, ReLU" in dot
    assert "6 x 6 x 6 x 4" in dot
    pair = keras.Input(batch_shape=(2, 4), name="pair")
    scalar = keras.Input(batch_shape=(), name="scalar")
    dot = plot_model(keras.Model([pair, scalar], layers.Dense(2)(pair) * scalar)).dot
    assert 'label=" scalar"' in dot
    assert "output 2<" in dot


def test_heads_of_equal_depth_are_no_side_heads():
    image = keras.Input((8, 8, 3), name="image")
    trunk = layers.GlobalAveragePooling2D()(conv(conv(image, 4), 4))
    heads = [layers.Dense(2)(trunk), layers.Dense(3)(layers.Dense(4)(trunk))]
    graph = model_graph(keras.Model(image, heads))
    assert not any(edge.link for edge in graph.edges)


# What makes a box where names say nothing


def conv(x, filters, size=3, strides=1):
    return layers.Conv2D(filters, size, strides, padding="same", activation="relu")(x)


def residual(x, filters=8, convolutions=2):
    y = x
    for _ in range(convolutions):
        y = layers.ReLU()(
            layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        )
    return layers.ReLU()(layers.Add()([x, y]))


def test_a_fork_and_its_join_are_a_box_and_equal_ones_one():
    x = image = keras.Input((16, 16, 8), name="image")
    for _ in range(3):
        x = residual(x)
    (_, row) = model_graph(keras.Model(image, x)).nodes
    assert (row.name, row.repeats) == ("add .. add_2", 3)
    assert row.lines == ("3x3 conv 8, BN, ReLU  x2", "shortcut: identity", "add, ReLU")
    names = boxes(keras.Model(image, x), collapse=False)
    assert names == ["image", "add", "add_1", "add_2"]


def test_deep_branches_are_no_box():
    image = keras.Input((16, 16, 8), name="image")
    assert boxes(keras.Model(image, residual(image, convolutions=6))) == [
        "image",
        "add",
    ]
    keras.utils.clear_session()
    image = keras.Input((16, 16, 8), name="image")
    deep = keras.Model(image, residual(image, convolutions=7))
    assert len(boxes(deep, collapse=False)) == 1 + 7 + 1


def test_the_levels_of_a_unet_are_no_box():
    image = keras.Input((None, None, 1), name="image")
    first = conv(image, 4)
    second = conv(layers.MaxPooling2D()(first), 8)
    x = conv(layers.MaxPooling2D()(second), 16)
    x = conv(layers.Concatenate()([second, layers.UpSampling2D()(x)]), 8)
    x = conv(layers.Concatenate()([first, layers.UpSampling2D()(x)]), 4)
    model = keras.Model(image, x)
    assert len(boxes(model)) == len(model.layers)
    graph = model_graph(model)
    assert [e.link for e in graph.edges if e.link] == ["skip connection"] * 2


def test_branches_that_shrink_alike_are_a_box():
    image = keras.Input((17, 17, 8), name="image")
    pooled = layers.MaxPooling2D(3, 2, padding="same")(image)
    both = layers.Concatenate(name="reduce")([conv(image, 8, 3, 2), pooled])
    (_, box) = model_graph(keras.Model(image, both)).nodes
    assert box.name == "reduce"
    assert box.lines == (
        "3x3 conv 8 /2, ReLU",
        "beside: 3x3 max pool /2",
        "concat",
    )


def test_the_outermost_fork_wins():
    image = keras.Input((16, 16, 8), name="image")
    inner = layers.Concatenate()([conv(image, 8, 1), conv(image, 8, 3)])
    outer = layers.Add()([image, conv(inner, 8, 1)])
    assert boxes(keras.Model(image, outer)) == ["image", "add"]


def test_what_is_an_output_inside_a_fork_keeps_it_apart():
    image = keras.Input((16, 16, 8), name="image")
    inside = conv(image, 8)
    joined = layers.Add()([image, inside])
    assert boxes(keras.Model(image, joined)) == ["image", "add"]
    assert boxes(keras.Model(image, [joined, inside])) == ["image", "conv2d", "add"]


def test_two_inputs_make_no_fork():
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    joined = layers.Add()([layers.Dense(4)(left), layers.Dense(4)(right)])
    assert boxes(keras.Model([left, right], joined)) == [
        "left",
        "dense",
        "right",
        "dense_1",
        "add",
    ]


def test_a_box_is_named_by_the_words_its_layers_share():
    x = image = keras.Input((16, 16, 8), name="image")
    for stage in ("net_stage_0_block_0", "net_stage_0_block_1", "net_stage_1_block_0"):
        y = layers.Conv2D(8, 3, padding="same", name=f"{stage}_conv")(x)
        x = layers.Add()([x, layers.Dense(8, name=f"{stage}_dense")(y)])
    assert boxes(keras.Model(image, x), collapse=False) == [
        "image",
        "net_stage_0_block_0",
        "net_stage_0_block_1",
        "net_stage_1_block_0",
    ]


def test_names_take_in_what_keras_named():
    x = image = keras.Input((16, 16, 8), name="image")
    for number in (1, 2):
        y = layers.Conv2D(8 * number, 3, padding="same", name=f"block{number}_conv")(x)
        x = layers.Add()([conv(x, 8 * number, 1), y])
    assert boxes(keras.Model(image, x)) == ["image", "block1", "block2"]


def test_names_that_no_other_layer_shares_make_no_boxes():
    def numbered(number):
        return (
            layers.Conv2D(4, 3, name=f"conv{number}"),
            layers.BatchNormalization(name=f"bn{number}"),
            layers.ReLU(name=f"relu{number}"),
        )

    rows = [layer for number in (1, 2, 3) for layer in numbered(number)]
    model = keras.Sequential([keras.Input((16, 16, 3), name="image"), *rows])
    for level in ("stage", "block"):
        nodes = model_graph(model, level).nodes
        assert [node.name for node in nodes] == ["image", "conv1", "conv2", "conv3"]
        assert nodes[1].lines == ("3x3 conv 4, BN, ReLU",)


def test_forks_of_names_that_no_other_layer_shares_are_boxes():
    x = image = keras.Input((16, 16, 8), name="image")
    for number in (1, 2, 3):
        y = layers.Conv2D(8, 3, padding="same", name=f"conv{number}a")(x)
        y = layers.ReLU(name=f"relu{number}a")(layers.BatchNormalization()(y))
        y = layers.Conv2D(8, 3, padding="same", name=f"conv{number}b")(y)
        y = layers.BatchNormalization(name=f"bn{number}b")(y)
        x = layers.ReLU(name=f"relu{number}b")(layers.Add(name=f"add{number}")([x, y]))
    for level in ("stage", "block"):
        (_, row) = model_graph(keras.Model(image, x), level).nodes
        assert (row.name, row.repeats) == ("add1..3", 3)
        assert row.lines[-1] == "add, ReLU"


def test_a_norm_of_its_own_name_is_no_part_of_the_block_before():
    image = keras.Input((16, 16, 8), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="dense1_block1_conv")(image)
    x = layers.Concatenate(name="dense1_block1_concat")([image, x])
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    assert boxes(keras.Model(image, x)) == ["image", "dense1_block1", "bn"]


@pytest.mark.parametrize(
    ("left", "right", "lines"),
    [
        ([(4, 3)], [(4, 3)], ["3x3 conv 4  x2 in parallel"]),
        ([(4, 3)], [(4, 3), (4, 3)], ["3x3 conv 4", f"3x3 conv 4{ARROW}3x3 4"]),
        (
            [(8, 1), (4, 3)],
            [(8, 1), (4, 3)],
            [f"1x1 conv 8{ARROW}3x3 4  x2 in parallel"],
        ),
        ([(4, 1)], [(4, 3)], ["1x1 conv 4", "beside: 3x3 conv 4"]),
        ([(4, 3), (4, 3)], [], ["3x3 conv 4  x2"]),
    ],
)
def test_equal_branches_are_no_series(left, right, lines):
    def branch(x, convolutions):
        for filters, size in convolutions:
            x = layers.Conv2D(filters, size, padding="same")(x)
        return x

    image = keras.Input((16, 16, 8), name="image")
    both = layers.Concatenate()([branch(image, left), branch(image, right)])
    (_, box) = model_graph(keras.Model(image, both)).nodes
    assert box.lines == (*lines, "concat")


def test_equal_branches_keep_the_identity_beside_them():
    image = keras.Input((16, 16, 8), name="image")
    convs = [layers.Conv2D(8, 3, padding="same")(image) for _ in range(2)]
    model = keras.Model(image, layers.Add(name="add")([image, *convs]))
    (_, box) = model_graph(model).nodes
    assert box.lines == ("3x3 conv 8  x2 in parallel", "shortcut: identity", "add")
    both = layers.Average(name="average")(convs)
    assert model_graph(keras.Model(image, both)).nodes[1].gist == (
        f"2 branches{ARROW}average",
    )


def test_padding_belongs_to_what_it_pads():
    image = keras.Input((16, 16, 8), name="image")
    x = layers.Conv2D(4, 3, 2)(layers.ZeroPadding2D(1)(image))
    (_, box) = model_graph(keras.Model(image, x)).nodes
    assert (box.name, box.lines) == ("conv2d", ("3x3 conv 4 /2",))


def test_blocks_whose_channels_grow_evenly_are_equal():
    x = image = keras.Input((16, 16, 8), name="image")
    for number in (1, 2, 3):
        y = layers.Conv2D(4, 3, padding="same", name=f"dense1_block{number}_conv")(x)
        x = layers.Concatenate(name=f"dense1_block{number}_concat")([x, y])
    graph = model_graph(keras.Model(image, x))
    assert [(n.name, n.repeats) for n in graph.nodes[1:]] == [("dense1_block1..3", 3)]
    assert graph.nodes[-1].shape == (None, 16, 16, 20)
    layer = model_graph(keras.Model(image, x), "layer").nodes[-1]
    assert (layer.name, layer.shape) == ("dense1_block1_concat", (None, 16, 16, 20))


# Edges and frames


def test_a_copy_beside_the_data_s_way_has_its_own_edge():
    image = keras.Input((8, 8, 4), name="image")
    copied = layers.Conv2D(4, 3, padding="same", name="down1_conv")(image)
    x = layers.MaxPooling2D(name="down1_pool")(copied)
    x = layers.UpSampling2D(name="up1_up")(layers.Conv2D(8, 1, name="up1_conv")(x))
    joined = layers.Concatenate(name="up1_concat")([copied, x])
    graph = model_graph(keras.Model(image, joined))
    assert [(e.shape[1:], e.label, e.link) for e in graph.edges[1:]] == [
        ((4, 4, 4), True, ""),
        ((8, 8, 4), True, "skip connection"),
    ]
    links = [Link(e.source, e.target, e.skip, 4.0) for e in graph.edges]
    found = layout([Item(60.0, 20.0)] * 3, links, across=10.0, along=16.0)
    (x1, _), (x2, _), (x3, _) = found.centres
    _, (usual, _), (beside, _) = found.routes
    assert x1 == x2 == x3 == pytest.approx(usual[0], abs=0.1)
    assert beside[0] > usual[0] + 10


def test_streams_side_by_side_are_one_edge():
    left = right = image = keras.Input((8, 8, 4), name="image")
    for number in (1, 2):
        left = layers.Conv2D(4, 3, name=f"conv{number}_left")(left)
        right = layers.Conv2D(4, 3, name=f"conv{number}_right")(right)
    left = layers.Conv2D(4, 1, name="conv3_left")(left)
    model = keras.Model(image, layers.Add(name="conv3_add")([left, right]))
    stages = ["image", "conv1", "conv2", "conv3"]
    assert edges(model, "stage") == list(itertools.pairwise(stages))
    assert not any(edge.link for edge in model_graph(model, "stage").edges)


def test_boxes_of_one_name_have_frames_of_their_own():
    x = image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
    for number, filters in enumerate((4, 6, 8), 1):
        x = x if number < 3 else layers.MaxPooling2D(name="down")(x)
        y = layers.Conv2D(filters, 1, name=f"res_c{number}a")(x)
        y = layers.Conv2D(8, 3, padding="same", name=f"res_c{number}b")(y)
        x = layers.Add(name=f"res_add{number}")([x, y])
    model = keras.Model(image, x)
    assert boxes(model) == ["image", "stem", "res", "res", "down", "res"]
    figure = plot_model(model, level="layer")
    framed = [members for _, members in clusters_of(figure.graph) if len(members) > 1]
    assert [len(members) for members in framed] == [3, 3, 3]
    assert figure.dot.count("subgraph cluster") == 3


# keras.applications


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("VGG16", 10),
        ("ResNet50", 13),
        ("ResNet50V2", 17),
        ("InceptionV3", 20),
        ("Xception", 10),
        ("MobileNetV2", 18),
        ("DenseNet121", 13),
        ("EfficientNetB0", 22),
    ],
)
def test_networks_of_keras_have_few_boxes(name, count):
    graph = model_graph(application(name))
    assert len(graph.nodes) == count
    assert all(edge.source + 1 == edge.target for edge in graph.edges), "a chain"


def test_inception_v3_of_keras_reads_as_the_paper():
    nodes = {node.name: node for node in model_graph(application("InceptionV3")).nodes}
    assert nodes["mixed5..6"].repeats == 2
    assert nodes["mixed10"].lines == (
        "1x1 conv 320",
        f"1x1 conv 384{ARROW}1x3 384 | 3x1 384",
        f"1x1 conv 448{ARROW}3x3 384{ARROW}1x3 384 | 3x1 384",
        f"3x3 average pool{ARROW}1x1 conv 192",
        "concat",
        "(each conv: BN, ReLU)",
    )


def test_dense_blocks_of_keras_are_rows():
    nodes = model_graph(application("DenseNet121")).nodes
    rows = {node.name: node.repeats for node in nodes if node.repeats > 1}
    assert rows == {
        "conv2_block1..6": 6,
        "conv3_block1..12": 12,
        "conv4_block1..24": 24,
        "conv5_block1..16": 16,
    }


def test_shortcuts_of_keras_xception_are_in_their_block():
    nodes = {node.name: node for node in model_graph(application("Xception")).nodes}
    assert nodes["block5..12"].repeats == 8
    assert "shortcut: 1x1 conv 128 /2, BN" in nodes["block2"].lines


def test_cells_of_nasnet_are_boxes():
    model = application("NASNetMobile")
    start = time.perf_counter()
    graph = model_graph(model)
    assert time.perf_counter() - start < 10
    names = [node.name for node in graph.nodes]
    assert len(names) < 40
    assert {f"normal_concat_{cell}" for cell in range(12) if cell != 4} <= set(names)
