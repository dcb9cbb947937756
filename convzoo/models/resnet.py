"""ResNet: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR
2016, arXiv:1512.03385, Table 1.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import keras

from convzoo.blocks.convolution import (
    HE_NORMAL,
    RESNET,
    Activation,
    convolution,
    max_pool,
)
from convzoo.blocks.residual import (
    Branch,
    basic,
    bottleneck,
    conv_block,
    identity_block,
)
from convzoo.models.plan import Pooling, Shape, Weights, builder
from convzoo.models.settle import settle


class Stage(NamedTuple):
    """A row of Table 1: blocks that share their width."""

    name: str
    width: int  # filters inside a block; a bottleneck gives four times as many
    blocks: int
    stride: int  # of the first block


def _column(*blocks: int) -> tuple[Stage, ...]:
    """Return a column of Table 1, which differ only in the numbers of blocks."""
    # fmt: off
    return (                                  # output at 224 pixels, bottlenecks
        Stage("conv2",  64, blocks[0], 1),    # 56 x 56 x  256
        Stage("conv3", 128, blocks[1], 2),    # 28 x 28 x  512
        Stage("conv4", 256, blocks[2], 2),    # 14 x 14 x 1024
        Stage("conv5", 512, blocks[3], 2),    #  7 x  7 x 2048
    )
    # fmt: on


RESNET18 = _column(2, 2, 2, 2)
RESNET34 = _column(3, 4, 6, 3)
RESNET50 = _column(3, 4, 6, 3)
RESNET101 = _column(3, 4, 23, 3)
RESNET152 = _column(3, 8, 36, 3)


def _resnet(
    builder: str,
    table: tuple[Stage, ...],
    branch: Branch,
    arguments: Mapping[str, Any],
) -> keras.Model:
    plan = settle(builder, arguments)
    if branch is bottleneck and plan.variant == "v1.5":
        branch = partial(bottleneck, stride_in="3x3")
    conv = partial(convolution, norm=RESNET, initializer=HE_NORMAL)
    x = plan.image()  # 224 x 224 x 3
    x = conv(x, 64, 7, strides=2, padding=3, name="conv1")  # 112 x 112 x 64
    x = max_pool(x, 3, 2, padding=1, name="pool1")  # 56 x 56 x 64
    for stage in table:
        name = f"{stage.name}_block1"
        if stage.stride == 1 and branch is basic:  # 64 maps in, 64 out
            x = identity_block(x, stage.width, branch=branch, name=name)
        else:
            x = conv_block(
                x, stage.width, strides=stage.stride, branch=branch, name=name
            )
        for i in range(2, stage.blocks + 1):
            name = f"{stage.name}_block{i}"
            x = identity_block(x, stage.width, branch=branch, name=name)
    return plan.classify(x, weights=HE_NORMAL)


@builder
def resnet18(
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
    name: str = "resnet18",
) -> keras.Model:
    """Build ResNet-18 (He, Zhang, Ren, Sun, 2016), 11,689,512 trainable parameters.

    Follows Table 1: basic blocks of two 3x3 convolutions. Differs from the paper: where
    the shape changes the shortcut is a projection (option B) as in torchvision and
    timm, not zero-padded (option A). "v1" and "v1.5" are the same network, as
    basic blocks have no 1x1 convolution to take the step; both names are accepted.
    Arguments and errors as in `resnet50`.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 512).

    Example:
        >>> resnet18(include_top=False).output_shape
        (None, 7, 7, 512)
    """
    return _resnet("resnet18", RESNET18, basic, locals())


@builder
def resnet34(
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
    name: str = "resnet34",
) -> keras.Model:
    """Build ResNet-34 (He, Zhang, Ren, Sun, 2016), 21,797,672 trainable parameters.

    Follows Table 1: basic blocks of two 3x3 convolutions. Differs from the paper: where
    the shape changes the shortcut is a projection (option B) as in torchvision and
    timm, not zero-padded (option A). "v1" and "v1.5" are the same network, as
    basic blocks have no 1x1 convolution to take the step; both names are accepted.
    Arguments and errors as in `resnet50`.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 512).

    Example:
        >>> resnet34(include_top=False).output_shape
        (None, 7, 7, 512)
    """
    return _resnet("resnet34", RESNET34, basic, locals())


@builder
def resnet50(
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
    name: str = "resnet50",
) -> keras.Model:
    """Build ResNet-50 (He, Zhang, Ren, Sun, 2016), 25,557,032 trainable parameters.

    ``variant="v1"`` follows Table 1 and the authors' release: 1x1, 3x3, 1x1
    bottlenecks, the step of a stage in the first 1x1 convolution, projections (option
    B) where the shape changes. Differs from the release in pool1, which there is
    unpadded and rounds its size up (one pixel on both sides here, as in Keras and
    PyTorch), and in that ResNet-50's release has an idle bias in conv1.

    ``variant="v1.5"`` takes the step in the 3x3 convolution, as PyTorch's and
    torchvision's ResNets do: the same parameters, 6 % more multiply-accumulates (101: 3
    %, 152: 2 %).

    Args:
        weights: None (random: He et al.'s Gaussian), a name of `list_weights`, or
            the path of a file.
        variant: "v1" (default) or "v1.5".
        include_top: Whether the classifier follows conv5.
        input_shape: (height, width, channels), at least 32 x 32.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; published: 0.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        name: The model's name.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 2048).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> resnet50(classes=10).output_shape
        (None, 10)
    """
    return _resnet("resnet50", RESNET50, bottleneck, locals())


@builder
def resnet101(
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
    name: str = "resnet101",
) -> keras.Model:
    """Build ResNet-101 (He, Zhang, Ren, Sun, 2016), 44,549,160 trainable parameters.

    Variants, deviations, arguments and errors as in `resnet50`.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 2048).

    Example:
        >>> resnet101(include_top=False).output_shape
        (None, 7, 7, 2048)
    """
    return _resnet("resnet101", RESNET101, bottleneck, locals())


@builder
def resnet152(
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
    name: str = "resnet152",
) -> keras.Model:
    """Build ResNet-152 (He, Zhang, Ren, Sun, 2016), 60,192,808 trainable parameters.

    Variants, deviations, arguments and errors as in `resnet50`.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 2048).

    Example:
        >>> resnet152(include_top=False).output_shape
        (None, 7, 7, 2048)
    """
    return _resnet("resnet152", RESNET152, bottleneck, locals())
