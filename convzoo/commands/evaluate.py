"""The command ``convzoo evaluate``: accuracy measured beside the published one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convzoo.catalog import CATALOG
from convzoo.commands.errors import misuse, print_json, reported
from convzoo.commands.options import (
    Count,
    chosen,
    json_flag,
    obtain,
    option,
    parsed_for,
    size_option,
    variant_option,
)
from convzoo.terminal import (
    Column,
    console,
    quiet_keras,
    table_of,
    with_progress,
)

if TYPE_CHECKING:
    from convzoo.evaluation import Evaluation
    from convzoo.pretrained.record import Record


@click.command("evaluate")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", help="The network.  [required]")
@click.option(
    "--weights",
    metavar="NAME|FILE",
    help="Its weights, or a file of them; else 'imagenet' or the best.",
)
@variant_option
@option
@size_option
@click.option(
    "--preprocessing",
    metavar="NAME",
    help="For a FILE: published weights that expect the same of images.",
)
@click.option(
    "--batch-size",
    type=Count(),
    default=32,
    show_default=True,
    help="Images in the network at once.",
)
@click.option(
    "--limit", type=Count(), metavar="N", help="Most images to take, from all classes."
)
@json_flag
def evaluate_command(
    folder: Path,
    model: str | None,
    weights: str | None,
    variant: str | None,
    options: tuple[str, ...],
    size: int | None,
    preprocessing: str | None,
    batch_size: int,
    limit: int | None,
    as_json: bool,
) -> None:
    """Measure accuracy on labelled images, beside what was published.

    FOLDER holds a folder of images for each class, named by its WordNet id or label.
    """
    from convzoo import evaluation  # noqa: PLC0415
    from convzoo.pretrained.records import is_file, models_with_weights  # noqa: PLC0415

    if model is None:
        misuse(
            "The option --model is required: name a model that has weights "
            f"({', '.join(models_with_weights())})."
        )
    with reported():
        record = evaluation.record_of_classes(model, weights, variant)
        from_file = is_file(model, weights)
        if not from_file:
            record = chosen(model, record.name, variant, options, size)
    given = parsed_for(model, options, ("weights", "variant", "input_shape"))
    with reported(misuse=()):
        tree = evaluation.class_tree(folder, record, limit)
    _note_skipped(folder, tree.others)
    if not from_file:
        obtain(record)
    shape = None if size is None else (size, size, record.input_shape[2])
    with reported(misuse=()), quiet_keras(f"Loading {model}"):
        network = CATALOG[model].load()(
            weights=weights or record.name, variant=variant, input_shape=shape, **given
        )
        classifier = evaluation.examined(network, preprocessing)
    with reported(misuse=()):
        found = evaluation.verdicts(tree.images, classifier, batch_size=batch_size)
        result = evaluation.summed_up(
            with_progress(found, len(tree.images)), classifier
        )
    if as_json:
        print_json(_as_data(result))
    else:
        _print(result)
    for error in result.unreadable:
        click.echo(f"Error: {error}", err=True)
    if result.unreadable:
        raise click.exceptions.Exit(1)


def _note_skipped(folder: Path, others: list[Path]) -> None:
    if others:
        click.echo(
            f"Note: skipped {len(others)} of the files in {folder}, no images in a "
            f"class's folder, such as {others[0]}",
            err=True,
        )


def _print(result: Evaluation) -> None:
    record = result.record
    unread = f", {len(result.unreadable):,} unreadable" if result.unreadable else ""
    seen = f"{result.classes:,} of {record.classes:,} classes"
    facts = {
        "Model": f"{record.model}, variant {record.variant}",
        "Weights": result.weights,
        "Images": f"{result.images:,} ({seen}{unread})",
        "Speed": f"{result.images / result.seconds:,.1f} images per second",
        "Preprocessing": _preprocessing(record),
    }
    for name, fact in facts.items():
        click.echo(f"{name:15}{fact}")
    measured, published = (result.top1, result.top5), (record.top1, record.top5)
    columns = [
        Column("", ["Top-1", "Top-5"]),
        Column("Measured", [f"{accuracy:.2%}" for accuracy in measured], number=True),
        Column(
            "Published",
            ["-" if p is None else f"{p:.2%}" for p in published],
            number=True,
        ),
        Column(
            "Difference",
            [
                "-" if p is None else f"{100 * (m - p):+.2f}"
                for m, p in zip(measured, published, strict=True)
            ],
            number=True,
        ),
    ]
    screen = console()
    screen.print(table_of(columns, screen.width), crop=False)


def _preprocessing(record: Record) -> str:
    from convzoo.pretrained.images import is_digits  # noqa: PLC0415

    height, width, _ = record.input_shape
    mean, std = (
        ", ".join(f"{v:.4g}" for v in each) for each in (record.mean, record.std)
    )
    fitted = (
        f"digits placed as in MNIST, {height} x {width}"
        if is_digits(record)
        else f"shorter side to {record.resize} ({record.interpolation}), centre "
        f"{height} x {width}"
    )
    return f"{fitted}, mean {mean}, std {std}"


def _as_data(result: Evaluation) -> dict[str, Any]:
    record = result.record
    return {
        "model": record.model,
        "variant": record.variant,
        "weights": result.weights,
        "images": result.images,
        "classes": result.classes,
        "top1": result.top1,
        "top5": result.top5,
        "published_top1": record.top1,
        "published_top5": record.top5,
        "seconds": result.seconds,
        "preprocessing": {
            "input_shape": record.input_shape,
            "resize": record.resize,
            "crop": record.crop,
            "interpolation": record.interpolation,
            "mean": record.mean,
            "std": record.std,
        },
        "unreadable": [str(error) for error in result.unreadable],
    }
