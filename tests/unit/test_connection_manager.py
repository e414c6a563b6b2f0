"""The connection manager on MockClock: dials ahead of need, refusals, backoff, and an end in bounded time."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio

from tests.helpers import API_KEY, TEXTS, listen, make_config, memory_service, sockets_of, text_of
from tts_trio import (
    AuthenticationError,
    ConfigurationError,
    PolicyError,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    VoiceSettings,
    WebSocketConnectionManager,
)
from tts_trio.connection_manager import acquire_connection
from tts_trio.local_server import Behavior, CloseReceived, Fault, Received, Requested


async def test_a_connection_is_hot_when_the_next_is_needed(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            began = trio.current_time()
            first = await acquire_connection(connections)
            assert trio.current_time() - began == pytest.approx(0.3)  # nothing was hot yet
            for _ in range(3):
                await trio.sleep(0.3)  # one dial
                before = trio.current_time()
                second = await acquire_connection(connections)
                assert second is not first
                assert trio.current_time() == before
                first.send_text("Да. ")
                first.close()
                first = second
            assert connections.statistics().hot == 0
            await trio.sleep(0.301)
            assert connections.statistics().hot == 1
            assert connections.statistics().dials == 5


async def test_a_connection_over_which_no_text_was_sent_is_used_again(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """An utterance was interrupted before it had any, or was said from memory: no socket is dialed in its place."""
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(make_config(endpoint), open_stream=service.open_stream) as connections:
            await acquire_connection(connections)
            await trio.sleep(1)
            dials = connections.statistics().dials
            for _ in range(10):
                connection = await acquire_connection(connections)
                await trio.sleep(0.5)
                connection.close()
                assert connections.statistics().in_use == 1
                assert connections.statistics().hot >= 1
            assert connections.statistics().dials <= dials + 1
            connection = await acquire_connection(connections)
            connection.send_text("Да. ")
            await trio.sleep(1)
            connection.close()
            assert "Да. " in map(text_of, [message.message for message in service.messages()])
        assert connections.statistics().losses == 0


async def test_a_lost_connection_is_not_used_again(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            for end in ("close", "abandon"):
                connection = await acquire_connection(connections)
                if end == "close":
                    service.freeze()
                    connection._socket.retire(TTSConnectionError("it is dead"))
                    connection.close()
                else:
                    connection.abandon(TTSConnectionError("it is dead"))
                assert not any(socket.usable for socket in sockets_of(connections))
                assert connections.statistics().hot == 0
                await trio.sleep(1)


async def test_a_given_back_connection_is_kept_alive_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """By when a frame was last sent for it, and not by when it was given back."""
    config = make_config(keep_alive_interval=10.0, inactivity_timeout=15)
    async with memory_service() as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await connections.connect()
            for _ in range(10):
                connection = await acquire_connection(connections)
                await trio.sleep(7)
                connection.close()
            assert connections.statistics().losses == 0
            sent = [message.time for message in service.messages()]
            assert len(sent) >= 6


async def test_those_who_wait_together_get_a_connection_each(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """P1: what another took, or what was lost, in the moment in which it became hot is waited for again."""
    async with memory_service(dial_time=0.3) as service:
        async with WebSocketConnectionManager(make_config(endpoint), open_stream=service.open_stream) as connections:
            taken: list[object] = []

            async def take() -> None:
                taken.append(await acquire_connection(connections))

            async with trio.open_nursery() as nursery:
                for _ in range(7):  # more than a socket has room for
                    nursery.start_soon(take)
            assert len(set(map(id, taken))) == 7


@pytest.mark.parametrize(("spares", "idle", "in_use"), [(0, 1, 0), (1, 1, 1), (3, 3, 3)])
async def test_spares(autojump_clock: trio.testing.MockClock, spares: int, idle: int, in_use: int) -> None:
    async with memory_service() as service:
        config = make_config(spares=spares)
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await trio.sleep(1)
            assert connections.statistics().hot == idle
            await acquire_connection(connections)
            await trio.sleep(1)
            assert (connections.statistics().hot, connections.statistics().in_use) == (in_use, 1)


async def test_a_silent_peer_delays_close_by_a_quarter_second(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await connections.connect()
            service.server.behavior = Behavior(faults=(Fault("freeze", "close"),))
            before = trio.current_time()
            await connections.close()
            assert trio.current_time() - before == pytest.approx(0.25)
            await connections.close()
            assert trio.current_time() - before == pytest.approx(0.25)


@pytest.mark.endpoints("stream-input", "multi-stream-input")
async def test_a_connection_is_released_however_its_block_ends(
    autojump_clock: trio.testing.MockClock, endpoint: str
) -> None:
    """There is no way to take one without a block, so none is leaked."""
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(endpoint), open_stream=service.open_stream) as connections:
            assert await connections.connect() is None  # type: ignore[func-returns-value]
            async with connections.get_connection() as connection:
                assert (connection.state, connections.statistics().in_use) == ("in use", 1)
            with pytest.raises(KeyError):
                async with connections.get_connection():
                    raise KeyError
            with pytest.raises(TypeError):
                await connections.get_connection()  # type: ignore[misc]
            assert connections.statistics().in_use == 0


async def test_close_ends_the_manager_and_not_the_block(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await connections.connect()
            await connections.close()
            await connections.close()
            await trio.sleep(1)  # the block goes on
            with pytest.raises(RuntimeError, match="closed"):
                await connections.connect()
            with pytest.raises(RuntimeError, match="closed"):
                async with connections.get_connection():
                    pass
            reached = True
        assert reached
        assert "closed" in repr(connections)


async def test_close_says_goodbye_on_idle_sockets_only(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            (await acquire_connection(connections)).send_text("Прервано. ")
            await connections.connect()
        await trio.testing.wait_all_tasks_blocked()
        closes = {
            record.connection: record.code for record in service.server.records if isinstance(record, CloseReceived)
        }
        assert closes == {1: 1000, 2: 1000}
        assert [text for _, text in service.texts(0)] == [" ", "Прервано. "]
        assert [text for _, text in service.texts(1)] == [" ", ""]


async def test_close_is_polite_under_outer_cancellation(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        with trio.move_on_after(1) as scope:
            async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
                await connections.connect()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert [record.code for record in service.server.records if isinstance(record, CloseReceived)] == [1000]


async def test_no_connection_is_an_error_at_the_deadline_and_the_next_call_tries_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with memory_service() as service:
        service.server.stop_accepting()
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            before = trio.current_time()
            with pytest.raises(TTSConnectionError, match="does not accept connections") as caught:
                await acquire_connection(connections)
            assert trio.current_time() - before == pytest.approx(5)
            assert caught.value.retryable
            service.server.resume()
            before = trio.current_time()
            await acquire_connection(connections)
            assert trio.current_time() == before  # an explicit call does not wait for a backoff


async def test_a_peer_that_never_answers_is_given_up_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(Behavior(faults=(Fault("freeze", "answer"),))) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            before = trio.current_time()
            with pytest.raises(TTSConnectionError, match="within 5 s"):
                await connections.connect()
            assert trio.current_time() - before == pytest.approx(5)
            service.server.behavior = Behavior()
            await connections.connect()


async def test_a_bad_key_is_one_attempt(autojump_clock: trio.testing.MockClock) -> None:
    """P26: the error frame after a good upgrade stops the dialing; the next explicit call tries once more."""
    async with memory_service(Behavior(api_keys=("another",))) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            for attempts in (1, 2):
                with pytest.raises(AuthenticationError, match=r"(?i)api key") as caught:
                    await acquire_connection(connections)
                assert caught.value.code == "invalid_api_key"
                assert not caught.value.retryable
                await trio.sleep(60)
                assert connections.statistics().dials == attempts
            assert API_KEY not in repr(caught.value) + str(caught.value)


async def test_a_refused_upgrade_is_typed(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        config = make_config(model_id="eleven_v9")
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            with pytest.raises(ConfigurationError, match="eleven_v9") as caught:
                await connections.connect()
            assert (caught.value.status, caught.value.code) == (400, "model_not_found")
            assert caught.value.trace_id


async def test_an_unknown_voice_is_raised_by_the_next_call(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(Behavior(voices=("other",))) as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:

            async def two_calls() -> None:  # the service may complain a moment after the connection is hot
                await connections.connect()
                await trio.sleep(1)
                await connections.connect()

            with pytest.raises(ConfigurationError, match="does not exist") as caught:
                await two_calls()
            assert caught.value.code == "voice_id_does_not_exist"


async def test_a_refusal_is_over_when_a_later_call_found_a_connection(autojump_clock: trio.testing.MockClock) -> None:
    """One reply that the service refuses is the trouble of that reply, and not of the turns after it."""
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            first = await acquire_connection(connections)
            told: list[TTSError] = []
            first.take(lambda _: None, told.append)
            await connections.connect()
            service.server.behavior = Behavior(
                faults=(Fault("error_frame", "audio", "content_against_policy", count=1),)
            )
            first.send_text("Нельзя. ")
            await trio.sleep(1)
            assert [type(error) for error in told] == [PolicyError]
            assert told[0].trace_id
            for _ in range(3):
                connection = await acquire_connection(connections)
                await trio.sleep(1)
                assert connections.statistics().hot == 1
                connection.close()


async def test_an_explicit_call_tries_at_once_whatever_the_backoff(autojump_clock: trio.testing.MockClock) -> None:
    config = make_config(timeouts=Timeouts(connect=0.2))
    async with memory_service() as service:
        service.server.stop_accepting()
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            await trio.sleep(60)  # the backoff has grown
            for _ in range(3):
                dials = service.dials
                with pytest.raises(TTSConnectionError):
                    await acquire_connection(connections)
                assert service.dials > dials
            service.server.resume()
            await acquire_connection(connections)


async def test_a_calm_connection_ends_the_backoff(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(dial_time=0.1) as service:
        service.server.stop_accepting()
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await trio.sleep(30)
            service.server.resume()
            await trio.sleep(300)
            (await acquire_connection(connections)).send_text("Да. ")
            await trio.sleep(0.11)
            assert connections.statistics().hot == 1  # replaced at once


async def test_a_thousand_failures(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        service.server.stop_accepting()
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await trio.sleep(4 * 1200)
            assert service.dials > 1050
            service.server.resume()
            await trio.sleep(5)
            assert connections.statistics().hot == 1


async def test_a_cancelled_block_closes_what_is_hot(autojump_clock: trio.testing.MockClock) -> None:
    """P8, P16: whichever of the manager's tasks hears of the cancellation first (trio draws lots), sockets close."""
    async with memory_service() as service:
        for _ in range(20):
            with trio.fail_after(1), trio.CancelScope() as scope:
                async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
                    await acquire_connection(connections)
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        closed = [r.connection for r in service.server.records if isinstance(r, CloseReceived)]
        assert len(set(closed)) >= 20


async def test_cancelled_while_entering(autojump_clock: trio.testing.MockClock) -> None:
    """P8: the dials that were begun end, and are not replaced by others for ever."""
    async with memory_service(dial_time=0.3) as service:
        connections = WebSocketConnectionManager(make_config(), open_stream=service.open_stream)
        with trio.CancelScope() as scope:
            scope.cancel()
            async with connections:
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert "closed" in repr(connections)
        assert connections.statistics().dials == 0


async def test_what_belongs_to_a_socket_never_changes(autojump_clock: trio.testing.MockClock) -> None:
    """P15: all sockets of a manager are dialed and begun alike, and no other voice gets hold of them."""
    config = make_config(language_code="ru", voice_settings=VoiceSettings(stability=0.3), seed=7)
    others: list[dict[str, Any]] = [
        {"api_key": "another"},
        {"voice_id": "another"},
        {"model_id": "eleven_turbo_v2_5"},
        {"language_code": "en"},
        {"output_format": "ulaw_8000"},
        {"voice_settings": VoiceSettings(stability=0.4)},
        {"seed": 8},
        {"auto_mode": False},
        {"sync_alignment": False},
        {"apply_text_normalization": "off"},
        {"enable_ssml_parsing": True},
        {"enable_logging": False},
        {"inactivity_timeout": 60},
        {"base_url": "http://127.0.0.2"},
    ]
    async with memory_service() as service:
        async with WebSocketConnectionManager(config, open_stream=service.open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                for text in TEXTS.values():
                    async with tts.speak([text]) as audio:
                        await listen(audio)
            for changes in others:
                with pytest.raises(ConfigurationError, match="differs") as caught:
                    TTSManager(config.evolve(**changes), connections)
                assert caught.value.field == next(iter(changes))
        upgrades = [r for r in service.server.records if isinstance(r, Requested) and r.method == "GET"]
        assert len(upgrades) >= 3
        assert len({(record.path, tuple(record.query.items())) for record in upgrades}) == 1
        received = [r for r in service.server.records if isinstance(r, Received) and r.frame == "text"]
        for upgrade in upgrades:
            first, *rest = (r.message for r in received if r.connection == upgrade.connection)
            assert first == {"text": " ", "voice_settings": {"stability": 0.3}}
            assert all(list(message) == ["text"] for message in rest)


async def test_use_outside_of_the_block() -> None:
    connections = WebSocketConnectionManager(make_config())
    with pytest.raises(RuntimeError, match="async with"):
        await connections.connect()
    assert "not entered" in repr(connections)


async def test_dials_of_a_process_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    at_once = most = 0

    async with memory_service() as service:

        async def slow(config: TTSConfig) -> trio.abc.Stream:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await trio.sleep(0.1)
            at_once -= 1
            return await service.open_stream(config)

        async def call() -> None:
            async with WebSocketConnectionManager(
                make_config(timeouts=Timeouts(connect=30)), open_stream=slow
            ) as connections:
                await connections.connect()

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(call)
    assert most == 16


async def test_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service() as service:
        async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
            await connections.connect()
        await trio.testing.wait_all_tasks_blocked()
        assert not service.nursery.child_tasks
        gc.collect()  # a ResourceWarning is an error


def test_requests_carry_the_key_in_a_header_only() -> None:
    async def main() -> None:
        async with memory_service() as service:
            async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
                await connections.connect()
            requests = [record for record in service.server.records if isinstance(record, Requested)]
            assert len(requests) == 1
            assert requests[0].headers["xi-api-key"] == API_KEY
            assert API_KEY not in str(requests[0].query) + requests[0].path
            assert requests[0].query["auto_mode"] == "true"
            assert requests[0].query["inactivity_timeout"] == "180"

    trio.run(main)


async def test_in_a_block_that_is_cancelled_dials_still_time_out(autojump_clock: trio.testing.MockClock) -> None:
    """P12: its body may go on in a shield, to say goodbye."""
    async with memory_service() as service:
        dials: list[float] = []

        async def open_stream(config: TTSConfig) -> trio.abc.Stream:
            dials.append(trio.current_time())
            if len(dials) == 1:
                await trio.sleep_forever()
            return await service.open_stream(config)

        with trio.CancelScope() as outer:
            async with WebSocketConnectionManager(make_config(), open_stream=open_stream) as connections:
                await trio.sleep(0.1)
                outer.cancel()
                with trio.CancelScope(shield=True):
                    await trio.sleep(6)
                    await connections.connect()
                    assert len(dials) == 2


async def test_in_a_block_that_is_cancelled_losses_are_counted(autojump_clock: trio.testing.MockClock) -> None:
    """P12: and the next dial waits, though the stream needs a checkpoint to be closed."""
    async with memory_service() as service:
        with trio.CancelScope() as outer:
            async with WebSocketConnectionManager(make_config(), open_stream=service.open_stream) as connections:
                await connections.connect()
                outer.cancel()
                with trio.CancelScope(shield=True):
                    service.server.drop_connections()
                    await trio.sleep(0.01)
                    assert connections.statistics().losses == 1
