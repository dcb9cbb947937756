"""What the command shows on a terminal: tables, a bar, and none of Keras' chatter."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TextIO, TypeVar

from convzoo.catalog import Entry, Variant

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

WIDTH = 160  # characters of a table that no terminal shows


@contextmanager
def quiet_keras(message: str) -> Iterator[None]:
    """Import Keras without its backend's chatter, telling a terminal what goes on."""
    from rich.console import Console  # noqa: PLC0415

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_libraries() as stderr, Console(file=stderr).status(message) as status:

        def leave(*_: object) -> NoReturn:
            status.stop()
            os._exit(130)

        # Ctrl-C: the C code that is imported here would swallow a KeyboardInterrupt.
        usual = signal.signal(signal.SIGINT, leave)
        try:
            import keras  # noqa: F401, PLC0415
        finally:
            signal.signal(signal.SIGINT, usual)
        yield


@contextmanager
def _silent_libraries() -> Iterator[TextIO]:
    """Silence file descriptor 2 and give a stream that still writes to it.

    TensorFlow's C++ logs there while it is imported, before it reads its log level.
    """
    sys.stderr.flush()
    with open(os.dup(2), "w") as stderr, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
        try:
            yield stderr
        finally:
            os.dup2(stderr.fileno(), 2)


def with_progress(items: Iterator[T], total: int) -> Iterator[T]:
    """Show a bar on a terminal once this has taken more than a second."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    stderr = Console(stderr=True)
    bar = Progress(console=stderr, transient=True, redirect_stdout=False)
    task = bar.add_task("Classifying", total=total)
    begun, shown = time.monotonic(), False
    try:
        for item in items:
            bar.advance(task)
            if stderr.is_terminal and not shown and time.monotonic() - begun > 1:
                bar.start()
                shown = True
            yield item
    finally:
        if shown:
            bar.stop()


def print_models(entries: list[Entry], weights: dict[str, list[str]]) -> None:
    """Print the table of ``convzoo list``, a line for each variant."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD)
    for heading in ("Model", "Paper", "Variants"):
        table.add_column(heading, no_wrap=heading == "Model")
    for heading in ("Trainable\nparameters", "Multiply-\naccumulates", "Input"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Weights")
    for entry in entries:
        variants = entry.variants.values()
        table.add_row(
            entry.name,
            f"{entry.authors}, {entry.year}",
            "\n".join(entry.variants),
            "\n".join(f"{each.trainable:,}" for each in variants),
            "\n".join(_millions(each.macs) for each in variants),
            "\n".join(_size(each) for each in variants),
            ", ".join(weights[entry.name]) or "-",
        )
    console().print(table, markup=False)


def console() -> Console:
    """Return the console of stdout; beyond a terminal it is wide, so nothing is cut."""
    from rich.console import Console  # noqa: PLC0415

    stdout = Console()
    stdout.width = stdout.width if stdout.is_terminal else WIDTH
    return stdout


def _millions(macs: int | None) -> str:
    return "-" if macs is None else f"{macs / 1e6:,.1f} M"


def _size(variant: Variant) -> str:
    sides = ("any" if side is None else str(side) for side in variant.input_shape)
    return " x ".join(sides)
