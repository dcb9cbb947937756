"""Options that several commands take, and how their values are read."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from convzoo.arguments import near, one_of
from convzoo.catalog import CATALOG
from convzoo.commands.errors import misuse, reported

if TYPE_CHECKING:
    from convzoo.pretrained.record import Record

LEVELS = ("stage", "block", "layer")

Command = TypeVar("Command", bound=Callable[..., None])


class OneOf(click.Choice[str]):
    """One of a few words; another one is answered in one sentence."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Accept a word or end the command."""
        with reported():
            one_of(param.opts[0] if param else "The value", value, self.choices)
        return super().convert(value, param, ctx)


class Count(click.ParamType[int]):
    """A whole number of at least 1; anything else is answered in one sentence."""

    name = "integer"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002
    ) -> int:
        """Accept a count or end the command."""
        try:
            count = int(value)
        except ValueError:
            count = 0
        if count < 1:
            option = param.opts[0] if param else "The value"
            misuse(f"{option} must be a whole number of at least 1, found {value!r}.")
        return count


class ImageShape(click.ParamType[tuple[int, int, int]]):
    """Height, width and channels; anything else is answered in one sentence."""

    name = "shape"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002
    ) -> tuple[int, int, int]:
        """Accept a shape or end the command."""
        match = re.fullmatch(r"(\d+)x(\d+)x(\d+)", value)
        if match is None:
            option = param.opts[0] if param else "The value"
            misuse(
                f"{option} must be HEIGHTxWIDTHxCHANNELS, such as 64x64x3, "
                f"found {value!r}."
            )
        height, width, channels = map(int, match.groups())
        return height, width, channels


json_flag = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of text."
)
variant_option = click.option(
    "--variant", metavar="NAME", help="Variant of the model; else the default one."
)
shape_option = click.option(
    "--input-shape",
    type=ImageShape(),
    metavar="HEIGHTxWIDTHxCHANNELS",
    help="Size of the image, such as 64x64x3; else the usual one.",
)
option = click.option(
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    help="Option of the model, such as alpha=0.5.",
)
size_option = click.option(
    "--size", type=Count(), metavar="PIXELS", help="Side of the image, for the nearest."
)
_no_top = click.option("--no-top", is_flag=True, help="Prefer the file without head.")


def choice(command: Command) -> Command:
    """Add the options that tell files apart which share a name."""
    return variant_option(option(size_option(_no_top(command))))


def chosen(
    model: str,
    name: str,
    variant: str | None = None,
    options: Iterable[str] = (),
    size: int | None = None,
    no_top: bool = False,
) -> Record:
    """Return the record that a name and what tells files apart mean."""
    from convzoo.pretrained.records import weights_info  # noqa: PLC0415

    given = parsed(options)
    try:
        with reported():
            return weights_info(
                model,
                name,
                variant,
                include_top=not no_top,
                input_shape=None if size is None else (size, size, 3),
                **given,
            )
    except TypeError as error:  # an option in which the weights do not differ
        misuse(str(error))


def obtain(record: Record) -> None:
    """Download weights unless they are here, with a progress bar of their own."""
    note_licence(record)
    with reported(misuse=()):
        record.path()


def note_licence(record: Record) -> None:
    """Tell of a licence that not everyone may use."""
    if not record.commercial:
        click.echo(
            f"Note: {record.model}/{record.name} is licensed {record.licence}, which "
            "forbids commercial use.",
            err=True,
        )


def parsed(options: Iterable[str]) -> dict[str, Any]:
    """Return the values of ``--option NAME=VALUE``, read as JSON where they are."""
    values: dict[str, Any] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name.isidentifier():
            misuse(f"--option must be NAME=VALUE, such as alpha=0.5, found {option!r}.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def parsed_for(
    model: str, options: Iterable[str], taken: Iterable[str]
) -> dict[str, Any]:
    """Return the values of ``--option``, all of them arguments of a builder.

    Args:
        model: Name of a builder.
        options: As ``--option`` gives them.
        taken: Arguments of the builder that the command sets by other options.
    """
    from convzoo.terminal import quiet_keras  # noqa: PLC0415

    values = parsed(options)
    if not values:
        return values
    with reported(), quiet_keras(f"Loading {model}"):
        known = inspect.signature(CATALOG[model].load()).parameters
    accepted = [name for name in known if name not in set(taken)]
    for name in values:
        if name not in accepted:
            misuse(
                f"{model}() has no argument {name!r} for --option"
                f"{near(name, accepted)}; it takes {', '.join(accepted)}."
            )
    return values
