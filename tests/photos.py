"""Pictures that need no file, and what torchvision's own transforms make of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from convzoo.pretrained.records import weights_info

EXPECTED = Path(__file__).parent / "data" / "expected_images.npz"
STEP = 7  # every seventh row and column is kept: enough to see a shift by one pixel

# Width and height: odd, smaller than the crop, square, near the resize, strips.
SIZES = ((301, 451), (451, 302), (97, 64), (233, 233), (256, 259), (40, 577), (901, 20))

# The weights whose pipelines differ in size, crop and interpolation.
WEIGHTS = {
    "torchvision-v1": ("resnet50", "imagenet/torchvision-v1"),
    "torchvision-v2": ("resnet50", "imagenet/torchvision-v2"),
    "torchvision-299": ("inception_v3", "imagenet/torchvision-v1"),
    "timm-a1": ("resnet50", "imagenet/timm-a1_in1k"),
    "timm-299": ("xception", "imagenet/timm-tf_in1k"),
}
RECORDS = {key: weights_info(*names) for key, names in WEIGHTS.items()}


def photo(width, height):
    """Return an RGB picture with slopes, edges and fine grain."""
    y, x, channel = np.ogrid[:height, :width, :3]
    grain = (x * x * 7 + y * y * 13 + x * y * 5 + channel * 31) % 97
    slopes = 150 * x // width * (channel != 1) + 150 * y // height * (channel != 0)
    edges = 40 * ((x // 9 + y // 11) % 2)
    return Image.fromarray(((grain + slopes + edges) % 256).astype(np.uint8))


def torchvision():
    """Import torchvision, whose operators a build without them must declare first."""
    import torch  # noqa: PLC0415

    if not hasattr(torch.ops.torchvision, "qnms"):
        for name in ("nms", "qnms"):
            arguments = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", arguments)
    import torchvision  # noqa: PLC0415

    return torchvision


def transforms(key):
    """Return the publisher's own pipeline of some weights, up to its last crop."""
    vision = torchvision()
    record = RECORDS[key]
    if key.startswith("torchvision"):
        name = {"resnet50": "ResNet50", "inception_v3": "Inception_V3"}[record.model]
        version = "IMAGENET1K_" + record.name[-2:].upper()
        preset = getattr(vision.models, f"{name}_Weights")[version].transforms()
        resize = vision.transforms.Resize(
            preset.resize_size, preset.interpolation, antialias=preset.antialias
        )
        return vision.transforms.Compose(
            [resize, vision.transforms.CenterCrop(preset.crop_size)]
        )
    return vision.transforms.Compose(timm_transforms(record).transforms[:2])


def timm_transforms(record):
    """Return timm's pipeline for evaluation with the weights of a record."""
    torchvision()
    import timm  # noqa: PLC0415
    from timm.data import create_transform  # noqa: PLC0415

    name = record.file.removeprefix("timm-").removesuffix(".safetensors")
    if record.model == "xception":
        name = "legacy_xception.tf_in1k"
    config = timm.get_pretrained_cfg(name)
    return create_transform(
        config.input_size,
        mean=config.mean,
        std=config.std,
        interpolation=config.interpolation,
        crop_pct=config.crop_pct,
    )
