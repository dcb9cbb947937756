"""Build models without allocating their weights, and models a thousand layers deep."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras.src.backend.common import global_state

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
    waiting = list(global_state.get_global_attribute(_PENDING, []))
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(_PENDING, waiting)


@contextmanager
def deep_graphs() -> Iterator[None]:
    """Let Keras, which walks a graph by recursion, take networks of 1,202 layers."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
