"""The ``convzoo`` command.

Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. Nothing heavy is imported
before a command needs it, so that help and the list appear at once.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from convzoo import __version__
from convzoo.catalog import CATALOG, Entry, list_models
from convzoo.terminal import console, print_models, quiet_keras, with_progress

if TYPE_CHECKING:
    import keras

    from convzoo.prediction import Outcome

app = typer.Typer(
    help="The classic convolutional networks, exactly as published, in Keras 3.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Level(StrEnum):
    """How closely a model is looked at."""

    stage = "stage"
    block = "block"
    layer = "layer"


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of a model, see: convzoo list.")
]
VariantOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Variant of the model; else the default one."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


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
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has left; Python would complain when it flushes again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convzoo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


@app.command("list")
def list_command(
    pattern: Annotated[
        str, typer.Argument(help="Only names that match, such as 'resnet*'.")
    ] = "*",
    as_json: Json = False,
) -> None:
    """List the models, their sizes and their weights."""
    from convzoo.pretrained.records import list_weights  # noqa: PLC0415

    entries = [CATALOG[name] for name in list_models(pattern)]
    if not entries:
        _misuse(_unknown("model", pattern, CATALOG))
    weights = {entry.name: list_weights(entry.name) for entry in entries}
    if as_json:
        _print_json([_as_data(entry, weights[entry.name]) for entry in entries])
    else:
        print_models(entries, weights)


@app.command("summary")
def summary_command(
    model: Model,
    variant: VariantOption = None,
    level: Annotated[Level, typer.Option(help="What makes a row.")] = Level.stage,
    input_shape: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTHxCHANNELS",
            help="Size of the image, such as 64x64x3; else the usual one.",
        ),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Number of classes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a model's table of shapes, sizes and costs."""
    _check_model(model, variant)
    shape = _parse_shape(input_shape)
    with _reported(), quiet_keras(f"Building {model}"):
        from convzoo.inspect.tables import summary  # noqa: PLC0415

        table = summary(_structure(model, variant, shape, classes), level=level.value)
    if as_json:
        _print_json(table.to_dict())
    else:
        table.print(console())


@app.command("plot")
def plot_command(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write; else MODEL.svg."
        ),
    ] = None,
    variant: VariantOption = None,
    level: Annotated[Level, typer.Option(help="What makes a box.")] = Level.block,
) -> None:
    """Draw a model into a file; its suffix gives the format."""
    _check_model(model, variant)
    file = output or Path(f"{model}.svg")
    with _reported(), quiet_keras(f"Drawing {model}"):
        from convzoo.inspect.plot import plot_model  # noqa: PLC0415

        figure = plot_model(_structure(model, variant), file, level=level.value)
    typer.echo(f"Wrote {file}")
    if figure.hint:
        typer.echo(figure.hint, err=True)


@app.command("predict")
def predict_command(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Image files, or folders of them."),
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A model whose weights ship.  [required]"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its weights; else 'imagenet' or the best."),
    ] = None,
    variant: VariantOption = None,
    top: Annotated[int, typer.Option(min=1, help="Classes per image.")] = 5,
    as_json: Json = False,
) -> None:
    """Name what images show, the most probable classes first."""
    from convzoo import prediction  # noqa: PLC0415
    from convzoo.pretrained.records import shipped_models  # noqa: PLC0415

    if model is None:
        _misuse(
            "The option --model is required: name a model whose weights ship "
            f"({', '.join(shipped_models())})."
        )
    with _reported():
        prediction.chosen_record(model, weights, variant)
    outcomes = _checked(images)
    files = [image for image, _, error in outcomes if not error]
    if files:
        with _reported(misuse=()), quiet_keras(f"Loading {model}"):
            classifier = prediction.built(model, weights, variant)
        found = prediction.outcomes(files, classifier, top=top)
        named = iter(list(with_progress(found, len(files))))
        outcomes = [outcome if outcome.error else next(named) for outcome in outcomes]
    _print_outcomes(outcomes, as_json)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


def _misuse(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)


@contextmanager
def _reported(misuse: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Turn an error that the user can act on into one line and an exit code."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, misuse) else 1) from None


def _unknown(what: str, found: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(found, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"Unknown {what}: {found!r}; existing are {', '.join(names)}{hint}"


def _check_model(model: str, variant: str | None) -> None:
    """Refuse an unknown model or variant before Keras is imported."""
    if model not in CATALOG:
        _misuse(_unknown("model", model, CATALOG))
    variants = CATALOG[model].variants
    if variant is not None and variant not in variants:
        _misuse(_unknown(f"variant of {model}", variant, variants))


def _parse_shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", text)
    if match is None:
        _misuse(
            "--input-shape must be HEIGHTxWIDTHxCHANNELS, such as 64x64x3, "
            f"found {text!r}."
        )
    height, width, channels = map(int, match.groups())
    return height, width, channels


def _structure(
    model: str,
    variant: str | None,
    input_shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> keras.Model:
    """Build a model without allocating its weights."""
    from convzoo.deferred import without_weights  # noqa: PLC0415
    from convzoo.prediction import builder  # noqa: PLC0415

    with without_weights():
        return builder(model)(variant=variant, input_shape=input_shape, classes=classes)


def _checked(paths: list[Path]) -> list[Outcome]:
    """Return every file, folders opened, with the fault that its header shows."""
    from convzoo.prediction import Outcome, folder_files  # noqa: PLC0415
    from convzoo.pretrained.images import ImageError, check_image  # noqa: PLC0415

    checked: list[Outcome] = []
    for path in paths:
        files = [path]
        try:
            if path.is_dir():
                files, others = folder_files(path)
                _note_skipped(path, others)
        except (ImageError, OSError) as error:
            checked.append(Outcome(path, [], ImageError(str(error))))
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
        typer.echo(
            f"Note: skipped {len(others)} of the files in {folder}, no images by their "
            f"suffix: {names}{more}",
            err=True,
        )


def _print_outcomes(outcomes: list[Outcome], as_json: bool) -> None:
    if as_json:
        _print_json([_outcome_data(outcome) for outcome in outcomes])
    for image, predictions, error in outcomes:
        if error:
            typer.echo(f"Error: {error}", err=True)
        elif not as_json:
            typer.echo(image)
            for label, _, probability in predictions:
                typer.echo(f"  {probability:6.1%}  {label}")


def _outcome_data(outcome: Outcome) -> dict[str, Any]:
    if outcome.error:
        return {"image": str(outcome.image), "error": str(outcome.error)}
    named = [prediction._asdict() for prediction in outcome.predictions]
    return {"image": str(outcome.image), "predictions": named}


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2))


def _as_data(entry: Entry, weights: list[str]) -> dict[str, Any]:
    variants = {name: each._asdict() for name, each in entry.variants.items()}
    return {**entry._asdict(), "variants": variants, "weights": weights}
