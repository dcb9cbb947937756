"""The calls of a model's layers and the tensors between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import keras

Shape = tuple[int | None, ...]
Place = TypeVar("Place", str, int)

_GROWING = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
)


class Tensor(NamedTuple):
    """One output of one call."""

    call: str
    slot: int  # place among the outputs


class Call(NamedTuple):
    """One use of a layer (or of an operation that stands in a graph as one)."""

    name: str  # the layer's name; its second call is "<layer>#2"
    layer: Any
    sources: tuple[Tensor, ...]


class Network(NamedTuple):
    """All calls of a model, with the shapes between them.

    The calls stand in the order of the data: sources first, branches together and in
    the order of the arguments that they become.
    """

    calls: dict[str, Call]
    shapes: dict[Tensor, Shape]  # with the batch axis; for every tensor that is used
    outputs: tuple[Tensor, ...]
    readers: dict[str, tuple[str, ...]]  # which calls read each call

    def inputs_of(self, name: str) -> list[Shape]:
        """Shapes that a call reads."""
        return [self.shapes[tensor] for tensor in self.calls[name].sources]

    def sources_of(self, name: str) -> tuple[str, ...]:
        """Names of the calls that a call reads, each once."""
        return tuple(dict.fromkeys(tensor.call for tensor in self.calls[name].sources))

    def output_of(self, name: str) -> Shape:
        """Shape of the first tensor of a call that is used."""
        return next(
            shape for tensor, shape in self.shapes.items() if tensor.call == name
        )


def network(model: keras.Model) -> Network:
    """Read the calls of a model.

    Args:
        model: A functional or a built Sequential model; it may hold shared layers,
            operations, and other models, each of which counts as one layer.

    Raises:
        TypeError: If ``model`` has no graph of layers, or holds one that does not
            describe itself; the message quotes its type.
    """
    graph, config = _functional(model)
    layers = {operation.name: operation for operation in graph.operations}
    calls: dict[str, Call] = {}
    shapes: dict[Tensor, Shape] = {}
    for entry in config["layers"]:
        for number, node in enumerate(entry["inbound_nodes"] or [[]]):
            found = dict(_tensors(node))
            name = _call_name(entry["name"], number)
            calls[name] = Call(name, layers[entry["name"]], tuple(found))
            shapes.update(found)
    outputs = _outputs(graph, config["output_layers"], layers)
    calls = _in_order(calls, [tensor.call for tensor in outputs])
    return Network(calls, shapes | outputs, tuple(outputs), _readers(calls))


def strides(net: Network) -> dict[str, int]:
    """Return input pixels per output step for every call; a head keeps its map's."""
    found: dict[str, int] = {}
    for name, call in net.calls.items():
        incoming = max((found[tensor.call] for tensor in call.sources), default=1)
        if isinstance(call.layer, _GROWING):
            found[name] = max(1, incoming // step(call.layer))
        else:
            found[name] = incoming * step(call.layer)
    return found


def step(layer: Any) -> int:
    """Return the stride of a layer's window, or the factor by which it grows a map."""
    size = getattr(layer, "strides", None)
    if size is None and isinstance(layer, _GROWING):
        size = layer.size
    first = size[0] if isinstance(size, (tuple, list)) else size
    return first if isinstance(first, int) else 1


def reachable(after: Mapping[Place, Iterable[Place]], start: Place) -> set[Place]:
    """Return all that can be reached from ``start`` in at least one step."""
    found: set[Place] = set()
    pending = list(after.get(start, ()))
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(after.get(name, ()))
    return found


def _functional(model: Any) -> tuple[Any, dict[str, Any]]:
    if isinstance(model, keras.Sequential):
        if not model.built or not model.inputs:
            raise TypeError(
                f"model {model.name!r} is a Sequential model without an input shape: "
                "start it with keras.Input(shape) or call build(input_shape) first."
            )
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    config = _config(model) if hasattr(model, "operations") else {}
    if "input_layers" not in config:
        raise TypeError(
            f"model must be a functional keras.Model, found {type(model).__name__}: "
            "only a functional model has a graph of layers to read."
        )
    return model, config


def _config(model: Any) -> dict[str, Any]:
    try:
        config: dict[str, Any] = model.get_config()
    # Keras' own NotImplementedError: a layer's constructor has arguments to tell.
    except NotImplementedError as error:
        # Keras explains over many lines, of which the first paragraph tells the layer.
        reason = " ".join(str(error).split("Example:")[0].split())
        raise TypeError(f"model {model.name!r} cannot be read: {reason}") from error
    return config


def _call_name(layer: str, number: int) -> str:
    return layer if number == 0 else f"{layer}#{number + 1}"


def _tensors(node: Any) -> Iterator[tuple[Tensor, Shape]]:
    """Yield the Keras tensors inside a serialised call."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            layer, number, index = node["config"]["keras_history"]
            shape = tuple(node["config"]["shape"])
            yield Tensor(_call_name(layer, number), index), shape
        else:
            for value in node.values():
                yield from _tensors(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _tensors(value)


def _outputs(model: Any, config: Any, layers: dict[str, Any]) -> dict[Tensor, Shape]:
    flat = keras.tree.flatten(config)
    places = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    found: dict[Tensor, Shape] = {}
    for (layer, number, index), tensor in zip(places, model.outputs, strict=True):
        # A functional model inside a model counts its own making as its first call,
        # here but not where a call of the graph refers to it.
        own = hasattr(layers[layer], "operations") and not isinstance(
            layers[layer], keras.Sequential
        )
        name = _call_name(layer, number - own)
        found[Tensor(name, index)] = tuple(tensor.shape)
    return found


def _readers(calls: dict[str, Call]) -> dict[str, tuple[str, ...]]:
    readers: dict[str, dict[str, None]] = {name: {} for name in calls}
    for name, call in calls.items():
        for tensor in call.sources:
            readers[tensor.call][name] = None
    return {name: tuple(found) for name, found in readers.items()}


def _in_order(calls: dict[str, Call], ends: list[str]) -> dict[str, Call]:
    """Order calls depth-first from the outputs; what no output needs comes last."""
    done: dict[str, Call] = {}
    pending = [*ends, *calls][::-1]
    while pending:
        call = calls[pending[-1]]
        missing = [source.call for source in call.sources if source.call not in done]
        if missing:
            pending.extend(reversed(missing))
        else:
            done.setdefault(call.name, call)
            pending.pop()
    return done
