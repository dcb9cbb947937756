"""Grad-CAM against finite differences and hand-made networks."""

import importlib
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers
from small_nets import answers, tiny, values

from convzoo import grad_cam, lenet, mini_resnet
from convzoo.calls import tensors_of
from convzoo.deferred import without_weights
from convzoo.layers import LocalResponseNormalization

IMAGES = np.random.default_rng(3).normal(size=(2, 8, 8, 3))


@pytest.fixture
def float64():
    """Let Keras, and JAX beneath it, count in double precision."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    jax = importlib.import_module("jax") if keras.backend.backend() == "jax" else None
    if jax:
        jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")  # to which JAX's tanh is cast
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    if jax:
        jax.config.update("jax_enable_x64", False)


def skipping(ending="softmax"):
    """Build a small network in which a connection skips the layer "conv2".

    Only of layers that keep double precision on every backend, but for the dense one:
    without an ending a convolution of one pixel stands in its place.
    """
    conv = partial(layers.Conv2D, padding="same")
    image = keras.Input((8, 8, 3), name="image")
    first = conv(4, 3, 2, activation="softplus", name="conv1")(image)
    x = conv(4, 3, name="conv2")(first)
    x = layers.Activation("sigmoid", name="conv2_sigmoid")(x)
    x = layers.Add(name="conv3_add")([x, first])
    x = conv(5, 3, activation="softplus", name="conv4")(x)
    x = layers.Concatenate(name="conv5_concat")([x, first])
    x = layers.AveragePooling2D(4, name="head_pool")(x)
    x = layers.Dropout(0.5, name="head_dropout")(x)
    if ending is None:
        x = conv(3, 1, name="head_conv")(x)
    x = layers.Flatten(name="head_flatten")(x)
    if ending is not None:
        fused = ending if ending in {"softmax", "sigmoid"} else None
        x = layers.Dense(3, activation=fused, name="head_predictions")(x)
    if ending == "activation":
        x = layers.Activation("softmax", name="head_softmax")(x)
    elif ending == "layer":
        x = layers.Softmax(name="head_softmax")(x)
    model = keras.Model(image, x, name="skipping")
    random = np.random.default_rng(5)
    for variable in model.weights:
        values = random.normal(size=np.prod(variable.shape))
        variable.assign(values.reshape(variable.shape))
    return model


def by_differences(layer, class_index):
    """Return the heat maps that finite differences of a layer's bias give.

    A bias is added to every place of its map, so the derivative by it is the sum of the
    gradient over the map: the weight in equation 1, times the places.
    """
    model = skipping(ending=None)
    bias = model.get_layer(layer).bias
    start = keras.ops.convert_to_numpy(bias).copy()
    slopes, step = [], 1e-5
    for channel in range(len(start)):
        found = []
        for sign in (1, -1):
            moved = start.copy()
            moved[channel] += sign * step
            bias.assign(moved)
            outputs = keras.ops.convert_to_numpy(model(IMAGES, training=False))
            found.append(outputs[np.arange(2), class_index])
        slopes.append((found[0] - found[1]) / (2 * step))
    bias.assign(start)
    inner = keras.Model(model.inputs[0], model.get_layer(layer).output)
    maps = keras.ops.convert_to_numpy(inner(IMAGES, training=False))
    places = maps.shape[1] * maps.shape[2]
    heat = np.maximum(np.einsum("nhwc,cn->nhw", maps, np.array(slopes) / places), 0)
    grown = keras.ops.image.resize(heat[..., None], (8, 8), "bilinear")
    grown = keras.ops.convert_to_numpy(grown)[..., 0]
    peaks = grown.max((1, 2), keepdims=True)
    return grown / np.where(peaks > 0, peaks, 1)


def agree_with_finite_differences():
    for class_index in ([0, 2], [1, 1], [2, 0]):
        expected = by_differences("conv2", class_index)
        assert expected.max() == 1
        for ending in ("softmax", "sigmoid", "activation", "layer", None):
            model = skipping(ending)
            found = grad_cam(model, IMAGES, class_index, "conv2")
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_finite_differences():
    agree_with_finite_differences()


@pytest.mark.backends
@pytest.mark.usefixtures("float64")
def test_finite_differences_on_the_backend():
    agree_with_finite_differences()


@pytest.mark.backends
def test_a_zoo_model_on_the_backend():
    unchanged_by_grad_cam()


def test_the_model_does_not_change():
    unchanged_by_grad_cam()


def unchanged_by_grad_cam():
    model = mini_resnet(depth=8, input_shape=(16, 16, 3), dropout=0.5)
    images = np.random.default_rng(0).normal(size=(18, 16, 16, 3))
    model.get_layer("conv3_block1_1_conv").trainable = False

    def state():
        nodes = [len(layer._inbound_nodes) for layer in model.layers]
        seeds = [layer.trainable for layer in model.layers]
        return model.get_config(), nodes, seeds, answers(model, images).tobytes()

    before, weights = state(), values(model)
    heat = grad_cam(model, images)
    assert state() == before
    assert all(map(np.array_equal, values(model), weights))
    assert (heat.shape, heat.dtype) == ((18, 16, 16), np.float32)
    assert heat.min() >= 0
    assert heat.max() == 1
    predicted = answers(model, images).argmax(1)
    last = grad_cam(model, images, predicted.tolist(), "conv4_block1_out")
    np.testing.assert_array_equal(heat, last)
    single = grad_cam(model, images[17], int(predicted[17]))
    np.testing.assert_allclose(single[0], heat[17], atol=1e-4)


def by_hand(weights=(1.0, -1.0), shape=(4, 6, 1), **settings):
    """Build a network that scores the mean of its image, once for and once against."""
    dense = layers.Dense(
        len(weights), use_bias=False, name="head_predictions", **settings
    )
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.DepthwiseConv2D(1, name="conv1", use_bias=False),
            layers.MaxPooling2D(1, name="conv1_pool"),
            layers.GlobalAveragePooling2D(name="head_pool"),
            dense,
        ]
    )
    model.set_weights([np.ones((1, 1, shape[2], 1)), np.array([weights] * shape[2])])
    return model


def test_by_hand():
    image = np.random.default_rng(0).normal(size=(4, 6, 1)).astype("float32")
    model, values = by_hand(), image[..., 0]
    with_it, against_it = np.maximum(values, 0), np.maximum(-values, 0)
    heat = grad_cam(model, np.stack([image, image]), [0, 1])
    np.testing.assert_allclose(heat[0], with_it / with_it.max(), atol=1e-6)
    np.testing.assert_allclose(heat[1], against_it / against_it.max(), atol=1e-6)
    predicted = with_it if values.mean() > 0 else against_it
    found = grad_cam(model, image)[0]
    np.testing.assert_allclose(found, predicted / predicted.max(), atol=1e-6)


def test_nothing_speaks_for_the_class():
    heat = grad_cam(by_hand(), np.ones((1, 4, 6, 1), "float32"), 1)
    np.testing.assert_array_equal(heat, np.zeros((1, 4, 6)))


def test_one_unit_with_a_sigmoid():
    model = by_hand(weights=(1.0,), activation="sigmoid")
    image = np.full((1, 4, 6, 1), 40.0, "float32")  # where a sigmoid has no slope
    np.testing.assert_allclose(grad_cam(model, image), np.ones((1, 4, 6)))


def test_a_quantized_head_keeps_its_gradients():
    model = by_hand(activation="softmax")
    image = np.random.default_rng(0).normal(size=(1, 4, 6, 1))
    expected = grad_cam(model, image, 0)
    model.layers[-1].quantize("int8")
    assert expected.max() == 1
    np.testing.assert_allclose(grad_cam(model, image, 0), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "log_softmax"])
def test_an_operation_that_squashes_is_left_out(name):
    model = by_hand(weights=(9.0, -9.0))
    squashed = keras.Model(model.inputs, getattr(keras.ops, name)(model.outputs[0]))
    image = np.random.default_rng(0).normal(40.0, size=(1, 4, 6, 1))  # no slope
    expected = grad_cam(model, image, 0)
    assert expected.max() == 1
    np.testing.assert_array_equal(grad_cam(squashed, image, 0), expected)


def test_of_a_head_called_twice_the_last_call_gives_the_logits():
    head = layers.Dense(3, activation="softmax", name="head")
    plain = layers.Dense(3, name="plain")
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, activation="relu", name="conv1")(image)
    x = head(layers.GlobalAveragePooling2D()(x))
    twice, expected = (keras.Model(image, last(x)) for last in (head, plain))
    plain.set_weights(head.get_weights())
    for index in range(3):
        heat = grad_cam(expected, IMAGES, index)
        np.testing.assert_allclose(grad_cam(twice, IMAGES, index), heat, atol=1e-5)


def test_half_precision():
    model = by_hand(dtype="mixed_float16", activation="softmax")
    image = np.random.default_rng(0).normal(size=(4, 6, 1)).astype("float32")
    expected = np.maximum(image[..., 0], 0) / image.max()
    np.testing.assert_allclose(grad_cam(model, image, 0)[0], expected, atol=1e-3)


def test_a_layer_of_two_towers():
    image = keras.Input((4, 4, 3), name="image")
    towers = [layers.Conv2D(2, 1, name=f"conv1_tower{i}")(image) for i in "12"]
    towers = LocalResponseNormalization(name="conv1_lrn")(towers)
    x = layers.Concatenate(name="conv1_concat")(towers)
    x = layers.GlobalMaxPooling2D(name="head_pool")(x)
    model = keras.Model(image, layers.Dense(2, name="head_predictions")(x))
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    joined = grad_cam(model, images, 0)
    assert joined.max() > 0
    np.testing.assert_allclose(
        grad_cam(model, images, 0, "conv1_lrn"), joined, atol=1e-6
    )


def test_side_heads_are_left_out():
    model = tiny(aux=True, classes=4)
    main = keras.Model(model.inputs, model.output["main"])
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    assert grad_cam(main, images, 1).max() > 0
    np.testing.assert_array_equal(grad_cam(model, images, 1), grad_cam(main, images, 1))


def test_a_frozen_model_and_a_nested_one():
    body = tiny(top=False)
    body.trainable = False
    image = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(body(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    images = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
    found = grad_cam(model, images, 2)
    assert found.shape == (1, 8, 8)
    np.testing.assert_array_equal(found, grad_cam(model, images, 2, body.name))


def test_the_last_map_before_the_head():
    images = np.random.default_rng(0).normal(size=(1, 32, 32, 1))
    # c5 is one pixel, s4 a pool.
    model = lenet()
    np.testing.assert_array_equal(
        grad_cam(model, images, 3), grad_cam(model, images, 3, "c3")
    )


def test_a_layer_whose_first_call_stands_in_another_model():
    model = tiny()
    image = keras.Input((16, 16, 3), name="image")
    x = image
    for layer in model.layers[1:]:
        x = layer(x)
    second = keras.Model(image, x)
    assert tensors_of(second)["conv2"][0].shape == (None, 8, 8, 5)
    images = np.random.default_rng(0).normal(size=(1, 16, 16, 3))
    assert grad_cam(second, images, 0).shape == (1, 16, 16)


def two_outputs():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(2, 1, name="conv1")(image)
    side = layers.Conv2D(2, 1, name="side1")(image)
    pool = layers.GlobalAveragePooling2D(name="head_pool")
    return keras.Model(image, {"main": pool(x), "side": pool(side)}, name="two")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_index": 3}, r"class_index=3 must be .* from 0 to 2, or a list of 2,"),
        ({"class_index": -1}, "class_index=-1 must be a whole number"),
        ({"class_index": 1.0}, "class_index=1.0 must be a whole number"),
        ({"class_index": True}, "class_index=True must be a whole number"),
        ({"class_index": [1]}, r"class_index=\[1\] must be .* one for each image"),
        ({"layer": ["conv2"]}, r"must be the name of a layer, found \['conv2'\]"),
        ({"layer": "conv_2"}, r"'conv_2' is not a layer .* did you mean 'conv2'"),
        (
            {"layer": "head_flatten"},
            r"'head_flatten' gives no maps of .* but \(None, 9\)",
        ),
        ({"layer": "head_predictions"}, "'head_predictions' does not lead to"),
        ({"images": "cat.jpg"}, "images must be an array as it reads them"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(**{"model": skipping(), "images": IMAGES} | arguments)


def test_models_that_it_cannot_explain():
    images = np.ones((1, 8, 8, 3))
    with pytest.raises(ValueError, match=r"'tiny' have the shapes \[\(None, 4, 4, 5\)"):
        grad_cam(tiny(top=False), images)
    with pytest.raises(ValueError, match="'side1' does not lead to the scores"):
        grad_cam(two_outputs(), images, 0, "side1")
    pair = two_outputs()
    pair = keras.Model(pair.inputs, list(pair.output.values()), name="pair")
    with pytest.raises(ValueError, match=r"one score for each class.*'pair'"):
        grad_cam(pair, images)
    mlp = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2)], name="mlp"
    )
    with pytest.raises(ValueError, match="'mlp' has no map that all data pass"):
        grad_cam(mlp, images)
    image = keras.Input((8, 8, 3), name="image")
    shared = layers.Conv2D(3, 1, name="shared")
    x = layers.GlobalAveragePooling2D()(shared(shared(image)))
    with pytest.raises(ValueError, match=r"'shared#2' is called more than once"):
        grad_cam(keras.Model(image, x), images)
    with pytest.raises(TypeError, match="'unbuilt' is a Sequential model without"):
        grad_cam(keras.Sequential([layers.Dense(2)], name="unbuilt"), images)
    with pytest.raises(TypeError, match=r"Sequential keras\.Model, found Subclassed"):
        grad_cam(Subclassed(), images)
    with without_weights():
        empty = tiny()
    with pytest.raises(ValueError, match="'tiny' was built without weights, so there"):
        grad_cam(empty, images)
    broken = by_hand()
    broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    with pytest.raises(ValueError, match="scores or their gradients are not finite"):
        grad_cam(broken, np.ones((1, 4, 6, 1)), 0)


class Subclassed(keras.Model):
    def call(self, x):
        return x
