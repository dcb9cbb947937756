"""Xception: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions",
CVPR 2017, arXiv:1610.02357, Figure 5.
"""  # noqa: D205

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers

from convzoo.blocks.convolution import (
    KERAS,
    TORCH,
    Activation,
    Norm,
    Tensor,
    convolution,
    max_pool,
)
from convzoo.blocks.separable import separable
from convzoo.models.plan import Pooling, Shape, Weights, builder
from convzoo.models.settle import settle


@builder
def xception(
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
    name: str = "xception",
) -> keras.Model:
    """Build Xception (Chollet, 2017), 22,855,952 trainable parameters as in Table 3.

    Follows Figure 5 and the author's Keras implementation, which settle what the figure
    leaves out: no padding in the first two convolutions, batch norm after every
    convolution, no ReLU before the first separable convolution, which reads an
    activated map. Differs from the paper: nowhere known (its optional dense layers are
    left out).

    ``variant="torch"`` is timm's ``legacy_xception``: symmetric padding of the pools
    and batch norm's epsilon of 1e-5.

    Args:
        weights: None (random, Glorot uniform; the paper gives none), a name of
            `list_weights`, or the path of a file.
        variant: "keras" (default) or "torch".
        include_top: Whether the classifier follows the exit flow.
        input_shape: (height, width, channels), at least 71 x 71.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; published: 0.5.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        name: The model's name.

    Returns:
        RGB (batch, 299, 299, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 10, 10, 2048).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> xception(include_top=False).output_shape
        (None, 10, 10, 2048)
    """
    plan = settle("xception", locals())
    norm = TORCH if plan.variant == "torch" else KERAS
    padding = "symmetric" if plan.variant == "torch" else "same"
    conv = partial(convolution, norm=norm, padding="valid")
    down = partial(_down, norm=norm, padding=padding)
    sep = partial(separable, norm=norm)

    # fmt: off
    # Entry flow
    x = plan.image()                                            # 299 x 299 x    3
    x = conv(x, 32, 3, strides=2, name="entry_block1_conv1")    # 149 x 149 x   32
    x = conv(x, 64, 3, name="entry_block1_conv2")               # 147 x 147 x   64
    x = down(x, 128, 128, first_relu=None, name="entry_block2") #  74 x  74 x  128
    x = down(x, 256, 256, name="entry_block3")                  #  37 x  37 x  256
    x = down(x, 728, 728, name="entry_block4")                  #  19 x  19 x  728
    # Middle flow, eight times
    for i in range(5, 13):
        x = _middle(x, norm=norm, name=f"middle_block{i}")      #  19 x  19 x  728
    # Exit flow
    x = down(x, 728, 1024, name="exit_block13")                 #  10 x  10 x 1024
    x = sep(x, 1536, activation=None, name="exit_block14_sep1") #  10 x  10 x 1536
    x = sep(x, 2048, name="exit_block14_sep2")                  #  10 x  10 x 2048
    x = layers.Activation("relu", name="exit_block14_relu")(x)
    # fmt: on
    return plan.classify(x, dropout=0.5)


def _down(
    x: Tensor,
    first: int,
    second: int,
    *,
    first_relu: Activation = "relu",
    norm: Norm,
    padding: Any,
    name: str,
) -> Tensor:
    """Two separable convolutions and a pool beside a 1x1 convolution by 2."""
    shortcut = convolution(
        x, second, 1, strides=2, norm=norm, activation=None, name=f"{name}_shortcut"
    )
    x = separable(x, first, activation=first_relu, norm=norm, name=f"{name}_sep1")
    x = separable(x, second, norm=norm, name=f"{name}_sep2")
    x = max_pool(x, 3, 2, padding=padding, name=name)
    return layers.Add(name=f"{name}_add")([x, shortcut])


def _middle(x: Tensor, *, norm: Norm, name: str) -> Tensor:
    """Three separable convolutions beside an identity shortcut."""
    shortcut = x
    for i in (1, 2, 3):
        x = separable(x, 728, norm=norm, name=f"{name}_sep{i}")
    return layers.Add(name=f"{name}_add")([x, shortcut])
