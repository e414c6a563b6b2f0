"""Openings end to end: what is kept of replies, what is said from memory, and that nothing else changes by it."""

from __future__ import annotations

import gc
import re
import sqlite3
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.corpus import replies
from tests.helpers import (
    Service,
    heard,
    make_config,
    memory_service,
    speaking,
    text_of,
    tokens,
    websocket_path,
)
from tests.helpers.phrases import AtTheEnd
from tests.helpers.redis import Redis, needs_redis
from tts_trio import (
    AudioChannel,
    ConcurrencyLimiter,
    ConfigurationError,
    MemoryCache,
    PhrasePolicy,
    RedisCache,
    SqliteCache,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSManager,
    VoiceSettings,
    WebSocketConnectionManager,
)
from tts_trio._nurseries import single_error
from tts_trio.local_server import Behavior, Fault
from tts_trio.speech import openings as speech_openings
from tts_trio.static_text import openings
from tts_trio.static_text.entry import decode
from tts_trio.text.transforms import markdown
from tts_trio.wire.events import AudioReceived

TALKS = {
    "en": ("One moment, please. ", "I am looking at it. ", "Your order number 4217 will be with you by Friday. "),
    "ru": ("Одну минуту, пожалуйста. ", "Сейчас я посмотрю. ", "Ваш заказ номер 4217 вы получите до пятницы. "),
}
OPENINGS = {openings.__file__, speech_openings.__file__}
FORMATS = ("pcm_16000", "ulaw_8000", "mp3_44100_128")

every_language = pytest.mark.parametrize("language", TALKS)


class EachToken:
    """Phrases that are the tokens."""

    pending = ""

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        return [token]

    def deadline(self) -> float | None:
        return None

    def expire(self, now: float) -> list[str]:
        return []

    def close(self) -> list[str]:
        return []


class Shelf:
    """A cache of the user's own that several processes might share."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.gets = self.puts = 0

    async def get(self, key: str) -> bytes | None:
        self.gets += 1
        await trio.sleep(0.015)
        return self.values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.puts += 1
        await trio.sleep(0.015)
        self.values[key] = value


@attrs.define
class Heard:
    """What a reply gave: its pieces and when each came, the channel, and the texts that the service got."""

    audio: AudioChannel
    pieces: list[bytes]
    at: list[float]
    began: float
    sent: list[str]

    @property
    def sound(self) -> bytes:
        return b"".join(self.pieces)


def cached(endpoint: str | None = None, cache: Any = None, **changes: Any) -> TTSConfig:
    cache = MemoryCache() if cache is None else cache
    return make_config(endpoint, opening_cache=cache, language_code="en", **{"phrase_policy": EachToken} | changes)


def sent_texts(service: Service) -> list[str]:
    """The phrases that the service got, over all sockets."""
    return [text for message in service.messages() if (text := text_of(message.message)).strip()]


async def say(tts: TTSManager, service: Service, phrases: Sequence[str], interval: float = 0.0) -> Heard:
    """Speak phrases that come one by one, and take the audio as it comes."""
    before = len(sent_texts(service))
    began = trio.current_time()
    pieces: list[bytes] = []
    at: list[float] = []

    async def write() -> None:
        for phrase in phrases:
            await text.send(phrase)
            await trio.sleep(interval)
        text.close()

    async with tts.start_llm_stream() as (text, audio):
        with single_error:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                async for piece in audio:
                    pieces.append(piece)
                    at.append(trio.current_time() - began)
    await wait_all_tasks_blocked()
    return Heard(audio, pieces, at, began, sent_texts(service)[before:])


@asynccontextmanager
async def conversation(
    config: TTSConfig, *said_before: Sequence[str], latency: float = 0.1
) -> AsyncGenerator[tuple[TTSManager, Service]]:
    """A conversation, after one for each of the replies that were said before."""
    async with memory_service(Behavior(model_latency=latency)) as service:
        for reply in said_before:
            async with speaking(config, service.open_stream) as tts:
                await say(tts, service, reply)
        async with speaking(config, service.open_stream) as tts:
            yield tts, service


def inject(service: Service, fault: Fault) -> None:
    """Let a fault strike from now on."""
    service.server.behavior = attrs.evolve(service.server.behavior, faults=(fault,))


def values(cache: MemoryCache | Shelf) -> dict[str, bytes]:
    return dict(cache._entries) if isinstance(cache, MemoryCache) else cache.values


def texts_in(cache: MemoryCache | Shelf) -> set[str]:
    """The texts whose times a cache has."""
    return {spoken_in(decode(key, value)) for key, value in values(cache).items()}


def spoken_in(clip: Sequence[AudioReceived]) -> str:
    """The text whose times a clip has."""
    return "".join("".join(piece.alignment.chars) for piece in clip if piece.alignment is not None)


# What is kept.


@every_language
@pytest.mark.parametrize("shared", [False, True])
async def test_nothing_is_kept_that_one_conversation_sent(
    autojump_clock: MockClock, language: str, endpoint: str, shared: bool
) -> None:
    """However often it said it, in whichever store; a phrase that another one sent too is kept."""
    opening, other, rest = TALKS[language]
    cache = Shelf() if shared else MemoryCache()
    config = cached(endpoint, cache)
    stores = [cache, openings._shared(cache).memory]
    async with memory_service() as service:
        async with speaking(config, service.open_stream) as tts:
            for _ in range(3):
                await say(tts, service, [opening, rest])
            await trio.sleep(1)
            assert [values(store) for store in stores] == [{}, {}]
        async with speaking(config, service.open_stream) as tts:
            await say(tts, service, [opening, other])
            await trio.sleep(1)
    kept = [texts_in(store) for store in stores]
    assert set().union(*kept) == {opening}
    if shared:
        assert kept == [{opening}, {opening}]
    assert not any(other.strip().encode() in value for store in stores for value in values(store).values())


async def until_stored() -> None:
    """Wait for what is stored behind the caller's back."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    with trio.fail_after(5):
        while any("opening" in task.name for nursery in root.child_nurseries for task in nursery.child_tasks):  # noqa: ASYNC110
            await trio.sleep(0.005)


async def stored_in(cache: SqliteCache | RedisCache, file: Path) -> dict[str, bytes]:
    """All that is in a file, or in a Redis."""
    if isinstance(cache, RedisCache):
        keys = [key.decode().removeprefix("tts_trio:") for key in await cache._keys()]
        return {key: await cache.get(key) or b"" for key in keys}
    with closing(sqlite3.connect(file)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()  # none before anything is stored
        return dict(connection.execute("SELECT key, value FROM phrases").fetchall()) if tables else {}


@pytest.mark.parametrize("store", ["file", pytest.param("redis", marks=needs_redis)])
async def test_no_file_and_no_redis_gets_what_one_conversation_sent(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What they get is bit for bit what came, and another process says it as soon as it has looked ahead."""
    file = tmp_path / "openings"
    async with AsyncExitStack() as stack:
        cache: SqliteCache | RedisCache = SqliteCache(file)
        if store == "redis":
            redis: Redis = request.getfixturevalue("redis")
            cache = await stack.enter_async_context(RedisCache(redis.url))
        config = cached(cache=cache, phrase_policy=PhrasePolicy.sentence())
        async with memory_service(Behavior(model_latency=0.0)) as service:
            received, kept = dict[str, bytes](), dict[str, bytes]()
            for own in range(2):
                async with speaking(config, service.open_stream) as tts:
                    for one, two, rest in TALKS.values():
                        for _ in range(2):
                            received[one] = (await say(tts, service, [one, (two, rest)[own]])).sound
                            await until_stored()
                clips = {key: decode(key, value) for key, value in (await stored_in(cache, file)).items()}
                kept = {spoken_in(clip): b"".join(piece.audio for piece in clip) for clip in clips.values()}
                assert set(kept) == ({one for one, *_ in TALKS.values()} if own else set())
            assert all(received[text].startswith(sound) for text, sound in kept.items())
            openings._of_caches.clear()  # as in a process that has just begun
            async with speaking(config, service.open_stream) as tts:
                await tts.prefetch_openings(kept)
                for text, sound in kept.items():
                    said = await say(tts, service, [text])
                    assert (said.sent, said.sound) == ([], sound)


@every_language
@pytest.mark.parametrize("output_format", FORMATS)
async def test_a_kept_clip_is_bit_for_bit_what_was_received(
    autojump_clock: MockClock, language: str, endpoint: str, output_format: str
) -> None:
    """And sounds in the turn of the loop in which its phrase was written, without a byte to the service."""
    opening, *_ = TALKS[language]
    cache = MemoryCache()
    async with memory_service(Behavior(model_latency=0.1)) as service:
        config = cached(endpoint, cache, output_format=output_format)
        async with speaking(config, service.open_stream) as tts:
            await say(tts, service, [opening])
        async with speaking(config, service.open_stream) as tts:
            received = await say(tts, service, [opening])
        async with speaking(config, service.open_stream) as tts:
            recalled = await say(tts, service, [opening])
    ((key, value),) = values(cache).items()
    assert received.sent == [opening]
    assert received.at[0] >= 0.1
    if output_format != "mp3_44100_128":  # whose pieces are frames
        assert [piece.audio for piece in decode(key, value)] == received.pieces
    assert recalled.pieces == received.pieces
    assert recalled.at == [0.0] * len(recalled.pieces)
    assert recalled.sent == []
    assert recalled.audio.usage.characters == 0
    assert recalled.audio.words == received.audio.words
    assert recalled.audio.outcome == received.audio.outcome
    timeline = recalled.audio.timeline
    assert timeline.first_sent is None
    assert timeline.first_text == timeline.first_received == timeline.first_delivered == recalled.began


@every_language
async def test_the_silence_of_keep_alives_is_not_kept(autojump_clock: MockClock, language: str, endpoint: str) -> None:
    """A service may answer them, and the first frame, with a moment of it, while the LLM waits for its tools."""
    opening, *others = TALKS[language]
    clips: list[bytes] = []
    for blank in ("nothing", "silence"):
        cache = MemoryCache()
        async with memory_service(Behavior(model_latency=0.1, blank_in_auto_mode=blank)) as service:
            for other in others:
                async with speaking(cached(endpoint, cache), service.open_stream) as tts:
                    await say(tts, service, [opening, other], 70)
        ((key, value),) = values(cache).items()
        clips.append(b"".join(piece.audio for piece in decode(key, value)))
    assert clips[0] == clips[1]


@pytest.mark.parametrize("output_format", ["pcm_44100", "alaw_8000", "mp3_22050_32", "mp3_44100_192"])
async def test_the_longest_openings_are_kept_in_every_codec(
    autojump_clock: MockClock, endpoint: str, output_format: str
) -> None:
    """An encoder of mp3 is so much behind its input that the times of a long clip end long before its audio."""
    texts = [
        "Of course, I can look that up for you right now, just wait. ",
        "Конечно, я сейчас посмотрю это для вас, одну минуту, ладно. ",
    ]
    config = cached(endpoint, output_format=output_format)
    for opening in texts:
        took = list[float]()
        async with conversation(config, [opening], [opening]) as (tts, service):
            for _ in range(3):
                async with tts.start_llm_stream() as (text, audio):
                    began = time.thread_time()  # what it costs, as no time passes on the clock of the test
                    text.send_nowait(opening)
                    await audio.receive()
                    took.append(time.thread_time() - began)
            said = await say(tts, service, [opening])
            assert (said.sent, said.at[0]) == ([], 0.0)
            assert [word.text for word in said.audio.words] == opening.split()
        assert min(took) < 0.005


@pytest.mark.parametrize(
    "change",
    [
        {"voice_id": "another"},
        {"model_id": "eleven_turbo_v2_5"},
        {"endpoint": "multi-stream-input"},
        {"language_code": "ru"},
        {"output_format": "pcm_8000"},
        {"voice_settings": VoiceSettings(speed=1.1)},
        {"seed": 1},
        {"apply_text_normalization": "off"},
        {"enable_ssml_parsing": True},
        {"base_url": "http://localhost"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_decides_the_sound_is_a_part_of_the_key(autojump_clock: MockClock, change: dict[str, Any]) -> None:
    opening = TALKS["en"][0]
    config = cached()
    async with conversation(config, [opening], [opening]) as (tts, service):
        assert (await say(tts, service, [opening])).sent == []
        assert (await say(tts, service, [opening.lower()])).sent == [opening.lower()]
        async with speaking(config.evolve(**change), service.open_stream) as other:
            assert (await say(other, service, [opening])).sent == [opening]


async def test_a_cut_clip_is_not_kept(autojump_clock: MockClock) -> None:
    """The connection is lost in the middle of the clip: neither its beginning is kept, nor what was said again."""
    cache = MemoryCache()
    config = cached(cache=cache)
    long = "Well, a moment please, as I have to look that up for you. "
    cut = Fault("reset", "audio", frame=1, path="stream-input", count=1)
    rest = TALKS["en"][-1]
    async with conversation(config, [long]) as (tts, service):
        inject(service, cut)
        said = await say(tts, service, [long, rest])
        assert said.audio.usage.replays == 1
        assert heard(said.sound, config).endswith(rest.strip())
        assert values(cache) == {}


async def test_what_is_sent_again_as_a_whole_is_kept(autojump_clock: MockClock, endpoint: str) -> None:
    """The sockets were dead, which only a timeout tells: no sound had come, and the next one brought the whole clip."""
    one, _, rest = TALKS["ru"]
    cache = MemoryCache()
    config = cached(endpoint, cache, timeouts=Timeouts(first_audio=1.0))
    async with conversation(config, [one]) as (tts, service):
        service.freeze()
        said = await say(tts, service, [one, rest])
        assert said.audio.usage.replays > 0
        assert texts_in(cache) == {one}


@every_language
async def test_the_blanks_before_a_reply_are_no_part_of_its_opening(
    autojump_clock: MockClock, language: str, endpoint: str
) -> None:
    one, _, rest = TALKS[language]
    config = cached(endpoint)
    async with conversation(config, [f" {one}"], [f"\n\n{one}"]) as (tts, service):
        for begin in (one, f" {one}", f"\n\n{one}"):
            said = await say(tts, service, [begin, rest])
            assert (said.at[0], said.sent) == (0.0, [rest])
            assert heard(said.sound, config) == (one + rest).strip()
            assert [word.text for word in said.audio.words] == (one + rest).split()
            assert all((begin + rest)[word.start : word.end] == word.text for word in said.audio.words)


# What is said from memory.


@every_language
@pytest.mark.parametrize("output_format", ["pcm_16000", "ulaw_8000"])
async def test_the_rest_goes_over_the_socket_as_if_nothing_were_cached(
    autojump_clock: MockClock, language: str, endpoint: str, output_format: str
) -> None:
    phrases = TALKS[language]
    config = cached(endpoint, output_format=output_format)
    opening = [phrases[0]]
    async with conversation(config, opening, opening) as (tts, service):
        warm = await say(tts, service, phrases, 0.3)
    async with conversation(config.evolve(opening_cache=None)) as (tts, service):
        cold = await say(tts, service, phrases, 0.3)
    assert cold.sent == list(phrases)
    assert warm.sent == list(phrases[1:])
    assert warm.at[0] == 0.0
    assert warm.audio.usage.characters == sum(map(len, phrases[1:]))
    if output_format == "pcm_16000":
        assert heard(warm.sound, config) == "".join(phrases).strip()
    words = warm.audio.words
    assert [word.text for word in words] == "".join(phrases).split()
    assert all("".join(phrases)[word.start : word.end] == word.text for word in words)
    assert all(one.end_ms <= following.start_ms for one, following in pairwise(words))
    outcome = warm.audio.outcome
    assert outcome is not None
    assert (outcome.end, outcome.spoken_text, outcome.unspoken_text) == ("finished", "".join(phrases), "")
    assert not outcome.estimated
    assert warm.audio.spoken(words[len(opening[0].split()) - 1].end_ms) == opening[0].strip()
    first_sent = warm.audio.timeline.first_sent
    assert first_sent == pytest.approx(warm.began + 0.3)  # when the second phrase was written


@every_language
async def test_two_phrases_in_a_row_are_said_from_memory(
    autojump_clock: MockClock, language: str, endpoint: str
) -> None:
    one, two, rest = TALKS[language]
    config = cached(endpoint)
    async with conversation(config, [one, two, rest], [one, two, "And. "]) as (tts, service):
        said = await say(tts, service, [one, two, rest])
    assert said.sent == [rest]
    assert heard(said.sound, config) == (one + two + rest).strip()
    assert [word.text for word in said.audio.words] == (one + two + rest).split()
    assert said.audio.usage.characters == len(rest)
    ends = [word.end_ms for word in said.audio.words]
    assert said.audio.spoken(ends[len((one + two).split()) - 1]) == (one + two).strip()


@every_language
async def test_three_phrases_at_most_are_said_from_memory(
    autojump_clock: MockClock, language: str, endpoint: str
) -> None:
    """However often a reply repeats what is kept; the others wait as any phrases do."""
    one, two, _ = TALKS[language]
    phrases = [one, two] * 50
    async with conversation(cached(endpoint, max_lead=10.0), [one, two], [one, two, "And. "]) as (tts, service):
        before = len(sent_texts(service))
        async with tts.start_llm_stream() as (text, audio):
            for phrase in phrases:
                await text.send(phrase)
            text.close()
            await trio.sleep(60)  # in which nobody listens
            assert 0 < len(sent_texts(service)) - before < 10
            sound = b"".join([piece async for piece in audio])
    assert heard(sound, tts.config) == "".join(phrases).strip()
    assert audio.usage.characters == len("".join(phrases[3:]))


@every_language
async def test_the_rest_of_a_script_never_comes_into_a_store(autojump_clock: MockClock, language: str) -> None:
    """Each conversation says it, and the first three phrases from memory; those after them are no opening for it."""
    one, two, rest = TALKS[language]
    script = [one, two, "Sure. ", rest, "Seven. ", "Bye. "]
    cache = MemoryCache()
    async with memory_service() as service:
        for number in range(8):
            async with speaking(cached(cache=cache), service.open_stream) as tts:
                said = await say(tts, service, script)
            assert said.sent == (script if number < 2 else script[3:])
            assert texts_in(cache) == (set(script[:3]) if number else set())


async def test_what_follows_a_miss_is_never_said_from_memory(autojump_clock: MockClock) -> None:
    one, two, rest = TALKS["en"]
    async with conversation(cached(), [one, two], [one, two]) as (tts, service):
        assert (await say(tts, service, [rest, one])).sent == [rest, one]


@every_language
@pytest.mark.parametrize("closed", [False, True])
async def test_a_barge_in_in_the_middle_of_a_hit(
    autojump_clock: MockClock, language: str, endpoint: str, closed: bool
) -> None:
    """What was spoken is what the far end had played, in whole words; the rest was not."""
    opening, _, rest = TALKS[language]
    async with conversation(cached(endpoint), [opening, rest], [opening, "And. "]) as (tts, service):
        async with tts.start_llm_stream() as (text, audio):
            await text.send(opening)
            if closed:
                await text.send(rest)
                text.close()
            frames = audio.paced()
            with trio.move_on_after(0.5):
                async for _ in frames:
                    pass
            played = frames.played_ms
            audio.close()
        assert played == pytest.approx(500, abs=1)
        words = audio.words
        expected = " ".join(word.text for word in words if word.end_ms <= 500)
        assert 0 < len(expected) < len(opening)
        assert audio.spoken(played) == expected == opening[: len(expected)]
        outcome = audio.outcome
        assert outcome is not None
        assert outcome.end == "interrupted"
        assert outcome.spoken_text + outcome.unspoken_text == opening + (rest if closed else "")
        assert audio.usage.characters == (len(rest) if closed else 0)
        assert (await say(tts, service, [opening])).sent == []  # and the next reply is not disturbed


@every_language
@pytest.mark.parametrize("frame", [0, 1, 2])
@pytest.mark.parametrize("action", ["reset", "freeze"])
async def test_the_socket_is_lost_in_the_middle_of_the_rest(
    autojump_clock: MockClock, language: str, endpoint: str, frame: int, action: str
) -> None:
    """No word is missing, and none of the hit is said again."""
    one, two, rest = TALKS[language]
    config = cached(endpoint)
    cut = Fault(action, "audio", frame=frame, count=1, path=websocket_path(endpoint))
    async with conversation(config, [one], [one]) as (tts, service):
        inject(service, cut)
        said = await say(tts, service, [one, two + rest])
    outcome = said.audio.outcome
    assert outcome is not None
    assert (outcome.end, outcome.spoken_text) == ("finished", one + two + rest)
    assert said.audio.usage.replays == 1
    assert said.sent[0] == two + rest
    assert (two + rest).endswith(said.sent[1])
    assert said.at[0] == 0.0
    spoken = heard(said.sound, config).split()
    assert spoken[: len(one.split())] == one.split()
    assert [word.text for word in said.audio.words] == (one + two + rest).split()
    assert spoken.count(one.split()[0]) == 1


async def test_the_socket_is_lost_before_the_rest_is_written(autojump_clock: MockClock, endpoint: str) -> None:
    """Nothing had been asked of it, so that even `on_lost_connection="raise"` goes on over the next one."""
    one, _, rest = TALKS["en"]
    config = cached(endpoint, on_lost_connection="raise", timeouts=Timeouts(first_audio=1.0))
    async with conversation(config, [one], [one]) as (tts, service):
        async with tts.start_llm_stream() as (text, audio):
            await text.send(one)
            first = b"".join([await audio.receive() for _ in range(audio.statistics().current_buffer_used)])
            service.freeze()
            await text.send(rest)
            text.close()
            sound = first + b"".join([piece async for piece in audio])
    assert heard(sound, config) == (one + rest).strip()
    assert audio.usage.replays == 1


@pytest.mark.parametrize("lost_after", [1, 2])
async def test_the_socket_is_lost_while_the_opening_is_played(
    autojump_clock: MockClock, endpoint: str, lost_after: int
) -> None:
    """What follows is said from memory still, whether or not there is another connection yet, and then the rest."""
    one, two, rest = TALKS["ru"]
    config = cached(endpoint)
    async with conversation(config, [one, two], [one, two]) as (tts, service):
        pieces: list[bytes] = []
        async with tts.start_llm_stream() as (text, audio):
            for number, phrase in enumerate((one, two, rest), 1):
                began = trio.current_time()
                await text.send(phrase)
                if phrase is not rest:
                    pieces += [await audio.receive() for _ in range(audio.statistics().current_buffer_used)]
                    assert trio.current_time() == began
                if number == lost_after:
                    for link in service.links:
                        await trio.aclose_forcefully(link)
                    await wait_all_tasks_blocked()
            text.close()
            pieces += [piece async for piece in audio]
    assert heard(b"".join(pieces), config) == (one + two + rest).strip()
    assert [word.text for word in audio.words] == (one + two + rest).split()
    assert audio.outcome is not None
    assert audio.outcome.spoken_text == one + two + rest
    assert audio.usage.characters == len(rest)


@every_language
@pytest.mark.parametrize("noticed", [False, True])
async def test_what_is_said_whole_from_memory_needs_no_connection(
    autojump_clock: MockClock, language: str, endpoint: str, noticed: bool
) -> None:
    """An agent that was told of a failure would say it all again."""
    one, two, _ = TALKS[language]
    config = cached(endpoint)
    async with conversation(config, [one, two], [one, two]) as (tts, service):
        async with tts.start_llm_stream() as (text, audio):
            await text.send(one)
            inject(service, Fault("status", "answer", 503))
            for link in service.links:
                await trio.aclose_forcefully(link)
            if noticed:
                await wait_all_tasks_blocked()
            began = trio.current_time()
            await text.send(two)
            text.close()
            sound = b"".join([piece async for piece in audio])
            assert trio.current_time() == began
    assert heard(sound, config) == (one + two).strip()
    outcome = audio.outcome
    assert outcome is not None
    assert (outcome.end, outcome.spoken_text, outcome.unspoken_text) == ("finished", one + two, "")
    assert audio.usage.characters == 0


@every_language
async def test_what_is_said_whole_from_memory_uses_no_connection_up(
    autojump_clock: MockClock, language: str, endpoint: str
) -> None:
    """Nothing is dialed for it, and the service learns of no context (a dialogue's begins with the utterance)."""
    one, two, rest = TALKS[language]
    async with conversation(cached(endpoint), [one, two], [one, two]) as (tts, service):
        await say(tts, service, [one, two])
        await trio.sleep(1)
        dials, frames = tts.connections.statistics().dials, len(service.messages())
        for _ in range(5):
            assert (await say(tts, service, [one, two])).sent == []
            await trio.sleep(1)
        assert tts.connections.statistics().dials == dials
        if endpoint != "text-to-dialogue":
            assert len(service.messages()) == frames
        said = await say(tts, service, [one, rest])
        assert (said.sent, said.audio.usage.replays) == ([rest], 0)


async def test_with_raise_a_reply_fails_that_is_lost_in_the_middle_of_the_rest(autojump_clock: MockClock) -> None:
    one, two, rest = TALKS["en"]
    config = cached(on_lost_connection="raise")
    async with conversation(config, [one], [one]) as (tts, service):
        inject(service, Fault("reset", "audio", frame=1, path="stream-input"))
        with pytest.raises(TTSConnectionError) as caught:
            await say(tts, service, [one, two + rest])
    assert caught.value.spoken_text.startswith(one.strip())
    assert caught.value.spoken_text + caught.value.unspoken_text == one + two + rest


@every_language
async def test_a_clip_that_is_shorter_than_the_answer_takes(autojump_clock: MockClock, language: str) -> None:
    """The caller hears it at once, and the rest no later than without it; the silence between them is told."""
    one, _, rest = TALKS[language]
    config = cached()
    lasting = dict[bool, float]()
    async with conversation(config, [one], [one], latency=1.9) as (warm, service):
        async with speaking(config.evolve(opening_cache=None), service.open_stream) as cold:
            for tts in (warm, cold):
                began = trio.current_time()
                async with tts.start_llm_stream() as (text, audio):
                    await text.send(one)
                    await trio.sleep(0.02)
                    await text.send(rest)
                    text.close()
                    frames = audio.paced()
                    async for _ in frames:
                        pass
                is_warm = tts is warm
                lasting[is_warm] = trio.current_time() - began
                clip_ms = audio.words[len(one.split())].start_ms
                if is_warm:
                    assert frames.underruns == 1
                    assert frames.underrun_ms == pytest.approx(20 + 1900 - clip_ms, abs=100)
    assert lasting[True] < lasting[False] - 1.0


@every_language
async def test_a_phrase_that_ends_as_its_llm_pauses(autojump_clock: MockClock, language: str) -> None:
    """It is complete when the phraser's patience is over, and sounds then."""
    one, _, rest = TALKS[language]
    config = cached(phrase_policy=PhrasePolicy()).evolve(language_code=language)
    async with conversation(config) as (tts, service):
        await tts.prefetch_openings([one])
        async with tts.start_llm_stream() as (text, audio):
            began = trio.current_time()
            await text.send(one)
            await audio.receive()
            assert trio.current_time() - began <= 0.15
            await trio.sleep(1)
            await text.send(rest)
            text.close()
            async for _ in audio:
                pass
        assert "".join(sent_texts(service)[1:]) == rest


@every_language
@pytest.mark.parametrize("tokens_a_second", [20, 50])
async def test_played_in_real_time_no_reply_is_later(
    autojump_clock: MockClock, language: str, tokens_a_second: int
) -> None:
    """It begins when its first phrase is written, ends no later, and has no gap that is longer than what it gained."""
    opening = {"en": "One moment, please.", "ru": "Одну минуту, пожалуйста."}[language]
    texts = [f"{opening} {reply.text}" for reply in replies(language)[::40] if not reply.pauses]
    heard_in = dict[bool, list[tuple[float, float, float]]]()
    for is_warm in (False, True):
        config = cached(phrase_policy=PhrasePolicy()).evolve(language_code=language)
        config = config if is_warm else config.evolve(opening_cache=None)
        heard_in[is_warm] = []
        async with conversation(config, latency=0.175) as (tts, _):
            if is_warm:
                await tts.prefetch_openings([opening])
            for text in texts:
                began = trio.current_time()
                async with tts.speak(tokens(text, 1 / tokens_a_second)) as audio:
                    frames = audio.paced()
                    async for _ in frames:
                        pass
                first = audio.timeline.first_delivered
                assert first is not None
                heard_in[is_warm].append((first - began, trio.current_time() - began, frames.underrun_ms))
    for cold, warm in zip(heard_in[False], heard_in[True], strict=True):
        assert warm[0] <= cold[0] - 0.175 + 0.001
        assert warm[1] <= cold[1] + 0.001
        assert warm[2] <= cold[2] + 175


EARLY = {
    "en": [("Sure,", "Sure, I will look into your order number 42 at once."), ("One moment, please.", "")],
    "ru": [("Конечно,", "Конечно, сейчас же посмотрю заказ номер 42 для вас."), ("Одну минуту, пожалуйста.", "")],
}


async def pieces(text: str, interval: float) -> AsyncGenerator[str]:
    """A text in tokens that begin with their blanks, with the marks in tokens of their own."""
    for token in re.findall(r"\s*(?:\w+|[^\w\s]+)", text):
        yield token
        await trio.sleep(interval)


@every_language
@pytest.mark.parametrize("policy", ["sentence", "balanced", "eager"])
async def test_a_phrase_ends_early_where_it_is_a_kept_opening_with_its_mark(
    autojump_clock: MockClock, language: str, policy: str
) -> None:
    """It sounds in the moment in which the mark is written, and nothing else is cut otherwise."""
    config = cached(phrase_policy=getattr(PhrasePolicy, policy)()).evolve(language_code=language)
    for opening, text in EARLY[language]:
        text = text or f"{opening} {TALKS[language][2]}".strip()
        first_phrase = opening.partition(",")[0] if policy == "eager" else opening[:-1]
        is_early = opening[-1] == "." or policy != "sentence"
        async with conversation(config) as (tts, service):
            await tts.prefetch_openings([opening])
            prefetched = len(sent_texts(service))
            async with tts.speak(pieces(text, 0.02)) as audio:
                began = trio.current_time()
                sound = b"".join([piece async for piece in audio])
            assert heard(sound, config) == text
            sent = "".join(sent_texts(service)[prefetched:]).strip()
            assert sent == (text.removeprefix(opening).lstrip() if is_early else text)
            first = audio.timeline.first_delivered
            assert first is not None
            if is_early:
                assert first - began == pytest.approx(0.02 * len(re.findall(r"\w+|,", first_phrase)))
            assert [word.text for word in audio.words] == text.split()
            assert audio.outcome is not None
            assert audio.outcome.spoken_text == text


@every_language
async def test_an_opening_whose_parts_are_kept_sounds_at_its_first_comma(
    autojump_clock: MockClock, language: str
) -> None:
    """And goes on from memory without silence."""
    parts = {"en": ("Sure,", "let me check that."), "ru": ("Конечно,", "сейчас посмотрю.")}[language]
    rest = TALKS[language][2].strip()
    config = cached(phrase_policy=PhrasePolicy()).evolve(language_code=language)
    async with conversation(config) as (tts, _):
        await tts.prefetch_openings(parts)
        async with tts.speak(pieces(" ".join((*parts, rest)), 0.02)) as audio:
            began = trio.current_time()
            frames = audio.paced()
            async for _ in frames:
                pass
        first = audio.timeline.first_delivered
        assert first is not None
        assert first - began == pytest.approx(0.02)
        assert audio.usage.characters == len(rest) + 1
        assert frames.underruns == 0


@every_language
async def test_no_phrase_ends_early_that_is_not_kept(autojump_clock: MockClock, language: str) -> None:
    """What is sent, and when, is what is sent without openings."""
    frames = list[list[tuple[float, Any]]]()
    for cache in (None, MemoryCache()):
        config = make_config(opening_cache=cache, language_code=language)
        async with conversation(config) as (tts, service):
            began = trio.current_time()
            for _, text in EARLY[language]:
                async with tts.speak(pieces(text or TALKS[language][2], 0.02)) as audio:
                    async for _ in audio:
                        pass
        frames.append([(round(message.time - began, 6), message.message) for message in service.messages()])
    assert frames[0] == frames[1]


@every_language
async def test_a_short_clip_is_not_said_where_its_llm_is_slow(autojump_clock: MockClock, language: str) -> None:
    """It would be followed by silence; but it is where nothing follows, or what does is there already."""
    opening, text = EARLY[language][0]
    config = cached(phrase_policy=PhrasePolicy()).evolve(language_code=language)
    async with conversation(config) as (tts, service):
        await tts.prefetch_openings([opening])
        for said, interval, is_hit in ((text, 0.02, True), (text, 0.1, False), (opening, 0.1, True), (text, 0.0, True)):
            before = len(sent_texts(service))
            async with tts.speak(pieces(said, interval)) as audio:
                sound = b"".join([piece async for piece in audio])
            assert heard(sound, config) == said
            assert (audio.usage.characters < len(said)) == is_hit
            assert "".join(sent_texts(service)[before:]).startswith(opening) == (not is_hit)


@every_language
async def test_nothing_is_said_from_memory_after_a_reply_was_left(autojump_clock: MockClock, language: str) -> None:
    """Its text ends with a mark, and its clip is kept by another conversation before it is left."""
    opening = EARLY[language][1][0]
    full, empty = MemoryCache(), MemoryCache()
    config = cached(cache=full, phrase_policy=PhrasePolicy()).evolve(language_code=language)
    async with conversation(config) as (tts, service):
        await tts.prefetch_openings([opening])
        async with speaking(config.evolve(opening_cache=empty), service.open_stream) as other:
            async with other.start_llm_stream() as (text, audio):
                await text.send(opening)
                for key, value in values(full).items():
                    await empty.put(key, value)
                audio.close()
            assert audio.words == ()
            assert audio.outcome is not None
            assert (audio.outcome.spoken_text, audio.outcome.unspoken_text) == ("", opening)


async def test_no_slot_is_needed_for_what_is_said_from_memory(autojump_clock: MockClock) -> None:
    one, _, rest = TALKS["en"]
    limiter = ConcurrencyLimiter(1)
    config = cached(limiter=limiter)
    async with conversation(config, [one], [one]) as (tts, service):
        async with limiter.slot():
            said = await say(tts, service, [one])
            assert (said.at[0], said.sent) == (0.0, [])
        said = await say(tts, service, [one, rest])
        assert said.sent == [rest]


async def test_an_opening_sounds_where_the_rest_goes_over_http(autojump_clock: MockClock) -> None:
    one, _, rest = TALKS["en"]
    config = cached(fallback="http")
    no_websocket = Fault("status", "answer", 503, path="stream-input")
    async with conversation(config, [one], [one]) as (_, service):
        inject(service, no_websocket)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts, tts.start_llm_stream() as (text, audio):
                began = trio.current_time()
                await text.send(one)
                first = await audio.receive()
                assert trio.current_time() == began
                await text.send(rest)
                text.close()
                sound = first + b"".join([piece async for piece in audio])
    assert heard(sound, config) == (one + rest).strip()
    assert audio.usage.characters == len(rest)


# Filled ahead, and shared.


@every_language
@pytest.mark.parametrize("output_format", FORMATS)
async def test_prefetched_openings_are_said_by_the_first_conversation(
    autojump_clock: MockClock, language: str, endpoint: str, output_format: str
) -> None:
    one, two, rest = TALKS[language]
    cache = Shelf()
    config = cached(endpoint, cache, output_format=output_format, phrase_policy=PhrasePolicy.sentence())
    async with conversation(config) as (tts, service):
        await tts.prefetch_openings([one, f"\n{two}", one.strip()])
        assert sent_texts(service) == [one, two]
        assert len(cache.values) == 2
        await tts.prefetch_openings([one, two])
        assert sent_texts(service) == [one, two]
        said = await say(tts, service, [one, two, rest])
        assert said.sent == [rest]
        assert said.at[0] == 0.0
        assert [word.text for word in said.audio.words] == (one + two + rest).split()


@every_language
@pytest.mark.parametrize("policy", ["sentence", "balanced", "eager"])
@pytest.mark.parametrize("blanks", [r"\s*\S+", r"\S+\s*"], ids=["before the words", "behind the words"])
async def test_openings_are_cut_as_replies_are(
    autojump_clock: MockClock, language: str, policy: str, blanks: str
) -> None:
    """Whether an LLM's tokens begin with their blanks or end with them, all of an opening is said from memory."""
    openings = {
        "en": ("Sure, let me check that.", "Sure, let me check that for you.", "I understand, that must be annoying."),
        "ru": ("Конечно, сейчас я посмотрю это для вас.", "Одну минуту, пожалуйста.", "Понимаю, это неприятно."),
    }[language]
    rest = TALKS[language][2]
    config = cached(phrase_policy=getattr(PhrasePolicy, policy)()).evolve(language_code=language)

    async def write(text: str) -> AsyncGenerator[str]:
        for token in re.findall(blanks, text):
            yield token
            await trio.sleep(0.02)

    async with conversation(config) as (tts, service):
        await tts.prefetch_openings(openings)
        prefetched = len(sent_texts(service))
        for opening in openings:
            async with tts.speak(write(f"{opening} {rest}")) as audio:
                sound = b"".join([piece async for piece in audio])
            assert heard(sound, config) == f"{opening} {rest}".strip()
            timeline = audio.timeline
            assert timeline.first_received is not None
            assert timeline.first_sent is not None
            assert timeline.first_received < timeline.first_sent
            assert audio.usage.characters == len(rest)
        assert "".join(sent_texts(service)[prefetched:]) == rest * len(openings)


@every_language
async def test_of_markdown_nothing_is_spoken(autojump_clock: MockClock, language: str) -> None:
    """Of a prefetched opening no more than of a reply."""
    one, _, rest = TALKS[language]
    config = cached(phrase_policy=PhrasePolicy.sentence(), transforms=(markdown(),))
    async with conversation(config) as (tts, service):
        await tts.prefetch_openings([f"**{one.strip()}**"])
        assert sent_texts(service) == [one]
        for begin in (one, f"**{one.strip()}** "):
            assert (await say(tts, service, [begin, rest])).sent == [rest]
        with pytest.raises(ConfigurationError, match="can be spoken"):
            await tts.prefetch_openings(["**"])


@every_language
async def test_no_phrase_is_prefetched_that_is_never_said_from_memory(autojump_clock: MockClock, language: str) -> None:
    """Three phrases of a reply are, and the service is paid for each that is fetched; the others may be long."""
    one, two, rest = TALKS[language]
    more = f"{rest.strip(' .')}, {rest}"
    async with conversation(cached(phrase_policy=PhrasePolicy.sentence())) as (tts, service):
        await tts.prefetch_openings([one + two + rest + more])
        assert sent_texts(service) == [one, two, rest]
        said = await say(tts, service, [one, two, rest, more])
        assert "".join(said.sent) == more


async def test_the_memory_of_the_process(autojump_clock: MockClock) -> None:
    phrase = "This is said by no other test. "
    async with conversation(cached(cache="memory"), [phrase], [phrase]) as (tts, service):
        assert (await say(tts, service, [phrase])).sent == []
        async with speaking(cached(), service.open_stream) as other:  # with a cache of its own
            assert (await say(other, service, [phrase])).sent == [phrase]


class Counting(MemoryCache):
    """A cache of the user's own that is made of ours."""

    puts = 0

    async def put(self, key: str, value: bytes) -> None:
        self.puts += 1
        await super().put(key, value)


@attrs.define(slots=True, weakref_slot=False)
class Slotted:
    """A cache that cannot be referenced weakly, nor hashed."""

    values: dict[str, bytes] = attrs.field(factory=dict)

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.values[key] = value


async def test_what_is_shared_goes_with_its_cache(autojump_clock: MockClock) -> None:
    """A cache for each call would leave its hashes and its memory behind."""
    for make in (MemoryCache, Shelf):
        gc.collect()
        before = len(openings._of_caches)
        async with conversation(cached(cache=make()), ["One. "]):
            assert len(openings._of_caches) == before + 1
        gc.collect()
        assert len(openings._of_caches) == before
    counting = Counting()
    async with conversation(cached(cache=counting), ["One. "], ["One. "]):
        await wait_all_tasks_blocked()
        assert counting.puts == 1
    cache = Slotted()
    async with conversation(cached(cache=cache), ["One. "], ["One. "]) as (tts, service):
        assert (await say(tts, service, ["One. "])).sent == []
        await wait_all_tasks_blocked()
        assert len(cache.values) == 1


async def test_a_cache_is_asked_once_for_a_phrase_and_gets_it_once(autojump_clock: MockClock) -> None:
    one, two, _ = TALKS["en"]
    cache = Shelf()
    async with conversation(cached(cache=cache)) as (tts, service):
        for _ in range(3):
            await say(tts, service, [one])
        await trio.sleep(1)
        assert (cache.gets, cache.puts) == (1, 0)
        async with speaking(cached(cache=cache), service.open_stream) as other:
            for _ in range(3):
                assert two in (await say(other, service, [one, two])).sent
                await trio.sleep(1)
        assert (cache.gets, cache.puts) == (2, 1)


class Watched(ConcurrencyLimiter):
    """Notes for whom it gives slots."""

    def __init__(self) -> None:
        super().__init__(4)
        self.background: list[bool] = []

    def slot(self, *, background: bool = False) -> Any:
        self.background.append(background)
        return super().slot(background=background)


async def test_a_prefetch_waits_behind_the_utterances(autojump_clock: MockClock) -> None:
    """In the limiter's queue, and until none is generated in its own conversation."""
    one, _, rest = TALKS["en"]
    limiter = Watched()
    config = cached(limiter=limiter, phrase_policy=PhrasePolicy.sentence())
    async with conversation(config) as (tts, service), trio.open_nursery() as nursery:
        async with tts.start_llm_stream() as (text, audio):
            await text.send(rest + "And")
            nursery.start_soon(tts.prefetch_openings, [one])
            await trio.sleep(5)
            assert sent_texts(service) == [rest]
            text.close()
            async for _ in audio:
                pass
        await trio.sleep(5)
        assert sent_texts(service) == [rest, "And ", one]
        assert limiter.background == [False, True]


@pytest.mark.parametrize("how", ["said", "prefetched"])
async def test_another_process_finds_them_in_the_cache(autojump_clock: MockClock, how: str) -> None:
    """At the second reply that begins so, as it never waits for a cache; or at the first, if it looked ahead."""
    one, _, rest = TALKS["ru"]
    cache = Shelf()
    config = cached(cache=cache, phrase_policy=PhrasePolicy.sentence())
    async with conversation(config, [one, rest], [one, "И. "]) as (_, service):
        await trio.sleep(1)
        assert len(cache.values) == 1
        openings._of_caches.clear()  # as in a process that has just begun
        async with speaking(config, service.open_stream) as tts:
            asked, gets = len(sent_texts(service)), cache.gets
            if how == "said":
                assert (await say(tts, service, [one])).sent == [one]
                await trio.sleep(1)
            else:
                await tts.prefetch_openings([one])
                assert len(sent_texts(service)) == asked
            assert (await say(tts, service, [one])).sent == []
            assert cache.gets == gets + 1


async def test_a_damaged_opening_is_not_said(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    one = TALKS["en"][0]
    cache = MemoryCache()
    async with conversation(cached(cache=cache), [one], [one]) as (tts, service):
        ((key, value),) = values(cache).items()
        await cache.put(key, value[:-1] + b"!")
        assert (await say(tts, service, [one])).sent == [one]
        assert (await say(tts, service, [one])).sent == []  # it was kept anew
    assert caplog.text.count("damaged") == 2


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("One moment.", TypeError, "not a single str"),
        ([1], TypeError, "must be a str, not int"),
        (["One.", "x" * 61], ConfigurationError, "has more than 60 characters"),
        (["…"], ConfigurationError, "nothing in '…' can be spoken"),
    ],
)
async def test_what_cannot_be_kept_is_refused_before_anything_is_sent(
    autojump_clock: MockClock, given: Any, error: type[Exception], says: str
) -> None:
    async with conversation(cached(phrase_policy=PhrasePolicy.sentence())) as (tts, service):
        with pytest.raises(error, match=says):
            await tts.prefetch_openings(given)
        assert sent_texts(service) == []
    async with conversation(make_config(language_code="en")) as (tts, _):
        with pytest.raises(ConfigurationError, match="opening_cache: None is not allowed"):
            await tts.prefetch_openings(["One."])
    with pytest.raises(RuntimeError, match="inside of its"):
        await tts.prefetch_openings(["One."])


async def test_a_prefetch_that_fails_raises(autojump_clock: MockClock) -> None:
    one, two, _ = TALKS["en"]
    async with conversation(cached(max_replays=1, phrase_policy=PhrasePolicy.sentence())) as (tts, service):
        inject(service, Fault("reset", "audio", path="stream-input", skip=1))
        with pytest.raises(TTSConnectionError):
            await tts.prefetch_openings([one, two])
        assert (await say(tts, service, [one])).sent == []


LONG = "Well, a moment please, as I have to look that up for you. "


@pytest.mark.parametrize("opening", [TALKS["en"][0], TALKS["ru"][0], LONG])
@pytest.mark.parametrize("frame", [0, 1, 2])
async def test_a_prefetch_asks_again_where_the_connection_was_lost(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, endpoint: str, opening: str, frame: int
) -> None:
    """For the whole phrase, as a half of it is no clip, and without the final its end is not certain."""
    config = cached(endpoint, phrase_policy=PhrasePolicy.sentence())
    async with conversation(config) as (tts, service):
        inject(service, Fault("reset", "audio", frame=frame, path=websocket_path(endpoint), count=1))
        await tts.prefetch_openings([opening])
        assert set(sent_texts(service)) == {opening}
        assert len(sent_texts(service)) <= 2
        said = await say(tts, service, [opening])
        assert (said.sent, heard(said.sound, config)) == ([], opening.strip())
    assert "not kept" not in caplog.text


async def test_a_prefetch_asks_again_where_the_sockets_were_dead(autojump_clock: MockClock) -> None:
    one = TALKS["en"][0]
    config = cached(phrase_policy=PhrasePolicy.sentence(), timeouts=Timeouts(first_audio=1.0))
    async with conversation(config) as (tts, service):
        service.freeze()
        await tts.prefetch_openings([one])
        assert (await say(tts, service, [one])).sent == []


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("frame", [0, 1])
async def test_a_prefetch_asks_again_where_the_plan_refused_it(
    autojump_clock: MockClock, limited: bool, frame: int
) -> None:
    limiter = ConcurrencyLimiter(2) if limited else None
    config = cached(phrase_policy=PhrasePolicy.sentence(), limiter=limiter, max_replays=0)
    async with conversation(config) as (tts, service):
        inject(service, Fault("error_frame", "audio", "concurrent_limit_exceeded", frame=frame, count=1))
        await tts.prefetch_openings([LONG])
        assert sent_texts(service) == [LONG, LONG]
        assert (await say(tts, service, [LONG])).sent == []


@pytest.mark.parametrize(("at", "says"), [("audio", "connection"), ("final", "reported the end of an opening")])
async def test_a_prefetch_that_never_hears_the_end_raises(autojump_clock: MockClock, at: Any, says: str) -> None:
    """After so many attempts as a reply has, since each of them is paid."""
    one = TALKS["en"][0]
    config = cached(phrase_policy=PhrasePolicy.sentence(), max_replays=2)
    async with conversation(config) as (tts, service):
        inject(service, Fault("reset", at, path="stream-input"))
        with pytest.raises(TTSConnectionError, match=says):
            await tts.prefetch_openings([one])
        assert sent_texts(service) == [one] * 3


def longer() -> AtTheEnd:
    """Phrases that are longer than the text was."""
    return AtTheEnd(lambda text: text * 2)


@pytest.mark.parametrize("policy", [PhrasePolicy.sentence(), longer], ids=["text", "phrase"])
async def test_a_prefetch_of_what_is_too_long_holds_no_connection(autojump_clock: MockClock, policy: Any) -> None:
    one = TALKS["en"][0]
    most = len(one) + (5 if policy is longer else -5)
    async with conversation(cached(max_characters=most, phrase_policy=policy)) as (tts, service):
        for _ in range(3):
            with pytest.raises(ConfigurationError, match="max_characters"):
                await tts.prefetch_openings([one])
        assert tts.connections.statistics().in_use == 0
        assert sent_texts(service) == []


@pytest.mark.parametrize(
    "change",
    [{"enable_logging": False}, {"sync_alignment": False}, {"auto_mode": False}, {"output_format": "opus_48000_64"}],
)
def test_where_no_opening_can_be_kept_the_field_is_refused(change: dict[str, Any]) -> None:
    changes = {"on_lost_connection": "raise", **change}
    make_config(language_code="en", **changes)
    with pytest.raises(ConfigurationError, match="opening_cache: "):
        cached(**changes)


# Off is off.


async def test_off_means_off(autojump_clock: MockClock, endpoint: str) -> None:
    """Without the field no code of the openings runs, and the service gets the same frames at the same times."""
    ran = list[str]()

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if frame.f_code.co_filename in OPENINGS:
            ran.append(frame.f_code.co_name)

    frames = dict[bool, list[tuple[float, Any]]]()
    for on in (False, True):
        cache = MemoryCache() if on else None
        config = make_config(endpoint, opening_cache=cache, language_code="en", phrase_policy=EachToken)
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            async with conversation(config) as (tts, service):
                began = trio.current_time()
                await say(tts, service, TALKS["en"], 0.1)
        finally:
            sys.settrace(before)
        frames[on] = [(round(message.time - began, 6), message.message) for message in service.messages()]
        assert bool(ran) == on
        ran.clear()
    assert frames[False] == frames[True]
