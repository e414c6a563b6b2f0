"""Another voice, model, language or settings for one reply: which sockets are hot for it, and who waits for a dial."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.helpers import (
    TEXTS,
    VOICE_ID,
    Service,
    heard,
    listen,
    make_config,
    memory_service,
    posts,
    sockets_of,
    speaking,
    text_of,
    tokens,
    whole_words,
)
from tts_trio import (
    AudioChannel,
    ConfigurationError,
    MemoryCache,
    QuotaError,
    TTSError,
    TTSManager,
    VoiceSettings,
)
from tts_trio.local_server import Behavior, Fault, Received, Requested
from tts_trio.transport.hot_socket import SocketState

OTHER = "EXAVITQu4vr4xnSDxMaL"
VOICES = [f"voice{number}" for number in range(6)]
SHORT = {"en": "Yes, order 42.", "ru": "Да, заказ 42."}


def waited(audio: AudioChannel) -> float:
    """How long a reply waited for a dial, in seconds."""
    assert audio.timeline.connected is not None
    return audio.timeline.connected - audio.timeline.started


def paths(service: Service) -> list[str]:
    """The voices, or the endpoints without one, of the WebSockets that were opened."""
    opened = [r for r in service.server.records if isinstance(r, Requested) and r.path.endswith("-input")]
    return [request.path.split("/")[3] for request in opened]


async def say(tts: TTSManager, text: str, **changes: Any) -> AudioChannel:
    async with tts.speak([text], **changes) as audio:
        assert heard(await listen(audio), tts.config) == text
    return audio


async def test_a_voice_that_was_announced_waits_for_no_dial(
    autojump_clock: trio.testing.MockClock, exhaustive: bool
) -> None:
    """200 calls that change the voice at every fifth reply; a sample of 3 where not all is tried."""

    async def call(service: Service, number: int) -> None:
        await trio.sleep(number / 10)  # 8 dials of a process go on at once
        async with speaking(make_config(), service.open_stream) as tts:
            for turn in range(1, 11):
                text = SHORT["ru" if (turn + number) % 2 else "en"]
                other = {"voice": VOICES[turn // 5]} if turn % 5 == 0 else {}
                if (turn + 1) % 5 == 0:
                    tts.expect(voice=VOICES[(turn + 1) // 5])
                audio = await say(tts, text, **other)
                assert waited(audio) == 0
                await trio.sleep(2)

    async with memory_service(dial_time=0.1) as service, trio.open_nursery() as nursery:
        for number in range(200 if exhaustive else 3):
            nursery.start_soon(call, service, number)


@pytest.mark.endpoints("stream-input", "multi-stream-input")
async def test_one_that_was_not_costs_a_dial_once(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """The timeline says so; the next reply with the same voice does not wait, and the own voice never does."""
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            assert waited(await say(tts, "Да.", voice=OTHER)) == pytest.approx(0.3)
            await trio.sleep(1)
            assert waited(await say(tts, "Да.")) == 0
            assert waited(await say(tts, "Да.", voice=OTHER)) == 0
            async with tts.stream_static_text("Да.") as audio:
                await listen(audio)
            assert audio.timeline.connected is None


CHANGES: dict[str, dict[str, Any]] = {
    "voice": {"voice": OTHER},
    "settings": {"settings": VoiceSettings(stability=0.5)},
    "language": {"language_code": "ru"},
    "model": {"model": "eleven_turbo_v2_5"},
}
A_SOCKET_EACH = {
    "stream-input": set(CHANGES),
    "multi-stream-input": {"voice", "language", "model"},
    "text-to-dialogue": {"language", "model"},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_another_socket_is_dialed_only_where_the_context_cannot_say_it(
    autojump_clock: trio.testing.MockClock, endpoint: str, change: str
) -> None:
    """P15: what belongs to a socket for its life is never changed in it; what belongs to a context costs no dial."""
    changes = CHANGES[change]
    if endpoint == "text-to-dialogue" and change == "model":
        changes = {"model": "eleven_v4_turbo"}
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(endpoint, spares=0), service.open_stream) as tts:
            one = await say(tts, "Раз.")
            await trio.sleep(1)
            two = await say(tts, "Два.", **changes)
            await trio.sleep(1)
            three = await say(tts, "Три.")
            assert [waited(audio) > 0 for audio in (one, two, three)] == [
                False,
                change in A_SOCKET_EACH[endpoint],
                False,
            ]
            assert service.errors() == []
            assert [told(service, message)[change] for message in said(service)] == [True, False, True]


def said(service: Service) -> list[Received]:
    """The messages with text."""
    return [message for message in service.messages() if text_of(message.message).strip()]


def told(service: Service, message: Received) -> dict[str, bool]:
    """What the service knows of a text, by its address and its context: whether it is the configuration's."""
    [upgrade] = [
        record
        for record in service.server.records
        if isinstance(record, Requested) and record.connection == message.connection
    ]
    context = message.message.get("context_id")
    begun = next(
        sent.message
        for sent in service.messages()
        if sent.connection == message.connection and sent.message.get("context_id") == context
    )
    return {
        "voice": VOICE_ID in (*begun.get("voices", ()), upgrade.path.split("/")[3]),
        "settings": "voice_settings" not in begun,
        "language": "language_code" not in upgrade.query,
        "model": upgrade.query["model_id"] in {"eleven_flash_v2_5", "eleven_v3_conversational"},
    }


async def test_the_three_kinds_that_were_used_last_stay_hot(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            for voice in VOICES[:3]:
                tts.expect(voice=voice)
                await trio.sleep(1)
            assert tts.connections.statistics().hot == 4
            assert waited(await say(tts, "Да.", voice=VOICES[0])) == 0  # the second one is the least recently used now
            await trio.sleep(1)
            tts.expect(voice=VOICES[3])
            await trio.sleep(1)
            assert tts.connections.statistics().hot == 4
            for voice in (VOICES[0], VOICES[2], VOICES[3]):
                assert waited(await say(tts, "Да.", voice=voice)) == 0
                await trio.sleep(1)
            assert tts.connections.statistics().dials == 9  # one of each kind, and one behind each reply
            assert waited(await say(tts, "Да.", voice=VOICES[1])) > 0
            assert waited(await say(tts, "Да.")) == 0


async def test_a_kind_whose_reply_goes_on_is_not_closed(autojump_clock: trio.testing.MockClock) -> None:
    text = TEXTS["ru"]
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            async with tts.speak(tokens(text), voice=OTHER) as audio:
                for voice in VOICES:
                    tts.expect(voice=voice)
                    await trio.sleep(0.5)
                assert heard(await listen(audio), tts.config) == text
            tts.expect(voice="last")
            await trio.sleep(1)
            assert tts.connections.statistics().hot == 4
            assert OTHER not in [path.split("/")[3] for path in hot_paths(tts)]


@pytest.mark.parametrize("seconds", [0.05, 0.35, 60])
async def test_kinds_that_speak_at_once_are_closed_when_they_are_free(
    autojump_clock: trio.testing.MockClock, seconds: float, endpoint: str
) -> None:
    """Also where others were expected meanwhile, or a reply is cancelled while it waits for a dial, or speaks."""
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:

            async def say_it(language: str) -> None:
                async with tts.speak(tokens(TEXTS["en"]), language_code=language) as audio:
                    await listen(audio)

            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for language in ("en", "de", "fr", "es", "it", "pl"):
                        nursery.start_soon(say_it, language)
                    for language in ("nl", "tr", "ja", "hu"):  # none of those that speak can make room for them
                        await trio.sleep(0.1)
                        tts.expect(language_code=language)
            await trio.sleep(1)
            assert len(set(hot_paths(tts))) == 4
            assert waited(await say(tts, SHORT["ru"])) == 0


async def test_a_kind_that_is_waited_for_is_not_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(), service.open_stream) as tts:

            async def expect() -> None:
                for voice in VOICES:
                    tts.expect(voice=voice)
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect)
                assert waited(await say(tts, "Да.", voice=OTHER)) == pytest.approx(0.3)


def hot_paths(tts: TTSManager) -> list[str]:
    return [s._endpoint.path() for s in sockets_of(tts.connections) if s.state is SocketState.HOT]


async def test_all_sockets_are_closed_with_the_conversation(autojump_clock: trio.testing.MockClock) -> None:
    """P16: also in mid dial, also those of a voice whose reply goes on; within `timeouts.close`."""
    async with memory_service(dial_time=0.3) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            tts.expect(voice=VOICES[0])
            await trio.sleep(1)
            with pytest.raises(TTSError, match="was closed"):
                async with tts.speak(tokens(TEXTS["en"]), voice=OTHER):
                    tts.expect(voice=VOICES[1])
                    began = trio.current_time()
                    await tts.connections.close()
                    assert trio.current_time() - began <= tts.config.timeouts.close
                    numbers = tts.connections.statistics()
                    assert (numbers.hot, numbers.dialing, numbers.in_use) == (0, 0, 0)
            with pytest.raises(RuntimeError, match="closed"):
                tts.expect(voice=VOICES[0])
    with pytest.raises(RuntimeError, match="closed"):
        tts.expect(voice=VOICES[0])


async def test_what_is_not_allowed_is_refused_before_any_byte(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with speaking(make_config(spares=0), service.open_stream) as tts:
            dials = service.dials
            for field, change in (
                ("voice_id", {"voice": "a/b"}),
                ("voice_settings", {"settings": "loud"}),
                ("language_code", {"language_code": "русский"}),
                ("model_id", {"model": ""}),
                ("voice_settings", {"model": "eleven_v3", "settings": VoiceSettings(speed=1.1)}),
            ):
                changes: dict[str, Any] = change
                with pytest.raises(ConfigurationError, match=field):
                    tts.expect(**changes)
                with pytest.raises(ConfigurationError, match=field):
                    async with tts.speak(["Да."], **changes):
                        pass
                with pytest.raises(ConfigurationError, match=field):
                    async with tts.start_llm_stream(**changes):
                        pass
                with pytest.raises(ConfigurationError, match=field):
                    async with tts.stream_static_text("Да.", **changes):
                        pass
            assert service.dials == dials
            assert posts(service.server) == []


async def test_a_static_text_can_have_another_language_and_model(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for _ in range(2):  # the second time from the cache, which knows them apart
            for changes in ({}, {"language_code": "ru"}, {"model": "eleven_turbo_v2_5"}):
                async with tts.stream_static_text("Да.", **changes) as audio:
                    assert heard(await listen(audio), tts.config) == "Да."
        asked = [(request.body["model_id"], request.body.get("language_code")) for request in posts(service.server)]
        assert asked == [("eleven_flash_v2_5", None), ("eleven_flash_v2_5", "ru"), ("eleven_turbo_v2_5", None)]


@pytest.mark.parametrize("language", TEXTS)
async def test_the_rest_of_a_reply_is_said_by_the_same_voice(
    autojump_clock: trio.testing.MockClock, language: str
) -> None:
    """P13: over the next connection of its kind, and over HTTP where there is none."""
    fault = Fault("reset", "audio", frame=2, path=f"{OTHER}/stream-input")
    refused = Fault("status", "answer", 503, path=f"{OTHER}/stream-input", skip=2)
    text = TEXTS[language]
    async with memory_service(Behavior(faults=(fault, refused))) as service:
        async with speaking(make_config(fallback="http"), service.open_stream) as tts:
            async with tts.speak(tokens(text), voice=OTHER) as audio:
                sound = await listen(audio)
            assert whole_words(heard(sound, tts.config), text) == text.split()
            assert audio.usage.replays == 2
            assert set(paths(service)) == {VOICE_ID, OTHER}
            assert {request.path.split("/")[3] for request in posts(service.server)} == {OTHER}


async def test_openings_are_kept_for_each_voice(autojump_clock: trio.testing.MockClock) -> None:
    """And one conversation that says a phrase twice, by whatever voice, is still one."""
    opening = "Одну минуту, пожалуйста. "
    config = make_config(opening_cache=MemoryCache(2**20))

    async def conversation(service: Service, *voices: str | None) -> list[int]:
        characters: list[int] = []
        async with speaking(config, service.open_stream) as tts:
            for voice in voices:
                async with tts.speak([opening, "Сейчас я посмотрю ваш заказ."], voice=voice) as audio:
                    await listen(audio)
                characters.append(audio.usage.characters)
        return characters

    async with memory_service() as service:
        [whole, again, other] = await conversation(service, None, None, OTHER)
        assert whole == again == other
        assert await conversation(service, None, OTHER) == [whole, whole]  # now it is kept for both
        said = await conversation(service, None, OTHER, "third")
        assert said[0] == said[1] < whole == said[2]


async def test_an_unknown_voice_costs_the_own_one_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """P26: its error is raised by its reply, and the other sockets stay hot."""
    async with memory_service(Behavior(voices=(VOICE_ID,))) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            with pytest.raises(ConfigurationError):
                await say(tts, "Да.", voice=OTHER)
            assert waited(await say(tts, "Да.")) == 0


async def test_an_announced_voice_is_dialed_again_after_an_error(autojump_clock: trio.testing.MockClock) -> None:
    """One dial for each call of `expect`, whose error the reply raises; when the quota is there again, none waits."""
    exhausted = Fault("status", "answer", 402, count=2, path=f"{OTHER}/stream-input")
    async with memory_service(Behavior(faults=(exhausted,)), dial_time=0.3) as service:
        async with speaking(make_config(), service.open_stream) as tts:
            for dials in (1, 2):
                tts.expect(voice=OTHER)
                await trio.sleep(60)
                assert paths(service).count(OTHER) == dials
            with pytest.raises(QuotaError):
                await say(tts, "Да.", voice=OTHER)
            tts.expect(voice=OTHER)
            await trio.sleep(1)
            assert waited(await say(tts, "Да.", voice=OTHER)) == 0
            assert waited(await say(tts, "Yes.")) == 0
