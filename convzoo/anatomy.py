"""The anatomy of a model: stages, blocks, strides, taps, read from layer names.

The name is the address. Every layer of the zoo is called ``<block>_<part>`` (or just
``<block>``), and a block is its stage's name with or without a mark of its own::

    layer                    block             stage
    conv4_block2_1_conv      conv4_block2      conv4        numbered blocks
    inception_4b_3x3_reduce  inception_4b      inception_4  lettered blocks
    conv2_tower1             conv2_tower1      conv2        towers
    block5_conv3             block5            block5       a stage of one block
    head_predictions         head              head

So the table of stages survives saving, loading, renaming and surgery, and works for any
network composed of the public blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

_LAYER_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_ADDRESS = re.compile(
    r"(?P<block>(?P<stage>[a-z]+(?:_?\d+)?)(?:[a-z]|_block\d+|_tower\d+)?)(?:_|$)"
)
_GROWING = ("Conv2DTranspose", "UpSampling2D")
# What they give represents nothing that their input does not.
_SILENT = ("InputLayer", "Rescaling", "ZeroPadding2D", "Dropout")


class Block(NamedTuple):
    """One block of a stage."""

    name: str
    stride: int  # input pixels per step of the block's output
    layers: tuple[str, ...]


class Stage(NamedTuple):
    """One stage of a model: the blocks that share a name."""

    name: str
    stride: int  # input pixels per step of the stage's output
    blocks: tuple[Block, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the stage's layers, block by block."""
        return tuple(layer for block in self.blocks for layer in block.layers)


def address(layer: str) -> tuple[str, str]:
    """Return the stage and the block that a layer's name states.

    Raises:
        ValueError: If the name does not follow the rule of this module.
    """
    match = _ADDRESS.match(layer) if _LAYER_NAME.fullmatch(layer) else None
    if match is None:
        raise ValueError(
            f"The layer name {layer!r} states no stage: a layer of the zoo is named "
            "<stage>_<part> or <stage>_block<number>_<part>, in lower case."
        )
    return match["stage"], match["block"]


def stages(model: keras.Model) -> tuple[Stage, ...]:
    """Return the table of a model's stages, in the order of the data.

    Args:
        model: Any model of the zoo, also after saving, loading or renaming, or a
            network whose layers are named by the same rule.

    Returns:
        One row per stage: its name, its stride (input pixels per step of its output; a
        head keeps the stride of the map it reads) and its blocks with their layers.
        Every layer of the model stands in exactly one block.

    Raises:
        ValueError: If a layer's name states no stage; the message quotes it.
        TypeError: If ``model`` has no graph of layers.

    Example:
        >>> [stage.name for stage in stages(resnet50())]
        ['image', 'conv1', 'pool1', 'conv2', 'conv3', 'conv4', 'conv5', 'head']
    """
    strides = layer_strides(model)
    table: dict[str, dict[str, list[str]]] = {}
    # Read from the end, since a stage stands where its last layer does: the crop of
    # U-Net's first skip comes early, the step that it belongs to last.
    for layer in reversed(strides):
        stage, block = address(layer)
        table.setdefault(stage, {}).setdefault(block, []).append(layer)
    return tuple(_stage(stage, table[stage], strides) for stage in reversed(table))


def _stage(name: str, table: dict[str, list[str]], strides: dict[str, int]) -> Stage:
    """Return a stage from its blocks and their layers, both last first."""
    blocks = tuple(
        Block(block, strides[table[block][0]], tuple(reversed(table[block])))
        for block in reversed(table)
    )
    return Stage(name, blocks[-1].stride, blocks)


def layer_strides(model: keras.Model) -> dict[str, int]:
    """Return input pixels per output step for every layer, in the order of the data."""
    strides: dict[str, int] = {}
    sources_of, layers = links(model), _layers(model)
    for name, sources in sources_of.items():
        incoming = max((strides.get(source, 1) for source in sources), default=1)
        layer = layers[name]
        if type(layer).__name__ in _GROWING:
            strides[name] = max(1, incoming // _step(layer))
        else:
            strides[name] = incoming * _step(layer)
    return strides


def _layers(model: keras.Model) -> dict[str, Any]:
    """Return layers and loose operations by name."""
    sequential = isinstance(model, keras.Sequential)
    parts = model.layers if sequential else model.operations
    return {part.name: part for part in parts}


def _step(layer: Any) -> int:
    step = getattr(layer, "strides", None) or getattr(layer, "size", None) or 1
    return int(step[0] if isinstance(step, (tuple, list)) else step)


def links(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Return each layer's sources by name, in the order of the data.

    Raises:
        TypeError: If ``model`` has no graph of layers.
    """
    if isinstance(model, keras.Sequential):
        names = [layer.name for layer in model.layers]
        return {name: tuple(names[max(i - 1, 0) : i]) for i, name in enumerate(names)}
    config = model.get_config() if hasattr(model, "operations") else None
    if config is None or "input_layers" not in config:
        raise TypeError(
            f"model must be a functional keras.Model, found {type(model).__name__}: "
            "only a functional model has a graph of layers to read."
        )
    sources = {
        layer["name"]: tuple(dict.fromkeys(_histories(layer["inbound_nodes"])))
        for layer in config["layers"]
    }
    return {name: sources[name] for name in _depth_first(sources, _ends(model))}


def _ends(model: keras.Model) -> list[str]:
    return [tensor._keras_history.operation.name for tensor in model.outputs]


def _depth_first(sources: dict[str, tuple[str, ...]], ends: list[str]) -> list[str]:
    """Order layers so that sources come first and branches stay together."""
    order: dict[str, None] = {}
    opened: set[str] = set()  # ends the round of a layer called on its own output
    pending = ends[::-1]
    while pending:
        name = pending.pop()
        if name in opened:
            order.setdefault(name)
            continue
        opened.add(name)
        pending.append(name)  # its turn comes again once its sources stand
        pending.extend(s for s in reversed(sources[name]) if s not in opened)
    return list(order)


def _histories(node: Any) -> Iterator[str]:
    """Yield the layer names of the Keras tensors inside a serialised call."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"][0]
        else:
            for value in node.values():
                yield from _histories(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _histories(value)


def taps(model: keras.Model) -> dict[int, str]:
    """Return, for each stride of a network, the layer whose map represents it.

    That is the last layer at this stride through which all data pass: the end of the
    last block, never a branch inside it. Padding and dropout do not count.

    Args:
        model: A model of the zoo; side heads are left out.

    Returns:
        Stride to layer name, strides ascending: ``{2: "conv1_relu", 4: ...}``.
    """
    sources, strides, layers = links(model), layer_strides(model), _layers(model)
    reached = max((_ancestors(end, sources) for end in _ends(model)), key=len)
    order = [name for name in sources if name in reached]
    place = {name: index for index, name in enumerate(order)}
    found: dict[int, str] = {}
    farthest = 0  # how far an edge from an earlier layer reaches
    reach = {name: place[name] for name in order}
    for name in order:
        for source in sources[name]:
            reach[source] = max(reach[source], place[name])
    for name in order:
        layer = layers[name]
        tensor = layer.output[0] if isinstance(layer.output, list) else layer.output
        passes = farthest <= place[name]
        farthest = max(farthest, reach[name])
        if passes and len(tensor.shape) == 4 and type(layer).__name__ not in _SILENT:
            found[strides[name]] = name
    return dict(sorted(found.items()))


def _ancestors(name: str, sources: dict[str, tuple[str, ...]]) -> set[str]:
    reached, pending = {name}, [name]
    while pending:
        for source in sources[pending.pop()]:
            if source not in reached:
                reached.add(source)
                pending.append(source)
    return reached
