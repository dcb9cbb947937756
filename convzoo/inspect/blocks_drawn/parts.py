"""The parts of networks that a block diagram is read from: called or cut out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from convzoo.anatomy import address
from convzoo.arguments import require
from convzoo.calls import Network, network
from convzoo.deferred import without_weights

_TENSOR = object()  # stands for one where arguments are matched


class Part(NamedTuple):
    """The calls of a network that are drawn; the others are where data come from."""

    net: Network
    calls: tuple[str, ...]


def calling(
    function: Callable[..., Any], *shapes: Sequence[int | None], **arguments: Any
) -> Part:
    """Call a block function on inputs of these shapes, without the batch axis.

    Raises:
        ValueError: If the function adds no layers.
        TypeError: If it cannot be called so or returns anything but tensors.
    """
    name, arguments = called(function), {"name": "block", **arguments}
    takes = _tensors_of(function, len(shapes), arguments)
    with without_weights():
        inputs = [
            keras.Input(shape, name=argument)
            for shape, argument in zip(shapes, takes, strict=True)
        ]
        outputs = function(*inputs, **arguments)
        ends = keras.tree.flatten(outputs)
        if not ends or not all(isinstance(end, keras.KerasTensor) for end in ends):
            raise TypeError(
                f"block {name} must return the tensor that it makes, found {outputs!r}."
            )
        net = network(_model(name, inputs, outputs))
    made = {tensor.name for tensor in inputs}
    calls = tuple(call for call in net.calls if call not in made)
    require(
        bool(calls),
        f"block {name} adds no layer to its input: there is nothing to draw.",
    )
    return Part(net, calls)


def _model(name: str, inputs: list[Any], outputs: Any) -> keras.Model:
    try:
        return keras.Model(inputs, outputs)
    except ValueError as error:
        raise TypeError(
            f"block {name} must return a tensor made from what it is called on: "
            f"{' '.join(str(error).split())}"
        ) from error


def _tensors_of(
    function: Callable[..., Any], count: int, arguments: Mapping[str, Any]
) -> list[str]:
    """Return a name for each tensor that a block function is called on."""
    what = f"block {called(function)}"
    try:
        if inspect.isclass(function) or isinstance(function, keras.Layer):
            raise TypeError("it is no function")
        bound = inspect.signature(function).bind(*[_TENSOR] * count, **arguments)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{argument}=" for argument in arguments)
        raise TypeError(
            f"{what} cannot be called with {count} tensor{'s' * (count != 1)} and "
            f"{given}: {error}; give a function that takes a tensor for each shape "
            "of input_shape first, what else is given by name, and name=."
        ) from error
    names: list[str] = []
    for name, value in bound.arguments.items():
        if value is _TENSOR:
            names.append(name)
        elif isinstance(value, tuple):
            names += [
                f"{name}{i}" for i, part in enumerate(value, 1) if part is _TENSOR
            ]
    return names


def block_of(build: Callable[..., keras.Model], block: str, **options: Any) -> Part:
    """Build a model of the zoo and return one of its blocks."""
    with without_weights():
        net = network(build(**options))
    return Part(net, tuple(call for call in net.calls if owner(call) == block))


def called(function: Callable[..., Any]) -> str:
    """Return the name of a function, also of one whose arguments are partly bound."""
    function = getattr(function, "func", function)
    return str(getattr(function, "__name__", type(function).__name__))


def owner(call: str) -> str:
    """Return the block that a layer's name states, or the name."""
    try:
        return address(call)[1]
    except ValueError:
        return call
