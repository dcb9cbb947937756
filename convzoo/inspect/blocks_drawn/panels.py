"""What each block diagram draws: the blocks of the zoo at the sizes of the papers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import layers

from convzoo.blocks.convolution import (
    KERAS,
    KERAS_UNSCALED,
    Tensor,
    average_pool,
    convolution,
    max_pool,
)
from convzoo.blocks.head import classifier_head
from convzoo.blocks.inception import (
    grid_reduction_a,
    grid_reduction_b,
    inception,
    inception_a,
    inception_b,
    inception_c,
)
from convzoo.blocks.residual import (
    basic,
    bottleneck,
    conv_block,
    identity_block,
    padded,
    projection,
)
from convzoo.blocks.separable import depthwise_separable
from convzoo.calls import Shape
from convzoo.inspect.blocks_drawn.parts import block_of, calling
from convzoo.inspect.blocks_drawn.reading import Panel
from convzoo.models.googlenet import TABLE1, googlenet
from convzoo.models.inception_v3 import inception_v3
from convzoo.models.unet import unet
from convzoo.models.xception import xception

_MODULE_3A: dict[str, Any] = dict(
    zip(TABLE1[0][0]._fields[1:], TABLE1[0][0][1:], strict=True)
)
_OF_640 = (160, 96, 256, 32, 112, 112)  # columns of a module that gives 640 maps


def _call(
    function: Callable[..., Tensor],
    shape: Shape,
    *,
    title: str = "",
    whole: str = "",
    **arguments: Any,
) -> Panel:
    return Panel(title, partial(calling, function, shape, **arguments), whole)


def _block(
    build: Callable[..., keras.Model], block: str, title: str = "", **options: Any
) -> Panel:
    return Panel(title, partial(block_of, build, block, **options))


def _naive_inception(x: Tensor, *, name: str) -> Tensor:
    """Concatenate 1x1, 3x3, 5x5 and pool without reductions."""
    a = convolution(x, _MODULE_3A["n1x1"], 1, name=f"{name}_1x1")
    b = convolution(x, _MODULE_3A["n3x3"], 3, name=f"{name}_3x3")
    c = convolution(x, _MODULE_3A["n5x5"], 5, name=f"{name}_5x5")
    d = max_pool(x, 3, 1, padding="same", name=name)
    return layers.Concatenate(name=f"{name}_concat")([a, b, c, d])


def _figure_5(x: Tensor, *, name: str) -> Tensor:
    """Module A with a 3x3 in place of the 5x5, with the filters of the release."""
    conv = partial(convolution, norm=KERAS_UNSCALED)
    a = conv(x, 64, 1, name=f"{name}_1x1")
    b = conv(x, 48, 1, name=f"{name}_3x3_1")
    b = conv(b, 64, 3, name=f"{name}_3x3_2")
    c = conv(x, 64, 1, name=f"{name}_3x3dbl_1")
    c = conv(c, 96, 3, name=f"{name}_3x3dbl_2")
    c = conv(c, 96, 3, name=f"{name}_3x3dbl_3")
    d = average_pool(x, 3, 1, padding="same", name=name)
    d = conv(d, 64, 1, name=f"{name}_pool_proj")
    return layers.Concatenate(name=f"{name}_concat")([a, b, c, d])


def _pool_first(x: Tensor, *, name: str) -> Tensor:
    return inception(max_pool(x, 3, 2, name=name), *_OF_640, name="inception")


def _pool_last(x: Tensor, *, name: str) -> Tensor:
    return max_pool(inception(x, *_OF_640, name="inception"), 3, 2, name=name)


# fmt: off
PANELS = {
    "naive_inception": (_call(_naive_inception, (28, 28, 192)),),
    "inception": (_call(inception, (28, 28, 192), **_MODULE_3A),),
    "auxiliary_2014": (
        _block(googlenet, "aux1", "on module 4a", aux=True),
        _block(googlenet, "aux2", "on module 4d", aux=True),
    ),
    "inception_a": (
        _call(inception_a, (35, 35, 288), title="as released: module 5d", pool_proj=64),
        _call(_figure_5, (35, 35, 288), title="as in Figure 5, filters as released"),
    ),
    "inception_b": (_call(inception_b, (17, 17, 768), width=128),),
    "inception_c": (_call(inception_c, (8, 8, 1280)),),
    "naive_grid_reduction": (
        _call(_pool_first, (35, 35, 320), title="pool, then convolve",
              whole="inception"),
        _call(_pool_last, (35, 35, 320), title="convolve, then pool",
              whole="inception"),
    ),
    "grid_reduction_a": (_call(grid_reduction_a, (35, 35, 288)),),
    "grid_reduction_b": (_call(grid_reduction_b, (17, 17, 768)),),
    "auxiliary_2015": (_block(inception_v3, "aux", aux=True),),
    "identity_block": (
        _call(identity_block, (56, 56, 64), title="basic: ResNet-18 and 34",
              width=64, branch=basic),
        _call(identity_block, (56, 56, 256), title="bottleneck: ResNet-50 to 152",
              width=64),
    ),
    "conv_block": (
        _call(conv_block, (56, 56, 256), title="v1: the first 1x1 takes the step",
              width=128),
        _call(conv_block, (56, 56, 256), title="v1.5: the 3x3 takes the step",
              width=128, branch=partial(bottleneck, stride_in="3x3")),
    ),
    "shortcut_options": (
        _call(conv_block, (56, 56, 64), title="option A: zero channels",
              width=128, branch=basic, shortcut=padded),
        _call(conv_block, (56, 56, 64), title="option B: projection",
              width=128, branch=basic, shortcut=projection),
    ),
    "separable": (
        _block(xception, "entry_block3", "entry and exit flow"),
        _block(xception, "middle_block5", "middle flow, eight times"),
    ),
    "depthwise_separable": (
        _call(convolution, (56, 56, 128), title="standard",
              filters=128, kernel=3, norm=KERAS, activation="relu6"),
        _call(depthwise_separable, (56, 56, 128), title="depthwise separable",
              filters=128),
    ),
    "contract": (_block(unet, "down1", variant="paper"),),
    "expand": (
        _block(unet, "up1", "transposed", variant="paper"),
        _block(unet, "up1", "upsampled, as in the text", variant="paper", up="nearest"),
    ),
    "classifier_head": (
        _call(classifier_head, (7, 7, 1024), classes=1000, dropout=0.4),
    ),
}
# fmt: on

_UPWARDS = ("inception", "grid_reduction", "auxiliary")


def rankdir(name: str) -> str:
    """Return the direction of the data in the paper's figure.

    Szegedy et al. draw from the bottom to the top, the others downwards.
    """
    return "BT" if any(word in name for word in _UPWARDS) else "TB"
