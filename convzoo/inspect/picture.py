"""A matplotlib figure of the house: shows itself in Jupyter, saves itself to a file."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from threading import RLock
from typing import Any, Literal

import matplotlib.style
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from convzoo.arguments import one_of
from convzoo.inspect.formats import PICTURES, drawing_file, write

_COLUMN = 720.0  # points: the width of a notebook
_MOST_SIDE = 32767  # pixels, as Graphviz has it
MOST_AREA = 89_478_485  # pixels that Pillow opens without a warning: 341 MiB
_LOCK = RLock()
_RENDERER: Any = RendererAgg(1, 1, 72)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure that shows itself in Jupyter and saves itself to a file."""

    figure: Figure
    # Outlines, or text to be searched.
    svg_text: Literal["path", "none"] = field(default="path", repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture to a file, whole or not at all.

        Args:
            path: A file name that ends in .svg, .png or .pdf.

        Raises:
            ValueError: If the suffix is another one.
            OSError: If the file cannot be written.
        """
        file = drawing_file(path, PICTURES)
        write(file, self.render(file.suffix.lower()[1:]))

    def render(self, kind: str) -> bytes:
        """Return the picture as the content of an svg, png or pdf file.

        A png has at most 32,767 pixels on a side and 89 million in all; the resolution
        is lowered to that.

        Raises:
            ValueError: If ``kind`` is another word.
        """
        one_of("kind", kind, [suffix[1:] for suffix in PICTURES])
        dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        width, height = self.figure.get_size_inches()
        most = min(
            _MOST_SIDE / max(width, height), (MOST_AREA / (width * height)) ** 0.5
        )
        content = io.BytesIO()
        with style(), matplotlib.rc_context({"svg.fonttype": self.svg_text}):
            self.figure.savefig(
                content,
                format=kind,
                dpi=min(self.figure.dpi, most),
                metadata=dates.get(kind),
            )
        return content.getvalue()

    def _repr_png_(self) -> bytes:
        """Return the picture for a page that does not trust an SVG."""
        return self.render("png")

    def _repr_svg_(self) -> str:
        return shown(self.render("svg").decode())


def shown(svg: str) -> str:
    """Return an SVG that a notebook shows at most as wide as its column."""

    def fitted(size: re.Match[str]) -> str:
        scale = min(1.0, _COLUMN / float(size[1]))
        width, height = (scale * float(side) for side in size.groups())
        return f'width="{width:g}pt" height="{height:g}pt"'

    return re.sub(r'width="([\d.]+)pt" height="([\d.]+)pt"', fitted, svg, count=1)


@contextmanager
def style() -> Iterator[None]:
    """The user's own settings of matplotlib do not change the house's pictures."""
    same_ids = {"svg.hashsalt": "convzoo"}
    # matplotlib has one set of settings for all threads.
    with _LOCK, matplotlib.style.context(["default", same_ids]):
        yield


@lru_cache(4096)
def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Return how wide a text is, in points."""
    with style():
        font = FontProperties(size=size, weight=weight)
        return float(_RENDERER.get_text_width_height_descent(text, font, False)[0])
