"""Python's garbage collector, paused where much is made and all of it is kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector: its searches take a sixth of Keras' import.

    Once TensorFlow is there, one search through all that it keeps takes as long as
    building ResNet-50.
    """
    usual = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if usual:
            gc.enable()
