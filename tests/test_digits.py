from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from convzoo.pretrained import digits
from convzoo.pretrained.images import ImageError, prepare

DIGIT = SimpleNamespace(
    name="mnist",
    input_shape=(32, 32, 1),
    mean=(0.0,),
    std=(1.0,),
    resize=28,
    crop=32,
    interpolation="bilinear",
)


def stroke(height, width, top, bottom, left, right):
    """A bright bar on black, as (height, width)."""
    image = np.zeros((height, width), np.uint8)
    image[top:bottom, left:right] = 255
    return image


@pytest.mark.parametrize("side", [28, 32])
def test_a_placed_digit_is_only_padded(side):
    digit = np.zeros((side, side), np.uint8)
    digit[5:20, 3:9] = np.random.default_rng(0).integers(0, 256, (15, 6))
    expected = np.pad(digit, (32 - side) // 2)
    np.testing.assert_array_equal(digits.place(digit), expected)
    np.testing.assert_array_equal(digits.place(255 - digit), expected)


@pytest.mark.parametrize("invert", [False, True])
def test_any_other_digit_is_made_as_mnist_was(invert):
    image = stroke(150, 200, 20, 120, 150, 175)  # a bar of 100 x 25, far right
    placed = digits.place(255 - image if invert else image)
    assert placed.shape == (32, 32)
    rows = np.flatnonzero(placed.max(axis=1) > 127)
    columns = np.flatnonzero(placed.max(axis=0) > 127)
    assert (len(rows), len(columns)) == (20, 5)
    mass = placed / placed.sum()
    np.testing.assert_allclose(mass.sum(axis=1) @ np.arange(32), 2 + 14, atol=0.51)
    np.testing.assert_allclose(mass.sum(axis=0) @ np.arange(32), 2 + 14, atol=0.05)
    assert placed.max() == 255
    assert placed[0].max() == 0


def test_mass_and_not_the_box_is_centred():
    image = stroke(100, 100, 10, 90, 40, 45)
    image[10:20, 40:80] = 255  # heavy at its top: an upside-down L
    placed = digits.place(image)
    rows = np.flatnonzero(placed.max(axis=1) > 127)
    assert (rows[0] + rows[-1]) / 2 > 16.5


def test_grey_paper_shadow_and_noise_are_background():
    pencil = 200 - stroke(90, 70, 20, 70, 30, 38).astype(float) * 0.4
    pencil += np.linspace(-7, 7, 70) + np.random.default_rng(0).normal(0, 2, (90, 70))
    placed = digits.place(pencil.clip(0, 255).astype(np.uint8))
    clean = digits.place(stroke(90, 70, 20, 70, 30, 38))
    assert (placed[clean == 0] == 0).mean() > 0.99
    assert placed.max() == 255


def test_shrinking_is_antialiased():
    diagonal = np.asarray(Image.fromarray(stroke(99, 99, 45, 55, 5, 95)).rotate(30))
    placed = digits.place(diagonal)
    assert ((placed > 0) & (placed < 255)).sum() > 20


def test_a_thin_pen_reaches_full_ink():
    assert digits.place(stroke(300, 300, 20, 280, 150, 152)).max() == 255


def test_small_digits_grow():
    placed = digits.place(stroke(12, 12, 2, 10, 5, 7))
    assert len(np.flatnonzero(placed.max(axis=1) > 127)) == 20


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("side", [28, 60])
def test_a_blank_image_is_an_error(level, side, tmp_path):
    blank = np.full((side, side), level, np.uint8)
    blank[3, 3] = min(255, level + 20) if level < 255 else 240
    with pytest.raises(ImageError, match=r"An array is blank.* at least 25 of 255\."):
        prepare(blank, DIGIT)
    Image.fromarray(blank).save(tmp_path / "blank.png")
    with pytest.raises(ImageError, match=r"blank\.png' is blank"):
        prepare(tmp_path / "blank.png", DIGIT)


def test_the_record_decides_whether_images_are_digits():
    batch = prepare([stroke(150, 200, 20, 120, 150, 170)] * 2, DIGIT)
    assert batch.shape == (2, 32, 32, 1)
    np.testing.assert_allclose(batch.max(), 1)
    other = SimpleNamespace(**{**vars(DIGIT), "name": "letters"})
    dark = 255 - stroke(28, 28, 1, 27, 20, 22)
    plain = prepare(dark, other)
    np.testing.assert_array_equal(plain[0, ..., 0] * 255, np.pad(dark, 2))
