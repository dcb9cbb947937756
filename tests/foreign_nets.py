"""Models that are not of the zoo: shared layers, operations, models in models."""

import keras
from keras import layers

from convzoo.deferred import without_weights


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


def application(name):
    with without_weights():
        return getattr(keras.applications, name)(weights=None)


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


FOREIGN = (repeated, nested, with_operations, sequential, named_outputs)
