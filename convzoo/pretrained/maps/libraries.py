"""Choose the map of a file: whose it is, and where each array of it belongs."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from convzoo.pretrained.maps import caffe, timm, torch, torchvision
from convzoo.pretrained.maps import keras as keras_applications
from convzoo.pretrained.maps.places import Identity, Place
from convzoo.pretrained.readers.content import Array, Content

TORCH = {"torchvision": torchvision, "timm": timm}


def identify(content: Content) -> Identity | None:
    """Tell which network of which library a file holds; None if it is none known."""
    if content.format == "caffemodel":
        return caffe.identify(content)
    if content.format in {"PyTorch", "safetensors"}:
        tensors = content.tensors
        return timm.identify(tensors) or torchvision.identify(tensors)
    return keras_applications.identify(content)


def places(
    model: keras.Model, content: Content, identity: Identity
) -> dict[str, Place]:
    """Return where each variable of a model stands in a file; others have no place."""
    if identity.layout == "keras":
        return keras_applications.places(model, content, identity)
    if identity.layout == "caffe":
        return caffe.places(model, identity.builder)
    names = TORCH[identity.layout].names(identity.builder, _weighted(model))
    return torch.places(model, names)


def may_be_left(name: str, identity: Identity) -> bool:
    """Tell whether an array may go unused: a head's, or a counter."""
    if identity.layout == "keras":
        return True  # the body is complete, or the file would not be known
    head = {"caffe": caffe.HEAD, "timm": timm.HEAD, "torchvision": torchvision.HEAD}
    counts = name.endswith(torch.COUNTER)
    return counts or bool(head[identity.layout].fullmatch(name))


def state_dict(
    model: keras.Model, values: Mapping[str, Array], layout: str, builder: str
) -> dict[str, Array]:
    """Return a model's weights as torchvision or timm name and turn them."""
    names = TORCH[layout].names(builder, _weighted(model))
    state = torch.state_dict(model, values, names)
    if layout == "timm" and builder.startswith("vgg"):
        return timm.heads_as_convolutions(state)
    return state


def _weighted(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights]
