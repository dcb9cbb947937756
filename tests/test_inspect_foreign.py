"""Tables, taps and heat maps of models as users build them, not as the zoo does."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_nets import tiny
from structure import STRUCTURES, structure

from convzoo import grad_cam, lenet, resnet18, summary
from convzoo.calls import network, strides
from convzoo.deferred import without_weights
from convzoo.inspect.features import feature_extractor, feature_maps
from convzoo.inspect.receptive import receptive_fields

RANDOM = np.random.default_rng(11)
IMAGES = RANDOM.normal(size=(2, 8, 8, 3)).astype("float32")


@pytest.mark.parametrize("name", STRUCTURES)
def test_rows_of_layers_have_their_names(name):
    model = structure(name)
    rows = [row.name for row in summary(model, level="layer").rows]
    assert sorted(rows) == sorted(network(model).calls)


def test_a_layer_named_as_another_ones_second_call_is_answered():
    image = keras.Input((4,), name="image")
    dense = layers.Dense(4, name="d")
    model = keras.Model(image, layers.Dense(4, name="d#2")(dense(dense(image))))
    with pytest.raises(TypeError, match="a layer named 'd#2', as the second call"):
        summary(model)


# Counting


def test_what_models_share_counts_once():
    image = keras.Input((16, 16, 8), name="image")
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    inner = keras.Sequential([keras.Input((16, 16, 8)), shared], name="inner")
    shared.trainable = False
    model = keras.Model(image, layers.Add()([inner(image), shared(image)]))
    totals = summary(model).totals
    assert (
        (totals.parameters, totals.trainable) == (model.count_params(), 0) == (584, 0)
    )
    body = tiny(top=False)
    heads = [layers.Dense(2)(layers.Flatten()(body.output)) for _ in range(2)]
    pair = [
        keras.Model(body.inputs, head, name=f"m{i}") for i, head in enumerate(heads)
    ]
    image = keras.Input((8, 8, 3))
    both = keras.Model(image, [each(image) for each in pair])
    assert summary(both).totals.parameters == both.count_params()


class Linear(layers.Layer):
    """As in Keras' guide to layers of one's own."""

    def __init__(self, units, **settings):
        super().__init__(**settings)
        self.units = units

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], self.units), name="w")
        self.b = self.add_weight(shape=(self.units,), name="b")

    def call(self, x):
        return ops.matmul(x, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Shifted(Linear):
    def build(self, shape):
        self.b = self.add_weight(shape=(shape[-1],), name="b")

    def call(self, x):
        return x + self.b


@pytest.mark.parametrize(("layer", "count"), [(Linear(4), None), (Shifted(4), 0)])
def test_what_a_users_layer_multiplies_is_unknown(layer, count):
    model = keras.Sequential([keras.Input((8,)), layer])
    assert summary(model).totals.macs == count


def test_a_model_inside_may_have_a_fixed_batch():
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)])
    image = keras.Input((8, 8, 3), batch_size=2)
    assert summary(keras.Model(image, inner(image))).totals.macs == 36 * 27 * 4


# Strides and fields


def after(*steps):
    """Return a model of a chain of layers and functions on a map."""
    image = x = keras.Input((64, 64, 3), name="image")
    for step in steps:
        x = step(x)
    return keras.Model(image, x)


def conv(size=3, stride=2):
    return layers.Conv2D(4, size, stride, padding="same")


@pytest.mark.parametrize(
    ("steps", "stride"),
    [
        ([conv(), lambda x: ops.max_pool(x, 2)], 4),
        ([conv(), lambda x: ops.average_pool(x, 3, 1, "same")], 2),
        ([layers.Resizing(32, 32), conv()], 4),
        ([conv(), layers.Resizing(64, 64)], 1),
        ([lambda x: ops.image.resize(x, (16, 16))], 4),
        ([lambda x: x[:, ::2, ::2]], 2),
        ([conv(), layers.AdaptiveAveragePooling2D(8)], 8),
        ([conv(), layers.GlobalAveragePooling2D(keepdims=True)], 2),
        ([conv(), layers.Cropping2D(8)], 2),
        ([conv(), layers.ZeroPadding2D(16)], 2),
        (
            [
                layers.SpectralNormalization(conv()),
                layers.SpectralNormalization(conv()),
            ],
            4,
        ),
    ],
)
def test_strides_are_what_the_maps_show(steps, stride):
    net = network(after(*steps))
    assert strides(net)[net.outputs[0].call] == stride


def test_a_map_is_tapped_at_its_stride():
    model = after(conv(), lambda x: ops.max_pool(x, 2))
    taps = feature_extractor(model, (2, 4)).output
    assert (taps["s2"].shape, taps["s4"].shape) == (
        (None, 32, 32, 4),
        (None, 16, 16, 4),
    )


def test_a_wrapped_convolution_is_one():
    model = after(
        layers.SpectralNormalization(conv()), layers.SpectralNormalization(conv())
    )
    (*_, last) = summary(model).rows
    assert (last.kind, last.operations) == ("convolution", ("3x3 conv 4 /2",))
    assert (last.receptive_field, last.macs) == ((7, 7), 16 * 16 * 9 * 4 * 4)


def test_arguments_of_a_model_inside_are_told_apart():
    left, right = (keras.Input((None, None, 1), name=name) for name in "za")
    wide = layers.Conv2D(1, 7, padding="same")
    given = {"z": left, "a": right}
    inner = keras.Model(given, layers.Add()([wide(left), right]), name="inner")
    image = keras.Input((None, None, 1))
    narrow = layers.Conv2D(1, 5, padding="same")(image)
    for keys in ("za", "az"):
        sources = {key: {"z": image, "a": narrow}[key] for key in keys}
        model = keras.Model(image, inner(sources))
        assert receptive_fields(model)["inner"].size == (7, 7)
    joined = keras.Model([left, right], layers.Add()([wide(left), right]), name="two")
    model = keras.Model(image, joined([narrow, narrow]))
    assert receptive_fields(model)["two"].size == (11, 11)


def test_an_axis_that_does_not_grow_is_not_interpolated():
    model = after(layers.UpSampling2D((3, 1), interpolation="bicubic"))
    assert list(receptive_fields(model).values())[-1].size[1] == 1


# Maps


def test_taps_inside_a_model_are_pointed_at():
    with without_weights():
        body = resnet18(include_top=False, input_shape=(64, 64, 3))
    image = keras.Input((64, 64, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(body(image)))
    with pytest.raises(ValueError, match=r"inside 'resnet18' give model.get_layer\('"):
        feature_extractor(model, (8,))


def test_tensors_of_other_shapes_are_not_joined():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(2, 3)(image)
    inner = keras.Model(image, [x, layers.MaxPooling2D()(x)], name="inner")
    fine, coarse = inner(image)
    scores = layers.Dense(2)(layers.Flatten()(fine))
    model = keras.Model(
        image, layers.Add()([scores, layers.Dense(2)(layers.Flatten()(coarse))])
    )
    for explain in (
        lambda: feature_maps(model, IMAGES, "inner"),
        lambda: grad_cam(model, IMAGES, 0, "inner"),
    ):
        with pytest.raises(
            ValueError, match=r"'inner' gives .* shape.* \(None, 3, 3, 2\)"
        ):
            explain()


# Heat


def classifier(head, *, after=()):
    """Return a model whose last convolution is followed by this head."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(image)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    for layer in (*head, *after):
        x = layer(x)
    model = keras.Model(image, x)
    random = np.random.default_rng(2)
    for variable in model.weights:
        variable.assign(30 * random.normal(size=variable.shape))
    return model


def nested_head():
    stack = [keras.Input((4,)), layers.Dense(3), layers.Softmax()]
    return [keras.Sequential(stack, name="head")]


@pytest.mark.parametrize(
    ("head", "after"),
    [
        ([layers.Dense(3, activation=layers.Softmax())], []),
        ([layers.Dense(3, activation=lambda x: ops.softmax(x, axis=1))], []),
        ([layers.Dense(3, activation=ops.log_softmax)], []),
        (
            [layers.Dense(3)],
            [layers.Softmax(), layers.Dropout(0.1), layers.Reshape((3,))],
        ),
        (
            [layers.Reshape((1, 1, 4)), layers.Conv2D(3, 1)],
            [layers.Softmax(), layers.Reshape((3,))],
        ),
        (nested_head(), []),
    ],
)
def test_a_sure_network_is_explained_behind_any_softmax(head, after):
    """Behind the softmax the gradient would be zero, and so would the heat."""
    model = classifier(head, after=after)
    kernel, bias = (v for v in model.weights if v.shape[-1] == 3)
    logits = classifier([layers.Dense(3)])
    logits.layers[-1].kernel.assign(ops.reshape(kernel, (4, 3)))
    logits.layers[-1].bias.assign(bias)
    for class_index in ([0, 2], [1, 1]):
        found = grad_cam(model, IMAGES, class_index)
        assert found.max() == 1
        np.testing.assert_allclose(
            found, grad_cam(logits, IMAGES, class_index), atol=1e-5
        )


def test_tensorflows_own_softmax():
    tensorflow = pytest.importorskip("tensorflow")
    if keras.backend.backend() == "tensorflow":
        model = classifier([layers.Dense(3, activation=tensorflow.nn.softmax)])
        assert grad_cam(model, IMAGES, 0).max() == 1


@pytest.mark.parametrize("activation", ["relu", "tanh", "relu6", "softplus", "linear"])
@pytest.mark.parametrize("classes", [1, 3])
def test_other_activations_are_part_of_the_score(activation, classes):
    model = classifier([layers.Dense(classes, activation=activation)])
    whole = classifier([layers.Dense(classes), layers.Activation(activation)])
    np.testing.assert_array_equal(
        grad_cam(model, IMAGES, 0), grad_cam(whole, IMAGES, 0)
    )


def test_an_activation_may_have_weights():
    slopes = layers.PReLU()
    slopes.build((None, 3))
    model = classifier([layers.Dense(3, activation=slopes)])
    slopes.alpha.assign(np.ones(3))
    plain = classifier([layers.Dense(3)])
    np.testing.assert_array_equal(
        grad_cam(model, IMAGES, 1), grad_cam(plain, IMAGES, 1)
    )


def test_a_classifier_inside_a_model_is_pointed_at():
    inner = lenet(weights="mnist")
    for first in (layers.Rescaling(1.0), layers.RandomFlip()):
        model = keras.Sequential([keras.Input((32, 32, 1)), first, inner])
        with pytest.raises(
            ValueError, match=r"inside its layer 'lenet'.*get_layer\('lenet"
        ):
            grad_cam(model, np.ones((1, 32, 32, 1), "float32"))


def test_a_map_that_nothing_has_learned_is_not_explained():
    image = keras.Input((8, 8, 3))
    x = layers.Normalization()(layers.Rescaling(2.0)(image))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))
    with pytest.raises(ValueError, match="has no map that all data pass"):
        grad_cam(model, IMAGES)


def test_maps_of_one_pixel_and_forks_in_the_head_are_passed():
    model = resnet18(input_shape=(32, 32, 3), classes=3)
    images = RANDOM.normal(size=(1, 32, 32, 3))
    expected = grad_cam(model, images, 0, "conv4_block2_out")
    np.testing.assert_array_equal(grad_cam(model, images, 0), expected)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv1")(image)
    pools = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    model = keras.Model(image, layers.Dense(3)(layers.Concatenate()(pools)))
    np.testing.assert_array_equal(
        grad_cam(model, IMAGES, 0), grad_cam(model, IMAGES, 0, "conv1")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "image"}, "layer='image' does not lead to the scores"),
        (
            {"class_index": [[1], [2, 3]]},
            "must be a whole number from 0 to 2, or a list",
        ),
        ({"images": np.ones((0, 8, 8, 3))}, r"\(0, 8, 8, 3\) hold nothing"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(**{"model": tiny(), "images": IMAGES, **arguments})
