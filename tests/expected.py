"""The networks whose answers are stored: their files are drawn again in each test."""

import json
from pathlib import Path
from typing import NamedTuple

import caffe_nets
import numpy as np
from caffe_files import save_caffemodel
from drawn import pictures, weights
from safetensors.numpy import save_file
from torch_files import save_legacy, save_zip
from torch_nets import NETS

FILE = Path(__file__).parent / "data" / "expected_outputs.npz"
STEP = 7  # every seventh number of an answer is kept


class Stored(NamedTuple):
    """A network, the size of its images, and how its file is written."""

    net: str
    side: int
    container: str
    top: bool = True
    slow: bool = False

    @property
    def key(self):
        return self.net if self.top else f"{self.net}-body"

    @property
    def pictures(self):
        return pictures(self.side, batch=2)


# fmt: off
STORED = (
    Stored("torchvision-resnet18",      96, "zip"),
    Stored("torchvision-googlenet",     96, "legacy"),
    Stored("torchvision-alexnet",       96, "legacy", top=False),
    Stored("torchvision-vgg16_bn",      64, "zip", top=False),
    Stored("timm-mobilenetv1_100",      96, "safetensors"),
    Stored("caffe-googlenet",           96, "caffemodel"),
    Stored("caffe-alexnet",             99, "caffemodel", top=False),
    Stored("torchvision-alexnet",      224, "zip", slow=True),
    Stored("torchvision-vgg16",        224, "zip", slow=True),
    Stored("torchvision-inception_v3", 128, "legacy", slow=True),
    Stored("torchvision-resnet50",      96, "zip", slow=True),
    Stored("timm-vgg16",               224, "safetensors", slow=True),
    Stored("timm-legacy_xception",     128, "safetensors", slow=True),
    Stored("caffe-alexnet",            227, "caffemodel", slow=True),
)
# fmt: on


def caffe_net(case):
    make = getattr(caffe_nets, case.net.removeprefix("caffe-"))
    return make(case.side) if case.top else make(case.side, top=False)


def builder(case):
    return NETS[case.net].builder if case.net in NETS else case.net.split("-")[1]


def write(case, path, shapes):
    """Write a file as their library would: the arrays by names and shapes."""
    if case.container == "caffemodel":
        save_caffemodel(path, caffe_nets.layers(caffe_net(case)))
    else:
        save = {"zip": save_zip, "legacy": save_legacy}.get(case.container)
        arrays = weights(shapes)
        save(path, arrays) if save else save_file(arrays, path)
    return path


def load():
    """Return the stored answers, and the names and shapes in each file."""
    with np.load(FILE) as archive:
        answers = {name: archive[name] for name in archive.files}
    return answers, json.loads(str(answers.pop("shapes")))


def kept(answer):
    return np.asarray(answer).reshape(-1)[::STEP]
