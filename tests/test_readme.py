"""The README is true: its examples run, its tables are those of the code."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.helpers import API_KEY, RUSSIAN, TEXTS, VOICE_ID, tokens
from tts_trio import AudioFormat, TTSConfig, TTSError, open_tts
from tts_trio import errors as tree
from tts_trio.local_server import Behaviour, ToneVoice, open_local_server

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def run_example(function: str) -> Any:
    """The function of this name out of the README's example that defines it."""
    (example,) = [example for example in EXAMPLES if f"def {function}(" in example]
    names: dict[str, Any] = {"trio": trio}
    exec(compile(example, f"README example {function}", "exec"), names)
    return names[function]


@attrs.define
class Call:
    """A telephone call: what is played takes its time, at 20 times the speed to be quick."""

    format: AudioFormat
    interrupt_after_ms: float = float("inf")
    played_ms: float = 0.0
    on_speech_callback: Any = None

    async def play(self, chunk: bytes) -> None:
        assert self.format.sample_bytes is not None
        for start in range(0, len(chunk), 160):
            frame = chunk[start : start + 160]
            milliseconds = len(frame) / self.format.sample_bytes / self.format.sample_rate * 1000
            if self.on_speech_callback and self.played_ms + milliseconds > self.interrupt_after_ms:
                self.on_speech_callback()
            await trio.sleep(milliseconds / 1000 / 20)
            self.played_ms += milliseconds

    def on_speech(self, callback: Any) -> None:
        self.played_ms = 0.0
        self.on_speech_callback = callback


@pytest.mark.parametrize("interrupt_after_ms", [2000, float("inf")])
async def test_the_first_example(monkeypatch: pytest.MonkeyPatch, interrupt_after_ms: float) -> None:
    async with open_local_server(Behaviour(), voice=ToneVoice()) as server:
        monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
        call = Call(AudioFormat.parse("ulaw_8000"), interrupt_after_ms)
        history: list[str] = []
        await run_example("answer")(call, tokens(RUSSIAN, 0.001), history)
    if interrupt_after_ms == 2000:
        assert 0 < len(history[0]) < len(RUSSIAN)
        assert RUSSIAN.startswith(history[0])
        assert history[0].split() == RUSSIAN.split()[: len(history[0].split())]
    else:
        assert history == [RUSSIAN]


async def test_the_primitive(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_local_server(Behaviour(), voice=ToneVoice()) as server:
        config = TTSConfig(api_key="any", voice_id="any", base_url=server.base_url)
        async with open_tts(config) as tts:
            call = Call(config.format)
            await run_example("echo")(tts, call, tokens(TEXTS["en"], 0.001))
            assert call.played_ms > len(TEXTS["en"]) * 60


async def test_the_phrases_known_in_advance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with open_local_server(Behaviour(), voice=ToneVoice()) as server:
        monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
        config = await run_example("start_worker")(tmp_path / "phrases.db")
    async with open_tts(config.evolve(phrase_cache_timeout=5.0)) as tts:  # nobody listens there now
        for phrase in run_example("start_worker").__globals__["PHRASES"]:
            async with tts.stream_static_text(phrase) as audio:
                assert len([chunk async for chunk in audio]) > 1
            assert audio.usage.characters == 0


async def test_the_example_of_a_test() -> None:
    await run_example("test_a_connection_that_breaks_in_mid_reply")()


def test_there_are_no_other_examples() -> None:
    assert len(EXAMPLES) == 6  # those of threads and of the telephone: `test_sync.py`, `test_telephone.py`


def configuration_table() -> str:
    """The table of the configuration, from the docstring and the defaults."""
    attributes = (inspect.getdoc(TTSConfig) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    texts = {name: " ".join(text.split()) for name, text in entries}
    rows = ["| field | default | |", "|---|---|---|"]
    for field in attrs.fields(TTSConfig):
        default = field.default
        if default is attrs.NOTHING:
            shown = "required"
        elif isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            shown = f"`{default.factory.__name__}()`"
        else:
            shown = f"`{default!r}`"
        rows.append(f"| `{field.name}` | {shown} | {texts[field.name]} |")
    return "\n".join(rows)


def test_the_configuration_table_is_the_codes() -> None:
    assert configuration_table() in README


def test_what_others_have_is_named_as_it_is_here() -> None:
    fields = {field.name for field in attrs.fields(TTSConfig)}
    rows = re.findall(r"^\|.*\| ([^|]*) \|$", README.partition("## Coming from elsewhere")[2], re.MULTILINE)
    named = [name for row in rows[9:14] for name in re.findall(r"`(\w+)`", row)]
    assert len(named) == 6
    assert set(named) <= fields
    checklist = README.partition("## Production checklist")[2].partition("## Coming")[0]
    for name in re.findall(r"`(\w+_\w+)`", checklist):
        assert name in fields | {"prefetch"}, name


def test_every_error_is_in_the_table_and_in_the_drawing() -> None:
    kinds = [kind for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, TTSError)]
    assert len(kinds) == 13
    for kind in kinds:
        assert f"`{kind.__name__}`" in README or kind is TTSError
        assert re.search(rf"^[ │├└─]*{kind.__name__} ", textwrap.dedent(tree.__doc__ or ""), re.MULTILINE)


def test_the_two_commands_are_lines_of_their_own() -> None:
    lines = README.splitlines()
    assert 'pip install ".[local]" && tts-trio say "Hello from trio" -o hello.wav' in lines
    assert 'pip install -e ".[test]" && pytest -n auto' in lines
