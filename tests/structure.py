"""Every builder, variant and option of the zoo, built without weights; golden
manifests."""

from pathlib import Path

import convzoo
from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights

GOLDEN = Path(__file__).parent / "golden"

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


def shapes(output):
    """Return the shapes of a layer's outputs as text, ``?`` for an open side."""
    tensors = output if isinstance(output, list) else [output]
    sides = [
        ["?" if side is None else str(side) for side in t.shape[1:]] for t in tensors
    ]
    return " + ".join("x".join(shape) for shape in sides)


def manifest(model):
    """Return one line per layer: name, class, output shape, parameters."""
    rows = [
        (
            layer.name,
            type(layer).__name__,
            shapes(layer.output),
            str(layer.count_params()),
        )
        for layer in model.layers
    ]
    return "".join("  ".join(row) + "\n" for row in rows)
