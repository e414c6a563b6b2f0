"""The one look of all commands, by rich: what goes where, on a terminal, into a pipe and without colors.

What was asked for goes to `out`. What happens meanwhile, warnings and errors go to `err`, one line each: a pipe gets
them whole, and a terminal wraps them. Both leave markup and emoji in a text as they are, and obey NO_COLOR,
FORCE_COLOR, COLUMNS and TERM=dumb. `progress` and `status` are seen on a terminal only, and clear their line when they
end; what is printed to `err` meanwhile stands above it. Nothing here draws from a thread of its own: that would disturb
what is measured.
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

_PIPE_COLUMNS = 1000  # a table that goes into a pipe is as wide as it needs


class _Console(Console):
    """A console that lets a broken pipe through, for `main` to end quietly."""

    def on_broken_pipe(self) -> None:
        """Raise again what is being handled."""
        raise


def _console(**how: Any) -> Console:
    return _Console(markup=False, emoji=False, highlight=False, **how)


out = _console()
err = _console(stderr=True)
_pipe = _console(width=_PIPE_COLUMNS)


def show(result: RenderableType, *, style: str | None = None) -> None:
    """Print what was asked for: a line, a table or anything of rich's. In a pipe no line is broken."""
    if out.is_terminal:
        out.print(result, style=style)
    else:
        _pipe.print(result, soft_wrap=True)


def note(message: str, *, style: str = "dim") -> None:
    """Say in a line what is going on."""
    _tell(Text(message, style))


def warn(message: str) -> None:
    """Warn in a line."""
    _tell(Text.assemble(("tts-trio: warning: ", "yellow"), message))


def complain(message: str) -> None:
    """Say in a line what is wrong and what to do."""
    _tell(Text.assemble(("tts-trio: error: ", "bold red"), message))


def _tell(line: Text) -> None:
    err.print(line, soft_wrap=not err.is_terminal)  # a terminal breaks it between words


def table(rows: Iterable[Mapping[str, str]]) -> Table:
    """Make a table of rows, under the names of their fields: the first column to the left, the others to the right.

    A terminal that is too narrow breaks the names and the first column, and no number.
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
    """Draw the part of a scale between two values, in blocks, or where there are none in number signs."""
    if out.encoding.startswith("utf"):
        return Bar(size, begin, end, width=width, color=style)
    left, right = (round(width * value / size) for value in (begin, end))
    return Text(" " * left + "#" * max(1, right - left))


class Advance(Protocol):
    """What `progress` gives."""

    def __call__(self, steps: int = 1, doing: str | None = None) -> None:
        """Count steps that are done, and say what comes now."""
        ...


@contextmanager
def progress(doing: str, total: int) -> Generator[Advance]:
    """Show a bar for as long as the block runs.

    Args:
        doing: What is being done; what does not fit in 80 columns is cut.
        total: Of the steps.
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
    """Show a line that each next one replaces, for as long as the block runs."""
    with Live(console=err, transient=True, auto_refresh=False) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


class _Warnings(logging.Handler):
    """Shows what is logged in the look of the commands."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message."""
        warn(record.getMessage())


@contextmanager
def logged_warnings() -> Generator[None]:
    """Show warnings and errors that are logged while the block runs."""
    handler = _Warnings(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
