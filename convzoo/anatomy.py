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
from typing import Any, NamedTuple

import keras

from convzoo import calls
from convzoo.calls import Network, Shape

_LAYER_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_ADDRESS = re.compile(
    r"(?P<block>(?P<stage>[a-z]+(?:_?\d+)?)(?:[a-z]|_block\d+|_tower\d+)?)(?:_|$)"
)
# What they give represents nothing that their input does not.
_SILENT = ("InputLayer", "Rescaling", "ZeroPadding2D", "Dropout")
# Pools, layers and operations, that may take a map as one place.
_POOLING = re.compile(r"Global\w+Pool\w+|Mean|Max")


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
    """Return input pixels per output step for every layer, in the order of the data.

    A layer that is called several times has the stride and the place of its last call.

    Raises:
        TypeError: If ``model`` has no graph of layers.
    """
    net = _network(model)
    found = calls.strides(net)
    return {layer: found[names[-1]] for layer, names in _by_layer(net).items()}


def links(model: keras.Model) -> dict[str, tuple[str, ...]]:
    """Return each layer's sources by name, in the order of the data.

    Raises:
        TypeError: If ``model`` has no graph of layers.
    """
    net = _network(model)
    layer_of = {name: call.layer.name for name, call in net.calls.items()}
    return {
        layer: tuple(
            dict.fromkeys(
                layer_of[source] for name in names for source in net.sources_of(name)
            )
        )
        for layer, names in _by_layer(net).items()
    }


def _network(model: keras.Model) -> Network:
    """Read a model's calls; the input of a Sequential model is none of its layers."""
    net = calls.network(model)
    if not isinstance(model, keras.Sequential):
        return net
    hidden = set(net.calls) - {layer.name for layer in model.layers}
    kept = {
        name: call._replace(
            sources=tuple(t for t in call.sources if t.call not in hidden),
            arguments=tuple(t for t in call.arguments if t.call not in hidden),
        )
        for name, call in net.calls.items()
        if name not in hidden
    }
    return net._replace(calls=kept)


def _by_layer(net: Network) -> dict[str, list[str]]:
    """Return the calls of each layer; a layer stands where its last call does."""
    found: dict[str, list[str]] = {}
    for name, call in net.calls.items():
        found[call.layer.name] = [*found.pop(call.layer.name, []), name]
    return found


def taps(model: keras.Model) -> dict[int, str]:
    """Return, for each stride of a network, the layer whose map represents it.

    That is the last layer at this stride through which all data pass: the end of the
    last block, never a branch inside it. Padding and dropout do not count, nor does a
    head: what comes after the whole map is pooled.

    Args:
        model: A model of the zoo; side heads are left out.

    Returns:
        Stride to layer name, strides ascending: ``{2: "conv1_relu", 4: ...}``.
    """
    net = _network(model)
    strides = calls.strides(net)
    sources = {name: net.sources_of(name) for name in net.calls}
    bodies = [{end.call} | calls.reachable(sources, end.call) for end in net.outputs]
    reached = max(bodies, key=len)
    order = [name for name in net.calls if name in reached]
    place = {name: index for index, name in enumerate(order)}
    reach = dict(place)  # how far an edge from each call reaches
    for name in order:
        for source in sources[name]:
            reach[source] = max(reach[source], place[name])
    found: dict[int, str] = {}
    farthest = 0  # of the edges so far
    for name in order:
        layer = net.calls[name].layer
        passes = farthest <= place[name]
        farthest = max(farthest, reach[name])
        if passes and _pools_all(layer, net.output_of(name)):
            break
        if passes and len(net.output_of(name)) == 4 and _counts(layer):
            found[strides[name]] = layer.name
    return dict(sorted(found.items()))


def _pools_all(layer: Any, shape: Shape) -> bool:
    """Say whether a layer takes a map as one place, with either order of the axes."""
    one_place = {*shape[1:-1]} <= {1} or {*shape[2:]} <= {1}
    return one_place and _POOLING.fullmatch(type(layer).__name__) is not None


def _counts(layer: Any) -> bool:
    return type(layer).__name__ not in _SILENT
