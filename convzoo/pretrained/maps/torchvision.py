"""torchvision's names: AlexNet, VGG, GoogLeNet, Inception v3 and the ResNets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from convzoo.pretrained.maps.places import IMAGENET, Identity
from convzoo.pretrained.maps.torch import Names, numbers, rename
from convzoo.pretrained.readers.content import Stored

# The variants of ours that torchvision has.
NETWORKS = {
    "alexnet": ("torch",),
    "vgg16": ("plain",),
    "vgg19": ("plain",),
    "googlenet": ("torch",),
    "inception_v3": ("torch",),
    "resnet18": ("v1", "v1.5"),
    "resnet34": ("v1", "v1.5"),
    "resnet50": ("v1.5",),
    "resnet101": ("v1.5",),
    "resnet152": ("v1.5",),
}
HEAD = re.compile(r"(classifier|fc|aux\d|AuxLogits)\..*")

ALEXNET = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "head_fc6": "classifier.1",
    "head_fc7": "classifier.4",
    "head_predictions": "classifier.6",
}
VGG_HEAD = {
    "head_fc1": "classifier.0",
    "head_fc2": "classifier.3",
    "head_predictions": "classifier.6",
}
_FORM = r"_(conv|bn)"
GOOGLENET = {
    rf"conv1_7x7{_FORM}": r"conv1.\1",
    rf"conv2_3x3_reduce{_FORM}": r"conv2.\1",
    rf"conv2_3x3{_FORM}": r"conv3.\1",
    rf"inception_(\w\w)_1x1{_FORM}": r"inception\1.branch1.\2",
    rf"inception_(\w\w)_3x3_reduce{_FORM}": r"inception\1.branch2.0.\2",
    rf"inception_(\w\w)_3x3{_FORM}": r"inception\1.branch2.1.\2",
    rf"inception_(\w\w)_5x5_reduce{_FORM}": r"inception\1.branch3.0.\2",
    rf"inception_(\w\w)_5x5{_FORM}": r"inception\1.branch3.1.\2",
    rf"inception_(\w\w)_pool_proj{_FORM}": r"inception\1.branch4.1.\2",
    rf"aux(\d)_1x1{_FORM}": r"aux\1.conv.\2",
    r"aux(\d)_fc": r"aux\1.fc1",
    r"aux(\d)_predictions": r"aux\1.fc2",
    r"head_predictions": "fc",
}
INCEPTION_V3 = {
    rf"conv_3b{_FORM}": r"Conv2d_3b_1x1.\1",
    rf"conv_(\w\w){_FORM}": r"Conv2d_\1_3x3.\2",
    rf"mixed_(\w\w)_pool_proj{_FORM}": r"Mixed_\1.branch_pool.\2",
    rf"mixed_(\w\w)_(\w+){_FORM}": r"Mixed_\1.branch\2.\3",
    rf"aux_1x1{_FORM}": r"AuxLogits.conv0.\1",
    rf"aux_5x5{_FORM}": r"AuxLogits.conv1.\1",
    r"aux_predictions": "AuxLogits.fc",
    r"head_predictions": "fc",
}
# Blocks of conv2 to conv5, convolutions in a block.
DEPTHS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 2, 2), 2): "resnet18",
    ((3, 4, 6, 3), 2): "resnet34",
    ((3, 4, 6, 3), 3): "resnet50",
    ((3, 4, 23, 3), 3): "resnet101",
    ((3, 8, 36, 3), 3): "resnet152",
}


def names(builder: str, layers: list[str]) -> Names:
    """Return torchvision's names of the layers that hold weights."""
    if builder == "alexnet":
        return ALEXNET
    if builder.startswith("vgg"):
        return vgg(layers) | VGG_HEAD
    if builder == "googlenet":
        return rename(GOOGLENET, layers)
    if builder == "inception_v3":
        return rename(INCEPTION_V3, layers)
    return {layer: _resnet(layer) for layer in layers}


def vgg(layers: Iterable[str]) -> dict[str, str]:
    """Number the body's layers: ReLUs and pools take a number too."""
    found = [re.fullmatch(r"(block\d)_conv(\d)(_conv|_bn)?", name) for name in layers]
    convolutions = sorted({(m[1], m[2]) for m in found if m})
    normed = any(m[3] == "_bn" for m in found if m)
    theirs, number = {}, 0
    for block, rows in groupby(convolutions, key=lambda row: row[0]):
        for _, i in rows:
            name = f"{block}_conv{i}"
            if normed:
                theirs[f"{name}_conv"] = f"features.{number}"
                theirs[f"{name}_bn"] = f"features.{number + 1}"
            else:
                theirs[name] = f"features.{number}"
            number += 3 if normed else 2
        number += 1
    return theirs


def _resnet(layer: str) -> str:
    """Count stages and blocks from where PyTorch does: conv2_block1 is layer1.0."""
    match = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer)
    if match is None:
        return {"conv1_conv": "conv1", "conv1_bn": "bn1"}.get(layer, "fc")
    stage, block, i, form = match.groups()
    shortcut = {"conv": "downsample.0", "bn": "downsample.1"}[form]
    part = shortcut if i == "0" else f"{form}{i}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{part}"


def identify(tensors: Mapping[str, Stored]) -> Identity | None:
    """Tell the network by its names and shapes; None if it is none of torchvision's."""
    shapes = {name: stored.shape for name, stored in tensors.items()}
    first = shapes.get("features.0.weight")
    classes = shapes.get("fc.bias", shapes.get("classifier.6.bias", (None,)))[0]
    if first and first[0] == 64 and first[2:] == (11, 11):
        return Identity("torchvision", "alexnet", "torch", {}, classes, IMAGENET)
    if first and first[0] == 64 and first[2:] == (3, 3):
        return identify_vgg(tensors, "torchvision", classes)
    if "inception3a.branch1.conv.weight" in tensors:
        # Whether it was trained with `transform_input` the file does not tell.
        return Identity("torchvision", "googlenet", "torch", {}, classes)
    if "Mixed_5b.branch1x1.conv.weight" in tensors:
        # timm has the same names for weights that expect other images.
        return Identity("torchvision", "inception_v3", "torch", {}, classes)
    return _identify_resnet(tensors, classes)


def identify_vgg(
    tensors: Mapping[str, Stored], layout: str, classes: int | None
) -> Identity | None:
    """Tell VGG16 from VGG19, and whether it has batch norm."""
    kernels = [
        name
        for name, stored in tensors.items()
        if name.startswith("features.") and len(stored.shape) == 4
    ]
    builder = {13: "vgg16", 16: "vgg19"}.get(len(kernels))
    normed = "features.1.running_mean" in tensors
    if builder is None:
        return None
    options = {"batch_norm": normed}
    return Identity(layout, builder, "plain", options, classes, IMAGENET)


def _identify_resnet(
    tensors: Mapping[str, Stored], classes: int | None
) -> Identity | None:
    blocks = numbers(tensors, r"layer(\d)\.(\d+)\.conv1\.weight")
    depth = tuple(sum(stage == i for stage, _ in blocks) for i in (1, 2, 3, 4))
    convolutions = len(numbers(tensors, r"layer1\.0\.conv(\d)\.weight"))
    builder = DEPTHS.get((depth, convolutions))
    middle = tensors.get("layer1.0.conv2.weight")
    if builder is None or middle is None or middle.shape != (64, 64, 3, 3):
        return None  # among others a ResNeXt or a wide ResNet
    variant = "v1.5" if convolutions == 3 else None
    return Identity("torchvision", builder, variant, {}, classes, IMAGENET)
