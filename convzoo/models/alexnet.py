"""AlexNet: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep
Convolutional Neural Networks", NIPS 2012, Figure 2; its single tower: Krizhevsky, "One
weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
"""  # noqa: D205

from __future__ import annotations

from functools import partial

import keras
from keras import layers

from convzoo.blocks.convolution import (
    Activation,
    Conv,
    Initializer,
    Tensor,
    convolution,
    initializer,
    max_pool,
)
from convzoo.blocks.head import drop
from convzoo.layers import LocalResponseNormalization
from convzoo.models.plan import Plan, Pooling, Shape, Weights, builder
from convzoo.models.settle import settle

GAUSSIAN = initializer("RandomNormal", stddev=0.01)
# PyTorch's default for convolutions and dense layers: uniform in +-1 / sqrt(fan-in).
TORCH_UNIFORM = initializer(
    "VarianceScaling", scale=1 / 3, mode="fan_in", distribution="uniform"
)


@builder
def alexnet(
    *,
    weights: Weights = None,
    variant: str | None = None,
    include_top: bool = True,
    input_shape: Shape | None = None,
    classes: int | None = None,
    pooling: Pooling = None,
    dropout: float | None = None,
    classifier_activation: Activation = "softmax",
    include_preprocessing: bool = False,
    input_tensor: keras.KerasTensor | None = None,
    name: str = "alexnet",
) -> keras.Model:
    """Build AlexNet (Krizhevsky, Sutskever, Hinton, 2012).

    ``variant="paper"``, 60,965,224 parameters, is Figure 2: two towers that meet in
    conv3 and in the dense layers, local response normalisation across both after conv1
    and conv2, overlapping pools. It differs in one point: the input is 227 pixels, the
    size that gives the published 55 x 55 maps (the text says 224, which no padding of
    the paper fits).

    ``variant="torch"``, 61,100,840 parameters, is torchvision's network after "One
    weird trick": one tower of 64-192-384-256-256 maps, no normalisation, 224 pixels. It
    differs from torchvision in that biases start at 0, not uniform, and that the top
    has no adaptive pool, so that another input size makes another fc6.

    Args:
        weights: None (random: the paper's initialisation), a name of
            `list_weights`, or the path of a file.
        variant: "paper" (default) or "torch".
        include_top: Whether the three dense layers follow the last pool.
        input_shape: (height, width, channels), at least 67 (paper) or 63 (torch)
            pixels.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training at both hidden dense layers; published:
            0.5.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        name: The model's name.

    Returns:
        RGB (batch, 227, 227, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 6, 6, 256).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> alexnet(variant="torch").output_shape
        (None, 1000)
    """
    plan = settle("alexnet", locals())
    return _paper(plan) if plan.variant == "paper" else _torch(plan)


def _paper(plan: Plan) -> keras.Model:
    conv = partial(convolution, initializer=GAUSSIAN)
    first = partial(conv, strides=4, padding="valid")
    biased = partial(conv, bias_initializer="ones")
    lrn = LocalResponseNormalization
    # fmt: off
    x = plan.image()                                      # 227 x 227 x   3
    a, b = _both(first, x, x, 48, 11, name="conv1")       #  55 x  55 x  48 twice
    a, b = lrn(name="conv1_lrn")([a, b])
    a, b = _both(max_pool, a, b, 3, 2, name="pool1")      #  27 x  27 x  48 twice
    a, b = _both(biased, a, b, 128, 5, name="conv2")      #  27 x  27 x 128 twice
    a, b = lrn(name="conv2_lrn")([a, b])
    a, b = _both(max_pool, a, b, 3, 2, name="pool2")      #  13 x  13 x 128 twice
    x = layers.Concatenate(name="conv3_concat")([a, b])   # the towers meet
    a, b = _both(conv, x, x, 192, 3, name="conv3")        #  13 x  13 x 192 twice
    a, b = _both(biased, a, b, 192, 3, name="conv4")      #  13 x  13 x 192 twice
    a, b = _both(biased, a, b, 128, 3, name="conv5")      #  13 x  13 x 128 twice
    x = layers.Concatenate(name="conv5_concat")([a, b])
    x = max_pool(x, 3, 2, name="pool5")                   #   6 x   6 x 256
    # fmt: on
    if plan.include_top:
        dense = partial(_dense, bias="ones", weights=GAUSSIAN)
        x = plan.flatten(x)
        x = dense(x, 4096, name="head_fc6")
        x = drop(x, plan.rate(0.5), name="head_dropout6")
        x = dense(x, 4096, name="head_fc7")
        x = drop(x, plan.rate(0.5), name="head_dropout7")
        x = _predictions(x, plan, GAUSSIAN)
    return plan.model(x)


def _torch(plan: Plan) -> keras.Model:
    conv = partial(convolution, initializer=TORCH_UNIFORM)
    # fmt: off
    x = plan.image()                                        # 224 x 224 x   3
    x = conv(x, 64, 11, strides=4, padding=2, name="conv1") #  55 x  55 x  64
    x = max_pool(x, 3, 2, name="pool1")                     #  27 x  27 x  64
    x = conv(x, 192, 5, name="conv2")                       #  27 x  27 x 192
    x = max_pool(x, 3, 2, name="pool2")                     #  13 x  13 x 192
    x = conv(x, 384, 3, name="conv3")                       #  13 x  13 x 384
    x = conv(x, 256, 3, name="conv4")                       #  13 x  13 x 256
    x = conv(x, 256, 3, name="conv5")                       #  13 x  13 x 256
    x = max_pool(x, 3, 2, name="pool5")                     #   6 x   6 x 256
    # fmt: on
    if plan.include_top:
        dense = partial(_dense, weights=TORCH_UNIFORM)
        x = plan.flatten(x)
        x = drop(x, plan.rate(0.5), name="head_dropout6")  # before, not after, as there
        x = dense(x, 4096, name="head_fc6")
        x = drop(x, plan.rate(0.5), name="head_dropout7")
        x = dense(x, 4096, name="head_fc7")
        x = _predictions(x, plan, TORCH_UNIFORM)
    return plan.model(x)


def _both(
    step: Conv, a: Tensor, b: Tensor, *numbers: int, name: str, **settings: int | str
) -> tuple[Tensor, Tensor]:
    """Apply one step to each tower by itself: the paper's two GPUs."""
    return (
        step(a, *numbers, **settings, name=f"{name}_tower1"),
        step(b, *numbers, **settings, name=f"{name}_tower2"),
    )


def _dense(
    x: Tensor, units: int, *, weights: Initializer, bias: str = "zeros", name: str
) -> Tensor:
    return layers.Dense(
        units,
        activation="relu",
        kernel_initializer=weights,
        bias_initializer=bias,
        name=name,
    )(x)


def _predictions(x: Tensor, plan: Plan, weights: Initializer) -> Tensor:
    return layers.Dense(
        plan.classes,
        activation=plan.activation,
        kernel_initializer=weights,
        name="head_predictions",
    )(x)
