"""A false barge-in: the caller coughs, the far end drops what it has, and the reply goes on where he was."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator

import attrs
import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, TEXTS, listen, make_config, memory_service, speaking, tokens
from tts_trio import AudioChannel, PacedFrames, Word
from tts_trio.local_server import read_tones

FRAME = 640  # bytes of 20 ms of pcm_16000


@attrs.define
class FarEnd:
    """Takes the frames of a reply in a task of its own, plays them in real time, and drops what it has when told to."""

    frames: PacedFrames
    played: bytearray = attrs.field(factory=bytearray)  # up to `_since`, to the sample
    words: list[tuple[float, Word]] = attrs.field(factory=list)
    begun: trio.Event = attrs.field(factory=trio.Event)
    ended: float = math.inf
    _buffer: bytearray = attrs.field(factory=bytearray)
    _since: float = -math.inf

    async def take(self) -> None:
        async for frame in self.frames:
            self.begun.set()
            self.play()
            self._buffer += frame
        self.play()
        self.ended = trio.current_time()

    async def note_words(self, audio: AudioChannel) -> None:
        async for word in audio.heard():
            self.words.append((self.frames.played_ms, word))

    def play(self) -> None:
        """Play up to now."""
        now = trio.current_time()
        size = 0 if not self._buffer else round((now - self._since) * 16000) * 2
        self.played += self._buffer[:size]
        del self._buffer[:size]
        self._since = now

    def clear(self) -> None:
        self.play()
        self._buffer.clear()

    async def pause_for(self, seconds: float) -> None:
        """Cough: meanwhile nothing is given, and what was heard stays the same."""
        self.frames.pause()
        self.clear()
        heard_bytes, played_ms, words = len(self.played), self.frames.played_ms, len(self.words)
        await trio.sleep(seconds)
        assert not self._buffer
        assert (len(self.played), self.frames.played_ms) == (heard_bytes, played_ms)
        assert len(self.words) - words <= 1  # one that was heard in this moment
        self.frames.resume()


def whole(played: bytes, pauses: list[int]) -> bytes:
    """What was heard, up to each of these pauses and after it, without the part of a frame that was heard again."""
    sound = b""
    for begins, ends in itertools.pairwise([0, *pauses, len(played)]):
        sound = sound[: len(sound) // FRAME * FRAME] + played[begins:ends]
    return sound


@pytest.mark.parametrize(("way", "lead_ms"), [("reply", 20), ("static text", 200), ("reply", 1000)])
@pytest.mark.parametrize("language", TEXTS)
async def test_the_caller_misses_nothing_and_hears_no_frame_twice(
    autojump_clock: trio.testing.MockClock, language: str, lead_ms: float, way: str
) -> None:
    """To the sample, wherever the pause falls: at once, in what is said again, at a frame's border, at the end."""
    text = TEXTS[language][:60].rpartition(" ")[0]
    config = make_config(static_timestamps=True)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        speak = tts.stream_static_text if way == "static text" else tts.speak
        async with speak(text) as audio:
            sound = await listen(audio)
        length_ms = len(sound) / 32
        async with speak(text) as audio:
            frames = audio.paced(lead_ms=lead_ms)
            far_end = FarEnd(frames)
            pauses: list[int] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far_end.take)
                nursery.start_soon(far_end.note_words, audio)
                await far_end.begun.wait()
                said_from = 0.0
                for at_ms in (0.0, 300.0, 307.0, 511.3, 1200.0, length_ms - 41, length_ms - 3):
                    await trio.sleep((at_ms - said_from) / 1000)
                    assert frames.played_ms == pytest.approx(at_ms)
                    said_from = at_ms // 20 * 20
                    assert len(frames._sent) <= lead_ms / 20 + 2  # what is kept is bounded by the lead
                    await far_end.pause_for(1.5)
                    pauses.append(len(far_end.played))
                resumed = trio.current_time()
            assert far_end.ended == pytest.approx(resumed, abs=0.021)
        heard = whole(bytes(far_end.played), pauses)
        assert heard[: len(sound)] == sound
        assert not any(heard[len(sound) :])
        assert len(far_end.played) - len(heard) < len(pauses) * FRAME
        assert read_tones(heard, config.format).split() == text.split()
        assert (frames.underruns, frames.underrun_ms, frames.unplayed_ms) == (0, 0.0, 0.0)
        assert audio.spoken(frames.played_ms) == text
        assert [word.text for _, word in far_end.words] == text.split()
        assert [word.end_ms for _, word in far_end.words] == pytest.approx([ms for ms, _ in far_end.words], abs=0.5)


@pytest.mark.parametrize("end", ["left", "closed", "cancelled"])
@pytest.mark.parametrize("language", TEXTS)
async def test_a_pause_that_was_a_barge_in(autojump_clock: trio.testing.MockClock, language: str, end: str) -> None:
    """Leaving the block ends all, as without a pause: who waits for a frame waits no longer, and the words are true."""
    text = TEXTS[language]
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        with trio.CancelScope() as turn:
            async with tts.speak(tokens(text)) as audio, trio.open_nursery() as nursery:
                frames = audio.paced()
                far_end = FarEnd(frames)
                nursery.start_soon(far_end.take)
                nursery.start_soon(far_end.note_words, audio)
                await trio.sleep(2.345)
                frames.pause()
                frames.pause()  # changes nothing
                far_end.clear()
                played_ms = frames.played_ms
                await trio.sleep(3)
                if end == "left":
                    nursery.cancel_scope.cancel()
                elif end == "cancelled":
                    turn.cancel()
                else:
                    audio.close()
                    frames.resume()
        frames.resume()
        frames.pause()
        assert frames.played_ms == played_ms == pytest.approx(len(far_end.played) / 32)
        assert far_end.ended == (pytest.approx(trio.current_time()) if end == "closed" else math.inf)
        assert (frames.underruns, frames.underrun_ms) == (0, 0.0)
        said = read_tones(bytes(far_end.played), tts.config.format).split()
        spoken = audio.spoken(played_ms).split()
        assert len(said) - 1 <= len(spoken) <= len(said)
        assert spoken == text.split()[: len(spoken)] == [word.text for _, word in far_end.words] != []
        with pytest.raises(trio.ClosedResourceError):
            await frames.receive()


@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_nothing_more_is_asked_for_in_a_pause(autojump_clock: trio.testing.MockClock, way: str) -> None:
    """`max_lead` counts from what was heard; a minute later the rest is said, and no timeout has run."""
    text = f"{RUSSIAN} {ENGLISH}"
    async with memory_service() as service, speaking(make_config(max_lead=2.0), service.open_stream) as tts:
        async with tts.speak([text]) if way == "speak" else tts.stream_static_text(text) as audio:
            frames = audio.paced()
            far_end = FarEnd(frames)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far_end.take)
                await trio.sleep(4)
                frames.pause()
                far_end.clear()
                await trio.sleep(1)
                received_ms = audio.received_ms
                await trio.sleep(60)
                assert audio.received_ms == received_ms < 11_000
                paused_at = len(far_end.played)
                frames.resume()
        said = read_tones(whole(bytes(far_end.played), [paused_at]), tts.config.format)
        assert said.split() == text.split()


async def test_a_gap_is_the_silence_before_a_pause_and_after_it(autojump_clock: trio.testing.MockClock) -> None:
    """The LLM stops; the caller coughs in the lead that is left, and in the silence, and before more is there."""
    release = trio.Event()

    async def hesitant() -> AsyncIterator[str]:
        yield "Секунду, я посмотрю. "
        await release.wait()
        yield "Here it is."

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(hesitant()) as audio:
            frames = audio.paced()
            far_end = FarEnd(frames)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(far_end.take)
                await far_end.begun.wait()
                await trio.sleep(1.2)
                await far_end.pause_for(2)
                begun_again, played_ms = trio.current_time(), frames.played_ms // 20 * 20
                await trio.sleep(0.5)
                assert frames.underruns == 0
                silent_from = audio._utterance.playback.silent_from
                assert silent_from == pytest.approx(begun_again + (frames.played_ms - played_ms) / 1000)
                await trio.sleep_until(silent_from + 1)
                said_before = frames.played_ms / 1000
                await far_end.pause_for(2)
                assert (frames.underruns, frames.underrun_ms) == (1, pytest.approx(1000))
                await trio.sleep(3)
                release.set()
        said_again_at = far_end.ended - (frames.played_ms / 1000 - said_before)
        assert frames.underruns == 2
        assert frames.underrun_ms == pytest.approx((said_again_at - silent_from - 2) * 1000)
        assert audio.spoken(frames.played_ms) == "Секунду, я посмотрю. Here it is."


@pytest.mark.parametrize("silence", [False, True])
async def test_before_the_first_audio_there_is_no_gap(autojump_clock: trio.testing.MockClock, *, silence: bool) -> None:
    """The caller coughs while the LLM thinks; on a line with silence again while a frame is being played."""

    async def thinking() -> AsyncIterator[str]:
        await trio.sleep(3)
        yield "Да, слушаю."

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(thinking()) as audio:
            frames = audio.paced(silence=silence)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(FarEnd(frames).take)
                await trio.sleep(1)
                frames.pause()
                await trio.sleep(0.5)
                frames.resume()
        assert (frames.underruns, frames.underrun_ms) == (0, 0.0)
        assert audio.spoken(frames.played_ms) == "Да, слушаю."


async def test_one_task_pauses_between_its_own_frames(autojump_clock: trio.testing.MockClock) -> None:
    """Who pauses before the first frame gets it after `resume`; and without a pause `resume` changes nothing."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            frames = audio.paced()
            frames.resume()
            frames.pause()
            with trio.move_on_after(5):
                await frames.receive()
            assert frames.played_ms == 0
            frames.resume()
            first = [await frames.receive() for _ in range(30)]  # 20 played, and 10 ahead
            frames.pause()
            assert frames.played_ms == pytest.approx(400 - 20)
            await trio.sleep(1)
            frames.resume()
            assert [await frames.receive() for _ in range(11)] == first[19:]
            assert frames.underruns == 0
