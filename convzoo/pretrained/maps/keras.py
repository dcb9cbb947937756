"""keras.applications: by position in Keras 2's files, by name in those of Keras 3.

VGG and the ResNets read BGR there; the ResNets have biases before batch norm and an
epsilon of 1.001e-5.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from convzoo.pretrained.maps.places import (
    SYMMETRIC,
    Identity,
    Place,
    caffe_mean,
    same,
    variables,
    width_multiplier,
)
from convzoo.pretrained.readers.content import Array, Content

MEAN = caffe_mean(123.68, 116.779, 103.939)
RESNET_EPSILON = 1.001e-5
VARIANTS = {"vgg": "plain", "resnet": "v1"}  # else "keras"

LAST = "stage5_block2_pw_conv"  # of MobileNet, as wide as 1024 alpha
MOST_IN_HEAD = 3  # layers: VGG's
AUTOMATIC = (
    "conv2d|batch_normalization|activation|add|concatenate|max_pooling2d|"
    "average_pooling2d"
)
HARMLESS = re.compile(
    r"(input|input_layer|image|global_average_pooling2d|avg_pool|flatten|dropout|dense|"
    r"predictions)(_\d+)?"
)
BY_NAME = ("weights.h5", "keras")  # formats whose names are trusted

# What a layer's arrays are, by their numbers of axes.
_BY_AXES = {
    (4,): ("kernel",),
    (4, 1): ("kernel", "bias"),
    (2, 1): ("kernel", "bias"),
    (4, 4): ("depthwise_kernel", "pointwise_kernel"),
    (1, 1, 1): ("beta", "moving_mean", "moving_variance"),
    (1, 1, 1, 1): ("gamma", "beta", "moving_mean", "moving_variance"),
}


class Row(NamedTuple):
    """A layer of keras.applications that holds weights."""

    theirs: str
    ours: str
    roles: tuple[str, ...]

    @property
    def is_head(self) -> bool:
        """Whether files without top lack it."""
        return self.ours.startswith("head_")


@functools.cache
def _sections() -> dict[str, list[str]]:
    """Return the lines of each network, one a layer."""
    text = Path(__file__).with_name("keras_applications.txt").read_text("utf-8")
    sections = (section.splitlines() for section in text.split("# ")[1:])
    return {builder: lines for builder, *lines in sections}


@functools.cache
def order(builder: str) -> tuple[Row, ...]:
    """Return the layers of a network in the order of its files."""
    rows = (line.split() for line in _sections()[builder][:-1])
    return tuple(Row(theirs, ours, tuple(r.split(","))) for theirs, ours, r in rows)


Layers = dict[str, dict[str, str]]  # by layer, then by role: the name in the file


def layers(content: Content) -> Layers:
    """Group a file's arrays by layer and say what each is."""
    grouped: dict[str, list[str]] = {}
    for name in content.tensors:
        grouped.setdefault(name.rpartition("/")[0], []).append(name)
    found = {}
    for layer, names in grouped.items():
        if content.format == "TensorFlow checkpoint":
            roles = tuple(name.rpartition("/")[2] for name in names)
            if roles == ("depthwise_kernel",):
                roles = ("kernel",)  # as Keras 3 calls it
        else:
            axes = tuple(len(content.tensors[name].shape) for name in names)
            roles = _BY_AXES.get(axes, ())
        found[layer] = dict(zip(roles, names, strict=False))
    return found


def _canonical(names: list[str]) -> dict[str, str]:
    """Number automatic names from 0, as in a process that built nothing before."""
    automatic: dict[str, list[int]] = {}
    for name in names:
        kind, number = _split(name)
        if number is not None:
            automatic.setdefault(kind, []).append(number)
    canonical = {}
    for name in names:
        kind, number = _split(name)
        if number is None:
            canonical[name] = name
        else:
            rank = sorted(automatic[kind]).index(number)
            canonical[name] = f"{kind}_{rank}" if rank else kind
    return canonical


def strangers(names: Sequence[str], builder: str) -> list[str]:
    """Return the layers that are neither of the network nor of a usual head."""
    canonical = _canonical(list(names))
    known = {row.theirs for row in order(builder)}
    known.update(_sections()[builder][-1].split()[2:])
    return [
        name
        for name, usual in canonical.items()
        if usual not in known and not HARMLESS.fullmatch(name)
    ]


def _split(name: str) -> tuple[str, int | None]:
    match = re.fullmatch(rf"({AUTOMATIC})(?:_(\d+))?", name)
    return (match[1], int(match[2] or 0)) if match else (name, None)


def _aligned(content: Content, rows: tuple[Row, ...]) -> Layers | None:
    """Return a file's layers under our names, or None if it holds another network.

    Dense layers behind the body may be a head of another make: they stay out.
    """
    found = layers(content)
    if content.format in BY_NAME:
        canonical = _canonical(list(found))
        place = {row.theirs: i for i, row in enumerate(rows)}
        found = {canonical[name]: roles for name, roles in found.items()}
        found = dict(sorted(found.items(), key=lambda item: place.get(item[0], 999)))
        if not set(found) >= {row.theirs for row in rows if not row.is_head}:
            return None
    listed = list(found.values())
    body = [row for row in rows if not row.is_head]
    known = rows if _fit(rows[len(body) :], listed[len(body) :]) else body
    dense = [_is_dense(content, roles) for roles in listed]
    if any(dense[: len(body)]) or not all(dense[len(known) :]):
        return None
    if not _fit(known, listed[: len(known)]):
        return None
    return {row.ours: roles for row, roles in zip(known, listed, strict=False)}


def _fit(rows: Sequence[Row], listed: list[dict[str, str]]) -> bool:
    return [set(row.roles) for row in rows] == [set(roles) for roles in listed]


def _is_dense(content: Content, roles: dict[str, str]) -> bool:
    return "kernel" in roles and len(content.tensors[roles["kernel"]].shape) == 2


def identify(content: Content) -> Identity | None:
    """Tell the network by its layers and their arrays; None if it is none of them."""
    count = len(layers(content))
    longest_first = sorted(_sections(), key=lambda name: -len(_sections()[name]))
    for builder in longest_first:
        if len(_sections()[builder]) - 1 - MOST_IN_HEAD > count:
            continue
        rows = order(builder)
        aligned = _aligned(content, rows)
        if aligned is not None:
            family = builder.rstrip("0123456789")
            head = aligned.get("head_predictions")
            options: dict[str, Any] = {"batch_norm": False} if family == "vgg" else {}
            if builder == "mobilenet":
                last = content.tensors[aligned[LAST]["kernel"]]
                options = {"alpha": width_multiplier(last.shape[-1])}
            return Identity(
                "keras",
                builder,
                VARIANTS.get(family, "keras"),
                options,
                content.tensors[head["bias"]].shape[0] if head else None,
                MEAN if family in VARIANTS else SYMMETRIC,
            )
    return None


def places(
    model: keras.Model, content: Content, identity: Identity
) -> dict[str, Place]:
    """Return where each variable of a model stands in a file of keras.applications."""
    rows = order(identity.builder)
    aligned = _aligned(content, rows) or {}
    reads_bgr = identity.builder.startswith(tuple(VARIANTS))
    found = {}
    for layer, variable in variables(model):
        sources = [aligned.get(layer.name, {}).get(variable)]
        take: Callable[..., Array] = same
        if variable == "kernel" and layer.name == rows[0].ours and reads_bgr:
            take = _flip_channels
        elif isinstance(layer, keras.layers.Dense) and variable == "kernel":
            take = _rows
        elif variable == "moving_mean":
            conv = f"{layer.name.removesuffix('_bn')}_conv"
            bias = aligned.get(conv, {}).get("bias")
            if bias and not model.get_layer(conv).use_bias:
                sources, take = [*sources, bias], _less
        elif variable == "moving_variance" and identity.builder.startswith("resnet"):
            take = functools.partial(_more, more=RESNET_EPSILON - layer.epsilon)
        if None not in sources:
            found[f"{layer.name}/{variable}"] = Place(tuple(map(str, sources)), take)
    return found


def _flip_channels(kernel: Array) -> Array:
    """Turn a kernel for BGR into one for RGB; other channels have no such order."""
    return kernel[:, :, ::-1] if kernel.shape[2] == 3 else kernel


def _rows(kernel: Array) -> Array:
    """Turn MobileNet's classifier, a 1x1 convolution, into a dense kernel."""
    return kernel.reshape(-1, kernel.shape[-1])


def _less(mean: Array, bias: Array) -> Array:
    """Take a bias before batch norm into the mean."""
    if bias.shape != mean.shape:
        raise ValueError(f"the bias before it has shape {bias.shape}")
    return mean - bias


def _more(variance: Array, more: float) -> Array:
    """Take another epsilon into the variance."""
    moved: Array = variance + variance.dtype.type(more)
    return moved
