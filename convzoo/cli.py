"""The ``convzoo`` command.

Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. Nothing heavy is imported
before a command needs it, so that help and the list appear at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convzoo import __version__
from convzoo.arguments import near
from convzoo.catalog import CATALOG, SORTS, TASKS, Entry, list_models
from convzoo.commands.errors import misuse, print_json, reported
from convzoo.commands.evaluate import evaluate_command
from convzoo.commands.models import check_model, structure
from convzoo.commands.options import (
    LEVELS,
    Count,
    OneOf,
    json_flag,
    obtain,
    shape_option,
    variant_option,
)
from convzoo.commands.plot import plot_command
from convzoo.commands.weights import weights
from convzoo.terminal import print_models, quiet_keras, with_progress

if TYPE_CHECKING:
    from convzoo.inspect.graph import Level
    from convzoo.prediction import Outcome

_argument = click.argument("model", metavar="MODEL")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # A file name may hold characters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="convzoo")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left; Python would complain when it flushes again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except SystemExit as end:
        if "tensorflow" in sys.modules and isinstance(end.code, int):
            # To take TensorFlow apart would cost most of a second.
            sys.stderr.flush()
            os._exit(end.code)
        raise


class _Group(click.Group):
    """Commands that Ctrl-C ends without a word."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="convzoo %(version)s")
def app() -> None:
    """The classic convolutional networks, exactly as published, in Keras 3."""


app.add_command(weights)
app.add_command(evaluate_command)
app.add_command(plot_command)


@app.command("list")
@click.argument("pattern", default="*")
@click.option("--task", metavar="|".join(TASKS), help="What the models are for.")
@click.option(
    "--max-parameters", metavar="NUMBER", help="Most parameters, such as 5M or 500k."
)
@click.option(
    "--sort",
    metavar="|".join(SORTS),
    help="The smallest, the earliest or the most accurate first.",
)
@json_flag
def list_command(
    pattern: str,
    task: str | None,
    max_parameters: str | None,
    sort: str | None,
    as_json: bool,
) -> None:
    """List the models, their sizes, their accuracy on ImageNet and their weights.

    PATTERN chooses names, such as 'resnet*'.
    """
    from convzoo.pretrained.records import list_weights  # noqa: PLC0415

    most = _parse_number(max_parameters)
    if not list_models(pattern):
        misuse(
            f"pattern={pattern!r} fits no model{near(pattern, CATALOG)}; "
            f"existing: {', '.join(CATALOG)}."
        )
    with reported():
        names = list_models(pattern, task=task, max_parameters=most, sort=sort)
    if not names:
        given = (("--task", task), ("--max-parameters", max_parameters))
        filters = " and ".join(f"{option} {value}" for option, value in given if value)
        misuse(
            f"{filters} leave no model of pattern={pattern!r}: widen or drop a filter."
        )
    entries = [CATALOG[name] for name in names]
    weights = {entry.name: list_weights(entry.name) for entry in entries}
    if as_json:
        print_json([_as_data(entry, weights[entry.name]) for entry in entries])
    else:
        print_models(entries, weights)


@app.command("summary")
@_argument
@variant_option
@click.option(
    "--level",
    type=OneOf(LEVELS),
    default="stage",
    show_default=True,
    help="What makes a row.",
)
@shape_option
@click.option("--classes", type=Count(), help="Number of classes.")
@json_flag
def summary_command(
    model: str,
    variant: str | None,
    level: Level,
    input_shape: tuple[int, int, int] | None,
    classes: int | None,
    as_json: bool,
) -> None:
    """Print a model's table of shapes, sizes and costs.

    MODEL is a name that convzoo list shows.
    """
    check_model(model, variant)
    with reported(), quiet_keras(f"Building {model}"):
        from convzoo.inspect.tables import summary  # noqa: PLC0415

        table = summary(structure(model, variant, input_shape, classes), level=level)
    if as_json:
        print_json(table.to_dict())
    else:
        table.print()


@app.command("predict")
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    type=click.Path(readable=False, path_type=Path),  # told for each image instead
)
@click.option(
    "--model",
    metavar="NAME",
    default="resnet50",
    show_default=True,
    help="A model that has weights.",
)
@click.option(
    "--weights", metavar="NAME", help="Its weights; else 'imagenet' or the best."
)
@variant_option
@click.option(
    "--top",
    type=Count(),
    default=5,
    show_default=True,
    help="Classes per image.",
)
@json_flag
def predict_command(
    images: tuple[Path, ...],
    model: str,
    weights: str | None,
    variant: str | None,
    top: int,
    as_json: bool,
) -> None:
    """Name what images show, the most probable classes first.

    IMAGE is an image file, or a folder of them. Weights that are not on this machine
    are downloaded.
    """
    from convzoo import prediction  # noqa: PLC0415

    with reported():
        record = prediction.chosen_record(model, weights, variant)
    outcomes = _checked(images)
    files = [image for image, _, error in outcomes if not error]
    if files:
        obtain(record)
        with reported(misuse=()), quiet_keras(f"Loading {model}"):
            classifier = prediction.built(model, weights, variant)
        found = prediction.outcomes(files, classifier, top=top)
        named = iter(list(with_progress(found, len(files))))
        outcomes = [outcome if outcome.error else next(named) for outcome in outcomes]
    _print_outcomes(outcomes, as_json)
    if any(outcome.error for outcome in outcomes):
        raise click.exceptions.Exit(1)


def _parse_number(text: str | None) -> int | None:
    """Read a number such as 5M, 2.5M, 500k or 5,000,000."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d[\d_,]*\.?\d*)([kMB]?)", text, re.ASCII | re.IGNORECASE)
    if match is None:
        misuse(f"--max-parameters must be a number such as 5M, found {text!r}.")
    number, unit = match.groups()
    return int(Decimal(number.replace(",", "")) * _UNITS[unit.lower()])


def _checked(paths: Iterable[Path]) -> list[Outcome]:
    """Return every file, folders opened, with the fault that its header shows."""
    from convzoo.prediction import Outcome, folder_files, is_folder  # noqa: PLC0415
    from convzoo.pretrained.images import ImageError, check_image  # noqa: PLC0415

    checked: list[Outcome] = []
    for path in paths:
        files = [path]
        try:
            if is_folder(path):
                files, others = folder_files(path)
                _note_skipped(path, others)
        except ImageError as error:
            checked.append(Outcome(path, [], error))
            continue
        for file in files:
            try:
                check_image(file)
                checked.append(Outcome(file, []))
            except ImageError as error:
                checked.append(Outcome(file, [], error))
    return checked


def _note_skipped(folder: Path, others: list[Path]) -> None:
    if others:
        names = ", ".join(path.name for path in others[:3])
        more = ", ..." if len(others) > 3 else ""
        click.echo(
            f"Note: skipped {len(others)} of the files in {folder}, no images by their "
            f"suffix: {names}{more}",
            err=True,
        )


def _print_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    if as_json:
        print_json([_outcome_data(outcome) for outcome in outcomes])
    for image, predictions, error in outcomes:
        if error:
            click.echo(f"Error: {error}", err=True)
        elif not as_json:
            click.echo(image)
            for label, _, probability in predictions:
                click.echo(f"  {probability:6.1%}  {label}")


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        return {"image": str(outcome.image), "error": str(outcome.error)}
    named = [prediction._asdict() for prediction in outcome.predictions]
    return {"image": str(outcome.image), "predictions": named}


def _as_data(entry: Entry, weights: list[str]) -> dict[str, Any]:
    variants = {name: each._asdict() for name, each in entry.variants.items()}
    return {**entry._asdict(), "variants": variants, "weights": weights}
