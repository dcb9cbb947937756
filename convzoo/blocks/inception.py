"""Inception modules of 2014 and 2015, and the grid reductions between them.

`inception` is Figure 2(b) of Szegedy et al., "Going Deeper with Convolutions",
arXiv:1409.4842. `inception_a`, `_b`, `_c` and `grid_reduction_a`, `_b` are Figures 5,
6, 7 and 10 of Szegedy et al., "Rethinking the Inception Architecture for Computer
Vision", arXiv:1512.00567, as in the released graph, from which the figures differ in
one point: the released module A keeps a 5x5 branch beside the doubled 3x3.

Modules keep the map's size, reductions halve it. All concatenate in one order: the 1x1
branch, then the convolutions, then the pool.
"""

from __future__ import annotations

from functools import partial

from keras import layers

from convzoo.blocks.convolution import (
    KERAS_UNSCALED,
    Conv,
    Padding,
    Tensor,
    average_pool,
    convolution,
    max_pool,
)

_CONV = partial(convolution, norm=KERAS_UNSCALED)


def inception(
    x: Tensor,
    n1x1: int,
    n3x3_reduce: int,
    n3x3: int,
    n5x5_reduce: int,
    n5x5: int,
    pool_proj: int,
    *,
    side: int = 5,
    conv: Conv = convolution,
    name: str,
) -> Tensor:
    """Concatenate four branches: 1x1, 3x3, 5x5 and pool (2014, Figure 2(b)).

    Args:
        x: (batch, height, width, channels).
        n1x1: Filters of the 1x1 branch; this and the next five are the paper's columns.
        n3x3_reduce: Filters of the 1x1 before the 3x3.
        n3x3: Filters of the 3x3.
        n5x5_reduce: Filters of the 1x1 before the 5x5.
        n5x5: Filters of the 5x5.
        pool_proj: Filters of the 1x1 after the 3x3 max pool.
        side: Kernel of the "5x5" branch; torchvision's is 3.
        conv: `convolution` with its norm and initialiser bound.
        name: The module's name.

    Returns:
        (batch, height, width, n1x1 + n3x3 + n5x5 + pool_proj).
    """
    a = conv(x, n1x1, 1, name=f"{name}_1x1")
    b = conv(x, n3x3_reduce, 1, name=f"{name}_3x3_reduce")
    b = conv(b, n3x3, 3, name=f"{name}_3x3")
    c = conv(x, n5x5_reduce, 1, name=f"{name}_5x5_reduce")
    c = conv(c, n5x5, side, name=f"{name}_5x5")
    d = max_pool(x, 3, 1, padding="same", name=name)
    d = conv(d, pool_proj, 1, name=f"{name}_pool_proj")
    return _concatenate([a, b, c, d], name)


def inception_a(
    x: Tensor,
    pool_proj: int,
    *,
    pool_padding: Padding = "same",
    conv: Conv = _CONV,
    name: str,
) -> Tensor:
    """Concatenate 1x1, 5x5, doubled 3x3 and pool (2015, Figure 5; 35x35 grid).

    Args:
        x: (batch, height, width, channels).
        pool_proj: Filters of the 1x1 after the average pool.
        pool_padding: "same" (padding not counted) or 1 (counted, as in PyTorch).
        conv: `convolution` with its norm and initialiser bound.
        name: The module's name.

    Returns:
        (batch, height, width, 224 + pool_proj).
    """
    a = conv(x, 64, 1, name=f"{name}_1x1")
    b = conv(x, 48, 1, name=f"{name}_5x5_1")
    b = conv(b, 64, 5, name=f"{name}_5x5_2")
    c = conv(x, 64, 1, name=f"{name}_3x3dbl_1")
    c = conv(c, 96, 3, name=f"{name}_3x3dbl_2")
    c = conv(c, 96, 3, name=f"{name}_3x3dbl_3")
    d = average_pool(x, 3, 1, padding=pool_padding, name=name)
    d = conv(d, pool_proj, 1, name=f"{name}_pool_proj")
    return _concatenate([a, b, c, d], name)


def grid_reduction_a(x: Tensor, *, conv: Conv = _CONV, name: str) -> Tensor:
    """Halve the grid: 3x3 by 2, doubled 3x3 by 2, max pool (2015, Figure 10; 35 to 17).

    Returns:
        (batch, (height - 1) // 2, (width - 1) // 2, 480 + channels).
    """
    a = conv(x, 384, 3, strides=2, padding="valid", name=f"{name}_3x3")
    b = conv(x, 64, 1, name=f"{name}_3x3dbl_1")
    b = conv(b, 96, 3, name=f"{name}_3x3dbl_2")
    b = conv(b, 96, 3, strides=2, padding="valid", name=f"{name}_3x3dbl_3")
    c = max_pool(x, 3, 2, name=name)
    return _concatenate([a, b, c], name)


def inception_b(
    x: Tensor,
    width: int,
    *,
    pool_padding: Padding = "same",
    conv: Conv = _CONV,
    name: str,
) -> Tensor:
    """Concatenate 1x1, factorised 7x7, doubled 7x7 and pool (2015, Figure 6, n = 7).

    Args:
        x: (batch, height, width, channels).
        width: Filters between the 1x7 and 7x1 convolutions: 128, 160 or 192.
        pool_padding: "same" (padding not counted) or 1 (counted, as in PyTorch).
        conv: `convolution` with its norm and initialiser bound.
        name: The module's name.

    Returns:
        (batch, height, width, 768).
    """
    a = conv(x, 192, 1, name=f"{name}_1x1")
    b = conv(x, width, 1, name=f"{name}_7x7_1")
    b = conv(b, width, (1, 7), name=f"{name}_7x7_2")
    b = conv(b, 192, (7, 1), name=f"{name}_7x7_3")
    c = conv(x, width, 1, name=f"{name}_7x7dbl_1")
    c = conv(c, width, (7, 1), name=f"{name}_7x7dbl_2")
    c = conv(c, width, (1, 7), name=f"{name}_7x7dbl_3")
    c = conv(c, width, (7, 1), name=f"{name}_7x7dbl_4")
    c = conv(c, 192, (1, 7), name=f"{name}_7x7dbl_5")
    d = average_pool(x, 3, 1, padding=pool_padding, name=name)
    d = conv(d, 192, 1, name=f"{name}_pool_proj")
    return _concatenate([a, b, c, d], name)


def grid_reduction_b(x: Tensor, *, conv: Conv = _CONV, name: str) -> Tensor:
    """Halve the grid: 3x3 by 2, 7x7 then 3x3 by 2, max pool (17 to 8).

    Returns:
        (batch, (height - 1) // 2, (width - 1) // 2, 512 + channels).
    """
    a = conv(x, 192, 1, name=f"{name}_3x3_1")
    a = conv(a, 320, 3, strides=2, padding="valid", name=f"{name}_3x3_2")
    b = conv(x, 192, 1, name=f"{name}_7x7x3_1")
    b = conv(b, 192, (1, 7), name=f"{name}_7x7x3_2")
    b = conv(b, 192, (7, 1), name=f"{name}_7x7x3_3")
    b = conv(b, 192, 3, strides=2, padding="valid", name=f"{name}_7x7x3_4")
    c = max_pool(x, 3, 2, name=name)
    return _concatenate([a, b, c], name)


def inception_c(
    x: Tensor, *, pool_padding: Padding = "same", conv: Conv = _CONV, name: str
) -> Tensor:
    """Concatenate 1x1, split 3x3, 3x3 and split 3x3, pool (2015, Figure 7; 8x8 grid).

    A split 3x3 is a 1x3 beside a 3x1 on the same input.

    Args:
        x: (batch, height, width, channels).
        pool_padding: "same" (padding not counted) or 1 (counted, as in PyTorch).
        conv: `convolution` with its norm and initialiser bound.
        name: The module's name.

    Returns:
        (batch, height, width, 2048).
    """
    a = conv(x, 320, 1, name=f"{name}_1x1")
    b = conv(x, 384, 1, name=f"{name}_3x3_1")
    b1 = conv(b, 384, (1, 3), name=f"{name}_3x3_2a")
    b2 = conv(b, 384, (3, 1), name=f"{name}_3x3_2b")
    c = conv(x, 448, 1, name=f"{name}_3x3dbl_1")
    c = conv(c, 384, 3, name=f"{name}_3x3dbl_2")
    c1 = conv(c, 384, (1, 3), name=f"{name}_3x3dbl_3a")
    c2 = conv(c, 384, (3, 1), name=f"{name}_3x3dbl_3b")
    d = average_pool(x, 3, 1, padding=pool_padding, name=name)
    d = conv(d, 192, 1, name=f"{name}_pool_proj")
    return _concatenate([a, b1, b2, c1, c2, d], name)


def _concatenate(branches: list[Tensor], name: str) -> Tensor:
    return layers.Concatenate(name=f"{name}_concat")(branches)
