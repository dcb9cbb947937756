"""The catalogue of the zoo: pure data, one entry per builder.

Imports no Keras before `Entry.load` is called.
"""

from __future__ import annotations

import fnmatch
import importlib
import math
from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras

TASKS = ("classification", "segmentation")


class Variant(NamedTuple):
    """One published form of a network, and what it weighs at its usual input."""

    input_shape: tuple[int | None, int | None, int]  # height, width, channels
    minimum: int  # smallest height and width, in pixels
    trainable: int  # parameters that training changes
    total: int  # with batch norm's statistics and fixed weights
    macs: int | None  # multiply-accumulates, one image; None at an open size


class Entry(NamedTuple):
    """One builder of the zoo."""

    name: str
    builder: str  # "module:function"
    task: str  # one of `TASKS`
    authors: str
    year: int
    title: str
    source: str  # arXiv id, DOI or venue
    classes: int
    variants: dict[str, Variant]  # the default first
    top1: float | None = None  # published, of the default's "imagenet" weights

    @property
    def default(self) -> str:
        """Name of the default variant."""
        return next(iter(self.variants))

    def load(self) -> Callable[..., keras.Model]:
        """Import the builder, and with it Keras, and return it."""
        module, function = self.builder.split(":")
        build: Callable[..., keras.Model] = getattr(
            importlib.import_module(module), function
        )
        return build


_LENET = (
    "LeCun, Bottou, Bengio, Haffner",
    1998,
    "Gradient-Based Learning Applied to Document Recognition",
    "doi:10.1109/5.726791",
)
_ALEXNET = (
    "Krizhevsky, Sutskever, Hinton",
    2012,
    "ImageNet Classification with Deep Convolutional Neural Networks",
    "NIPS 25",
)
_VGG = (
    "Simonyan, Zisserman",
    2015,
    "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    "arXiv:1409.1556",
)
_GOOGLENET = (
    "Szegedy et al.",
    2015,
    "Going Deeper with Convolutions",
    "arXiv:1409.4842",
)
_INCEPTION_V3 = (
    "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
    2016,
    "Rethinking the Inception Architecture for Computer Vision",
    "arXiv:1512.00567",
)
_RESNET = (
    "He, Zhang, Ren, Sun",
    2016,
    "Deep Residual Learning for Image Recognition",
    "arXiv:1512.03385",
)
_XCEPTION = (
    "Chollet",
    2017,
    "Xception: Deep Learning with Depthwise Separable Convolutions",
    "arXiv:1610.02357",
)
_MOBILENET = (
    "Howard et al.",
    2017,
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
    "arXiv:1704.04861",
)
_UNET = (
    "Ronneberger, Fischer, Brox",
    2015,
    "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    "arXiv:1505.04597",
)
_MINI_INCEPTION = (
    "Zhang, Bengio, Hardt, Recht, Vinyals",
    2017,
    "Understanding deep learning requires rethinking generalization",
    "arXiv:1611.03530; half: no paper",
)
_MINI_VGG = (
    "Rosebrock",
    2017,
    "Deep Learning for Computer Vision with Python",
    "book, no paper",
)


def _entry(
    name: str,
    file: str,
    paper: tuple[str, int, str, str],
    variants: dict[str, Variant],
    *,
    task: str = "classification",
    classes: int = 1000,
    top1: float | None = None,
) -> Entry:
    builder = f"convzoo.models.{file}:{name}"
    return Entry(name, builder, task, *paper, classes, variants, top1)


_SMALL = (32, 32, 3)
_PHOTO = (224, 224, 3)
_LARGE = (299, 299, 3)

# fmt: off
_ENTRIES = (
    #                                                input, minimum,   trainable,       total, multiply-accumulates
    _entry("lenet", "lenet", _LENET, {
        "modern":    Variant((32, 32, 1),    32,      61_706,      61_706,         416_520),
        "paper":     Variant((32, 32, 1),    32,      60_000,      60_840,         326_520),
    }, classes=10),
    _entry("alexnet", "alexnet", _ALEXNET, {
        "paper":     Variant((227, 227, 3),  67,  60_965_224,  60_965_224,     724_406_816),
        "torch":     Variant(_PHOTO,         63,  61_100_840,  61_100_840,     714_188_480),
    }, top1=0.571),
    _entry("vgg16", "vgg", _VGG, {
        "plain":     Variant(_PHOTO,         32, 138_357_544, 138_357_544,  15_470_264_320),
    }, top1=0.713),
    _entry("vgg19", "vgg", _VGG, {
        "plain":     Variant(_PHOTO,         32, 143_667_240, 143_667_240,  19_632_062_464),
    }, top1=0.713),
    _entry("googlenet", "googlenet", _GOOGLENET, {
        "paper":     Variant(_PHOTO,         32,   6_998_552,   6_998_552,   1_582_671_872),
        "torch":     Variant(_PHOTO,         32,   6_624_904,   6_639_464,   1_498_376_192),
    }, top1=0.687),
    _entry("inception_v3", "inception_v3", _INCEPTION_V3, {
        "keras":     Variant(_LARGE,         75,  23_817_352,  23_851_784,   5_713_216_096),
        "torch":     Variant(_LARGE,         75,  23_834_568,  23_869_000,   5_713_216_096),
    }, top1=0.779),
    _entry("resnet18", "resnet", _RESNET, {
        "v1":        Variant(_PHOTO,         32,  11_689_512,  11_699_112,   1_814_073_344),
        "v1.5":      Variant(_PHOTO,         32,  11_689_512,  11_699_112,   1_814_073_344),
    }, top1=0.69758),
    _entry("resnet34", "resnet", _RESNET, {
        "v1":        Variant(_PHOTO,         32,  21_797_672,  21_814_696,   3_663_761_408),
        "v1.5":      Variant(_PHOTO,         32,  21_797_672,  21_814_696,   3_663_761_408),
    }, top1=0.73314),
    _entry("resnet50", "resnet", _RESNET, {
        "v1":        Variant(_PHOTO,         32,  25_557_032,  25_610_152,   3_857_973_248),
        "v1.5":      Variant(_PHOTO,         32,  25_557_032,  25_610_152,   4_089_184_256),
    }, top1=0.749),
    _entry("resnet101", "resnet", _RESNET, {
        "v1":        Variant(_PHOTO,         32,  44_549_160,  44_654_504,   7_570_194_432),
        "v1.5":      Variant(_PHOTO,         32,  44_549_160,  44_654_504,   7_801_405_440),
    }, top1=0.764),
    _entry("resnet152", "resnet", _RESNET, {
        "v1":        Variant(_PHOTO,         32,  60_192_808,  60_344_232,  11_282_415_616),
        "v1.5":      Variant(_PHOTO,         32,  60_192_808,  60_344_232,  11_513_626_624),
    }, top1=0.766),
    _entry("xception", "xception", _XCEPTION, {
        "keras":     Variant(_LARGE,         71,  22_855_952,  22_910_480,   8_357_403_496),
        "torch":     Variant(_LARGE,         71,  22_855_952,  22_910_480,   8_357_403_496),
    }, top1=0.79),
    _entry("mobilenet", "mobilenet", _MOBILENET, {
        "keras":     Variant(_PHOTO,         32,   4_231_976,   4_253_864,     568_740_352),
        "torch":     Variant(_PHOTO,         32,   4_231_976,   4_253_864,     568_740_352),
    }, top1=0.704),
    _entry("unet", "unet", _UNET, {
        "same":      Variant((None, None, 1),  1, 31_036_546,  31_048_322,            None),
        "paper":     Variant((572, 572, 1), 188,  31_030_658,  31_030_658, 150_428_424_448),
    }, task="segmentation", classes=2),
    _entry("mini_vgg", "miniatures", _MINI_VGG, {
        "rosebrock": Variant(_SMALL,          8,   2_169_770,   2_171_178,      26_579_968),
    }, classes=10),
    _entry("mini_inception", "miniatures", _MINI_INCEPTION, {
        "half":      Variant(_SMALL,          8,   1_475_418,   1_482_570,     363_140_096),
        "zhang2017": Variant((28, 28, 3),     8,   1_652_826,   1_656_250,     204_219_680),
    }, classes=10),
    _entry("mini_resnet", "miniatures", _RESNET, {
        "he2016":    Variant(_SMALL,          8,     269_722,     271_098,      40_551_040),
    }, classes=10),
)
# fmt: on
CATALOG = {entry.name: entry for entry in _ENTRIES}


# What `list_models` sorts by: a key whose smallest comes first, None comes last.
_KEYS: dict[str, Callable[[Entry], Any]] = {
    "parameters": lambda entry: _usual(entry).total,
    "macs": lambda entry: _usual(entry).macs,
    "year": lambda entry: entry.year,
    "accuracy": lambda entry: None if entry.top1 is None else -entry.top1,
    "name": lambda entry: entry.name,
}
SORTS = tuple(_KEYS)


def list_models(
    pattern: str = "*",
    *,
    task: str | None = None,
    max_parameters: float | None = None,
    sort: str | None = None,
) -> list[str]:
    """Return the builders' names, in the catalogue's order unless told otherwise.

    A builder's default variant at its usual input tells its size and its cost.

    Args:
        pattern: Shell-style pattern, such as ``"resnet*"``; capitals do not matter.
        task: ``"classification"`` or ``"segmentation"``; None for both.
        max_parameters: Most parameters, trainable or not; None for any number.
        sort: ``"parameters"`` or ``"macs"``, the smallest first, ``"year"``, ``"name"``
            or ``"accuracy"``, the best published top-1 on ImageNet first. Builders of
            which it is not known come last.

    Raises:
        ValueError: If an argument is none of these; the message lists them.

    Example:
        >>> list_models("resnet1*")
        ['resnet18', 'resnet101', 'resnet152']
        >>> list_models(max_parameters=25e6, sort="accuracy")[:3]
        ['xception', 'inception_v3', 'resnet34']
    """
    if not isinstance(pattern, str):
        raise ValueError(
            f"pattern must be a string such as 'resnet*', found {pattern!r}."
        )
    for argument, value, accepted in (("task", task, TASKS), ("sort", sort, SORTS)):
        if value is not None and value not in accepted:
            raise ValueError(
                f"{argument}={value!r} is not known; "
                f"accepted: {', '.join(map(repr, accepted))}."
            )
    if max_parameters is None:
        max_parameters = math.inf
    elif isinstance(max_parameters, bool) or not isinstance(max_parameters, Real):
        raise ValueError(
            f"max_parameters must be a number such as 5e6, found {max_parameters!r}."
        )
    found = [
        entry
        for entry in CATALOG.values()
        if fnmatch.fnmatchcase(entry.name, pattern.lower())
        and task in (None, entry.task)
        and _usual(entry).total <= max_parameters
    ]
    if sort is not None:
        keys = {entry.name: _KEYS[sort](entry) for entry in found}
        found.sort(key=lambda e: (keys[e.name] is None, keys[e.name] or 0))
    return [entry.name for entry in found]


def _usual(entry: Entry) -> Variant:
    return entry.variants[entry.default]
