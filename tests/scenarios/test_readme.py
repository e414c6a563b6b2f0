"""The pages are true: examples run as they stand, tables are those of the code, links lead somewhere."""

from __future__ import annotations

import builtins
import dis
import importlib.util
import logging
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.helpers import (
    API_KEY,
    RUSSIAN,
    TEXTS,
    VOICE_ID,
    heard,
    make_config,
    memory_service,
    speaking,
    tables,
    tokens,
)
from tests.helpers.pages import PAGES, ROOT, blocks, example, run_example
from tts_trio import Timeouts, TTSConfig, TTSError, open_tts
from tts_trio import errors as tree
from tts_trio.cli.command_line import _options as parsed
from tts_trio.cli.serve.command import parse as parse_serve
from tts_trio.local_server import Behavior, ToneVoice, open_local_server

README, GUIDE = PAGES["README.md"], PAGES["tts_trio/README.md"]
HELLO, *PROGRAMS = [block for _, block in blocks("python") if "trio.run(" in block]
FUNCTIONS = (
    "answer",
    "echo",
    "hand_over",
    "answer_anyhow",
    "answer_with_tools",
    "answer_with_captions",
    "start_worker",
    "start_agent",
    "answer_and_measure",
    "answer_hedged",  # in test_hedging.py
    "test_a_connection_that_breaks_in_mid_reply",
    "test_a_firewall_forgets_the_connection",
    "speak_plainly",
    "speak_signs",
    "serve_call",  # in test_telephone.py
    "serve_audiosocket",  # in test_telephone.py
    "answer_in_a_thread",  # in test_sync.py
    "threaded_app",  # in test_asyncio.py
    "guest_app",
)
"""What the other examples define; a test runs each."""


def globals_of(code: types.CodeType) -> set[str]:
    """The global names that a piece of code uses, the code in it included."""
    own = {line.argval for line in dis.get_instructions(code) if line.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return own.union(*(globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def test_every_example_is_run() -> None:
    for _, block in blocks("python"):
        assert block in (HELLO, *PROGRAMS) or any(f"def {name}(" in block for name in FUNCTIONS), block


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_example_needs_no_name_that_a_reader_would_have_to_guess(name: str) -> None:
    function = run_example(name)
    assert globals_of(function.__code__) - function.__globals__.keys() - vars(builtins).keys() == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_as_it_stands(program: str, tmp_path: Path) -> None:
    """Without a key, in an empty directory, and without a word of complaint."""
    done = subprocess.run([sys.executable, "-"], input=program.encode(), cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_hello_is_short_and_speaks(tmp_path: Path) -> None:
    assert HELLO in README
    assert len([line for line in HELLO.splitlines() if line]) <= 12
    test_a_program_runs_as_it_stands(HELLO, tmp_path)
    sound = (tmp_path / "hello.mp3").read_bytes()
    assert 128_000 / 8 < len(sound) < 3 * 128_000 / 8  # of one to three seconds, at 128 kbit/s


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("speak_plainly", "Sure! Your order weighs five kilograms. The time of arrival is on example dot com."),
        ("speak_signs", "Fish and chips, salt and vinegar."),
    ],
)
async def test_text_for_ears(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    """The comment in the example is what is heard."""
    sound: list[bytes] = []

    class Line:
        async def play(self, chunk: bytes) -> None:
            sound.append(chunk)

    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    async with memory_service() as service:
        with service.answer_every_dial():
            await run_example(name)(Line())
    said = heard(b"".join(sound), make_config())
    assert said == expected
    assert said in GUIDE


@pytest.mark.parametrize("interrupt_after", [110, float("inf")])
async def test_a_call(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, interrupt_after: float
) -> None:
    """Into the history goes what was heard of the reply, however long the call has been."""
    history: list[str] = []
    call = Call(interrupt_after)
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    async with memory_service() as service:
        with service.answer_every_dial():
            await run_example("answer")(call, tokens(RUSSIAN, 0.001), history)
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


async def test_another_voice_for_one_reply(autojump_clock: trio.testing.MockClock) -> None:
    """Each is said by its own voice."""
    async with memory_service(dial_time=0.3) as service, speaking(make_config(spares=0), service.open_stream) as tts:
        call = Call()
        await run_example("hand_over")(tts, call, [TEXTS["ru"]], tokens(TEXTS["en"], 0.001))
        assert heard(b"".join(call.frames), tts.config).split() == f"{TEXTS['ru']} {TEXTS['en']}".split()
        assert tts.connections.statistics().dials == 4  # for each voice, and behind each reply


@attrs.define
class Screen:
    """Shows the words of a call."""

    shown: list[str] = attrs.field(factory=list[str])

    async def show(self, word: str) -> None:
        self.shown.append(word)


@pytest.mark.parametrize("language", TEXTS)
async def test_the_captions(autojump_clock: trio.testing.MockClock, language: str) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        screen = Screen()
        await run_example("answer_with_captions")(tts, Call(), tokens(TEXTS[language], 0.001), screen)
        assert screen.shown == TEXTS[language].split()


async def test_a_filler(autojump_clock: trio.testing.MockClock) -> None:
    """It is said while the LLM calls a tool, and is not in the history."""

    async def llm() -> AsyncGenerator[str, None]:
        yield "Сейчас посмотрю. "
        await trio.sleep(5)
        yield "Заказ 42 готов."

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        call, history = Call(), list[str]()
        await run_example("answer_with_tools")(tts, call, llm(), history)
    said = heard(b"".join(call.frames), make_config())
    assert said == "Сейчас посмотрю. Одну секунду… Заказ 42 готов."
    assert history == ["Сейчас посмотрю. Заказ 42 готов."]


class Vendor:
    """Another service, which speaks faster."""

    async def stream(self, text: str, *, sample_rate: int) -> AsyncGenerator[bytes, None]:
        yield ToneVoice().speak(f" {text}", language_code=None, speed=1.2, sample_rate=sample_rate).samples


async def test_a_second_source(autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    async with memory_service(Behavior(api_keys=("another",))) as service:
        call = Call()
        with service.answer_every_dial():
            await run_example("answer_anyhow")(call, tokens(TEXTS["ru"], 0.001), Vendor())
    assert heard(b"".join(call.frames), make_config()) == TEXTS["ru"]


@asynccontextmanager
async def service_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[None]:
    """A local server, which `TTSConfig.from_env` finds."""
    async with open_local_server(Behavior(), voice=ToneVoice()) as server:
        monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
        monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
        monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
        yield


async def test_the_static_texts_of_a_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start_worker = run_example("start_worker")
    async with service_of_the_environment(monkeypatch):
        config = await start_worker(tmp_path / "texts.db")
    async with open_tts(config.evolve(timeouts=Timeouts(cache=5.0))) as tts:  # nobody listens there now
        for text in start_worker.__globals__["TEXTS"]:
            async with tts.stream_static_text(text) as audio:
                assert len([chunk async for chunk in audio]) > 1
            assert audio.usage.characters == 0


async def test_the_openings_of_an_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start_agent = run_example("start_agent")
    async with service_of_the_environment(monkeypatch):
        config = await start_agent(tmp_path / "openings.db")
        rest = "It is here. "
        async with open_tts(config) as tts:
            for opening in start_agent.__globals__["OPENINGS"]:
                text = f"{opening} {rest}"
                for blanks in (r"\s*\S+", r"\S+\s*"):  # before the words, or behind them
                    async with tts.speak(re.findall(blanks, text)) as audio:
                        assert heard(b"".join([chunk async for chunk in audio]), config) == text.strip()
                    assert audio.usage.characters == len(rest)


async def test_the_records_of_a_call(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tts_trio")
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    slow: list[Any] = []
    for latency in (0.1, 1.0):
        async with memory_service(Behavior(model_latency=latency)) as service:
            with service.answer_every_dial():
                await run_example("answer_and_measure")(Call(), tokens(RUSSIAN, 0.001), slow)
    (record,) = slow
    assert 1000 <= record.first_audible_ms < 1300
    assert caplog.text.count(" end=finished connection=") == 2


async def test_the_example_of_a_test() -> None:
    await run_example("test_a_connection_that_breaks_in_mid_reply")()


def test_the_example_of_testing_an_agent(tmp_path: Path) -> None:
    """A whole file of tests, in a pytest of its own that knows nothing of ours."""
    (tmp_path / "test_agent.py").write_text(example("test_a_firewall_forgets_the_connection"), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "5 passed" in done.stdout, done.stdout


def commands() -> list[list[str]]:
    """The words of each command in the shell blocks of all pages, without the variables set before it."""
    lines = [line for _, block in blocks("sh") for line in block.splitlines()]
    found = [shlex.split(part, comments=True) for line in lines for part in line.split(" && ")]
    for words in found:
        while words and re.match(r"[A-Z_]+=", words[0]):
            del words[0]
    return [words for words in found if words]


def test_every_command_of_the_pages_is_one() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for words in commands():
        match words:
            case ["tts-trio", "serve", *options]:
                parse_serve(options)
            case ["tts-trio", *arguments]:
                parsed(arguments)
            case ["pip", "install", *_, what]:
                assert set(re.findall(r"\w+", what.partition("[")[2])) <= extras.keys()
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module) is not None
            case ["pytest", *arguments]:
                for path in arguments:
                    assert path.startswith("-") or path == "auto" or (ROOT / path.partition("::")[0]).exists(), path
            case _:
                pytest.fail(f"{words}: what is this?")


def test_what_the_pages_name_in_passing_is_there() -> None:
    """Benchmarks, commands and files in the running text."""
    for path, page in PAGES.items():
        for script in re.findall(r"python -m benchmarks (\w+)", page):
            assert (ROOT / "benchmarks" / f"{script}.py").exists() or (ROOT / "benchmarks" / script).is_dir(), script
        for command in re.findall(r"`tts-trio (\w+)", page):
            assert command in {"say", "demo", "check", "voices", "probe", "prefetch", "cache", "serve"}
        for file in re.findall(r"`((?:tests|tts_trio|benchmarks)/[\w./]+)`", page):
            assert (ROOT / file).exists(), f"{path}: {file}"


def headings(page: str) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_link_leads_somewhere() -> None:
    for path, page in PAGES.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", page):
            if re.match(r"https?://", target):
                continue
            file, _, anchor = target.partition("#")
            there = (ROOT / path).parent / file if file else ROOT / path
            assert there.exists(), f"{path}: {target}"
            if anchor:
                assert anchor in headings(there.read_text("utf-8")), f"{path}: {target}"


def test_what_is_known_of_the_service_has_its_source() -> None:
    """A citation of the protocol's page leads to a section of it, and what was recorded has one."""
    sections = set(re.findall(r"^#+ ([\d.]*\d)", PAGES["tts_trio/wire/README.md"], re.MULTILINE))
    cited: list[str] = []
    for room in ("tts_trio", "tests", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            code = path.read_text("utf-8")
            cited += re.findall(r"wire/README\.md, (\d[\d.]*\d|\d)(?: and (\d\.\d))?", code)
            assert room != "tts_trio" or not re.search(r"\(recorded", code), path
    assert {number for pair in cited for number in pair if number} <= sections
    assert len(cited) > 20


def test_the_drawings_are_of_what_is_there() -> None:
    """The rooms and their imports, and the classes."""
    rooms, *others = [block for path, block in blocks("mermaid") if path == "tts_trio/README.md"]
    code = {path: path.read_text("utf-8") for path in (ROOT / "tts_trio").rglob("*.py")}
    imported = {
        (path.relative_to(ROOT).with_suffix("").parts[1], other)
        for path, text in code.items()
        for others in re.findall(r"from tts_trio(?:\.| import )(\w+(?:, \w+)*)", text)
        for other in others.split(", ")
    }
    arrows = re.findall(r"^ *(\w+)(?:\[.*?\])? --> (\w+)", rooms, re.MULTILINE)
    assert len(arrows) == len(re.findall("-->", rooms)) > 10
    for above, below in arrows:
        drawn = above.replace("core", "speech"), below.replace("core", "speech")
        assert drawn in imported, drawn
    client = [text for path, text in code.items() if "local_server" not in path.parts]
    classes = {name for text in client for name in re.findall(r"^class (\w+)", text, re.MULTILINE)}
    for drawing in others:
        assert set(re.findall(r"\b[A-Z]\w{3,}", drawing)) - {"ElevenLabs"} <= classes


def test_the_first_page_fits_on_two_screens() -> None:
    assert len(README.encode()) < 9000
    assert len(README.splitlines()) <= 170


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("tts_trio/README.md", tables.configuration),
        ("tts_trio/README.md", tables.timeouts),
        ("tts_trio/local_server/README.md", tables.points),
        ("tts_trio/local_server/README.md", tables.actions),
        ("tts_trio/local_server/README.md", tables.switches),
    ],
)
def test_a_table_is_the_codes(page: str, table: Callable[[], str]) -> None:
    assert table() in PAGES[page], f"{page}: `python -m tests.helpers.tables` prints what it is to have"


def test_what_others_have_is_named_as_it_is_here() -> None:
    fields = {field.name for field in attrs.fields(TTSConfig)}
    section = GUIDE.partition("\n## Coming from elsewhere")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\| ([^|]*) \|$", section, re.MULTILINE)
    named = [name for row in rows[9:14] for name in re.findall(r"`(\w+)`", row)]
    assert len(named) == 6
    assert set(named) <= fields
    checklist = GUIDE.partition("\n## Production checklist")[2].partition("\n## ")[0]
    for name in re.findall(r"`(\w+_\w+)`", checklist):
        assert name in fields | {"prefetch"}, name
    timeouts = re.findall(r"`timeouts\.(\w+)`", "".join(PAGES.values()))
    assert len(timeouts) > 5
    assert set(timeouts) <= {field.name for field in attrs.fields(Timeouts)}


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
