"""Shows the call on a terminal while it goes on: what is written, sent and heard, word by word."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import attrs
import trio
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.rule import Rule
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tts_trio.cli.demo.call import Call
from tts_trio.cli.demo.score import EventKind, Score, Turn

_REFRESH = 1 / 15  # seconds
_LABEL_WIDTH = 8

STYLES: dict[EventKind, str] = {
    "first audio": "dim",
    "cache": "green",
    "tool": "dim",
    "barge-in": "red",
    "lost": "yellow",
}
"""The style of each kind of event."""


async def show(call: Call, console: Console) -> None:
    """Show a call until this task is cancelled, and then restore the terminal."""
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Screen(call.score), refresh=True)
            await trio.sleep(_REFRESH)


@asynccontextmanager
async def keys() -> AsyncGenerator[AsyncGenerator[str]]:
    """Give the keys that are pressed, each at once and not at the end of a line. On Windows it gives none."""
    try:
        import termios
        import tty
    except ImportError:
        yield _no_keys()
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield _pressed(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


async def _pressed(terminal: int) -> AsyncGenerator[str]:  # noqa: ASYNC900 - its only user reads it until it is cancelled
    while True:
        await trio.lowlevel.wait_readable(terminal)
        pressed = os.read(terminal, 16).decode(errors="replace")
        if not pressed:  # the terminal was closed
            return
        for key in pressed:
            yield key


async def _no_keys() -> AsyncGenerator[str]:  # noqa: ASYNC900 - as above
    await trio.sleep_forever()
    yield ""


def told(turn: Turn) -> Iterator[tuple[str, Text]]:
    """Give the lines of a turn, each with its label."""
    if turn.speaker == "caller":
        yield "caller", Text(turn.written, "cyan")
        return
    yield "agent", _reply(turn)
    for event in turn.events:
        yield "", Text(event.text, STYLES[event.kind])
    if turn.end == "interrupted":
        yield "history", Text(turn.heard, "green")


def _reply(turn: Turn) -> Text:
    text = Text(turn.heard, "bold")
    if turn.end == "interrupted":
        return text.append(turn.unheard, "dim strike")
    sent = _end_of_sent(turn) if turn.speaker == "reply" else len(turn.written)
    text.append(turn.written[len(turn.heard) : sent])
    return text.append(turn.written[max(sent, len(turn.heard)) :], "dim")


def _end_of_sent(turn: Turn) -> int:
    """Return where the sent phrases end in the text. They differ from it in blanks only, so non-blanks are counted."""
    remaining = sum(not char.isspace() for _, phrase in turn.phrases for char in phrase)
    for index, char in enumerate(turn.written):
        if not remaining:
            return index
        remaining -= not char.isspace()
    return len(turn.written)


@attrs.frozen
class Screen:
    """The whole screen: the last lines of the transcript, and a footer."""

    score: Score

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = (options.height or console.height) - 3
        said = console.render_lines(_transcript(self.score), options.update(height=None), pad=False)
        for line in said[-height:]:
            yield from line
            yield Segment.line()
        yield from (Segment.line() for _ in range(height - len(said)))
        yield Rule(style="dim")
        yield self._foot()

    def _foot(self) -> Text:
        score = self.score
        return Text.assemble(
            (f"{score.seconds:5.1f} s  ", "bold"),
            f"sockets: {score.hot} hot, {score.in_use} in use, {score.dialing} dialing   ",
            f"lead {max(0.0, score.lead_ms) / 1000:4.1f} s",
            ("\nspace interrupts, q leaves", "dim"),
            no_wrap=True,
            overflow="ellipsis",
        )


def _transcript(score: Score) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=_LABEL_WIDTH, justify="right", style="dim", no_wrap=True)
    grid.add_column()
    for turn in score.turns:
        for label, text in told(turn):
            grid.add_row(label, text)
    return grid
