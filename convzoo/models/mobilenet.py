"""MobileNet: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for
Mobile Vision Applications", 2017, arXiv:1704.04861, Table 1.
"""  # noqa: D205

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import keras

from convzoo.arguments import require
from convzoo.blocks.convolution import KERAS, TORCH, Activation, Padding, convolution
from convzoo.blocks.separable import depthwise_separable
from convzoo.models.plan import Pooling, Shape, Weights, builder
from convzoo.models.settle import settle


class Stage(NamedTuple):
    """Rows of Table 1 at one resolution."""

    name: str
    filters: int  # of the pointwise convolutions
    blocks: int
    stride: int  # of the first depthwise convolution


# fmt: off
TABLE1 = (                             # output at 224 pixels, alpha 1
    Stage("stage1",   64, 1, 1),       # 112 x 112 x   64
    Stage("stage2",  128, 2, 2),       #  56 x  56 x  128
    Stage("stage3",  256, 2, 2),       #  28 x  28 x  256
    Stage("stage4",  512, 6, 2),       #  14 x  14 x  512
    Stage("stage5", 1024, 2, 2),       #   7 x   7 x 1024
)
# fmt: on


@builder
def mobilenet(
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
    alpha: float | None = None,
    name: str = "mobilenet",
) -> keras.Model:
    """Build MobileNet (Howard et al., 2017), 4,231,976 trainable parameters at alpha 1.

    Follows Table 1, whose last depthwise convolution is printed with stride 2 but keeps
    its 7 x 7 map and so has stride 1. Differs from the paper as slim, Keras and timm
    do: ReLU6 where the text says ReLU, and a dropout of 0.001.

    ``variant="keras"`` pads as keras.applications does: the first convolution like
    TensorFlow, the strided depthwise ones by one pixel at the end. ``variant="torch"``
    pads one pixel on both sides, as timm's ``mobilenetv1_100`` does.

    Args:
        weights: None (random, Glorot uniform; the paper gives none), a name of
            `list_weights`, or the path of a file.
        variant: "keras" (default) or "torch".
        include_top: Whether the classifier follows the last block.
        input_shape: (height, width, channels), at least 32 x 32; published: 224, 192,
            160 and 128 pixels.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; 0.001 as released.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        alpha: Width multiplier of every layer; published: 1, 0.75, 0.5, 0.25; by
            default the weights' own, else 1.
        name: The model's name.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 1024 * alpha).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> mobilenet(alpha=0.25, include_top=False).output_shape
        (None, 7, 7, 256)
    """
    plan = settle("mobilenet", locals(), alpha=1.0)
    alpha = plan.options["alpha"]
    require(
        isinstance(alpha, (int, float)) and 1 / 32 <= alpha < math.inf,
        f"alpha={alpha!r} must be a width multiplier of at least 1/32, such as 1, "
        "0.75, 0.5 or 0.25.",
    )
    torch = plan.variant == "torch"
    norm = TORCH if torch else KERAS
    first: Padding = 1 if torch else "same"
    strided: Padding = 1 if torch else (0, 1)
    stem = partial(convolution, strides=2, padding=first, norm=norm, activation="relu6")
    x = stem(plan.image(), int(32 * alpha), 3, name="conv1")  # 112 x 112 x 32
    for stage in TABLE1:
        for i in range(1, stage.blocks + 1):
            stride = stage.stride if i == 1 else 1
            x = depthwise_separable(
                x,
                int(stage.filters * alpha),
                strides=stride,
                padding=strided if stride == 2 else "same",
                norm=norm,
                name=f"{stage.name}_block{i}",
            )
    return plan.classify(x, dropout=0.001)
