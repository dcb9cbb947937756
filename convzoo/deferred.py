"""Build models without allocating their weights, and models a thousand layers deep."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state

from convzoo.collector import collector_paused

# Keras (3.15) keeps variables that wait for their values in this global list and fills
# them at the next opportunity; there is no public name for it.
_PENDING = "uninitialized_variables"


@contextmanager
def without_weights() -> Iterator[None]:
    """Build models inside this context for their structure alone.

    Shapes, names and counts are right, but no variable has a value, so VGG19 takes
    milliseconds instead of seconds and gigabytes. Such a model must not be called on
    data.
    """
    with _collected():
        yield


@contextmanager
def awaiting_weights() -> Iterator[None]:
    """Build a model inside this context and `fill` it there.

    No variable draws random values that a checkpoint would replace. Those still without
    a value in the end, such as a fresh head's, start as their initialisers say.
    """
    if _in_a_scope():  # of someone who fills or drops the variables
        yield
        return
    with _collected() as created, collector_paused():
        yield
    for variable in created:
        if awaits(variable):
            variable._deferred_initialize()


def awaits(variable: Any) -> bool:
    """Tell whether a variable waits for its first value."""
    return variable._value is None


def fill(variable: Any, value: np.ndarray[Any, Any]) -> None:
    """Give a variable its value, also one that waits for its first."""
    if keras.backend.backend() == "jax":
        value = np.array(value)  # the others copy: JAX would keep using a file's pages
    value = np.ascontiguousarray(value)  # PyTorch would keep the file's order of axes
    if awaits(variable):
        # Keras' own `assign` would be lost: it goes to the scope, not the variable.
        variable._initialize(value)
        variable._initializer = None
    else:
        variable.assign(value)


@contextmanager
def _collected() -> Iterator[list[Any]]:
    """Let variables be created without values; give those that were."""
    waiting = list(global_state.get_global_attribute(_PENDING, []))
    created: list[Any] = []
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield created
        created += global_state.get_global_attribute(_PENDING, [])[len(waiting) :]
    finally:
        global_state.set_global_attribute(_PENDING, waiting)


def _in_a_scope() -> bool:
    return global_state.get_global_attribute("stateless_scope") is not None


@contextmanager
def deep_graphs() -> Iterator[None]:
    """Let Keras, which walks a graph by recursion, take networks of 1,202 layers."""
    with _builders.lock:
        if not _builders.count:
            _builders.usual = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_builders.usual, 20_000))
        _builders.count += 1
    try:
        yield
    finally:
        with _builders.lock:
            _builders.count -= 1
            if not _builders.count:
                sys.setrecursionlimit(_builders.usual)


class _Builders:
    """Who needs deep recursion: its limit is the process's, not the thread's."""

    def __init__(self) -> None:
        self.lock, self.count, self.usual = threading.Lock(), 0, 0


_builders = _Builders()
