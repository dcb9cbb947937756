"""PyTorch's pickles, read by hand: tensors, dicts and plain values, nothing is called.

``pickle`` runs what a file asks for. Here a name that a file asks for is looked up in
two short tables, and a tensor becomes a note of where its values lie. Nothing recurses,
and every step that takes memory is counted.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from convzoo.pretrained.readers.content import UnreadableError

LIMIT = 8 << 20  # bytes of a pickle; a state_dict's has some 100 a tensor
_STEPS = 500_000  # a training checkpoint of ResNet152 takes a fifth of them
_MOST = 1 << 40  # elements of a tensor
_RANK = 32  # dimensions of an array in NumPy 1


class Storage(NamedTuple):
    """A row of numbers that lies outside the pickle; tensors are views of it."""

    key: str
    dtype: np.dtype[Any]
    length: int


class Tensor(NamedTuple):
    """A view of a storage, within its bounds; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Pickle(NamedTuple):
    """What a pickle holds, and every storage that it names, used or not."""

    value: Any
    storages: Mapping[str, Storage]


class Source(io.BytesIO):
    """The bytes of pickles, one behind the other."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, which is half a name; ``genops`` would unescape it."""
        line = super().readline(size)
        if b"\\" in line:
            raise ValueError("a name with a backslash")
        return line


def load(source: Source) -> Pickle:
    """Read one pickle and stop behind it.

    Returns:
        Its value, of ``Tensor``, dict (ordered ones too), list, tuple and plain values;
        a few harmless objects are there without their content.

    Raises:
        UnreadableError: If it asks for anything else, or is damaged or too long.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(source):
            machine.spend(1)
            step = _OPCODES.get(opcode.name)
            if step is None:
                raise UnreadableError(
                    f"a pickle with the opcode {opcode.name}, of no use to a state_dict"
                )
            step(machine, argument)
        return Pickle(machine.stack.pop(), machine.storages)
    except (LookupError, TypeError, ValueError) as error:
        raise UnreadableError(f"a damaged pickle ({error})") from error


def brief(word: str) -> str:
    """Return a file's own word as an error message can bear it."""
    return ascii(word[:80])[1:-1]


class _Global(NamedTuple):
    """A name that a pickle asked for and may have; a pickle cannot forge one."""

    name: str


class _Inert:
    """An object that no state_dict needs, without its content."""


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks beneath each mark
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.steps = _STEPS

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise UnreadableError(f"a pickle of more than {_STEPS} steps")

    def protocol(self, version: int) -> None:
        if version != 2:
            raise UnreadableError(
                f"a pickle of protocol {version} (save it with protocol 2, as "
                "torch.save does by itself)"
            )

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("it takes more than it has")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def look_up(self, module_and_name: str) -> None:
        name = module_and_name.replace(" ", ".", 1)
        if name not in _FUNCTIONS and name not in _STORAGES:
            raise UnreadableError(
                f"a pickle that asks for {brief(name)} (save the state_dict alone)"
            )
        self.stack.append(_Global(name))

    def call(self) -> None:
        function, arguments = self.pop(2)
        name = function.name if isinstance(function, _Global) else "a value"
        if name not in _FUNCTIONS or type(arguments) is not tuple:
            raise UnreadableError(f"a pickle that calls {name}")
        # A long list could be given again and again, and copied each time.
        self.spend(sum(len(some) for some in arguments if type(some) in {list, tuple}))
        self.stack.append(_FUNCTIONS[name](*arguments))

    def build(self) -> None:
        target, _ = self.pop(2)
        # The state of an ordered dict is PyTorch's _metadata: versions of modules.
        if not isinstance(target, dict | _Inert):
            raise UnreadableError(
                f"a pickle that sets the state of a {type(target).__name__}"
            )
        self.stack.append(target)

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise UnreadableError(
                f"a pickle that appends to a {type(target).__name__}, no list"
            )
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise UnreadableError(
                f"a pickle that sets items of a {type(target).__name__}, no dict"
            )
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def storage(self) -> None:
        (identity,) = self.pop(1)
        if type(identity) is not tuple or len(identity) not in {5, 6}:
            raise UnreadableError("a pickle with a persistent id of no storage")
        kind, form, key, _, length, *view = identity
        dtype = _STORAGES.get(form.name) if isinstance(form, _Global) else None
        if (
            kind != "storage"
            or dtype is None
            or type(key) is not str
            or not _natural(length)
            or any(part is not None for part in view)
        ):
            raise UnreadableError("a pickle with a persistent id of no plain storage")
        storage = Storage(key, dtype, length)
        if self.storages.setdefault(key, storage) != storage:
            raise UnreadableError(f"two storages with the key {brief(key)}")
        self.stack.append(storage)


def _key(key: Any) -> Any:
    # Nested tuples can take forever to hash, large integers can all hash to one value.
    if not isinstance(key, str | int | float | None) or (
        isinstance(key, int) and abs(key) > _MOST
    ):
        raise UnreadableError(f"a dict with a {type(key).__name__} for a key")
    return key


def _natural(number: Any) -> bool:
    return type(number) is int and 0 <= number <= _MOST


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if any(type(pair) not in {list, tuple} or len(pair) != 2 for pair in pairs):
        raise UnreadableError("an ordered dict of other things than pairs")
    return {_key(key): value for key, value in pairs}


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> Tensor:
    if not (
        isinstance(storage, Storage)
        and _natural(offset)
        and type(shape) is type(stride) is tuple
        and len(shape) == len(stride) <= _RANK
        and all(map(_natural, (*shape, *stride)))
        and math.prod(max(side, 1) for side in shape) <= _MOST
    ):
        raise UnreadableError("a tensor of impossible form")
    last = sum((side - 1) * step for side, step in zip(shape, stride, strict=True))
    if 0 not in shape and offset + last >= storage.length:
        raise UnreadableError(
            f"a tensor that ends at element {offset + last} of a storage of "
            f"{storage.length}"
        )
    return Tensor(storage, offset, shape, stride)


def _tensor_v2(
    storage: Any,
    offset: Any,
    shape: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> Tensor:
    del requires_grad, hooks
    if metadata:  # it can say that the values are meant negated
        raise UnreadableError("a tensor with metadata")
    return _tensor(storage, offset, shape, stride)


def _parameter(data: Any, requires_grad: Any, hooks: Any) -> Any:
    del requires_grad, hooks
    return data


def _size(shape: Any = ()) -> Any:
    return shape


def _inert(*arguments: Any) -> _Inert:
    del arguments
    return _Inert()


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "torch.device": _inert,
    "argparse.Namespace": _inert,
    # A scalar of NumPy, such as the best accuracy so far.
    "numpy.core.multiarray.scalar": _inert,
    "numpy._core.multiarray.scalar": _inert,
    "numpy.dtype": _inert,
    "_codecs.encode": _inert,
}

_STORAGES: Mapping[str, np.dtype[Any]] = {
    f"{module}.{kind}Storage": np.dtype(dtype)
    for module in ("torch", "torch.cuda")
    for kind, dtype in {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "BFloat16": ml_dtypes.bfloat16,
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }.items()
}

_LITERALS = (
    *("BINUNICODE", "SHORT_BINSTRING", "BINSTRING"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
)

_OPCODES: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "STOP": lambda _machine, _: None,
    **dict.fromkeys(_LITERALS, _Machine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "MARK": lambda machine, _: machine.mark(),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.pop(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.pop(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.pop(3))),
    "APPEND": lambda machine, _: machine.append(machine.pop(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "GLOBAL": _Machine.look_up,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda machine, _: machine.call()),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.storage(),
}
