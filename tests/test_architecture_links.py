"""Links of whole networks: each is drawn, and named by what happens on it."""

import keras
import pytest
from figures import (
    assert_all_is_drawn,
    conv,
    drawn,
    ending,
    faults,
    layout_of,
    texts,
)
from foreign_nets import FOREIGN, application
from keras import layers

from convzoo.deferred import without_weights
from convzoo.inspect.architecture.plot import plot_architecture
from convzoo.inspect.architecture.reading import read


def module(x, name):
    sizes = (1, 3, 5)
    branches = [conv(x, 8, size, name=f"{name}_{size}") for size in sizes]
    return layers.Concatenate(name=f"{name}_concat")(branches)


def modules_of_two_inputs():
    left, right = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    ends = [module(conv(left, 8), "inc1a"), module(conv(right, 8), "inc1b")]
    return keras.Model([left, right], ending(layers.Concatenate()(ends)))


def two_heads_on_a_module():
    image = keras.Input((32, 32, 3))
    x = module(image, "inc1a")
    heads = [ending(x, "head1"), ending(x, "head2")]
    return keras.Model(image, [*heads, ending(module(x, "inc1b"))])


def a_module_as_output():
    image = keras.Input((32, 32, 3))
    x = module(image, "inc1a")
    return keras.Model(image, [x, ending(module(x, "inc1b"))])


def modules_with_a_long_shortcut():
    image = keras.Input((32, 32, 3))
    start = module(image, "inc1a")
    x = module(conv(conv(start, 24), 24), "inc1b")
    x = layers.Add()([module(x, "inc1c"), start])
    return keras.Model(image, [ending(x), ending(start, "head")])


def joined_midway():
    x = image = keras.Input((32, 32, 3))
    for name in ("inc1a", "inc1b"):
        early = [conv(x, 8, size, name=f"{name}_{size}") for size in (1, 3)]
        early = layers.Concatenate(name=f"{name}_early")(early)
        late = [conv(early, 8, 1, name=f"{name}_late"), conv(x, 8, name=f"{name}_c")]
        x = layers.Concatenate(name=f"{name}_concat")(late)
    return keras.Model(image, [ending(x), ending(x, "head")])


def towers_that_add():
    a, b = image, _ = 2 * [keras.Input((32, 32, 3), name="image")]
    for name in ("conv1", "conv2"):
        a, b = (conv(x, 8, name=f"{name}_tower{n}") for n, x in ((1, a), (2, b)))
    return keras.Model(image, ending(layers.Add(name="meet")([a, b])))


def flows_that_add_three():
    x = image = keras.Input((32, 32, 3), name="image")
    for name in ("entry", "middle"):
        x = conv(x, 8, name=f"{name}_block1_conv")
    branches = [conv(x, 8, size, name=f"exit_block1_{size}") for size in (1, 3, 5)]
    return keras.Model(image, ending(layers.Add(name="exit_block1_add")(branches)))


def lenet_of_a_series():
    stack = [layers.Conv1D(6, 5, name="c1"), layers.AveragePooling1D(2, name="s2")]
    stack += [layers.Conv1D(16, 5, name="c3"), layers.AveragePooling1D(2, name="s4")]
    return keras.Sequential([keras.Input((32, 1)), *stack])


def lenet_with_a_shortcut():
    image = keras.Input((32, 32, 1), name="image")
    x = layers.AveragePooling2D(2, name="s2")(conv(image, 6, name="c1"))
    x = layers.Add(name="add")([x, conv(x, 6, name="c3")])
    x = layers.AveragePooling2D(2, name="s4")(x)
    return keras.Model(image, ending(x, "f6"))


def a_block_with_its_input():
    image = keras.Input((8, 8, 4), name="net_in")
    x = conv(conv(image, 4, name="net_a"), 4, name="net_b")
    x = layers.Add(name="net_add")([image, x])
    return keras.Model(image, conv(x, 3, 1, name="out"))


def an_inner_map_as_output():
    image = x = keras.Input((8, 8, 4))
    ends = []
    for number in range(3):
        inner = conv(x, 4, name=f"net_block{number}_a")
        x = layers.Add(name=f"net_block{number}_add")([inner, x])
        ends.append(inner if number == 1 else x)
    return keras.Model(image, ends)


def an_output_that_is_joined():
    image = keras.Input((8, 8, 4))
    x = conv(image, 4)
    y = conv(layers.MaxPooling2D()(x), 4)
    y = layers.UpSampling2D()(y)
    return keras.Model(image, [y, layers.Concatenate()([y, x])])


def taps_of_repeated_blocks():
    x = image = keras.Input((32, 32, 3))
    ends = []
    for stage in (2, 3):
        x = conv(x, 8 * stage, strides=2, name=f"conv{stage}_down")
        for number in (1, 2, 3):
            inner = conv(x, 8 * stage, name=f"conv{stage}_block{number}_conv")
            x = layers.Add(name=f"conv{stage}_block{number}_add")([x, inner])
        ends.append(x)
    return keras.Model(image, ends)


def two_statistics():
    class Modulation(layers.Layer):
        def call(self, x, scale):
            return x * scale

    class ModulationNormalization(Modulation):
        """Named as what passes on one map, but reads two."""

    image, style = keras.Input((8, 8, 4)), keras.Input((1, 1, 4))
    return keras.Model([image, style], ModulationNormalization()(image, conv(style, 4)))


REFUSED = [
    (modules_of_two_inputs, "levels"),
    (two_heads_on_a_module, "levels"),
    (a_module_as_output, "levels"),
    (modules_with_a_long_shortcut, "levels"),
    (joined_midway, "levels"),
    (towers_that_add, "volumes"),
    (flows_that_add_three, "volumes"),
    (lenet_of_a_series, "volumes"),
    (lenet_with_a_shortcut, "volumes"),
    (a_block_with_its_input, "volumes"),
    (an_inner_map_as_output, "levels"),
    (an_output_that_is_joined, "levels"),
    (taps_of_repeated_blocks, "levels"),
    (two_statistics, "levels"),
]


@pytest.mark.parametrize(("make", "layout"), REFUSED)
def test_a_layout_that_would_drop_a_link_is_refused(make, layout):
    model = make()
    assert layout_of(model) == layout
    assert_all_is_drawn(model)
    assert faults(plot_architecture(model).figure) == []


@pytest.mark.parametrize("make", FOREIGN)
def test_all_of_a_foreign_network_is_drawn(make):
    assert_all_is_drawn(make())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ConvNeXtTiny",
        "DenseNet121",
        "EfficientNetB0",
        "InceptionResNetV2",
        "InceptionV3",
        "MobileNetV3Small",
        "NASNetMobile",
        "ResNet50V2",
        "Xception",
    ],
)
def test_all_of_an_application_is_drawn(name):
    model = application(name)
    assert_all_is_drawn(model)
    assert faults(plot_architecture(model).figure) == []


def sums_of_branches(*blocks):
    image = keras.Input((32, 32, 3))
    x = conv(image, 16)
    for filters in blocks:
        branches = [conv(conv(x, number, 1), number) for number in filters]
        x = layers.Add()([x, conv(layers.Concatenate()(branches), 16, 1)])
    return keras.Model(image, ending(x))


@pytest.mark.parametrize(
    ("second", "solids"), [((8, 8, 8), 1), ((32, 64, 128), 2), ((8, 8, 16), 2)]
)
def test_only_equal_blocks_are_one_solid(second, solids):
    found = plot_architecture(sums_of_branches((8, 8, 8), second)).figure
    assert drawn(found)["identity"] == solids
    assert ("x2" in texts(found)) == (solids == 1)


def test_blocks_of_another_wiring_are_not_equal():
    image = keras.Input((32, 32, 4))
    x = conv(image, 4)
    for other in (0, 1):
        row = [first := conv(x, 4), second := conv(first, 4), conv(second, 4)]
        x = layers.Add()([x, layers.Add()([row[2], row[other]])])
    found = plot_architecture(keras.Model(image, ending(x))).figure
    assert drawn(found)["identity"] == 2


def test_what_stands_beside_the_longest_way_is_said():
    image = keras.Input((16, 16, 3))
    short, long = conv(image, 6, 1), conv(conv(image, 4), 8)
    x = layers.Concatenate()([short, long])
    written = texts(plot_architecture(keras.Model(image, ending(x))).figure)
    assert "beside: 1x1 conv 6" in written
    x = layers.Concatenate()([conv(short, 7, 5), conv(long, 8)])
    written = texts(plot_architecture(keras.Model(image, ending(x))).figure)
    assert "beside: 2 operations" in written


def formatted(order):
    """A U, a chain and a module in one, of layers that know their format or do not."""
    first = order == "channels_first"
    settings = {"padding": "same", "data_format": order}
    axis = 1 if first else -1
    x = image = keras.Input((3, 64, 32) if first else (64, 32, 3))
    x = skip = layers.Conv2D(6, 3, **settings)(layers.Rescaling(2.0)(x))
    x = layers.ReLU()(layers.BatchNormalization(axis=axis)(x))
    x = layers.MaxPooling2D(data_format=order)(x)
    x = layers.Conv2D(10, 3, **settings)(layers.Dropout(0.1)(x))
    x = layers.UpSampling2D(data_format=order)(x)
    x = layers.Concatenate(axis=axis)([skip, x])
    return keras.Model(image, layers.Conv2D(2, 1, **settings)(x), name="same")


def formatted_chain(order):
    first = order == "channels_first"
    settings = {"padding": "same", "data_format": order}
    x = image = keras.Input((3, 64, 32) if first else (64, 32, 3))
    x = layers.ReLU()(layers.Conv2D(64, 3, 2, **settings)(x))
    y = layers.GlobalAveragePooling2D(data_format=order)(x)
    y = layers.Reshape((64, 1, 1) if first else (1, 1, 64))(y)
    x = layers.Multiply()([x, layers.Conv2D(64, 1, **settings)(y)])
    x = layers.Dense(5)(layers.Flatten()(x))
    return keras.Model(image, x, name="same")


@pytest.mark.parametrize("make", [formatted, formatted_chain])
def test_channels_may_come_first(make):
    with without_weights():
        last, first = (make(f"channels_{end}") for end in ("last", "first"))
    written = texts(plot_architecture(last).figure)
    assert {"64 x 32", "3"} <= set(written)
    assert texts(plot_architecture(first).figure) == written


def test_axes_may_be_ordered_anew():
    image = keras.Input((3, 64, 32))
    x = layers.Conv2D(6, 3, padding="same", data_format="channels_first")(image)
    x = layers.Permute((2, 3, 1))(x)
    model = keras.Model(image, conv(x, 10, data_format="channels_last"))
    shapes = [unit.shape[1:] for unit in read(model).units]
    assert shapes == [(64, 32, 3), (64, 32, 6), (64, 32, 10)]


def test_what_one_branch_does_is_not_said_of_all():
    image = keras.Input((32, 32, 3))
    x = conv(image, 8)
    y = conv(layers.MaxPooling2D()(layers.ReLU()(x)), 16, activation="relu")
    y = layers.UpSampling2D()(y)
    y = layers.Concatenate()([y, layers.Activation("tanh")(x)])
    model = keras.Model(image, conv(y, 2, 1))
    units = {unit.text: unit.after for unit in read(model).units}
    assert units["3x3 conv 8"] == ()
    assert units["3x3 conv 16"] == ("ReLU",)
    assert "3x3 conv" in texts(plot_architecture(model).figure)


@pytest.mark.parametrize("number", [2, 4])
def test_equal_branches_are_listed_once_with_their_number(number):
    image = keras.Input((32, 32, 8))
    parts = keras.ops.split(image, number, axis=-1)
    x = layers.Concatenate()([layers.Conv2D(4, 3)(part) for part in parts])
    written = texts(plot_architecture(keras.Model(image, x)).figure)
    start = written.index(f"{number} branches:")
    assert written[start + 1 : start + 3] == ["3x3 conv 4", "concat"]
    assert str(4 * number) in written
