"""What is known of one file of published weights; plain data, imports no Keras."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from convzoo.arguments import whole_number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from convzoo.pretrained.images import Images

Layout: TypeAlias = Literal["convzoo", "keras", "torchvision", "timm", "caffe"]

_PACKAGE = Path(__file__).parent.parent
_DIGITS = tuple("0123456789")


class Prediction(NamedTuple):
    """One class that a model saw in an image."""

    label: str
    index: int  # type: ignore[assignment]  # hides the tuple's method of that name
    probability: float


class LicenceWarning(UserWarning):
    """The licence of the weights forbids commercial use."""


@dataclass(frozen=True)
class Record:
    """One file of published weights.

    A model reads ``(x / 255 - mean) / std``, RGB or grey, channel by channel.
    """

    model: str  # the builder's name
    name: str  # for ``weights=``; before its "/" the data set
    variant: str
    url: str | None  # None: the file comes with the package
    file: str  # name in the cache or the shipped folder, unique over all records
    hash: str | None  # "sha256:", "md5:", "sha1:" or "sha256-prefix:" and hex digits
    bytes: int  # exact if shipped, else about: as the source says, or 4 a parameter
    licence: str  # SPDX
    source: str  # who trained them, or the page that describes them
    classes: int
    input_shape: tuple[int, int, int]  # height, width, channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int  # pixels of the shorter side
    crop: int  # pixels of the central square; beyond ``resize`` it pads with background
    interpolation: str
    top1: float | None = None  # published accuracy, in [0, 1]
    top5: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    alias: str | None = None  # a name that spells out the source
    also_variants: tuple[str, ...] = ()  # which are the same network
    include_top: bool = True  # False: the file holds the body alone
    layout: Layout = "convzoo"  # of the file: whose names and shapes it has

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that are the weights' network, the published one first."""
        return self.variant, *self.also_variants

    @property
    def commercial(self) -> bool:
        """Whether the licence allows commercial use."""
        return not self.licence.startswith("CC-BY-NC")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's output."""
        return tuple(_imagenet()) if self._of_imagenet else _DIGITS

    @property
    def wnids(self) -> tuple[str, ...]:
        """WordNet ids of ImageNet's classes, in the same order; else empty."""
        return tuple(_imagenet().values()) if self._of_imagenet else ()

    @property
    def _of_imagenet(self) -> bool:
        return self.name.partition("/")[0] == "imagenet"

    def path(self) -> Path:
        """Return the path of the verified weights, downloaded if need be.

        Raises:
            OSError: If the file is missing or cannot be downloaded.
            ValueError: If the file is not the published one.
        """
        if self.url is None:
            sha256 = str(self.hash).removeprefix("sha256:")
            return verified(shipped_folder() / self.file, sha256, self.bytes)
        from convzoo.pretrained import cache  # noqa: PLC0415 (imports the network)

        return cache.fetch(self)

    def preprocess(self, images: Images) -> npt.NDArray[np.float32]:
        """Prepare images as these weights expect them.

        Args:
            images: One image or several: paths, PIL images, arrays or lists; they are
                never changed.

        Returns:
            New array (n, height, width, channels), normalised by ``mean`` and ``std``.

        Raises:
            ValueError: If something is not an image; the message names it.
        """
        from convzoo.pretrained.images import prepare  # noqa: PLC0415 (imports PIL)

        return prepare(images, self)

    def decode(
        self, predictions: npt.ArrayLike, top: int = 5
    ) -> list[list[Prediction]]:
        """Name the most probable classes of each image, best first.

        Args:
            predictions: (n, classes); rows of probabilities that sum to 1.
            top: Classes per image, at least 1; all of them if there are fewer.

        Raises:
            ValueError: If the shape is another, or the rows are no probabilities.
        """
        whole_number("top", top)
        import numpy as np  # noqa: PLC0415 (a tenth of a second that lists need not wait)

        rows = _probabilities(predictions, self.classes)
        order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
        labels = self.labels
        return [
            [Prediction(labels[i], int(i), float(row[i])) for i in best]
            for row, best in zip(rows, order, strict=True)
        ]


def _probabilities(predictions: npt.ArrayLike, classes: int) -> npt.NDArray[np.float64]:
    import numpy as np  # noqa: PLC0415

    rows = np.asarray(predictions, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != classes:
        raise ValueError(
            f"predictions must have shape (images, {classes}), found {rows.shape}."
        )
    # Half precision sums to 1 within a few thousandths; NaN fails both comparisons.
    sums_to_one = np.abs(rows.sum(axis=1) - 1) <= 0.01
    if not (np.all(rows >= 0) and np.all(sums_to_one)):
        raise ValueError(
            "predictions must be probabilities, rows of numbers from 0 to 1 that sum to"
            " 1: apply softmax to logits."
        )
    return rows


@functools.cache
def _imagenet() -> dict[str, str]:
    """Return the WordNet ids of ImageNet's classes by label, in the classes' order."""
    text = Path(__file__).with_name("imagenet.txt").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return {label: wnid for wnid, label in rows}


def shipped_folder() -> Path:
    """Return the folder of the weights that come with the package.

    A wheel holds it inside the package, a source tree beside it.
    """
    inside, beside = _PACKAGE / "weights", _PACKAGE.parent / "weights"
    return inside if inside.is_dir() or not beside.is_dir() else beside


def verified(path: Path, sha256: str, size: int) -> Path:
    """Return ``path`` after checking its size and its SHA-256.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If size or hash differ; the message names both.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"The weights {path} are missing: reinstall convzoo to restore them."
        )
    import hashlib  # noqa: PLC0415 (OpenSSL's start, which lists need not wait for)

    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if (found, len(content)) != (sha256, size):
        raise ValueError(
            f"{path} is not the published file: expected {size} bytes with SHA-256 "
            f"{sha256}, found {len(content)} bytes with {found}; reinstall convzoo to "
            "restore it, or pass the path to load the file as your own weights."
        )
    return path
