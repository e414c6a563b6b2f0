"""What happens on a socket that several utterances share: the trouble of one is not the others'."""

from __future__ import annotations

import attrs
import pytest
import trio

from tests.helpers import (
    ENGLISH,
    RUSSIAN,
    TEXTS,
    heard,
    hot_connection,
    listen,
    make_config,
    memory_service,
    sockets_of,
    speaking,
    text_of,
)
from tts_trio import (
    AuthenticationError,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, Fault, Sent
from tts_trio.speech.utterance import Utterance
from tts_trio.transport.hot_socket import HotSocket
from tts_trio.wire.events import AudioReceived, Final

pytestmark = pytest.mark.endpoints("multi-stream-input", "text-to-dialogue")

SLOW = 2.0  # times real time: long enough for something to happen in mid speech


@attrs.define
class Said:
    """What came of an utterance: the text that was heard, how often it was replayed, its error."""

    text: str = ""
    replays: int = 0
    error: TTSError | None = None


async def say(tts: TTSManager, text: str, into: Said) -> None:
    async with tts.speak([text]) as audio:
        sound = b""
        try:
            async for chunk in audio:
                sound += chunk
        except TTSError as error:
            into.error = error
        into.text = heard(sound, tts.config)
        into.replays = audio.usage.replays


async def interrupt(tts: TTSManager, text: str, seconds: float = 0.0) -> None:
    async with tts.start_llm_stream() as (channel, audio):
        await channel.send(text)
        await audio.receive()
        await trio.sleep(seconds)


def the_socket_in_use(tts: TTSManager) -> HotSocket:
    return next(socket for socket in sockets_of(tts.connections) if socket.slots.served)


async def test_a_complaint_about_what_has_ended_is_nobodys(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P6, P27."""
    async with memory_service(Behavior(speed=SLOW)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            await interrupt(tts, "Прервано. " + RUSSIAN)
            await trio.sleep(5)  # its final has come
            said = {text: Said() for text in TEXTS.values()}
            async with trio.open_nursery() as nursery:
                for text in said:
                    nursery.start_soon(say, tts, text, said[text])
                await trio.sleep(1)
                frame = '{"message":"late","error":"internal_error","code":1008,"contextId":"1"}'
                the_socket_in_use(tts).received(frame)
            assert said == {text: Said(text) for text in TEXTS.values()}
            assert tts.connections.statistics().losses == 0


async def test_a_complaint_about_one_utterance_is_its_own(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P27: it goes on over another socket, the other one over its own; and nothing is said of it any more."""
    faults = (Fault("context_error", "audio", frame=1, count=1, path="multi-stream-input"),)
    async with memory_service(Behavior(speed=0.7, faults=faults)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            said = {f"{text} {text}": Said() for text in TEXTS.values()}  # longer than a keep-alive's interval
            async with trio.open_nursery() as nursery:
                for text in said:
                    nursery.start_soon(say, tts, text, said[text])
            assert sorted(result.replays for result in said.values()) == [0, 1]
            for text, result in said.items():
                assert result.error is None
                assert result.text == text if not result.replays else result.text.endswith(text.split()[-1])
            assert len({r.connection for r in service.messages() if text_of(r.message).strip()}) == 2
            assert any(not text_of(r.message) for r in service.messages())


@pytest.mark.endpoints("multi-stream-input")
async def test_a_lost_slot_harms_nobody_who_still_speaks(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """P14: the socket gets no more turns, and ends when the last one on it does."""
    behavior = Behavior(speed=0.7, early_close="nothing")
    async with memory_service(behavior) as service, speaking(make_config(endpoint), service.open_stream) as tts:
        said = Said()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, tts, f"{RUSSIAN} {RUSSIAN}", said)
            await trio.sleep(1)
            socket = the_socket_in_use(tts)
            async with tts.start_llm_stream() as (channel, _audio):
                await channel.send(ENGLISH)
            await trio.sleep(11)
            assert (socket.slots.utterances, socket.usable) == (1, False)
        assert said == Said(f"{RUSSIAN} {RUSSIAN}")


async def test_a_holder_who_cannot_be_told_of_a_loss_harms_nobody(
    autojump_clock: trio.testing.MockClock, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_service(Behavior(speed=SLOW)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            said = Said()

            def broken(_error: TTSError) -> None:
                raise ZeroDivisionError

            async with trio.open_nursery() as nursery:
                connection = await acquire_connection(tts.connections)
                connection.take(lambda _: None, broken)
                nursery.start_soon(say, tts, RUSSIAN, said)
                await trio.sleep(1)
                for link in service.links:
                    await link.aclose()
            assert (said.replays, said.error) == (1, None)
            assert said.text.endswith(RUSSIAN.split()[-1])
    assert "could not be told" in caplog.text


async def test_a_complaint_about_the_socket_is_everybodys(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    async with memory_service(Behavior(speed=SLOW)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            said = {text: Said() for text in TEXTS.values()}
            async with trio.open_nursery() as nursery:
                for text in said:
                    nursery.start_soon(say, tts, text, said[text])
                await trio.sleep(1)
                the_socket_in_use(tts).received('{"message":"all","error":"internal_error","code":1008}')
            for text in said:
                assert (said[text].replays, said[text].error) == (1, None)
                assert said[text].text.endswith(text.split()[-1])
            assert tts.connections.statistics().losses == 1


async def test_a_context_that_stays_silent_goes_on_elsewhere_and_the_others_stay(
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
) -> None:
    """P27: its socket gets no more turns, and ends when the others on it have."""
    faults = (Fault("skip", "audio", frame=None, skip=1, count=1, path="multi-stream-input"),)
    async with memory_service(Behavior(speed=SLOW, faults=faults)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            said = {text: Said() for text in (ENGLISH + " " + ENGLISH, RUSSIAN)}
            first, silenced = said
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, tts, first, said[first])
                await trio.sleep(0.5)
                nursery.start_soon(say, tts, silenced, said[silenced])
                await trio.sleep(3)
                retiring = the_socket_in_use(tts)
                assert not retiring.usable
                assert retiring.slots.utterances == 1
            assert said[first] == Said(first)
            assert said[silenced] == Said(silenced, replays=1)
            await trio.sleep(1)
            assert retiring not in sockets_of(tts.connections)
            assert tts.connections.statistics().losses == 1


@pytest.mark.endpoints("stream-input", "multi-stream-input", "text-to-dialogue")
async def test_an_exception_in_one_utterance_is_its_own(
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P27: it fails that utterance, is logged, and never cancels the call."""
    receive = Utterance.receive

    def poisoned(utterance: Utterance, event: AudioReceived | Final, now: float) -> TTSError | None:
        if "Отрава" in utterance.segments.accepted:
            raise ZeroDivisionError
        return receive(utterance, event, now)

    monkeypatch.setattr(Utterance, "receive", poisoned)
    async with memory_service(Behavior(speed=SLOW)) as service:
        async with speaking(make_config(endpoint, max_replays=0), service.open_stream) as tts:
            said = {text: Said() for text in (*TEXTS.values(), "Отрава. И ещё одна фраза.")}
            async with trio.open_nursery() as nursery:
                for text in said:
                    nursery.start_soon(say, tts, text, said[text])
            assert [said[text] for text in TEXTS.values()] == [Said(text) for text in TEXTS.values()]
            failed = said["Отрава. И ещё одна фраза."].error
            assert isinstance(failed, TTSConnectionError)
            assert isinstance(failed.__cause__, ZeroDivisionError)
    assert "could not be taken" in caplog.text


async def test_what_an_interrupted_turn_still_says_holds_its_slot_and_loses_nothing(
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
) -> None:
    """P14: text-to-dialogue speaks the rest before it closes a context, and that may take long."""
    async with memory_service(Behavior(speed=0.7), dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            for turn in range(3):
                await interrupt(tts, f"{turn} {ENGLISH} {ENGLISH}", seconds=1)
                await trio.sleep(5)
            await trio.sleep(60)
            assert tts.connections.statistics().losses == 0
        assert service.errors() == []


@pytest.mark.endpoints("multi-stream-input")
async def test_a_turn_without_a_word_asks_the_service_nothing(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P3: an early barge-in, or a reply of signs that nobody can speak, takes no slot."""
    async with memory_service(Behavior(early_close="nothing")) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            for text in ("", "🙂", "...", " "):
                async with tts.start_llm_stream() as (channel, audio):
                    await channel.send(text)
                    if text:
                        channel.close()
                        assert await listen(audio) == b""
            await trio.sleep(30)
            assert [r.message for r in service.messages() if r.message != {"close_socket": True}] == []
            assert tts.connections.statistics().losses == 0


async def test_a_connection_that_has_ended_writes_nothing(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P11: whatever its holder calls, and in whatever order."""
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(endpoint), open_stream=service.open_stream) as connections:
            hot = await hot_connection(connections)
            hot.keep_alive()
            connection = await acquire_connection(connections)
            events: list[object] = []
            connection.take(events.append, events.append)
            connection.send_text("Да. ")
            connection.send_text(ends=True)
            connection.send_text(ends=True)
            connection.keep_alive()
            connection.send_text("Ещё. ")
            await trio.sleep(5)
            connection.keep_alive()
            connection.send_text(ends=True)
            connection.send_text("Ещё. ")
            connection.close()
            connection.close()
            await trio.sleep(1)
            assert [text_of(r.message) for r in service.messages() if text_of(r.message).strip()] == ["Да. "]
            assert connections.statistics().losses == 0
        assert service.errors() == []
        assert sum(bool(r.message.get("close_context")) for r in service.messages()) == 1


async def test_closing_what_was_not_taken_harms_no_utterance(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    async with memory_service(Behavior(speed=SLOW)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            said = Said()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, tts, RUSSIAN, said)
                await trio.sleep(1)
                offered = await hot_connection(tts.connections)
                offered.close()
                assert not offered.usable
                assert await hot_connection(tts.connections) is not offered
            assert said == Said(RUSSIAN)


async def test_a_spare_whose_dial_failed_is_dialed_again(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """P10: a failure that passes costs no standby for the rest of the call."""
    faults = (Fault("status", "answer", 503, skip=1, count=1, path="multi-stream-input"),)
    async with memory_service(Behavior(faults=faults), dial_time=0.3) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            await trio.sleep(5)
            assert tts.connections.statistics().hot == 2


@pytest.mark.endpoints("stream-input", "multi-stream-input", "text-to-dialogue")
async def test_a_bad_key_is_one_attempt_however_many_wait(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P26."""
    faults = (Fault("status", "answer", 401, path="stream-input"), Fault("status", "answer", 401))
    async with memory_service(Behavior(faults=faults), dial_time=0.3) as service:
        async with WebSocketConnectionManager(
            make_config(endpoint, spares=3), open_stream=service.open_stream
        ) as connections:
            refused: list[TTSError] = []

            async def connect() -> None:
                with pytest.raises(AuthenticationError) as caught:
                    await connections.connect()
                refused.append(caught.value)

            async with trio.open_nursery() as nursery:
                for _ in range(7):
                    nursery.start_soon(connect)
            assert len(refused) == 7
            await trio.sleep(60)
            assert connections.statistics().dials == 1


@pytest.mark.parametrize("idle_socket", ["lives", "error"])
async def test_old_sockets_are_closed_however_slowly_the_peer_says_goodbye(
    autojump_clock: trio.testing.MockClock, endpoint: str, idle_socket: str
) -> None:
    """P11: after a busy minute the ones too many go, and each of the rest is replaced in time."""
    behavior = Behavior(idle_socket=idle_socket, faults=(Fault("delay", "close", 0.2),))
    async with memory_service(behavior, dial_time=0.05) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            await trio.sleep(1)
            async with trio.open_nursery() as nursery:
                for turn in range(6):
                    nursery.start_soon(interrupt, tts, f"{turn} {ENGLISH}", 0.1)
            for _ in range(50):
                await trio.sleep(19)
                assert max(socket.hot_for() for socket in sockets_of(tts.connections)) < 180
            statistics = tts.connections.statistics()
            assert (statistics.hot, statistics.losses) == (2, 0)
        assert service.errors() == []


async def test_a_socket_taken_while_it_is_being_replaced_is_replaced_later(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P11: and not left to the service to close."""
    replaced_after = 15 if endpoint == "text-to-dialogue" else 175
    async with memory_service(Behavior(idle_socket="error"), dial_time=1.0) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            for _ in range(4):
                opened = min(socket.hot_since for socket in sockets_of(tts.connections))
                await trio.sleep_until(max(trio.current_time(), opened) + replaced_after + 0.5)
                said = Said()
                await say(tts, RUSSIAN, said)
                assert said == Said(RUSSIAN)
            await trio.sleep(400)
            assert tts.connections.statistics().losses == 0
        assert service.errors() == []


async def test_after_a_barge_in_a_dead_socket_is_found_before_the_next_turn(
    autojump_clock: trio.testing.MockClock,
    endpoint: str,
) -> None:
    """P12: the next turn mostly comes within seconds, and over the same socket."""
    behavior = Behavior(speed=SLOW)
    async with memory_service(behavior) as service, speaking(make_config(endpoint), service.open_stream) as tts:
        await trio.sleep(1)
        async with tts.speak([RUSSIAN]) as audio:
            await audio.receive()
            await trio.sleep(2.5)
            for link in service.links:
                link.frozen = True
        await trio.sleep(3)
        async with tts.speak([RUSSIAN]) as audio:
            assert heard(await listen(audio), tts.config) == RUSSIAN
        timeline = audio.timeline
        assert timeline.first_received is not None
        assert timeline.first_received - timeline.started < 1


async def test_the_close_follows_the_audio_of_the_last_words(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P4: also in a turn of several phrases, whose earlier ones were heard long ago."""
    async with memory_service(Behavior(model_latency=0.3)) as service:
        async with speaking(make_config(endpoint), service.open_stream) as tts:
            async with tts.start_llm_stream() as (channel, audio):
                await channel.send("Сначала одно предложение. ")
                await trio.sleep(3)
                await channel.send("Потом другое.")
                channel.close()
                assert heard(await listen(audio), tts.config) == "Сначала одно предложение. Потом другое."
        last = max(r.time for r in service.messages() if text_of(r.message).strip())
        [closed] = [r.time for r in service.messages() if r.message.get("close_context")]
        voiced = [r.time for r in service.server.records if isinstance(r, Sent) and r.kind == "audio" and r.time > last]
        assert closed >= min(voiced) > last


@pytest.mark.endpoints("multi-stream-input")
async def test_the_clip_of_a_blank_is_no_audio(autojump_clock: trio.testing.MockClock, endpoint: str) -> None:
    """P4: the first frame's blank may be voiced, too, as silence, which is not what the close waits for."""
    behavior = Behavior(blank_in_auto_mode="silence", model_latency=0.3)
    async with memory_service(behavior) as service, speaking(make_config(endpoint), service.open_stream) as tts:
        said = Said()
        await say(tts, "Да.", said)
        assert said == Said("Да.")
        [closed] = [r.time for r in service.messages() if r.message.get("close_context")]
        voiced = min(
            r.time for r in service.server.records if isinstance(r, Sent) and r.kind == "audio" and r.text.strip()
        )
        assert closed >= voiced
