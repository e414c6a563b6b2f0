"""The README is true: its examples run, its tables are those of the code."""

from __future__ import annotations

import builtins
import dis
import inspect
import re
import textwrap
import types
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.helpers import API_KEY, RUSSIAN, TEXTS, VOICE_ID, heard, make_config, memory_service, speaking, tokens
from tts_trio import TTSConfig, TTSError, WebSocketConnectionManager, open_tts
from tts_trio import errors as tree
from tts_trio.local_server import Behaviour, ToneVoice, open_local_server

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def names_of(example: str) -> dict[str, Any]:
    """What an example defines when it is run as it stands."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "README example", "exec"), names)
    return names


def run_example(function: str) -> Any:
    """The function of this name out of the README's example that defines it."""
    (example,) = [example for example in EXAMPLES if f"def {function}(" in example]
    return names_of(example)[function]


def globals_of(code: types.CodeType) -> set[str]:
    """The global names that a piece of code uses, the code in it included."""
    own = {line.argval for line in dis.get_instructions(code) if line.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return own.union(*(globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_needs_no_name_that_a_reader_would_have_to_guess(example: str) -> None:
    used = globals_of(compile(example, "README example", "exec"))
    assert used - names_of(example).keys() - vars(builtins).keys() == set()


@attrs.define
class Call:
    """A telephone line: it takes frames, and hears the caller when so many of the reply have been sent."""

    interrupt_after: float = float("inf")
    frames: list[bytes] = attrs.field(factory=list[bytes])
    on_speech_callback: Any = None
    sent_before: int = 0

    async def send(self, frame: bytes) -> None:
        self.frames.append(frame)
        if self.on_speech_callback and len(self.frames) - self.sent_before == self.interrupt_after:
            self.on_speech_callback()

    def on_speech(self, callback: Any) -> None:
        self.sent_before = len(self.frames)
        self.on_speech_callback = callback


@pytest.mark.parametrize("interrupt_after", [110, float("inf")])
async def test_the_first_example(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, interrupt_after: float
) -> None:
    """Into the history goes what was heard of the reply, however long the call has been."""
    history: list[str] = []
    call = Call(interrupt_after)
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    async with memory_service() as service:
        answer = run_example("answer")
        answer.__globals__["WebSocketConnectionManager"] = partial(
            WebSocketConnectionManager, open_stream=service.open_stream
        )
        await answer(call, tokens(RUSSIAN, 0.001), history)
    assert call.sent_before > 50  # the greeting was heard before
    (spoken,) = history
    if interrupt_after == 110:  # a frame of 20 ms is sent 0.2 s before it is due: 2 s were heard, 60 ms a character
        assert RUSSIAN.startswith(spoken)
        assert spoken.split() == RUSSIAN.split()[: len(spoken.split())]
        assert 20 <= len(spoken) <= 2000 / 60
    else:
        assert spoken == RUSSIAN


async def test_the_primitive(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        call = Call()
        await run_example("echo")(tts, call, tokens(TEXTS["en"], 0.001))
        assert heard(b"".join(call.frames), tts.config) == TEXTS["en"]


async def test_the_phrases_known_in_advance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with open_local_server(Behaviour(), voice=ToneVoice()) as server:
        monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
        config = await run_example("start_worker")(tmp_path / "phrases.db")
    async with open_tts(config.evolve(audio_cache_timeout=5.0)) as tts:  # nobody listens there now
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
    assert 'pip install ".[voice]" && tts-trio say "Hello from trio" -o hello.wav' in lines
    assert 'pip install -e ".[test]" && pytest -n auto' in lines
