"""The classic convolutional networks, exactly as published, in Keras 3."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from convzoo.collector import collector_paused

if TYPE_CHECKING:
    from convzoo import blocks as blocks
    from convzoo.anatomy import stages as stages
    from convzoo.catalog import list_models as list_models
    from convzoo.inspect.architecture.plot import plot_architecture as plot_architecture
    from convzoo.inspect.block import plot_block as plot_block
    from convzoo.inspect.features import feature_extractor as feature_extractor
    from convzoo.inspect.features import feature_maps as feature_maps
    from convzoo.inspect.grad_cam import grad_cam as grad_cam
    from convzoo.inspect.plot import plot_model as plot_model
    from convzoo.inspect.tables import summary as summary
    from convzoo.inspect.zoo import plot_zoo as plot_zoo
    from convzoo.models.alexnet import alexnet as alexnet
    from convzoo.models.googlenet import googlenet as googlenet
    from convzoo.models.inception_v3 import inception_v3 as inception_v3
    from convzoo.models.lenet import lenet as lenet
    from convzoo.models.miniatures import mini_inception as mini_inception
    from convzoo.models.miniatures import mini_resnet as mini_resnet
    from convzoo.models.miniatures import mini_vgg as mini_vgg
    from convzoo.models.mobilenet import mobilenet as mobilenet
    from convzoo.models.resnet import resnet18 as resnet18
    from convzoo.models.resnet import resnet34 as resnet34
    from convzoo.models.resnet import resnet50 as resnet50
    from convzoo.models.resnet import resnet101 as resnet101
    from convzoo.models.resnet import resnet152 as resnet152
    from convzoo.models.unet import unet as unet
    from convzoo.models.vgg import vgg16 as vgg16
    from convzoo.models.vgg import vgg19 as vgg19
    from convzoo.models.xception import xception as xception
    from convzoo.prediction import predict as predict
    from convzoo.pretrained.loading import load_model as load_model
    from convzoo.pretrained.loading import load_weights as load_weights
    from convzoo.pretrained.loading import save_weights as save_weights
    from convzoo.pretrained.records import list_weights as list_weights
    from convzoo.pretrained.records import weights_info as weights_info

__version__ = "0.1.0"

# Public name -> module; imported at first use, so that importing convzoo stays instant.
_HOMES = {
    "alexnet": "models.alexnet",
    "feature_extractor": "inspect.features",
    "feature_maps": "inspect.features",
    "googlenet": "models.googlenet",
    "grad_cam": "inspect.grad_cam",
    "inception_v3": "models.inception_v3",
    "lenet": "models.lenet",
    "list_models": "catalog",
    "list_weights": "pretrained.records",
    "load_model": "pretrained.loading",
    "load_weights": "pretrained.loading",
    "mini_inception": "models.miniatures",
    "mini_resnet": "models.miniatures",
    "mini_vgg": "models.miniatures",
    "mobilenet": "models.mobilenet",
    "plot_architecture": "inspect.architecture.plot",
    "plot_block": "inspect.block",
    "plot_model": "inspect.plot",
    "plot_zoo": "inspect.zoo",
    "predict": "prediction",
    "resnet101": "models.resnet",
    "resnet152": "models.resnet",
    "resnet18": "models.resnet",
    "resnet34": "models.resnet",
    "resnet50": "models.resnet",
    "save_weights": "pretrained.loading",
    "stages": "anatomy",
    "summary": "inspect.tables",
    "unet": "models.unet",
    "vgg16": "models.vgg",
    "vgg19": "models.vgg",
    "weights_info": "pretrained.records",
    "xception": "models.xception",
}

__all__ = [*_HOMES, "blocks"]  # noqa: PLE0604  (strings, listed once above)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'convzoo' has no attribute {name!r}")
    with collector_paused():  # most of them import Keras
        module = importlib.import_module(f"convzoo.{_HOMES.get(name, name)}")
    if name == "blocks":
        return module
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "keras" in sys.modules:
    # Registers the zoo's layers, so that keras.models.load_model finds them.
    importlib.import_module("convzoo.layers")
