"""The facade on MockClock: replies of an LLM over the hot socket, and what leaving a block does."""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
import trio

import tts_trio.manager
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
)
from tests.helpers.phrases import AtTheEnd
from tts_trio import (
    AudioChannel,
    ConfigurationError,
    MemoryCache,
    TextTimeoutError,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    UtteranceEndedError,
    WebSocketConnectionManager,
    open_tts,
)
from tts_trio.config.protocols import TransformFactory
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, CloseReceived, Fault
from tts_trio.text.transforms import markdown
from tts_trio.transport.connection import Connection


@pytest.mark.parametrize("language", TEXTS)
async def test_a_reply_is_spoken_whole(autojump_clock: trio.testing.MockClock, language: str) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(tokens(TEXTS[language])) as audio:
            sound = await listen(audio)
        assert heard(sound, tts.config) == TEXTS[language]
        assert audio.outcome is not None
        assert audio.outcome.end == "finished"
        assert audio.outcome.spoken_text == TEXTS[language]
        assert audio.outcome.unspoken_text == ""
        assert [word.text for word in audio.words] == TEXTS[language].split()
        assert audio.outcome.delivered_ms == len(sound) / 32


async def test_a_finished_reply_asks_for_no_other_connection(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def acquire(connections: WebSocketConnectionManager, config: TTSConfig) -> Connection:
        nonlocal asked
        asked += 1
        return await acquire_connection(connections, config)

    monkeypatch.setattr(tts_trio.manager, "acquire_connection", acquire)
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(tokens(ENGLISH)) as audio:
            await listen(audio)
        assert asked == 1


@pytest.mark.parametrize("language", TEXTS)
async def test_the_wire_has_the_text_as_it_was_given(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """P17, P18: joined, the text frames are the text; nothing is cut inside a word."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(tokens(TEXTS[language])) as audio:
            await listen(audio)
        phrases = [text for _, text in service.texts(0) if text.strip()]
        assert "".join(phrases) == TEXTS[language] + " "
        assert len(phrases) > 1
        words = set(TEXTS[language].split())
        assert all(word in words for phrase in phrases for word in phrase.split())


@pytest.mark.parametrize("language", TEXTS)
async def test_sound_begins_before_half_of_the_text_has_come(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        text = (TEXTS[language] + " ") * 2
        began = trio.current_time()
        async with tts.speak(tokens(text)) as audio:
            await audio.receive()
            assert trio.current_time() - began < len(text) / 4 * 0.02 / 2
            await listen(audio)


async def test_the_first_frame_of_the_next_turn_leaves_without_a_dial(autojump_clock: trio.testing.MockClock) -> None:
    """P10: a dial takes 300 ms, and no turn waits for one."""
    async with memory_service(dial_time=0.3) as service, speaking(make_config(), service.open_stream) as tts:
        for turn in range(3):
            began = trio.current_time()
            async with tts.start_llm_stream() as (text, audio):
                text.send_nowait("Готово.")
                text.close()
                sound = await listen(audio)
            assert heard(sound, tts.config) == "Готово."
            sent = [time for time, said in service.texts(turn) if said == "Готово. "]
            assert sent == [began]
            await trio.sleep(0.3)


async def test_all_text_first_and_reading_afterwards_in_one_task(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            for _ in range(50):
                await text.send(RUSSIAN + " ")
            text.close()
            sound = await listen(audio)
        assert heard(sound, tts.config) == " ".join([RUSSIAN] * 50)


async def test_markdown_is_taken_out_on_request(autojump_clock: trio.testing.MockClock) -> None:
    written = "# Заказ\n\n**Номер 42** уехал [со склада](https://example.com/a_b). Будет *завтра*."
    for strip, expected in ((True, "Заказ Номер 42 уехал со склада. Будет завтра."), (False, None)):
        config = make_config(transforms=(markdown(),) if strip else (), language_code="ru")
        async with memory_service() as service, speaking(config, service.open_stream) as tts:
            async with tts.speak(tokens(written)) as audio:
                said = heard(await listen(audio), config)
        assert said == (expected or " ".join(written.split()))
        assert audio.outcome is not None
        assert audio.outcome.spoken_text == written


async def test_a_callable_in_place_of_the_policy(autojump_clock: trio.testing.MockClock) -> None:
    """Every word a phrase of its own: what a user's own phrases may do."""

    class Words:
        pending = ""

        def feed(self, token: str, now: float, lead: float) -> list[str]:
            *whole, self.pending = (self.pending + token).split(" ")
            return [f"{word} " for word in whole]

        def close(self) -> list[str]:
            return [f"{self.pending} "]

        def deadline(self) -> float | None:
            return None

        def expire(self, now: float) -> list[str]:
            return []

        def lead(self, seconds: float) -> None:
            pass

    config = make_config(phrase_policy=Words)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(tokens("Да, уже едет.")) as audio:
            assert heard(await listen(audio), config) == "Да, уже едет."
        assert [text for _, text in service.texts(0)] == [" ", "Да, ", "уже ", "едет. ", ""]


@pytest.mark.parametrize("kind", ["reply", "static text"])
async def test_a_language_that_is_not_told_is_warned_of_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for _ in range(2):
            async with tts.speak(["Да."]) if kind == "reply" else tts.stream_static_text("Да.") as audio:
                await listen(audio)
    assert caplog.text.count("language_code is None") == 1


async def test_two_tasks(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        sound = b""
        async with tts.start_llm_stream() as (text, audio), trio.open_nursery() as nursery:

            async def feed() -> None:
                with text:
                    async for token in tokens(ENGLISH):
                        await text.send(token)

            nursery.start_soon(feed)
            sound = await listen(audio)
        assert heard(sound, tts.config) == ENGLISH


async def test_audio_comes_while_the_text_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    """P19: what is ready is not held back for the next token."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            began = trio.current_time()
            await text.send("Одну минуту, я проверю. ")
            await audio.receive()
            assert trio.current_time() - began < 0.5


async def test_a_pausing_llm_does_not_time_out(autojump_clock: trio.testing.MockClock) -> None:
    """P5: a tool call of a minute."""

    async def pausing() -> AsyncIterator[str]:
        yield "Секунду, я посмотрю. "
        await trio.sleep(60)
        yield "Спасибо, что подождали."

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(pausing()) as audio:
            sound = await listen(audio)
        assert heard(sound, tts.config) == "Секунду, я посмотрю. Спасибо, что подождали."
        assert [text for _, text in service.texts(0)][-2:] == ["Спасибо, что подождали. ", ""]  # the same socket


async def test_leaving_the_block_interrupts(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak(tokens(ENGLISH)) as audio:
            await audio.receive()
            before = trio.current_time()
        assert trio.current_time() == before
        with pytest.raises(trio.ClosedResourceError):
            await audio.receive()
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        await trio.sleep(1)
        texts = [text for _, text in service.texts(0)]
        assert "" not in texts  # an end marker would have the rest spoken, and billed
        assert [r.connection for r in service.server.records if isinstance(r, CloseReceived)] == service.sockets()[:1]
        async with tts.speak(tokens(RUSSIAN)) as audio:
            assert heard(await listen(audio), tts.config) == RUSSIAN


async def test_a_cancelled_scope_interrupts(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        with trio.move_on_after(0.5) as scope:
            async with tts.speak(tokens(ENGLISH)) as audio:
                await listen(audio)
        assert scope.cancelled_caught
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        assert "" not in [text for _, text in service.texts(0)]


async def test_what_was_heard_is_known_after_a_paced_barge_in(autojump_clock: trio.testing.MockClock) -> None:
    """P9: the caller plays by the clock and is interrupted after two seconds of sound."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        played = 0.0
        async with tts.speak(tokens(RUSSIAN)) as audio:
            async for chunk in audio:
                seconds = len(chunk) / 32000
                await trio.sleep(min(seconds, 2 - played))
                played = min(2, played + seconds)
                if played == 2:
                    break
        said = audio.spoken(2000)
        assert RUSSIAN.startswith(said)
        whole_words = [word for word in audio.words if word.end_ms <= 2000]
        assert said.split() == [word.text for word in whole_words]
        assert 2 <= len(whole_words) < len(RUSSIAN.split())
        assert audio.outcome is not None
        assert RUSSIAN.startswith(audio.outcome.spoken_text + audio.outcome.unspoken_text)


async def test_a_feeder_that_fails_leaves_bare_and_no_tail_is_spoken(autojump_clock: trio.testing.MockClock) -> None:
    async def failing() -> AsyncIterator[str]:
        yield "Первое предложение. Второе "
        await trio.sleep(0.1)
        raise LookupError("the LLM is gone")

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        with pytest.raises(LookupError, match="the LLM is gone"):
            async with tts.speak(failing()) as audio:
                await listen(audio)
        await trio.sleep(1)
        assert [text for _, text in service.texts(0)] == [" ", "Первое предложение. "]


async def test_the_error_of_the_body_leaves_bare(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        with pytest.raises(ZeroDivisionError):
            async with tts.speak(tokens(ENGLISH)) as audio:
                await audio.receive()
                _ = 1 / 0
        with pytest.raises(ExceptionGroup, match="the user's own") as caught:
            async with tts.speak(tokens(ENGLISH)) as audio:
                raise ExceptionGroup("the user's own", [ValueError()])
        assert caught.group_contains(ValueError, depth=1)


async def test_a_cancelled_feeder_abandons_the_reply(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            with trio.move_on_after(1), text:
                await text.send("Начало фразы ")
                await trio.sleep_forever()
            with pytest.raises(trio.EndOfChannel):
                while True:
                    await audio.receive()
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"
        assert "" not in [said for _, said in service.texts(0)]


async def test_a_failure_comes_after_the_audio_that_came(autojump_clock: trio.testing.MockClock) -> None:
    faults = Behavior(faults=(Fault("reset", "audio", frame=2),))
    config = make_config(on_lost_connection="raise")
    async with memory_service(faults) as service, speaking(config, service.open_stream) as tts:
        sound = b""
        with pytest.raises(TTSConnectionError) as caught:
            async with tts.speak(tokens(RUSSIAN)) as audio:
                async for chunk in audio:
                    sound += chunk
        assert sound
        assert RUSSIAN.startswith(caught.value.spoken_text + caught.value.unspoken_text)
        assert heard(sound, config).startswith(" ".join(caught.value.spoken_text.split()))
        assert caught.value.spoken_text


async def test_a_failure_nobody_looked_for_is_raised_at_the_end_of_the_block(
    autojump_clock: trio.testing.MockClock,
) -> None:
    config = make_config(timeouts=Timeouts(text=3))
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(TextTimeoutError, match="3 s"):
            async with tts.start_llm_stream():
                await trio.sleep(4)


async def test_text_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, audio):
            await text.send("Да.")
            text.close()
            text.close()
            with pytest.raises(trio.ClosedResourceError):
                await text.send("ещё")
            await listen(audio)
        async with tts.start_llm_stream() as (text, audio):
            await text.send("Да.")
            audio.close()
            with pytest.raises(UtteranceEndedError, match="interrupted") as caught:
                await text.send("ещё")
            assert isinstance(caught.value, TTSError)
            assert isinstance(caught.value, trio.BrokenResourceError)


@pytest.mark.parametrize("text", ["", " ", "… — !", "🙂", "\n\n"])
async def test_nothing_to_speak_is_no_error(autojump_clock: trio.testing.MockClock, text: str) -> None:
    """P3: an LLM that says nothing, or only an emoji."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        async with tts.speak([text]) as audio:
            assert await listen(audio) == b""
        assert audio.outcome is not None
        assert audio.outcome.end == "finished"


async def test_bad_input(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(max_characters=10), service.open_stream) as tts:
        async with tts.start_llm_stream() as (text, _):
            with pytest.raises(TypeError, match="must be a str, not int"):
                await text.send(42)  # type: ignore[arg-type]
            with pytest.raises(ConfigurationError, match="max_characters") as caught:
                await text.send("больше десяти")
            assert caught.value.field == "max_characters"
        for bad in ("", "   ", "…", "🙂"):
            with pytest.raises(ConfigurationError, match="text") as caught:
                tts.stream_static_text(bad)
            assert caught.value.field == "text"
        with pytest.raises(TypeError, match="bytes"):
            tts.stream_static_text(b"hello")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="11 characters"):
            tts.stream_static_text("x" * 11)


@pytest.mark.parametrize("language", TEXTS)
async def test_tokens_that_need_not_be_waited_for_let_others_run(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """The text of a whole book may be there at once, from an iterator of either kind."""
    words = [f"{word} " for word in TEXTS[language].split()] * 20
    taken = trio.Event()

    def at_once() -> Iterator[str]:
        yield from words
        taken.set()

    async def at_once_too() -> AsyncIterator[str]:
        for word in at_once():
            yield word

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for tokens in (at_once(), at_once_too()):
            taken = trio.Event()
            turns = 0
            async with tts.speak(tokens):
                while not taken.is_set():
                    await trio.lowlevel.checkpoint()
                    turns += 1
            assert turns > len(words) // 20


@pytest.mark.parametrize("text", ["Да, конечно. Сейчас посмотрю. ", "Sure, of course. Let me have a look. "])
async def test_a_phrase_is_sent_while_a_blocking_iterator_waits_for_the_next_token(
    autojump_clock: trio.testing.MockClock, text: str
) -> None:
    """P12: what is known is not kept back for what is not."""
    sent: list[int] = []

    def words() -> Iterator[str]:
        for word in text.split() * 5:
            sent.append(len(service.texts(0)))
            yield f"{word} "

    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        await tts.connections.connect()
        async with tts.speak(words()) as audio:
            await listen(audio)
    assert sent[12] > sent[0]


@pytest.mark.parametrize("transforms", [(), (markdown(),)])
async def test_tokens_that_are_none_are_skipped(
    autojump_clock: trio.testing.MockClock, transforms: tuple[TransformFactory, ...]
) -> None:
    """As "" is: the deltas of OpenAI's API have both. What is neither text nor None is a TypeError."""
    config = make_config(transforms=transforms)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for text in TEXTS.values():
            middle = len(text) // 2
            async with tts.speak([None, "", text[:middle], None, text[middle:], None]) as audio:
                assert heard(await listen(audio), tts.config) == text
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
        for wrong in (0, False, b"bytes", ["text"]):
            with pytest.raises(TypeError, match=f"text must be a str, not {type(wrong).__name__}"):
                async with tts.speak(["Да.", wrong]) as audio:  # type: ignore[list-item]
                    await listen(audio)


HALVES = [
    (["Да, \ud83d", "\ude42 хорошо."], "Да, 🙂 хорошо."),
    (["Yes, \ud83d", "", None, "\ude42", " good."], "Yes, 🙂 good."),
    (["Да, \ud83d", " хорошо."], "Да, \ufffd хорошо."),
    (["Yes, \ude42\ud83d good."], "Yes, \ufffd\ufffd good."),
    (["Да, хорошо \ud83d"], "Да, хорошо \ufffd"),
    (["Yes, ok\ud83d\ude42\ud83d"], "Yes, ok🙂\ufffd"),
]


class Halving:
    """A transform whose author cuts an emoji in two, and says only a half of it."""

    def feed(self, text: str) -> Iterator[tuple[str, int]]:
        yield text.replace("🙂", "\ud83d"), len(text)

    def pause(self) -> Iterator[tuple[str, int]]:
        return iter(())

    def close(self) -> Iterator[tuple[str, int]]:
        return iter(())


def halving_phrases() -> AtTheEnd:
    """Phrases of a user that do the same."""
    return AtTheEnd(lambda text: text.replace("🙂", "\ud83d"))


@pytest.mark.parametrize("options", [{"transforms": (Halving,)}, {"phrase_policy": halving_phrases}])
async def test_half_a_character_of_users_code_is_replaced(
    autojump_clock: trio.testing.MockClock, endpoint: str, options: dict[str, object]
) -> None:
    """P25, P37: it cannot be sent; `send` raises nothing, and the socket serves the next reply too."""
    config = make_config(endpoint).evolve(**options)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for text in ("Да 🙂, хорошо. ", "Yes 🙂, good. "):
            async with tts.speak([text]) as audio:
                assert heard(await listen(audio), config).strip() == text.replace("🙂", "\ufffd").strip()
            assert audio.outcome is not None
            assert audio.outcome.end == "finished"


@pytest.mark.parametrize("transforms", [(), (markdown(),)])
@pytest.mark.parametrize(("tokens", "whole"), HALVES)
async def test_halves_of_a_character_are_joined_over_tokens(
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
    tokens: list[str | None],
    whole: str,
    transforms: tuple[TransformFactory, ...],
) -> None:
    """A lone half becomes U+FFFD, with a line in the log, and the reply goes on; it is told back so, too."""
    config = make_config(transforms=transforms)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(tokens) as audio:
            await listen(audio)
        assert audio.outcome is not None
        assert (audio.outcome.end, audio.outcome.spoken_text, audio.outcome.unspoken_text) == ("finished", whole, "")
        assert "".join(text for _, text in service.texts()).split() == whole.split()
    assert ("U+FFFD" in caplog.text) == ("\ufffd" in whole)


@pytest.mark.parametrize(("given", "whole"), [("Да \ud83d\ude42.", "Да 🙂."), ("Yes \ud83d.", "Yes \ufffd.")])
async def test_halves_of_a_character_in_a_text_known_in_advance(
    autojump_clock: trio.testing.MockClock, given: str, whole: str
) -> None:
    config = make_config(audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.stream_static_text(given, previous_text=given, next_text=given) as audio:
            await listen(audio)
        assert audio.outcome is not None
        assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", whole)
        await tts.prefetch([given, whole])
        async with tts.stream_static_text(whole) as audio:
            await listen(audio)
        assert audio.usage.characters == 0  # the one that was prefetched
        with pytest.raises(ConfigurationError, match="nothing in it can be spoken"):
            tts.stream_static_text("\ud83d")


async def test_closing_the_audio_by_its_own_block(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        with pytest.raises(ZeroDivisionError):
            async with tts.speak(tokens(ENGLISH)) as audio:
                async with audio:
                    await audio.receive()
                    _ = 1 / 0
        assert audio.outcome is not None
        assert audio.outcome.end == "interrupted"


async def test_configurations_that_disagree(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            for changes in ({"voice_id": "another"}, {"output_format": "ulaw_8000"}, {"api_key": "another"}):
                with pytest.raises(ConfigurationError, match="differs") as caught:
                    TTSManager(make_config(**changes), connections)
                assert caught.value.field == next(iter(changes))
            TTSManager(make_config(timeouts=Timeouts(stall=9), optimize_streaming_latency=2), connections)


async def test_no_connection_and_then_one(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        service.server.stop_accepting()
        config = make_config()
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            began = trio.current_time()
            with pytest.raises(TTSConnectionError):
                async with tts.speak([ENGLISH]):
                    pytest.fail("there is no connection")
            assert trio.current_time() - began == pytest.approx(5)
            service.server.resume()
            async with tts.speak([ENGLISH]) as audio:
                assert heard(await listen(audio), config) == ENGLISH


async def test_a_refused_reply_is_one_bare_error_however_fast_the_feeder(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """P25: the feeder and the reader do not raise the same failure twice."""
    refusing = Behavior(faults=(Fault("error_frame", "audio", "voice_id_does_not_exist"),))
    for _ in range(20):
        async with memory_service(refusing) as service, speaking(make_config(), service.open_stream) as tts:
            with pytest.raises(ConfigurationError):
                async with tts.speak(["Слово. "] * 400) as audio:
                    await listen(audio)


async def test_a_reply_whose_replacement_never_comes_fails(autojump_clock: trio.testing.MockClock) -> None:
    """The reader is told, and does not wait for ever."""
    async with memory_service() as service, speaking(make_config(spares=0), service.open_stream) as tts:
        with trio.fail_after(20), pytest.raises(TTSConnectionError, match=r"no connection|no audio"):
            async with tts.speak(tokens(ENGLISH * 3)) as audio:
                await audio.receive()
                service.server.stop_accepting()
                service.server.drop_connections()
                await listen(audio)


async def test_a_connection_manager_that_is_closed_in_mid_reply(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config()
    async with memory_service() as service:
        async with (
            WebSocketConnectionManager(config, open_stream=service.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            before = 0.0
            with pytest.raises(TTSError, match="the connection manager was closed"):
                async with tts.speak(tokens(ENGLISH)) as audio:
                    await audio.receive()
                    before = trio.current_time()
                    await connections.close()
                    await listen(audio)
            assert trio.current_time() - before < 1


@pytest.mark.parametrize("way", ["speak", "stream_static_text"])
async def test_a_paced_reader_finishes(autojump_clock: trio.testing.MockClock, way: str) -> None:
    """All was received long before it was heard: it is finished when the last of it is delivered."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        speech = tts.speak([RUSSIAN]) if way == "speak" else tts.stream_static_text(RUSSIAN)
        sound = b""
        async with speech as audio:
            async for chunk in audio:
                sound += chunk
                await trio.sleep(len(chunk) / 32000)
        assert heard(sound, tts.config) == RUSSIAN
        assert audio.outcome is not None
        assert audio.outcome.end == "finished"


async def test_use_outside_of_the_block() -> None:
    tts = TTSManager(make_config(), WebSocketConnectionManager(make_config()))
    with pytest.raises(RuntimeError, match="async with"):
        tts.stream_static_text(ENGLISH)
    with pytest.raises(RuntimeError, match="async with"):
        async with tts.speak([]):
            pytest.fail("the manager was not entered")


async def test_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with speaking(make_config(), service.open_stream) as tts:
            async with tts.speak(tokens(ENGLISH)) as audio:
                await audio.receive()
            async with tts.speak(tokens(RUSSIAN)) as audio:
                await listen(audio)
        await trio.testing.wait_all_tasks_blocked()
        assert not service.nursery.child_tasks
    gc.collect()  # a ResourceWarning is an error


@pytest.mark.parametrize("way", ["speak", "stream_static_text", "frames", "paced"])
@pytest.mark.parametrize("left", ["conversation", "block"])
async def test_another_task_reads_on_when_the_conversation_is_left(
    autojump_clock: trio.testing.MockClock, way: str, left: str
) -> None:
    """It gets an error at once: what is buffered is not played to its end as if that were all."""
    begun, ended_at = trio.Event(), math.inf

    async def read(audio: AudioChannel) -> None:
        nonlocal ended_at
        pieces = {"frames": audio.frames, "paced": audio.paced}.get(way, lambda: audio)()
        with pytest.raises(trio.ClosedResourceError):
            async for _ in pieces:
                begun.set()
                await trio.sleep(0.1)
        ended_at = trio.current_time()

    async def speak(speech: AbstractAsyncContextManager[AudioChannel]) -> None:
        async with speech as audio:
            await read(audio)

    async with memory_service() as service, trio.open_nursery() as nursery:
        async with speaking(make_config(), service.open_stream) as tts:
            text = RUSSIAN * 5
            speech = tts.stream_static_text(text) if way == "stream_static_text" else tts.speak([text])
            if left == "block":
                async with speech as audio:
                    nursery.start_soon(read, audio)
                    await begun.wait()
                    await trio.sleep(1)
            else:
                nursery.start_soon(speak, speech)
                await begun.wait()
                await trio.sleep(1)
            left_at = trio.current_time()
    assert ended_at <= left_at + 0.2


@pytest.mark.parametrize("way", ["speak", "stream_static_text", "frames", "paced"])
async def test_closing_the_audio_ends_its_iteration(autojump_clock: trio.testing.MockClock, way: str) -> None:
    """As the end of the utterance does, and as without `async`: who closes it knows, and the outcome tells."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for text in TEXTS.values():
            async with tts.stream_static_text(text) if way == "stream_static_text" else tts.speak([text]) as audio:
                pieces = {"frames": audio.frames, "paced": audio.paced}.get(way, lambda: audio)()
                async for _ in pieces:
                    audio.close()
                with pytest.raises(trio.ClosedResourceError):
                    await pieces.receive()
            assert audio.outcome is not None
            assert audio.outcome.end == "interrupted"
            await trio.to_thread.run_sync(audio.close)  # late, and from a thread that runs no trio: nothing happens


def test_from_asyncio() -> None:
    """It runs on trio; what is for others is named."""
    config = make_config()
    connections = WebSocketConnectionManager(config)

    async def enter(block: AbstractAsyncContextManager[object]) -> None:
        with pytest.raises(RuntimeError, match=r"needs trio.*tts_trio\.sync"):
            async with block:
                ...

    for block in (open_tts(config), connections, TTSManager(config, connections)):
        asyncio.run(enter(block))


async def test_what_is_no_configuration() -> None:
    connections = WebSocketConnectionManager(make_config())
    for wrong in ("key", None, {"api_key": "key"}):
        name = type(wrong).__name__
        with pytest.raises(TypeError, match=f"^config must be a TTSConfig, not {name}$"):
            async with open_tts(wrong):  # type: ignore[arg-type]
                ...
        with pytest.raises(TypeError, match=f"^config must be a TTSConfig, not {name}$"):
            WebSocketConnectionManager(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=f"^config must be a TTSConfig, not {name}$"):
            TTSManager(wrong, connections)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=f"^connection_manager must be a WebSocketConnectionManager, not {name}$"):
            TTSManager(make_config(), wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["reply", "send", "frames", "paced", "stream_static_text"])
async def test_an_error_tells_what_was_spoken_and_what_was_not(
    autojump_clock: trio.testing.MockClock, way: str
) -> None:
    """Together they are the text that was given, whoever is told of the error; and the outcome says the same."""
    broken = Behavior(
        faults=(Fault("reset", "audio", frame=3, path="stream-input"), Fault("reset", "audio", frame=3, path="/stream"))
    )
    config = make_config(on_lost_connection="raise", audio_cache=None)
    async with memory_service(broken) as service, speaking(config, service.open_stream) as tts:
        for text in TEXTS.values():
            async with tts.stream_static_text(text) if way == "stream_static_text" else tts.start_llm_stream() as given:
                if isinstance(given, AudioChannel):
                    audio = given
                else:
                    channel, audio = given
                    await channel.send(text)
                    if way != "send":
                        channel.close()
                pieces = {"frames": audio.frames, "paced": audio.paced}.get(way)
                with pytest.raises(TTSConnectionError) as caught:
                    async for _ in pieces() if pieces else audio:
                        ...
                if way == "send":
                    with pytest.raises(TTSConnectionError) as caught:
                        await channel.send("more")
            error = caught.value
            assert error.spoken_text + error.unspoken_text == text
            assert error.unspoken_text
            assert audio.outcome is not None
            assert (audio.outcome.spoken_text, audio.outcome.unspoken_text) == (error.spoken_text, error.unspoken_text)
