"""The words, each when the listener has heard it, to the millisecond; and the times of their characters."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from tests.helpers import (
    ENGLISH,
    RUSSIAN,
    TEXTS,
    heard,
    listen,
    make_config,
    memory_service,
    speaking,
    tokens,
    websocket_path,
)
from tts_trio import AudioChannel, Filler, MemoryCache, PhrasePolicy, TTSConnectionError, Word
from tts_trio.local_server import Behavior, Fault, read_tones


@attrs.define
class Ear:
    """Hears the audio of an utterance as a far end plays it, and notes when it is given each word."""

    frames: list[tuple[float, bytes]] = attrs.field(factory=list)
    words: list[tuple[float, Word]] = attrs.field(factory=list)

    async def note_words(self, audio: AudioChannel) -> None:
        async for word in audio.heard():
            self.words.append((trio.current_time(), word))

    def take(self, frame: bytes) -> None:
        self.frames.append((trio.current_time(), frame))

    def sounds_at(self, places_ms: list[float]) -> list[float]:
        """When so much of the audio has been played, for each place, by a far end that plays all in real time."""
        times: list[float] = []
        frames, silent_from, given_ms = iter(self.frames), -math.inf, 0.0
        for ms in places_ms:
            while given_ms < ms - 1e-6:
                at, frame = next(frames)
                silent_from = max(silent_from, at) + len(frame) / 32000
                given_ms += len(frame) / 32
            times.append(silent_from - (given_ms - ms) / 1000)
        return times

    def check(self, text: str, *, until: float = math.inf) -> None:
        """Each word came in the millisecond in which it was heard, and all that were heard by `until`."""
        assert [word.text for _, word in self.words] == text.split()[: len(self.words)]
        times = [at for at, _ in self.words]
        assert times == pytest.approx(self.sounds_at([word.end_ms for _, word in self.words]), abs=1e-3)
        assert max(times, default=0.0) <= until


async def hesitant(text: str) -> AsyncIterator[str]:
    """An LLM that calls a tool in the middle of a reply."""
    words = text.split(" ")
    for begins, word in enumerate(words):
        if begins == 8:
            await trio.sleep(9)
        yield word if begins == len(words) - 1 else f"{word} "


@pytest.mark.parametrize("way", ["paced", "as it comes"])
@pytest.mark.parametrize("language", TEXTS)
async def test_each_word_is_given_when_it_is_heard(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, way: str
) -> None:
    """Also where the LLM pauses in the middle, and the far end has nothing to play."""
    text, ear = TEXTS[language][:100].rpartition(" ")[0], Ear()
    async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
        async with tts.speak(hesitant(text)) as audio, trio.open_nursery() as nursery:
            nursery.start_soon(ear.note_words, audio)
            pieces = audio.paced() if way == "paced" else audio
            async for piece in pieces:
                ear.take(piece)
        ended = trio.current_time()
    assert tuple(word for _, word in ear.words) == audio.words
    ear.check(text)
    [silent_from] = ear.sounds_at([sum(len(frame) for _, frame in ear.frames) / 32])
    assert ended == pytest.approx(silent_from)  # with the audio
    assert max(later[0] - earlier[0] for earlier, later in itertools.pairwise(ear.words)) > 4


@pytest.mark.parametrize("way", ["cancelled", "closed", "left"])
@pytest.mark.parametrize("after", [0.0, 0.779, 2.333])
@pytest.mark.parametrize("language", TEXTS)
async def test_a_word_that_was_not_heard_is_never_given(
    autojump_clock: trio.testing.MockClock, language: str, after: float, way: str
) -> None:
    """Whatever ends the reply; and who asks later gets the same words at once, which are those of the history."""
    text, ear, texts = TEXTS[language], Ear(), list[str]()
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            async with tts.speak(tokens(text)) as audio:
                nursery.start_soon(ear.note_words, audio)
                frames = audio.paced()
                ear.take(await frames.receive())
                interrupted = trio.current_time() + after
                with trio.move_on_at(interrupted):
                    async for frame in frames:
                        ear.take(frame)
                if way == "closed":
                    audio.close()
                    await trio.sleep(5)
                elif way == "cancelled":
                    nursery.cancel_scope.cancel()
                    await trio.sleep_forever()
        await trio.sleep(5)
        texts = [word.text async for word in audio.heard()]
    ear.check(text, until=interrupted)
    assert texts == audio.spoken(frames.played_ms).split()
    assert [word.text for _, word in ear.words] == texts


@pytest.mark.parametrize("language", TEXTS)
async def test_after_a_loss_no_word_is_given_twice(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """P13: a word that was cut begins again, and is given when it was heard whole."""
    text, ear = TEXTS[language], Ear()
    fault = Fault("reset", "audio", frame=2, count=2, path=websocket_path(endpoint))
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            async with tts.speak(tokens(text)) as audio, trio.open_nursery() as nursery:
                nursery.start_soon(ear.note_words, audio)
                async for frame in audio.paced():
                    ear.take(frame)
        assert heard(b"".join(frame for _, frame in ear.frames), tts.config).split()[-1] == text.split()[-1]
    assert audio.usage.replays == 2
    assert len(ear.words) == len(text.split())
    ear.check(text)


@pytest.mark.parametrize("language", TEXTS)
async def test_after_a_failure_all_that_came_is_heard(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """The words end without the error, which the audio raises."""
    text, ear = TEXTS[language], Ear()
    broken = Behavior(faults=(Fault("reset", "audio", frame=3),))
    async with memory_service(broken) as service:
        async with speaking(make_config(on_lost_connection="raise"), service.open_stream) as tts:
            async with tts.speak([text]) as audio, trio.open_nursery() as nursery:
                nursery.start_soon(ear.note_words, audio)
                frames = audio.paced()
                with pytest.raises(TTSConnectionError):
                    async for frame in frames:
                        ear.take(frame)
                ended = trio.current_time()
    ear.check(text, until=ended)
    assert [word.text for _, word in ear.words] == audio.spoken(frames.played_ms).split() != text.split()


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("language", TEXTS)
async def test_the_words_of_a_static_text(
    autojump_clock: trio.testing.MockClock, language: str, *, timed: bool
) -> None:
    """With times, or estimated and marked so: none twice, none missed, however the estimate changes."""
    text, ear = TEXTS[language], Ear()
    config = make_config(static_timestamps=timed)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(text) as audio, trio.open_nursery() as nursery:
            nursery.start_soon(ear.note_words, audio)
            async for frame in audio.paced():
                ear.take(frame)
    assert [word.text for _, word in ear.words] == text.split()
    assert {word.estimated for _, word in ear.words} == {not timed}
    if timed:
        ear.check(text)


@pytest.mark.parametrize("language", TEXTS)
async def test_the_words_of_an_opening_are_given_as_all_others(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """What is said from memory has the times that it had when it was kept."""
    opening, text = {"en": "Let me look. ", "ru": "Сейчас посмотрю. "}[language], TEXTS[language]
    ear, config = Ear(), make_config(opening_cache=MemoryCache(), phrase_policy=PhrasePolicy.sentence())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        await tts.prefetch_openings([opening])
        async with tts.speak([opening, text]) as audio, trio.open_nursery() as nursery:
            nursery.start_soon(ear.note_words, audio)
            async for frame in audio.paced():
                ear.take(frame)
    assert audio.usage.characters < len(opening + text)
    assert len(ear.words) == len((opening + text).split())
    ear.check(opening + text)


@pytest.mark.parametrize("language", TEXTS)
async def test_the_words_of_fillers_are_given_once_each_and_marked(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """Before the text and in the middle of it, several in a row, also after a pause; the history has none of them."""
    filler = {"en": "One moment, please.", "ru": "Одну минуту, пожалуйста."}[language]
    first, second = "Сейчас посмотрю. ", "Here it is."
    ear = Ear()

    async def written() -> AsyncIterator[str]:
        await trio.sleep(3)
        yield first
        await trio.sleep(9)
        yield second

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        await tts.prefetch([filler])
        async with tts.speak(written(), filler=Filler(filler, every=1.0)) as audio, trio.open_nursery() as nursery:
            frames = audio.paced()

            async def cough() -> None:
                await trio.sleep(7)
                frames.pause()
                await trio.sleep(0.5)
                frames.resume()

            nursery.start_soon(ear.note_words, audio)
            nursery.start_soon(cough)
            async for frame in frames:
                ear.take(frame)
    words = [word for _, word in ear.words]
    assert tuple(words) == audio.words
    assert [word.text for word in words if not word.filler] == (first + second).split()
    fillers = [word.text for word in words if word.filler]
    assert fillers == filler.split() * (len(fillers) // len(filler.split()))
    assert len(fillers) >= 3 * len(filler.split())
    assert audio.spoken(frames.played_ms) == first + second


async def test_a_reader_who_is_late_or_slow_misses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Each channel gives all words. One that was closed gives none, and the audio goes on."""
    late: list[str] = []
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([RUSSIAN]) as audio, trio.open_nursery() as nursery:
            closed = audio.heard()

            async def read_late() -> None:
                await trio.sleep(5)
                async for word in audio.heard():
                    late.append(word.text)
                    await trio.sleep(0.5)

            async def close() -> None:
                await trio.sleep(1)
                await closed.aclose()

            nursery.start_soon(read_late)
            nursery.start_soon(close)
            first = await audio.receive()
            with pytest.raises(trio.ClosedResourceError):
                while True:
                    await closed.receive()
            assert heard(first + await listen(audio), tts.config) == RUSSIAN
    assert late == RUSSIAN.split()


async def test_without_a_reader_there_is_nothing_to_do(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            await listen(audio)
            assert audio._utterance.playback.on_change is None


@pytest.mark.parametrize("language", TEXTS)
async def test_the_characters_sound_when_they_are_said_to(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """What sounds between the beginning and the end of a character is this character, also after a loss."""
    text = TEXTS[language]
    fault = Fault("reset", "audio", frame=2, count=1, path=websocket_path(endpoint))
    async with memory_service(Behavior(faults=(fault,))) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            async with tts.speak(tokens(text)) as audio:
                sound = b""
                async for piece in audio:
                    sound += piece
                    assert sum(len(word.text) for word in audio.words) == len(audio.characters)
    assert audio.usage.replays == 1
    assert "".join(each.text for each in audio.characters) == "".join(text.split())
    said = [
        read_tones(sound[round(each.start_ms * 16) * 2 : round(each.end_ms * 16) * 2], tts.config.format).strip()
        for each in audio.characters
    ]
    assert said == [each.text if each.start_ms < each.end_ms else "" for each in audio.characters]
    assert not any(each.estimated for each in audio.characters)
    for word in audio.words:
        own = [each for each in audio.characters if word.start <= each.start < word.end]
        assert (own[0].start_ms, own[-1].end_ms) == pytest.approx((word.start_ms, word.end_ms))


@pytest.mark.parametrize("language", TEXTS)
async def test_characters_without_times_share_those_of_their_word(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """Of a text whose words are estimated; the last ones sound to the end of the audio."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.stream_static_text(TEXTS[language]) as audio:
            await listen(audio)
    assert all(each.estimated for each in audio.characters)
    for word in audio.words:
        own = [each for each in audio.characters if word.start <= each.start < word.end]
        letters = [each.end_ms - each.start_ms for each in own if each.text.isalnum()]
        assert "".join(each.text for each in own) == word.text
        assert letters == pytest.approx([(word.end_ms - word.start_ms) / len(letters)] * len(letters))
