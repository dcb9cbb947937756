"""A matplotlib figure of the house: shows itself in Jupyter, saves itself to a file."""

from __future__ import annotations

import io
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from convzoo.arguments import one_of
from convzoo.inspect.formats import write

_KINDS = ("svg", "png", "pdf")


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure that shows itself in Jupyter and saves itself to a file."""

    figure: Figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file, whole or not at all.

        Args:
            path: A file name that ends in .svg, .png or .pdf.

        Raises:
            ValueError: If the suffix is another one.
            OSError: If the file cannot be written.
        """
        file = Path(path)
        one_of("suffix", file.suffix.lower(), [f".{kind}" for kind in _KINDS])
        write(file, self.render(file.suffix.lower()[1:]))

    def render(self, kind: str) -> bytes:
        """Return the picture as the content of an svg, png or pdf file.

        Raises:
            ValueError: If ``kind`` is another word.
        """
        one_of("kind", kind, _KINDS)
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        content = io.BytesIO()
        with style():
            self.figure.savefig(content, format=kind, metadata=dates.get(kind))
        return content.getvalue()

    def _repr_svg_(self) -> str:
        return self.render("svg").decode()


def style() -> AbstractContextManager[None]:
    """The user's own settings of matplotlib do not change the house's pictures."""
    return matplotlib.style.context(["default", {"svg.hashsalt": "convzoo"}])
