"""Records of published weights: what a file holds, what it expects, how well it does.

Records are plain data and import no Keras. ``weights_info("lenet", "mnist")`` gives
one; its methods find the verified file, prepare images and read predictions.
"""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convzoo.arguments import near, one_of, require
from convzoo.catalog import list_models
from convzoo.pretrained.published import PUBLISHED
from convzoo.pretrained.record import Prediction, Record

__all__ = [
    "RECORDS",
    "Prediction",
    "Record",
    "find",
    "is_file",
    "list_weights",
    "listed",
    "models_with_weights",
    "names_weights",
    "weights_info",
]

# fmt: off
_SUFFIXES = frozenset({
    ".pth", ".pt", ".bin", ".tar", ".ckpt", ".index", ".h5", ".hdf5", ".keras",
    ".safetensors", ".caffemodel",
})
# fmt: on

_Shape = tuple[int | None, ...]


def _lenet(variant: str, shipped: Mapping[str, Any]) -> Record:
    file = f"lenet-{variant}-mnist.safetensors"
    facts = shipped[file]
    return Record(
        model="lenet",
        name="mnist",
        variant=variant,
        url=None,
        file=file,
        hash=f"sha256:{facts['sha256']}",
        bytes=facts["bytes"],
        licence="Apache-2.0",
        source=f"trained here: python examples/train_lenet.py --variant {variant}",
        classes=10,
        input_shape=(32, 32, 1),
        # The paper's scale: background -0.1, ink 1.175.
        mean=(0.1 / 1.275,),
        std=(1 / 1.275,),
        resize=28,
        crop=32,
        interpolation="bilinear",
        top1=round(1 - facts["error"], 6),
    )


def _shipped() -> tuple[Record, ...]:
    shipped = json.loads(Path(__file__).with_name("shipped.json").read_text("utf-8"))
    return tuple(_lenet(variant, shipped) for variant in ("modern", "paper"))


# Records that share model and name stand together, the default first.
RECORDS: tuple[Record, ...] = (*_shipped(), *PUBLISHED)


def list_weights(model: str | None = None) -> list[str]:
    """Return the names of published weights, the most accurate first.

    ``"imagenet"`` names weights of a builder's default variant, the others spell out
    publisher and version: ``"imagenet/torchvision-v2"``, ``"imagenet/timm-a1_in1k"``.
    What ``"imagenet"`` names can be spelled out too, for instance as
    ``"imagenet/keras"``. Weights whose licence forbids commercial use are listed, but
    chosen only by their name.

    Args:
        model: Name of a builder, as ``list_models`` gives it; None for all of them.

    Returns:
        Names for ``weights=``, such as ``["mnist"]``; for all builders
        ``["lenet/mnist", ...]``. Empty where no weights are published.

    Raises:
        ValueError: If there is no such builder.
    """
    if model is None:
        return [
            f"{known}/{name}"
            for known in models_with_weights()
            for name in _names(known)
        ]
    one_of("model", model, list_models())
    return _names(model)


def _names(model: str) -> list[str]:
    records = sorted(
        (record for record in RECORDS if record.model == model),
        key=lambda record: -1.0 if record.top1 is None else record.top1,
        reverse=True,
    )
    return list(dict.fromkeys(record.name for record in records))


def models_with_weights() -> list[str]:
    """Return the names of the builders that have published weights."""
    having = {record.model for record in RECORDS}
    return [name for name in list_models() if name in having]


def names_weights(model: str, text: object) -> bool:
    """Tell whether a text is the name of published weights, or meant to be one.

    Args:
        model: Name of a builder.
        text: What was given as its weights.

    Returns:
        True for the names of the builder's weights, and for names that begin with a
        data set, ``"imagenet/..."``, unless they end as files of weights do.

    Example:
        >>> names_weights("lenet", "mnist"), names_weights("lenet", "imagenet/best.pth")
        (True, False)
    """
    if not isinstance(text, str):
        return False
    if any(text in (r.name, r.alias) for r in RECORDS if r.model == model):
        return True
    sets = {_data_set(record.name) for record in RECORDS}
    return _data_set(text) in sets and Path(text).suffix.lower() not in _SUFFIXES


def is_file(model: str, weights: str | os.PathLike[str] | None) -> bool:
    """Tell whether a builder takes these weights for the path of a file."""
    if weights is None or names_weights(model, weights):
        return False
    path = Path(weights).expanduser()
    if not isinstance(weights, str) or path.suffix or path.is_file():
        return True
    # Here, because it imports NumPy, for which no list of names should wait.
    from convzoo.pretrained.readers import tensorflow_checkpoint  # noqa: PLC0415

    return tensorflow_checkpoint.prefix_of(path) is not None


def _data_set(name: str) -> str:
    return name.partition("/")[0]


def weights_info(
    model: str,
    name: str,
    variant: str | None = None,
    *,
    include_top: bool = True,
    input_shape: tuple[int | None, int | None, int] | None = None,
    **options: Any,
) -> Record:
    """Return the record of published weights.

    Args:
        model: Name of a builder.
        name: Name of its weights, as ``list_weights(model)`` gives it.
        variant: Variant of the builder; None for the one of the weights.
        include_top: False prefers a file without the top, where one is published.
        input_shape: (height, width, channels); of weights for several sizes those for
            the nearest are taken, None for the largest.
        options: The builder's options in which its weights differ, such as
            ``alpha=0.5``.

    Raises:
        TypeError: If the weights do not differ in such an option.
        ValueError: If there are no such weights; the message lists those that exist.
            Or if ``input_shape`` has another form.

    Example:
        >>> weights_info("lenet", "mnist").classes
        10
        >>> weights_info("mobilenet", "imagenet", alpha=0.5).file
        'mobilenet_5_0_224_tf.h5'
    """
    record = find(
        model, name, variant, options, include_top=include_top, input_shape=input_shape
    )
    known = {
        option for other in RECORDS if other.model == model for option in other.options
    }
    for option in options:
        if option not in known:
            raise TypeError(
                f"weights_info() has no option {option!r} for {model}"
                f"{near(option, known)}; its weights differ in "
                f"{listed(sorted(known)) or 'none'}."
            )
    return record


def find(
    model: str,
    name: str,
    variant: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    include_top: bool = True,
    input_shape: _Shape | None = None,
) -> Record:
    """Return the record that a name means for this variant and these options.

    Args:
        model: Name of a builder.
        name: Name of its weights.
        variant: Variant of the builder; None for the one of the weights.
        options: Options that the user gave; weights that fix one of them otherwise are
            passed over.
        include_top: False prefers a file that holds the body alone.
        input_shape: Size of the images; the nearest is taken, None for the largest.

    Raises:
        ValueError: If there are no such weights; the message lists those that exist.
            Or if ``input_shape`` has another form.
    """
    _check_shape(input_shape)
    if model not in models_with_weights():
        one_of("model", model, list_models())
        raise ValueError(
            f"No weights are published for {model}, found weights={name!r}; they exist "
            f"for {listed(models_with_weights())}, and weights=None builds without."
        )
    of_model = [record for record in RECORDS if record.model == model]
    named = [record for record in of_model if name in (record.name, record.alias)]
    if not named or name is None:  # which is the alias of many
        one_of("weights", name, _names(model))
    varied = [record for record in named if _is_variant(record, variant)]
    if not varied:
        variants = list(dict.fromkeys(record.variant for record in named))
        others = [
            other
            for other in _names(model)
            if any(r.name == other and _is_variant(r, variant) for r in of_model)
        ]
        raise ValueError(
            f"variant={variant!r} has no weights {model}/{name}"
            f"{near(str(variant), variants)}; they exist for {listed(variants)}"
            f"{f', and it has {listed(others, most=5)}' if others else ''}."
        )
    fitting = [record for record in varied if _agrees(record, options or {})]
    if not fitting:
        existing = dict.fromkeys(str(dict(record.options)) for record in varied)
        raise ValueError(
            f"The weights {model}/{name} exist for the options {', '.join(existing)}, "
            f"found {dict(options or {})}; leave the options out or use weights=None."
        )
    wanted = [r for r in fitting if r.include_top is include_top] or fitting
    record = min(wanted, key=lambda record: _distance(record, input_shape))
    return replace(record, options=dict(record.options))  # the caller's to change


def _check_shape(shape: Any) -> None:
    """Raise a ValueError unless this is the shape of an image, or None."""
    if shape is None:
        return
    sides = shape if isinstance(shape, (tuple, list)) else ()
    require(
        len(sides) == 3
        and all(side is None or isinstance(side, numbers.Integral) for side in sides),
        f"input_shape={shape!r} must be (height, width, channels), in whole pixels or "
        "None.",
    )


def find_for(origin: Any, name: str) -> Record:
    """Return the record that a name means for a model, by its ``origin``.

    Raises:
        ValueError: If there are no such weights; the message lists those that exist.
    """
    return find(
        origin.builder,
        name,
        origin.variant,
        origin.options,
        include_top=origin.include_top,
        input_shape=origin.input_shape,
    )


def _is_variant(record: Record, variant: str | None) -> bool:
    return variant in (None, *record.variants)


def _agrees(record: Record, options: Mapping[str, Any]) -> bool:
    return all(
        options.get(option, value) == value for option, value in record.options.items()
    )


def _distance(record: Record, shape: _Shape | None) -> tuple[int, int]:
    """Return how far a record's size is from the one asked for; ties: the larger."""
    sides = zip(record.input_shape[:2], (shape or ())[:2], strict=False)
    far = sum(abs(own - asked) for own, asked in sides if asked is not None)
    return far, -record.input_shape[0]


def listed(names: Iterable[str], most: int | None = None) -> str:
    """Return names in quotes, beyond ``most`` only their number."""
    quoted = [repr(name) for name in names]
    shown = quoted[:most]
    more = len(quoted) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
