"""Draw the example digits of ``examples/images``: our own strokes, from no data set.

Run ``python scripts/draw_digits.py``; the same files come out every time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw

Point = tuple[float, float]

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "images"
OVERSAMPLING = 8

# Each digit on a sheet of 100 x 100, x to the right and y down: for each stroke the
# points that the pen passes.
STROKES = {
    "0": ("56,6 30,16 20,50 30,84 52,94 74,80 80,48 72,16 56,6",),
    "1": ("56,5 53,35 49,65 46,95",),
    "2": ("22,26 36,8 62,8 72,28 58,54 36,76 18,92 48,88 84,92",),
    "3": ("24,14 48,5 70,18 62,38 42,47 68,54 76,76 54,94 22,86",),
    "4": (
        "32,6 27,28 22,54 48,58 80,52",
        "70,10 66,40 62,68 60,95",
    ),
    "5": (
        "76,8 54,9 34,10",
        "34,10 31,26 29,44 54,42 74,60 66,84 44,94 20,86",
    ),
    "6": ("66,6 44,22 28,52 28,80 48,94 70,82 68,60 48,54 30,68",),
    "7": (
        "18,14 44,12 78,10",
        "78,10 66,36 54,64 46,95",
    ),
    "8": ("68,18 48,6 30,20 44,42 68,64 64,88 42,94 26,78 44,52 66,34 68,18",),
    "9": ("70,24 52,8 30,20 32,42 54,48 70,24 68,54 62,80 54,95",),
}


class Drawing(NamedTuple):
    """One example image."""

    file: str
    digit: str
    size: tuple[int, int]  # width, height
    height: float  # of the digit, in pixels
    pen: float  # width of the stroke, in pixels
    slant: float = 0.0  # pixels to the right for each pixel up
    paper: int = 0
    ink: int = 255


# fmt: off
DRAWINGS = (
    Drawing("0.png", "0", (28, 28), 20, 2.6),
    Drawing("1.png", "1", (28, 28), 20, 2.6),
    Drawing("2.png", "2", (28, 28), 20, 2.4),
    Drawing("3.png", "3", (64, 64), 44, 5.5, slant=0.08),
    Drawing("4.png", "4", (64, 64), 46, 5.0),
    Drawing("5.png", "5", (64, 64), 44, 5.5, slant=0.1),
    Drawing("6.png", "6", (200, 150), 104, 12, slant=0.05),
    Drawing("7.png", "7", (200, 150), 108, 11),
    Drawing("8.png", "8", (120, 160), 118, 13, slant=0.12),
    Drawing("9.png", "9", (120, 160), 116, 12),
    Drawing("2_dark_on_light.png", "2", (28, 28), 20, 2.4, paper=255, ink=0),
    Drawing("3_pencil.png", "3", (200, 150), 96, 7, slant=0.1, paper=236, ink=96),
    Drawing("7_dark_on_light.png", "7", (64, 64), 46, 5, paper=255, ink=20),
)
# fmt: on


def main() -> None:
    """Write every drawing into ``examples/images``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for drawing in DRAWINGS:
        draw(drawing).save(FOLDER / drawing.file)
    print(f"Wrote {len(DRAWINGS)} images to {FOLDER}")


def draw(drawing: Drawing) -> Image.Image:
    """Return a drawing as a grey image, its digit in the middle."""
    width, height = (OVERSAMPLING * side for side in drawing.size)
    image = Image.new("L", (width, height), drawing.paper)
    canvas = ImageDraw.Draw(image)
    radius = OVERSAMPLING * drawing.pen / 2
    length = OVERSAMPLING * drawing.height - 2 * radius
    for stroke in STROKES[drawing.digit]:
        for x, y in _curve(_points(stroke)):
            up = (50 - y) / 100 * length
            across = width / 2 + (x - 50) / 100 * length + drawing.slant * up
            down = height / 2 - up
            box = (across - radius, down - radius, across + radius, down + radius)
            canvas.ellipse(box, fill=drawing.ink)
    return image.resize(drawing.size, Image.Resampling.BOX)


def _points(stroke: str) -> list[Point]:
    pairs = [pair.split(",") for pair in stroke.split()]
    return [(float(x), float(y)) for x, y in pairs]


def _curve(points: Sequence[Point], steps: int = 120) -> list[Point]:
    """Return a dense Catmull-Rom curve through points; a closed one joins smoothly."""
    closed = math.dist(points[0], points[-1]) == 0
    before, after = (points[-2], points[1]) if closed else (points[0], points[-1])
    path = [before, *points, after]
    return [
        (_spline(i, 0, path, step / steps), _spline(i, 1, path, step / steps))
        for i in range(1, len(points))
        for step in range(steps + 1)
    ]


def _spline(i: int, axis: int, path: Sequence[Point], t: float) -> float:
    """Return one coordinate between ``path[i]`` and ``path[i + 1]``, t in [0, 1]."""
    a, b, c, d = (path[j][axis] for j in range(i - 1, i + 3))
    cubic = (3 * b - 3 * c + d - a) * t**3 + (2 * a - 5 * b + 4 * c - d) * t**2
    return 0.5 * (2 * b + (c - a) * t + cubic)


if __name__ == "__main__":
    main()
