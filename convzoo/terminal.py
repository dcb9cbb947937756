"""What the command shows on a terminal: tables, a bar, and none of Keras' chatter."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TextIO, TypeVar

from convzoo.catalog import Entry, Variant
from convzoo.collector import collector_paused

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

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
            _import_keras()
        finally:
            signal.signal(signal.SIGINT, usual)
        yield


def _import_keras() -> None:
    if "keras" not in sys.modules:
        with collector_paused():
            import keras  # noqa: F401, PLC0415

            gc.freeze()  # not to be searched later either


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


class Column(NamedTuple):
    """A column of a table; lines of a cell are split by newlines."""

    title: str
    cells: Sequence[str]
    foot: str = ""
    number: bool = False
    least: int | None = None  # characters to which it may be wrapped; None: never

    @property
    def widest(self) -> int:
        """Characters of its longest line."""
        from rich.cells import cell_len  # noqa: PLC0415

        texts = (self.title, *self.cells, self.foot)
        return max(cell_len(line) for text in texts for line in text.split("\n"))

    @property
    def narrowest(self) -> int:
        """Characters below which it would be cut."""
        return self.widest if self.least is None else min(self.least, self.widest)


def fitted(columns: Sequence[Column], width: int, spare: Sequence[str]) -> list[Column]:
    """Return the columns without those of ``spare``, in its order, that do not fit."""
    kept = list(columns)
    for title in spare:
        if _width([column.narrowest for column in kept]) <= width:
            break
        kept = [column for column in kept if column.title != title]
    return kept


def table_of(columns: Sequence[Column], width: int, title: str | None = None) -> Table:
    """Return a table in which nothing is cut, wider than ``width`` if need be."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    room = max(0, width - _width([column.narrowest for column in columns]))
    table = Table(
        title=None if title is None else escape(title),
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        show_footer=any(column.foot for column in columns),
    )
    widths = []
    for column in columns:
        more = min(room, column.widest - column.narrowest)
        room -= more
        widths.append(column.narrowest + more)
        table.add_column(
            Text(column.title),
            Text(column.foot),
            justify="right" if column.number else "left",
            width=widths[-1],
            no_wrap=column.least is None,
        )
    table.width = _width(widths)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _width(widths: Sequence[int]) -> int:
    """Return the width of a table: an edge on each side, two spaces in between."""
    return sum(widths) + 2 * len(widths)


def print_models(
    entries: list[Entry],
    weights: dict[str, list[str]],
    screen: Console | None = None,
) -> None:
    """Print the table of ``convzoo list``, a line for each variant."""
    screen = screen or console()
    variants = [list(entry.variants.values()) for entry in entries]
    trainable = [[f"{one.trainable:,}" for one in some] for some in variants]
    macs = [[_millions(one.macs) for one in some] for some in variants]
    sizes = [[_size(one) for one in some] for some in variants]
    columns = [
        Column("Model", [entry.name for entry in entries]),
        Column("Paper", [f"{e.authors}, {e.year}" for e in entries], least=20),
        Column("Variants", _lines(list(entry.variants) for entry in entries)),
        Column("Trainable\nparameters", _lines(trainable), number=True),
        Column("Multiply-\naccumulates", _lines(macs), number=True),
        Column("Input", _lines(sizes), number=True),
        Column("Top-1", [_percent(entry.top1) for entry in entries], number=True),
        Column("Weights", [_few(weights[e.name]) for e in entries]),
    ]
    kept = fitted(columns, screen.width, spare=("Paper", "Top-1", "Input"))
    screen.print(table_of(kept, screen.width), crop=False)


def _few(names: list[str]) -> str:
    """Return the default weights, whose name is the shortest, and count the others."""
    others = f" and {len(names) - 1} more" if names[1:] else ""
    return min(names, key=len, default="-") + others


def _lines(cells: Iterable[list[str]]) -> list[str]:
    return ["\n".join(lines) for lines in cells]


def console() -> Console:
    """Return the console of stdout; beyond a terminal it is wide, so nothing is cut."""
    from rich.console import Console  # noqa: PLC0415

    stdout = Console()
    if not (stdout.is_terminal or stdout.is_jupyter):
        stdout.width = WIDTH
    return stdout


def _millions(macs: int | None) -> str:
    return "-" if macs is None else f"{macs / 1e6:,.1f} M"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _size(variant: Variant) -> str:
    sides = ("any" if side is None else str(side) for side in variant.input_shape)
    return " x ".join(sides)
