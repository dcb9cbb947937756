"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015,
arXiv:1409.4842, Table 1 and Figure 3.
"""  # noqa: D205

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import keras
from keras import layers

from convzoo.arguments import require
from convzoo.blocks.convolution import (
    TORCH_WIDE,
    Activation,
    Conv,
    Initializer,
    Tensor,
    convolution,
    initializer,
    max_pool,
)
from convzoo.blocks.head import auxiliary_2014
from convzoo.blocks.inception import inception
from convzoo.layers import LocalResponseNormalization
from convzoo.models.plan import Plan, Pooling, Shape, Weights, builder
from convzoo.models.settle import settle


class Module(NamedTuple):
    """One inception row of Table 1: its columns, in filters."""

    name: str
    n1x1: int
    n3x3_reduce: int
    n3x3: int
    n5x5_reduce: int
    n5x5: int
    pool_proj: int


# fmt: off
TABLE1 = (
    # Modules between two pools     1x1 3x3r  3x3 5x5r  5x5 proj    output at 224 px
    (Module("inception_3a",  64,  96, 128,  16,  32,  32),  # 28 x 28 x  256
     Module("inception_3b", 128, 128, 192,  32,  96,  64)), # 28 x 28 x  480
    (Module("inception_4a", 192,  96, 208,  16,  48,  64),  # 14 x 14 x  512
     Module("inception_4b", 160, 112, 224,  24,  64,  64),  # 14 x 14 x  512
     Module("inception_4c", 128, 128, 256,  24,  64,  64),  # 14 x 14 x  512
     Module("inception_4d", 112, 144, 288,  32,  64,  64),  # 14 x 14 x  528
     Module("inception_4e", 256, 160, 320,  32, 128, 128)), # 14 x 14 x  832
    (Module("inception_5a", 256, 160, 320,  32, 128, 128),  #  7 x  7 x  832
     Module("inception_5b", 384, 192, 384,  48, 128, 128)), #  7 x  7 x 1024
)
# fmt: on
SIDE_HEADS = {"inception_4a": "aux1", "inception_4d": "aux2"}


class Dialect(NamedTuple):
    """What the two variants do differently."""

    conv: Conv
    dense: Initializer  # of the dense kernels
    dense_bias: Initializer  # of the side heads' hidden layers
    dropout: float
    side: int  # kernel of the "5x5" branch
    pool4: int  # side of the fourth pool
    lrn: bool


PAPER = Dialect(
    conv=partial(
        convolution,
        initializer="lecun_uniform",
        bias_initializer=initializer("Constant", value=0.2),
    ),
    dense="lecun_uniform",
    dense_bias=initializer("Constant", value=0.2),
    dropout=0.4,
    side=5,
    pool4=3,
    lrn=True,
)
TRUNCATED = initializer("TruncatedNormal", stddev=0.01)
TORCH = Dialect(
    conv=partial(convolution, norm=TORCH_WIDE, initializer=TRUNCATED),
    dense=TRUNCATED,
    dense_bias="zeros",
    dropout=0.2,
    side=3,
    pool4=2,
    lrn=False,
)


@builder
def googlenet(
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
    name: str = "googlenet",
) -> keras.Model:
    """Build GoogLeNet (Szegedy et al., 2015), the first Inception.

    ``variant="paper"``, 6,998,552 parameters (13,378,280 with both side heads), is
    Table 1 with local response normalisation after pool1 and conv2. The paper gives no
    constants and no initialisation: the normalisation is AlexNet's; paddings and the
    initialisation (uniform by fan-in, biases 0.2 but for the classifiers) are those of
    the Caffe replication, whose pools round sizes up. The average pool covers the whole
    map at every input size. The paper's table counts a separable first convolution, its
    row and every implementation have a full one.

    ``variant="torch"``, 6,624,904 parameters (13,004,888), is torchvision's: batch norm
    instead of biases and normalisation, a 3x3 kernel in the "5x5" branch, a 2x2 fourth
    pool, dropout 0.2, side heads on a 4x4 adaptive pool, kernels from a truncated
    Gaussian of 0.01.

    Args:
        weights: None (random), a name of `list_weights`, or the path of a file.
        variant: "paper" (default) or "torch".
        include_top: Whether the classifier follows module 5b.
        input_shape: (height, width, channels), at least 32 x 32; with ``aux`` at least
            79 x 79.
        classes: Number of classes, 1,000 by default.
        pooling: Without the top, None, "avg" or "max" over the last map.
        dropout: Fraction dropped in training before the main classifier; published: 0.4
            (torch: 0.2). The side heads drop 0.7, or nothing if this is 0.
        classifier_activation: Of the outputs; None for logits.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        aux: Whether modules 4a and 4d have their side heads: for training, with loss
            weights ``{"main": 1, "aux1": 0.3, "aux2": 0.3}``; by default the weights'
            own answer, else False.
        name: The model's name.

    Returns:
        RGB (batch, 224, 224, 3) -> (batch, classes), rows sum to 1; with ``aux`` a dict
        of three such outputs: "main", "aux1", "aux2". Without the top
        (batch, 7, 7, 1024).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> sorted(googlenet(aux=True).output)
        ['aux1', 'aux2', 'main']
    """
    plan = settle("googlenet", locals(), aux=False)
    dialect = TORCH if plan.variant == "torch" else PAPER
    conv, lrn = dialect.conv, LocalResponseNormalization
    # fmt: off
    x = plan.image()                                           # 224 x 224 x   3
    x = conv(x, 64, 7, strides=2, padding=3, name="conv1_7x7") # 112 x 112 x  64
    x = max_pool(x, 3, 2, padding="ceil", name="pool1")        #  56 x  56 x  64
    x = lrn(name="pool1_lrn")(x) if dialect.lrn else x
    x = conv(x, 64, 1, name="conv2_3x3_reduce")                #  56 x  56 x  64
    x = conv(x, 192, 3, name="conv2_3x3")                      #  56 x  56 x 192
    x = lrn(name="conv2_lrn")(x) if dialect.lrn else x
    # fmt: on
    heads: dict[str, Tensor] = {}
    for number, modules in enumerate(TABLE1, start=2):
        size = dialect.pool4 if number == 4 else 3
        x = max_pool(x, size, 2, padding="ceil", name=f"pool{number}")
        for module, *columns in modules:
            x = inception(x, *columns, side=dialect.side, conv=conv, name=module)
            if plan.options["aux"] and module in SIDE_HEADS:
                head = SIDE_HEADS[module]
                heads[head] = _side_head(x, plan, dialect, head)
    return plan.classify(x, dialect.dropout, dialect.dense, side_heads=heads)


def _side_head(x: Tensor, plan: Plan, dialect: Dialect, name: str) -> Tensor:
    require(
        None not in x.shape[1:] and min(x.shape[1:3]) >= 5,
        f"input_shape={plan.input_shape} is open or too small for aux=True, whose "
        "heads have dense layers on maps of at least 5 x 5: give at least "
        "(79, 79, channels), or drop aux.",
    )
    pool = None
    if dialect is TORCH:
        pool = layers.AdaptiveAveragePooling2D(4, name=f"{name}_pool")
    return auxiliary_2014(
        x,
        plan.classes,
        pool=pool,
        dropout=0.7 if plan.rate(0.7) else 0.0,
        activation=plan.activation,
        conv=dialect.conv,
        weights=dialect.dense,
        hidden_bias=dialect.dense_bias,
        name=name,
    )
