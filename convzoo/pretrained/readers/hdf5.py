"""Read Keras' HDF5 files, which a child process lists where they are not trusted.

====================  =======================================  ======================
format                tensors                                  header
====================  =======================================  ======================
Keras 3 .weights.h5   ``layer/position`` by the stored names,  ``names`` of all
                      in the order of the file                 layers, ``model``
Keras 1 and 2 .h5     ``layer/position`` in the order of       ``names`` by layer,
                      ``layer_names`` and ``weight_names``     ``model_config``
====================  =======================================  ======================
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from convzoo.pretrained.readers import hdf5_listing
from convzoo.pretrained.readers.content import (
    Array,
    Content,
    Stored,
    UnreadableError,
    mapped,
    stored,
)

_LONGEST = 1 << 28  # bytes of a reply, over what the child allows itself
_MEMORY = 100 << 20  # bytes for the child, beside some times the file
_START = 60.0  # seconds until the child must have started


class Lister:
    """A child process that lists HDF5 files, until ``close``.

    One may serve many files; it starts when it is needed and again after a crash. Not
    for several threads at once.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = False

    def close(self) -> int | None:
        """End the child; return how it ended, ``None`` if there was none."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what the child did not take
                pipe.close()  # type: ignore[union-attr]
        return process.wait()

    def listing(
        self,
        path: Path,
        spill: Path,
        start: int | None = None,
        size: int | None = None,
    ) -> dict[str, Any]:
        """Return what ``hdf5_listing.answer`` gives for a file, from the child.

        Raises:
            UnreadableError: If the child crashes, or exceeds the time limit.
        """
        self._start()
        fresh, self._fresh = self._fresh, False
        request = {
            "path": str(path.absolute()),
            "spill": str(spill.absolute()),
            "start": start,
            "size": size,
            "seconds": self._seconds,
            "memory": hdf5_listing.EXPANSION * path.stat().st_size + _MEMORY,
        }
        began = time.monotonic()
        line = self._exchange(json.dumps(request).encode() + b"\n", self._seconds)
        late = time.monotonic() - began >= self._seconds
        if line.endswith(b"\n"):
            if late:  # the child is being killed
                self.close()
            reply: dict[str, Any] = json.loads(line)
            return reply
        code = self.close() or 0
        if late:
            raise UnreadableError(
                "an HDF5 file that the HDF5 library does not finish reading in "
                f"{self._seconds:g} s"
            )
        if not fresh:  # an earlier file may have broken the library: ask again
            return self.listing(path, spill, start, size)
        end = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise UnreadableError(f"an HDF5 file that crashes the HDF5 library ({end})")

    def _start(self) -> None:
        if self._process and self._process.poll() is None:
            return
        self.close()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HDF5_PLUGIN_PRELOAD": "::",  # a file may name plug-ins to load: none
            "OPENBLAS_NUM_THREADS": "1",  # starts faster
        }
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-P", hdf5_listing.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        if not self._process or self._exchange(b"", _START) != hdf5_listing.READY:
            self.close()
            raise UnreadableError(
                "an HDF5 file, which takes a second Python process to read safely, and "
                f"{sys.executable} does not start one"
            )
        self._fresh = True

    def _exchange(self, request: bytes, seconds: float) -> bytes:
        """Send a line and return the next one, or its beginning if the child ends."""
        process: Any = self._process
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        try:
            with contextlib.suppress(OSError):  # it died: the reply is empty, too
                process.stdin.write(request)
                process.stdin.flush()
            line: bytes = process.stdout.readline(_LONGEST)
            return line
        except BaseException:  # Ctrl-C: the child must not outlive it
            self.close()
            raise
        finally:
            limit.cancel()
            limit.join()


def read(path: Path, trusted: bool = False, lister: Lister | None = None) -> Content:
    """Read the weights that Keras wrote into an HDF5 file.

    Args:
        path: The file.
        trusted: Whether its hash is a record's; it is listed in this process then.
        lister: The child to use for a file that is not trusted, one of its own if
            ``None``.

    Raises:
        UnreadableError: If the file is damaged, hostile or not of Keras.
    """
    return read_part(path, None, None, trusted, lister)


def read_part(
    path: Path,
    start: int | None,
    size: int | None,
    trusted: bool = False,
    lister: Lister | None = None,
    keep: bool = False,
) -> Content:
    """Read an HDF5 file that is a part of ``path``, as ``read`` does.

    Args:
        path: The file.
        start: Where the part begins, ``None`` for all of the file.
        size: How long the part is, ``None`` for all of the file.
        trusted: As in ``read``.
        lister: As in ``read``.
        keep: Whether to hold all arrays in memory, for a file that will be deleted.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="convzoo-"))
        spill = Path(folder) / "arrays"
        if trusted:
            listing = hdf5_listing.answer(str(path), str(spill), start, size)
        else:
            lister = lister or stack.enter_context(contextlib.closing(Lister()))
            listing = lister.listing(path, spill, start, size)
        if "found" in listing:
            raise UnreadableError(listing["found"])
        decoded = np.fromfile(spill, "u1")
    whole = np.fromfile(path, "u1") if keep else None

    def place(shape: list[int], kind: str, offset: int, spilled: bool) -> Stored:
        if spilled:
            return _held(decoded, offset, tuple(shape), _dtype(kind))
        if whole is not None:
            return _held(whole, offset, tuple(shape), _dtype(kind))
        return mapped(path, (start or 0) + offset, tuple(shape), _dtype(kind))

    tensors = {name: place(*entry) for name, *entry in listing["arrays"]}
    return Content(tensors, listing["format"], listing["header"])


def _dtype(text: str) -> np.dtype[Any]:
    kind = np.dtype(ml_dtypes.bfloat16 if text == "bfloat16" else text)
    if kind.hasobject:  # would make pointers of bytes
        raise UnreadableError(f"an HDF5 file with data of type {text!r}")
    return kind


def _held(
    values: Array, offset: int, shape: tuple[int, ...], kind: np.dtype[Any]
) -> Stored:
    size = math.prod(shape) * kind.itemsize
    return stored(values[offset : offset + size].view(kind).reshape(shape))
