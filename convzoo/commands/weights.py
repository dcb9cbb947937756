"""The commands ``convzoo weights ...``: published weights and the cache they lie in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from convzoo.arguments import one_of
from convzoo.catalog import CATALOG
from convzoo.commands.errors import misuse, print_json, reported
from convzoo.commands.options import (
    OneOf,
    choice,
    chosen,
    json_flag,
    note_licence,
    obtain,
    option,
    parsed_for,
    variant_option,
)

if TYPE_CHECKING:
    from convzoo.pretrained.record import Record

LAYOUTS = ("convzoo", "torchvision", "timm")

_model = click.argument("model", metavar="MODEL")
_name = click.argument("name", metavar="NAME")


@click.group()
def weights() -> None:
    """List, download, check and convert weights."""


@weights.command("list")
@click.argument("model", metavar="[MODEL]", required=False)
@json_flag
def list_command(model: str | None, as_json: bool) -> None:
    """List published weights, the most accurate first, and which are on this machine.

    MODEL is a name that convzoo list shows.
    """
    records = _records(model)
    if as_json:
        print_json([_as_data(record) for record in records])
    elif records:
        _print_table(records)
    else:
        click.echo(f"No weights are published for {model}.")


@weights.command("show")
@_model
@_name
@choice
@json_flag
def show_command(model: str, name: str, as_json: bool, **choices: Any) -> None:
    """Show what is known of a file of weights.

    MODEL and NAME are names that convzoo weights list shows.
    """
    data = _as_data(chosen(model, name, **choices))
    if as_json:
        print_json(data)
    else:
        for key, value in data.items():
            click.echo(f"{key:15}{_text(key, value)}")


@weights.command("download")
@_model
@click.argument("names", metavar="NAME...", nargs=-1)
@choice
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Every file of the names, or of the model where none is named.",
)
@click.option("--force", is_flag=True, help="Replace what is in the cache.")
def download_command(
    model: str, names: tuple[str, ...], every: bool, force: bool, **choices: Any
) -> None:
    """Download weights into the cache and print their paths.

    MODEL and NAME are names that convzoo weights list shows. Without --all a name means
    the file that the model's builder would load.
    """
    from convzoo.pretrained.cache import fetch  # noqa: PLC0415

    if not names and not every:
        misuse("NAME is missing: name weights of the model, or say --all.")
    if every and any(choices.values()):
        misuse("--all means every file: leave it out to choose one by its options.")
    records = [chosen(model, name, **choices) for name in names]
    if every:
        named = {record.name for record in records}
        records = [
            record
            for record in _records(model)
            if record.name in named or (not named and record.commercial)
        ]

    def path_of(record: Record) -> Path:
        return fetch(record, force=True) if force and record.url else record.path()

    for record in records:
        note_licence(record)
    _print_paths(records, path_of)


@weights.command("verify")
@click.argument("model", metavar="[MODEL]", required=False)
@click.argument("name", metavar="[NAME]", required=False)
def verify_command(model: str | None, name: str | None) -> None:
    """Hash the weights on this machine from end to end and print the good files.

    MODEL and NAME are names that convzoo weights list shows; else all are checked.
    """
    from convzoo.pretrained.cache import verify  # noqa: PLC0415

    records = _records(model)
    if name is not None and model is not None:
        meant = chosen(model, name).name
        records = [record for record in records if record.name == meant]
    here = [record for record in records if _path(record)]
    if model is not None and not here:
        click.echo(
            f"Error: No file of {model}{f'/{name}' if name else ''} is in the cache: "
            "convzoo weights download fetches it.",
            err=True,
        )
        raise click.exceptions.Exit(1)
    _print_paths(here, lambda one: verify(one) if one.url else one.path())


@weights.command("path")
@_model
@_name
@choice
def path_command(model: str, name: str, **choices: Any) -> None:
    """Print the path of verified weights, downloaded if need be.

    MODEL and NAME are names that convzoo weights list shows.
    """
    _print_paths([chosen(model, name, **choices)], lambda record: record.path())


@weights.command("convert")
@click.argument("source", metavar="SOURCE")
@click.argument("output", metavar="OUTPUT", type=click.Path(path_type=Path))
@click.option("--model", metavar="NAME", required=True, help="The network.")
@variant_option
@option
@click.option(
    "--layout",
    type=OneOf(LAYOUTS),
    default="convzoo",
    show_default=True,
    help="Whose names and shapes the arrays get.",
)
@click.option("--no-top", is_flag=True, help="Leave the head out.")
def convert_command(
    source: str,
    output: Path,
    model: str,
    variant: str | None,
    options: tuple[str, ...],
    layout: str,
    no_top: bool,
) -> None:
    """Write weights of any readable format as safetensors.

    SOURCE is a file, or the name of published weights.
    """
    from convzoo.pretrained.records import find, is_file  # noqa: PLC0415
    from convzoo.terminal import quiet_keras  # noqa: PLC0415

    with reported():
        one_of("model", model, CATALOG)
        if variant is not None:
            one_of("variant", variant, CATALOG[model].variants)
    options = (*options, "include_top=false") if no_top else options
    given = parsed_for(model, options, ("weights", "variant"))
    if not is_file(model, source):
        shape = given.get("input_shape")
        with reported():
            record = find(
                model, source, variant, given, include_top=not no_top, input_shape=shape
            )
        obtain(record)
    with reported(misuse=()), quiet_keras(f"Converting {source}"):
        from convzoo.pretrained.loading import save_weights  # noqa: PLC0415

        built = CATALOG[model].load()(weights=source, variant=variant, **given)
    if built.origin.fresh_head:
        misuse(
            f"{source} has no head for {built.origin.classes} classes: pass --no-top "
            "to write its body alone."
        )
    with reported():
        save_weights(built, output, layout=layout)
    click.echo(f"Wrote {output}")


def _records(model: str | None) -> list[Record]:
    from convzoo.pretrained.records import RECORDS  # noqa: PLC0415

    with reported():
        if model is not None:
            one_of("model", model, CATALOG)
    found = [record for record in RECORDS if model in {None, record.model}]
    place = {name: index for index, name in enumerate(CATALOG)}
    return sorted(found, key=lambda r: (place[r.model], -(r.top1 or 0)))


def _path(record: Record) -> Path | None:
    """Return where a record's file lies on this machine; checks nothing."""
    from convzoo.pretrained.cache import cached  # noqa: PLC0415
    from convzoo.pretrained.record import shipped_folder  # noqa: PLC0415

    return cached(record) if record.url else shipped_folder() / record.file


def _print_paths(
    records: Iterable[Record], path_of: Callable[[Record], Path | None]
) -> None:
    """Print path by path; one that fails is told and does not stop the others."""
    failed = False
    for record in records:
        try:
            if path := path_of(record):
                click.echo(path)
        except (OSError, ValueError) as error:
            click.echo(f"Error: {error}", err=True)
            failed = True
    if failed:
        raise click.exceptions.Exit(1)


def _as_data(record: Record) -> dict[str, Any]:
    facts = {field.name: getattr(record, field.name) for field in fields(record)}
    path = _path(record)
    return {
        **facts,
        "options": dict(record.options),
        "commercial": record.commercial,
        "path": path and str(path),
    }


_ABSENT = {
    "hash": "none is published: the first download's SHA-256 binds the later ones",
    "path": "not on this machine",
    "url": "comes with convzoo",
}


def _text(key: str, value: Any) -> str:
    if value is None:
        return _ABSENT.get(key, "-")
    if isinstance(value, Mapping):
        return _listed(value) or "-"
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value)) or "-"
    return f"{value:,}" if key == "bytes" else str(value)


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _print_table(records: list[Record]) -> None:
    from convzoo.terminal import Column, console, fitted, table_of  # noqa: PLC0415

    columns = [
        Column("Model", [record.model for record in records]),
        Column("Weights", [record.name for record in records]),
        Column("Variant", [record.variant for record in records]),
        Column("Options", [_options(record) for record in records]),
        Column("Pixels", [str(record.crop) for record in records], number=True),
        Column("Top-1", [_percent(record.top1) for record in records], number=True),
        Column("Top-5", [_percent(record.top5) for record in records], number=True),
        Column("MB", [f"{record.bytes / 1e6:.1f}" for record in records], number=True),
        Column("Licence", [record.licence for record in records], least=12),
        Column("Cached", [_cached(record) for record in records]),
    ]
    screen = console()
    spare = ("Top-5", "Licence", "Pixels", "MB", "Variant")
    kept = fitted(columns, screen.width, spare)
    screen.print(table_of(kept, screen.width), crop=False)


def _options(record: Record) -> str:
    return ", ".join(
        filter(None, (_listed(record.options), "" if record.include_top else "no top"))
    )


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2%}"


def _cached(record: Record) -> str:
    return "shipped" if record.url is None else "yes" if _path(record) else "no"
