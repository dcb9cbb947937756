"""Networks of torchvision and timm; all but the table needs both, imported late."""
# ruff: noqa: E501  (a table)

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from drawn import uniform, weights
from photos import torchvision

UNIT = (0.5,) * 3, (0.5,) * 3  # the scaling of their images here
SIDE_HEADS = {"init_weights": False, "aux_logits": True}  # for torchvision's Inceptions


_NONE = MappingProxyType({})


class Net(NamedTuple):
    library: str
    name: str  # in the library
    body: str  # the module whose output is ours without the top
    builder: str
    ours: Mapping[str, Any] = _NONE  # options of our builder
    theirs: Mapping[str, Any] = _NONE
    side: int = 224  # of the images
    batch: int = 3
    normed: bool = True


# fmt: off
NETS = {
    "torchvision-alexnet":      Net("torchvision", "alexnet", "features", "alexnet", normed=False),
    "torchvision-vgg16":        Net("torchvision", "vgg16", "features", "vgg16", batch=2, normed=False),
    "torchvision-vgg16_bn":     Net("torchvision", "vgg16_bn", "features", "vgg16", batch=2),
    "torchvision-googlenet":    Net("torchvision", "googlenet", "inception5b", "googlenet", {"aux": True}, SIDE_HEADS),
    "torchvision-inception_v3": Net("torchvision", "inception_v3", "Mixed_7c", "inception_v3", {"aux": True}, SIDE_HEADS, 299),
    "torchvision-resnet18":     Net("torchvision", "resnet18", "layer4", "resnet18"),
    "torchvision-resnet50":     Net("torchvision", "resnet50", "layer4", "resnet50"),
    "timm-vgg16":               Net("timm", "vgg16", "features", "vgg16", batch=2, normed=False),
    "timm-inception_v3":        Net("timm", "inception_v3", "Mixed_7c", "inception_v3", side=299),
    "timm-resnet50":            Net("timm", "resnet50", "layer4", "resnet50"),
    "timm-legacy_xception":     Net("timm", "legacy_xception", "act4", "xception", side=299),
    "timm-mobilenetv1_100":     Net("timm", "mobilenetv1_100", "bn2", "mobilenet"),
}
# fmt: on


def empty(net):
    """Return their network without memory for weights."""
    import torch  # noqa: PLC0415

    vision = torchvision()
    with torch.device("meta"):
        if net.library == "torchvision":
            return getattr(vision.models, net.name)(**net.theirs)
        import timm  # noqa: PLC0415

        return timm.create_model(net.name, **net.theirs)


def shapes(net):
    return {name: tuple(value.shape) for name, value in empty(net).state_dict().items()}


def filled(net, state):
    """Return their network with these weights, all of them and no more."""
    import torch  # noqa: PLC0415

    model = empty(net)
    tensors = {name: torch.as_tensor(array) for name, array in state.items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model.eval()


def calibrated(net, batch):
    """Return their network with drawn weights and statistics 30 % off the batch's."""
    import torch  # noqa: PLC0415

    model = filled(net, weights(shapes(net)))
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    momenta = {name: norm.momentum for name, norm in norms.items()}
    for norm in norms.values():
        norm.momentum = 1.0
    answer(model, batch, training=True)
    for name, norm in norms.items():
        norm.momentum = momenta[name]
        mean, variance = norm.running_mean.numpy(), norm.running_var.numpy()
        mean += 0.3 * uniform(f"{name} mean", mean.shape) * np.sqrt(variance)
        variance *= 1 + 0.3 * uniform(f"{name} variance", mean.shape)
    return model


def answer(model, batch, training=False):
    """Return their logits, in training with those of the side heads, if any."""
    import torch  # noqa: PLC0415

    model.train(training)
    with torch.no_grad():
        found = model(_channels_first(batch))
    model.eval()
    if isinstance(found, tuple):
        named = found._asdict()
        rename = {"logits": "main", "aux_logits1": "aux1", "aux_logits2": "aux2"}
        rename["aux_logits"] = "aux"
        return {rename[name]: value.numpy() for name, value in named.items()}
    return found.numpy()


def body(net, model, batch):
    """Return the last map in front of their head."""
    import torch  # noqa: PLC0415

    found = []
    module = model.get_submodule(net.body)
    hook = module.register_forward_hook(lambda *call: found.append(call[-1]))
    with torch.no_grad():
        model(_channels_first(batch))
    hook.remove()
    return found[0].permute(0, 2, 3, 1).numpy()


def _channels_first(batch):
    import torch  # noqa: PLC0415

    return torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
