"""Lines that want a frame all the time: one clock, speech in its frames, and silence in all others."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import nullcontext

import attrs
import pytest
import trio

from tests.helpers import (
    ENGLISH,
    RUSSIAN,
    TEXTS,
    heard,
    make_config,
    memory_service,
    speaking,
    tokens,
)
from tts_trio import AudioChannel, ConfigurationError, Line, TTSConnectionError, TTSManager, Word
from tts_trio.local_server import Behavior, Fault

SILENCE = {"ulaw_8000": b"\xff" * 160, "alaw_8000": b"\xd5" * 160, "pcm_16000": b"\0" * 640, "pcm_22050": b"\0" * 882}
GREETING = "Здравствуйте, спасибо за звонок!"


@attrs.define
class Taker:
    """The task that sends the frames of a line: when each was given, and what it is."""

    times: list[float] = attrs.field(factory=list)
    frames: list[bytes] = attrs.field(factory=list)

    async def take(self, frames: AsyncIterator[bytes]) -> None:
        async for frame in frames:
            self.times.append(trio.current_time())
            self.frames.append(frame)

    def check_clock(self) -> None:
        """Frame n was given n times 20 ms after the first one."""
        assert self.times == pytest.approx([self.times[0] + 0.02 * n for n in range(len(self.times))], abs=1e-6)

    def index_at(self, time: float) -> int:
        """Which frame was given then."""
        return round((time - self.times[0]) / 0.02)


async def hesitant(*parts: str, pause: float) -> AsyncIterator[str]:
    for part in parts:
        await trio.sleep(pause)
        yield part


@pytest.mark.parametrize("output_format", SILENCE)
async def test_silence_before_the_first_audio_and_while_the_llm_pauses(
    autojump_clock: trio.testing.MockClock, output_format: str
) -> None:
    """The format's own silence; only the pause in the middle is a gap, and it is counted to the frame."""
    config, taker = make_config(output_format=output_format), Taker()
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(hesitant("One two three. ", "Четыре пять шесть.", pause=3)) as audio:
            frames = audio.paced(silence=True)
            await taker.take(frames)
        ended = trio.current_time()
    taker.check_clock()
    silence = SILENCE[output_format]
    assert ended == pytest.approx(taker.times[-1] + 0.02)
    assert audio.timeline.first_delivered is not None
    begins = taker.index_at(audio.timeline.first_delivered)
    assert begins > 3 / 0.02
    assert set(taker.frames[:begins]) == {silence}
    gap = max(len([*same]) for is_silent, same in itertools.groupby(taker.frames[begins:], silence.__eq__) if is_silent)
    assert (frames.underruns, frames.played_ms + frames.underrun_ms) == (
        1,
        pytest.approx(20 * (len(taker.frames) - begins)),
    )
    assert 0 <= 20 * gap - frames.underrun_ms <= 100  # the service's audio begins and ends with silence of its own
    assert frames.unplayed_ms == 0
    if output_format != "pcm_22050":
        assert heard(b"".join(taker.frames), config).split() == ["One", "two", "three.", "Четыре", "пять", "шесть."]


async def test_options_that_contradict_each_other(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.stream_static_text(GREETING) as audio:
            with pytest.raises(ConfigurationError, match=r"^lead_ms: .* silence=True") as caught:
                audio.paced(silence=True, lead_ms=200)
            assert caught.value.field == "lead_ms"
            with pytest.raises(ConfigurationError, match=r"^silence: 'yes' is not allowed; it must be True or False"):
                audio.paced(silence="yes")  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match=r"^output_format: 'pcm_16000' cannot be played on a line of"):
                Line(make_config(output_format="ulaw_8000").format).play(audio)
    with pytest.raises(ConfigurationError, match=r"^output_format: 'mp3_44100_128' cannot be cut"):
        Line(make_config(output_format="mp3_44100_128").format)
    with pytest.raises(ConfigurationError, match=r"^ms: 7 is not allowed at 22050 Hz"):
        Line(make_config(output_format="pcm_22050").format, 7)
    with pytest.raises(TypeError, match=r"^format must be a AudioFormat, not str$"):
        Line("ulaw_8000")  # type: ignore[arg-type]


@pytest.mark.parametrize("language", TEXTS)
async def test_one_clock_for_all_that_is_said_in_a_call(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """A static text, a reply, a reply that is interrupted, and another one; silence between them, and no drift."""
    text, taker = TEXTS[language][:60].rpartition(" ")[0], Taker()
    config = make_config(endpoint)
    line = Line(config.format)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taker.take, line)
            await trio.sleep(1)
            async with tts.stream_static_text(GREETING) as audio:
                await line.play(audio).wait_played()
            await trio.sleep(0.5)
            async with tts.speak(tokens(text)) as audio:
                frames = line.play(audio)
                await frames.wait_played()
            assert (audio.spoken(frames.played_ms), frames.underruns) == (text, 0)
            with trio.move_on_after(2.345):
                async with tts.speak(tokens(text)) as audio:
                    frames = line.play(audio)
                    await frames.wait_played()
            interrupted, given = trio.current_time(), len(taker.frames)
            assert frames.underruns == 0
            await trio.sleep(1)
            async with tts.speak("Да, слушаю.") as audio:
                await line.play(audio).wait_played()
            line.close()
    taker.check_clock()
    assert set(taker.frames[: round(1 / 0.02)]) == {SILENCE["pcm_16000"]}
    assert taker.index_at(interrupted) <= given <= taker.index_at(interrupted) + 1
    assert set(taker.frames[given : given + 50]) == {SILENCE["pcm_16000"]}  # from the first frame after the barge-in on
    before, after = (heard(b"".join(part), config) for part in (taker.frames[:given], taker.frames[given:]))
    said = before.removeprefix(f"{GREETING} {text} ").split()
    assert said[:-1] == text.split()[: len(said) - 1] != []
    assert text.split()[len(said) - 1].startswith(said[-1])
    assert after == "Да, слушаю."


async def reference(tts: TTSManager, text: str, *, reply: bool) -> list[bytes]:
    """The frames of an utterance."""
    async with tts.speak(text) if reply else tts.stream_static_text(text) as audio:
        return [frame async for frame in audio.frames()]


@pytest.mark.parametrize("language", TEXTS)
async def test_utterances_that_are_played_at_once_follow_without_a_gap(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """To the frame; also behind one that is interrupted. Each tells what was heard of it alone."""
    text, taker, config = TEXTS[language][:40].strip(), Taker(), make_config()
    line = Line(config.format)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        static_text, reply = [await reference(tts, text, reply=reply) for reply in (False, True)]
        async with tts.stream_static_text(text) as first, tts.speak(text) as second, tts.speak(text) as third:
            await trio.sleep(2)
            played = [line.play(audio) for audio in (first, second, third)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(taker.take, line)
                await played[0].wait_played()
                assert taker.frames[: len(static_text)] == static_text
                assert len(taker.frames) - len(static_text) <= 1  # the next frame is due in the same moment
                await trio.sleep(0.59)
                second.close()
                await played[1].wait_played()
                await played[2].wait_played()
                nursery.cancel_scope.cancel()
    taker.check_clock()
    said = [*static_text, *reply[:30], *reply]
    assert taker.frames[: len(said)] == said
    assert len(taker.frames) - len(said) <= 1
    assert [frames.played_ms for frames in played] == pytest.approx([20 * len(static_text), 590, 20 * len(reply)])
    assert [first.spoken(played[0].played_ms), third.spoken(played[2].played_ms)] == [text] * 2
    assert [frames.underruns for frames in played] == [0] * 3
    assert text.startswith(second.spoken(played[1].played_ms))


@pytest.mark.parametrize("language", TEXTS)
async def test_a_failure_is_raised_when_what_came_was_played(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """By `wait_played`, and by nothing else: the line goes on with what is played next."""
    text, taker, config = TEXTS[language], Taker(), make_config(on_lost_connection="raise")
    line = Line(config.format)
    broken = Behavior(faults=(Fault("reset", "audio", frame=2, count=1, path="stream-input"),))
    async with memory_service(broken) as service, speaking(config, service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taker.take, line)
            async with tts.speak(text) as failing, tts.stream_static_text(GREETING) as audio:
                frames, following = line.play(failing), line.play(audio)
                with pytest.raises(TTSConnectionError):
                    await frames.wait_played()
                assert 0 < failing.received_ms <= frames.played_ms < failing.received_ms + 20
                await following.wait_played()
            nursery.cancel_scope.cancel()
    taker.check_clock()
    assert failing.outcome is not None
    assert heard(b"".join(taker.frames), config).startswith(failing.spoken(frames.played_ms).strip())
    assert heard(b"".join(taker.frames), config).endswith(GREETING)


@pytest.mark.parametrize("language", TEXTS)
async def test_a_pause_on_a_line_is_silence(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """No frame is said again, as none was sent ahead; and the words are given when they are heard."""
    text, taker, config = TEXTS[language][:60], Taker(), make_config()
    line = Line(config.format)
    words: list[tuple[float, Word]] = []

    async def note_words(audio: AudioChannel) -> None:
        words.extend([(trio.current_time(), word) async for word in audio.heard()])

    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        reply = await reference(tts, text, reply=True)
        async with tts.speak(text) as audio, trio.open_nursery() as nursery:
            await trio.sleep(2)
            began, frames = trio.current_time(), line.play(audio)
            nursery.start_soon(taker.take, line)
            nursery.start_soon(note_words, audio)
            await trio.sleep(1.011)
            frames.pause()
            await trio.sleep(0.02)
            assert frames.played_ms == pytest.approx(1020)  # what the far end has begun to play it plays
            await trio.sleep(2.5)
            assert frames.played_ms == pytest.approx(1020)
            frames.resume()
            await frames.wait_played()
            nursery.cancel_scope.cancel()
    taker.check_clock()
    paused = [SILENCE["pcm_16000"]] * len(range(1020, 1011 + 2520, 20))
    said = [*reply[:51], *paused, *reply[51:]]
    assert taker.frames[: len(said)] == said
    assert (frames.underruns, frames.underrun_ms) == (0, 0.0)
    for at, word in words:
        pause = 0.02 * len(paused) if word.end_ms > 1020 else 0.0
        assert at == pytest.approx(began + word.end_ms / 1000 + pause)


async def test_a_frame_that_is_late_moves_no_other(autojump_clock: trio.testing.MockClock) -> None:
    """Less than a frame is jitter. Where the line stood still for longer, the caller heard a gap, and it is counted."""
    config = make_config()
    line = Line(config.format)
    late = random.Random(20)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(ENGLISH) as audio:
            await trio.sleep(3)
            frames = line.play(audio)
            began = trio.current_time()
            for n in range(300):
                await line.receive()
                assert began + 0.02 * n - 1e-6 <= trio.current_time() < began + 0.02 * n + 0.02
                await trio.sleep(late.choice([0, 0.001, 0.019, 0.025]))
            assert (frames.underruns, frames.underrun_ms) == (0, 0.0)
            await trio.sleep_until(began + 0.02 * 300 + 0.07)
            await line.receive()
            assert (frames.underruns, frames.underrun_ms) == (1, pytest.approx(70))
            await line.receive()
            assert trio.current_time() == pytest.approx(began + 0.02 * 301 + 0.07)
            assert frames.played_ms == pytest.approx(20 * 301)


async def test_closing_a_line_ends_all_of_it(autojump_clock: trio.testing.MockClock) -> None:
    """The call is over: the frames end, and nobody waits for a caller who has hung up."""
    taker, config = Taker(), make_config()
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(ENGLISH) as audio, tts.speak(RUSSIAN) as waiting, trio.open_nursery() as nursery:
            with Line(config.format) as line:
                nursery.start_soon(taker.take, line)
                frames = [line.play(audio), line.play(waiting)]
                await trio.sleep(1)
            for each in frames:
                await each.wait_played()
            assert audio.outcome is not None
            assert audio.outcome.end == "interrupted"
            with pytest.raises(trio.ClosedResourceError, match="this line was closed"):
                line.play(audio)
        with pytest.raises(trio.ClosedResourceError):
            await line.receive()


@pytest.mark.parametrize("end", ["played", "closed", "left"])
async def test_waiting_while_another_task_takes_the_frames(autojump_clock: trio.testing.MockClock, end: str) -> None:
    """As with a line, so with the frames of a far end that has a buffer."""
    taker = Taker()
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with trio.open_nursery() as nursery:
            async with tts.speak(GREETING) as audio:
                frames = audio.paced()
                nursery.start_soon(taker.take, frames)
                if end == "played":
                    await frames.wait_played()
                    assert frames.played_ms == pytest.approx(20 * len(taker.frames))
                    assert frames.unplayed_ms == 0
                await trio.sleep(0.5)
                if end == "closed":
                    audio.close()
                    await frames.wait_played()
                nursery.cancel_scope.cancel()
        with pytest.raises(trio.ClosedResourceError) if end != "closed" else nullcontext():
            await frames.wait_played()
