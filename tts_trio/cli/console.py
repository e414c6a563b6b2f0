"""The output of all commands, by rich: on a terminal, into a pipe, and without colors.

The result of a command goes to `out`. Notes, warnings and errors go to `err`, one line each; a terminal wraps them, and
a pipe gets them whole. Both leave markup and emoji in a text as they are, and obey NO_COLOR, FORCE_COLOR, COLUMNS and
TERM=dumb. `progress` and `status` are shown on a terminal only, and clear their line at their end; lines printed to
`err` meanwhile appear above it. Nothing here draws in a thread of its own, which would disturb the measurements.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

_PIPE_COLUMNS = 1000  # so that a table in a pipe is as wide as it needs


class _Console(Console):
    """A console that raises a BrokenPipeError, for `run` to end quietly."""

    def on_broken_pipe(self) -> None:
        """Raise the BrokenPipeError again."""
        raise


def _console(**how: Any) -> Console:
    return _Console(markup=False, emoji=False, highlight=False, **how)


out = _console()
err = _console(stderr=True)
_pipe = _console(width=_PIPE_COLUMNS)


def show(result: RenderableType, *, style: str | None = None) -> None:
    """Print a result: a line, a table or another renderable of rich. In a pipe no line is wrapped."""
    if out.is_terminal:
        out.print(result, style=style)
    else:
        _pipe.print(result, soft_wrap=True)


def note(message: str, *, style: str = "dim") -> None:
    """Print a line about what the command does."""
    _tell(Text(message, style))


def warn(message: str) -> None:
    """Print a warning in a line."""
    _tell(Text.assemble(("tts-trio: warning: ", "yellow"), message))


def complain(message: str) -> None:
    """Print an error in a line."""
    _tell(Text.assemble(("tts-trio: error: ", "bold red"), message))


def _tell(line: Text) -> None:
    err.print(line, soft_wrap=not err.is_terminal)  # on a terminal rich wraps the line between words


def listing(rows: Iterable[Mapping[str, str]]) -> Table:
    """Return a table of rows of text, under the names of their fields, which a narrow terminal wraps."""
    rows = list(rows)
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in dict.fromkeys(name for row in rows for name in row):
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*row.values())
    return made


def table(rows: Iterable[Mapping[str, str]]) -> Table:
    """Return a table of rows, under the names of their fields: the first column aligned left, the others right.

    A narrow terminal wraps the names and the first column, but no number.
    """
    rows = list(rows)
    made = Table(box=None, pad_edge=False, header_style="bold")
    names = list(dict.fromkeys(name for row in rows for name in row))
    for position, name in enumerate(names):
        widest = max(len(row.get(name, "")) for row in rows)
        made.add_column(
            name,
            justify="right" if position else "left",
            min_width=widest if position else None,
            vertical="bottom",
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(row.get(name, "") for name in names))
    return made


def bar(size: float, begin: float, end: float, *, width: int, style: str = "cyan") -> RenderableType:
    """Draw the part of a scale between two values, in blocks; in number signs where the encoding has no blocks."""
    if out.encoding.startswith("utf"):
        return Bar(size, begin, end, width=width, color=style)
    left, right = (round(width * value / size) for value in (begin, end))
    return Text(" " * left + "#" * max(1, right - left))


class Advance(Protocol):
    """The function that `progress` gives."""

    def __call__(self, steps: int = 1, doing: str | None = None) -> None:
        """Count steps that are done, and show what is done next."""
        ...


@contextmanager
def progress(doing: str, total: int) -> Generator[Advance]:
    """Show a progress bar until the block ends.

    Args:
        doing: What is being done; it is cut to fit into 80 columns.
        total: The number of steps.
    """
    if not err.is_interactive:
        yield lambda steps=1, doing=None: None
        return
    with Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(max_width=32, no_wrap=True)),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        auto_refresh=False,
    ) as bar:
        task = bar.add_task(doing, total=total)

        def advance(steps: int = 1, doing: str | None = None) -> None:
            bar.update(task, advance=steps, description=doing, refresh=True)

        advance(0)
        yield advance


@contextmanager
def status() -> Generator[Callable[[str], None]]:
    """Show a line until the block ends; each call of the given function replaces it."""
    with Live(console=err, transient=True, auto_refresh=False) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


class _Warnings(logging.Handler):
    """Prints log records as the commands print warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        warn(record.getMessage())


@contextmanager
def logged_warnings() -> Generator[None]:
    """Print the warnings and errors that are logged until the block ends."""
    handler = _Warnings(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
