"""Many turns over one socket: the endpoints with contexts, and what goes wrong with them in production."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio

from tests.helpers import TEXTS, Service, heard, listen, make_config, memory_service, speaking, text_of, tokens
from tests.helpers.records import check_frames
from tts_trio import EmptyAudioError, QuotaError, TTSManager, WebSocketConnectionManager
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, CloseSent, Sent

pytestmark = pytest.mark.endpoints("multi-stream-input", "text-to-dialogue")

SHORT = {"en": "Right.", "ru": "Да."}


def used_sockets(service: Service) -> list[int]:
    """The sockets that text was spoken over, in order."""
    return list(dict.fromkeys(r.connection for r in service.messages() if text_of(r.message).strip()))


async def say(tts: TTSManager, text: str) -> str:
    async with tts.speak([text]) as audio:
        return heard(await listen(audio), tts.config)


async def test_a_call_stays_on_one_socket(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    async with memory_service(dial_time=0.3) as service, speaking(make_config(endpoint), service.open_stream) as tts:
        for turn, language in itertools.product(range(10), TEXTS):
            assert await say(tts, f"{turn} {TEXTS[language]}") == f"{turn} {TEXTS[language]}"
        assert len(used_sockets(service)) == 1
        assert tts.connections.statistics().dials == 2  # and the one behind it


@pytest.mark.parametrize("late_final", [0.0, 2.0])
async def test_quick_interruptions(
    autojump_clock: trio.testing.MockClock, endpoint: str, exhaustive: bool, late_final: float
) -> None:
    """P6, P10, P14: no 1008, no silent turn, and no turn waits for a dial; a slot is free only after its final."""
    behavior = Behavior(late_final=late_final)
    async with memory_service(behavior, dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            await trio.sleep(1)
            for turn in range(200 if exhaustive else 30):
                began = trio.current_time()
                async with tts.start_llm_stream() as (text, audio):
                    await text.send(f"{turn} {TEXTS['ru' if turn % 2 else 'en']}")
                    assert await audio.receive()
                    assert audio.timeline.first_sent == began
                    await trio.sleep(0.1)
            assert await say(tts, "Слушаю вас.") == "Слушаю вас."
        assert service.errors() == []
        assert check_frames(service.server.records) <= 5


@pytest.mark.parametrize("early_close", ["silent_final", "nothing"])
async def test_short_turns(
    autojump_clock: trio.testing.MockClock, endpoint: str, exhaustive: bool, early_close: str
) -> None:
    """P4: a context that is closed before its first audio is dropped with its text, so none of ours is."""
    async with memory_service(Behavior(early_close=early_close)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            for turn in range(1000 if exhaustive else 100):
                text = SHORT["ru" if turn % 2 else "en"]
                assert await say(tts, text) == text
            assert tts.connections.statistics().losses == 0


async def test_the_order_of_a_turns_frames(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
        await say(tts, SHORT["ru"])
        context = service.messages()[0].context_id
        happened = [
            "audio" if isinstance(r, Sent) and r.kind == "audio" else "final" if isinstance(r, Sent) else r.message
            for r in service.server.records
            if getattr(r, "context_id", None) == context and getattr(r, "kind", "") != "turn"
        ]
        if tts.config.model_id == "eleven_v3_conversational":
            voice = tts.config.voice_id
            expected: list[Any] = [
                {"context_id": context, "voices": [voice]},
                {"context_id": context, "inputs": [{"text": "Да. ", "voice_id": voice}], "flush": True},
            ]
        else:
            expected = [
                {"text": " ", "context_id": context},
                {"text": "Да. ", "context_id": context},
                {"context_id": context, "flush": True},
            ]
        audio = happened.count("audio")
        closing = happened.index({"context_id": context, "close_context": True})
        assert happened[: len(expected)] == expected
        assert happened[len(expected)] == "audio"
        assert closing > len(expected)
        assert happened[-1] == "final"
        assert len(happened) == len(expected) + audio + 2


@pytest.mark.endpoints("multi-stream-input")
async def test_a_quota_that_nobody_mentions(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """P3: the final without audio is no success; it is tried once more, and then named."""
    async with memory_service(Behavior(quota=1)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            with pytest.raises(EmptyAudioError, match="quota") as caught:
                await say(tts, TEXTS["ru"])
            assert (caught.value.spoken_text, caught.value.unspoken_text) == ("", TEXTS["ru"])
        contexts = {r.context_id for r in service.messages() if text_of(r.message).strip()}
        assert len(contexts) == 2


async def test_a_quota_that_is_mentioned(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    async with memory_service(Behavior(quota=1, quota_on_contexts="error")) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            with pytest.raises(QuotaError):
                await say(tts, TEXTS["ru"])
        assert len(service.errors()) == 1


async def test_three_at_once_over_one_socket(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """P23: no byte in the wrong channel, and a consumer that does not read delays nobody else."""
    async with memory_service() as service, speaking(make_config(endpoint), service.open_stream) as tts:
        said: dict[str, str] = {}
        took: dict[str, float] = {}
        ready = 0

        async def speak(name: str, text: str, *, stalled: bool = False) -> None:
            nonlocal ready
            async with tts.speak(tokens(text)) as audio:
                first = await audio.receive()
                ready += 1
                while ready < 3:  # noqa: ASYNC110 - of three tasks the last to come is waited for
                    await trio.sleep(0.01)
                began = trio.current_time()
                if stalled:
                    await trio.sleep(600)
                said[name] = heard(first + await listen(audio), tts.config)
                took[name] = trio.current_time() - began

        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, "en", TEXTS["en"])
            nursery.start_soon(speak, "ru", TEXTS["ru"])
            nursery.start_soon(lambda: speak("stalled", "Третий голос. " + TEXTS["ru"], stalled=True))
        assert said == TEXTS | {"stalled": "Третий голос. " + TEXTS["ru"]}
        assert len(used_sockets(service)) == 1
        assert max(took["en"], took["ru"]) < 5


@pytest.mark.parametrize("context_slot", ["final", "close"])
async def test_the_sixth_goes_over_another_socket(
    autojump_clock: trio.testing.MockClock, endpoint: str, context_slot: str
) -> None:
    """P14: also while the five before it are interrupted, and their finals have not come."""
    behavior = Behavior(late_final=5.0, context_slot=context_slot)
    async with memory_service(behavior) as service, speaking(make_config(endpoint), service.open_stream) as tts:
        await trio.sleep(1)
        for turn in range(6):
            async with tts.speak([f"{turn} {TEXTS['en']}"]) as audio:
                await audio.receive()
        first, second = used_sockets(service)
        contexts = {r.context_id for r in service.messages() if r.connection == first}
        assert len(contexts) == 5
        await trio.sleep(10)
        assert await say(tts, TEXTS["ru"]) == TEXTS["ru"]
        assert used_sockets(service) == [first, second]  # there is room on the first one again
        assert service.messages()[-1].connection == first
        assert service.errors() == []


async def test_a_slot_that_is_never_given_back(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """P14: interrupted before their first audio, contexts vanish without a final; their socket is replaced in time."""
    behavior = Behavior(early_close="nothing", model_latency=1.0)
    async with memory_service(behavior, dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            await trio.sleep(1)
            for turn in range(30):
                async with tts.start_llm_stream() as (text, _audio):
                    await text.send(f"{turn} {TEXTS['ru']}")
                    await trio.sleep(0.3)
            await trio.sleep(30)
            statistics = tts.connections.statistics()
            assert (statistics.hot, statistics.in_use, statistics.dialing) == (2, 0, 0)
            assert await say(tts, TEXTS["ru"]) == TEXTS["ru"]
        assert service.errors() == []


@pytest.mark.parametrize("idle_context", ["final", "error"])
async def test_a_context_is_kept_alive_while_the_llm_is_silent(
    autojump_clock: trio.testing.MockClock, endpoint: str, idle_context: str
) -> None:
    """P5, P11: each context by frames of its own, and only while its turn is open."""
    text = TEXTS["ru"]
    config = make_config(endpoint) if endpoint == "text-to-dialogue" else make_config(endpoint, inactivity_timeout=20)
    async with memory_service(Behavior(idle_context=idle_context)) as service:
        async with speaking(config, service.open_stream) as tts:
            sound = b""
            async with tts.start_llm_stream() as (channel, audio):
                await channel.send("Секунду, я посмотрю. ")
                await trio.sleep(100)
                await channel.send(text)
                channel.close()
                sound = await listen(audio)
            assert heard(sound, tts.config) == "Секунду, я посмотрю. " + text
            frames = [r for r in service.messages() if r.message.get("text") == "" or r.message.get("keep_alive")]
            assert [round(frame.time) for frame in frames] == [15, 30, 45, 60, 75, 90]
            assert len(used_sockets(service)) == 1
            await trio.sleep(60)
        assert len([r for r in service.messages() if r.message.get("text") == "" or r.message.get("keep_alive")]) == 6
        assert service.errors() == []


@pytest.mark.parametrize("idle_socket", ["lives", "error"])
@pytest.mark.parametrize("language", TEXTS)
async def test_ten_minutes_of_silence_and_then_speech(
    autojump_clock: trio.testing.MockClock, endpoint: str, language: str, idle_socket: str
) -> None:
    """P10, P11: nothing but pings on an idle socket, which is replaced before the service may close it."""
    async with memory_service(Behavior(idle_socket=idle_socket), dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            for _ in range(2):
                await trio.sleep(611)
                began = trio.current_time()
                async with tts.speak([TEXTS[language]]) as audio:
                    assert heard(await listen(audio), tts.config) == TEXTS[language]
                assert audio.timeline.first_sent == began
            assert tts.connections.statistics().losses == 0
        assert service.errors() == []
        assert not [r for r in service.server.records if isinstance(r, CloseSent) and r.code != 1000]
        assert {r.time for r in service.messages() if r.message != {"close_socket": True}} == {
            r.time for r in service.messages() if r.context_id
        }


@pytest.mark.parametrize("spelling", ["camel", "snake"])
async def test_both_spellings_are_read(autojump_clock: trio.testing.MockClock, endpoint: str, spelling: str) -> None:
    async with memory_service(Behavior(spelling=spelling)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            async with tts.speak([TEXTS["ru"]]) as audio:
                assert heard(await listen(audio), tts.config) == TEXTS["ru"]
            assert [word.text for word in audio.words] == TEXTS["ru"].split()


@pytest.mark.parametrize("blank", ["nothing", "silence"])
@pytest.mark.parametrize("early_close", ["silent_final", "nothing"])
async def test_the_silence_of_the_first_frame_is_no_first_audio(
    autojump_clock: trio.testing.MockClock, endpoint: str, blank: str, early_close: str
) -> None:
    """P4: a clip for the blank that begins a context is not heard, and does not let the close go."""
    behavior = Behavior(blank_in_auto_mode=blank, early_close=early_close, model_latency=0.3)
    async with memory_service(behavior) as service, speaking(make_config(endpoint), service.open_stream) as tts:
        for language in TEXTS:
            assert await say(tts, SHORT[language]) == SHORT[language]


async def test_goodbye(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """Idle sockets are told to close; on one with an open context the service would not hear it."""
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(endpoint), open_stream=service.open_stream) as connections:
            connection = await acquire_connection(connections)
            connection.send_text("Прервано. ")
            await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()
        goodbyes = [r.connection for r in service.messages() if r.message == {"close_socket": True}]
        assert goodbyes == [2]


@pytest.mark.endpoints("text-to-dialogue")
async def test_dialogue_sessions_are_not_held_in_reserve(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """A socket holds one of the plan's dialogue sessions for its life, so there is none behind it by default."""
    async with memory_service(Behavior(dialogue_sessions=1)) as service:
        async with speaking(make_config(endpoint, spares=None), service.open_stream) as tts:
            for turn in range(5):
                assert await say(tts, f"{turn} {TEXTS['en']}") == f"{turn} {TEXTS['en']}"
            assert tts.connections.statistics().dials == 1


@pytest.mark.endpoints("text-to-dialogue")
@pytest.mark.parametrize("model_id", ["eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo"])
async def test_the_dialogue_models_speak_both_ways(
    autojump_clock: trio.testing.MockClock, endpoint: str, model_id: str
) -> None:
    async with (
        memory_service() as service,
        speaking(make_config(endpoint, model_id=model_id), service.open_stream) as tts,
    ):
        for text in TEXTS.values():
            assert await say(tts, text) == text
            async with tts.stream_static_text(text) as audio:
                assert heard(await listen(audio), tts.config) == text
