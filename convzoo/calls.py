"""The calls of a model's layers and the tensors between them."""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import keras
from keras.src.models.functional import Functional

Shape = tuple[int | None, ...]
Place = TypeVar("Place", str, int)
Known = TypeVar("Known")

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
    shapes: dict[Tensor, Shape]  # with the batch axis; of inputs and what is used
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
        TypeError: If ``model`` has no graph of layers, runs another way than its graph,
            or holds a layer that does not describe itself; the message quotes its type.
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
    # An input that nothing reads stands in no call.
    shapes |= _ends(graph.inputs, config["input_layers"], layers)
    outputs = _ends(graph.outputs, config["output_layers"], layers)
    calls = _in_order(calls, [tensor.call for tensor in outputs])
    return Network(calls, shapes | outputs, tuple(outputs), _readers(calls))


def of_tensor(known: Mapping[str, tuple[Known, ...]], tensor: Tensor) -> Known:
    """Return what is known of a tensor, from what is known of the calls' outputs.

    All outputs of a call are alike, and told once, but for those of a model.
    """
    outputs = known[tensor.call]
    return outputs[tensor.slot] if len(outputs) > 1 else outputs[0]


def inside(
    model: keras.Model, sources: Sequence[Known]
) -> tuple[Network, dict[str, Known]] | None:
    """Return the graph of a model that is called as a layer, None if it has none.

    With it, by the name of each of its inputs, what is known of the source given there.
    """
    try:
        inner = network(model)
    except TypeError:
        return None
    names = [tensor._keras_history.operation.name for tensor in model.inputs]
    # A tensor given for two inputs is one source.
    return inner, dict(zip(names, itertools.cycle(sources), strict=False))


def path_to(name: str, net: Network) -> tuple[str, ...]:
    """Return the models inside a model that lead to a call; none if none does."""
    for call in net.calls.values():
        found = inside(call.layer, [call.name])
        path = () if found is None else path_to(name, found[0])
        if path or (found and name in found[0].calls):
            return (call.layer.name, *path)
    return ()


def tensors_of(model: keras.Model) -> dict[str, list[keras.KerasTensor]]:
    """Return the tensors that each call of a functional model gives.

    ``layer.output`` is not asked: it is that of the layer's first call, which may stand
    in another model.

    Args:
        model: A model that `network` reads, whose names of calls these are.
    """
    graph = model
    if isinstance(model, keras.Sequential):
        graph = keras.Model(model.inputs, model.outputs)
    # Keras (3.15) has no public name for the calls of one graph.
    own = {id(node) for row in graph._nodes_by_depth.values() for node in row}
    found: dict[str, list[keras.KerasTensor]] = {}
    for operation in graph.operations:
        nodes = [node for node in operation._inbound_nodes if id(node) in own]
        for number, node in enumerate(nodes, 1):
            name = operation.name if number == 1 else f"{operation.name}#{number}"
            found[name] = list(node.outputs)
    return found


def strides(net: Network) -> dict[str, int]:
    """Return input pixels per output step for every call; a head keeps its map's.

    Models inside the model are looked into; of several outputs the first counts.
    """
    return {name: outputs[0] for name, outputs in _strides(net, {}).items()}


def _strides(net: Network, given: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the strides of the outputs of each call; ``given`` are the inputs'."""
    found: dict[str, tuple[int, ...]] = {}
    for name, call in net.calls.items():
        sources = [of_tensor(found, tensor) for tensor in call.sources]
        sources = sources or [given.get(name, 1)]
        if isinstance(call.layer, keras.Model):
            found[name] = _through_model(call.layer, sources)
        elif isinstance(call.layer, _GROWING):
            found[name] = (max(1, max(sources) // step(call.layer)),)
        else:
            found[name] = (max(sources) * step(call.layer),)
    return found


def _through_model(model: keras.Model, sources: list[int]) -> tuple[int, ...]:
    found = inside(model, sources)
    if found is None:  # without a graph to follow
        return (max(sources),)
    inner = _strides(*found)
    return tuple(of_tensor(inner, tensor) for tensor in found[0].outputs)


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
    elif not isinstance(model, Functional):
        raise TypeError(
            "model must be a functional or Sequential keras.Model, found "
            f"{_called(model)}: {_advice(model)}."
        )
    elif type(model).call is not Functional.call:
        raise TypeError(
            f"model must run as its graph of layers tells, but {type(model).__name__} "
            "has a call method of its own: give keras.Model(model.inputs, "
            "model.outputs) if the graph is what you mean."
        )
    if type(model) is not Functional:  # a class of its own may tell another config
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    return model, _config(model)


def _called(model: Any) -> str:
    return str(getattr(model, "__name__", type(model).__name__))


def _advice(model: Any) -> str:
    if isinstance(model, keras.Model):
        return "only those have a graph of layers to read"
    if isinstance(model, (str, os.PathLike)):
        return "build it, as in resnet50(), or open its file with load_model(path)"
    if inspect.isroutine(model) or inspect.isclass(model):
        return f"call it first, as in {_called(model)}()"
    return "build one, as in resnet50()"


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


def _ends(
    tensors: list[Any], config: Any, layers: dict[str, Any]
) -> dict[Tensor, Shape]:
    """Return the inputs or the outputs of a model, whose places its config tells."""
    flat = keras.tree.flatten(config)
    places = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    found: dict[Tensor, Shape] = {}
    for (layer, number, index), tensor in zip(places, tensors, strict=True):
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
