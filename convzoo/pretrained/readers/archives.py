"""Open zip archives from outside: a false length takes no memory."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convzoo.pretrained.readers.content import UnreadableError

# Read at once, as zipfile does with a directory, of which Python makes ten times as
# much; that of a ResNet152 has a tenth.
_MOST = 1 << 20  # bytes

# What zipfile raises on damaged archives.
_DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive.

    Raises:
        UnreadableError: If it is damaged, also if the block finds it so.
    """
    with _Frugal(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except _DAMAGE as error:
            text = str(error).strip() or type(error).__name__
            found = ascii(text.splitlines()[0][:80].rstrip("."))[1:-1]
            raise UnreadableError(f"a damaged zip archive ({found})") from error


def pieces(archive: zipfile.ZipFile, member: str | zipfile.ZipInfo) -> Iterator[bytes]:
    """Unpack a member piece by piece; at its end, its checksum is compared."""
    with archive.open(member) as source:
        while piece := source.read(_MOST):
            yield piece


class _Frugal(io.FileIO):
    """A file that is not read at once, as a false length would have it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MOST:
            raise UnreadableError(f"a zip archive with a directory of {size} bytes")
        return super().read(size) or b""
