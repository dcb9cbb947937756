"""InceptionV3: Szegedy et al., "Rethinking the Inception Architecture for Computer
Vision", CVPR 2016, arXiv:1512.00567, as in the released graph.
"""  # noqa: D205

from __future__ import annotations

from functools import partial

import keras

from convzoo.arguments import require
from convzoo.blocks.convolution import (
    KERAS_UNSCALED,
    TORCH_WIDE,
    Activation,
    Conv,
    Padding,
    Tensor,
    convolution,
    initializer,
    max_pool,
)
from convzoo.blocks.head import auxiliary_2015
from convzoo.blocks.inception import (
    grid_reduction_a,
    grid_reduction_b,
    inception_a,
    inception_b,
    inception_c,
)
from convzoo.models.plan import Plan, Pooling, Shape, Weights, builder
from convzoo.models.settle import settle

GAUSSIAN = initializer("TruncatedNormal", stddev=0.1)


@builder
def inception_v3(
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
    aux: bool | None = None,
    name: str = "inception_v3",
) -> keras.Model:
    """Build InceptionV3 (Szegedy et al., 2016).

    ``variant="keras"``, 23,817,352 trainable parameters (27,143,152 with the side
    head), is the graph that the authors released, whose batch norm has no gamma. It
    differs from the paper's Table 1, which does not describe that graph: the fourth
    convolution is 1x1, the fifth has stride 1 and a pool behind it, the sixth does not
    exist, module A keeps a 5x5 branch and the first of them has 256 maps, there are 4
    modules B.

    ``variant="torch"``, 23,834,568 parameters (27,161,264), is torchvision's: batch
    norm with gamma, and average pools in the modules that count their padding.

    Args:
        weights: None (random: truncated Gaussians, 0.1 in convolutions, 0.01 in the
            classifier as released; torch: 0.1), a name of `list_weights`, or the path
            of a file.
        variant: "keras" (default) or "torch".
        include_top: Whether the classifier follows the last module.
        input_shape: (height, width, channels), at least 75 x 75; with ``aux`` at least
            299 x 299.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the classifier; released: 0.2
            (torch: 0.5).
        classifier_activation: Of the outputs; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        aux: Whether the last module B has its side head: for training, with loss
            weights ``{"main": 1, "aux": 0.4}``; by default the weights' own answer,
            else False.
        name: The model's name.

    Returns:
        RGB (batch, 299, 299, 3) -> (batch, classes), rows sum to 1; with ``aux`` a dict
        of two such outputs: "main", "aux". Without the top (batch, 8, 8, 2048).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> inception_v3(include_top=False, pooling="avg").output_shape
        (None, 2048)
    """
    plan = settle("inception_v3", locals(), aux=False)
    torch = plan.variant == "torch"
    conv = partial(
        convolution,
        norm=TORCH_WIDE if torch else KERAS_UNSCALED,
        initializer=GAUSSIAN,
    )
    counted: Padding = 1 if torch else "same"
    a = partial(inception_a, pool_padding=counted, conv=conv)
    b = partial(inception_b, pool_padding=counted, conv=conv)
    c = partial(inception_c, pool_padding=counted, conv=conv)
    stem = partial(conv, padding="valid")

    # fmt: off
    x = plan.image()                                      # 299 x 299 x    3
    x = stem(x, 32, 3, strides=2, name="conv_1a")         # 149 x 149 x   32
    x = stem(x, 32, 3, name="conv_2a")                    # 147 x 147 x   32
    x = conv(x, 64, 3, name="conv_2b")                    # 147 x 147 x   64
    x = max_pool(x, 3, 2, name="pool_3a")                 #  73 x  73 x   64
    x = stem(x, 80, 1, name="conv_3b")                    #  73 x  73 x   80
    x = stem(x, 192, 3, name="conv_4a")                   #  71 x  71 x  192
    x = max_pool(x, 3, 2, name="pool_5a")                 #  35 x  35 x  192
    x = a(x, 32, name="mixed_5b")                         #  35 x  35 x  256
    x = a(x, 64, name="mixed_5c")                         #  35 x  35 x  288
    x = a(x, 64, name="mixed_5d")                         #  35 x  35 x  288
    x = grid_reduction_a(x, conv=conv, name="mixed_6a")   #  17 x  17 x  768
    x = b(x, 128, name="mixed_6b")                        #  17 x  17 x  768
    x = b(x, 160, name="mixed_6c")                        #  17 x  17 x  768
    x = b(x, 160, name="mixed_6d")                        #  17 x  17 x  768
    x = b(x, 192, name="mixed_6e")                        #  17 x  17 x  768
    heads = {"aux": _side_head(x, plan, conv)} if plan.options["aux"] else {}
    x = grid_reduction_b(x, conv=conv, name="mixed_7a")   #   8 x   8 x 1280
    x = c(x, name="mixed_7b")                             #   8 x   8 x 2048
    x = c(x, name="mixed_7c")                             #   8 x   8 x 2048
    # fmt: on
    return plan.classify(
        x,
        dropout=0.5 if torch else 0.2,
        weights=GAUSSIAN if torch else initializer("TruncatedNormal", stddev=0.01),
        side_heads=heads,
    )


def _side_head(x: Tensor, plan: Plan, conv: Conv) -> Tensor:
    require(
        None in x.shape[1:3] or min(x.shape[1:3]) >= 17,
        f"input_shape={plan.input_shape} is too small for aux=True, whose head reads "
        "17 x 17 maps: give at least (299, 299, channels), or drop aux.",
    )
    return auxiliary_2015(
        x, plan.classes, activation=plan.activation, conv=conv, name="aux"
    )
