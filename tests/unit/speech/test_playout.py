"""Frames of one length, and their playing by the clock, to the millisecond; what the caller heard of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, TEXTS, heard, listen, make_config, memory_service, speaking, tokens
from tts_trio import ConfigurationError, ServiceTimeoutError, TextTimeoutError, Timeouts, TTSConnectionError
from tts_trio.local_server import Behavior, Fault
from tts_trio.speech.playback import Playback

SILENCE = {"ulaw_8000": b"\xff", "alaw_8000": b"\xd5", "pcm_16000": b"\0", "pcm_22050": b"\0", "pcm_44100": b"\0"}
SIZES = {"ulaw_8000": 160, "alaw_8000": 160, "pcm_16000": 640, "pcm_22050": 882, "pcm_44100": 1764}
GREETING = "Здравствуйте, спасибо за звонок!"
SHORT = "Да."  # 4 characters and a blank of 60 ms each: no whole number of frames


@pytest.mark.parametrize("output_format", SIZES)
@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_frames_are_exact(autojump_clock: trio.testing.MockClock, output_format: str, way: str) -> None:
    config = make_config(output_format=output_format)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([GREETING]) if way == "speak" else tts.stream_static_text(GREETING) as audio:
            sound = await listen(audio)
        async with tts.speak([GREETING]) if way == "speak" else tts.stream_static_text(GREETING) as audio:
            frames = [frame async for frame in audio.frames()]
        assert {len(frame) for frame in frames} == {SIZES[output_format]}
        joined = b"".join(frames)
        assert joined[: len(sound)] == sound
        padding = joined[len(sound) :]
        assert len(padding) < SIZES[output_format]
        assert padding == SILENCE[output_format] * len(padding)


async def test_frames_of_another_length(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([SHORT]) as audio:
            frames = [frame async for frame in audio.frames(ms=50)]
        assert {len(frame) for frame in frames} == {1600}
        assert frames[-1].endswith(b"\0\0" * 160)


@pytest.mark.parametrize("output_format", ["mp3_44100_128", "opus_48000_64"])
async def test_encoded_formats_are_refused(autojump_clock: trio.testing.MockClock, output_format: str) -> None:
    config = make_config(output_format=output_format, on_lost_connection="raise")
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(SHORT) as audio:
            for make in (audio.frames, audio.paced):
                with pytest.raises(ConfigurationError, match="ulaw_8000") as caught:
                    make()
                assert caught.value.field == "output_format"


async def test_lengths_that_cannot_be_are_refused(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(output_format="pcm_22050")
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(SHORT) as audio:
            for ms in (7, 15):
                with pytest.raises(ConfigurationError, match="whole number of samples"):
                    audio.frames(ms)
            for ms in (0, -20, 20.0, "20", True, None, math.nan, 10**9):
                for frames in (audio.frames, audio.paced):
                    with pytest.raises(ConfigurationError, match=r"^ms: .* whole number from 1 to 10000$") as caught:
                        frames(ms=ms)  # type: ignore[arg-type]
                    assert caught.value.field == "ms"
            for lead in (0.0, 0.019, math.inf, math.nan):
                with pytest.raises(ConfigurationError, match=r"^lead_ms: .* milliseconds from 20 to") as caught:
                    audio.paced(lead_ms=1000 * lead)
                assert caught.value.field == "lead_ms"


async def test_a_failure_is_raised_after_all_that_came(autojump_clock: trio.testing.MockClock) -> None:
    broken = Behavior(faults=(Fault("reset", "audio", frame=3),))
    config = make_config(on_lost_connection="raise")
    async with memory_service(broken) as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            channel, frames = audio.frames(), [b""]
            with pytest.raises(TTSConnectionError):
                while True:
                    frames.append(await channel.receive())
            with pytest.raises(TTSConnectionError):
                await channel.receive()
        assert audio.outcome is not None
        assert len(frames) - 1 == math.ceil(audio.received_ms / 20) > 10
        assert {len(frame) for frame in frames[1:]} == {640}


async def test_nothing_comes_after_the_block(autojump_clock: trio.testing.MockClock) -> None:
    """P6: what was cut into frames and not taken is dropped, too."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            channel, by_clock = audio.frames(), audio.paced()
            await channel.receive()
        for frames in (channel, by_clock):
            with pytest.raises(trio.ClosedResourceError):
                await frames.receive()
        async with tts.speak([ENGLISH]) as audio:
            await (await anext_frames(audio.frames())).aclose()
            with pytest.raises(trio.ClosedResourceError):
                await audio.receive()


async def anext_frames(frames: trio.abc.ReceiveChannel[bytes]) -> trio.abc.ReceiveChannel[bytes]:
    await frames.receive()
    return frames


# By the clock.


@pytest.mark.parametrize("lead", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("language", TEXTS)
async def test_frames_come_when_they_are_due(
    autojump_clock: trio.testing.MockClock, lead: float, language: str
) -> None:
    """The service is faster than the listener: frame n is given lead before 20 n ms, and never earlier."""
    text = TEXTS[language][:90].rpartition(" ")[0]
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        times: list[float] = []
        sound = b""
        async with tts.speak([text]) as audio:
            frames = audio.paced(lead_ms=1000 * lead)
            async for frame in frames:
                times.append(trio.current_time())
                sound += frame
            ended = trio.current_time()
        assert heard(sound, tts.config) == text
        due = [max(times[0], times[0] + 0.02 * n - lead) for n in range(len(times))]
        assert times == pytest.approx(due, abs=1e-6)
        assert ended == pytest.approx(times[0] + 0.02 * len(times), abs=1e-6)  # it has been heard to its end
        assert frames.played_ms == pytest.approx(20 * len(times))
        assert (frames.unplayed_ms, frames.underruns) == (0, 0)
        assert audio.spoken(frames.played_ms) == text


@pytest.mark.parametrize("interrupted_after", [0.0, 0.05, 0.333, 1.0, 3.21, 9.0])
@pytest.mark.parametrize("language", TEXTS)
async def test_what_was_heard_of_an_interrupted_turn(
    autojump_clock: trio.testing.MockClock, language: str, interrupted_after: float
) -> None:
    """P24, P9: emptied at once; what was played is told to the millisecond, and its words by the sound itself."""
    text = TEXTS[language]
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        sound = b""
        with trio.CancelScope() as turn:
            async with tts.speak(tokens(text)) as audio:
                frames = audio.paced()
                async for frame in frames:
                    if not sound:
                        turn.deadline = trio.current_time() + interrupted_after
                    sound += frame
        assert turn.cancelled_caught
        await trio.sleep(3)
        assert frames.played_ms == pytest.approx(interrupted_after * 1000)
        assert len(sound) / 32 <= frames.played_ms + 220  # ms
        assert frames.played_ms + frames.unplayed_ms == pytest.approx(audio.received_ms)
        played = heard(sound[: round(frames.played_ms * 16) * 2], tts.config)
        spoken = audio.spoken(frames.played_ms)
        assert text.startswith(spoken)
        assert len(played.split()) - 1 <= len(spoken.split()) <= len(played.split())
        assert played.startswith(spoken)
        with pytest.raises(trio.ClosedResourceError):
            await frames.receive()


async def test_an_interruption_in_the_lead_that_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """All frames were given, and the last 200 ms are still to be played: they count as not played."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        given: list[bytes] = []
        total = 0
        async with tts.speak([SHORT]) as audio:
            total = len([frame async for frame in audio.frames()])
        async with tts.speak([SHORT]) as audio:
            frames = audio.paced()
            async for frame in frames:
                given.append(frame)
                if len(given) == total:
                    await trio.sleep(0.05)
                    break
        assert frames.played_ms == pytest.approx(20 * (total - 1) - 200 + 50)
        assert frames.unplayed_ms == pytest.approx(audio.received_ms - frames.played_ms)
        assert audio.spoken(frames.played_ms) == ""


async def test_underruns_are_counted_and_shift_what_follows(autojump_clock: trio.testing.MockClock) -> None:
    """The LLM stops for five seconds twice: the caller heard nothing then, and later every word."""
    parts = ["One two three. ", "Four five six. ", "Семь восемь."]

    async def hesitant() -> AsyncIterator[str]:
        for part in parts:
            await trio.sleep(5)
            yield part

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(hesitant()) as audio:
            frames = audio.paced()
            times = [trio.current_time() async for _ in frames]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert frames.underruns == len([gap for gap in gaps if gap > 0.3]) == 2
        assert frames.played_ms == pytest.approx(20 * len(times))  # silence between them is not playing
        assert audio.spoken(frames.played_ms) == "".join(parts)


async def test_a_late_taker_gets_what_is_due_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        times: list[float] = []
        async with tts.speak([ENGLISH]) as audio:
            frames = audio.paced()
            async for _ in frames:
                times.append(trio.current_time())
                if len(times) == 30:
                    await trio.sleep(0.15)  # less than the lead: nobody hears of it
                elif len(times) == 60:
                    await trio.sleep(1)
        assert frames.underruns == 1
        assert times[30] - times[29] == pytest.approx(0.15)
        assert times[36] == times[30]
        assert times[38] - times[37] == pytest.approx(0.02)


async def test_a_failure_comes_when_what_came_was_played(autojump_clock: trio.testing.MockClock) -> None:
    silent = Behavior(faults=(Fault("delay", "audio", frame=6),))
    config = make_config(on_lost_connection="raise", timeouts=Timeouts(stall=0.3))
    async with memory_service(silent) as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            frames = audio.paced()
            with pytest.raises(ServiceTimeoutError):
                async for _ in frames:
                    ...
            assert frames.played_ms == pytest.approx(math.ceil(audio.received_ms / 20) * 20)
            assert frames.unplayed_ms == pytest.approx(0, abs=1e-6)


# What the pacer says was played, decides what is sent.


@pytest.mark.parametrize("way", ["paced", "greedy"])
async def test_max_lead_counts_from_what_the_pacer_says(autojump_clock: trio.testing.MockClock, way: str) -> None:
    """A line that is put on hold plays nothing, so nothing more is sent for it; without a pacer, who reads listens."""
    text = " ".join([RUSSIAN, ENGLISH] * 2)
    config = make_config(max_lead=3.0)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak([text]) as audio:
            if way == "paced":
                frames = audio.paced()
                for _ in range(20):
                    await frames.receive()
                await trio.sleep(60)
                sent_on_hold = sum(len(text) for _, text in service.texts(0))
                sound = b"".join([frame async for frame in frames])
                assert len(sound) > 32000 * 10
            else:
                with trio.move_on_after(60):
                    async for _ in audio:
                        ...
                sent_on_hold = sum(len(text) for _, text in service.texts(0))
        if way == "paced":
            assert sent_on_hold < len(text) / 3
            assert audio.spoken(math.inf) == text
        else:
            assert sent_on_hold > len(text) / 2


@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_a_paced_reply_longer_than_max_lead_is_heard_whole(
    autojump_clock: trio.testing.MockClock, way: str
) -> None:
    text = f"{RUSSIAN} {ENGLISH}"
    async with memory_service() as service, speaking(make_config(max_lead=0.05), service.open_stream) as tts:
        async with tts.speak([text]) if way == "speak" else tts.stream_static_text(text) as audio:
            frames = audio.paced()
            sound = b"".join([frame async for frame in frames])
        assert heard(sound, tts.config) == text
        assert frames.played_ms == pytest.approx(len(sound) / 32)


def test_the_playback() -> None:
    playback = Playback(10.0)
    assert (playback.heard(10.5), playback.hears(0.0), playback.hears(0.1)) == (0.0, 10.0, math.inf)
    playback.give(1.0, 11.0)
    playback.give(1.0, 11.5)
    assert [playback.heard(now) for now in (11.0, 11.5, 13.0, 20.0)] == [0.0, 0.5, 2.0, 2.0]
    assert (playback.hears(1.25), playback.underruns) == (12.25, 0)
    playback.give(1.0, 20.0)
    assert (playback.underruns, playback.silent_from, playback.hears(2.5)) == (1, 21.0, 20.5)
    playback.leave(20.25, whole=False)
    playback.leave(30.0, whole=False)
    assert playback.heard(40.0) == 2.25
    assert (playback.underruns, playback.silence) == (1, 7.0)


def test_a_pause_that_drops_nothing() -> None:
    """The far end plays to its end the frame that it has; what it is silent for after that is a gap, or is none."""
    playback = Playback(10.0)
    playback.give(0.02, 10.0)
    playback.pause(0.0, 10.005, whole=False)
    assert [playback.heard(now) for now in (10.005, 10.015, 12.0)] == pytest.approx([0.005, 0.015, 0.02])
    playback.resume(10.01, gap=True)
    assert [playback.heard(now) for now in (10.01, 10.015, 12.0)] == pytest.approx([0.01, 0.015, 0.02])
    playback.give(0.02, 10.06)
    assert (playback.underruns, playback.silence) == (1, pytest.approx(0.04))


@pytest.mark.parametrize("end", ["barge-in", "text", "failure"])
async def test_a_silence_counts_whatever_ends_it(autojump_clock: trio.testing.MockClock, end: str) -> None:
    """By the next frame, by a barge-in or by a failure; and how long it was. The end of the utterance is none."""
    config = make_config(timeouts=Timeouts(text=10.0))
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            frames = audio.paced()
            await text.send("Секунду, я посмотрю. ")
            silent_at = math.nan
            with trio.move_on_after(8):
                try:
                    async for _ in frames:
                        silent_at = cast("Any", audio)._utterance.playback.silent_from
                except TextTimeoutError:
                    pass
            assert (frames.underruns, frames.underrun_ms) == (0, 0.0)
            if end == "text":
                await text.send("Спасибо, что подождали.")
                text.close()
                async for _ in frames:
                    assert frames.underruns == 1
                silence = frames.underrun_ms
            elif end == "failure":
                with pytest.raises(TextTimeoutError):
                    await frames.receive()
            left_at = trio.current_time()
        assert frames.underruns == 1
        if end == "text":
            assert silence == frames.underrun_ms > 5000
        else:
            assert frames.underrun_ms == pytest.approx((left_at - silent_at) * 1000)
