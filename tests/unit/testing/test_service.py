"""What the tests of an application get: the service in memory, as a fixture and without pytest."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import httpx
import pytest
import trio

from tests.helpers import TEXTS, listen, make_config
from tts_trio import OUTPUT_FORMATS, Timeouts, TTSConfig, TTSConnectionError, open_tts, sync
from tts_trio.local_server import Behavior, Requested
from tts_trio.testing import Service, heard, memory_service, server_in_a_thread

pytest_plugins = ["tts_trio.testing.plugin"]

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("language", TEXTS)
async def test_a_program_that_knows_nothing_of_the_test_speaks_in_memory(
    autojump_clock: trio.testing.MockClock, tts_service: Service, language: str
) -> None:
    """It reads its key from the environment, and dials whatever host; over WebSocket and HTTP."""
    text = TEXTS[language]
    for base_url in ("http://127.0.0.1", "https://api.elevenlabs.io"):
        config = TTSConfig.from_env(language_code=language, base_url=base_url, output_format="alaw_8000")
        async with open_tts(config) as tts:
            async with tts.speak([text]) as audio:
                assert heard(await listen(audio), "alaw_8000") == text
            async with tts.stream_static_text(text) as audio:
                assert heard(await listen(audio), config) == text
    given = [said.strip() for _, said in tts_service.texts() if said.strip()]
    assert " ".join(given) == " ".join([text] * 4)
    assert len([text for _, text in tts_service.texts(0) if text.strip()]) > 1  # the phrases of the first reply
    assert tts_service.dials > 4


@pytest.mark.parametrize("run", [1, 2])
async def test_each_test_begins_with_empty_caches(
    autojump_clock: trio.testing.MockClock, tts_service: Service, run: int
) -> None:
    async with open_tts(TTSConfig.from_env(opening_cache="memory")) as tts:
        for _ in range(2):
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)
            async with tts.speak(["Одну минуту."]) as audio:
                await listen(audio)
    posts = [r for r in tts_service.server.records if isinstance(r, Requested) and r.method == "POST"]
    assert len(posts) == 1


async def test_what_every_dial_reaches_ends_with_its_block(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        with service.answer_every_dial():
            async with open_tts(make_config()) as tts:
                await tts.connections.connect()
        before = service.dials
        service.server.stop_accepting()
        with pytest.raises(TTSConnectionError):
            async with open_tts(make_config(base_url="http://127.0.0.1:1")) as tts:  # where nobody listens
                await tts.connections.connect()
    assert service.dials == before > 0


async def test_a_program_of_threads_is_told_what_it_needs(
    tts_service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Its loop is another one, which can serve no stream of this one."""

    def call() -> None:
        with sync.open_tts(make_config(timeouts=Timeouts(connect=0.05))) as tts, pytest.raises(TTSConnectionError):
            tts.connections.connect()

    await trio.to_thread.run_sync(call)
    assert "belongs to another trio.run; serve with server_in_a_thread()" in caplog.text
    assert tts_service.dials == 0


@pytest.mark.parametrize("language", TEXTS)
async def test_connections_that_were_frozen_are_replaced(
    autojump_clock: trio.testing.MockClock, tts_service: Service, language: str
) -> None:
    text = TEXTS[language]
    async with open_tts(TTSConfig.from_env()) as tts:
        await tts.connections.connect()
        tts_service.freeze()
        async with tts.speak([text]) as audio:
            assert heard(await listen(audio), tts.config) == text
        assert tts.connections.statistics().losses > 0


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_what_was_heard_is_read_from_lossless_formats_only(output_format: str) -> None:
    if output_format.startswith(("pcm", "ulaw", "alaw")):
        assert heard(b"\0\0" * 80, output_format) == ""
    else:
        with pytest.raises(ValueError, match=output_format):
            heard(b"", output_format)


def test_a_test_on_another_loop_is_told_so() -> None:
    """Such as pytest-asyncio's, which in its mode auto takes the fixtures of all."""

    async def on_asyncio() -> None:
        async with memory_service():
            pytest.fail("was entered")

    with pytest.raises(RuntimeError, match=r"not a trio task; mark the test with pytest\.mark\.trio"):
        asyncio.run(on_asyncio())


def test_the_server_in_a_thread_takes_another_behavior() -> None:
    with server_in_a_thread(Behavior(api_keys=("one",))) as server:
        url = f"{server.base_url}/v1/text-to-speech/any/stream"
        post = {"url": url, "json": {"text": "Да."}, "headers": {"xi-api-key": "another"}, "trust_env": False}
        assert httpx.post(**post).status_code == 401
        server.behavior = Behavior()
        assert httpx.post(**post).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.post(**post)


def test_the_extra_installs_nothing_under_the_gpl() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    pulled, found = ["testing"], set[str]()
    while pulled:
        for wanted in extras[pulled.pop()]:
            if wanted.startswith("tts_trio["):
                pulled += wanted.removeprefix("tts_trio[").rstrip("]").split(",")
            else:
                found.add(wanted)
    names = " ".join(found)
    assert "pytest-trio" in names
    assert not [name for name in ("espeak", "num2words", "av>") if name in names]


def test_a_server_in_a_thread_that_cannot_begin_says_so() -> None:
    with pytest.raises(AttributeError), server_in_a_thread("quick"):  # type: ignore[arg-type]
        ...
