"""Read images of any kind and give each network the pixels its weights expect."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from convzoo.pretrained import digits

OneImage: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any]
Images: TypeAlias = OneImage | Sequence[Any]

MAX_PIXELS = 100_000_000
LONGEST_STRIP = 64  # times its shorter side; beyond it only what is seen is resized
# fmt: off
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm",
})
# fmt: on
ACCEPTED = "PNG, JPEG, WebP, BMP, GIF, TIFF, PPM"
# MPO is what Pillow calls a JPEG in which a camera also stored a preview.
_FORMATS = frozenset({"PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM"})
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")


class ImageError(ValueError):
    """An image that cannot be used; the message names it and says what is accepted."""


class Recipe(Protocol):
    """What ``prepare`` reads from a record of published weights."""

    @property
    def name(self) -> str:
        """Name of the weights, such as ``"mnist"``."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels (1 or 3) of the network's input."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel, for pixels in [0, 1]."""

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel, for pixels in [0, 1]."""

    @property
    def resize(self) -> int:
        """Pixels of the shorter side before the cut."""

    @property
    def crop(self) -> int:
        """Pixels of the central square; beyond ``resize`` it is padded with black."""

    @property
    def interpolation(self) -> str:
        """``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``."""


def prepare(
    images: Images,
    record: Recipe,
    *,
    size: tuple[int, int] | None = None,
    normalise: bool = True,
) -> NDArray[np.float32]:
    """Return images as the batch that a record's weights expect.

    The shorter side is resized with antialiasing to ``record.resize`` and the centre
    cut out, on 8-bit pixels, as the published pipelines do. Digits are placed as MNIST
    was made, see ``convzoo.pretrained.digits``. No argument is changed.

    Args:
        images: A path, a PIL image, an array, or a list or tuple of those. Arrays are
            (height, width), (height, width, channels) or (n, height, width, channels)
            with 1, 3 (RGB) or 4 (RGBA) channels. They hold 0 to 255, floats too, which
            are rounded.
        record: The record of the weights.
        size: (height, width) of a model built for another size than the record's; the
            resize grows or shrinks with it.
        normalise: False leaves 0 to 255, for a model that rescales by itself.

    Returns:
        (n, height, width, channels).

    Raises:
        ImageError: If an image cannot be read or has no usable pixels.
        TypeError: If ``images`` is none of the above.
    """
    batch = np.stack([_pixels(image, record, size) for image in split(images)])
    pixels = batch.astype(np.float32)
    if not normalise:
        return pixels
    mean = np.asarray(record.mean, np.float32)
    std = np.asarray(record.std, np.float32)
    normalised: NDArray[np.float32] = (pixels / np.float32(255) - mean) / std
    return normalised


def split(images: Images) -> list[OneImage]:
    """Return a list of single images; a file is not opened yet.

    Raises:
        ImageError: If there is none, or an array has not the shape or values of images.
        TypeError: If something is neither a path, an image, an array nor a list.
    """
    if isinstance(images, (list, tuple)):
        if not images:
            raise ImageError("images is empty: give at least one image.")
        return [image for item in images for image in split(item)]
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return [images]
    if hasattr(images, "__array__"):
        return _single_arrays(np.asarray(images))
    raise TypeError(
        "images must be a path, a PIL image, an array or a list of those, "
        f"found {type(images).__name__}."
    )


def load_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image file: upright, 8 bits a channel, without transparency.

    Transparent pixels become white, 16-bit channels keep their upper 8 bits, and the
    orientation that a camera wrote is applied.

    Args:
        path: A PNG, JPEG, WebP, BMP, GIF, TIFF or PPM file with one frame and at most
            100 million pixels.

    Returns:
        An image in mode "RGB" or "L".

    Raises:
        ImageError: If the file is missing, empty, damaged, animated, huge or no image.
    """
    with _open(path) as image:
        return _eight_bit(ImageOps.exif_transpose(image))


def check_image(path: str | os.PathLike[str]) -> None:
    """Check a file up to its header, without decoding its pixels.

    Raises:
        ImageError: As ``load_image``, but damage after the header goes unseen.
    """
    with _open(path):
        pass


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """Open an image file; whatever goes wrong with it is told in one sentence."""
    try:
        _check_file(Path(path))
        with _quiet_pillow(), Image.open(path) as image:
            _check_header(image)
            yield image
        return
    except ImageError as error:
        reason = str(error)
    except UnidentifiedImageError:
        reason = _why_unidentified(Path(path))
    except Image.DecompressionBombError:
        reason = f"has more than the accepted {MAX_PIXELS // 10**6} million pixels"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except Exception as error:  # a damaged file makes Pillow's readers raise anything
        reason = f"is damaged ({error})"
    raise ImageError(
        f"{os.fspath(path)!r} {reason}; accepted is a still image ({ACCEPTED})."
    )


def _check_file(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise ImageError("does not exist") from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError("is not a regular file")
    if status.st_size == 0:
        raise ImageError("is empty (0 bytes)")


def _check_header(image: Image.Image) -> None:
    """Refuse an image by its header, before its pixels are decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"has {width} x {height} pixels, more than the accepted "
            f"{MAX_PIXELS // 10**6} million"
        )
    if image.format not in _FORMATS:
        raise ImageError(f"is in the format {image.format}")
    if image.format != "MPO" and getattr(image, "is_animated", False):
        frames = getattr(image, "n_frames", "several")
        raise ImageError(f"is animated or has several pages ({frames} frames)")


def _why_unidentified(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    known = start.startswith(_SIGNATURES)
    return "is cut short or damaged" if known else "is not an image"


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings about size and damage: both are checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _eight_bit(image: Image.Image) -> Image.Image:
    """Convert any mode of Pillow to "L" or "RGB", transparent pixels to white."""
    if image.mode == "F":
        raise ImageError("has floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        return _from_sixteen_bit(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _from_sixteen_bit(values: NDArray[Any]) -> Image.Image:
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"has 32-bit pixels from {values.min()} to {values.max()}, and at most 16 "
            "bits are accepted"
        )
    return Image.fromarray((values // 256).astype(np.uint8))


def _single_arrays(array: NDArray[Any]) -> list[OneImage]:
    shape = array.shape
    channels = shape[-1] if array.ndim in (3, 4) else 1
    if array.ndim not in (2, 3, 4) or channels not in (1, 3, 4):
        raise ImageError(
            f"An array of shape {shape} holds no images: accepted are (height, width), "
            "(height, width, channels) and (n, height, width, channels) with 1, 3 or 4 "
            "channels, last; for several grey images write images[..., np.newaxis]."
        )
    if 0 in shape:
        raise ImageError(f"An array of shape {shape} has no pixels.")
    pixels = _rounded(array)
    return list(pixels) if array.ndim == 4 else [pixels]


def _rounded(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the pixels of an array as 8-bit integers."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf":
        raise ImageError(
            f"An array of dtype {array.dtype} holds no pixels: accepted are integers "
            "and floats from 0 to 255."
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):  # also true for NaN
        raise ImageError(
            f"An array with values from {low:g} to {high:g} holds no pixels: accepted "
            "are 0 to 255, before any normalisation."
        )
    # Bicubic resizing goes beyond the 1 of an image from 0 to 1.
    if array.dtype.kind == "f" and 0 < high <= 2:
        raise ImageError(
            f"A float array with values from {low:g} to {high:g} is black on the scale "
            "of 0 to 255 that is accepted: multiply it by 255."
        )
    pixels: NDArray[np.uint8] = np.rint(array).astype(np.uint8)
    return pixels


def _pixels(
    source: OneImage, recipe: Recipe, size: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Return one image as (height, width, channels) at the network's input size."""
    height, width, channels = recipe.input_shape
    name, decoded = _opened(source)
    image = decoded.convert("L" if channels == 1 else "RGB")
    if is_digits(recipe):
        try:
            return digits.place(np.asarray(image))[..., np.newaxis]
        except ValueError as error:
            raise ImageError(f"{name} {error}.") from None
    fitted = np.asarray(_fit(image, recipe, size or (height, width)))
    return fitted[..., np.newaxis] if channels == 1 else fitted


def is_digits(recipe: Recipe) -> bool:
    """Tell whether weights were trained on MNIST's digits in LeNet's field."""
    field = (digits.INPUT, digits.INPUT, 1)
    return recipe.name.startswith("mnist") and recipe.input_shape == field


def _opened(source: OneImage) -> tuple[str, Image.Image]:
    """Return an image in mode "RGB" or "L", and what to call it in an error."""
    if isinstance(source, Image.Image):
        return "A PIL image", _decoded(source)
    if isinstance(source, np.ndarray):
        pixels = source[..., 0] if source.shape[2:] == (1,) else source
        return "An array", _eight_bit(Image.fromarray(pixels))
    return repr(os.fspath(source)), load_image(source)


def _decoded(image: Image.Image) -> Image.Image:
    try:
        if 0 in image.size:
            raise ImageError(f"has no pixels ({image.width} x {image.height})")
        with _quiet_pillow():
            return _eight_bit(ImageOps.exif_transpose(image))
    except ImageError as error:
        raise ImageError(f"A PIL image {error}.") from None
    except OSError as error:
        raise ImageError(f"A PIL image cannot be read ({error}).") from None


def _fit(image: Image.Image, recipe: Recipe, size: tuple[int, int]) -> Image.Image:
    """Resize an image by its shorter side and cut out the centre."""
    height, width = size
    shorter = round(recipe.resize * max(size) / recipe.crop)
    if image.width <= image.height:
        resized = (shorter, int(shorter * image.height / image.width))
    else:
        resized = (int(shorter * image.width / image.height), shorter)
    left, top = _margin(resized[0], width), _margin(resized[1], height)
    seen = (0, 0, *resized)
    if max(resized) > LONGEST_STRIP * shorter:  # whole it could fill the memory
        right, bottom = min(left + width, resized[0]), min(top + height, resized[1])
        seen = (max(left, 0), max(top, 0), right, bottom)
    part = image.resize(
        (seen[2] - seen[0], seen[3] - seen[1]),
        Image.Resampling[recipe.interpolation.upper()],
        box=(
            seen[0] * image.width / resized[0],
            seen[1] * image.height / resized[1],
            seen[2] * image.width / resized[0],
            seen[3] * image.height / resized[1],
        ),
    )
    left, top = left - seen[0], top - seen[1]
    return part.crop((left, top, left + width, top + height))


def _margin(side: int, crop: int) -> int:
    """Return the pixels before a centre crop, negative where it pads."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)
