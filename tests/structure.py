"""Every builder, variant and option of the zoo, built without weights; golden
manifests."""

import functools
import zlib
from pathlib import Path

import convzoo
from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights

GOLDEN = Path(__file__).parent / "golden"

# What a layer does that its shape does not show, and what goes without saying.
SETTINGS = {
    "kernel_size": 1,
    "pool_size": None,
    "size": None,
    "strides": 1,
    "padding": None,
    "cropping": None,
    "groups": 1,
    "dilation_rate": 1,
    "depth_multiplier": 1,
    "interpolation": "nearest",
    "activation": "linear",
    "use_bias": True,
    "kernel_initializer": None,
    "depthwise_initializer": None,
    "pointwise_initializer": None,
    "bias_initializer": "Zeros",
    "epsilon": None,
    "momentum": None,
    "center": True,
    "scale": True,
    "beta_initializer": "Zeros",
    "gamma_initializer": "Ones",
    "moving_mean_initializer": "Zeros",
    "moving_variance_initializer": "Ones",
    "rate": None,
    "gain": None,
    "depth_radius": None,
    "bias": None,
    "alpha": None,
    "beta": None,
    "links": None,
    "codes": None,
}

# What a builder takes beside its variants and has a structure of its own.
OPTIONS = {
    "vgg16-bn": ("vgg16", {"batch_norm": True}),
    "vgg19-bn": ("vgg19", {"batch_norm": True}),
    "googlenet-paper-aux": ("googlenet", {"variant": "paper", "aux": True}),
    "googlenet-torch-aux": ("googlenet", {"variant": "torch", "aux": True}),
    "inception_v3-keras-aux": ("inception_v3", {"variant": "keras", "aux": True}),
    "inception_v3-torch-aux": ("inception_v3", {"variant": "torch", "aux": True}),
    "mobilenet-0.75": ("mobilenet", {"alpha": 0.75}),
    "mobilenet-0.5": ("mobilenet", {"alpha": 0.5}),
    "mobilenet-0.25": ("mobilenet", {"alpha": 0.25}),
    "mini_resnet-20-B": ("mini_resnet", {"shortcut": "B"}),
    "mini_resnet-56-A": ("mini_resnet", {"depth": 56}),
    "unet-resnet18": ("unet", {"encoder": "resnet18", "input_shape": (128, 128, 3)}),
    "unet-same-odd": ("unet", {"input_shape": (101, 77, 3)}),
    "unet-paper-nearest": ("unet", {"variant": "paper", "up": "nearest"}),
}
VARIANTS = {
    f"{name}-{variant}": (name, {"variant": variant})
    for name, entry in CATALOG.items()
    for variant in entry.variants
}
STRUCTURES = VARIANTS | OPTIONS


def skeleton(builder, **arguments):
    """Build without weights: shapes, names and counts only."""
    with without_weights():
        return getattr(convzoo, builder)(**arguments)


@functools.cache
def structure(name):
    """Return the skeleton of one of `STRUCTURES`, built once."""
    builder, arguments = STRUCTURES[name]
    return skeleton(builder, **arguments)


def shapes(output):
    """Return the shapes of a layer's outputs as text, ``?`` for an open side."""
    tensors = output if isinstance(output, list) else [output]
    sides = [
        ["?" if side is None else str(side) for side in t.shape[1:]] for t in tensors
    ]
    return " + ".join("x".join(shape) for shape in sides)


def text(key, value):
    """Return a setting as short text: equal sides once, initialisers without seed."""
    if key.endswith("initializer"):
        config = {k: v for k, v in value.get_config().items() if v is not None}
        numbers = [
            v for k, v in config.items() if k != "seed" and (k, v) != ("mean", 0)
        ]
        arguments = ",".join(text("", number) for number in numbers)
        return type(value).__name__ + (f"({arguments})" if numbers else "")
    if key == "activation":
        return value.__name__
    if key == "links":
        return ",".join("".join(map(str, row)) for row in value)
    if key == "codes":
        return f"crc32:{zlib.crc32(''.join(value).encode()):08x}"
    if isinstance(value, (list, tuple)):
        parts = [text(key, part) for part in value]
        return parts[0] if len(set(parts)) == 1 else ",".join(parts)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def settings(layer):
    """Yield ``key=value`` for each setting of a layer that is not the usual one."""
    config = layer.get_config()
    for key, usual in SETTINGS.items():
        if key not in config:
            continue
        read = key.endswith("initializer") or key == "activation"
        value = text(key, getattr(layer, key) if read else config[key])
        if value != str(usual):
            yield f"{key.removesuffix('_initializer')}={value}"


def manifest(model):
    """Return one line per layer: name, class, output shape, parameters, settings."""
    rows = [
        (
            layer.name,
            type(layer).__name__,
            shapes(layer.output),
            str(layer.count_params()),
            *settings(layer),
        )
        for layer in model.layers
    ]
    return "".join("  ".join(row) + "\n" for row in rows)
