"""A filler is said when the LLM is silent: when, how often, and that nothing else of the reply changes by it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from tests.helpers import (
    Sample,
    heard,
    listen,
    make_config,
    memory_service,
    posts,
    speaking,
    websocket_path,
    whole_words,
)
from tts_trio import (
    ConfigurationError,
    Filler,
    MemoryCache,
    TTSManager,
    UtteranceEndedError,
    WebSocketConnectionManager,
)
from tts_trio.local_server import Behavior, Fault

FILLERS = {"en": "One second, please.", "ru": "Одну секунду…"}
PARTS = {
    "en": ("Hello, and thank you for calling. ", "Your order number 4217 is on its way. "),
    "ru": ("Здравствуйте, спасибо за звонок! ", "Ваш заказ номер 4217 уже в пути. "),
}
every_language = pytest.mark.parametrize("language", FILLERS)


async def written(*parts: str | float) -> AsyncGenerator[str, None]:
    """An LLM's text, with pauses of so many seconds."""
    for part in parts:
        if isinstance(part, str):
            yield part
        else:
            await trio.sleep(part)


def config_of(endpoint: str | None = None, **changes: Any) -> Any:
    return make_config(endpoint, audio_cache=MemoryCache(2**20), **changes)


def seconds_of(text: str) -> float:
    """How long the tone voice speaks a text, with a blank before and behind it."""
    return 0.06 * (len(text) + 2)


@every_language
async def test_it_is_said_when_the_llm_is_silent_from_the_beginning(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """To the millisecond, from the cache; the reply follows it, and its text is the LLM's."""
    filler, (text, _) = FILLERS[language], PARTS[language]
    async with memory_service() as service, speaking(config_of(endpoint), service.open_stream) as tts:
        await tts.prefetch([filler])
        began = trio.current_time()
        async with tts.speak(written(2.0, text), filler=Filler(filler, after=0.8)) as audio:
            first = await audio.receive()
            assert trio.current_time() - began == pytest.approx(0.8, abs=0.001)
            assert heard(first, tts.config) == filler
            rest = await listen(audio)
        assert heard(rest, tts.config) == text.strip()
        assert audio.outcome is not None
        assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
        assert [word.text for word in audio.words if word.filler] == filler.split()
        words = [word for word in audio.words if not word.filler]
        assert [word.text for word in words] == text.split()
        assert [text[word.start : word.end] for word in words] == text.split()
        assert all(word.start == word.end == 0 for word in audio.words if word.filler)
        assert words[0].start_ms >= len(first) / 32 - 0.001
        spelled = [character.text for character in audio.characters if not character.filler]
        assert "".join(spelled) == "".join(text.split())
        assert audio.usage.characters == len(text)
        assert audio.timeline.first_text is not None
        assert audio.timeline.first_received is not None
        assert audio.timeline.first_delivered is not None
        assert audio.timeline.first_text <= audio.timeline.first_received <= audio.timeline.first_delivered


@every_language
async def test_it_is_said_between_two_parts_of_a_reply(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """So long after the last word was heard, by the clock of the far end, however early the caller took the audio."""
    filler, (one, two) = FILLERS[language], PARTS[language]
    async with memory_service() as service, speaking(config_of(endpoint), service.open_stream) as tts:
        await tts.prefetch([filler])
        async with tts.speak(written(one, 9.0, two), filler=Filler(filler, after=0.8)) as audio:
            pieces = [(trio.current_time(), chunk) async for chunk in audio]
        said = " ".join(heard(b"".join(chunk for _, chunk in pieces), tts.config).split())
        assert said == f"{one}{filler} {two}".strip()
        [at] = [number for number, (_, chunk) in enumerate(pieces) if heard(chunk, tts.config) == filler]
        before = sum(len(chunk) for _, chunk in pieces[:at]) / 32_000
        assert pieces[at][0] == pytest.approx(pieces[0][0] + before + 0.8, abs=0.001)
        words = [word for word in audio.words if not word.filler]
        assert [word.text for word in words] == (one + two).split()
        assert [(one + two)[word.start : word.end] for word in words] == (one + two).split()
        said_at = [word.start_ms for word in audio.words]
        assert said_at == sorted(said_at)
        assert all(word.start == len(one) for word in audio.words if word.filler)
        assert audio.outcome is not None
        assert audio.outcome.spoken_text == one + two
        for word in audio.words:  # the history has no word of the filler, wherever the caller interrupts
            assert (one + two).startswith(audio.spoken(word.end_ms))
        assert service.errors() == []


async def test_a_paced_reply_hears_it_in_time(autojump_clock: trio.testing.MockClock) -> None:
    filler, (one, two) = FILLERS["ru"], PARTS["ru"]
    async with memory_service() as service, speaking(config_of(), service.open_stream) as tts:
        await tts.prefetch([filler])
        sound = b""
        async with tts.speak(written(one, 7.0, two), filler=Filler(filler)) as audio:
            frames = audio.paced()
            async for frame in frames:
                sound += frame
        assert heard(sound, tts.config) == f"{one}{filler} {two}".strip()
        assert audio.spoken(frames.played_ms) == one + two
        one_ends, begins = audio.words[len(one.split()) - 1].end_ms, audio.words[len(one.split())].start_ms
        assert begins - one_ends < 200  # in the audio; the silence between is no audio


@every_language
async def test_its_words_are_told_while_they_are_heard(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """Each once, in order, at its time; also where two fillers are said at one place."""
    filler, (one, two) = FILLERS[language], PARTS[language]
    async with memory_service() as service, speaking(config_of(), service.open_stream) as tts:
        await tts.prefetch([filler])
        async with tts.speak(written(one, 6.0, two), filler=Filler(filler, every=1.0)) as audio:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen, audio)
                words = [word async for word in audio.heard()]
        assert [word.text for word in words] == f"{one}{filler} {filler} {two}".split()
        assert [word.text for word in words if word.filler] == 2 * filler.split()


@pytest.mark.parametrize("silence", [False, True])
async def test_it_is_due_by_the_clock_of_the_pacer(autojump_clock: trio.testing.MockClock, silence: bool) -> None:
    """So long after the caller heard the last sound: also on a line that wants frames all the time."""
    filler, (one, two) = FILLERS["en"], PARTS["en"]
    async with memory_service() as service, speaking(config_of(), service.open_stream) as tts:
        await tts.prefetch([filler])
        sound, came, gap = b"", -1.0, 0.0
        async with tts.speak(written(one, 9.0, two), filler=Filler(filler, after=1.0)) as audio:
            async for frame in audio.paced(silence=silence):
                if not any(frame):
                    continue
                now = trio.current_time()
                gap = gap or (now - came if came > 0 and now - came > 0.5 else 0.0)
                sound, came = sound + frame, now
        assert heard(sound, tts.config) == f"{one}{filler} {two}".strip()
        # The last sound is heard when its frame has been played, a lead of 0.2 s after it was given, or at once.
        assert gap == pytest.approx(1.0 + (0.0 if silence else 0.2) + 0.02, abs=0.021)


@pytest.mark.parametrize(("every", "times"), [(None, 1), (2.0, 3)])
async def test_it_is_said_once_or_every_so_often(
    autojump_clock: trio.testing.MockClock, every: float | None, times: int
) -> None:
    filler = FILLERS["en"]  # 1.3 s
    async with memory_service() as service, speaking(config_of(), service.open_stream) as tts:
        await tts.prefetch([filler])
        async with tts.speak(written(10.0, "Yes. "), filler=Filler(filler, after=1.0, every=every)) as audio:
            began, at = trio.current_time(), list[float]()
            sound = b""
            async for chunk in audio:
                sound += chunk
                at.append(trio.current_time() - began)
        assert heard(sound, tts.config) == " ".join([filler] * times + ["Yes."])
        lasts = seconds_of(filler)
        expected = [1.0 + number * (lasts + (every or 0)) for number in range(times)]
        assert at[:times] == pytest.approx(expected, abs=0.001)


@every_language
async def test_a_filler_that_plays_is_never_cut_by_the_reply(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str
) -> None:
    """Whenever the LLM goes on: before the filler there is none, and in it the reply waits for its end."""
    filler, (text, _) = FILLERS[language], PARTS[language]
    async with memory_service() as service, speaking(config_of(endpoint), service.open_stream) as tts:
        await tts.prefetch([filler])
        for pause in (0.79, 0.81, 1.5):
            async with tts.speak(written(pause, text), filler=Filler(filler, after=0.8)) as audio:
                said = heard(await listen(audio), tts.config)
            assert said == (text.strip() if pause < 0.8 else f"{filler} {text.strip()}")
            await trio.sleep(1)


async def test_without_a_cache_it_is_requested_and_skipped_when_the_llm_was_faster(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is requested when it is due, and counted; what came too late is said in the next pause, without a request."""
    filler, (one, two) = FILLERS["ru"], PARTS["ru"]
    slow = Fault("delay", "answer", 0.4, path="/stream")
    async with memory_service(Behavior(faults=(slow,))) as service:
        async with speaking(make_config(audio_cache=None), service.open_stream) as tts:
            async with tts.speak(written(1.0, one, 9.0, two), filler=Filler(filler)) as audio:
                assert heard(await listen(audio), tts.config) == f"{one}{filler} {two}".strip()
            assert len(posts(service.server)) == 1
            assert audio.usage.characters == len(one + two) + len(filler)


async def test_it_is_left_out_where_it_cannot_be_had(autojump_clock: trio.testing.MockClock) -> None:
    refused = Fault("status", "answer", 500, path="/stream")
    async with memory_service(Behavior(faults=(refused,))) as service:
        async with speaking(make_config(audio_cache=None), service.open_stream) as tts:
            async with tts.speak(written(3.0, "Да. "), filler=Filler("Секунду.", every=0.5)) as audio:
                assert heard(await listen(audio), tts.config) == "Да."
            assert audio.outcome is not None
            assert audio.outcome.end == "finished"


async def test_a_barge_in_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """P6, P9: and what was heard is the LLM's text only."""
    filler, (one, two) = FILLERS["ru"], PARTS["ru"]
    async with memory_service() as service, speaking(config_of(), service.open_stream) as tts:
        await tts.prefetch([filler])
        async with tts.start_llm_stream(filler=Filler(filler)) as (text, audio):
            await text.send(one)
            frames = audio.paced()
            with trio.move_on_after(seconds_of(one) + 0.8 + 0.5):  # in the middle of the filler
                async for _ in frames:
                    pass
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        assert audio.spoken(frames.played_ms) == audio.outcome.spoken_text == one.strip()
        heard_words = [word for word in audio.words if word.end_ms <= frames.played_ms]
        assert any(word.filler for word in heard_words)
        with pytest.raises(UtteranceEndedError):
            await text.send(two)


async def test_it_is_not_said_when_the_text_is_closed_or_the_service_is_late(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """The LLM is silent only while it has more to write, and the service owes nothing."""
    late = Fault("delay", "audio", 1.5, path=websocket_path(endpoint))
    async with memory_service(Behavior(faults=(late,))) as service:
        async with speaking(config_of(endpoint), service.open_stream) as tts:
            await tts.prefetch([FILLERS["en"]])
            async with tts.speak(["Yes, order 42. "], filler=Filler(FILLERS["en"], after=0.2)) as audio:
                assert heard(await listen(audio), tts.config) == "Yes, order 42."
            assert not any(word.filler for word in audio.words)


@every_language
async def test_a_connection_that_is_lost_around_it_costs_no_word(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, sample: Sample
) -> None:
    """P13: in any message before it, or after it."""
    filler, (one, two) = FILLERS[language], PARTS[language]
    for frame in sample(range(5), 2):
        fault = Fault("reset", "audio", frame=frame, count=1, path=websocket_path(endpoint))
        async with memory_service(Behavior(faults=(fault,))) as service:
            async with speaking(config_of(endpoint), service.open_stream) as tts:
                await tts.prefetch([filler])
                async with tts.speak(written(one, 9.0, two), filler=Filler(filler)) as audio:
                    said = heard(await listen(audio), tts.config)
                assert whole_words(said, f"{one}{filler} {two}") == f"{one}{filler} {two}".split()
                assert [word.text for word in audio.words] == f"{one}{filler} {two}".split()
                assert audio.outcome is not None
                assert audio.outcome.spoken_text == one + two


async def test_without_times_it_is_said_between_the_phrases(autojump_clock: trio.testing.MockClock) -> None:
    """With estimated times, and over HTTP, where each phrase is a request."""
    filler, (one, two) = FILLERS["ru"], PARTS["ru"]
    no_websocket = Fault("status", "answer", 503, path="stream-input")
    for config, faults in ((config_of(sync_alignment=False), ()), (config_of(fallback="http"), (no_websocket,))):
        async with memory_service(Behavior(alignment="absent", faults=faults)) as service:
            async with (
                WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
                TTSManager(config, connections) as tts,
            ):
                await tts.prefetch([filler])
                async with tts.speak(written(one, 9.0, two), filler=Filler(filler)) as audio:
                    assert heard(await listen(audio), config) == f"{one}{filler} {two}".strip()
                assert audio.outcome is not None
                assert audio.outcome.spoken_text == one + two


@pytest.mark.parametrize(
    ("field", "filler", "changes"),
    [
        ("text", {"text": "…"}, {}),
        ("text", {"text": 7}, {}),
        ("after", {"text": "Да.", "after": 0.0}, {}),
        ("every", {"text": "Да.", "every": "often"}, {}),
        ("filler", {"text": "Да."}, {"output_format": "opus_48000_64", "on_lost_connection": "raise"}),
    ],
)
async def test_what_cannot_be_said_is_refused(
    autojump_clock: trio.testing.MockClock, field: str, filler: dict[str, Any], changes: dict[str, Any]
) -> None:
    async with memory_service() as service, speaking(make_config(**changes), service.open_stream) as tts:
        with pytest.raises(ConfigurationError, match=f"{field}: "):
            async with tts.speak([], filler=Filler(**filler)):
                pass
