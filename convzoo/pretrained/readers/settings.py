"""Settings of layers, as Keras' serialised models state them.

A layer's *settings* are what its arrays' shapes cannot show, such as strides, padding
and epsilon: ResNet v1 and v1.5 have equal names and shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Settings = Mapping[str, Any]

# Configuration that shapes show, only training reads, or the input size fixes.
_SILENT = frozenset(
    {
        "batch_shape",
        "center",
        "codes",
        "cropping",
        "depth_multiplier",
        "dtype",
        "filters",
        "gain",
        "kernel_size",
        "momentum",
        "name",
        "noise_shape",
        "optional",
        "quantization_config",
        "ragged",
        "rate",
        "seed",
        "sparse",
        "synchronized",
        "target_shape",
        "trainable",
        "units",
        "use_bias",
    }
)
_SILENT_ENDS = ("_constraint", "_initializer", "_regularizer", "_rank", "_alpha")


def settings(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a layer as Keras serialises it (``config.json``)."""
    return {
        "class": layer["class_name"],
        **{
            key: _plain(value)
            for key, value in layer["config"].items()
            if key not in _SILENT and not key.endswith(_SILENT_ENDS)
        },
    }


def _plain(value: Any) -> Any:
    """Shorten a serialised function to its name."""
    if isinstance(value, Mapping) and isinstance(value.get("config"), str):
        return value["config"]
    return value


def serialised_layers(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the layers of a serialised model, also of models inside the model."""
    for layer in model["config"].get("layers", ()):
        if "layers" in layer["config"]:
            yield from serialised_layers(layer)
        else:
            yield layer
