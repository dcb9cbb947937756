"""Places for names in a crowded picture: beside their discs, clear of the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.transforms import Bbox

_GAPS = (4, 9, 16, 28)  # points between a name and its bubble
_ANGLES = (0, 180, 90, 270, 45, 135, 60, 120, 315, 225)  # degrees, the best first
_ALOOF = 9  # points that a name likes to keep from whatever it does not name


class Disc(NamedTuple):
    """A bubble or a dot on the page, in points from the lower left corner."""

    x: float
    y: float
    radius: float

    def distance(self, box: Bbox) -> float:
        """Return how far a box is away, 0 where it reaches into the disc."""
        aside = max(box.x0 - self.x, 0, self.x - box.x1)
        above = max(box.y0 - self.y, 0, self.y - box.y1)
        return max(0.0, math.hypot(aside, above) - self.radius)


def best_place(
    disc: Disc,
    size: tuple[float, float],
    room: Bbox,
    others: Sequence[Disc],
    lines: Sequence[Disc],
    taken: Sequence[Bbox],
) -> Bbox:
    """Return the box beside a disc, of this width and height, that disturbs least."""

    def cost(rank: int, gap: int, box: Bbox, rim: Bbox) -> float:
        far = [other.distance(box) for other in others]
        far += [_apart(box, other) for other in taken]
        crowd = max(0.0, _ALOOF - min(far, default=_ALOOF))
        far.append(disc.distance(box))
        reach = Bbox.union([box, rim])  # no line between a name and what it names
        crossed = any(bead.distance(reach) == 0 for bead in lines)
        outside = not (room.contains(*box.p0) and room.contains(*box.p1))
        return gap + rank / 2 + crowd + 100 * (far.count(0.0) + crossed + outside)

    places = []
    for gap in _GAPS:
        for rank, angle in enumerate(_ANGLES):
            box, rim = _beside(disc, size, gap, math.radians(angle))
            places.append((cost(rank, gap, box, rim), gap, rank, box))
    return min(places, key=lambda place: place[:3])[3]


def _beside(
    disc: Disc, size: tuple[float, float], gap: float, angle: float
) -> tuple[Bbox, Bbox]:
    """Return a box at a gap from a disc, and the nearest point of the disc's rim."""
    width, height = size
    cos, sin = math.cos(angle), math.sin(angle)
    x = disc.x + cos * (disc.radius + gap + width / 2)
    y = disc.y + sin * (disc.radius + gap + height / 2)
    rim = disc.x + cos * disc.radius, disc.y + sin * disc.radius
    box = Bbox.from_bounds(x - width / 2, y - height / 2, width, height)
    return box, Bbox([rim, rim])


def _apart(one: Bbox, other: Bbox) -> float:
    """Return the distance of two boxes, 0 where they overlap."""
    aside = max(one.x0 - other.x1, other.x0 - one.x1, 0)
    above = max(one.y0 - other.y1, other.y0 - one.y1, 0)
    return math.hypot(aside, above)
