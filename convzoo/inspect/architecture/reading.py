"""A model as the figures need it: its operations and blocks, with their maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from convzoo import calls
from convzoo.anatomy import address
from convzoo.calls import Call, Network, Shape, Tensor
from convzoo.inspect import operations
from convzoo.inspect.graph import Node, network_graph
from convzoo.inspect.partition import named_by_keras

# They change no map that a figure shows: what they give is drawn as what they read.
_SILENT = (*operations.FOLLOWERS, "reshape")
_TOLD = 3  # ways to end convolutions that are told
_SCALING = ("Rescaling", "Normalization")


class Unit(NamedTuple):
    """One operation, with the padding, norm and activation around it."""

    layer: Any
    kind: str  # a key of `operations.KINDS`
    text: str
    shape: Shape  # its channels last, whatever the layer's data format
    after: tuple[str, ...]  # norm and activation that finish it
    stride: int  # input pixels per step of its map
    sources: tuple[int, ...]  # units, in the order of the arguments
    call: str  # its name in the network


class Block(NamedTuple):
    """One block of the model, or equal ones in a row."""

    name: str  # "" if nobody gave one
    repeats: int
    units: tuple[int, ...]  # of all of them
    calls: tuple[str, ...]  # likewise


class Reading(NamedTuple):
    """A model's operations and blocks in the order of the data.

    All shapes have their channels last.
    """

    name: str
    builder: str | None  # of the zoo
    net: Network
    units: tuple[Unit, ...]
    blocks: tuple[Block, ...]
    outputs: tuple[int, ...]

    def stages(self) -> set[str]:
        """Names of the stages, of those blocks whose names state one."""
        return {stage_of(block.name) for block in self.blocks}

    @property
    def is_chain(self) -> bool:
        """Whether each unit reads the one before and nothing else."""
        first, *others = (unit.sources for unit in self.units)
        return not first and others == [(index,) for index in range(len(others))]

    @property
    def is_plain(self) -> bool:
        """Whether all are vectors and maps of two sides, and its outputs are ends."""
        read = {source for unit in self.units for source in unit.sources}
        images = all(len(unit.shape) in (2, 4) for unit in self.units)
        return images and read.isdisjoint(self.outputs)


def read(model: keras.Model) -> Reading:
    """Read a model.

    Raises:
        TypeError: If ``model`` has no graph of layers.
    """
    net = _channels_last(calls.network(model))
    units, homes = _units(net)
    graph = network_graph(net, model.name, "block")
    own = {name: home[0] for name, home in homes.items()}
    starts = {name for name, call in net.calls.items() if not _silent(net, call)}
    blocks = []
    for node in graph.nodes:
        inside = tuple(sorted({own[name] for name in node.calls if name in starts}))
        if inside:
            title = "" if _unnamed(net, node) else node.name
            blocks.append(Block(title, node.repeats, inside, node.calls))
    outputs = dict.fromkeys(_at(homes, tensor) for tensor in net.outputs)
    origin = getattr(model, "origin", None)
    return Reading(
        model.name,
        origin and origin.builder,
        net,
        tuple(units),
        tuple(blocks),
        tuple(outputs),
    )


def stage_of(block: str) -> str:
    """Return the stage that a block's name states, or the name."""
    try:
        return address(block.partition("..")[0].strip())[0]
    except ValueError:
        return block


def size_text(shape: Shape) -> str:
    """Return a map's sides: ``28 x 28``, ``?`` for one that is not fixed."""
    return " x ".join("?" if side is None else str(side) for side in shape[1:-1])


def channels(shape: Shape) -> int:
    """Return a map's channels or a vector's length; 1 if open."""
    return shape[-1] if len(shape) > 1 and shape[-1] else 1


def sides(shape: Shape, stride: int) -> tuple[int, ...]:
    """Return a map's sides, one that is open as it is at 224 pixels of input."""
    return tuple(side or max(1, 224 // stride) for side in shape[1:-1])


def endings(reading: Reading) -> list[str]:
    """Say what ends the convolutions; nothing if nothing does, or too much to tell."""
    ends = dict.fromkeys(unit.after for unit in reading.units if "conv" in unit.kind)
    told = [", ".join(end) or "nothing" for end in ends]
    if len(told) > _TOLD or not any(ends):
        return []
    if len(told) == 1:
        return [f"behind each convolution: {told[0]}"]
    return [f"behind convolutions: {' or '.join(told)}"]


def is_map(shape: Shape) -> bool:
    """Tell a map from a vector."""
    return len(shape) > 2


def _unnamed(net: Network, node: Node) -> bool:
    first = node.name.partition("..")[0].strip()
    return first in net.calls and named_by_keras(net.calls[first])


def _channels_last(net: Network) -> Network:
    """Move the channels of a network's maps behind their sides."""
    first = _channels_first(net)
    shapes = {
        tensor: (*shape[:1], *shape[2:], shape[1])
        if is_map(shape) and first[tensor.call]
        else shape
        for tensor, shape in net.shapes.items()
    }
    return net._replace(shapes=shapes)


def _channels_first(net: Network) -> dict[str, bool]:
    """Tell of each call whether the maps that it gives have their channels first.

    Most layers say so. The others go by what they read; inputs, and layers that order
    the axes anew, by what reads them.
    """
    found = {name: _format(call.layer) for name, call in net.calls.items()}
    keep = {
        name
        for name, call in net.calls.items()
        if found[name] or operations.kind(call.layer) != "reshape"
    }
    for name in net.calls:
        if name in keep and not found[name]:
            found[name] = next((found[s] for s in net.sources_of(name)), None)
    for name in reversed(net.calls):
        if not found[name]:
            readers = (found[r] for r in net.readers[name] if r in keep)
            found[name] = next(readers, None)
    return {name: said == "channels_first" for name, said in found.items()}


def _format(layer: Any) -> str | None:
    # A Flatten has the word too, but most users leave it as it is.
    flat = type(layer).__name__ == "Flatten"
    return None if flat else getattr(layer, "data_format", None)


def _silent(net: Network, call: Call) -> bool:
    """Tell what passes its maps on; what mixes several is an operation."""
    name = type(call.layer).__name__
    if len(call.sources) > 1 and Tensor(call.name, 1) not in net.shapes:
        return name == "MatchSize"  # of the second map it takes but the size
    return operations.kind(call.layer) in _SILENT or name in _SCALING


def _units(net: Network) -> tuple[list[Unit], dict[str, tuple[int, ...]]]:
    """Return the units, and for each call those that its outputs come from."""
    strides = calls.strides(net)
    units: list[Unit] = []
    homes: dict[str, tuple[int, ...]] = {}
    read_once = {name for name, readers in net.readers.items() if len(readers) == 1}
    read_once -= {tensor.call for tensor in net.outputs}
    alone: set[str] = set()  # calls that all readers of their unit stand behind
    for name, call in net.calls.items():
        sources = tuple(_at(homes, tensor) for tensor in call.sources)
        if sources and _silent(net, call):
            homes[name] = sources
            if alone & read_once >= set(net.sources_of(name)):
                alone.add(name)
                for home in dict.fromkeys(sources):
                    units[home] = _finished(units[home], call.layer)
            continue
        homes[name] = (len(units),)
        alone.add(name)
        units.append(
            Unit(
                call.layer,
                operations.kind(call.layer),
                _text(call),
                net.output_of(name),
                operations.fused(call.layer),
                strides[name],
                tuple(dict.fromkeys(sources)),
                name,
            )
        )
    return units, homes


def _text(call: Call) -> str:
    model = isinstance(call.layer, keras.Model)
    return call.layer.name if model else operations.operation(call.layer)


def _finished(unit: Unit, layer: Any) -> Unit:
    if operations.kind(layer) not in ("normalization", "activation"):
        return unit
    after = dict.fromkeys((*unit.after, operations.phrase(layer)))
    return unit._replace(after=tuple(after))


def _at(homes: dict[str, tuple[int, ...]], tensor: Tensor) -> int:
    found = homes[tensor.call]
    return found[min(tensor.slot, len(found) - 1)]
