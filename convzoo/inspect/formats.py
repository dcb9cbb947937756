"""The files that a diagram can be written to; told without importing Keras."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

PICTURES = (".svg", ".png", ".pdf")
SUFFIXES = (*PICTURES, ".dot")


def drawing_file(
    path: str | os.PathLike[str], suffixes: Sequence[str] = SUFFIXES
) -> Path:
    """Return the path of a file whose suffix names a format.

    Raises:
        ValueError: If the suffix is another one.
    """
    file = Path(path)
    if file.suffix.lower() not in suffixes:
        found = repr(file.suffix) if file.suffix else "no suffix"
        raise ValueError(
            f"The file {os.fspath(path)!r} must end in one of {', '.join(suffixes)}, "
            f"found {found}."
        )
    return file


def write(file: Path, content: bytes) -> None:
    """Write beside the file and rename, so that no half-written file is ever seen."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            f"The file {str(file)!r} cannot be written: {error.strerror or error}."
        ) from error
