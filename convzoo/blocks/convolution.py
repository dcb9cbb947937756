"""Convolution, batch norm, activation, pooling: the one place that knows the dialects.

Frameworks disagree on three things, and every block passes them on unchanged:

- padding. ``"same"`` is TensorFlow's (an odd pixel goes to the end), an integer is
  Caffe's and PyTorch's (so many pixels on every side), a pair is (before, after);
- pooling beyond the border, see `max_pool` and `average_pool`;
- batch norm's epsilon, momentum and gamma, see `Norm`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from keras import layers

Tensor = Any  # keras.KerasTensor; Keras ships no types
Padding = Literal["same", "valid"] | int | tuple[int, int]
# A name or a configuration. Keras gives one seed to an initialiser object, so an object
# passed to several layers would give them equal weights.
Initializer = str | dict[str, Any]
Activation = str | Callable[[Any], Any] | None
Conv = Callable[..., Tensor]  # `convolution`, some of its keywords bound


class Norm(NamedTuple):
    """Batch normalisation's dialect (Ioffe and Szegedy, arXiv:1502.03167)."""

    epsilon: float
    momentum: float  # of the moving statistics, in Keras' sense
    scale: bool = True  # whether gamma exists


KERAS = Norm(1e-3, 0.99)
KERAS_UNSCALED = Norm(1e-3, 0.99, scale=False)  # InceptionV3 as released
TORCH = Norm(1e-5, 0.9)
TORCH_WIDE = Norm(1e-3, 0.9)  # torchvision's GoogLeNet and InceptionV3
RESNET = Norm(1e-5, 0.9)  # epsilon of the authors' release, momentum as in PyTorch


def initializer(kind: str, **config: Any) -> Initializer:
    """Return the recipe of an initialiser, from which each layer makes its own."""
    return {"class_name": kind, "config": config}


# N(0, 2 / fan_in), He et al., arXiv:1502.01852: Gaussian, not truncated.
HE_NORMAL = initializer(
    "VarianceScaling", scale=2.0, mode="fan_in", distribution="untruncated_normal"
)


def convolution(
    x: Tensor,
    filters: int,
    kernel: int | tuple[int, int],
    *,
    strides: int = 1,
    padding: Padding = "same",
    norm: Norm | None = None,
    activation: Activation = "relu",
    use_bias: bool | None = None,
    initializer: Initializer = "glorot_uniform",
    bias_initializer: Initializer = "zeros",
    name: str,
) -> Tensor:
    """Convolve, normalise, activate.

    Without ``norm`` this is one layer called ``name``, its activation inside; with it,
    three: ``<name>_conv``, ``<name>_bn`` and, unless ``activation`` is None,
    ``<name>_relu``. A padding that the convolution cannot do itself is ``<name>_pad``.

    Args:
        x: (batch, height, width, channels).
        filters: Output channels.
        kernel: Side of the kernel, or (height, width).
        strides: Step, in pixels.
        padding: "same", "valid", pixels on every side, or (before, after).
        norm: Batch norm's dialect; None for none.
        activation: Name or function, or None.
        use_bias: Whether the convolution has a bias; by default, if it has no batch
            norm.
        initializer: Of the kernel.
        bias_initializer: Of the bias.
        name: Prefix of the layers' names.

    Returns:
        (batch, height', width', filters).
    """
    x, padding = _pad(x, kernel, strides, padding, name)
    if norm is None:
        return layers.Conv2D(
            filters,
            kernel,
            strides,
            padding,
            activation=activation,
            use_bias=use_bias is not False,
            kernel_initializer=initializer,
            bias_initializer=bias_initializer,
            name=name,
        )(x)
    x = layers.Conv2D(
        filters,
        kernel,
        strides,
        padding,
        use_bias=bool(use_bias),
        kernel_initializer=initializer,
        bias_initializer=bias_initializer,
        name=f"{name}_conv",
    )(x)
    return normalize(x, norm, activation, name=name)


def depthwise(
    x: Tensor,
    kernel: int = 3,
    *,
    strides: int = 1,
    padding: Padding = "same",
    norm: Norm = KERAS,
    activation: Activation = "relu6",
    initializer: Initializer = "glorot_uniform",
    name: str,
) -> Tensor:
    """Convolve each channel by itself, normalise, activate, as `convolution` does."""
    x, padding = _pad(x, kernel, strides, padding, name)
    x = layers.DepthwiseConv2D(
        kernel,
        strides,
        padding,
        use_bias=False,
        depthwise_initializer=initializer,
        name=f"{name}_conv",
    )(x)
    return normalize(x, norm, activation, name=name)


def normalize(x: Tensor, norm: Norm, activation: Activation, *, name: str) -> Tensor:
    """Apply batch norm (``<name>_bn``) and an activation (``<name>_relu``) or None."""
    x = layers.BatchNormalization(
        epsilon=norm.epsilon,
        momentum=norm.momentum,
        scale=norm.scale,
        name=f"{name}_bn",
    )(x)
    if activation is None:
        return x
    return layers.Activation(activation, name=f"{name}_relu")(x)


def max_pool(
    x: Tensor,
    size: int,
    strides: int,
    *,
    padding: Literal["same", "valid", "ceil", "symmetric"] | int = "valid",
    name: str,
) -> Tensor:
    """Take maxima over squares (``<name>_pool``).

    Args:
        x: (batch, height, width, channels).
        size: Side of the squares.
        strides: Step, in pixels.
        padding: "same" and "valid" as in Keras; "ceil" rounds the output size up as
            Caffe and PyTorch's ``ceil_mode`` do (size 3 or 2, stride 2, ``x`` not
            negative); an integer pads with so many zeros on every side (``x`` not
            negative); "symmetric" pads one pixel of minus infinity on every side (size
            3, stride 2, any ``x``).
        name: Prefix of the layers' names.

    Returns:
        (batch, height', width', channels).
    """
    if padding == "ceil" and size == 2:
        padding = "same"
    if padding == "ceil":
        # A row of zeros behind the end: read by the last square of even sides only.
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
        padding = "valid"
    if padding == "symmetric":
        # Keras pads even sides at the end only, so pool at every pixel, then pick.
        x = layers.MaxPooling2D(size, 1, "same", name=f"{name}_dense")(x)
        size, padding = 1, "valid"
    if isinstance(padding, int):
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.MaxPooling2D(size, strides, padding, name=f"{name}_pool")(x)


def average_pool(
    x: Tensor, size: int, strides: int, *, padding: Padding = "valid", name: str
) -> Tensor:
    """Take means over squares (``<name>_pool``).

    "same" leaves padded pixels out of the mean, as TensorFlow and Keras do; an integer
    pads with zeros that count, as PyTorch's default does.
    """
    if not isinstance(padding, str):
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        padding = "valid"
    return layers.AveragePooling2D(size, strides, padding, name=f"{name}_pool")(x)


def _pad(
    x: Tensor,
    kernel: int | tuple[int, int],
    strides: int,
    padding: Padding,
    name: str,
) -> tuple[Tensor, Literal["same", "valid"]]:
    """Return the tensor and the padding that is left for the convolution itself."""
    if isinstance(padding, str):
        return x, padding
    if strides == 1 and isinstance(padding, int) and kernel == 2 * padding + 1:
        return x, "same"
    sides = padding if isinstance(padding, int) else (padding, padding)
    return layers.ZeroPadding2D(sides, name=f"{name}_pad")(x), "valid"
