"""Settle a builder's call: check it, fill it up from weights and catalogue."""

from __future__ import annotations

import numbers
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from convzoo.arguments import near, one_of, require
from convzoo.blocks.convolution import Activation
from convzoo.catalog import CATALOG, Entry
from convzoo.models.plan import (
    FreshHeadWarning,
    LicenceWarning,
    Plan,
    Scaling,
    Shape,
    Weights,
)
from convzoo.pretrained import files
from convzoo.pretrained.files import Checkpoint
from convzoo.pretrained.loading import headless
from convzoo.pretrained.records import Record, find, list_weights


def settle(
    builder: str,
    arguments: Mapping[str, Any],
    *,
    minimum: int | None = None,
    usual: Shape | None = None,
    drops_in_body: bool = False,
    **options: Any,
) -> Plan:
    """Check a builder's arguments and fill them up from its weights and the catalogue.

    Args:
        builder: The builder's name in the catalogue.
        arguments: The builder's arguments by name, as called.
        minimum: Smallest side accepted, by default the catalogue's.
        usual: Input shape where neither caller nor weights give one, likewise.
        drops_in_body: Whether dropout acts without the top too.
        options: The options of this builder's paper and their defaults; an argument of
            None takes the weights' option, else the default.

    Raises:
        ValueError: If an argument is out of range, or contradicts the weights.
    """
    entry = CATALOG[builder]
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras.config.image_data_format() is 'channels_first', but the zoo is "
            "built channels last: call "
            "keras.config.set_image_data_format('channels_last')."
        )
    asked = arguments["variant"]
    if asked is not None:
        one_of("variant", asked, entry.variants)
    top = arguments.get("include_top", True)
    switches = ["include_preprocessing", *(n for n, d in options.items() if d is False)]
    for name in switches:
        one_of(name, arguments[name], (True, False, *([None] * (name in options))))
    one_of("include_top", top, (True, False))
    given = {name: arguments[name] for name in options if arguments[name] is not None}
    source, stated = _weights(builder, arguments, asked, given)
    variant = _agree("variant", asked, stated.get("variant"), entry.default)
    fixed = dict(stated.get("options", {}))
    if given.get("aux") is False or not top:
        fixed.pop("aux", None)  # side heads of the file may be left out
    settled = {
        name: _agree(name, given.get(name), fixed.get(name), default)
        for name, default in options.items()
    }
    bare = isinstance(source, Checkpoint) and headless(source)
    known = 0 if bare and top else stated.get("classes")
    classes, fresh = _classes(arguments["classes"], known, entry, top)
    tensor = arguments.get("input_tensor")
    least = entry.variants[variant].minimum if minimum is None else minimum
    made_for = tuple(stated["input_shape"]) if stated.get("input_shape") else None
    usual = made_for or usual or entry.variants[variant].input_shape
    shape = (
        _input_shape(arguments["input_shape"], tensor, entry, variant, least) or usual
    )
    if tensor is None:
        tensor = keras.Input(shape, name="image")
    require(
        top or not settled.get("aux"),
        "aux=True adds side heads to the top, but include_top=False: drop one of the "
        "two.",
    )
    pooling = arguments.get("pooling")
    if pooling is not None:
        one_of("pooling", pooling, ("avg", "max"))
        if top:
            raise ValueError(
                f"pooling={pooling!r} is for include_top=False; with a top the network "
                "pools as published. Drop one of the two."
            )
    return Plan(
        entry,
        variant,
        settled,
        source,
        fresh,
        top,
        shape,
        classes,
        pooling,
        _dropout(arguments["dropout"], top or drops_in_body),
        _activation(arguments["classifier_activation"]),
        arguments["include_preprocessing"],
        _scaling(source, stated),
        made_for,
        tensor,
        arguments["name"],
    )


def _weights(
    builder: str,
    arguments: Mapping[str, Any],
    variant: str | None,
    options: dict[str, Any],
) -> tuple[Record | Checkpoint | None, Mapping[str, Any]]:
    """Return where the weights come from and what they state about the model."""
    weights: Weights = arguments["weights"]
    if weights is None:
        return None, {}
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(
            f"weights={weights!r} must be None, the name of published weights or the "
            "path of a file."
        )
    path, known = Path(weights), weights in list_weights(builder)
    is_path = path.suffix or files.exists(path) or not isinstance(weights, str)
    if not known and is_path:
        checkpoint = files.read(path)
        stated = checkpoint.metadata
        require(
            stated.get("builder") in {None, builder},
            f"weights={str(path)!r} holds {stated.get('builder')}, not {builder}: "
            f"build {stated.get('builder')}(weights=...) instead.",
        )
        return checkpoint, stated
    top = bool(arguments.get("include_top", True))
    shape = _asked_shape(arguments)
    record = find(
        builder, str(weights), variant, options, include_top=top, input_shape=shape
    )
    if arguments["classes"] not in (None, record.classes):  # its head is not wanted
        record = find(
            builder, record.name, variant, options, include_top=False, input_shape=shape
        )
    if not record.commercial:
        warnings.warn(
            f"The weights {builder}/{record.name} are licensed {record.licence}, which "
            "forbids commercial use.",
            LicenceWarning,
            stacklevel=_level_of_the_caller(),
        )
    return record, {
        "variant": record.variant,
        "options": record.options,
        "classes": record.classes,
        "input_shape": record.input_shape,
        "scaling": (record.mean, record.std),
    }


def _asked_shape(arguments: Mapping[str, Any]) -> Shape | None:
    """Return the input shape that was asked for, if it may be one."""
    tensor = arguments.get("input_tensor")
    shape = arguments["input_shape"]
    if isinstance(tensor, keras.KerasTensor):
        shape = tensor.shape[1:]
    sound = isinstance(shape, (tuple, list)) and len(shape) == 3
    return tuple(shape) if sound else None


def _scaling(
    source: Record | Checkpoint | None, stated: Mapping[str, Any]
) -> Scaling | None:
    """Return the weights' scaling; to [-1, 1] where there are no weights."""
    if source is None:
        return (0.5,), (0.5,)
    if not stated.get("scaling"):
        return None
    mean, std = stated["scaling"]
    return tuple(mean), tuple(std)


def _agree(argument: str, asked: Any, stated: Any, default: Any) -> Any:
    """Return the value asked for, else the weights', else the default."""
    require(
        asked is None or stated is None or asked == stated,
        f"{argument}={asked!r} contradicts the weights, which are of {argument}="
        f"{stated!r}: drop the argument or choose other weights.",
    )
    return next((value for value in (asked, stated) if value is not None), default)


def _classes(
    asked: int | None, stated: int | None, entry: Entry, top: bool
) -> tuple[int, bool]:
    """Return the number of classes, and whether the head stays as initialised."""
    if asked is None and stated != 0:
        return stated or entry.classes, False
    asked = entry.classes if asked is None else asked
    require(
        isinstance(asked, numbers.Integral) and asked >= 1 and asked is not True,
        f"classes={asked!r} must be a whole number of at least 1.",
    )
    asked = int(asked)
    require(
        top,
        f"classes={asked} needs include_top=True: without its top the network has no "
        "classes. Drop one of the two.",
    )
    fresh = stated is not None and asked != stated
    if fresh:
        warnings.warn(
            f"The weights know {stated or 'no'} classes, the model {asked}: the body "
            "is pretrained, the head starts fresh and must be trained.",
            FreshHeadWarning,
            stacklevel=_level_of_the_caller(),
        )
    return asked, fresh


def _level_of_the_caller() -> int:
    """Return the stack level of the first frame outside the package."""
    package, frame, level = str(Path(__file__).parent.parent), sys._getframe(1), 1
    while frame.f_back and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level


def _activation(activation: Activation) -> Activation:
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError):
        names = [name for name in dir(keras.activations) if name.islower()]
        raise ValueError(
            f"classifier_activation={activation!r} is not known"
            f"{near(str(activation), names)}; accepted: None for logits, the name of a "
            "Keras activation or a function."
        ) from None
    return activation


def _dropout(rate: float | None, top: bool) -> float | None:
    require(
        rate is None or (isinstance(rate, (int, float)) and 0 <= rate < 1),
        f"dropout={rate!r} must be a fraction in [0, 1), 0 for none, or None for the "
        "published rate.",
    )
    require(
        rate is None or top,
        f"dropout={rate!r} acts in the top, but include_top=False: drop one of the "
        "two.",
    )
    return rate


def _input_shape(
    shape: Shape | None, tensor: Any, entry: Entry, variant: str, least: int
) -> Shape | None:
    if tensor is not None:
        require(
            isinstance(tensor, keras.KerasTensor),
            f"input_tensor must be a Keras tensor, found {type(tensor).__name__}: make "
            "one with keras.Input((height, width, channels)).",
        )
        found = tuple(tensor.shape[1:])
        require(
            shape is None or tuple(shape) == found,
            f"input_shape={shape} contradicts input_tensor, whose shape is {found}: "
            "give one of the two.",
        )
        shape = found
    if shape is None:
        return None
    form = (
        f"(height, width, channels) with height and width of at least {least} or None"
    )
    require(
        isinstance(shape, (tuple, list)) and len(shape) == 3,
        f"input_shape={shape!r} must be {form}.",
    )
    height, width, channels = shape
    sizes = [side for side in (height, width) if side is not None]
    require(
        all(isinstance(side, int) for side in (*sizes, channels)) and channels >= 1,
        f"input_shape={tuple(shape)} must be {form}, in whole pixels.",
    )
    if any(side < least for side in sizes):
        first = " Channels come last." if height in {1, 3} else ""
        raise ValueError(
            f"input_shape={tuple(shape)} is too small for {entry.name} (variant "
            f"{variant!r}): it must be {form}.{first}{_smaller(entry, min(sizes))}"
        )
    return (height, width, channels)


def _smaller(entry: Entry, side: int) -> str:
    """Point those with small images to what they can do."""
    if entry.name == "lenet":
        return " Pad MNIST's 28 x 28 digits by two pixels on every side."
    fits = [
        name
        for name, other in CATALOG.items()
        if name.startswith("mini_")
        and side >= max(form.minimum for form in other.variants.values())
        and entry.task == "classification"
    ]
    return f" For small images there are {', '.join(fits)}." if fits else ""
