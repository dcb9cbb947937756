"""What stands around a network: its image in front, its weights behind.

A builder's arguments are settled first (`convzoo.models.settle`) into a `Plan`, which
gives the image (`Plan.image`), takes the last tensor and returns the model, weights
loaded (`Plan.classify`, `Plan.model`). Between the two stands the network.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

import keras
from keras import layers

from convzoo.arguments import keyword_only, require
from convzoo.blocks.convolution import Activation, Initializer, Tensor
from convzoo.blocks.head import classifier_head, rescaling
from convzoo.catalog import Entry
from convzoo.deferred import awaiting_weights, deep_graphs
from convzoo.pretrained.files import Checkpoint
from convzoo.pretrained.loading import fill_from, load_weights
from convzoo.pretrained.records import Record

Weights = str | os.PathLike[str] | Record | None
Shape = tuple[int | None, int | None, int]
Pooling = Literal["avg", "max"] | None

# Mean and deviation per channel of x / 255.
Scaling = tuple[tuple[float, ...], tuple[float, ...]]


P = ParamSpec("P")
R = TypeVar("R")


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
    input_shape: Shape | None = None
    scaling: Scaling | None = None  # what the images underwent, where it is known
    fresh_head: bool = False  # whether the weights filled the body alone


def builder(build: Callable[P, R]) -> Callable[P, R]:
    """Take keywords only, and let a model that gets weights draw no random ones."""

    @functools.wraps(build)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("weights") is None:
            return build(*args, **kwargs)
        with awaiting_weights():
            return build(*args, **kwargs)

    return keyword_only(call)


class Plan(NamedTuple):
    """A settled call of a builder."""

    entry: Entry
    variant: str
    options: dict[str, Any]
    source: Record | Checkpoint | None
    fresh_head: bool
    include_top: bool
    input_shape: Shape
    classes: int
    pooling: Pooling
    dropout: float | None
    activation: Activation
    include_preprocessing: bool
    scaling: Scaling | None
    made_for: Shape | None  # the input shape of the weights, if known
    shape_asked: bool  # whether the input shape is the caller's
    tensor: Any  # the input
    name: str

    @property
    def weights(self) -> str | None:
        """The weights' name, or their path."""
        if isinstance(self.source, Record):
            return self.source.name
        return None if self.source is None else str(self.source.path)

    def rate(self, published: float) -> float:
        """Return the dropout rate: the caller's, else the published one."""
        return published if self.dropout is None else self.dropout

    def image(self) -> Tensor:
        """Return the network's input, (batch, height, width, channels)."""
        x = self.tensor
        if not self.include_preprocessing:
            return x
        if self.scaling is None:
            raise ValueError(
                "include_preprocessing=True needs the images' mean and deviation, "
                f"which weights={self.weights!r} does not tell: scale the images "
                "yourself, or save weights from a model built with "
                "include_preprocessing=True."
            )
        channels = self.input_shape[-1]
        require(
            channels != 1 or all(len(set(values)) == 1 for values in self.scaling),
            "include_preprocessing=True scales red, green and blue apart, but "
            f"input_shape={self.input_shape} has one channel: scale the images "
            "yourself, or repeat the channel three times.",
        )
        mean, std = (
            list(itertools.islice(itertools.cycle(values), channels))
            for values in self.scaling
        )
        return rescaling(x, mean, std, name="image")

    def flatten(self, x: Tensor, name: str = "head_flatten") -> Tensor:
        """Lay a map out as one row, which needs a known size."""
        require(
            None not in x.shape[1:],
            f"input_shape={self.input_shape} leaves a side open, but the top of "
            f"{self.entry.name} needs a known height and width: give both, or build "
            "with include_top=False.",
        )
        made_for = self.made_for
        require(
            None in (self.source, made_for)
            or self.fresh_head
            or self.input_shape[:2] == tuple(made_for or ())[:2],
            f"input_shape={self.input_shape} does not fit weights={self.weights!r}, "
            f"whose top reads {made_for}: drop input_shape, or build with "
            "include_top=False.",
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
        with deep_graphs():
            model = keras.Model(inputs, outputs, name=self.name)
        origin = Origin(
            self.entry.name,
            self.variant,
            self.options,
            self.classes,
            self.include_top,
            self.weights,
            self.input_shape,
            self.scaling if self.source or self.include_preprocessing else None,
            self.fresh_head,
        )
        # Keras' own setattr would track the options as state to save.
        object.__setattr__(model, "origin", origin)
        self._load(model)
        return model

    def _load(self, model: keras.Model) -> None:
        if self.source is None:
            return
        if isinstance(self.source, Record):
            report = load_weights(model, self.source, skip_head=self.fresh_head)
        else:
            report = fill_from(model, self.source, skip_head=self.fresh_head)
        require(
            not report.adapted or self.shape_asked,
            f"weights={self.weights!r} are for images with another number of channels "
            f"than the usual {self.input_shape[-1]}: pass input_shape=(height, width, "
            "channels).",
        )

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pooling == "avg":
            return layers.GlobalAveragePooling2D(name="head_pool")(x)
        if self.pooling == "max":
            return layers.GlobalMaxPooling2D(name="head_pool")(x)
        return x
