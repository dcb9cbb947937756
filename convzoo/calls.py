"""The calls of a model's layers and the tensors between them."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import keras
from keras.src.models.functional import Functional

Shape = tuple[int | None, ...]
Place = TypeVar("Place", str, int)
Known = TypeVar("Known")

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
UPSAMPLING = (
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
)
_GROWING = (*TRANSPOSED, *UPSAMPLING)
_CUTTING = ("Conv", "Cropping", "Padding", "MatchSize")  # in the names of classes


class Tensor(NamedTuple):
    """One output of one call."""

    call: str
    slot: int  # place among the outputs


class Call(NamedTuple):
    """One use of a layer (or of an operation that stands in a graph as one)."""

    name: str  # the layer's name; its second call is "<layer>#2"
    layer: Any
    sources: tuple[Tensor, ...]  # what it reads, each tensor once
    arguments: tuple[Tensor, ...]  # in their order, one given twice also twice


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
            given = list(_tensors(node))
            name = _call_name(entry["name"], number)
            if name in calls:
                raise TypeError(
                    f"model {model.name!r} has a layer named {name!r}, as the second "
                    "call of another is called here: give it another name."
                )
            arguments = tuple(tensor for tensor, _ in given)
            sources = tuple(dict.fromkeys(arguments))
            calls[name] = Call(name, layers[entry["name"]], sources, arguments)
            shapes.update(given)
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


def graph_of(layer: Any) -> Network | None:
    """Return the calls of a layer that is a model, None if it is none to be read."""
    if not isinstance(layer, keras.Model):
        return None
    try:
        return network(layer)
    except TypeError:
        return None


def inside(
    model: keras.Model, arguments: Sequence[Known]
) -> tuple[Network, dict[str, Known]] | None:
    """Return the graph of a model that is called as a layer, None if it has none.

    With it, by the name of each of its inputs, what is known of the argument given
    there.
    """
    inner = graph_of(model)
    if inner is None:
        return None
    names = [tensor._keras_history.operation.name for tensor in model.inputs]
    return inner, dict(zip(names, arguments, strict=False))


def path_to(name: str, net: Network) -> tuple[str, ...]:
    """Return the models inside a model that lead to a call; none if none does."""
    for call in net.calls.values():
        found = graph_of(call.layer)
        path = () if found is None else path_to(name, found)
        if path or (found and name in found.calls):
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
        read = [of_tensor(found, tensor) for tensor in call.arguments]
        read = read or [given.get(name, 1)]
        if isinstance(call.layer, keras.Model):
            found[name] = _through_model(call.layer, read)
        else:
            found[name] = (scaled(max(read), net, call),)
    return found


def _through_model(model: keras.Model, read: list[int]) -> tuple[int, ...]:
    found = inside(model, read)
    if found is None:  # without a graph to follow
        return (max(read),)
    inner = _strides(*found)
    return tuple(of_tensor(inner, tensor) for tensor in found[0].outputs)


def scaled(stride: int, net: Network, call: Call) -> int:
    """Return the stride of what a call gives, from the stride of what it reads.

    The first side of a map counts. Layers that state no stride are taken at what they
    make of it, in whole numbers; what only cuts or pads a map leaves its stride.
    """
    step = _step(call.layer)
    if step is not None:
        growing = isinstance(call.layer, _GROWING)
        return max(1, stride // step) if growing else stride * step
    cuts = any(word in type(call.layer).__name__ for word in _CUTTING)
    if cuts or not call.sources:
        return stride
    read, given = (
        shape[1:-1] for shape in (net.inputs_of(call.name)[0], net.output_of(call.name))
    )
    if len(read) != len(given) or set(given) <= {1}:
        return stride
    (before, *_), (after, *_) = read, given
    if before is None or after is None:
        return stride
    return max(1, stride * max(1, before // after) // max(1, after // before))


def bare(layer: Any) -> Any:
    """Return the layer inside a wrapper that only treats its weights."""
    wrapped = isinstance(layer, keras.layers.SpectralNormalization)
    return layer.layer if wrapped else layer


def _step(layer: Any) -> int | None:
    """Return the stride that a layer states, or the factor by which it grows a map."""
    layer = bare(layer)
    size = getattr(layer, "strides", None)
    if size is None and isinstance(layer, _GROWING):
        size = layer.size
    elif size is None:  # a pooling as an operation has none of its own
        size = getattr(layer, "pool_size", None)
    first = size[0] if isinstance(size, (tuple, list)) and size else size
    return first if type(first) is int else None


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


def dominators(net: Network) -> dict[str, str]:
    """Return the last call before each through which all of its data come.

    It is "" where there is none: for inputs and for what several inputs meet in.
    """
    above: dict[str, str] = {}
    depth = {"": 0}
    for call in net.calls:
        sources = net.sources_of(call)
        common = sources[0] if sources else ""
        for source in sources[1:]:
            other = source
            while common != other:
                if depth[common] < depth[other]:
                    other = above[other]
                else:
                    common = above[common]
        above[call], depth[call] = common, depth[common] + 1
    return above


def _functional(model: Any) -> tuple[Any, dict[str, Any]]:
    if isinstance(model, keras.Sequential):
        if not model.layers:
            raise TypeError(f"model {model.name!r} has no layers: add one first.")
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
        # Keras warns that a lambda could not be loaded again.
        with warnings.catch_warnings(action="ignore"):
            config: dict[str, Any] = model.get_config()
    except Exception as error:  # whatever a layer of the user's raises
        # Keras explains over many lines, of which the first paragraph tells the layer.
        reason = " ".join(str(error).split("Example:")[0].split())
        raise TypeError(
            f"model {model.name!r} cannot be read, since one of its layers does not "
            f"tell its settings ({type(error).__name__}): {reason}"
        ) from error
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
            # Keras gives a model the values of a dictionary by their keys.
            for _, value in sorted(node.items(), key=lambda item: str(item[0])):
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
        name = _call_name(layer, number - isinstance(layers[layer], Functional))
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
