"""What the figures of whole networks say about operations, gates, gaps and ends."""

import keras
import pytest
from figures import assert_all_is_drawn, conv, drawn, faults, layout_of, lines_of, texts
from keras import layers

import convzoo
from convzoo.deferred import without_weights
from convzoo.inspect.architecture.plot import plot_architecture


def figure_of(model):
    figure = plot_architecture(model).figure
    assert faults(figure) == []
    return figure


def built(name, **options):
    with without_weights():
        return getattr(convzoo, name)(**options)


@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        ("vgg16", {}, "behind each convolution: ReLU"),
        ("vgg16", {"batch_norm": True}, "behind each convolution: BN, ReLU"),
        ("mobilenet", {}, "behind each convolution: BN, ReLU6"),
        ("resnet18", {}, "behind convolutions: BN, ReLU or BN"),
    ],
)
def test_solids_tell_norm_and_activation(name, options, note):
    (scale,) = [t for t in texts(figure_of(built(name, **options))) if "log of" in t]
    assert scale.split("; ")[2:] == [note]


def test_solids_say_no_more_than_is_true():
    image = keras.Input((8, 8, 3))
    x = conv(image, 4)
    half = keras.Model(image, conv(x, 4, activation="relu"))
    assert "behind convolutions: nothing or ReLU" in texts(figure_of(half))[-2]
    for end in ("relu", "tanh", "elu"):
        x = conv(x, 4, activation=end)
    for last in (x, conv(image, 4), layers.MaxPooling2D()(image)):
        written = texts(figure_of(keras.Model(image, last)))
        assert not [text for text in written if "behind" in text]


@pytest.mark.parametrize(
    ("activation", "word"),
    [("softmax", "dense 1000, softmax"), (None, "dense 1000")],
)
def test_solids_tell_the_last_activation(activation, word):
    assert word in texts(figure_of(built("resnet18", classifier_activation=activation)))


def gated(x, filters):
    """A convolution whose maps are weighed by squeeze and excitation."""
    x = conv(x, filters)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(filters, 1, activation="sigmoid")(
        layers.Conv2D(2, 1, activation="relu")(gate)
    )
    return layers.Conv2D(filters, 1)(layers.Multiply()([x, gate]))


def test_a_gate_stands_beside_the_way_of_the_maps():
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, gated(image, 8))
    written = texts(figure_of(model))
    start = written.index("3x3 conv 8")
    assert written[start + 1 : start + 4] == [
        *("multiply", "beside: 3 operations", "1x1 conv 8")
    ]


def attention_unet():
    """Oktay et al., arXiv:1804.03999: skips are weighed by what comes up."""
    image = keras.Input((64, 64, 3))
    skip = conv(image, 8)
    x = conv(layers.MaxPooling2D()(skip), 16)
    up = layers.Conv2DTranspose(8, 2, 2)(x)
    weight = layers.Add()([layers.Conv2D(4, 1)(up), layers.Conv2D(4, 1)(skip)])
    weight = layers.Conv2D(1, 1, activation="sigmoid")(layers.ReLU()(weight))
    x = layers.Concatenate()([up, layers.Multiply()([skip, weight])])
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def test_no_block_hides_a_u():
    model = attention_unet()
    assert layout_of(model) == "levels"
    assert_all_is_drawn(model)
    heights = {line[0][1] for line in lines_of(figure_of(model), "convolution")}
    assert len(heights) > 1


def over_a_level(join, channels):
    image = keras.Input((32, 32, 3))
    skip = conv(image, channels)
    x = conv(layers.MaxPooling2D()(skip), 16)
    x = layers.Conv2DTranspose(16, 2, 2)(x)
    return keras.Model(image, layers.Conv2D(2, 1)(join()([x, skip])))


@pytest.mark.parametrize(
    ("join", "channels", "copied"),
    [(layers.Concatenate, 1, 1), (layers.Multiply, 1, 0), (layers.Add, 16, 0)],
)
def test_only_what_is_appended_widens_a_bar(join, channels, copied):
    figure = figure_of(over_a_level(join, channels))
    assert (drawn(figure)["copied"], drawn(figure)["copy"]) == (copied, 1)


def test_blocks_of_any_shortcut_are_residual():
    written = texts(figure_of(built("unet", encoder="mini_resnet")))
    assert written.count("residual block") == 1
    assert not [text for text in written if text.startswith("block of")]


def test_a_map_ordered_anew_is_no_other_map():
    """As in a vision transformer, whose patches become a row."""
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 8, 8)(image)
    for _ in range(2):
        row = layers.Reshape((16, 8))(x) if len(x.shape) == 4 else x
        x = layers.Add()([row, layers.MultiHeadAttention(2, 4)(row, row)])
    figure = figure_of(keras.Model(image, layers.Dense(3)(layers.Flatten()(x))))
    assert "identity shortcut" in texts(figure)
    assert "resized shortcut" not in texts(figure)


def test_padding_for_another_size_is_told():
    written = texts(
        figure_of(built("unet", encoder="alexnet", input_shape=(227,) * 2 + (3,)))
    )
    assert "pad 3-4, 1x1 conv" in written
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3)(layers.ZeroPadding2D()(image))  # as padding="same"
    up = layers.Conv2DTranspose(4, 2, 2)(conv(layers.MaxPooling2D()(x), 4))
    model = keras.Model(image, layers.Concatenate()([x, up]))
    assert not [text for text in texts(figure_of(model)) if text.startswith("pad")]


def test_a_pair_in_a_row_has_one_number():
    figure = figure_of(built("unet", encoder="mobilenet"))
    assert texts(figure).count("x5") == 1
    (left, right) = lines_of(figure, "repeat")
    assert left[0][0] < right[0][0]
    words = next(t for t in figure.axes[0].texts if t.get_text() == "x5")
    assert left[-1][0] < words.get_position()[0] < right[-1][0]


def test_arrows_leave_the_word_output_free():
    figure = plot_architecture(convzoo.feature_extractor(built("resnet18"))).figure
    assert [fault for fault in faults(figure) if fault[0] != "large"] == []
    words = [t for t in figure.axes[0].texts if t.get_text() == "output"]
    assert [word.get_ha() for word in words] == ["left", *["center"] * 4]


@pytest.mark.parametrize("lower", [False, True])
def test_what_comes_in_and_goes_out_says_both(lower):
    image = keras.Input((8, 8, 3))
    other = layers.MaxPooling2D()(image) if lower else conv(image, 2)
    figure = figure_of(keras.Model(image, [image, other]))
    (above,) = [t for t in figure.axes[0].texts if t.get_text() == "input"]
    (below, _) = [t for t in figure.axes[0].texts if t.get_text() == "output"]
    assert above.get_position()[0] == below.get_position()[0]
    assert above.get_position()[1] == below.get_position()[1] - 10


def test_each_lane_over_a_row_is_another():
    """Eight maps that the last one reads: eight lanes, and below them a level."""
    image = keras.Input((32, 32, 3))
    maps = [conv(image, 4)]
    for _ in range(8):
        maps.append(conv(maps[-1], 4))
    low = layers.MaxPooling2D()(maps[-1])
    outputs = [layers.Concatenate()(maps), *maps, low]
    figure = figure_of(keras.Model(image, outputs))
    tops = {line[:, 1].min() for line in lines_of(figure, "skip connection")}
    assert len(tops) == 7 + 1


def test_a_model_inside_is_called_by_its_name():
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)], name="eye")
    image = keras.Input((8, 8, 3))
    written = texts(figure_of(keras.Model(image, layers.Flatten()(inner(image)))))
    assert "eye" in written
    assert "sequential" not in written


def towers(first, second):
    image = keras.Input((32, 32, 3))
    ways = []
    for number, filters in enumerate((first, second), 1):
        x = conv(image, filters, name=f"conv1_tower{number}")
        ways.append(conv(x, 8, name=f"conv2_tower{number}"))
    x = layers.Flatten()(layers.Concatenate(name="conv2_concat")(ways))
    return keras.Model(image, layers.Dense(3, name="head_fc")(x))


def test_towers_are_told_once_only_where_they_are_alike():
    alike, unlike = towers(8, 8), towers(8, 16)
    assert (layout_of(alike), layout_of(unlike)) == ("towers", "volumes")
    assert "reads the other tower" not in texts(figure_of(alike))
    assert "reads the other tower" in texts(figure_of(built("alexnet")))


def test_lenet_pools_what_it_does_not_connect():
    body = built("lenet", include_top=False, pooling="avg", input_shape=(64, 64, 1))
    written = texts(figure_of(body))
    assert written[written.index("global average pool") - 1] == "subsampling"
    assert "full connection" not in written


def test_a_narrow_figures_legend_is_as_wide_as_its_note():
    model = keras.Sequential([keras.Input((20,)), layers.Dense(10), layers.Dense(3)])
    figure = figure_of(model)
    entries = [t for t in figure.axes[0].texts if t.get_text() in ("input", "dense")]
    assert len({round(t.get_position()[1]) for t in entries[-2:]}) == 1
