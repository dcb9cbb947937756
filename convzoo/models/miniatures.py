"""Miniatures for 32 x 32 images: small relatives of VGG, GoogLeNet and ResNet.

Only CIFAR ResNet (He et al., arXiv:1512.03385, section 4.2) and "Inception (small)"
(Zhang et al., arXiv:1611.03530, Figure 3) come from papers; the docstrings say where
the others do.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import keras
from keras import layers

from convzoo.arguments import one_of, require
from convzoo.blocks.convolution import (
    HE_NORMAL,
    KERAS,
    RESNET,
    Activation,
    Conv,
    Tensor,
    convolution,
    max_pool,
    normalize,
)
from convzoo.blocks.head import drop
from convzoo.blocks.inception import inception
from convzoo.blocks.residual import (
    basic,
    conv_block,
    identity_block,
    padded,
    projection,
)
from convzoo.models.googlenet import TABLE1
from convzoo.models.plan import Plan, Pooling, Shape, Weights, builder
from convzoo.models.settle import settle


@builder
def mini_vgg(
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
    name: str = "mini_vgg",
) -> keras.Model:
    """Build MiniVGGNet, 2,169,770 trainable parameters.

    No paper: the network of A. Rosebrock's book "Deep Learning for Computer Vision with
    Python", two VGG stages of 32 and 64 filters and a dense layer of 512. Batch norm
    stands *behind* the ReLU, as there.

    Args:
        weights: None (random, Glorot uniform), or a path.
        variant: "rosebrock", the only one.
        include_top: Whether the dense layers follow the second pool.
        input_shape: (height, width, channels), at least 8 x 8.
        classes: Number of classes, 10 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; published: 0.5.
            Half of it is dropped after each pool.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        name: The model's name.

    Returns:
        (batch, 32, 32, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 8, 8, 64).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> mini_vgg(classes=100).output_shape
        (None, 100)
    """
    plan = settle("mini_vgg", locals(), drops_in_body=True)
    rate = plan.rate(0.5)
    x = plan.image()
    for stage, filters in (("block1", 32), ("block2", 64)):
        for i in (1, 2):
            x = convolution(x, filters, 3, name=f"{stage}_conv{i}")
            x = normalize(x, KERAS, None, name=f"{stage}_conv{i}")
        x = max_pool(x, 2, 2, name=stage)
        x = drop(x, rate / 2, name=f"{stage}_dropout")
    if plan.include_top:
        x = plan.flatten(x)
        x = layers.Dense(512, activation="relu", name="head_fc")(x)
        x = normalize(x, KERAS, None, name="head_fc")
        x = drop(x, rate, name="head_dropout")
        x = layers.Dense(
            plan.classes, activation=plan.activation, name="head_predictions"
        )(x)
    return plan.model(x)


@builder
def mini_inception(
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
    name: str = "mini_inception",
) -> keras.Model:
    """Build a small Inception for 32 x 32 images.

    ``variant="half"`` has no paper: GoogLeNet's nine modules (Szegedy et al.,
    arXiv:1409.4842, Table 1) at half width with batch norm, behind one 3x3 convolution
    of 96 filters instead of the stem that shrinks 224 pixels to 28.

    ``variant="zhang2017"`` is "Inception (small)" of Zhang et al., "Understanding deep
    learning requires rethinking generalization", arXiv:1611.03530, Figure 3: modules of
    two branches, 28 x 28 input, 1,652,826 trainable parameters (the paper counts
    1,649,402 without batch norm's). Differs from the paper: nowhere known.

    Args:
        weights: None (random: He et al.'s Gaussian, zhang2017 Glorot uniform), or a
            path.
        variant: "half" (default) or "zhang2017".
        include_top: Whether the classifier follows the last module.
        input_shape: (height, width, channels), at least 8 x 8.
        classes: Number of classes, 10 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; 0.4 as in
            GoogLeNet,
            zhang2017: 0.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        name: The model's name.

    Returns:
        (batch, 32, 32, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 8, 8, 512), zhang2017 (batch, 7, 7, 336).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> mini_inception(variant="zhang2017").input_shape
        (None, 28, 28, 3)
    """
    plan = settle("mini_inception", locals())
    return _zhang2017(plan) if plan.variant == "zhang2017" else _half(plan)


def _half(plan: Plan) -> keras.Model:
    conv = partial(convolution, norm=KERAS, initializer=HE_NORMAL)
    x = conv(plan.image(), 96, 3, name="conv1")  # 32 x 32 x 96
    for number, modules in enumerate(TABLE1, start=2):
        if number > 2:
            x = max_pool(x, 3, 2, padding="same", name=f"pool{number}")
        for module in modules:  # 32, 16, 8 pixels
            widths = [columns // 2 for columns in module[1:]]
            x = inception(x, *widths, conv=conv, name=module.name)
    return plan.classify(x, dropout=0.4, weights=HE_NORMAL)


def _zhang2017(plan: Plan) -> keras.Model:
    conv = partial(convolution, norm=KERAS, use_bias=True)
    x = plan.image()  # ...................................... 28 x 28 x   3
    x = conv(x, 96, 3, name="conv1")  # ...................... 28 x 28 x  96
    x = _module(x, 32, 32, conv=conv, name="inception_1a")  #  28 x 28 x  64
    x = _module(x, 32, 48, conv=conv, name="inception_1b")  #  28 x 28 x  80
    x = _downsample(x, 80, conv=conv, name="inception_2a")  #  14 x 14 x 160
    x = _module(x, 112, 48, conv=conv, name="inception_2b")  # 14 x 14 x 160
    x = _module(x, 96, 64, conv=conv, name="inception_2c")  #  14 x 14 x 160
    x = _module(x, 80, 80, conv=conv, name="inception_2d")  #  14 x 14 x 160
    x = _module(x, 48, 96, conv=conv, name="inception_2e")  #  14 x 14 x 144
    x = _downsample(x, 96, conv=conv, name="inception_3a")  #   7 x  7 x 240
    x = _module(x, 176, 160, conv=conv, name="inception_3b")  # 7 x  7 x 336
    x = _module(x, 176, 160, conv=conv, name="inception_3c")  # 7 x  7 x 336
    return plan.classify(x)


def _module(x: Tensor, n1x1: int, n3x3: int, *, conv: Conv, name: str) -> Tensor:
    a = conv(x, n1x1, 1, name=f"{name}_1x1")
    b = conv(x, n3x3, 3, name=f"{name}_3x3")
    return layers.Concatenate(name=f"{name}_concat")([a, b])


def _downsample(x: Tensor, n3x3: int, *, conv: Conv, name: str) -> Tensor:
    a = conv(x, n3x3, 3, strides=2, name=f"{name}_3x3")
    b = max_pool(x, 3, 2, padding="same", name=name)
    return layers.Concatenate(name=f"{name}_concat")([a, b])


class Stage(NamedTuple):
    """A column of the table in section 4.2."""

    name: str
    width: int
    stride: int


# fmt: off
CIFAR = (                       # 2n convolutions each, output at 32 pixels
    Stage("conv2", 16, 1),      # 32 x 32 x 16
    Stage("conv3", 32, 2),      # 16 x 16 x 32
    Stage("conv4", 64, 2),      #  8 x  8 x 64
)
# fmt: on


@builder
def mini_resnet(
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
    depth: int | None = None,
    shortcut: str | None = None,
    name: str = "mini_resnet",
) -> keras.Model:
    """Build a CIFAR ResNet (He, Zhang, Ren, Sun, 2016), by default ResNet-20.

    Follows section 4.2: a 3x3 convolution of 16 filters, three stages of n basic
    blocks, no pool before the last; ResNet-20 has 269,722 parameters. Differs from
    the paper: nowhere known.

    Args:
        weights: None (random: He et al.'s Gaussian), or a path.
        variant: "he2016", the only one.
        include_top: Whether the classifier follows the last stage.
        input_shape: (height, width, channels), at least 8 x 8.
        classes: Number of classes, 10 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; published: 0.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        depth: 6 n + 2 weighted layers; published: 20, 32, 44, 56, 110, 1202; by default
            the weights' own, else 20.
        shortcut: Where the shape changes: "A" (published for CIFAR), subsampled and
            padded with zeros, or "B", a 1x1 projection (272,474 parameters); by default
            the weights' own, else "A".
        name: The model's name.

    Returns:
        (batch, 32, 32, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 8, 8, 64).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> mini_resnet(depth=56, shortcut="B").count_params()
        860026
    """
    plan = settle("mini_resnet", locals(), depth=20, shortcut="A")
    depth, shortcut = plan.options["depth"], plan.options["shortcut"]
    require(
        isinstance(depth, int) and depth >= 8 and depth % 6 == 2,
        f"depth={depth!r} must be 6 n + 2 with n of at least 1: 8, 14, 20, 26, 32 ...",
    )
    one_of("shortcut", shortcut, ("A", "B"))
    down = partial(
        conv_block, branch=basic, shortcut=padded if shortcut == "A" else projection
    )
    x = plan.image()
    x = convolution(x, 16, 3, norm=RESNET, initializer=HE_NORMAL, name="conv1")
    for stage in CIFAR:
        for i in range(1, (depth - 2) // 6 + 1):
            name = f"{stage.name}_block{i}"
            if i == 1 and stage.stride == 2:
                x = down(x, stage.width, name=name)
            else:
                x = identity_block(x, stage.width, branch=basic, name=name)
    return plan.classify(x, weights=HE_NORMAL)
