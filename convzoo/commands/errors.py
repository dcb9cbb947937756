"""How every command answers: errors in one line with an exit code, data as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click


def misuse(message: str) -> NoReturn:
    """End the command: it was called in a way that cannot be meant."""
    click.echo(f"Error: {message}", err=True)
    raise click.exceptions.Exit(2)


@contextmanager
def reported(misuse: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Turn an error that the user can act on into one line and an exit code."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        click.echo(f"Error: {error}", err=True)
        raise click.exceptions.Exit(2 if isinstance(error, misuse) else 1) from None


def print_json(data: Any) -> None:
    """Print data for other programs."""
    click.echo(json.dumps(data, indent=2))
