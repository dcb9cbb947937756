"""Rows of equal boxes: only what does the same to the result of the one before."""

import keras
import pytest
from keras import layers, ops

from convzoo.inspect.graph import model_graph
from convzoo.inspect.operations import phrase


@pytest.fixture(autouse=True)
def _numbers_of_layers_start_anew():
    keras.utils.clear_session()


def repeats(outputs, inputs):
    """Return how many boxes each box after the input stands for."""
    nodes = model_graph(keras.Model(inputs, outputs)).nodes
    return [node.repeats for node in nodes if node.kind != "input"]


def in_a_row(*steps):
    x = image = keras.Input((8, 8, 4), name="image")
    for step in steps:
        x = step(x)
    return repeats(x, image)


def model_of(size, activation="relu", name=None):
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, size, padding="same", activation=activation, name=name)(image)
    return keras.Model(image, layers.Conv2D(4, 1)(x))


@keras.saving.register_keras_serializable("convzoo-tests")
class Shift(layers.Layer):
    def __init__(self, by, **options):
        super().__init__(**options)
        self.by = by

    def call(self, x):
        return x + self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (lambda: layers.Rescaling(2.0), lambda: layers.Rescaling(0.5)),
        (lambda: Shift(1), lambda: Shift(2)),
        (lambda: lambda x: x * 2, lambda: lambda x: x * 3),
        (lambda: lambda x: 2 - x, lambda: lambda x: x - 2),
        (lambda: lambda x: ops.clip(x, 0, 1), lambda: lambda x: ops.clip(x, 0, 2)),
        (lambda: layers.Lambda(lambda x: x * 2), lambda: layers.Lambda(lambda x: x)),
        (
            lambda: layers.Conv2D(4, 3, padding="same"),
            lambda: layers.Conv2D(4, 3, padding="same", use_bias=False),
        ),
        (lambda: model_of(3), lambda: model_of(5)),
        (
            lambda: model_of(3, "relu", name="relu"),
            lambda: model_of(3, "tanh", name="tanh"),
        ),
        (
            lambda: layers.TimeDistributed(layers.Dense(4)),
            lambda: layers.TimeDistributed(layers.Dense(4, "relu")),
        ),
    ],
)
def test_layers_that_differ_stay_apart(first, other):
    assert in_a_row(first(), other()) == [1, 1]
    assert in_a_row(other(), first()) == [1, 1]


@pytest.mark.parametrize(
    "make",
    [
        lambda _: layers.Rescaling(2.0),
        lambda _: Shift(2),
        lambda _: lambda x: 2 - x,
        lambda _: model_of(3),
        lambda _: layers.TimeDistributed(layers.Dense(4)),
        lambda seed: layers.Dense(
            4,
            kernel_initializer=keras.initializers.HeNormal(seed),
            kernel_regularizer=keras.regularizers.L2(0.1 * seed),
            trainable=seed > 1,
        ),
    ],
)
def test_names_and_training_keep_nothing_apart(make):
    assert in_a_row(make(1), make(2), make(3)) == [3]


def test_scalars_and_batches_of_numbers_make_rows():
    assert in_a_row(ops.mean, ops.exp, ops.exp) == [1, 2]
    assert in_a_row(lambda x: ops.mean(x, (1, 2, 3)), ops.exp, ops.exp) == [1, 2]


def block(number, x, y, swap=False):
    """Subtract what a block reads second from what it makes of the first."""
    name = f"body_block{number}"
    inside = layers.Conv2D(4, 3, padding="same", name=f"{name}_a")(x)
    end = layers.Conv2D(4, 3, padding="same", name=f"{name}_b")(inside)
    pair = [y, end] if swap else [end, y]
    return inside, layers.Subtract(name=f"{name}_end")(pair)


def test_blocks_that_read_alike_are_a_row():
    x = image = keras.Input((8, 8, 4), name="image")
    for number in (1, 2, 3):
        _, x = block(number, x, x)
    assert repeats(x, image) == [3]


def test_which_argument_is_which_keeps_blocks_apart():
    image = keras.Input((8, 8, 4), name="image")
    _, x = block(1, image, image)
    _, x = block(2, x, x, swap=True)
    assert repeats(x, image) == [1, 1]


def test_reading_the_middle_of_the_one_before_keeps_blocks_apart():
    image = keras.Input((8, 8, 4), name="image")
    inside, end = block(1, image, image)
    inside, end = block(2, end, inside)
    inside, end = block(3, inside, end)
    assert repeats(end, image) == [1, 1, 1]


class Halves(layers.Layer):
    def call(self, x):
        return ops.split(x, 2, axis=-1)


def test_which_output_of_a_layer_is_read_keeps_blocks_apart():
    x = image = keras.Input((8, 8, 4), name="image")
    for number, part in enumerate((0, 0, 1, 1), 1):
        half = Halves(name=f"body_block{number}_halves")(x)[part]
        x = layers.Conv2D(4, 1, name=f"body_block{number}_conv")(half)
    assert repeats(x, image) == [2, 2]


def test_channels_grow_wherever_they_stand():
    def grown(axis, shape, kernel):
        keras.utils.clear_session()
        order = "channels_first" if axis == 1 else "channels_last"
        x = image = keras.Input(shape, name="image")
        for number in (1, 2, 3):
            y = layers.Conv2D(
                4,
                kernel,
                padding="same" if kernel == 3 else "valid",
                data_format=order,
                name=f"dense1_block{number}_conv",
            )(x)
            joined = layers.Concatenate(axis, name=f"dense1_block{number}_concat")
            x = joined([x, y]) if kernel == 3 else y
        return repeats(x, image)

    assert grown(-1, (8, 8, 4), 3) == grown(1, (4, 8, 8), 3) == [3]
    assert grown(1, (4, 8, 8), (1, 2)) == [1, 1, 1], "the map shrinks"


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (layers.UpSampling2D((2, 1)), "upsample 2x1"),
        (layers.UpSampling2D((2, 2)), "upsample x2"),
        (
            layers.Conv2D(4, 3, dilation_rate=(1, 2)),
            "3x3 conv 4, dilated 1x2",
        ),
        (
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            "3x3 depthwise conv, depth multiplier 2",
        ),
        (
            layers.SeparableConv2D(8, 3, depth_multiplier=2),
            "3x3 separable conv 8, depth multiplier 2",
        ),
    ],
)
def test_sides_and_multipliers_are_told(layer, text):
    assert phrase(layer) == text
