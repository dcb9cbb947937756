"""VGG: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015, arXiv:1409.1556, Table 1.
"""  # noqa: D205

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import keras
from keras import layers

from convzoo.blocks.convolution import TORCH, Activation, convolution, max_pool
from convzoo.blocks.head import drop
from convzoo.models.plan import Pooling, Shape, Weights, builder
from convzoo.models.settle import settle


class Stage(NamedTuple):
    """A column's rows between two pools: 3x3 convolutions, then 2x2 max pooling."""

    name: str
    filters: int
    convolutions: int


# fmt: off
VGG16 = (  # configuration D            output at 224 pixels
    Stage("block1",  64, 2),          # 112 x 112 x  64
    Stage("block2", 128, 2),          #  56 x  56 x 128
    Stage("block3", 256, 3),          #  28 x  28 x 256
    Stage("block4", 512, 3),          #  14 x  14 x 512
    Stage("block5", 512, 3),          #   7 x   7 x 512
)
VGG19 = (  # configuration E
    Stage("block1",  64, 2),
    Stage("block2", 128, 2),
    Stage("block3", 256, 4),
    Stage("block4", 512, 4),
    Stage("block5", 512, 4),
)
# fmt: on


def _vgg(
    builder: str, table: tuple[Stage, ...], arguments: Mapping[str, Any]
) -> keras.Model:
    plan = settle(builder, arguments, batch_norm=False)
    conv: Any = convolution
    if plan.options["batch_norm"]:
        conv = partial(convolution, norm=TORCH, use_bias=True)
    x = plan.image()
    for stage in table:
        for i in range(1, stage.convolutions + 1):
            x = conv(x, stage.filters, 3, name=f"{stage.name}_conv{i}")
        x = max_pool(x, 2, 2, name=stage.name)
    if plan.include_top:
        x = plan.flatten(x)
        for i in (1, 2):
            x = layers.Dense(4096, activation="relu", name=f"head_fc{i}")(x)
            x = drop(x, plan.rate(0.5), name=f"head_dropout{i}")
        x = layers.Dense(
            plan.classes, activation=plan.activation, name="head_predictions"
        )(x)
    return plan.model(x)


@builder
def vgg16(
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
    batch_norm: bool | None = None,
    name: str = "vgg16",
) -> keras.Model:
    """Build VGG16 (Simonyan, Zisserman, 2015), 138,357,544 parameters.

    Follows Table 1, configuration D. Differs from the paper: weights start Glorot
    uniform, which its authors found to make their pre-training of a smaller net
    unnecessary; from their Gaussian alone, of 0.1 as printed, a net this deep does not
    train.

    ``batch_norm=True`` (138,365,992 parameters) is torchvision's and not in the paper:
    batch norm between each convolution, which keeps its bias, and its ReLU. The top has
    no adaptive pool, so that another input size makes another first dense layer.

    Args:
        weights: None (random), a name of `list_weights`, or the path of a file.
        variant: "plain", the only one.
        include_top: Whether the three dense layers follow the last pool.
        input_shape: (height, width, channels), at least 32 x 32.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training after both hidden dense layers; published:
            0.5.
        classifier_activation: Of the output; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        batch_norm: Whether batch norm follows each convolution; by default the weights'
            own answer, else False.
        name: The model's name.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 512).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> vgg16(classes=10).output_shape
        (None, 10)
    """
    return _vgg("vgg16", VGG16, locals())


@builder
def vgg19(
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
    batch_norm: bool | None = None,
    name: str = "vgg19",
) -> keras.Model:
    """Build VGG19 (Simonyan, Zisserman, 2015), 143,667,240 parameters.

    Follows Table 1, configuration E; deviations, arguments and errors as in `vgg16`
    (``batch_norm=True``: 143,678,248 parameters).

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1. Without the top
        (batch, 7, 7, 512).

    Example:
        >>> vgg19(include_top=False, pooling="avg").output_shape
        (None, 512)
    """
    return _vgg("vgg19", VGG19, locals())
