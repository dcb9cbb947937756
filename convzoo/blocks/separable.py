"""Depthwise-separable convolutions: MobileNet's, with norms inside, and Xception's."""

from __future__ import annotations

from keras import layers

from convzoo.blocks.convolution import (
    KERAS,
    Activation,
    Norm,
    Padding,
    Tensor,
    convolution,
    depthwise,
    normalize,
)


def depthwise_separable(
    x: Tensor,
    filters: int,
    *,
    strides: int = 1,
    padding: Padding = "same",
    norm: Norm = KERAS,
    activation: Activation = "relu6",
    name: str,
) -> Tensor:
    """Convolve depthwise 3x3, then pointwise 1x1, each with batch norm and activation.

    Howard et al., "MobileNets", arXiv:1704.04861, Figure 3 right.

    Args:
        x: (batch, height, width, channels).
        filters: Filters of the pointwise convolution.
        strides: Step of the depthwise convolution.
        padding: Of the depthwise convolution.
        norm: Batch norm's dialect.
        activation: Name or function.
        name: The block's name.

    Returns:
        (batch, height / strides, width / strides, filters).
    """
    x = depthwise(
        x,
        strides=strides,
        padding=padding,
        norm=norm,
        activation=activation,
        name=f"{name}_dw",
    )
    return convolution(
        x, filters, 1, norm=norm, activation=activation, name=f"{name}_pw"
    )


def separable(
    x: Tensor,
    filters: int,
    *,
    activation: Activation = "relu",
    norm: Norm = KERAS,
    name: str,
) -> Tensor:
    """Activate, convolve depthwise 3x3 and pointwise with nothing between, normalise.

    Chollet, "Xception", arXiv:1610.02357, Figure 5 (batch norm is not drawn there) and
    section 4.7 (no activation between the two).

    Args:
        x: (batch, height, width, channels).
        filters: Filters of the pointwise convolution.
        activation: Of the input; None where the input is activated already.
        norm: Batch norm's dialect.
        name: Prefix of the layers' names.

    Returns:
        (batch, height, width, filters), not activated.
    """
    if activation is not None:
        x = layers.Activation(activation, name=f"{name}_relu")(x)
    x = layers.SeparableConv2D(
        filters, 3, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return normalize(x, norm, None, name=name)
