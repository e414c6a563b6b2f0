"""`tts-trio demo`: what its report calls heard is what the line played, word by word; and how it looks."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
import trio
from rich.console import Console
from trio.testing import MockClock

from tests.helpers import make_config
from tts_trio.cli import main
from tts_trio.cli.demo import command, page, report, screen
from tts_trio.cli.demo.call import Call
from tts_trio.cli.demo.line import Line
from tts_trio.cli.demo.link import Link
from tts_trio.cli.demo.scene import SCENES, characters
from tts_trio.cli.demo.score import Score, Turn
from tts_trio.config.config import TTSConfig
from tts_trio.local_server import LocalServer, ToneVoice, read_tones

LANGUAGES = tuple(SCENES)
DEMO = (sys.executable, "-m", "tts_trio", "demo")


def play(language: str) -> Call:
    """The whole call on a clock of its own, with the voice that can be read back."""

    async def run() -> Call:
        server = LocalServer(voice=ToneVoice())
        async with trio.open_nursery() as nursery:

            async def dial(_config: TTSConfig) -> trio.abc.Stream:
                await trio.lowlevel.checkpoint()
                return server.connect(nursery)

            config = make_config(language_code=language)
            score = Score(language, "tones")
            call = Call(config, Link(dial), Line(16000), lambda text: bytes(2 * 1000 * len(text)), score)
            await call.run(SCENES[language])
            call.end()
            nursery.cancel_scope.cancel()
        return call

    return trio.run(run, clock=MockClock(autojump_threshold=0))


@pytest.fixture(scope="module", params=LANGUAGES)
def call(request: pytest.FixtureRequest) -> Call:
    return play(request.param)


def agent_turns(score: Score) -> list[Turn]:
    return [turn for turn in score.turns if turn.speaker != "caller"]


def check_heard(turns: list[Turn], line: Line) -> None:
    """The words that the report calls heard are those that the line played, but for the one that was cut."""
    borders = [round(turn.began * line.sample_rate) * 2 for turn in turns] + [len(line.agent.played)]
    for turn, begins, ends in zip(turns, borders, borders[1:], strict=False):
        played = read_tones(bytes(line.agent.played[begins:ends]), "pcm_16000").split()
        told = [word.text for word in turn.words]
        assert played[: len(told)] == told
        cut = played[len(told) :]
        if turn.end == "interrupted" and cut:
            following = turn.unheard.split()[0]
            assert len(cut) == 1
            assert following.startswith(cut[0])
            assert following != cut[0]
        else:
            assert not cut
        assert turn.heard.split() == told


def test_the_words_called_heard_are_those_that_the_line_played(call: Call) -> None:
    turns = agent_turns(call.score)
    assert sum(len(turn.words) for turn in turns) > 60
    check_heard(turns, call.line)


@pytest.mark.parametrize("change", ["added", "left out"])
def test_one_word_more_or_less_in_the_report_would_be_seen(call: Call, change: str) -> None:
    turns = agent_turns(call.score)
    for number, turn in enumerate(turns):
        words = [*turn.words, attrs.evolve(turn.words[-1], text="besides")] if change == "added" else turn.words[:-1]
        changed = [*turns[:number], attrs.evolve(turn, words=words), *turns[number + 1 :]]
        with pytest.raises(AssertionError):
            check_heard(changed, call.line)


def test_everything_in_the_script_happens(call: Call) -> None:
    happened = [event.kind for turn in call.score.turns for event in turn.events]
    assert [happened.count(kind) for kind in ("barge-in", "lost", "cache", "tool")] == [1, 1, 1, 1]
    interrupted = next(turn for turn in call.score.turns if turn.end == "interrupted")
    assert interrupted.heard
    assert interrupted.unheard
    lost = next(turn for turn in call.score.turns if turn.event("lost"))
    assert lost.end == "finished"
    assert lost.silence_ms == 0  # nobody heard it
    event = lost.event("lost")
    assert event is not None
    resumed = re.search("“(.+)”", event.text)
    assert resumed is not None
    assert resumed[1] in lost.written.split()
    cached = next(turn for turn in call.score.turns if turn.event("cache"))
    assert cached.first_audio is not None
    assert cached.first_audio.total < 5


def test_the_call_is_of_about_40_seconds(call: Call) -> None:
    assert 35 < call.score.seconds < 60
    for side in (call.line.caller, call.line.agent):
        assert len(side.played) == round(call.score.seconds * call.line.sample_rate) * 2


def test_the_cost_is_the_text_of_the_agent() -> None:
    assert characters(SCENES["en"]) > characters(SCENES["en"][:6]) > 0


def test_the_sound_file_has_the_caller_left_and_the_agent_right(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(call.line.wav())
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 16000)
        both = file.readframes(file.getnframes())
    right = b"".join(both[at + 2 : at + 4] for at in range(0, len(both), 4))
    assert right == bytes(call.line.agent.played)


def test_the_page_has_all_in_it_and_asks_for_nothing_from_outside(call: Call) -> None:
    drawn = page.draw(call.score, call.line)
    addresses = set(re.findall(r"(?:https?:)?//[\w.]+", drawn)) - {"http://www.w3.org"}
    assert not {address for address in addresses if "." in address.lstrip("htps:/")}
    assert "src=" not in drawn
    data = re.search(r"const call = (\{.*\});\n", drawn)
    assert data is not None
    told = json.loads(data[1].replace("<\\/", "</"))
    assert told["turns"] == json.loads(json.dumps(call.score.to_json()["turns"]))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_screen_fits_at_every_moment(call: Call, width: int, height: int) -> None:
    for turns in range(len(call.score.turns) + 1):
        score = attrs.evolve(call.score, turns=call.score.turns[:turns])
        console = Console(width=width, height=height, force_terminal=True, color_system=None)
        lines = console.render_lines(screen.Screen(score), console.options.update(height=height))
        assert len(lines) == height
        assert all(sum(segment.cell_length for segment in line) <= width for line in lines)


def test_what_nobody_heard_is_struck_out_and_the_history_stands_below(call: Call) -> None:
    turn = next(turn for turn in call.score.turns if turn.end == "interrupted")
    told = list(screen.told(turn))
    _, text = told[0]
    struck = [span for span in text.spans if "strike" in str(span.style)]
    assert [text.plain[span.start : span.end] for span in struck] == [turn.unheard]
    label, history = told[-1]
    assert (label, history.plain) == ("history", turn.heard)


@pytest.mark.parametrize("width", [80, 66, 65, 40])
def test_the_table_fits_and_nothing_in_it_is_cut(call: Call, width: int) -> None:
    """A narrow terminal gets no parts of the first audio's time, rather than columns without their names."""
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(report.table(call.score, width))
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "…" not in captured.get()
    rows = [line for line in lines if re.match(r"\d ", line)]
    assert len(rows) == len(agent_turns(call.score))
    assert all(turn.speaker in row for turn, row in zip(agent_turns(call.score), rows, strict=True))
    assert sum("nobody" in line for line in lines) == 1
    assert ("model" in captured.get()) == (width >= 66)


class Keyboard:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "keyboard", "live"),
    [("xterm", Keyboard(), True), ("dumb", Keyboard(), False), ("xterm", None, False), ("xterm", io.StringIO(), False)],
    ids=["a terminal", "one that cannot move its cursor", "closed input", "input from a pipe"],
)
def test_who_sees_the_call_live(term: str, keyboard: object, live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All others get a line for each turn: never a blank screen, and no traceback."""
    monkeypatch.setattr("sys.stdin", keyboard)
    shown = Console(force_terminal=True, _environ={"TERM": term})
    assert command.is_live(shown) is live


def test_a_folder_that_may_not_be_written_is_refused_before_the_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    assert main(["demo", "--fast", "-o", str(tmp_path)]) == 2
    assert "must be a folder that this user may write to" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_fast_takes_less_than_ten_seconds_and_leaves_two_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    began = time.monotonic()
    assert main(["demo", "--fast", "--json", "--language", "ru", "-o", str(tmp_path)]) == 0
    assert time.monotonic() - began < 10
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert [turn["end"] for turn in told["turns"]].count("interrupted") == 1
    assert "call.html" in captured.err
    assert {path.name for path in tmp_path.iterdir()} == {"call.wav", "call.html"}
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert abs(file.getnframes() / file.getframerate() - told["seconds"]) < 0.01


@pytest.mark.parametrize(
    ("arguments", "key", "says"),
    [
        (["-o", "nowhere/at/all"], None, "--output: 'nowhere/at/all' must be a folder"),
        (["--fast"], "sk_0123456789abcdef", "--fast: it needs the built-in voice"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: list[str],
    key: str | None,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("ELEVENLABS_API_KEY", key)
    assert main(["demo", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@contextmanager
def on_a_terminal(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "ELEVENLABS_API_KEY"}
    process = subprocess.Popen(
        [*DEMO, "-o", str(folder)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"},
        preexec_fn=os.setsid,
    )  # fmt: skip
    try:
        yield process, ours, theirs
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def read_until(terminal: int, wanted: bytes, seconds: float) -> bytes:
    came = b""
    ends = time.monotonic() + seconds
    while wanted not in came:
        assert time.monotonic() < ends, came
        if select.select([terminal], [], [], 0.1)[0]:
            came += os.read(terminal, 65536)
    return came


@pytest.mark.parametrize("how", ["q", "Ctrl-C"])
def test_the_terminal_is_left_as_it_was(how: str, tmp_path: Path) -> None:
    with on_a_terminal(tmp_path) as (process, ours, theirs):
        before = termios.tcgetattr(theirs)
        read_until(ours, b"\x1b[?1049h", 30)  # the other screen
        read_until(ours, b"Northwind", 30)
        if how == "q":
            os.write(ours, b"q")
        else:
            process.send_signal(2)
        came = read_until(ours, b"\x1b[?1049l", 30)
        while process.poll() is None:
            if select.select([ours], [], [], 0.1)[0]:
                came += os.read(ours, 65536)
        assert came.rfind(b"\x1b[?25h") > came.rfind(b"\x1b[?25l")  # the cursor
        assert process.returncode == (0 if how == "q" else 130)
        assert termios.tcgetattr(theirs) == before
