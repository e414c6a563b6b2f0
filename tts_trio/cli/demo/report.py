"""Reports the call as text: some lines for each turn, and a table at the end."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tts_trio.cli.demo.score import Score, Turn

_WITH_PARTS = 66  # columns of the table with the parts of the time to the first audio


def tell(console: Console, turn: Turn) -> None:
    """Print a turn that has ended."""
    speaker = "caller" if turn.speaker == "caller" else "agent"
    lines = [f"{turn.began:5.1f} s  {speaker:7} {turn.heard}"]
    if turn.unheard:
        lines.append(f"{'':16}not heard: {turn.unheard.strip()}")
    lines += [f"{'':16}{event.text}" for event in turn.events]
    for line in lines:
        console.print(line, soft_wrap=True)


def table(score: Score, width: int) -> Table:
    """Return the table of the agent's turns. A narrow one leaves the parts of the time to the first audio out."""
    named = ("\ntext", "\nlink", "\nmodel", "\nclient") if width >= _WITH_PARTS else ()
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    shown.add_column("turn", no_wrap=True)
    for name in ("first\naudio", *named, "words\nheard"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("what went wrong,\nand who noticed", overflow="fold")
    for number, turn in enumerate((turn for turn in score.turns if turn.speaker != "caller"), 1):
        first = turn.first_audio
        parts = () if first is None else (first.total, first.text, first.link, first.model, first.client)
        times = (list(map(_ms, parts)) if parts else ["-"] * 5)[: 1 + len(named)]
        words = f"{len(turn.heard.split())}/{len(turn.written.split())}"
        shown.add_row(f"{number} {turn.speaker}", *times, words, _what_went_wrong(turn))
    shown.caption = "milliseconds" + ("; model: the service, the way there and back included" if named else "")
    shown.caption_justify = "left"
    return shown


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or not value else f"{value:.1f}"


def _what_went_wrong(turn: Turn) -> Text:
    if turn.end == "interrupted":
        return Text("the caller interrupted", "red")
    silence = f"{turn.silence_ms:.0f} ms of silence"
    if turn.event("lost"):
        return Text(f"the connection was cut: {silence if turn.silence_ms else 'nobody noticed'}", "yellow")
    if turn.event("tool") and turn.silence_ms:
        return Text(f"the tool took its time: {silence}")
    if turn.event("cache"):
        return Text("nothing: from the cache", "green")
    return Text(silence, "yellow") if turn.silence_ms else Text("nothing", "dim")
