"""Measure classifiers on labelled images: ``evaluate``, under ``convzoo evaluate``."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convzoo.arguments import near, whole_number
from convzoo.catalog import CATALOG
from convzoo.prediction import (
    Classifier,
    built,
    chosen_record,
    folder_files,
    is_folder,
    of_model,
    refuse_fresh_head,
    scores_of,
)
from convzoo.pretrained.images import ImageError, prepare
from convzoo.pretrained.readers import tensorflow_checkpoint
from convzoo.pretrained.records import Record, find, is_file, list_weights, listed

if TYPE_CHECKING:
    import keras

THREADS = 8  # that read images while the network runs
CROP = 0.875  # of the resized image, where a file of weights does not tell


class Evaluation(NamedTuple):
    """How well a model names the images of a folder."""

    weights: str  # their name, or the path of a file
    record: Record  # how images were prepared, and the published accuracy
    images: int  # classified
    classes: int  # among these images
    top1: float  # measured accuracy, in [0, 1]
    top5: float
    seconds: float  # for reading and classifying the images
    unreadable: tuple[ImageError, ...]  # one for each image left out


class Labelled(NamedTuple):
    """An image file and the class that its folder names."""

    image: Path
    wanted: int


class Tree(NamedTuple):
    """The labelled images of a folder, and its files that are none."""

    images: list[Labelled]
    others: list[Path]


class Verdict(NamedTuple):
    """What came of one image."""

    wanted: int
    place: int = 0  # of the wanted class among all, 0 for the most probable
    error: ImageError | None = None


def evaluate(
    folder: str | os.PathLike[str],
    model: str | keras.Model,
    weights: str | os.PathLike[str] | None = None,
    variant: str | None = None,
    *,
    preprocessing: str | None = None,
    batch_size: int = 32,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure how often a model names the right class first, or among the first five.

    Args:
        folder: Folder with one folder of images per class. These are named by WordNet
            ids (``n01440764``) or labels (``great_white_shark``), as the record of the
            weights has them; case, spaces and underscores make no difference, and what
            follows a comma is ignored. Classes may be missing.
        model: Name of a classification builder, or a model built with ``weights=``.
        weights: Name of the weights, see ``list_weights(model)``, or the path of a file
            for the same classes; None for ``"imagenet"`` or the most accurate ones.
        variant: Variant of the builder; None for the one the weights belong to.
        preprocessing: For weights from a file: name of the builder's published weights
            whose preparation of images is used. None takes the scaling that the file
            states, the shorter side resized to the input's size / 0.875.
        batch_size: Images that pass through the network at once, at least 1.
        limit: Most images to take, spread evenly over the classes; None for all.
        progress: Called after each image with the images done and their total.

    Returns:
        Measured and published accuracy; images that cannot be read are listed in it.

    Raises:
        ImageError: If the folder has no class folders, one has no images or an unknown
            name, or no image at all can be used.
        OSError: If the weights are missing or cannot be downloaded.
        ValueError: If an argument is not known or out of range, the weights do not fit,
            or the way to prepare images is not known.
    """
    whole_number("batch_size", batch_size)
    if limit is not None:
        whole_number("limit", limit)
    if isinstance(model, str):
        record = record_of_classes(model, weights, variant)
        images = class_tree(folder, record, limit).images
        classifier = examined(_built(model, weights, variant), preprocessing)
    elif (weights, variant) == (None, None):
        classifier = examined(model, preprocessing)
        images = class_tree(folder, classifier.record, limit).images
    else:
        raise ValueError(
            "weights and variant belong to a model's name, found them beside a model "
            "that is built already: leave them out."
        )

    def watched() -> Iterator[Verdict]:
        found = verdicts(images, classifier, batch_size=batch_size)
        for done, verdict in enumerate(found, 1):
            if progress:
                progress(done, len(images))
            yield verdict

    return summed_up(watched(), classifier)


def record_of_classes(
    model: str,
    weights: str | os.PathLike[str] | None = None,
    variant: str | None = None,
) -> Record:
    """Return a record that has the classes of these weights; builds nothing.

    Raises:
        FileNotFoundError: If the weights are a file that is missing.
        ValueError: If model, weights or variant are not known, or none are published.
    """
    if weights is None or not is_file(model, weights):
        return chosen_record(model, None if weights is None else str(weights), variant)
    record, path = chosen_record(model, None, None), Path(weights).expanduser()
    if not path.exists() and tensorflow_checkpoint.prefix_of(path) is None:
        raise FileNotFoundError(f"There is no weight file {path}: check the path.")
    return record


def class_tree(
    folder: str | os.PathLike[str], record: Record, limit: int | None = None
) -> Tree:
    """Return the images below a folder, labelled by the names of their folders.

    Args:
        folder: Folder with one folder per class.
        record: Whose classes.
        limit: Most images to take, spread evenly; None for all.

    Raises:
        ImageError: If there are no class folders, or one cannot be read, has no images
            or a name that is no class.
    """
    name = repr(os.fspath(folder))
    try:
        paths = sorted(Path(folder).iterdir())
    except OSError as error:
        raise ImageError(
            f"{name} cannot be read ({error.strerror or error})."
        ) from error
    seen = [path for path in paths if not path.name.startswith(".")]
    folders = [path for path in seen if is_folder(path)]
    if not folders:
        raise ImageError(
            f"{name} holds no folders: give one that holds a folder of images for each "
            "class."
        )
    classes = _classes(folders, record)
    contents = [folder_files(path) for path in folders]
    images = [
        Labelled(image, wanted)
        for wanted, content in zip(classes, contents, strict=True)
        for image in content.images
    ]
    if limit is not None and limit < len(images):
        images = [images[i * len(images) // limit] for i in range(limit)]
    others = [path for path in seen if path not in folders]
    return Tree(images, others + [path for each in contents for path in each.others])


def examined(model: keras.Model, preprocessing: str | None = None) -> Classifier:
    """Return a model with the record that says how its images are prepared.

    The record's sizes are those of the model; for weights from a file it has no
    accuracy.

    Args:
        model: A model of the zoo, built with published weights or with a file's.
        preprocessing: For a file's: name of published weights of the builder.

    Raises:
        ValueError: If the model does not name the classes of published weights, or the
            preparation of its images is not known.
    """
    origin = getattr(model, "origin", None)
    if origin is not None and origin.weights not in {
        None,
        *list_weights(origin.builder),
    }:
        return Classifier(model, _of_file(model, preprocessing))
    record = of_model(model).record
    if preprocessing is not None:
        raise ValueError(
            f"preprocessing={preprocessing!r} is for weights from a file, and "
            f"{record.name!r} are published with their own: leave it out."
        )
    return Classifier(model, _sized(record, model))


def verdicts(
    images: Sequence[Labelled], classifier: Classifier, *, batch_size: int = 32
) -> Iterator[Verdict]:
    """Classify images; one that cannot be read does not stop the others.

    Args:
        images: From ``class_tree``.
        classifier: From ``examined``.
        batch_size: Images that pass through the network at once.

    Yields:
        One verdict per image, in their order.

    Raises:
        ValueError: If the network answers with NaN or inf.
    """
    for batch in _read_ahead(images, classifier, batch_size):
        good = [item for _, item in batch if not isinstance(item, ImageError)]
        wanted = [
            label for (_, label), item in batch if not isinstance(item, ImageError)
        ]
        places = iter(_places(classifier.model, good, wanted) if good else ())
        for (_, label), item in batch:
            if isinstance(item, ImageError):
                yield Verdict(label, error=item)
            else:
                yield Verdict(label, next(places))


def summed_up(found: Iterable[Verdict], classifier: Classifier) -> Evaluation:
    """Count verdicts, and take the time until the last one comes.

    Raises:
        ImageError: If no image could be used.
    """
    begun = time.perf_counter()
    with warnings.catch_warnings():
        # Reading restores the filters, and threads that do so at once mix them up.
        warnings.simplefilter("ignore")
        all_of_them = list(found)
    seconds = time.perf_counter() - begun
    unreadable = tuple(verdict.error for verdict in all_of_them if verdict.error)
    good = [verdict for verdict in all_of_them if not verdict.error]
    if not good:
        raise ImageError(
            f"None of the {len(unreadable)} images can be used; the first: "
            f"{unreadable[0]}"
        )
    return Evaluation(
        classifier.model.origin.weights,
        classifier.record,
        len(good),
        len({verdict.wanted for verdict in good}),
        sum(verdict.place < 1 for verdict in good) / len(good),
        sum(verdict.place < 5 for verdict in good) / len(good),
        seconds,
        unreadable,
    )


def _built(
    model: str, weights: str | os.PathLike[str] | None, variant: str | None
) -> keras.Model:
    if is_file(model, weights):
        return CATALOG[model].load()(weights=weights, variant=variant)
    return built(model, None if weights is None else str(weights), variant).model


def _classes(folders: Sequence[Path], record: Record) -> list[int]:
    """Return the class of each folder, by wnid or label."""
    names = {
        name: index
        for known in (record.labels, record.wnids)
        for index, name in enumerate(known)
    }
    # "Cardigan" is a dog and "cardigan" a jacket: such names count only as written.
    plain = Counter(map(_plain, names))
    alike = {_plain(n): i for n, i in names.items() if plain[_plain(n)] == 1}
    found = [names.get(path.name, alike.get(_plain(path.name))) for path in folders]
    unknown = [
        path.name for path, index in zip(folders, found, strict=True) if index is None
    ]
    if unknown:
        accepted = (
            f"wnids and labels such as {record.wnids[0]!r} and {record.labels[0]!r}"
            if record.wnids
            else listed(record.labels)
        )
        raise ImageError(
            f"{str(folders[0].parent)!r} has folders that name no class of "
            f"{record.model}/{record.name}: {listed(unknown, most=5)}"
            f"{near(unknown[0], names)}; accepted are {accepted}."
        )
    return [index for index in found if index is not None]


def _plain(name: str) -> str:
    """Return the part of a class's name that must agree."""
    return re.sub(r"[\s_]", "", name.partition(",")[0]).casefold()


def _of_file(model: keras.Model, preprocessing: str | None) -> Record:
    """Return the record by which images for weights from a file are prepared."""
    refuse_fresh_head(model)
    origin = model.origin
    if preprocessing is None:
        record = chosen_record(origin.builder, None, None)
    else:
        record = find(origin.builder, preprocessing, input_shape=origin.input_shape)
    weights, channels = origin.weights, model.input_shape[3]
    if not origin.include_top or origin.classes != record.classes:
        raise ValueError(
            f"The weights {weights!r} do not name the {record.classes} classes of the "
            f"published {origin.builder}, so no folder names are known for theirs."
        )
    if channels != record.input_shape[2]:
        raise ValueError(
            f"The model {model.name!r} reads {channels} channels, the published "
            f"{origin.builder} {record.input_shape[2]}: build it without input_shape=."
        )
    record = replace(
        _sized(record, model),
        variant=origin.variant,
        options=origin.options,
        top1=None,
        top5=None,
    )
    if preprocessing is not None:
        return record
    if origin.scaling is None:
        raise ValueError(
            f"The weights {weights!r} do not tell how images are prepared for them: "
            "name published weights that expect the same with preprocessing "
            f"(--preprocessing), one of {listed(list_weights(origin.builder))}."
        )
    mean, std = origin.scaling
    return replace(record, mean=mean, std=std, resize=round(record.crop / CROP))


def _sized(record: Record, model: keras.Model) -> Record:
    """Return a record with the sizes of a model, by which its own grow or shrink."""
    sides = zip(model.input_shape[1:3], record.input_shape, strict=False)
    height, width = (side or usual for side, usual in sides)
    crop = max(height, width)
    return replace(
        record,
        input_shape=(height, width, record.input_shape[2]),
        resize=round(record.resize * crop / record.crop),
        crop=crop,
    )


def _read_ahead(
    images: Sequence[Labelled], classifier: Classifier, size: int
) -> Iterator[list[tuple[Labelled, NDArray[np.float32] | ImageError]]]:
    """Yield batches; while the caller uses one, threads read the next."""
    model, record = classifier
    rescales = any(layer.name == "image_rescaling" for layer in model.layers)

    def read(labelled: Labelled) -> NDArray[np.float32] | ImageError:
        try:
            return prepare(labelled.image, record, normalise=not rescales)
        except ImageError as error:
            return error

    batches = [images[start : start + size] for start in range(0, len(images), size)]
    with ThreadPoolExecutor(THREADS) as pool:
        coming = pool.map(read, batches[0])
        for batch, following in zip(batches, [*batches[1:], []], strict=True):
            here, coming = coming, pool.map(read, following)
            yield list(zip(batch, here, strict=True))


def _places(
    model: keras.Model, batch: Sequence[NDArray[np.float32]], wanted: Sequence[int]
) -> list[int]:
    """Return the place of each image's class; of equals the lower index comes first."""
    scores = scores_of(model, batch)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"The model {model.name!r} answers with NaN or inf: its weights "
            f"{model.origin.weights!r} do not suit it."
        )
    order = np.argsort(-scores, axis=1, kind="stable")
    places: list[int] = (order == np.asarray(wanted)[:, None]).argmax(axis=1).tolist()
    return places
