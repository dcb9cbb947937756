"""Turn a picture of a handwritten digit into the field that MNIST's networks know.

MNIST was made so (LeCun et al., 1998, section III.A): each digit is scaled into 20 x 20
pixels with its proportions kept, and placed in a field of 28 x 28 with its centre of
mass in the middle; ink is bright, paper is 0. LeNet-5 sees that field inside 32 x 32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BOX, FIELD, INPUT = (
    20,
    28,
    32,
)  # sides in pixels: the digit, MNIST's field, LeNet's input
MIDDLE = 14  # index of the pixel that carries the centre of mass in MNIST
CONTRAST = 25  # grey levels between paper and ink, below which an image is blank
PAPER = 0.2  # share of the full ink up to which a pixel is still paper: shadows, noise


def place(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return one digit as LeNet sees it, bright on black.

    An image of 28 x 28 or 32 x 32 pixels counts as placed already: only a dark digit on
    light paper is inverted. Any other image is cut to its ink, scaled and centred.

    Args:
        grey: (height, width), 0 to 255; bright on dark or dark on bright.

    Returns:
        (32, 32), paper 0, ink up to 255.

    Raises:
        ValueError: If no digit stands out from the background.
    """
    paper = _paper(grey)
    darkest, brightest = int(grey.min()), int(grey.max())
    if brightest - darkest < CONTRAST:
        raise ValueError(
            f"is blank: its grey levels go from {darkest} to {brightest}, and a digit "
            f"must stand out from its background by at least {CONTRAST} of 255"
        )
    bright = grey if paper <= (darkest + brightest) / 2 else 255 - grey
    if grey.shape in ((FIELD, FIELD), (INPUT, INPUT)):
        field = bright
    else:
        field = _centre(_shrink(_cut(_ink(bright))))
    return np.pad(field, (INPUT - len(field)) // 2)


def _paper(grey: NDArray[np.uint8]) -> float:
    """Return the grey level of the background: the median along the border."""
    edges = (grey[0], grey[-1], grey[:, 0], grey[:, -1])
    return float(np.median(np.concatenate(edges)))


def _ink(bright: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of ink in each pixel, 0 to 1, with the background taken off."""
    paper = _paper(bright)
    ink = (bright.astype(np.float32) - paper) / (int(bright.max()) - paper)
    return np.where(ink > PAPER, ink, np.float32(0))


def _cut(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _shrink(ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale a digit into the box, its longer side filling it."""
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    small = Image.fromarray(ink).resize((width, height), Image.Resampling.BILINEAR)
    values = np.asarray(small)
    # A thin pen fades when scaled down; MNIST's ink reaches full white.
    full: NDArray[np.uint8] = np.rint(255 * values / values.max()).astype(np.uint8)
    return full


def _centre(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place a digit in MNIST's field by its centre of mass, in whole pixels."""
    field = np.zeros((FIELD, FIELD), np.uint8)
    weight = digit / digit.sum()
    corner = []
    for axis, side in enumerate(digit.shape):
        mass = float(weight.sum(axis=1 - axis) @ np.arange(side))
        corner.append(min(max(round(MIDDLE - mass), 0), FIELD - side))
    top, left = corner
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field
