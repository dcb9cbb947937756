"""What a builder's call settles before the first layer.

Variant, options, classes, size, weights: a builder's arguments go in (`settle`), are
checked, and are filled up from the weights' record and the catalogue; out comes a
`Plan`, which gives the image (`Plan.image`), takes the last tensor and returns the
model, weights loaded (`Plan.classify`, `Plan.model`). Between the two stands the
network.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
from keras import layers

from convzoo.arguments import one_of, require
from convzoo.blocks.convolution import Activation, Initializer, Tensor
from convzoo.blocks.head import classifier_head, rescaling
from convzoo.catalog import CATALOG, Entry
from convzoo.pretrained.loading import load_weights, metadata
from convzoo.pretrained.records import Record, find

Weights = str | os.PathLike[str] | None
Shape = tuple[int | None, int | None, int]
Pooling = Literal["avg", "max"] | None

HALF_RANGE = (0.5, 0.5)  # mean and deviation that map 0..255 to [-1, 1]


class FreshHeadWarning(UserWarning):
    """Pretrained weights fill the body; for other classes the head stays random."""


class Origin(NamedTuple):
    """How a model was built; kept as ``model.origin``, not saved with it."""

    builder: str
    variant: str
    options: dict[str, Any]
    classes: int
    include_top: bool
    weights: str | None


class Plan(NamedTuple):
    """A settled call of a builder."""

    entry: Entry
    variant: str
    options: dict[str, Any]
    source: Record | Path | None
    fresh_head: bool
    include_top: bool
    input_shape: Shape
    classes: int
    pooling: Pooling
    dropout: float | None
    activation: Activation
    include_preprocessing: bool
    tensor: Any  # the input
    name: str

    @property
    def weights(self) -> str | None:
        """The weights' name, or their path."""
        if isinstance(self.source, Record):
            return self.source.name
        return None if self.source is None else str(self.source)

    def rate(self, published: float) -> float:
        """Return the dropout rate: the caller's, else the published one."""
        return published if self.dropout is None else self.dropout

    def image(self) -> Tensor:
        """Return the network's input, (batch, height, width, channels)."""
        x = self.tensor
        if not self.include_preprocessing:
            return x
        mean, std = HALF_RANGE
        if isinstance(self.source, Record):
            return rescaling(x, self.source.mean, self.source.std, name="image")
        channels = self.input_shape[-1]
        return rescaling(x, [mean] * channels, [std] * channels, name="image")

    def flatten(self, x: Tensor, name: str = "head_flatten") -> Tensor:
        """Lay a map out as one row, which needs a known size."""
        require(
            None not in x.shape[1:],
            f"input_shape={self.input_shape} leaves a side open, but the top of "
            f"{self.entry.name} needs a known height and width: give both, or build "
            "with include_top=False.",
        )
        return layers.Flatten(name=name)(x)

    def classify(
        self,
        x: Tensor,
        dropout: float = 0.0,
        weights: Initializer = "glorot_uniform",
        side_heads: dict[str, Tensor] | None = None,
    ) -> keras.Model:
        """Close a network that averages its maps before the classes."""
        if self.include_top:
            x = classifier_head(
                x,
                self.classes,
                dropout=self.rate(dropout),
                activation=self.activation,
                weights=weights,
            )
        return self.model({"main": x, **side_heads} if side_heads else x)

    def model(
        self,
        outputs: Tensor | dict[str, Tensor],
        inputs: list[Tensor] | None = None,
    ) -> keras.Model:
        """Make the model, pool its features if it has no top, load its weights."""
        if not self.include_top:
            outputs = self._pooled(outputs)
        inputs = inputs or keras.utils.get_source_inputs(self.tensor)
        inputs = inputs[0] if len(inputs) == 1 else inputs
        model = keras.Model(inputs, outputs, name=self.name)
        origin = Origin(
            self.entry.name,
            self.variant,
            self.options,
            self.classes,
            self.include_top,
            self.weights,
        )
        # Keras' own setattr would track the options as state to save.
        object.__setattr__(model, "origin", origin)
        if self.source is not None:
            load_weights(model, self.source, skip_head=self.fresh_head)
        return model

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pooling == "avg":
            return layers.GlobalAveragePooling2D(name="head_pool")(x)
        if self.pooling == "max":
            return layers.GlobalMaxPooling2D(name="head_pool")(x)
        return x


def settle(
    builder: str,
    arguments: Mapping[str, Any],
    *,
    minimum: int | None = None,
    **options: Any,
) -> Plan:
    """Check a builder's arguments and fill them up from its weights and the catalogue.

    Args:
        builder: The builder's name in the catalogue.
        arguments: The builder's arguments by name, as called.
        minimum: Smallest side accepted, by default the catalogue's.
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
    source, stated = _weights(builder, arguments["weights"], asked)
    variant = _agree("variant", asked, stated.get("variant"), entry.default)
    settled = {
        name: _agree(
            name, arguments[name], stated.get("options", {}).get(name), default
        )
        for name, default in options.items()
    }
    top = bool(arguments.get("include_top", True))
    classes, fresh = _classes(arguments["classes"], stated.get("classes"), entry, top)
    tensor = arguments.get("input_tensor")
    least = entry.variants[variant].minimum if minimum is None else minimum
    shape = _input_shape(arguments["input_shape"], tensor, entry, variant, least)
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
        _dropout(arguments["dropout"], top),
        arguments["classifier_activation"],
        bool(arguments["include_preprocessing"]),
        tensor,
        arguments["name"],
    )


def _weights(
    builder: str, weights: Weights, variant: str | None
) -> tuple[Record | Path | None, Mapping[str, Any]]:
    """Return where the weights come from and what they state about the model."""
    if weights is None:
        return None, {}
    if isinstance(weights, os.PathLike) or Path(weights).is_file():
        path = Path(weights)
        stated = metadata(path)
        require(
            stated.get("builder") in {None, builder},
            f"weights={str(path)!r} holds {stated.get('builder')}, not {builder}: "
            f"build {stated.get('builder')}(weights=...) instead.",
        )
        return path, stated
    record = find(builder, weights, variant)
    return record, {
        "variant": record.variant,
        "options": record.options,
        "classes": record.classes,
    }


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
    if asked is None:
        return stated or entry.classes, False
    require(
        isinstance(asked, int) and asked >= 1,
        f"classes={asked!r} must be a whole number of at least 1.",
    )
    require(
        top,
        f"classes={asked} needs include_top=True: without its top the network has no "
        "classes. Drop one of the two.",
    )
    fresh = stated is not None and asked != stated
    if fresh:
        warnings.warn(
            f"The weights know {stated} classes, the model has {asked}: the body is "
            "pretrained, the head starts fresh and must be trained.",
            FreshHeadWarning,
            stacklevel=6,
        )
    return asked, fresh


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
) -> Shape:
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
        return entry.variants[variant].input_shape
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
    """Point those with small images to the networks made for them."""
    fits = [
        name
        for name, other in CATALOG.items()
        if name.startswith("mini_")
        and side >= max(form.minimum for form in other.variants.values())
        and entry.task == "classification"
    ]
    return f" For small images there are {', '.join(fits)}." if fits else ""
