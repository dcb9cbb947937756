"""U-Net's contracting and expanding steps, Figure 1 of arXiv:1505.04597."""

from __future__ import annotations

import math
from typing import Literal

from keras import layers

from convzoo.blocks.convolution import (
    HE_NORMAL,
    Conv,
    Tensor,
    convolution,
    initializer,
    max_pool,
)
from convzoo.layers import MatchSize

Up = Literal["transpose", "nearest", "bilinear"]


def double_convolution(
    x: Tensor, filters: int, *, conv: Conv = convolution, name: str
) -> Tensor:
    """Convolve twice, 3x3: one level of the U."""
    x = conv(x, filters, 3, name=f"{name}_conv1")
    return conv(x, filters, 3, name=f"{name}_conv2")


def contract(x: Tensor, *, name: str) -> Tensor:
    """Halve the map by 2x2 max pooling; odd sides round up, so no pixel is lost."""
    return max_pool(x, 2, 2, padding="same", name=name)


def expand(
    x: Tensor,
    skip: Tensor | None,
    filters: int,
    *,
    crop: Literal["map", "skip"] = "map",
    up: Up = "transpose",
    conv: Conv = convolution,
    name: str,
) -> Tensor:
    """Double the map, join the skip, convolve twice: one step up the right of the U.

    Args:
        x: (batch, height, width, channels) from below.
        skip: (batch, height', width', channels') from the left, or None.
        filters: Channels of the up-convolution and of both convolutions.
        crop: Which of the two is cropped or padded to the other's size: the ``"map"``
            that comes up, or the ``"skip"`` (the paper, whose maps shrink).
        up: "transpose": 2x2 transposed convolution by 2 (the authors' release);
            "nearest", "bilinear": upsampling, then a 2x2 convolution (the text).
        conv: `convolution` with its padding, norm and initialiser bound.
        name: The step's name.

    Returns:
        (batch, height'', width'', filters).
    """
    x = up_convolution(x, filters, up=up, name=f"{name}_up")
    if skip is not None:
        if crop == "map":
            x = match_size(x, skip, name=name)
        else:
            skip = match_size(skip, x, name=name)
        x = layers.Concatenate(name=f"{name}_concat")([skip, x])
    return double_convolution(x, filters, conv=conv, name=name)


def up_convolution(
    x: Tensor, filters: int, *, up: Up = "transpose", name: str
) -> Tensor:
    """Double height and width and set the channels; no activation, as in the text."""
    if up == "transpose":
        # Each output reads one tap of each input channel: N is their number.
        he = initializer("RandomNormal", stddev=math.sqrt(2 / x.shape[-1]))
        return layers.Conv2DTranspose(
            filters, 2, 2, kernel_initializer=he, name=f"{name}_conv"
        )(x)
    x = layers.UpSampling2D(2, interpolation=up, name=f"{name}_resize")(x)
    return convolution(
        x, filters, 2, activation=None, initializer=HE_NORMAL, name=f"{name}_conv"
    )


def match_size(x: Tensor, reference: Tensor, *, name: str) -> Tensor:
    """Crop or zero-pad a map around its centre to another map's height and width.

    Known sizes take stock layers (``<name>_match_crop``, ``<name>_match_pad``),
    unknown ones `convzoo.layers.MatchSize` (``<name>_match``).
    """
    sizes, targets = x.shape[1:3], reference.shape[1:3]
    if None in (*sizes, *targets):
        return MatchSize(name=f"{name}_match")([x, reference])
    extra = [size - target for size, target in zip(sizes, targets, strict=True)]
    if any(pixels > 0 for pixels in extra):
        x = layers.Cropping2D(_split(extra, 1), name=f"{name}_match_crop")(x)
    if any(pixels < 0 for pixels in extra):
        x = layers.ZeroPadding2D(_split(extra, -1), name=f"{name}_match_pad")(x)
    return x


def _split(extra: list[int], sign: int) -> tuple[tuple[int, int], ...]:
    """Split so many pixels of the given sign between both ends, the odd one last."""
    pixels = [max(sign * n, 0) for n in extra]
    return tuple((n // 2, n - n // 2) for n in pixels)
