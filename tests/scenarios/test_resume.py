"""Every cut heals: a connection that breaks, or freezes, before any message of a reply costs no word and repeats none.

The tone voice's samples say which text they voice. A word is heard when its last byte was delivered; of a word that was
cut in the middle a fragment may be heard, and then the whole word.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, TypeAlias, cast

import attrs
import pytest
import trio

from tests.helpers import (
    TEXTS,
    Service,
    heard,
    make_config,
    memory_service,
    posts,
    speaking,
    text_of,
    tokens,
    websocket_path,
    whole_words,
)
from tests.helpers.sound import decode
from tts_trio import (
    AudioChannel,
    AuthenticationError,
    EmptyAudioError,
    TextTimeoutError,
    TTSConfig,
    TTSConnectionError,
    TTSManager,
    VoiceSettings,
    WebSocketConnectionManager,
)
from tts_trio.config.audio_clock import AudioClock
from tts_trio.limits.backoff import Backoff
from tts_trio.local_server import Behavior, Fault, Injected
from tts_trio.speech import reply
from tts_trio.wire.events import Final

# The tone voice speaks 16.7 characters a second; 15 are reckoned with, and one word more is said again.
MOST_REPEATED = 4

Listening: TypeAlias = Literal["eagerly", "by the clock"]

every_language = pytest.mark.parametrize("language", TEXTS)
every_cut = pytest.mark.parametrize("action", ["reset", "freeze"])
every_listening = pytest.mark.parametrize("listening", ["eagerly", "by the clock"])


@attrs.frozen
class Case:
    """One reply, whose connection is cut before the message numbered `frame`."""

    service: Service
    tts: TTSManager
    frame: int

    @property
    def cut(self) -> bool:
        return any(isinstance(record, Injected) for record in self.service.server.records)

    def phrases(self) -> list[str]:
        """The phrases that were sent, over all connections."""
        texts = [text_of(message.message) for message in self.service.messages()]
        return [text for text in texts if text.strip()]


class Cuts:
    """Cases with the connection cut before the first message, the second, …, until there is none to be cut before.

    A sample has the first message, and one of `every` messages after it, from one on that `seed` decides.
    """

    def __init__(
        self,
        action: str,
        config: TTSConfig,
        *,
        every: int,
        seed: str,
        one_connection: bool = True,
        **behavior: Any,
    ) -> None:
        self.cases = 0
        self._every = every
        self._draw = random.Random(seed)
        self._one_connection = one_connection
        self._action = action
        self._config = config
        self._behavior = behavior
        self._over = False

    def __iter__(self) -> Iterator[AbstractAsyncContextManager[Case]]:
        """Over all messages of the first connection, then those of the second one that speaks, and so on."""
        for connection in itertools.count():
            before = self.cases
            first = self._draw.randint(1, self._every)
            for frame in itertools.chain([0], itertools.count(first, self._every)):
                yield self._case(connection, frame)
                if self._over:
                    break
                self.cases += 1
            if self.cases == before or self._one_connection:
                return

    @asynccontextmanager
    async def _case(self, connection: int, frame: int) -> AsyncGenerator[Case]:
        fault = Fault(
            self._action, "audio", frame=frame, skip=connection, count=1, path=websocket_path(self._config.endpoint)
        )
        async with memory_service(Behavior(faults=(fault,), **self._behavior)) as service:
            async with speaking(self._config, service.open_stream) as tts:
                case = Case(service, tts, frame)
                yield case
                self._over = not case.cut


@pytest.fixture
def cuts_of(request: pytest.FixtureRequest, exhaustive: bool) -> Callable[..., Cuts]:
    """Make the cuts of a test: all of them, or one in three, others in each test."""
    return functools.partial(Cuts, every=1 if exhaustive else 3, seed=request.node.name)


async def play(audio: AudioChannel, into: list[bytes], listening: Listening = "eagerly") -> None:
    """Take the audio at once as it comes, or as a telephone does: a piece after the one before it was played."""
    clock = trio.current_time()
    async for chunk in audio:
        into.append(chunk)
        if listening == "by the clock":
            clock = max(clock, trio.current_time()) + seconds_of(chunk, audio)
            await trio.sleep_until(clock)


def seconds_of(sound: bytes, audio: AudioChannel) -> float:
    counter = AudioClock.of(audio.format)
    counter.feed(sound)
    return counter.seconds


def is_repetition(said: list[str], words: list[str], at: int, repeated: int) -> bool:
    """Whether the words were said up to `at`, a fragment perhaps of the last one, and then again from earlier on."""
    fragment = repeated <= at <= len(said) and words[at - 1].startswith(said[at - 1])
    return fragment and said[: at - 1] == words[: at - 1] and said[at:] == words[at - repeated :]


@every_listening
@every_cut
@every_language
async def test_no_word_is_lost_and_none_said_twice(
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
    cuts_of: Callable[..., Cuts],
    language: str,
    action: str,
    listening: Listening,
) -> None:
    """P13: after a cut the reply goes on with the first word that was not heard whole."""
    text, config = TEXTS[language], make_config(endpoint)
    cuts = cuts_of(action, config)
    for case in cuts:
        async with case as here:
            sound: list[bytes] = []
            async with here.tts.speak(tokens(text)) as audio:
                await play(audio, sound, listening)
            assert whole_words(heard(b"".join(sound), config), text) == text.split()
            assert [word.text for word in audio.words] == text.split()
            assert [text[word.start : word.end] for word in audio.words] == text.split()
            assert all(earlier.end_ms <= word.start_ms for earlier, word in itertools.pairwise(audio.words))
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
            assert audio.outcome.delivered_ms == len(b"".join(sound)) / 32
    assert cuts.cases >= 3


@every_cut
@every_language
async def test_the_error_tells_what_was_spoken_and_what_was_not(
    autojump_clock: trio.testing.MockClock, endpoint: str, cuts_of: Callable[..., Cuts], language: str, action: str
) -> None:
    """P13, with on_lost_connection="raise": before any audio the cut heals, after some the caller is told."""
    text, config = TEXTS[language], make_config(endpoint, on_lost_connection="raise")
    cuts, raised = cuts_of(action, config), 0
    for case in cuts:
        async with case as here:
            sound: list[bytes] = []
            async with here.tts.start_llm_stream() as (channel, audio):
                await channel.send(text)
                channel.close()
                error = None
                try:
                    await play(audio, sound)
                except TTSConnectionError as caught:
                    error = caught
            said = heard(b"".join(sound), config)
            if error is None:
                assert said == text
                continue
            raised += 1
            assert here.cut
            assert here.frame
            assert error.spoken_text + error.unspoken_text == text
            whole = error.spoken_text.split()
            assert said.split()[: len(whole)] == whole
            assert len(said.split()) <= len(whole) + 1  # and a fragment
            assert audio.outcome is not None
            assert audio.outcome.error is error
    assert raised >= 2  # the messages before any audio, and those that are silence at the end, cost no word


@pytest.mark.parametrize(("action", "listening"), [("reset", "eagerly"), ("freeze", "by the clock")])
@pytest.mark.parametrize(
    ("alignment", "sync_alignment"), [("absent", True), ("overlapping", True), ("overlapping", False), ("plain", False)]
)
@every_language
async def test_where_times_are_poor_few_words_are_repeated(
    autojump_clock: trio.testing.MockClock,
    cuts_of: Callable[..., Cuts],
    language: str,
    alignment: str,
    sync_alignment: bool,
    action: str,
    listening: Listening,
    endpoint: str,
) -> None:
    """P13, P38: no word is lost; where there are no times, few are said again, by an estimate of what was heard."""
    if endpoint == "text-to-dialogue":  # it sends times with every message or not at all, and none that overlap
        if alignment == "overlapping":
            pytest.skip("only the text-to-speech models do that")
        alignment = "plain" if alignment == "plain" and sync_alignment else "absent"
    text, config = TEXTS[language], make_config(endpoint, sync_alignment=sync_alignment)
    cuts = cuts_of(action, config, alignment=alignment, one_connection=alignment != "absent")
    for case in cuts:
        async with case as here:
            sound: list[bytes] = []
            async with here.tts.speak(tokens(text)) as audio:
                await play(audio, sound, listening)
            words, said = text.split(), heard(b"".join(sound), config).split()
            if alignment != "absent":
                assert whole_words(" ".join(said), text) == words
                continue
            repeated = len(said) - len(words)
            assert any(is_repetition(said, words, at, repeated) for at in range(1, len(words) + 1))
            assert repeated <= MOST_REPEATED
            if repeated:
                assert any(word.estimated for word in audio.words)
    assert cuts.cases >= 3


@pytest.mark.parametrize("output_format", ["pcm_8000", "pcm_44100"])
async def test_in_other_sample_rates(
    autojump_clock: trio.testing.MockClock, endpoint: str, cuts_of: Callable[..., Cuts], output_format: str
) -> None:
    text, config = TEXTS["ru"], make_config(endpoint, output_format=output_format)
    for case in cuts_of("reset", config):
        async with case as here:
            sound: list[bytes] = []
            async with here.tts.speak(tokens(text)) as audio:
                await play(audio, sound, "by the clock")
            assert all(len(chunk) % 2 == 0 for chunk in sound)
            assert whole_words(heard(b"".join(sound), config), text) == text.split()


@pytest.mark.parametrize("output_format", ["ulaw_8000", "mp3_44100_128"])
async def test_in_codecs_that_say_no_words(
    autojump_clock: trio.testing.MockClock, endpoint: str, cuts_of: Callable[..., Cuts], output_format: str
) -> None:
    """The words by their times; the sound by its length, and by a decoder that finds nothing wrong with it."""
    text, config = TEXTS["en"], make_config(endpoint, output_format=output_format)
    lengths: list[float] = []
    for case in cuts_of("reset", config):
        async with case as here:
            sound: list[bytes] = []
            async with here.tts.speak(tokens(text)) as audio:
                await play(audio, sound, "by the clock")
            whole = b"".join(sound)
            assert [word.text for word in audio.words] == text.split()
            lengths.append(seconds_of(whole, audio))
            assert audio.words[-1].end_ms <= lengths[-1] * 1000
            assert audio.outcome is not None
            assert audio.outcome.delivered_ms == pytest.approx(1000 * lengths[-1])
            if output_format == "mp3_44100_128":
                assert all(chunk.startswith(b"\xff\xfb") for chunk in sound)  # whole frames, and no tag
                rate = config.format.sample_rate
                assert len(decode(output_format, whole)) / rate == pytest.approx(lengths[-1], abs=0.06)
    uncut = lengths[-1]
    # A clip has a blank before and after it, the cut fragment is at most one word, and a stream of mp3 ends with some
    # frames of silence.
    assert all(uncut - 0.2 < length < uncut + 1.2 for length in lengths)


# What is said again, when, and how often.


async def say(service: Service, tts: TTSManager, text: str) -> tuple[AudioChannel, str, float]:
    """Say a text: its channel, what was heard, and how long that took."""
    began = trio.current_time()
    sound: list[bytes] = []
    async with tts.start_llm_stream() as (channel, audio):
        await channel.send(text)
        channel.close()
        await play(audio, sound)
    return audio, heard(b"".join(sound), tts.config), trio.current_time() - began


@every_language
async def test_lost_before_any_audio_is_said_again_at_once_over_the_warm_spare(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """P13, P26: a dial takes 2 s, and nobody waits for one."""
    fault = Fault("reset", "audio", count=1, path=websocket_path(endpoint))
    async with memory_service(Behavior(faults=(fault,)), dial_time=2.0) as service:
        async with speaking(make_config(endpoint, spares=2), service.open_stream) as tts:
            await trio.sleep(3)
            audio, said, seconds = await say(service, tts, TEXTS[language])
            assert said == TEXTS[language]
            assert seconds < 1
            assert audio.outcome is not None
            assert audio.outcome.end == "finished"
            assert audio.usage.characters > len(TEXTS[language])  # the service was asked twice for some


@pytest.mark.parametrize("max_replays", [0, 1, 3])
async def test_at_most_max_replays(autojump_clock: trio.testing.MockClock, endpoint: str, max_replays: int) -> None:
    """P26."""
    fault = Fault("reset", "audio", path=websocket_path(endpoint))
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(make_config(endpoint, max_replays=max_replays), service.open_stream) as tts:
            with pytest.raises(TTSConnectionError) as caught:
                await say(service, tts, "Добрый день.")
            assert (caught.value.spoken_text, caught.value.unspoken_text) == ("", "Добрый день.")
        sent = [text_of(record.message) for record in service.messages()]
        assert sent.count("Добрый день. ") == max_replays + 1


@pytest.mark.parametrize("count", [1, 2, None])
async def test_a_final_without_audio(autojump_clock: trio.testing.MockClock, count: int | None) -> None:
    """P3: it is tried once more, and no success where that does not help."""
    fault = Fault("skip", "audio", frame=None, count=count, path="stream-input")
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            if count != 1:
                with pytest.raises(EmptyAudioError, match="quota") as caught:
                    await say(service, tts, "Да, слушаю.")
                assert caught.value.unspoken_text == "Да, слушаю."
            else:
                _, said, seconds = await say(service, tts, "Да, слушаю.")
                assert said == "Да, слушаю."
                assert seconds < 1  # not only when the service closes the socket, 0.76 s later


@every_language
@pytest.mark.parametrize("at", ["the beginning", "mid speech"])
async def test_half_open_sockets(autojump_clock: trio.testing.MockClock, endpoint: str, language: str, at: str) -> None:
    """P12: at the beginning it is found by a ping in 1 s, in mid speech when audio is owed for 3 s."""
    async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
        if at == "the beginning":
            service.freeze()
            _, said, seconds = await say(service, tts, TEXTS[language])
            assert said == TEXTS[language]
            assert 1 < seconds < 2
            return
        sound: list[bytes] = []
        began = trio.current_time()
        async with tts.speak(tokens(TEXTS[language])) as audio:
            sound.append(await audio.receive())
            service.freeze()
            await play(audio, sound)
        assert whole_words(heard(b"".join(sound), tts.config), TEXTS[language]) == TEXTS[language].split()
        assert trio.current_time() - began < 3 + 3


@every_language
@pytest.mark.parametrize("mode", ["resume", "raise"])
async def test_a_final_before_the_text_is_complete_ends_no_turn(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, mode: str
) -> None:
    """P2: the service ends its side after a while; what comes later goes over the next socket."""
    text = TEXTS[language]
    half = len(text) // 2
    async with memory_service(Behavior(alignment="plain")) as service:
        async with speaking(make_config(endpoint, on_lost_connection=mode), service.open_stream) as tts:
            sound: list[bytes] = []
            async with tts.start_llm_stream() as (channel, audio), trio.open_nursery() as nursery:
                nursery.start_soon(play, audio, sound)
                await channel.send(text[:half])
                await trio.sleep(2)  # all of it is said
                reply = cast("Any", audio)._changed.__self__
                reply._on_event(Final())
                await trio.sleep(1)
                assert audio.outcome is None
                await channel.send(text[half:])
                channel.close()
            assert heard(b"".join(sound), tts.config).split() == text.split()
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)


async def test_a_clip_of_silence_before_the_first_words_is_not_heard(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """It comes for the init frame and for keep-alives, if the service makes one at all, and never as words."""
    async with memory_service(Behavior(blank_in_auto_mode="silence", model_latency=0.5)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            for language in TEXTS:
                audio, said, _ = await say(service, tts, TEXTS[language])
                assert said == TEXTS[language]
                assert audio.outcome is not None
                assert audio.outcome.spoken_text == TEXTS[language]
                await trio.sleep(20)


async def test_one_warning_for_a_text_that_nobody_closes(
    autojump_clock: trio.testing.MockClock, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """P1: after 30 s there is a warning, and after `timeouts.text` the end."""
    config = make_config(endpoint, language_code="ru")
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        began = trio.current_time()
        with pytest.raises(TextTimeoutError), caplog.at_level("WARNING", "tts_trio"):
            async with tts.start_llm_stream() as (channel, audio):
                await channel.send("Здравствуйте, ")
                async for _ in audio:
                    pass
        assert trio.current_time() - began == pytest.approx(120)
        assert [record.name for record in caplog.records] == ["tts_trio.text.input"]
        assert "30 s" in caplog.text


@pytest.mark.parametrize("listening", ["eagerly", "by the clock"])
async def test_what_was_received_whole_is_finished_when_it_is_heard(
    autojump_clock: trio.testing.MockClock, endpoint: str, listening: Listening
) -> None:
    """P1: the service is done long before the listener is."""
    async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
        sound: list[bytes] = []
        async with tts.speak([TEXTS["ru"]]) as audio:
            await play(audio, sound, listening)
        assert audio.outcome is not None
        assert audio.outcome.end == "finished"


# Over HTTP, where there is no WebSocket.


@every_language
async def test_without_a_connection_a_reply_is_spoken_over_http(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, caplog: pytest.LogCaptureFixture
) -> None:
    """P13, with fallback="http": phrase by phrase, after `timeouts.connect`."""
    text = TEXTS[language]
    no_websocket = Fault("status", "answer", 503, path=websocket_path(endpoint))
    config = make_config(endpoint, fallback="http")
    async with memory_service(Behavior(faults=(no_websocket,))) as service:
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            began = trio.current_time()
            sound: list[bytes] = []
            async with tts.speak(tokens(text)) as audio:
                assert trio.current_time() - began == pytest.approx(5)
                await play(audio, sound)
            assert heard(b"".join(sound), config) == text
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
            assert audio.usage.trace_id
            assert audio.usage.characters == len(text) + 1
            asked = [post.body["text"] for post in posts(service.server)]
            assert "".join(asked) == text + " "
            assert len(asked) > 1

            async with tts.speak(tokens(text)) as audio:
                await audio.receive()
            assert audio.outcome is not None
            assert audio.outcome.end == "interrupted"
            assert text.startswith(audio.outcome.spoken_text)


@pytest.mark.parametrize("fallback", [None, "http"])
async def test_a_reply_whose_connection_was_the_last_one(
    autojump_clock: trio.testing.MockClock, endpoint: str, fallback: str | None
) -> None:
    """It goes on over HTTP with the first word that was not heard whole, or fails."""
    text, config = TEXTS["ru"], make_config(endpoint, fallback=fallback)
    faults = (
        Fault("reset", "audio", frame=3, path=websocket_path(endpoint)),
        Fault("reset", "answer", path=websocket_path(endpoint), skip=1),
    )
    async with memory_service(Behavior(faults=faults)) as service:
        async with speaking(config, service.open_stream) as tts:
            sound: list[bytes] = []
            async with tts.speak([text]) as audio:
                if fallback is None:
                    with pytest.raises(TTSConnectionError) as caught:
                        await play(audio, sound)
                    assert caught.value.spoken_text + caught.value.unspoken_text == text
                    assert caught.value.spoken_text
                    return
                await play(audio, sound)
            assert whole_words(heard(b"".join(sound), config), text) == text.split()


async def test_what_http_refuses_fails_the_reply(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    refused = (
        Fault("reset", "answer", path=websocket_path(endpoint)),
        Fault("status", "answer", 401, path="/stream/with-timestamps"),
    )
    config = make_config(endpoint, fallback="http")
    async with memory_service(Behavior(faults=refused)) as service:
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            with pytest.raises(AuthenticationError) as caught:
                await say(service, tts, "Добрый день.")
            assert caught.value.unspoken_text == "Добрый день."
            assert len(posts(service.server)) == 1


@pytest.mark.endpoints("stream-input", "multi-stream-input")
@pytest.mark.parametrize("action", ["reset", "freeze"])
async def test_a_phrase_that_breaks_over_http_is_asked_for_again(
    autojump_clock: trio.testing.MockClock, endpoint: str, action: str
) -> None:
    text, config = TEXTS["en"], make_config(endpoint, fallback="http", auto_mode=False)
    faults = (
        Fault("reset", "answer", path=websocket_path(endpoint)),
        Fault(action, "audio", skip=1, count=1, path="/stream/with-timestamps"),
    )
    async with memory_service(Behavior(faults=faults)) as service:
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            _, said, seconds = await say(service, tts, text)
            assert said.endswith(text.split(",")[-1])
            assert set(text.split()) <= set(said.split())
            assert 5 < seconds < 5 + 4


@pytest.mark.endpoints("stream-input", "multi-stream-input")
@every_language
async def test_an_answer_that_ends_early_is_gone_on_with(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """P2, P13: the times of a clip have come with its first message, and the final comes before its second one."""
    text = {"en": "Hello, and thank you.", "ru": "Здравствуйте, спасибо."}[language]
    config = make_config(endpoint, sync_alignment=False, voice_settings=VoiceSettings(speed=0.7))  # 1.9 s: two messages
    fault = Fault("early_final", "audio", frame=1, count=1, path=websocket_path(endpoint))
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(config, service.open_stream) as tts:
            audio, said, _ = await say(service, tts, text)
            assert whole_words(said, text) == text.split()
            assert [word.text for word in audio.words] == text.split()
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)


async def test_only_a_replay_waits_for_its_turn(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P26: the second one does, and not each connection after it, of which every phrase without times needs one."""
    waits: list[int] = []

    class Noted(Backoff):
        def after(self, failures: int, retry_after: float | None = None) -> float:
            waits.append(failures)
            return super().after(failures, retry_after)

    monkeypatch.setattr(reply, "_REPLAY", Noted(first=0.2, longest=0.2))
    lost_twice = Fault("reset", "audio", count=2, path="stream-input")
    async with memory_service(Behavior(alignment="absent", faults=(lost_twice,))) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            audio, said, _ = await say(service, tts, TEXTS["ru"])
            assert said == TEXTS["ru"]
            assert audio.usage.replays == 2
            assert waits == [1]
            assert len(service.sockets()) > 4
