"""Name what images show: ``predict``, the one-liner under ``convzoo predict``."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from convzoo.arguments import whole_number
from convzoo.catalog import CATALOG
from convzoo.pretrained.images import (
    ACCEPTED,
    SUFFIXES,
    ImageError,
    Images,
    OneImage,
    prepare,
    split,
)
from convzoo.pretrained.records import (
    Prediction,
    Record,
    find,
    is_file,
    list_weights,
    models_with_weights,
)

if TYPE_CHECKING:
    import keras

DEFAULT_WEIGHTS = "imagenet"


class Classifier(NamedTuple):
    """A model and the record of the weights it was built with."""

    model: keras.Model
    record: Record


class Outcome(NamedTuple):
    """What came of one image: predictions, or the error that prevented them."""

    image: OneImage
    predictions: list[Prediction]
    error: ImageError | None = None


def predict(
    images: Images,
    model: str | keras.Model = "resnet50",
    weights: str | None = None,
    variant: str | None = None,
    top: int = 5,
    *,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> list[Prediction] | list[list[Prediction]]:
    """Name what images show.

    Args:
        images: One image (a path, a PIL image or an array, 0 to 255) or several: a list
            or tuple of those, an array (n, height, width, channels), or the path of a
            folder, whose image files are taken in the order of their names.
        model: Name of a classification builder, or a model built with ``weights=``. The
            last model built by name is kept for the next call.
        weights: Name of the weights, see ``list_weights(model)``; None for
            ``"imagenet"`` or, where the model has none, its most accurate ones.
        variant: Variant of the builder; None for the one the weights belong to.
        top: Classes per image, at least 1; all of them if there are fewer.
        batch_size: Images that pass through the network at once, at least 1.
        progress: Called after each image with the images done and their total.

    Returns:
        For one image a list of predictions, most probable first: ``label``, ``index``
        and ``probability`` in [0, 1]. For several, a list of such lists, in order.

    Raises:
        ImageError: If an image cannot be used; the first such image is named.
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If model, weights or variant are not known or name no classifier, or
            ``top`` or ``batch_size`` is below 1.

    Example:
        >>> predict("examples/images/7.png", model="lenet")[0].label
        '7'
    """
    sources = expand(images)
    for argument, value in (("top", top), ("batch_size", batch_size)):
        whole_number(argument, value)
    named = isinstance(model, str)
    chosen = built(model, weights, variant) if named else of_model(model)
    if not named and (weights, variant) != (None, None):
        raise ValueError(
            "weights and variant belong to a model's name, found them beside a model "
            "that is built already: leave them out."
        )
    results = []
    for outcome in outcomes(sources, chosen, top=top, batch_size=batch_size):
        if outcome.error:
            raise outcome.error
        results.append(outcome.predictions)
        if progress:
            progress(len(results), len(sources))
    return results[0] if _is_one_image(images) else results


def expand(images: Images) -> list[OneImage]:
    """Return images one by one, the path of a folder replaced by its image files.

    Raises:
        ImageError: If a folder holds no image files or cannot be read, or an array
            holds no images.
        TypeError: If something is neither a path, an image, an array nor a list.
    """
    if _is_path(images) and is_folder(images):
        return list(folder_files(images).images)
    return split(images)


class Folder(NamedTuple):
    """The files of a folder, each list in the order of its names."""

    images: list[Path]
    others: list[Path]


def folder_files(folder: str | os.PathLike[str]) -> Folder:
    """Return the image files of a folder, told by their suffix, and its other files.

    Folders inside it are not searched and hidden files not seen.

    Raises:
        ImageError: If there is no image file, or the folder cannot be read.
    """
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ImageError(
            f"{os.fspath(folder)!r} cannot be read ({error.strerror or error})."
        ) from error
    files = [p for p in paths if not p.name.startswith(".") and not is_folder(p)]
    found: tuple[list[Path], list[Path]] = ([], [])
    for path in files:
        found[path.suffix.lower() not in SUFFIXES].append(path)
    if not found[0]:
        raise ImageError(
            f"{os.fspath(folder)!r} holds no image files ({ACCEPTED}); folders inside "
            "it are not searched."
        )
    return Folder(*found)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a folder; what may not be looked at counts as a file."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def built(
    model: str, weights: str | None = None, variant: str | None = None
) -> Classifier:
    """Return a builder's model with its weights; the last one is kept.

    Raises:
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If model, weights or variant are not known, or none are published.
    """
    record = chosen_record(model, weights, variant)
    return _build(model, record.name, variant)


def of_model(model: keras.Model) -> Classifier:
    """Return a model of the zoo with the record of the weights it was built with.

    Raises:
        ValueError: If the model does not name the record's classes.
    """
    origin = getattr(model, "origin", None)
    # Weights from a file bear its path instead of a published name.
    if origin is None or origin.weights not in list_weights(origin.builder):
        raise ValueError(
            f"The model {getattr(model, 'name', model)!r} was not built with published "
            "weights, so its preprocessing and labels are not known: pass a builder's "
            "name, or a model built with the name of published weights."
        )
    record = find(
        origin.builder,
        origin.weights,
        origin.variant,
        origin.options,
        input_shape=origin.input_shape,
    )
    if not origin.include_top or origin.classes != record.classes:
        raise ValueError(
            f"The model {model.name!r} does not name the {record.classes} classes of "
            f"the weights {record.name!r}: build it with its top and without classes=."
        )
    if model.input_shape[3] != record.input_shape[2]:
        raise ValueError(
            f"The model {model.name!r} reads {model.input_shape[3]} channels, the "
            f"weights {record.name!r} are for {record.input_shape[2]}: build it "
            "without input_shape=."
        )
    refuse_fresh_head(model)
    return Classifier(model, record)


def refuse_fresh_head(model: keras.Model) -> None:
    """Raise a ValueError if a model's weights left its head as it was initialised."""
    origin = model.origin
    if origin.fresh_head:
        raise ValueError(
            f"The weights {origin.weights!r} have no head for the {origin.classes} "
            f"classes of the model {model.name!r}: train it, save_weights, and build "
            "it with that file."
        )


def outcomes(
    sources: Sequence[OneImage],
    classifier: Classifier,
    *,
    top: int = 5,
    batch_size: int = 32,
) -> Iterator[Outcome]:
    """Classify images in batches; one that cannot be used does not stop the others.

    Args:
        sources: Single images, as ``expand`` gives them.
        classifier: From ``built`` or ``of_model``.
        top: Classes per image.
        batch_size: Images that pass through the network at once.

    Yields:
        One outcome per image, in their order.
    """
    for start in range(0, len(sources), batch_size):
        yield from _classify(sources[start : start + batch_size], classifier, top)


def _classify(
    sources: Sequence[OneImage], classifier: Classifier, top: int
) -> Iterator[Outcome]:
    prepared = [_prepared(source, classifier) for source in sources]
    good = [item for item in prepared if not isinstance(item, ImageError)]
    named: Iterator[list[Prediction]] = iter(())
    if good:
        scores = scores_of(classifier.model, good)
        named = iter(classifier.record.decode(scores, top))
    for source, item in zip(sources, prepared, strict=True):
        if isinstance(item, ImageError):
            yield Outcome(source, [], item)
        else:
            yield Outcome(source, next(named))


def scores_of(
    model: keras.Model, batch: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Return the answer of the main head, without those at the network's side."""
    answer: Any = model.predict_on_batch(np.concatenate(batch))
    main = answer["main"] if isinstance(answer, dict) else answer
    return np.asarray(main, dtype=np.float64)


def _prepared(
    source: OneImage, classifier: Classifier
) -> NDArray[np.float32] | ImageError:
    """Return one image as a batch of its own, or why it cannot be used."""
    model, record = classifier
    height, width = model.input_shape[1:3]
    size = (height or record.input_shape[0], width or record.input_shape[1])
    rescales = any(layer.name == "image_rescaling" for layer in model.layers)
    try:
        return prepare(source, record, size=size, normalise=not rescales)
    except ImageError as error:
        return error


@functools.lru_cache(maxsize=1)
def _build(model: str, weights: str, variant: str | None) -> Classifier:
    return of_model(CATALOG[model].load()(weights=weights, variant=variant))


def chosen_record(model: str, weights: str | None, variant: str | None) -> Record:
    """Return the record that ``predict`` uses for these arguments.

    Raises:
        ValueError: If model, weights or variant are not known, or none are published.
    """
    names = list_weights(model)
    if not names:
        raise ValueError(
            f"No weights are published for {model!r}, so it cannot name anything yet; "
            f"models with weights: {', '.join(models_with_weights())}."
        )
    usual = DEFAULT_WEIGHTS if DEFAULT_WEIGHTS in names else names[0]
    if weights is None:
        weights = usual
    if is_file(model, weights):
        path = os.fspath(weights)
        raise ValueError(
            f"weights={path!r} is the path of a file, which has no labels, and predict "
            "takes the names of published weights: build the model, "
            f"{model}(weights={path!r}), and use weights_info({model!r}, {usual!r})"
            ".preprocess and .decode."
        )
    return find(model, weights, variant)


def _is_one_image(images: Images) -> bool:
    if _is_path(images):
        return not is_folder(images)
    several = isinstance(images, (list, tuple)) or getattr(images, "ndim", 2) == 4
    return not several


def _is_path(images: Images) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(images, (str, os.PathLike))
