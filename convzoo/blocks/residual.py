"""Residual blocks of He et al., arXiv:1512.03385, Figures 2, 3 and 5.

A block adds a shortcut to a *branch*: `bottleneck` (1x1, 3x3, 1x1; Figure 5 right) or
`basic` (3x3, 3x3; Figure 5 left). In `identity_block` the shortcut is the input itself
(solid in Figure 3), in `conv_block` a projection (dotted).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from keras import layers

from convzoo.blocks.convolution import HE_NORMAL, RESNET, Conv, Tensor, convolution
from convzoo.layers import PaddedShortcut

Branch = Callable[..., Tensor]  # `bottleneck` or `basic`, some keywords bound
Shortcut = Callable[..., Tensor]  # `projection` or `padded`

_CONV = partial(convolution, norm=RESNET, initializer=HE_NORMAL)


def bottleneck(
    x: Tensor,
    width: int,
    *,
    strides: int = 1,
    stride_in: Literal["1x1", "3x3"] = "1x1",
    conv: Conv = _CONV,
    name: str,
) -> Tensor:
    """Reduce, convolve, expand: 1x1 ``width``, 3x3 ``width``, 1x1 ``4 * width``.

    Args:
        x: (batch, height, width, channels).
        width: Filters inside the bottleneck.
        strides: Step of the block.
        stride_in: Where the step is taken: the first 1x1 convolution as in the paper
            ("v1"), or the 3x3 as in PyTorch ("v1.5").
        conv: `convolution` with its norm and initialiser bound.
        name: The block's name.

    Returns:
        (batch, height / strides, width / strides, 4 * width), before the addition.
    """
    first, second = (strides, 1) if stride_in == "1x1" else (1, strides)
    x = conv(x, width, 1, strides=first, name=f"{name}_1")
    x = conv(x, width, 3, strides=second, padding=1, name=f"{name}_2")
    return conv(x, 4 * width, 1, activation=None, name=f"{name}_3")


def basic(
    x: Tensor, width: int, *, strides: int = 1, conv: Conv = _CONV, name: str
) -> Tensor:
    """Convolve twice: 3x3 ``width`` with the block's step, 3x3 ``width``."""
    x = conv(x, width, 3, strides=strides, padding=1, name=f"{name}_1")
    return conv(x, width, 3, activation=None, name=f"{name}_2")


def projection(
    x: Tensor, filters: int, *, strides: int, conv: Conv = _CONV, name: str
) -> Tensor:
    """Project the shortcut by a 1x1 convolution (option B)."""
    return conv(x, filters, 1, strides=strides, activation=None, name=f"{name}_0")


def padded(
    x: Tensor, filters: int, *, strides: int, conv: Conv = _CONV, name: str
) -> Tensor:
    """Subsample the shortcut and append zero channels (option A: no parameters)."""
    del conv
    return PaddedShortcut(filters, strides, name=f"{name}_0_pad")(x)


def identity_block(
    x: Tensor,
    width: int,
    *,
    branch: Branch = bottleneck,
    conv: Conv = _CONV,
    name: str,
) -> Tensor:
    """Add the input to its branch, then activate.

    Args:
        x: (batch, height, width, channels); the branch must give the same channels, so
            ``4 * width`` for `bottleneck` and ``width`` for `basic`.
        width: Filters inside the branch.
        branch: `bottleneck` or `basic`.
        conv: `convolution` with its norm and initialiser bound.
        name: The block's name.

    Returns:
        The input's shape.

    Raises:
        ValueError: If the branch changes the number of channels.
    """
    residual = branch(x, width, conv=conv, name=name)
    if residual.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"identity_block {name!r} adds {residual.shape[-1]} channels to "
            f"{x.shape[-1]}: give a width whose branch keeps the channels, or use "
            "conv_block, which projects the shortcut."
        )
    return _add(x, residual, name)


def conv_block(
    x: Tensor,
    width: int,
    *,
    strides: int = 2,
    branch: Branch = bottleneck,
    shortcut: Shortcut = projection,
    conv: Conv = _CONV,
    name: str,
) -> Tensor:
    """Add a projected shortcut to the branch, then activate.

    Args:
        x: (batch, height, width, channels).
        width: Filters inside the branch.
        strides: Step of branch and shortcut.
        branch: `bottleneck` or `basic`.
        shortcut: `projection` (option B) or `padded` (option A).
        conv: `convolution` with its norm and initialiser bound.
        name: The block's name.

    Returns:
        (batch, height / strides, width / strides, channels of the branch).
    """
    residual = branch(x, width, strides=strides, conv=conv, name=name)
    x = shortcut(x, residual.shape[-1], strides=strides, conv=conv, name=name)
    return _add(x, residual, name)


def _add(shortcut: Tensor, residual: Tensor, name: str) -> Tensor:
    x = layers.Add(name=f"{name}_add")([shortcut, residual])
    return layers.Activation("relu", name=f"{name}_out")(x)
