"""Reference networks whose outputs depend on their input: random weights, live
statistics.

With batch norm's initial statistics a deep random network is blind: whatever it sees,
it answers alike, and every comparison passes. So the weights are drawn, the statistics
are those of a batch, and then perturbed.
"""

from contextlib import contextmanager

import keras
import numpy as np


@contextmanager
def double_precision():
    """Leave rounding out: fifty layers make 2e-5 of single precision's last bit, and
    batch statistics 2e-4."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def randomize(model, seed=0):
    """Draw every weight, biases and gammas too."""
    random = np.random.default_rng(seed)
    # Batch variances around ten: the epsilon of Keras' ResNets, 1.001e-5 for 1e-5, is
    # not absorbed in training, and at one it shows behind 152 layers (2e-5 of a map).
    kinds = {type(layer) for layer in model.layers}
    gain = 3.0 if keras.layers.BatchNormalization in kinds else 1.0
    for layer in model.layers:
        for weight in layer.weights:
            if "kernel" in weight.name:
                fan_in = np.prod(weight.shape[:-1])
                if "depthwise" in weight.name:
                    fan_in = np.prod(weight.shape[:2])
                value = random.normal(size=weight.shape) * gain * np.sqrt(2 / fan_in)
            elif weight.name in {"gamma", "moving_variance"}:
                value = random.uniform(0.5, 1.5, weight.shape)
            else:
                value = random.normal(size=weight.shape) * 0.1
            weight.assign(value.astype(keras.config.floatx()))


def calibrate(model, batch, seed=0):
    """Set batch-norm statistics to those of a batch, then perturb them by 30 %."""
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(batch, training=True)
    random = np.random.default_rng(seed)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        variance = keras.ops.convert_to_numpy(norm.moving_variance)
        mean = keras.ops.convert_to_numpy(norm.moving_mean)
        spread = np.sqrt(variance) * random.uniform(-0.3, 0.3, mean.shape)
        norm.moving_mean.assign(mean + spread)
        norm.moving_variance.assign(variance * random.uniform(0.7, 1.3, mean.shape))


def outputs(model, batch, training=False):
    return keras.ops.convert_to_numpy(model(batch, training=training))


def difference(a, b):
    """max|a - b| / max|b|."""
    assert a.shape == b.shape
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def moved(batch):
    """The same images one pixel down and right, as a padding on the other side has
    it."""
    shifted = np.zeros_like(batch)
    shifted[:, 1:, 1:] = batch[:, :-1, :-1]
    return shifted


def assert_sensitive(answer, batch, another):
    """The reference must answer differently where a wrong network would."""
    right = answer(batch)
    other = {
        "another image": another,
        "flipped channels": np.ascontiguousarray(batch[..., ::-1]),
        "moved padding": moved(batch),
    }
    for what, changed in other.items():
        assert difference(answer(changed), right) > 1e-2, what
