"""Small networks named like the zoo's, and what the tests of weights do with them."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from convzoo import load_weights, save_weights
from convzoo.pretrained import files

FORMATS = ("tiny.safetensors", "tiny.weights.h5", "tiny.keras")
SEEDS = itertools.count()
IMAGES = np.random.default_rng(7).uniform(size=(2, 8, 8, 3))


def tiny(
    *,
    name="tiny",
    strides=(2, 1),
    epsilon=1e-3,
    width=4,
    channels=3,
    classes=3,
    activation="softmax",
    top=True,
    aux=False,
    middle="relu",
    rescaling=None,
    dtype=None,
):
    """Build a network of every kind of weight, named like the zoo's."""
    image = x = keras.Input((8, 8, channels), name="image")
    if rescaling:
        x = layers.Rescaling(*rescaling, name="image_rescaling")(x)
    first, second = strides
    x = layers.Conv2D(width, 3, first, padding="same", dtype=dtype, name="conv1")(x)
    x = layers.BatchNormalization(epsilon=epsilon, name="conv1_bn")(x)
    if middle:
        x = layers.Activation(middle, name="conv1_relu")(x)
    x = layers.SeparableConv2D(5, 3, second, padding="same", name="conv2")(x)
    outputs = x
    if top:
        outputs = layers.GlobalAveragePooling2D(name="head_pool")(x)
        outputs = layers.Dropout(0.5, seed=1, name="head_dropout")(outputs)
        outputs = layers.Dense(classes, activation, name="head_predictions")(outputs)
    if aux:
        side = layers.GlobalMaxPooling2D(name="aux1_pool")(x)
        side = layers.Dense(classes, name="aux1_predictions")(side)
        outputs = {"main": outputs, "aux1": side}
    return randomised(keras.Model(image, outputs, name=name))


def randomised(model):
    """Give every weight a value of its own, another at each call."""
    random = np.random.default_rng(next(SEEDS))
    for variable in model.weights:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def values(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


def equal(model, other):
    pairs = zip(values(model), values(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def answers(model, images=IMAGES):
    outputs = model(images.astype("float32"), training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def saved(model, path):
    """Save in the format that the file's name states."""
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    elif path.suffix == ".keras":
        model.save(path)
    else:
        save_weights(model, path)
    return path


def rewritten(source, change, **facts):
    """Write a convzoo file again with its arrays and facts changed."""
    content = files.read(source)
    tensors = {name: array.read() for name, array in content.tensors.items()}
    change(tensors)
    path = source.with_name("changed.safetensors")
    files.write(path, tensors, {**content.metadata, **facts}, content.layers)
    return path


def refused(model, source, message, **options):
    """Assert that loading fails with this message and changes nothing."""
    before = values(model)
    with pytest.raises(ValueError, match=message) as caught:
        load_weights(model, source, **options)
    assert all(np.array_equal(a, b) for a, b in zip(before, values(model), strict=True))
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text
