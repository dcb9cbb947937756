"""U-Net: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical
Image Segmentation", MICCAI 2015, arXiv:1505.04597, Figure 1.
"""  # noqa: D205

from __future__ import annotations

import math
from functools import partial

import keras
from keras import layers

from convzoo import anatomy
from convzoo.arguments import one_of, require
from convzoo.blocks.convolution import (
    HE_NORMAL,
    KERAS,
    Activation,
    Conv,
    Padding,
    Tensor,
    convolution,
)
from convzoo.blocks.encoder import (
    Up,
    contract,
    double_convolution,
    expand,
    match_size,
)
from convzoo.blocks.head import drop
from convzoo.catalog import CATALOG
from convzoo.models.plan import Plan, Shape, Weights, builder
from convzoo.models.settle import settle

TASK = "segmentation"


@builder
def unet(
    *,
    weights: Weights = None,
    variant: str | None = None,
    input_shape: Shape | None = None,
    classes: int | None = None,
    filters: int | None = None,
    depth: int | None = None,
    batch_norm: bool | None = None,
    dropout: float | None = None,
    up: Up | None = None,
    encoder: str | keras.Model | None = None,
    encoder_weights: Weights = None,
    classifier_activation: Activation = None,
    include_preprocessing: bool = False,
    name: str = "unet",
) -> keras.Model:
    """Build U-Net (Ronneberger, Fischer, Brox, 2015).

    ``variant="paper"``, 31,030,658 parameters, is Figure 1: valid convolutions, so that
    572 pixels in give 388 out, and skips cropped to match. Where text and release
    differ, the up-convolution is the release's (transposed, 2x2 by 2) without the ReLU
    that the release puts behind it and the text does not; all up-convolutions halve the
    channels, as in the figure. The paper's softmax stands in its loss, so the output is
    logits.

    ``variant="same"`` keeps the size of its input, which may be anything: convolutions
    pad, odd maps are pooled rounding up and cropped on the way back, batch norm follows
    each 3x3 convolution.

    With ``encoder`` the left side of the U is a classification network of the zoo;
    skips come from the last map at each of its strides (`convzoo.stages`), and the
    right side has `depth` steps or as many as the encoder has strides.

    Args:
        weights: None (random: N(0, 2 / N) as in the paper), or a path.
        variant: "same" (default) or "paper".
        input_shape: (height, width, channels), either side None for any size. By
            default (None, None, 1), with an encoder (None, None, 3) or the encoder's
            own, in the paper (572, 572, 1). At the paper's depth its sides must be 12
            modulo 16, at least 188, and the output is 184 less.
        classes: Channels of the output, 2 by default.
        filters: Channels of the first level, doubled on each level below; default 64.
            On an encoder they are doubled at most three times.
        depth: Number of poolings, default 4. On an encoder the number of its strides to
            climb, by default all.
        batch_norm: Whether batch norm follows each 3x3 convolution, whose bias it then
            replaces; default True for "same", False for "paper".
        dropout: Fraction dropped in training at the end of the contracting path, after
            its last two levels; published: 0.5, default for "same": 0. On an encoder,
            which keeps its own, before the output.
        up: "transpose" (default), "nearest" or "bilinear"; see
            `convzoo.blocks.encoder.expand`.
        encoder: Name of a classification builder, or a model of the zoo without its
            top, whose layers and weights are then shared.
        encoder_weights: Weights of a named encoder.
        classifier_activation: Of the output; None (default) for logits, "softmax" for
            probabilities over the classes, "sigmoid" for one class.
        include_preprocessing: Start with a layer that takes values 0..255.
        name: The model's name.

    Returns:
        (batch, height, width, channels) -> (batch, height, width, classes); in the
        paper (batch, 572, 572, 1) -> (batch, 388, 388, 2).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights; of the
            paper's sizes the message names the nearest.

    Example:
        >>> unet(variant="paper").output_shape
        (None, 388, 388, 2)
    """
    made = getattr(encoder, "origin", None)
    arguments = locals() | {
        "encoder": _name(encoder),
        "encoder_variant": made and made.variant,
    }
    usual: Shape | None = None if encoder is None else (None, None, 3)
    if isinstance(encoder, keras.Model):
        usual = _check_encoder(encoder, input_shape, include_preprocessing)
    plan = settle(
        "unet",
        arguments,
        minimum=1,  # the paper's sizes are checked below, by depth
        usual=usual,
        filters=64,
        depth=None,
        batch_norm=None,
        up="transpose",
        encoder=None,
        encoder_variant=None,
    )
    options = plan.options
    one_of("batch_norm", options["batch_norm"], (True, False, None))
    if options["batch_norm"] is None:
        options["batch_norm"] = plan.variant == "same"
    if options["depth"] is None and options["encoder"] is None:
        options["depth"] = 4
    one_of("up", options["up"], ("transpose", "nearest", "bilinear"))
    for option in ("filters", "depth"):
        value = options[option]
        require(
            value is None
            or (isinstance(value, int) and value >= 1 and value is not True),
            f"{option}={value!r} must be a whole number of at least 1.",
        )
    require(
        encoder_weights is None or isinstance(encoder, str),
        f"encoder_weights={encoder_weights!r} needs the name of an encoder, found "
        f"encoder={_name(encoder)!r}: a model brings its own weights.",
    )
    if options["encoder"] is None:
        del options["encoder_variant"]
        return _plain(plan)
    return _on_encoder(plan, encoder or options["encoder"], encoder_weights)


def _plain(plan: Plan) -> keras.Model:
    filters, depth = plan.options["filters"], plan.options["depth"]
    paper = plan.variant == "paper"
    if paper:
        _check_size(plan.input_shape, depth)
    conv, rate = _conv(plan), plan.rate(0.5 if paper else 0.0)

    x = plan.image()
    skips = []
    for level in range(1, depth + 1):  # contracting: 64, 128, 256, 512
        width = filters * 2 ** (level - 1)
        x = double_convolution(x, width, conv=conv, name=f"down{level}")
        if level == depth:
            x = drop(x, rate, name=f"down{level}_dropout")
        skips.append(x)
        x = contract(x, name=f"down{level}")
    x = double_convolution(x, filters * 2**depth, conv=conv, name="bottom")  # 1024
    x = drop(x, rate, name="bottom_dropout")
    for level in range(depth, 0, -1):  # expanding: 512, 256, 128, 64
        x = expand(
            x,
            skips[level - 1],
            filters * 2 ** (level - 1),
            crop="skip" if paper else "map",
            up=plan.options["up"],
            conv=conv,
            name=f"up{level}",
        )
    return plan.model(_pixel_head(x, plan))


def _on_encoder(
    plan: Plan, encoder: str | keras.Model, encoder_weights: Weights
) -> keras.Model:
    require(
        plan.variant == "same",
        f"variant={plan.variant!r} has its own left side: drop encoder="
        f"{_name(encoder)!r}, or build variant='same'.",
    )
    body = _body(plan, encoder, encoder_weights)
    made = getattr(body, "origin", None)
    if made is not None:
        plan.options["encoder_variant"] = made.variant
        plan = plan._replace(scaling=made.scaling or plan.scaling)
    taps = anatomy.taps(body)
    depths = [int(math.log2(stride)) for stride in taps if stride > 1]
    depth = plan.options["depth"] or max(depths)
    one_of("depth", depth, depths)
    plan.options["depth"] = depth
    conv, filters = _conv(plan), plan.options["filters"]
    image = body.inputs[0]
    x = _tap(body, taps[2**depth])
    for level in range(depth, 0, -1):
        stride = 2 ** (level - 1)
        x = expand(
            x,
            _tap(body, taps[stride]) if stride in taps else None,
            filters * min(stride, 8),
            up=plan.options["up"],
            conv=conv,
            name=f"up{level}",
        )
    x = match_size(x, image, name="head")
    x = drop(x, plan.rate(0.0), name="head_dropout")
    return plan.model(_pixel_head(x, plan), inputs=body.inputs)


def _body(
    plan: Plan, encoder: str | keras.Model, encoder_weights: Weights
) -> keras.Model:
    if isinstance(encoder, keras.Model):
        return encoder
    one_of("encoder", encoder, [n for n, e in CATALOG.items() if e.task != TASK])
    build = CATALOG[encoder].load()
    # The encoder's weights know how images are scaled; without them the U-Net's do.
    scales = encoder_weights is not None
    return build(
        weights=encoder_weights,
        variant=plan.options["encoder_variant"],
        include_top=False,
        include_preprocessing=scales and plan.include_preprocessing,
        input_tensor=plan.tensor if scales else plan.image(),
    )


def _check_encoder(
    encoder: keras.Model, input_shape: Shape | None, include_preprocessing: bool
) -> Shape:
    """Refuse a model that cannot be an encoder; return its input's shape."""
    found = [tuple(output.shape) for output in encoder.outputs]
    require(
        len(found) == 1 and len(found[0]) == 4,
        f"encoder={_name(encoder)!r} must give one map, but its outputs have the "
        f"shapes {found}: build it with include_top=False and pooling=None.",
    )
    shape: Shape = tuple(encoder.input_shape[1:])
    require(
        input_shape is None or tuple(input_shape) == shape,
        f"input_shape={input_shape} contradicts the encoder, which reads {shape}: drop "
        "input_shape.",
    )
    require(
        not include_preprocessing,
        "include_preprocessing=True needs the name of an encoder: build the model that "
        "you give with include_preprocessing=True instead.",
    )
    return shape


def _tap(body: keras.Model, layer: str) -> Tensor:
    """Return a layer's map; AlexNet's two towers as one."""
    output = body.get_layer(layer).output
    if isinstance(output, list):
        return layers.Concatenate(name=f"{layer}_concat")(output)
    return output


def _conv(plan: Plan) -> Conv:
    """Return the 3x3 convolution of this variant."""
    padding: Padding = "valid" if plan.variant == "paper" else "same"
    norm = KERAS if plan.options["batch_norm"] else None
    return partial(convolution, padding=padding, norm=norm, initializer=HE_NORMAL)


def _pixel_head(x: Tensor, plan: Plan) -> Tensor:
    return convolution(
        x,
        plan.classes,
        1,
        activation=plan.activation,
        initializer=HE_NORMAL,
        name="head_predictions",
    )


def _name(encoder: str | keras.Model | None) -> str | None:
    if encoder is None or isinstance(encoder, str):
        return encoder
    origin = getattr(encoder, "origin", None)
    return str(origin.builder if origin else getattr(encoder, "name", encoder))


def _check_size(shape: Shape, depth: int) -> None:
    """Refuse sizes at which a map would be odd before its pooling."""
    step = 2**depth
    least = 8 * step + 4 * (step - 1)  # the bottom gives 4 x 4
    for side in shape[:2]:
        if side is None:
            continue
        below = max(side - (side - least) % step, least)
        require(
            side >= least and (side - least) % step == 0,
            f"input_shape={shape} does not fit the paper's unpadded convolutions, "
            f"whose maps must be even before each pooling: sides are {least} plus a "
            f"multiple of {step}; nearest to {side}: {below} and {below + step}.",
        )
