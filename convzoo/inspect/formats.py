"""The files that a diagram can be written to; told without importing Keras."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

PICTURES = (".svg", ".png", ".pdf")
SUFFIXES = (*PICTURES, ".dot")


def drawing_file(
    path: str | os.PathLike[str], suffixes: Sequence[str] = SUFFIXES
) -> Path:
    """Return the path of a file whose suffix names a format.

    Raises:
        TypeError: If it is no path.
        ValueError: If the suffix is another one, or no file can have the name.
    """
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise TypeError(
            "The file to write (to_file) must be a path such as 'model.svg', a str or "
            f"a pathlib.Path, found {path!r}."
        )
    if not _is_writable_name(name):
        raise ValueError(
            f"The file {name!r} has a character that no file's name may have: leave "
            "it out."
        )
    file = Path(name)
    if file.suffix.lower() not in suffixes:
        found = repr(file.suffix) if file.suffix else "no suffix"
        raise ValueError(
            f"The file {name!r} must end in one of {', '.join(suffixes)}, "
            f"found {found}."
        )
    return file


def _is_writable_name(name: str) -> bool:
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def write(file: Path, content: bytes) -> None:
    """Write beside the file and rename, so that no half-written file is ever seen."""
    # Not the file's own name and more, which may be too long; not `tempfile`, whose
    # files nobody else may read.
    part = file.with_name(f".{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        raise OSError(
            f"The file {str(file)!r} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
