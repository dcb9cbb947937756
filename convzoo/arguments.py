"""Arguments checked, and answered in one sentence where they are wrong."""

from __future__ import annotations

import difflib
import functools
import inspect
import operator
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def keyword_only(build: Callable[P, R]) -> Callable[P, R]:
    """Answer positional and unknown arguments of a builder with the right form."""
    parameters = list(inspect.signature(build).parameters)

    @functools.wraps(build)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if args:
            guesses = (
                ("weights", (str, os.PathLike, type(None))),
                ("include_top", bool),
                ("input_shape", (tuple, list)),
            )
            meant = next(
                (g for g, kind in guesses if isinstance(args[0], kind)), "classes"
            )
            raise TypeError(
                f"{build.__name__}() takes keyword arguments only, found {args[0]!r}: "
                f"write {build.__name__}({meant}={args[0]!r})."
            )
        for name in kwargs:
            if name not in parameters:
                raise TypeError(
                    f"{build.__name__}() has no argument {name!r}"
                    f"{near(name, parameters)}; it takes {', '.join(parameters)}."
                )
        return build(*args, **kwargs)

    return call


def level_of_the_caller() -> int:
    """Return the stack level, for a warning, of the first frame outside the package."""
    package, frame, level = str(Path(__file__).parent), sys._getframe(1), 1
    while frame.f_back and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level


def one_of(argument: str, value: Any, accepted: Iterable[Any]) -> None:
    """Raise a ValueError that lists what is accepted, unless the value is among it."""
    accepted = list(accepted)
    if value not in accepted:
        names = [str(name) for name in accepted]
        raise ValueError(
            f"{argument}={value!r} is not known{near(str(value), names)}; "
            f"accepted: {', '.join(map(repr, accepted))}."
        )


def whole_number(argument: str, value: Any) -> None:
    """Raise a ValueError unless the value is a whole number of at least 1."""
    number = as_int(value)
    if number is None or number < 1:
        raise ValueError(
            f"{argument} must be a whole number of at least 1, found {value!r}."
        )


def as_int(value: Any) -> int | None:
    """Return a whole number, such as one of NumPy's, as an int; None for all else."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def require(condition: bool, message: str) -> None:
    """Raise a ValueError with this message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def near(name: str, names: Iterable[str]) -> str:
    """Return a suggestion to append to "... is not known", or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
