"""LeNet-5: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
Recognition", Proceedings of the IEEE 86(11), 1998, section II.B and Figure 2.
"""  # noqa: D205

from __future__ import annotations

import random
from functools import partial

import keras
from keras import layers

from convzoo.blocks.convolution import (
    Activation,
    Initializer,
    average_pool,
    convolution,
    initializer,
)
from convzoo.blocks.head import drop
from convzoo.layers import RadialBasis, SparseConv2D, Subsampling, scaled_tanh
from convzoo.models.plan import Plan, Pooling, Shape, Weights, builder
from convzoo.models.settle import settle

# Table I: the maps of S2 that each map of C3 reads.
# fmt: off
C3 = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# F6 and the output: a digit is a bitmap of 7 x 12, drawn here for this library.
DIGITS = """
..###..  ...#...  .#####.  .#####.  ....##.  #######  ..####.  #######  .#####.  .#####.
.#...#.  ..##...  #.....#  #.....#  ...#.#.  #......  .#.....  ......#  #.....#  #.....#
#.....#  .#.#...  ......#  ......#  ...#.#.  #......  #......  ......#  #.....#  #.....#
#.....#  ...#...  ......#  ......#  ..#..#.  #......  #......  .....#.  #.....#  #.....#
#.....#  ...#...  .....#.  .....#.  ..#..#.  #.###..  #......  .....#.  .#...#.  #.....#
#.....#  ...#...  ....#..  ..###..  .#...#.  ##...#.  #.###..  ....#..  ..###..  .######
#.....#  ...#...  ...#...  .....#.  .#...#.  ......#  ##...#.  ....#..  .#...#.  ......#
#.....#  ...#...  ..#....  ......#  #######  ......#  #.....#  ...#...  #.....#  ......#
#.....#  ...#...  .#.....  ......#  .....#.  ......#  #.....#  ...#...  #.....#  ......#
#.....#  ...#...  #......  ......#  .....#.  #.....#  #.....#  ..#....  #.....#  ......#
.#...#.  ...#...  #......  #.....#  .....#.  .#...#.  .#...#.  ..#....  #.....#  .....#.
..###..  .#####.  #######  .#####.  .....#.  ..###..  ..###..  ..#....  .#####.  .####..
"""
# fmt: on


@builder
def lenet(
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
    name: str = "lenet",
) -> keras.Model:
    """Build LeNet-5 (LeCun, Bottou, Bengio, Haffner, 1998).

    ``variant="modern"``, the usual LeNet-5 of 61,706 parameters, differs from the
    paper: C3 reads every map of S2, subsampling is a plain average, tanh is not scaled,
    the output is a dense layer with softmax, weights start Glorot uniform.

    ``variant="paper"``, 60,000 trainable parameters, is Figure 2: C3 sparse by Table I,
    trainable subsampling, scaled tanh, radial basis output. It differs in two points:
    the output is the negated distance (then ``classifier_activation``), so that the
    largest is the answer; the ten bitmaps are our own, as the paper's are printed only
    as a figure. Other class counts get fixed random codes of +-1.

    Args:
        weights: None (random), "mnist", or a path; see `convzoo.load_weights`.
        variant: "modern" (default) or "paper".
        include_top: Whether F6 and the output follow C5.
        input_shape: (height, width, channels), at least 32 x 32; MNIST's 28 x 28 digits
            stand in the middle of a field of 32 x 32.
        classes: Number of classes, 10 by default.
        pooling: Without the top, None, "avg" or "max" over C5's map.
        dropout: Fraction of F6 dropped in training; published: 0.
        classifier_activation: Of the output; None for scores.
        include_preprocessing: Start with a layer that takes values 0..255.
        input_tensor: Keras tensor to build on.
        name: The model's name.

    Returns:
        (batch, 32, 32, 1), background about -0.1 and ink about 1.175 -> (batch,
        classes), rows sum to 1. Without the top (batch, 1, 1, 120).

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is out of range or contradicts the weights.

    Example:
        >>> lenet().output_shape
        (None, 10)
    """
    plan = settle("lenet", locals())
    return _paper(plan) if plan.variant == "paper" else _modern(plan)


def _modern(plan: Plan) -> keras.Model:
    conv = partial(convolution, padding="valid", activation="tanh")
    # fmt: off
    x = plan.image()                     # 32 x 32 x   1
    x = conv(x, 6, 5, name="c1")         # 28 x 28 x   6
    x = average_pool(x, 2, 2, name="s2") # 14 x 14 x   6
    x = conv(x, 16, 5, name="c3")        # 10 x 10 x  16
    x = average_pool(x, 2, 2, name="s4") #  5 x  5 x  16
    x = conv(x, 120, 5, name="c5")       #  1 x  1 x 120
    # fmt: on
    if plan.include_top:
        x = plan.flatten(x)
        x = layers.Dense(84, activation="tanh", name="head_f6")(x)
        x = drop(x, plan.rate(0.0), name="head_dropout")
        x = layers.Dense(
            plan.classes, activation=plan.activation, name="head_predictions"
        )(x)
    return plan.model(x)


def _paper(plan: Plan) -> keras.Model:
    tanh = scaled_tanh
    conv = partial(convolution, kernel=5, padding="valid", activation=tanh)
    pixels = 25 * plan.input_shape[-1]
    # fmt: off
    x = plan.image()                                         # 32 x 32 x   1
    x = conv(x, 6, initializer=_uniform(pixels), name="c1")  # 28 x 28 x   6
    x = Subsampling(tanh, name="s2")(x)                      # 14 x 14 x   6
    x = SparseConv2D(C3, 5, tanh, name="c3")(x)              # 10 x 10 x  16
    x = Subsampling(tanh, name="s4")(x)                      #  5 x  5 x  16
    x = conv(x, 120, initializer=_uniform(400), name="c5")   #  1 x  1 x 120
    # fmt: on
    if plan.include_top:
        x = plan.flatten(x)
        start = _uniform(x.shape[-1])
        x = layers.Dense(84, activation=tanh, kernel_initializer=start, name="head_f6")(
            x
        )
        x = drop(x, plan.rate(0.0), name="head_dropout")
        codes = _codes(plan.classes)
        x = RadialBasis(codes, plan.activation, name="head_predictions")(x)
    return plan.model(x)


def _uniform(fan_in: int) -> Initializer:
    """Return the paper's initialiser: uniform in +-2.4 / fan-in."""
    return initializer("RandomUniform", minval=-2.4 / fan_in, maxval=2.4 / fan_in)


def _codes(classes: int) -> list[str]:
    """Return one code of 84 signs per class: the digits, else fixed random ones."""
    if classes == 10:
        rows = [line.split() for line in DIGITS.split("\n") if line]
        return ["".join(column) for column in zip(*rows, strict=True)]
    signs = random.Random(84).choices("#.", k=84 * classes)
    return ["".join(signs[start : start + 84]) for start in range(0, len(signs), 84)]
