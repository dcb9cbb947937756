"""The paper-only layers: what published networks need and Keras lacks.

========================== ===================================================
layer                      used by
========================== ===================================================
LocalResponseNormalization ``alexnet(variant="paper")``, ``googlenet(variant="paper")``
SparseConv2D               ``lenet(variant="paper")``: C3
Subsampling                ``lenet(variant="paper")``: S2, S4
scaled_tanh                ``lenet(variant="paper")``
RadialBasis                ``lenet(variant="paper")``: the output
PaddedShortcut             ``mini_resnet(shortcut="A")``
MatchSize                  ``unet`` with unknown height or width
========================== ===================================================

Every other model consists of stock Keras layers, so its saved file opens without
convzoo. All are registered under ``convzoo>``; ``convzoo.load_model`` opens files that
hold them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]
_registered = keras.saving.register_keras_serializable("convzoo")


@_registered
class LocalResponseNormalization(keras.layers.Layer):
    """Normalise each map by its neighbours: ``b = a / (k + alpha * sum(a^2))^beta``.

    Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional
    Neural Networks" (2012), section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75. Caffe
    and PyTorch divide alpha by n and default to k = 1: another function.

    A list of tensors is normalised as one stack of maps and returned as a list again,
    so that the sum crosses the seam between AlexNet's two towers.

    Args:
        depth_radius: Neighbouring maps on either side, 2 for n = 5.
        bias: k.
        alpha: Weight of the sum of squares.
        beta: Exponent.
    """

    def __init__(
        self,
        depth_radius: int = 2,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.depth_radius, self.bias = depth_radius, bias
        self.alpha, self.beta = alpha, beta

    def call(self, inputs: Any) -> Any:
        """Normalise (batch, height, width, channels), or a list of such tensors."""
        if not isinstance(inputs, (list, tuple)):
            return self._normalize(inputs)
        seams = [int(x.shape[-1]) for x in inputs]
        seams = [sum(seams[: i + 1]) for i in range(len(seams) - 1)]
        return ops.split(
            self._normalize(ops.concatenate(inputs, axis=-1)), seams, axis=-1
        )

    def _normalize(self, x: Any) -> Any:
        wide = ops.cast(x, "float32")  # squares of half-precision values overflow
        radius, maps = self.depth_radius, int(x.shape[-1])
        squares = ops.pad(ops.square(wide), [[0, 0]] * 3 + [[radius, radius]])
        total = squares[..., :maps]
        for offset in range(1, 2 * radius + 1):
            total = total + squares[..., offset : offset + maps]
        scale = ops.power(self.bias + self.alpha * total, -self.beta)
        return ops.cast(wide * scale, x.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the input's shape: the maps are only rescaled."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "depth_radius": self.depth_radius,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }


@_registered
def scaled_tanh(x: Any) -> Any:
    """Return ``1.7159 tanh(2x/3)``, LeNet-5's squashing function: f(1) = 1, f(-1) = -1.

    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition" (1998), appendix A.
    """
    return 1.7159 * ops.tanh(x * (2.0 / 3.0))


@_registered
class SparseConv2D(keras.layers.Layer):
    """Convolve with a kernel only where a table links an input map to an output map.

    LeCun et al. (1998), Table I: C3 of LeNet-5 reads 3, 4 or 6 of S2's maps, so it has
    60 kernels instead of 96. Valid padding, stride 1.

    Args:
        links: For each output map, the input maps it reads.
        kernel_size: Side of the kernels.
        activation: Function of the result.
        gain: Kernels start uniform in +-gain / fan-in of their output map.
    """

    def __init__(
        self,
        links: Sequence[Sequence[int]],
        kernel_size: int,
        activation: Any = None,
        gain: float = 2.4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.links = [list(sources) for sources in links]
        self.kernel_size, self.gain = kernel_size, gain
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        """Create one kernel per link and one bias per output map."""
        sources = [source for row in self.links for source in row]
        if max(sources) >= int(input_shape[-1] or 0):
            raise ValueError(
                f"links reads input map {max(sources)}, but the input has "
                f"{input_shape[-1]} maps."
            )
        side = self.kernel_size
        bound = [
            self.gain / (side * side * len(row)) for row in self.links for _ in row
        ]

        def uniform(shape: Shape, dtype: Any = None) -> Any:
            return keras.random.uniform(shape, -1, 1, dtype) * ops.cast(bound, dtype)

        self.kernel = self.add_weight(
            (side, side, len(sources)), initializer=uniform, name="kernel"
        )
        self.bias = self.add_weight(
            (len(self.links),), initializer="zeros", name="bias"
        )
        # Row l holds a one where link l stands in the dense (input, output) table.
        pairs = int(input_shape[-1] or 0) * len(self.links)
        table = [[0.0] * pairs for _ in sources]
        targets = [target for target, row in enumerate(self.links) for _ in row]
        for link, (source, target) in enumerate(zip(sources, targets, strict=True)):
            table[link][source * len(self.links) + target] = 1.0
        self._placement = table

    def call(self, inputs: Any) -> Any:
        """Map (batch, h, w, inputs) to (batch, h - k + 1, w - k + 1, outputs)."""
        side, outputs = self.kernel_size, len(self.links)
        placement = ops.cast(self._placement, self.compute_dtype)
        dense = ops.matmul(ops.cast(self.kernel, self.compute_dtype), placement)
        dense = ops.reshape(dense, (side, side, -1, outputs))
        return self.activation(ops.conv(inputs, dense, padding="valid") + self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of a valid convolution."""
        batch, *sides, _ = input_shape
        shrink = self.kernel_size - 1
        return (batch, *(s and s - shrink for s in sides), len(self.links))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "links": self.links,
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "gain": self.gain,
        }


@_registered
class Subsampling(keras.layers.Layer):
    """Sum each 2x2 square, times one trainable gain, plus one trainable bias, per map.

    LeCun et al. (1998), section II.B: S2 and S4 of LeNet-5, 12 and 32 parameters.

    Args:
        activation: Function of the result.
        gain: The gains start uniform in +-gain / 4, four inputs being a unit's fan-in.
    """

    def __init__(
        self, activation: Any = None, gain: float = 2.4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.gain = gain
        self.strides = (2, 2)

    def build(self, input_shape: Shape) -> None:
        """Create the gain and the bias of each map."""
        maps = (input_shape[-1],)
        spread = keras.initializers.RandomUniform(-self.gain / 4, self.gain / 4)
        self.coefficient = self.add_weight(maps, initializer=spread, name="gain")
        self.bias = self.add_weight(maps, initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Map (batch, h, w, c) to (batch, h // 2, w // 2, c)."""
        total = 4.0 * ops.average_pool(inputs, 2, strides=2, padding="valid")
        return self.activation(total * self.coefficient + self.bias)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return half the height and width."""
        batch, height, width, maps = input_shape
        return (batch, height and height // 2, width and width // 2, maps)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "activation": keras.activations.serialize(self.activation),
            "gain": self.gain,
        }


@_registered
class RadialBasis(keras.layers.Layer):
    """Score each class by the negated squared distance to its fixed code.

    LeCun et al. (1998), section II.B: the output of LeNet-5. The paper's unit is the
    distance itself, smallest for the answer; it is negated here, so that argmax and
    softmax mean what they mean elsewhere.

    Args:
        codes: One string per class, ``#`` for +1 and ``.`` for -1; all of one length,
            the width of the input.
        activation: Function of the scores.
    """

    def __init__(
        self, codes: Sequence[str], activation: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.codes = list(codes)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        """Create the fixed codes, (features, classes)."""
        if any(len(code) != input_shape[-1] for code in self.codes):
            raise ValueError(
                f"codes must have {input_shape[-1]} signs each, the input's width; "
                f"found {sorted({len(code) for code in self.codes})}."
            )
        signs = [[1.0 if sign == "#" else -1.0 for sign in code] for code in self.codes]

        def fixed(shape: Shape, dtype: Any = None) -> Any:
            del shape
            return ops.transpose(ops.cast(signs, dtype))

        self.prototypes = self.add_weight(
            (input_shape[-1], len(self.codes)),
            initializer=fixed,
            trainable=False,
            name="prototypes",
        )

    def call(self, inputs: Any) -> Any:
        """Map (batch, features) to (batch, classes)."""
        differences = ops.expand_dims(inputs, -1) - self.prototypes
        return self.activation(-ops.sum(ops.square(differences), axis=1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return one score per class."""
        return (input_shape[0], len(self.codes))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "codes": self.codes,
            "activation": keras.activations.serialize(self.activation),
        }


@_registered
class PaddedShortcut(keras.layers.Layer):
    """Subsample a map and append zero channels: a shortcut without parameters.

    He et al., arXiv:1512.03385, section 4.2, "option A".

    Args:
        filters: Channels of the result, at least those of the input.
        strides: Step of the subsampling.
    """

    def __init__(self, filters: int, strides: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides

    def call(self, inputs: Any) -> Any:
        """Map (batch, h, w, c) to (batch, ceil(h / s), ceil(w / s), filters)."""
        step, missing = self.strides, self.filters - int(inputs.shape[-1])
        return ops.pad(inputs[:, ::step, ::step], [[0, 0]] * 3 + [[0, missing]])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the subsampled, widened shape."""
        batch, *sides, _ = input_shape
        return (
            batch,
            *(s and math.ceil(s / self.strides) for s in sides),
            self.filters,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "filters": self.filters,
            "strides": self.strides,
        }


@_registered
class MatchSize(keras.layers.Layer):
    """Crop or zero-pad the first map around its centre to the second one's size.

    Takes the place of ``Cropping2D`` and ``ZeroPadding2D`` where height or width is
    known only when data arrive.
    """

    def call(self, inputs: Any) -> Any:
        """Map [(batch, h, w, c), (batch, H, W, d)] to (batch, H, W, c)."""
        x, reference = inputs
        sizes, targets = ops.shape(x)[1:3], ops.shape(reference)[1:3]
        padding, starts = [], []
        for size, target in zip(sizes, targets, strict=True):
            missing = ops.maximum(target - size, 0)
            padding.append([missing // 2, missing - missing // 2])
            starts.append(ops.maximum(size - target, 0) // 2)
        x = ops.pad(x, [[0, 0], *padding, [0, 0]])
        (top, left), (height, width) = starts, targets
        return x[:, top : top + height, left : left + width]

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Return the second map's size with the first one's channels."""
        (batch, *_, channels), (_, height, width, _) = input_shape
        return (batch, height, width, channels)
