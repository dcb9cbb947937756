"""Ends of a network: the image's scaling, classifiers, auxiliary classifiers."""

from __future__ import annotations

from collections.abc import Sequence

from keras import layers

from convzoo.blocks.convolution import (
    Activation,
    Conv,
    Initializer,
    Tensor,
    convolution,
    initializer,
)


def rescaling(
    x: Tensor, mean: Sequence[float], std: Sequence[float], *, name: str
) -> Tensor:
    """Map values 0..255 to (x / 255 - mean) / std per channel, in one stock layer."""
    scale = [1 / (255 * deviation) for deviation in std]
    offset = [-m / deviation for m, deviation in zip(mean, std, strict=True)]
    return layers.Rescaling(scale, offset, dtype="float32", name=f"{name}_rescaling")(x)


def classifier_head(
    x: Tensor,
    classes: int,
    *,
    dropout: float = 0.0,
    activation: Activation = "softmax",
    weights: Initializer = "glorot_uniform",
    name: str = "head",
) -> Tensor:
    """Average each map, drop some, score the classes.

    Args:
        x: (batch, height, width, channels).
        classes: Number of classes.
        dropout: Fraction of the averages dropped in training, in [0, 1).
        activation: Of the scores; None for logits.
        weights: Initialiser of the dense kernel.
        name: Prefix of the layers' names.

    Returns:
        (batch, classes).
    """
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    x = drop(x, dropout, name=f"{name}_dropout")
    return layers.Dense(
        classes,
        activation=activation,
        kernel_initializer=weights,
        name=f"{name}_predictions",
    )(x)


def drop(x: Tensor, rate: float, *, name: str) -> Tensor:
    """Drop a fraction of the values in training; no layer for a rate of 0."""
    return layers.Dropout(rate, name=name)(x) if rate else x


def auxiliary_2014(
    x: Tensor,
    classes: int,
    *,
    pool: layers.Layer | None = None,
    dropout: float = 0.7,
    activation: Activation = "softmax",
    conv: Conv = convolution,
    weights: Initializer = "glorot_uniform",
    hidden_bias: Initializer = "zeros",
    name: str,
) -> Tensor:
    """Score the classes halfway up GoogLeNet (arXiv:1409.4842, section 5).

    Average pool 5x5 by 3, 1x1 convolution to 128, dense 1,024, dropout 70 %, dense.

    Args:
        x: (batch, 14, 14, channels) at an input of 224 pixels.
        classes: Number of classes.
        pool: Layer in place of the paper's pool.
        dropout: Fraction dropped in training, in [0, 1).
        activation: Of the scores; None for logits.
        conv: `convolution` with its norm and initialiser bound.
        weights: Initialiser of the dense kernels.
        hidden_bias: Initialiser of the hidden layer's bias.
        name: Prefix of the layers' names.

    Returns:
        (batch, classes).
    """
    x = (pool or layers.AveragePooling2D(5, 3, name=f"{name}_pool"))(x)
    x = conv(x, 128, 1, name=f"{name}_1x1")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(
        1024,
        activation="relu",
        kernel_initializer=weights,
        bias_initializer=hidden_bias,
        name=f"{name}_fc",
    )(x)
    x = drop(x, dropout, name=f"{name}_dropout")
    return layers.Dense(
        classes,
        activation=activation,
        kernel_initializer=weights,
        name=f"{name}_predictions",
    )(x)


def auxiliary_2015(
    x: Tensor, classes: int, *, activation: Activation, conv: Conv, name: str
) -> Tensor:
    """Score the classes from InceptionV3's 17x17 grid (arXiv:1512.00567, Figure 8).

    Average pool 5x5 by 3, 1x1 convolution to 128, 5x5 convolution to 768, dense.

    Args:
        x: (batch, 17, 17, 768) at an input of 299 pixels.
        classes: Number of classes.
        activation: Of the scores; None for logits.
        conv: `convolution` with its norm bound.
        name: Prefix of the layers' names.

    Returns:
        (batch, classes).
    """
    x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = conv(x, 128, 1, name=f"{name}_1x1")
    x = conv(
        x,
        768,
        5,
        padding="valid",
        initializer=initializer("TruncatedNormal", stddev=0.01),
        name=f"{name}_5x5",
    )
    x = layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)
    return layers.Dense(
        classes,
        activation=activation,
        kernel_initializer=initializer("TruncatedNormal", stddev=0.001),
        name=f"{name}_predictions",
    )(x)
