"""The public checkpoints that fit the zoo, as tables.

- ``bytes`` are 4 times the parameters; torchvision's are as it states them.
- Keras publishes no resize before the crop: the crop is taken to be 7/8 of it, bilinear,
  as in the other pipelines. It states no accuracy of the smaller MobileNets.
- timm's rows have the size and top-1 of its results at the training size, or at the
  test size where only that is given (``d``, ``c1``, ``c2``, ``a2``, ``b1k``, ``b2k``);
  its top-5 is left out.
- torchvision's GoogLeNet and InceptionV3 were ported from TensorFlow and read [-1, 1],
  which torchvision hides inside the model (``transform_input``).
- The licences of Keras' VGG and ResNet are those of their origin: Oxford and He.
"""
# ruff: noqa: E501  (tables)

from __future__ import annotations

import math
from typing import Any, NamedTuple

from convzoo.pretrained.record import Record


class _Scaling(NamedTuple):
    """Mean and deviation of x / 255, RGB."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


_IMAGENET = _Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_UNIT = _Scaling((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # to [-1, 1]
_OXFORD = _Scaling((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3)
_CAFFE = _Scaling((123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3)


class _Net(NamedTuple):
    """A network that several files fill."""

    model: str
    variant: str
    parameters: int  # in a file with the top, statistics included
    options: dict[str, Any] | None = None
    also_variants: tuple[str, ...] = ()


# fmt: off
_PLAIN, _BN = {"batch_norm": False}, {"batch_norm": True}
_NO_AUX = {"aux": False}  # the file has no side heads

_ALEXNET        = _Net("alexnet",      "torch", 61_100_840)
_VGG16          = _Net("vgg16",        "plain", 138_357_544, _PLAIN)
_VGG16_BN       = _Net("vgg16",        "plain", 138_374_440, _BN)
_VGG19          = _Net("vgg19",        "plain", 143_667_240, _PLAIN)
_VGG19_BN       = _Net("vgg19",        "plain", 143_689_256, _BN)
_GOOGLENET      = _Net("googlenet",    "torch", 13_019_960)
_INCEPTION      = _Net("inception_v3", "torch", 27_197_488)
_INCEPTION_SOLE = _Net("inception_v3", "torch", 23_869_000, _NO_AUX)
_RESNET18       = _Net("resnet18",     "v1",    11_699_112, None, ("v1.5",))
_RESNET34       = _Net("resnet34",     "v1",    21_814_696, None, ("v1.5",))
_RESNET50       = _Net("resnet50",     "v1.5",  25_610_152)
_RESNET101      = _Net("resnet101",    "v1.5",  44_654_504)
_RESNET152      = _Net("resnet152",    "v1.5",  60_344_232)
_XCEPTION       = _Net("xception",     "torch", 22_910_480)
_MOBILENET      = _Net("mobilenet",    "torch",  4_253_864, {"alpha": 1.0})
_MOBILENET_125  = _Net("mobilenet",    "torch",  6_298_200, {"alpha": 1.25})


class _Keras(NamedTuple):
    folder: str
    net: _Net
    side: int
    scaling: _Scaling
    top1: float
    top5: float
    licence: str
    body: int  # parameters without the top
    md5: str
    body_md5: str


_KERAS = (
    _Keras("vgg16",        _Net("vgg16", "plain", 138_357_544, _PLAIN),        224, _OXFORD, 0.713, 0.901, "CC-BY-4.0",
           14_714_688, "64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    _Keras("vgg19",        _Net("vgg19", "plain", 143_667_240, _PLAIN),        224, _OXFORD, 0.713, 0.900, "CC-BY-4.0",
           20_024_384, "cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    _Keras("resnet",       _Net("resnet50", "v1", 25_636_712),                 224, _OXFORD, 0.749, 0.921, "MIT",
           23_587_712, "2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    _Keras("resnet",       _Net("resnet101", "v1", 44_707_176),                224, _OXFORD, 0.764, 0.928, "MIT",
           42_658_176, "f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    _Keras("resnet",       _Net("resnet152", "v1", 60_419_944),                224, _OXFORD, 0.766, 0.931, "MIT",
           58_370_944, "100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    _Keras("inception_v3", _Net("inception_v3", "keras", 23_851_784, _NO_AUX), 299, _UNIT,   0.779, 0.937, "Apache-2.0",
           21_802_784, "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
    _Keras("xception",     _Net("xception", "keras", 22_910_480),              299, _UNIT,   0.790, 0.945, "MIT",
           20_861_480, "0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
)


class _Alpha(NamedTuple):
    """Keras' MobileNet of one width."""

    alpha: float
    digits: str  # in the file's name
    parameters: int
    body: int


_ALPHAS = (
    _Alpha(1.0,  "1_0", 4_253_864, 3_228_864),
    _Alpha(0.75, "7_5", 2_601_976, 1_832_976),
    _Alpha(0.5,  "5_0", 1_342_536,   829_536),
    _Alpha(0.25, "2_5",   475_544,   218_544),
)
_SIDES = (224, 192, 160, 128)


class _Torchvision(NamedTuple):
    net: _Net
    name: str
    file: str  # ends in the first digits of its SHA-256
    mebibytes: float
    top1: float  # percent
    top5: float
    side: int = 224
    resize: int = 256
    scaling: _Scaling = _IMAGENET


_TORCHVISION = (
    #             network      weights  file                                        MiB   top-1   top-5  crop resize
    _Torchvision(_ALEXNET,    "v1",    "alexnet-owt-7be5be79.pth",              233.087, 56.522, 79.066),
    _Torchvision(_VGG16,      "v1",    "vgg16-397923af.pth",                    527.796, 71.592, 90.382),
    _Torchvision(_VGG16_BN,   "bn-v1", "vgg16_bn-6c64b313.pth",                 527.866, 73.360, 91.516),
    _Torchvision(_VGG19,      "v1",    "vgg19-dcbb9e9d.pth",                    548.051, 72.376, 90.876),
    _Torchvision(_VGG19_BN,   "bn-v1", "vgg19_bn-c79401a0.pth",                 548.143, 74.218, 91.842),
    _Torchvision(_GOOGLENET,  "v1",    "googlenet-1378be20.pth",                 49.731, 69.778, 89.530, 224, 256, _UNIT),
    _Torchvision(_INCEPTION,  "v1",    "inception_v3_google-0cc3c7bd.pth",      103.903, 77.294, 93.450, 299, 342, _UNIT),
    _Torchvision(_RESNET18,   "v1",    "resnet18-f37072fd.pth",                  44.661, 69.758, 89.078),
    _Torchvision(_RESNET34,   "v1",    "resnet34-b627a593.pth",                  83.275, 73.314, 91.420),
    _Torchvision(_RESNET50,   "v1",    "resnet50-0676ba61.pth",                  97.781, 76.130, 92.862),
    _Torchvision(_RESNET50,   "v2",    "resnet50-11ad3fa6.pth",                  97.790, 80.858, 95.434, 224, 232),
    _Torchvision(_RESNET101,  "v1",    "resnet101-63fe2227.pth",                170.511, 77.374, 93.546),
    _Torchvision(_RESNET101,  "v2",    "resnet101-cd907fc2.pth",                170.530, 81.886, 95.780, 224, 232),
    _Torchvision(_RESNET152,  "v1",    "resnet152-394f9c45.pth",                230.434, 78.312, 94.046),
    _Torchvision(_RESNET152,  "v2",    "resnet152-f82ba261.pth",                230.474, 82.284, 96.002, 224, 232),
)


class _Timm(NamedTuple):
    net: _Net
    name: str  # as timm has it
    side: int
    crop: float  # fraction of the resize
    interpolation: str
    scaling: _Scaling
    top1: float  # percent
    licence: str = "Apache-2.0"
    release: str = ""  # path below timm's releases, where it is not on the hub


_BSD, _NC = "BSD-3-Clause", "CC-BY-NC-4.0"
_TIMM = (
    #                                                          side   crop                         top-1
    _Timm(_VGG16,          "vgg16.tv_in1k",                     224, 0.875,  "bilinear", _IMAGENET, 71.594, _BSD),
    _Timm(_VGG16_BN,       "vgg16_bn.tv_in1k",                  224, 0.875,  "bilinear", _IMAGENET, 73.354, _BSD),
    _Timm(_VGG19,          "vgg19.tv_in1k",                     224, 0.875,  "bilinear", _IMAGENET, 72.400, _BSD),
    _Timm(_VGG19_BN,       "vgg19_bn.tv_in1k",                  224, 0.875,  "bilinear", _IMAGENET, 74.230, _BSD),
    _Timm(_INCEPTION,      "inception_v3.tv_in1k",              299, 0.875,  "bicubic",  _UNIT,     77.472),
    _Timm(_INCEPTION_SOLE, "inception_v3.tf_in1k",              299, 0.875,  "bicubic",  _UNIT,     77.866),
    _Timm(_INCEPTION_SOLE, "inception_v3.tf_adv_in1k",          299, 0.875,  "bicubic",  _UNIT,     77.598),
    _Timm(_INCEPTION_SOLE, "inception_v3.gluon_in1k",           299, 0.875,  "bicubic",  _IMAGENET, 78.806),
    _Timm(_RESNET50,       "resnet50.a1_in1k",                  224, 0.95,   "bicubic",  _IMAGENET, 80.382),
    _Timm(_RESNET50,       "resnet50.d_in1k",                   288, 1.0,    "bicubic",  _IMAGENET, 81.012),
    _Timm(_RESNET50,       "resnet50.c1_in1k",                  288, 1.0,    "bicubic",  _IMAGENET, 80.928),
    _Timm(_RESNET50,       "resnet50.c2_in1k",                  288, 1.0,    "bicubic",  _IMAGENET, 80.862),
    _Timm(_RESNET50,       "resnet50.a2_in1k",                  288, 1.0,    "bicubic",  _IMAGENET, 80.774),
    _Timm(_RESNET50,       "resnet50.b1k_in1k",                 288, 1.0,    "bicubic",  _IMAGENET, 80.708),
    _Timm(_RESNET50,       "resnet50.b2k_in1k",                 288, 1.0,    "bicubic",  _IMAGENET, 80.466),
    _Timm(_RESNET50,       "resnet50.a1h_in1k",                 176, 0.9,    "bicubic",  _IMAGENET, 79.264),
    _Timm(_RESNET50,       "resnet50.a3_in1k",                  160, 0.95,   "bicubic",  _IMAGENET, 75.994),
    _Timm(_RESNET50,       "resnet50.ram_in1k",                 224, 0.875,  "bicubic",  _IMAGENET, 79.034),
    _Timm(_RESNET50,       "resnet50.ra_in1k",                  224, 0.875,  "bicubic",  _IMAGENET, 78.820),
    _Timm(_RESNET50,       "resnet50.bt_in1k",                  224, 0.875,  "bicubic",  _IMAGENET, 78.444),
    _Timm(_RESNET50,       "resnet50.am_in1k",                  224, 0.875,  "bicubic",  _IMAGENET, 79.004),
    _Timm(_RESNET50,       "resnet50.gluon_in1k",               224, 0.875,  "bicubic",  _IMAGENET, 77.580),
    _Timm(_RESNET50,       "resnet50.tv_in1k",                  224, 0.875,  "bilinear", _IMAGENET, 76.156, _BSD),
    _Timm(_RESNET50,       "resnet50.tv2_in1k",                 176, 0.875,  "bilinear", _IMAGENET, 79.434, _BSD),
    _Timm(_RESNET50,       "resnet50.fb_swsl_ig1b_ft_in1k",     224, 0.875,  "bilinear", _IMAGENET, 81.146, _NC),
    _Timm(_RESNET50,       "resnet50.fb_ssl_yfcc100m_ft_in1k",  224, 0.875,  "bilinear", _IMAGENET, 79.252, _NC),
    _Timm(_XCEPTION,       "legacy_xception.tf_in1k",           299, 0.8975, "bicubic",  _UNIT,     79.058, release="v0.1-cadene/xception-43020ad28.pth"),
    _Timm(_MOBILENET,      "mobilenetv1_100.ra4_e3600_r224_in1k", 224, 0.875, "bicubic", _UNIT,     75.388),
    _Timm(_MOBILENET_125,  "mobilenetv1_125.ra4_e3600_r224_in1k", 224, 0.9,  "bicubic",  _UNIT,     76.920),
)


class _Caffe(NamedTuple):
    net: _Net
    side: int
    top1: float
    top5: float
    sha1: str


_CAFFE_ZOO = (
    _Caffe(_Net("alexnet",   "paper", 60_965_224), 227, 0.571, 0.802, "9116a64c0fbe4459d18f4bb6b56d647b63920377"),
    _Caffe(_Net("googlenet", "paper", 13_378_280), 224, 0.687, 0.889, "405fc5acd08a3bb12de8ee5e23a96bec22f08204"),
)
# fmt: on
_CAFFE_URL = "http://dl.caffe.berkeleyvision.org/"
_CAFFE_SOURCE = "https://github.com/BVLC/caffe/tree/master/models/"
_HUB_URL = "https://huggingface.co/timm/"
_KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
_RELEASES_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/"
_TORCH_SOURCE = "https://docs.pytorch.org/vision/stable/models/generated/"
_TORCH_URL = "https://download.pytorch.org/models/"


def _record(net: _Net, side: int, scaling: _Scaling, **facts: Any) -> Record:
    """Return a record of weights that were trained on ImageNet."""
    usual = {"resize": round(side / 0.875), "interpolation": "bilinear"}
    return Record(
        model=net.model,
        variant=net.variant,
        options=net.options or {},
        also_variants=net.also_variants,
        classes=1000,
        input_shape=(side, side, 3),
        mean=scaling.mean,
        std=scaling.std,
        crop=side,
        **{"bytes": 4 * net.parameters, **usual, **facts},
    )


def _keras(net: _Net, side: int, scaling: _Scaling, url: str, **facts: Any) -> Record:
    return _record(
        net,
        side,
        scaling,
        name="imagenet",
        alias="imagenet/keras",
        url=_KERAS_URL + url,
        file=url.rpartition("/")[2],
        source="https://keras.io/api/applications/",
        layout="keras",
        **facts,
    )


def _both(row: _Keras) -> list[Record]:
    """Return the records of a network of keras.applications, with top and without."""
    stem = f"{row.folder}/{row.net.model}_weights_tf_dim_ordering_tf_kernels"
    return [
        _keras(
            row.net,
            row.side,
            row.scaling,
            f"{stem}.h5" if top else f"{stem}_notop.h5",
            hash=f"md5:{row.md5 if top else row.body_md5}",
            bytes=4 * (row.net.parameters if top else row.body),
            licence=row.licence,
            top1=row.top1,
            top5=row.top5,
            include_top=top,
        )
        for top in (True, False)
    ]


def _keras_mobilenet(row: _Alpha, side: int, *, top: bool) -> Record:
    # keras.io states the accuracy of the widest at the largest size alone.
    stated = (row.alpha, side) == (1.0, 224)
    return _keras(
        _Net("mobilenet", "keras", row.parameters, {"alpha": row.alpha}),
        side,
        _UNIT,
        f"mobilenet/mobilenet_{row.digits}_{side}_tf{'' if top else '_no_top'}.h5",
        hash=None,
        bytes=4 * (row.parameters if top else row.body),
        licence="Apache-2.0",
        top1=0.704 if stated else None,
        top5=0.895 if stated else None,
        include_top=top,
    )


def _torchvision(row: _Torchvision) -> Record:
    name = f"imagenet/torchvision-{row.name}"
    default = row.net.variant == "v1"  # ResNet-18 and 34, which Keras does not publish
    builder = row.net.model + ("_bn" if row.net.options == _BN else "")
    return _record(
        row.net,
        row.side,
        row.scaling,
        name="imagenet" if default else name,
        alias=name if default else None,
        url=_TORCH_URL + row.file,
        file=row.file,
        hash=_prefix(row.file),
        bytes=round(row.mebibytes * 2**20),
        licence=_BSD,
        source=f"{_TORCH_SOURCE}torchvision.models.{builder}.html",
        resize=row.resize,
        top1=round(row.top1 / 100, 5),
        top5=round(row.top5 / 100, 5),
        layout="torchvision",
    )


def _prefix(file: str) -> str:
    """Return the hash that PyTorch's file names end in."""
    return f"sha256-prefix:{file.removesuffix('.pth').rpartition('-')[2]}"


def _timm(row: _Timm) -> Record:
    tag = row.name.partition(".")[2]
    facts: dict[str, Any] = {
        "url": f"{_HUB_URL}{row.name}/resolve/main/model.safetensors",
        "file": f"timm-{row.name}.safetensors",
        "hash": None,
        "source": _HUB_URL + row.name,
    }
    if row.release:
        file = row.release.rpartition("/")[2]
        facts["url"], facts["file"] = _RELEASES_URL + row.release, file
        facts["hash"], facts["source"] = _prefix(file), _RELEASES_URL + row.release
    return _record(
        row.net,
        row.side,
        row.scaling,
        name=f"imagenet/timm-{'bn-' if row.net.options == _BN else ''}{tag}",
        licence=row.licence,
        resize=math.floor(row.side / row.crop),
        interpolation=row.interpolation,
        top1=round(row.top1 / 100, 5),
        layout="timm",
        **facts,
    )


def _caffe(row: _Caffe) -> Record:
    stem = f"bvlc_{row.net.model}"
    return _record(
        row.net,
        row.side,
        _CAFFE,
        name="imagenet",
        alias="imagenet/caffe",
        url=f"{_CAFFE_URL}{stem}.caffemodel",
        file=f"{stem}.caffemodel",
        hash=f"sha1:{row.sha1}",
        licence="LicenseRef-BVLC-unrestricted",
        source=_CAFFE_SOURCE + stem,
        resize=256,
        top1=row.top1,
        top5=row.top5,
        layout="caffe",
    )


# Among records of one name the widest for the largest images first, with its top.
PUBLISHED: tuple[Record, ...] = (
    *(record for row in _KERAS for record in _both(row)),
    *(
        _keras_mobilenet(row, side, top=top)
        for row in _ALPHAS
        for side in _SIDES
        for top in (True, False)
    ),
    *map(_caffe, _CAFFE_ZOO),
    *map(_torchvision, _TORCHVISION),
    *map(_timm, _TIMM),
)
