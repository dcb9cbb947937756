"""Records of published weights: what a file holds, what it expects, how well it does.

Records are plain data and import no Keras. ``weights_info("lenet", "mnist")`` gives
one; its methods find the verified file, prepare images and read predictions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convzoo.arguments import near, one_of
from convzoo.catalog import list_models

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from convzoo.pretrained.images import Images

_PACKAGE = Path(__file__).parent.parent


class Prediction(NamedTuple):
    """One class that a model saw in an image."""

    label: str
    index: int  # type: ignore[assignment]  # hides the tuple's method of that name
    probability: float


@dataclass(frozen=True)
class Record:
    """Published weights of one model.

    A model reads ``(x / 255 - mean) / std``, RGB or grey, channel by channel.
    """

    model: str  # the builder's name
    name: str
    variant: str
    file: str  # name inside the shipped folder
    sha256: str
    bytes: int
    licence: str
    source: str
    classes: int
    labels: tuple[str, ...]
    input_shape: tuple[int, int, int]  # height, width, channels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int  # pixels of the shorter side
    crop: int  # pixels of the central square; beyond ``resize`` it pads with background
    interpolation: str
    top1_error: float | None = None  # measured on the test images, in [0, 1]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def path(self) -> Path:
        """Return the path of the weights, after checking their SHA-256.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the file is not the published one.
        """
        return verified(shipped_folder() / self.file, self.sha256, self.bytes)

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
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ValueError(
                f"top must be a whole number of at least 1, found {top!r}."
            )
        import numpy as np  # noqa: PLC0415 (a tenth of a second that lists need not wait)

        rows = _probabilities(predictions, self.classes)
        order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
        return [
            [Prediction(self.labels[i], int(i), float(row[i])) for i in best]
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
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if (found, len(content)) != (sha256, size):
        raise ValueError(
            f"{path} is not the published file: expected {size} bytes with SHA-256 "
            f"{sha256}, found {len(content)} bytes with {found}; reinstall convzoo to "
            "restore it, or pass the path to load the file as your own weights."
        )
    return path


def _lenet(variant: str, shipped: Mapping[str, Any]) -> Record:
    file = f"lenet-{variant}-mnist.safetensors"
    facts = shipped[file]
    return Record(
        model="lenet",
        name="mnist",
        variant=variant,
        file=file,
        sha256=facts["sha256"],
        bytes=facts["bytes"],
        licence="Apache-2.0",
        source=f"trained here: python examples/train_lenet.py --variant {variant}",
        classes=10,
        labels=tuple("0123456789"),
        input_shape=(32, 32, 1),
        # The paper's scale: background -0.1, ink 1.175.
        mean=(0.1 / 1.275,),
        std=(1 / 1.275,),
        resize=28,
        crop=32,
        interpolation="bilinear",
        top1_error=facts["error"],
    )


def _records() -> tuple[Record, ...]:
    shipped = json.loads(Path(__file__).with_name("shipped.json").read_text("utf-8"))
    return tuple(_lenet(variant, shipped) for variant in ("modern", "paper"))


# Records that share model and name stand together, the default variant first.
RECORDS: tuple[Record, ...] = _records()


def list_weights(model: str | None = None) -> list[str]:
    """Return the names of published weights, the most accurate first.

    Args:
        model: Name of a builder, as ``list_models`` gives it; None for all of them.

    Returns:
        Names for ``weights=``, such as ``["mnist"]``; for all builders
        ``["lenet/mnist"]``. Empty where no weights are published.

    Raises:
        ValueError: If there is no such builder.
    """
    if model is None:
        return [
            f"{known}/{name}" for known in shipped_models() for name in _names(known)
        ]
    one_of("model", model, list_models())
    return _names(model)


def _names(model: str) -> list[str]:
    records = sorted(
        (record for record in RECORDS if record.model == model),
        key=lambda record: 1.0 if record.top1_error is None else record.top1_error,
    )
    return list(dict.fromkeys(record.name for record in records))


def shipped_models() -> list[str]:
    """Return the names of the builders that have published weights."""
    return list(dict.fromkeys(record.model for record in RECORDS))


def weights_info(model: str, name: str, variant: str | None = None) -> Record:
    """Return the record of published weights.

    Args:
        model: Name of a builder.
        name: Name of its weights, as ``list_weights(model)`` gives it.
        variant: Variant of the builder; None for the default one.

    Raises:
        ValueError: If there are no such weights; the message lists those that exist.

    Example:
        >>> weights_info("lenet", "mnist").classes
        10
    """
    return find(model, name, variant)


def find(
    model: str,
    name: str,
    variant: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Record:
    """Return the record that a name means for this variant and these options.

    Args:
        model: Name of a builder.
        name: Name of its weights.
        variant: Variant of the builder; None for the default one.
        options: Options that the user gave; weights that fix one of them otherwise are
            passed over.

    Raises:
        ValueError: If there are no such weights; the message lists those that exist.
    """
    if model not in shipped_models():
        one_of("model", model, list_models())
        raise ValueError(
            f"No weights are published for {model}, found weights={name!r}; they exist "
            f"for {listed(shipped_models())}, and weights=None builds without."
        )
    one_of("weights", name, _names(model))
    named = [
        record for record in RECORDS if (record.model, record.name) == (model, name)
    ]
    varied = [record for record in named if variant in (None, record.variant)]
    if not varied:
        variants = [record.variant for record in named]
        raise ValueError(
            f"variant={variant!r} has no weights {model}/{name}"
            f"{near(str(variant), variants)}; they exist for {listed(variants)}."
        )
    fitting = [record for record in varied if _agrees(record, options or {})]
    if not fitting:
        existing = [str(dict(record.options)) for record in varied]
        raise ValueError(
            f"The weights {model}/{name} exist for the options {', '.join(existing)}, "
            f"found {dict(options or {})}; leave the options out or use weights=None."
        )
    return fitting[0]


def _agrees(record: Record, options: Mapping[str, Any]) -> bool:
    return all(
        options.get(option, value) == value for option, value in record.options.items()
    )


def listed(names: Iterable[str], most: int | None = None) -> str:
    """Return names in quotes, beyond ``most`` only their number."""
    quoted = [repr(name) for name in names]
    shown = quoted[:most]
    more = len(quoted) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
