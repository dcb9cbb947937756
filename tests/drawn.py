"""Weights and pictures drawn from raw bits: the same under every version of NumPy."""

import math
import zlib

import numpy as np


def uniform(key, shape):
    """Numbers in [-1, 1); the key is a text and chooses them."""
    size = math.prod(shape)
    bits = np.random.PCG64(zlib.crc32(key.encode())).random_raw((size + 1) // 2)
    words = bits.astype("<u8", copy=False).view("<u4")[:size]
    words >>= 8  # 24 bits are what a single holds exactly
    values = words.astype(np.float32)
    values *= np.float32(2**-23)
    values -= 1
    return values.reshape(shape)


def weights(shapes, bias=0.1):
    """Draw the arrays of a file by their names and shapes, outputs before inputs.

    Kernels keep the variance of what a ReLU lets through; scales and variances lie
    around one; all the rest, biases and means, in +-``bias``.
    """
    return {name: _weight(name, tuple(shape), bias) for name, shape in shapes.items()}


def _weight(name, shape, bias):
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    values = uniform(name, shape)
    if len(shape) > 1:
        return values * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    if name.endswith(("weight", "running_var")):
        return 1 + values / 2
    return values * np.float32(bias)


def pictures(side, batch=3, seed=0):
    """RGB pictures in whole numbers 0..255, with structure at every scale."""
    total = np.zeros((batch, side, side, 3))
    for cells in (2, 5, 11, 23):
        coarse = uniform(f"picture {seed}, {cells} cells", (batch, cells, cells, 3))
        at = np.arange(side) * cells // side
        total += coarse[:, at][:, :, at]
    return np.clip(127.5 + 64 * total, 0, 255).astype(np.uint8)


def scaled(pictures, scaling):
    """The images that a network reads: scaled as its weights were trained."""
    mean, std = scaling
    return ((pictures / 255 - mean) / std).astype(np.float32)
