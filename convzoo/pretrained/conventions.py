"""What shapes cannot show: whether weights were made for layers of this make."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from convzoo.catalog import CATALOG
from convzoo.deferred import without_weights
from convzoo.pretrained.files import Checkpoint, layers_of
from convzoo.pretrained.maps import libraries
from convzoo.pretrained.maps.places import Identity
from convzoo.pretrained.readers.content import Array
from convzoo.pretrained.readers.settings import Settings, settings

# They change no value at inference, or stand in front of the network.
_TRANSPARENT = frozenset(
    {
        "InputLayer",
        "Rescaling",
        "Dropout",
        "SpatialDropout2D",
        "GaussianDropout",
        "GaussianNoise",
        "AlphaDropout",
        "ActivityRegularization",
    }
)
_FITTING = frozenset({"Cropping2D", "MatchSize"})


def is_head(layer: str) -> bool:
    """Tell whether a layer belongs to a head or a side head."""
    return layer.startswith(("head_", "aux"))


def origin_facts(model: keras.Model) -> dict[str, Any]:
    """Return what a model built by the zoo knows of its making."""
    origin = getattr(model, "origin", None)
    if origin is None:
        return {}
    return {
        "builder": origin.builder,
        "variant": origin.variant,
        "options": dict(origin.options),
        "classes": origin.classes,
        "input_shape": origin.input_shape,
        "scaling": origin.scaling,
    }


def model_settings(model: keras.Model) -> dict[str, Settings]:
    """Return the settings of a model's layers, as a saved model would tell them."""
    return {
        layer.name: json.loads(
            json.dumps(settings(keras.saving.serialize_keras_object(layer)))
        )
        for layer in model.layers
        if not isinstance(layer, (keras.Model, keras.layers.InputLayer))
    }


def check_settings(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Refuse weights that were made for layers of another make."""
    if checkpoint.layers:
        _compare_all(model, checkpoint.layers, layers_of(checkpoint.tensors))


def check_identity(model: keras.Model, identity: Identity) -> None:
    """Refuse weights of another library that were made for another network."""
    origin = getattr(model, "origin", None)
    if origin is None:
        if identity.layout == "keras" and model.inputs[0].name != "image":
            raise ValueError(
                "its input is not called 'image': a model of keras.applications, which "
                "may read BGR, loads its own files by model.load_weights"
            )
        reference = _structure(identity)
        weighted = {layer.name for layer in reference.layers if layer.weights}
        _compare_all(model, model_settings(reference), weighted)
    elif not _same_make(identity._asdict(), origin):
        raise ValueError(
            f"the model is {origin.builder} of variant {origin.variant!r} with the "
            f"options {dict(origin.options)}"
        )


def check_exists_in(library: str, model: keras.Model) -> None:
    """Refuse to write a network's weights for a library that does not have it."""
    origin = getattr(model, "origin", None)
    if origin is None:
        raise ValueError(
            f"layout={library!r} needs a model built by the zoo, and {model.name!r} "
            "does not say who built it: build the network with weights=<its file>."
        )
    variants = libraries.TORCH[library].NETWORKS.get(origin.builder, ())
    if origin.variant not in variants:
        known = [
            f"{builder} ({', '.join(map(repr, variants))})"
            for builder, variants in libraries.TORCH[library].NETWORKS.items()
        ]
        raise ValueError(
            f"layout={library!r} has no {origin.builder} of variant {origin.variant!r};"
            f" it has {', '.join(known)}."
        )


def _structure(identity: Identity) -> keras.Model:
    """Build the network that a file was made for, without its weights."""
    with without_weights():
        build = CATALOG[identity.builder].load()
        return build(variant=identity.variant, **identity.options)


def _same_make(facts: Mapping[str, Any], origin: Any) -> bool:
    options = facts.get("options", {})
    return (
        facts["builder"] == origin.builder
        and facts.get("variant") in (None, origin.variant)
        and all(origin.options.get(key) == value for key, value in options.items())
    )


def _compare_all(
    model: keras.Model, stored: Mapping[str, Settings], weighted: set[str]
) -> None:
    own = model_settings(model)
    weighted |= {layer.name for layer in model.layers if layer.weights}
    for name, layer in own.items():
        exempt = _fits_sizes(name, layer) or (is_head(name) and name not in weighted)
        if name in stored and not exempt:
            _compare(name, layer, stored[name])
    for name in _silent_layers(own, weighted):
        if name not in stored:
            raise ValueError(f"the model has a layer {name!r}, which the file lacks")
    for name in _silent_layers(stored, weighted):
        if name not in own:
            raise ValueError(f"the file has a layer {name!r}, which the model lacks")


def _compare(name: str, own: Settings, stored: Settings) -> None:
    for key in own:
        # Logits and probabilities have the same weights.
        exempt = key not in stored or (key == "activation" and is_head(name))
        if not exempt and own[key] != stored[key]:
            raise ValueError(
                f"the layer {name!r} has {key} {stored[key]!r} in the file and "
                f"{own[key]!r} in the model"
            )


def _silent_layers(
    layers: Mapping[str, Settings], weighted: Iterable[str]
) -> Iterator[str]:
    """Yield the layers of the body that change values but hold no weights."""
    for name, layer in layers.items():
        changes = layer["class"] not in _TRANSPARENT and not _fits_sizes(name, layer)
        if changes and not is_head(name) and name not in weighted:
            yield name


def _fits_sizes(name: str, layer: Settings) -> bool:
    """Tell whether a layer stands, cuts or pads as the size of the input demands."""
    return layer["class"] in _FITTING or name.endswith("_match_pad")


def check_rescaling(
    model: keras.Model, mean: Sequence[float], std: Sequence[float]
) -> None:
    """Refuse a rescaling inside the model that feeds the weights other values."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling) and layer.name.startswith("image"):
            scale = 1 / (255 * np.asarray(std))
            offset = -np.asarray(mean) / np.asarray(std)
            if not (_close(layer.scale, scale) and _close(layer.offset, offset)):
                raise ValueError(
                    f"its layer {layer.name!r} rescales by {layer.scale} and "
                    f"{layer.offset}, and the weights expect {scale.tolist()} and "
                    f"{offset.tolist()}: build the model with weights= and "
                    "include_preprocessing=True"
                )


def _close(found: Any, expected: Array) -> bool:
    values = np.asarray(found, dtype=np.float64).ravel()
    if 1 not in (values.size, expected.size) and values.size != expected.size:
        return True  # other channels than the weights were made for
    return bool(np.allclose(values, expected, rtol=1e-4, atol=1e-6))


def made_for(facts: Mapping[str, Any], model: keras.Model) -> str:
    """Say which builder call a file was made for, unless the model is of that make."""
    origin = getattr(model, "origin", None)
    if "builder" not in facts:
        return ""
    builder, variant = facts["builder"], facts.get("variant")
    options = dict(facts.get("options", {}))
    if origin is not None and _same_make(facts, origin):
        return ""
    arguments = [f"variant={variant!r}"] if variant else []
    arguments += [f"{key}={value!r}" for key, value in options.items()]
    return (
        f"; the file holds {builder}{f' of variant {variant!r}' if variant else ''}: "
        f"build {builder}({', '.join(arguments)})"
    )
