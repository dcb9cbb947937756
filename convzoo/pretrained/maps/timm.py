"""timm's names, where they are not torchvision's: VGG's head, Xception, MobileNet."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from convzoo.pretrained.maps import torchvision
from convzoo.pretrained.maps.places import SYMMETRIC, Identity, width_multiplier
from convzoo.pretrained.maps.torch import Names
from convzoo.pretrained.readers.content import Array, Stored

# The variants of ours that timm has.
NETWORKS = {
    name: variants
    for name, variants in torchvision.NETWORKS.items()
    if name not in {"alexnet", "googlenet"}
} | {"xception": ("torch",), "mobilenet": ("torch",)}
HEAD = re.compile(r"(classifier|fc|head|pre_logits|AuxLogits)\..*")

VGG_HEAD = {
    "head_fc1": "pre_logits.fc1",
    "head_fc2": "pre_logits.fc2",
    "head_predictions": "head.fc",
}


def names(builder: str, layers: list[str]) -> Names:
    """Return timm's names of the layers that hold weights."""
    if builder.startswith("vgg"):
        return torchvision.vgg(layers) | VGG_HEAD
    if builder == "xception":
        return {layer: _xception(layer) for layer in layers}
    if builder == "mobilenet":
        return {layer: _mobilenet(layer) for layer in layers}
    return torchvision.names(builder, layers)


def heads_as_convolutions(state: dict[str, Array]) -> dict[str, Array]:
    """Give VGG's hidden layers the axes of a 7x7 and a 1x1 convolution."""
    for name, channels in (("fc1", 512), ("fc2", 4096)):
        kernel = state.get(f"pre_logits.{name}.weight")
        if kernel is not None:
            side = math.isqrt(kernel.shape[1] // channels)
            kernel = kernel.reshape(-1, channels, side, side)
            state[f"pre_logits.{name}.weight"] = kernel
    return state


def _mobilenet(layer: str) -> str:
    match = re.fullmatch(r"stage(\d)_block(\d)_(dw|pw)_(conv|bn)", layer)
    if match is None:
        return {"conv1_conv": "conv_stem", "conv1_bn": "bn1"}.get(layer, "classifier")
    stage, block, kind, form = match.groups()
    norm = {"dw": "bn1", "pw": "bn2"}[kind]
    part = f"conv_{kind}" if form == "conv" else norm
    return f"blocks.{int(stage) - 1}.{int(block) - 1}.{part}"


def _xception(layer: str) -> str:
    """Count without our block1 and block14, the plain convolutions at the two ends."""
    match = re.fullmatch(r"\w+_block(\d+)_(conv|sep|shortcut)(\d?)_(conv|bn)", layer)
    if match is None:
        return "fc"
    block, kind, i, form = int(match[1]), match[2], match[3], match[4]
    if block in {1, 14}:
        return f"{form}{int(i) + (2 if block == 14 else 0)}"
    if kind == "shortcut":
        return f"block{block - 1}.skip{'bn' if form == 'bn' else ''}"
    # In front of each convolution stands a ReLU, but for the first of all.
    place = 3 * (int(i) - 1) + (block > 2) + (form == "bn")
    return f"block{block - 1}.rep.{place}"


def identify(tensors: Mapping[str, Stored]) -> Identity | None:
    """Tell the network by its names and shapes; None if only torchvision has it."""
    shapes = {name: stored.shape for name, stored in tensors.items()}
    vgg = any(name.startswith(("head.fc.", "pre_logits.")) for name in tensors)
    if vgg and "features.0.weight" in shapes:
        classes = shapes.get("head.fc.bias", (None,))[0]
        return torchvision.identify_vgg(tensors, "timm", classes)
    if "block1.rep.0.conv1.weight" in shapes:
        classes = shapes.get("fc.bias", (None,))[0]
        return Identity("timm", "xception", "torch", {}, classes, SYMMETRIC)
    last = shapes.get("blocks.4.1.conv_pw.weight")
    is_v1 = "blocks.0.0.conv_dw.weight" in shapes and "conv_head.weight" not in shapes
    if last and is_v1:
        classes = shapes.get("classifier.bias", (None,))[0]
        options = {"alpha": width_multiplier(last[0])}
        return Identity("timm", "mobilenet", "torch", options, classes, SYMMETRIC)
    return None
