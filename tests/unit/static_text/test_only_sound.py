"""Only sound is kept, and only sound is given: what cannot be the phrase is fetched, whoever stored it and however."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import RUSSIAN, TEXTS, heard, listen, make_config, memory_service, posts, speaking
from tts_trio import (
    EmptyAudioError,
    MemoryCache,
    ProtocolError,
    SqliteCache,
    TTSConfig,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio._nurseries import single_error
from tts_trio.speech.durations import longest_seconds, most_bytes, shortest_seconds
from tts_trio.static_text.cached_source import CachedSource
from tts_trio.static_text.entry import ExpectedAudio, encode, memory
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import OnEvent, RequestSent, ResponseStarted, SourceEvent, StillWanted
from tts_trio.wire.events import Alignment, AudioReceived
from tts_trio.wire.http import SpeechRequest, stream_request

LOGIN_PAGE = b"<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>" * 40
NOISE = bytes(range(200)) * 20
ID3 = b"ID3\x04\x00\x00\x00\x00\x00\x20" + bytes(32)


@attrs.define
class Answers:
    """A service that answers each request with the next of these bodies, and with the last one from then on."""

    bodies: list[bytes]
    content_type: str
    nursery: trio.Nursery
    posts: int = 0

    async def open_stream(self, _config: TTSConfig) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, stream: trio.StapledStream[Any, Any]) -> None:
        received = b""
        while data := await stream.receive_some():
            received += data
            if received.startswith(b"POST") and b"\r\n\r\n{" in received and received.endswith(b"}"):
                received = b""
                self.posts += 1
                body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
                head = f"HTTP/1.1 200 OK\r\ncontent-type: {self.content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
                await stream.send_all(head.encode() + body)


@asynccontextmanager
async def answering(*bodies: bytes, content_type: str) -> AsyncGenerator[Answers]:
    with single_error:
        async with trio.open_nursery() as nursery:
            yield Answers(list(bodies), content_type, nursery)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def conversation(config: TTSConfig, answers: Answers) -> AsyncGenerator[TTSManager]:
    connections = WebSocketConnectionManager(config, open_stream=answers.open_stream)
    async with connections, TTSManager(config, connections) as tts:
        yield tts


async def say(tts: TTSManager, text: str) -> bytes:
    async with tts.stream_static_text(text) as audio:
        return await listen(audio)


@pytest.mark.parametrize(
    ("body", "output_format"),
    [
        (LOGIN_PAGE, "mp3_44100_128"),
        (LOGIN_PAGE, "opus_48000_64"),
        (NOISE, "mp3_44100_128"),
        (NOISE, "opus_48000_64"),
        (ID3, "mp3_44100_128"),
        (b"\x00", "pcm_16000"),
        (b"", "ulaw_8000"),
    ],
    ids=[
        "a page as mp3",
        "a page as opus",
        "noise as mp3",
        "noise as opus",
        "an ID3 header",
        "one odd byte",
        "nothing",
    ],
)
async def test_an_answer_without_sound_is_not_kept(autojump_clock: MockClock, body: bytes, output_format: str) -> None:
    """The next conversation asks the service again, and hears it."""
    cache = MemoryCache()
    config = make_config(audio_cache=cache, output_format=output_format, on_lost_connection="raise", max_replays=0)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        good = await say(tts, RUSSIAN)
    await cache.clear()
    async with answering(body, good, content_type=config.format.content_type) as answers:
        async with conversation(config, answers) as tts:
            with pytest.raises((EmptyAudioError, ProtocolError)):
                await say(tts, RUSSIAN)
        assert (await cache.statistics()).entries == 0
        async with conversation(config, answers) as tts:
            assert await say(tts, RUSSIAN) == good
            assert await say(tts, RUSSIAN) == good
        assert answers.posts == 2
    assert (await cache.statistics()).entries == 1


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("seconds", [0.5, 400], ids=["a part", "hours of hold music"])
async def test_sound_of_another_length_is_not_kept(autojump_clock: MockClock, language: str, seconds: float) -> None:
    text = TEXTS[language]
    assert not shortest_seconds(text) <= seconds <= longest_seconds(text)
    cache = MemoryCache(max_bytes=2**30)
    config = make_config(audio_cache=cache, max_lead=1000.0)
    async with answering(bytes(round(seconds * 32_000)), content_type="audio/pcm") as answers:
        async with conversation(config, answers) as tts:
            for _ in range(2):
                with pytest.raises(TTSError, match="before all was spoken" if seconds < 1 else "more audio"):
                    await say(tts, text)
    assert answers.posts == 2
    assert (await cache.statistics()).entries == 0


@pytest.mark.parametrize(
    ("text", "fast", "slow"),
    [
        ("Да.", 0.1, 2.0),
        ("Yes", 0.1, 2.0),
        ("1234567890", 1.0, 16.0),
        ("777777777777", 3.0, 15.0),
        ("謝謝您的來電。", 0.7, 4.0),
        ('Wait <break time="3s"/> here.', 0.4, 8.0),
        ("[laughs harder]", 0.2, 8.0),
        ('<phoneme alphabet="ipa" ph="ˈæktʃuəli">actually</phoneme>', 0.3, 2.0),
        (RUSSIAN, 5.0, 30.0),
    ],
)
def test_what_speech_takes_is_plausible(text: str, fast: float, slow: float) -> None:
    """The fastest and the slowest that a voice may say it are well inside of the bounds."""
    assert shortest_seconds(text) < fast < slow < longest_seconds(text)


def test_the_bounds_are_none_for_what_has_no_letters() -> None:
    assert shortest_seconds("<break/> … [sighs] 🙂") == 0.0


# --- what is read back


KEY = "0" * 64
_DIGEST = 16


def stored(head: object, audio: bytes) -> bytes:
    """An entry with a right checksum, whatever is in it."""
    encoded = json.dumps(head).encode()
    content = len(encoded).to_bytes(4, "big") + encoded + audio
    return b"tts_trio phrase 1\n" + hashlib.blake2b(content, digest_size=_DIGEST).digest() + content


def times(starts: object = (0, 50, 100), durations: object = (50, 50, 50), chars: object = "Да.") -> list[Any]:
    return [list(chars) if isinstance(chars, str) else chars, starts, durations]


SECOND = bytes(32_000)
BAD: dict[str, Callable[[str], Any]] = {
    "times that are texts": lambda key: stored([key, [[32_000, times(["0", "50", "100"]), None]]], SECOND),
    "times that are lists": lambda key: stored([key, [[32_000, times([[0], [50], [100]]), None]]], SECOND),
    "times that are None": lambda key: stored([key, [[32_000, times([None] * 3), None]]], SECOND),
    "times that are fractions": lambda key: stored([key, [[32_000, None, times([0.5, 50, 100])]]], SECOND),
    "times that are no list": lambda key: stored([key, [[32_000, times(7), None]]], SECOND),
    "times beyond all": lambda key: stored([key, [[32_000, times([0, 50, 10**39]), None]]], SECOND),
    "a time missing": lambda key: stored([key, [[32_000, times([0, 50]), None]]], SECOND),
    "durations missing": lambda key: stored([key, [[32_000, ["Д", 0], None]]], SECOND),
    "characters that are numbers": lambda key: stored([key, [[32_000, times(chars=[1, 2, 3]), None]]], SECOND),
    "times that are a number": lambda key: stored([key, [[32_000, 7, None]]], SECOND),
    "pieces missing": lambda key: stored([key, []], SECOND),
    "no pieces": lambda key: stored([key], SECOND),
    "pieces that are None": lambda key: stored([key, None], SECOND),
    "a piece that is None": lambda key: stored([key, [None]], SECOND),
    "a length that is a text": lambda key: stored([key, [["32000", None, None]]], SECOND),
    "a length below 0": lambda key: stored([key, [[-1, None, None]]], SECOND),
    "more audio than pieces": lambda key: stored([key, [[16_000, None, None]]], SECOND),
    "less audio than pieces": lambda key: stored([key, [[64_000, None, None]]], SECOND),
    "a number": lambda _key: stored(7, SECOND),
    "nested deeply": lambda _key: stored_text(b"[" * 100_000),
    "a login page": lambda key: stored([key, [[1, None, None]]], b"<"),
    "an hour": lambda key: stored([key, [[32_000 * 60, None, None]]], SECOND * 60),
    "an integer": lambda _key: 10**12,
    "a text": lambda _key: "audio",
}


def stored_text(encoded: bytes) -> bytes:
    content = len(encoded).to_bytes(4, "big") + encoded
    return b"tts_trio phrase 1\n" + hashlib.blake2b(content, digest_size=_DIGEST).digest() + content


@pytest.mark.parametrize("bad", BAD)
async def test_an_entry_that_fails_is_deleted_and_fetched(autojump_clock: MockClock, bad: str) -> None:
    cache = MemoryCache(max_bytes=10**13)
    config = make_config(audio_cache=cache)
    wanted = ExpectedAudio.of(config, stream_request(config, "Да."))
    cache._entries[wanted.key] = BAD[bad](wanted.key)
    deleted: list[str] = []

    async def delete(key: str) -> None:
        await trio.lowlevel.checkpoint()
        deleted.append(key)
        del cache._entries[key]

    cache.delete = delete  # type: ignore[method-assign]
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for _ in range(2):
            assert heard(await say(tts, "Да."), config) == "Да."
        assert len(posts(service.server)) == 1
    assert deleted == [wanted.key]


@pytest.mark.parametrize("column", ["value", "used", "bytes"])
@pytest.mark.parametrize("written", [10**12, "text", 1.5], ids=["an integer", "a text", "a fraction"])
async def test_a_row_of_other_types_is_no_phrase(tmp_path: Path, column: str, written: object) -> None:
    cache = SqliteCache(tmp_path / "phrases.sqlite3")
    pieces = [AudioReceived(SECOND, Alignment(tuple("Да."), (0, 50, 100), (50, 50, 50)))]
    await cache.put(KEY, encode(KEY, pieces))
    with cache._open() as connection:
        connection.execute(f"UPDATE phrases SET {column} = ?", (written,))
    assert await cache.get(KEY) == (encode(KEY, pieces) if column != "value" else None)
    assert (await cache.statistics()).entries == (1 if column != "value" else 0)
    await cache.put("1" * 64, b"x")
    await cache.delete(KEY)
    assert await cache.get(KEY) is None
    assert (await cache.statistics()).entries == 1


def test_what_a_phrase_may_take_of_memory_is_bounded() -> None:
    """1,000 characters of the largest format that is not compressed are under 100 MB."""
    config = make_config(output_format="pcm_48000")
    assert most_bytes("a" * 1000, config.format) < 100 * 10**6


def piece(audio: bytes, characters: int = 0) -> AudioReceived:
    times = Alignment(("a",) * characters, (0,) * characters, (0,) * characters)
    return AudioReceived(audio, times if characters else None)


@pytest.mark.parametrize(
    "flood", [piece(b"", 1000), piece(b"\0"), piece(bytes(4096))], ids=["times", "single bytes", "sound"]
)
async def test_a_flight_holds_no_more_than_a_cache_would_keep(autojump_clock: MockClock, flood: AudioReceived) -> None:
    """An answer without an end is given up, typed, and is kept by nobody."""
    config = make_config(audio_cache=MemoryCache())
    taken = 0

    class Endless:
        async def ask(self, request: SpeechRequest, take: OnEvent, still_wanted: StillWanted) -> None:
            nonlocal taken
            await take(RequestSent())
            await take(ResponseStarted())
            while taken < 1_000_000:  # bytes; far too much
                await take(flood)
                taken += memory(flood)
                await trio.lowlevel.checkpoint()

    assert config.audio_cache is not None
    source = CachedSource(config, GuardedCache(config.audio_cache, 0.02), Endless())

    async def listen_slowly(event: SourceEvent) -> None:
        await trio.sleep(60 if isinstance(event, AudioReceived) else 0)

    with pytest.raises(ProtocolError, match="more audio than"):
        await source.ask(stream_request(config, "Да."), listen_slowly)
    assert taken <= most_bytes("Да.", config.format) < 500_000
