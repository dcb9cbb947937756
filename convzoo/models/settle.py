"""Settle a builder's call: check it, fill it up from weights and catalogue."""

from __future__ import annotations

import numbers
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from convzoo.arguments import level_of_the_caller, near, one_of, require
from convzoo.blocks.convolution import Activation
from convzoo.catalog import CATALOG, Entry
from convzoo.models.plan import (
    FreshHeadWarning,
    Plan,
    Pooling,
    Scaling,
    Shape,
    Weights,
)
from convzoo.pretrained import files
from convzoo.pretrained.files import Checkpoint
from convzoo.pretrained.matching import headless
from convzoo.pretrained.records import (
    Record,
    find,
    is_file,
    list_weights,
    names_weights,
)

# Builders whose variants no name or shape of a weight tells apart.
ALIKE = frozenset({"resnet50", "resnet101", "resnet152", "xception", "mobilenet"})


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
    asked, top = arguments["variant"], arguments.get("include_top", True)
    _check_choices(arguments, entry, options)
    given = {name: arguments[name] for name in options if arguments[name] is not None}
    source, stated = _weights(builder, arguments, asked, given)
    variant = _agree("variant", asked, stated.get("variant"), entry.default)
    bare = isinstance(source, Checkpoint) and headless(source)
    known = 0 if bare and top else stated.get("classes")
    classes, fresh = _classes(arguments["classes"], known, entry, top)
    made_for = tuple(stated["input_shape"]) if stated.get("input_shape") else None
    least = entry.variants[variant].minimum if minimum is None else minimum
    tensor = arguments.get("input_tensor")
    asked_shape = _input_shape(arguments["input_shape"], tensor, entry, variant, least)
    shape = asked_shape or made_for or usual or entry.variants[variant].input_shape
    return Plan(
        entry=entry,
        variant=variant,
        options=_options(options, given, stated, top),
        source=source,
        fresh_head=fresh,
        include_top=top,
        input_shape=shape,
        classes=classes,
        pooling=_pooling(arguments.get("pooling"), top),
        dropout=_dropout(arguments["dropout"], top or drops_in_body),
        activation=_activation(arguments["classifier_activation"], classes, top),
        include_preprocessing=arguments["include_preprocessing"],
        scaling=_scaling(source, stated),
        made_for=made_for,
        shape_asked=asked_shape is not None,
        tensor=keras.Input(shape, name="image") if tensor is None else tensor,
        name=arguments["name"],
    )


def _check_choices(
    arguments: Mapping[str, Any], entry: Entry, options: Mapping[str, Any]
) -> None:
    """Refuse channels first, unknown variants and switches that are no switch."""
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras.config.image_data_format() is 'channels_first', but the zoo is "
            "built channels last: call "
            "keras.config.set_image_data_format('channels_last')."
        )
    if arguments["variant"] is not None:
        one_of("variant", arguments["variant"], entry.variants)
    switches = ["include_preprocessing", *(n for n, d in options.items() if d is False)]
    for name in switches:
        one_of(name, arguments[name], (True, False, *([None] * (name in options))))
    one_of("include_top", arguments.get("include_top", True), (True, False))


def _options(
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
    stated: Mapping[str, Any],
    top: bool,
) -> dict[str, Any]:
    """Return each option: as given, else as the weights have it, else the default."""
    fixed = dict(stated.get("options", {}))
    if given.get("aux") is False or not top:
        fixed.pop("aux", None)  # side heads of the file may be left out
    settled = {
        name: _agree(name, given.get(name), fixed.get(name), default)
        for name, default in defaults.items()
    }
    require(
        top or not settled.get("aux"),
        "aux=True adds side heads to the top, but include_top=False: drop one of the "
        "two.",
    )
    return settled


def _pooling(pooling: Any, top: bool) -> Pooling:
    if pooling is not None:
        one_of("pooling", pooling, ("avg", "max"))
    require(
        pooling is None or not top,
        f"pooling={pooling!r} is for include_top=False; with a top the network pools "
        "as published. Drop one of the two.",
    )
    chosen: Pooling = pooling
    return chosen


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
    if isinstance(weights, Record):
        record = weights
        require(
            record.model == builder,
            f"weights= is a record of {record.model}, not of {builder}: build "
            f"{record.model}(weights=...) instead.",
        )
    elif isinstance(weights, str) and names_weights(builder, weights):
        record = _published(builder, weights, arguments, variant, options)
    elif isinstance(weights, (str, os.PathLike)):
        return _file(builder, weights, variant)
    else:
        raise TypeError(
            f"weights={weights!r:.60} must be None, the name of published weights, a "
            "record or the path of a file."
        )
    return record, {
        "variant": variant if variant in record.variants else record.variant,
        "options": record.options,
        "classes": record.classes,
        "input_shape": record.input_shape,
        "scaling": (record.mean, record.std),
    }


def _published(
    builder: str,
    weights: str,
    arguments: Mapping[str, Any],
    variant: str | None,
    options: dict[str, Any],
) -> Record:
    top, shape = bool(arguments.get("include_top", True)), _asked_shape(arguments)
    record = find(
        builder, weights, variant, options, include_top=top, input_shape=shape
    )
    if arguments["classes"] in (None, record.classes):
        return record
    # Its head is not wanted.
    return find(
        builder, record.name, variant, options, include_top=False, input_shape=shape
    )


def _file(
    builder: str, weights: str | os.PathLike[str], variant: str | None
) -> tuple[Checkpoint, Mapping[str, Any]]:
    require(
        "://" not in str(weights),
        f"weights={str(weights)!r} is an address: download the file first.",
    )
    path = Path(weights).expanduser()
    if not is_file(builder, weights):
        require(not path.is_dir(), f"weights={weights!r} is a folder, not a file.")
        one_of("weights", weights, list_weights(builder))
    checkpoint = files.read(path)
    stated = checkpoint.metadata
    require(
        stated.get("builder") in {None, builder},
        f"weights={str(path)!r} holds {stated.get('builder')}, not {builder}: "
        f"build {stated.get('builder')}(weights=...) instead.",
    )
    telling = bool(checkpoint.identity or checkpoint.layers or stated.get("variant"))
    require(
        variant is not None or telling or builder not in ALIKE,
        f"weights={str(path)!r} does not tell its variant, and those of {builder} have "
        f"the same names and shapes: pass variant=, one of "
        f"{', '.join(map(repr, CATALOG[builder].variants))}.",
    )
    return checkpoint, stated


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
            stacklevel=level_of_the_caller(),
        )
    return asked, fresh


def _activation(activation: Activation, classes: int, top: bool) -> Activation:
    try:
        keras.activations.get(activation)
    except (TypeError, ValueError):
        names = [name for name in dir(keras.activations) if name.islower()]
        raise ValueError(
            f"classifier_activation={activation!r} is not known"
            f"{near(str(activation), names)}; accepted: None for logits, the name of a "
            "Keras activation or a function."
        ) from None
    require(
        not top or classes > 1 or activation != "softmax",
        "classes=1 with softmax answers 1 to everything: pass "
        "classifier_activation='sigmoid', or None for the logit.",
    )
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
