"""Hot sockets on MockClock: kept alive on the second, found half-open in time, replaced before they are missed."""

from __future__ import annotations

import math

import pytest
import trio

from tests.helpers import TEXTS, heard, hot_connection, listen, make_config, memory_service, sockets_of, speaking
from tests.helpers.socket_user import Owner
from tts_trio import TTSConnectionError, WebSocketConnectionManager
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, CloseSent, Fault, Received
from tts_trio.transport.hot_socket import HotSocket, SocketState
from tts_trio.wire import endpoint_for


async def test_keep_alives_leave_15_s_after_the_last_text_frame(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await connections.connect()
            began = trio.current_time()
            await trio.sleep(50)
            times = [time - began for time, text in service.texts()]
            assert [text for _, text in service.texts()] == [" ", " ", " ", " "]  # the init frame and three more
            assert times == pytest.approx([0, 15, 30, 45], abs=1e-6)
            assert connections.statistics().keep_alives == 3


async def test_keep_alive_counts_from_the_text_of_a_reply(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            connection = await acquire_connection(connections)
            await trio.sleep(10)
            connection.send_text("Да. ")
            await trio.sleep(16)
            texts = service.texts(0)
            assert [text for _, text in texts] == [" ", "Да. ", " "]
            assert texts[2][0] - texts[1][0] == pytest.approx(15, abs=1e-6)


async def test_a_lost_idle_socket_is_replaced_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await connections.connect()
            await trio.sleep(60)
            service.server.drop_connections()
            await trio.sleep(0.3 + 1e-3)
            before = trio.current_time()
            await acquire_connection(connections)
            assert trio.current_time() == before
            assert connections.statistics().losses == 1


async def test_a_half_open_idle_socket_is_found_by_ping(autojump_clock: trio.testing.MockClock) -> None:
    """P12: nothing is said by the peer any more, and TCP stays open."""
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            connection = await hot_connection(connections)
            await trio.sleep(3)
            service.freeze()
            await trio.sleep(15 - 3 - 0.01)
            assert connection.state == "hot"
            await trio.sleep(0.02)
            assert connection.state == "ended"
            assert "ping" in str(connection.error)
            assert (connections.statistics().losses, connections.statistics().hot) == (1, 1)


async def test_spares_are_retired_after_ten_minutes_and_never_missed(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            first = await hot_connection(connections)
            for _ in range(4 * 620):
                await trio.sleep(0.25)
                assert connections.statistics().hot >= 1
            assert first.state == "ended"
            assert connections.statistics().dials == 2
            assert connections.statistics().losses == 0


async def test_a_spare_that_was_taken_is_not_retired(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        config = make_config(spare_lifetime=60)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            old = await hot_connection(connections)
            await trio.sleep(60.01)  # its successor is being dialed
            assert connections.statistics().dialing == 1
            assert await acquire_connection(connections) is old
            await trio.sleep(5)
            assert old.state == "in use"


@pytest.mark.parametrize("language", TEXTS)
async def test_ten_minutes_of_silence_and_then_speech(autojump_clock: trio.testing.MockClock, language: str) -> None:
    """P10, P11: no dial on the way of the first text, keep-alives to the second, and no error, by both ways."""
    text = TEXTS[language]
    async with memory_service(dial_time=0.3) as service, speaking(make_config(), service.open_stream) as tts:
        opened = trio.current_time()
        await trio.sleep(599)  # an older connection is replaced (spare_lifetime), and this is no loss
        kept = [time - opened for time, said in service.texts(0) if said == " "]
        assert kept == pytest.approx([15 * n for n in range(40)], abs=1e-6)
        for silence in (0, 611):
            await trio.sleep(silence)
            began = trio.current_time()
            async with tts.speak([text]) as audio:
                assert heard(await listen(audio), tts.config) == text
                assert audio.timeline.first_sent == began
            await trio.sleep(5)
            sockets = range(len(service.sockets()))
            sent = [time for socket in sockets for time, said in service.texts(socket) if said.strip()]
            assert min(time for time in sent if time >= began) == began
            began, dials = trio.current_time(), service.dials
            async with tts.stream_static_text(text) as audio:
                await audio.receive()
                assert service.dials - dials <= 1  # the one behind it, which nobody waits for
                assert trio.current_time() - began < 0.1
        assert not [r for r in service.server.records if isinstance(r, CloseSent) and r.code != 1000]


async def test_a_half_open_socket_in_mid_speech_is_found_by_the_stall(autojump_clock: trio.testing.MockClock) -> None:
    """P12: the reply goes on over the next connection, three seconds later."""
    frozen = Behavior(faults=(Fault("freeze", "audio", frame=2, count=1),))
    async with memory_service(frozen) as service, speaking(make_config(), service.open_stream) as tts:
        longest, last, sound = 0.0, math.inf, b""
        async with tts.speak([TEXTS["ru"]]) as audio:
            async for chunk in audio:
                longest, last = max(longest, trio.current_time() - last), trio.current_time()
                sound += chunk
        assert heard(sound, tts.config) == TEXTS["ru"]
        assert 3 <= longest <= 3.5
        await trio.testing.wait_all_tasks_blocked()
        assert (await hot_connection(tts.connections)).usable


async def test_pings_go_both_ways_while_the_consumer_is_blocked(autojump_clock: trio.testing.MockClock) -> None:
    """P12, P23: the service's are answered, and ours are timed, though nobody takes the audio."""
    pinging = Behavior(ping_interval=7, ping_timeout=1)
    async with memory_service(pinging) as service, speaking(make_config(), service.open_stream) as tts:
        socket = service.sockets()[0]
        async with tts.start_llm_stream() as (text, audio):
            began = trio.current_time()
            await text.send(TEXTS["ru"] + " ")
            await trio.sleep(95)
            frames = [r for r in service.server.records if isinstance(r, Received) and r.connection == socket]
            assert sum(record.frame == "pong" for record in frames) == 13
            pings = [record.time - began for record in frames if record.frame == "ping" and record.time > began]
            assert 0 < pings[0] - 10 < 1  # ten seconds after the last audio
            assert pings == pytest.approx([pings[0] + 10 * n for n in range(9)], abs=1e-6)
            assert tts.connections.statistics().in_use == 1
            service.freeze()
            await trio.sleep(10.7)  # the next ping is 6 s away, and is waited for 5 s
            assert tts.connections.statistics().losses >= 1
            await text.send("Спасибо.")
            text.close()
            assert heard(await listen(audio), tts.config) == TEXTS["ru"] + " Спасибо."


def the_socket(connections: WebSocketConnectionManager, state: SocketState) -> HotSocket:
    [socket] = [socket for socket in sockets_of(connections) if socket.state is state]
    return socket


async def test_a_socket_of_one_utterance_retires_when_it_is_acquired(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await trio.sleep(0.1)
            socket = the_socket(connections, SocketState.DIALING)
            connection = await hot_connection(connections)
            assert socket.state is SocketState.HOT
            assert socket.slots.idle is connection
            assert await acquire_connection(connections) is connection
            assert (socket.state, socket.slots.idle, socket.slots.utterances) == (SocketState.RETIRING, None, 1)
            connection.close()
            assert (socket.state, socket.slots.utterances) == (SocketState.HOT, 0)  # no text was sent over it
            connection = await acquire_connection(connections)
            assert (socket.state, socket.slots.idle, socket.slots.utterances) == (SocketState.RETIRING, None, 1)
            connection.send_text("Да. ")
            connection.close()
            assert (socket.state, socket.error) == (SocketState.ENDING, None)


async def test_a_socket_of_many_utterances_retires_for_a_reason(autojump_clock: trio.testing.MockClock) -> None:
    """P27: it takes no more of them, and ends with the last of those that go on."""
    config, reason = make_config(endpoint="multi-stream-input"), TTSConnectionError("one of them is owed its sound")
    async with memory_service() as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            first, second = await acquire_connection(connections), await acquire_connection(connections)
            socket = sockets_of(connections)[0]
            assert (socket.state, socket.slots.utterances) == (SocketState.HOT, 2)
            first.abandon(reason)
            assert (socket.state, socket.slots.utterances, socket.usable) == (SocketState.RETIRING, 1, False)
            second.close()
            assert (socket.state, socket.error) == (SocketState.ENDING, reason)


async def test_a_socket_that_ages_serves_until_another_is_hot(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(spare_lifetime=60)
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await connections.connect()
            socket = the_socket(connections, SocketState.HOT)
            await trio.sleep(60.01)
            assert socket.state is SocketState.AGING
            assert socket.usable
            await trio.sleep(0.3)
            assert socket.state is SocketState.ENDING
            assert the_socket(connections, SocketState.HOT).usable


@pytest.mark.parametrize("state", SocketState, ids=lambda state: state.name)
async def test_an_aging_that_is_out_of_order_is_an_assertion(
    autojump_clock: trio.testing.MockClock, state: SocketState
) -> None:
    async with memory_service() as service:
        socket = HotSocket(
            endpoint_for(make_config()),
            service.open_stream,
            Owner(),
        )
        socket._state = state
        if state is SocketState.HOT:
            socket._go(SocketState.AGING)
            assert socket.state is SocketState.AGING
        else:
            with pytest.raises(AssertionError, match=r"-> SocketState\.AGING"):
                socket._go(SocketState.AGING)
            assert socket.state is state
