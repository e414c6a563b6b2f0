"""`tts_trio.transport.http` over real sockets, plain and TLS: cancelled at random, crossed by closes, refused."""

from __future__ import annotations

import gc
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing

from tests.helpers.tls import certificates
from tts_trio.config.config import TTSConfig
from tts_trio.errors import ConfigurationError, TTSConnectionError
from tts_trio.local_server import (
    Accepted,
    Behavior,
    Fault,
    LocalServer,
    Requested,
    ToneVoice,
    open_local_server,
    read_tones,
)
from tts_trio.transport.http import HttpConnections
from tts_trio.transport.streams import open_stream
from tts_trio.wire.http import stream_request

TEXTS = ["Good morning! How can I help?", "Доброе утро! Чем могу помочь?"]
AT_ONCE = 4
FAST = Behavior(model_latency=0.002, speed=400)
SLOW_DIAL = attrs.evolve(FAST, faults=(Fault("delay", "accept", 0.004),))  # so that dials are cancelled, too
OK = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: 4\r\n\r\nabcd"


@attrs.frozen
class Security:
    """Both sides' TLS, or neither's."""

    scheme: str
    server: ssl.SSLContext | None
    client: ssl.SSLContext | None

    @classmethod
    def tls(cls) -> Security:
        return cls("https", certificates().server, certificates().client)


@pytest.fixture(params=["http", "https"])
def security(request: pytest.FixtureRequest) -> Security:
    return Security("http", None, None) if request.param == "http" else Security.tls()


def make_config(base_url: str, **changes: Any) -> TTSConfig:
    return TTSConfig(api_key="sk_0123456789abcdef", voice_id="abc", base_url=base_url, **changes)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path of its own would be one more


async def settle(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - some of them are told of by nobody
            await trio.sleep(0.005)


async def hear(connections: HttpConnections, config: TTSConfig, text: str) -> str:
    async with connections.stream(stream_request(config, text)) as response:
        return read_tones(b"".join([piece async for piece in response]), "pcm_16000").strip()


def living(server: LocalServer) -> int:
    """How many connections are open at the server."""
    kinds = [type(record).__name__ for record in server.records]
    return kinds.count("Accepted") - kinds.count("Ended")


async def storm(turns: int, ask: Callable[[str], Awaitable[str]]) -> int:
    """Ask for some phrases at once, turn after turn; each second turn is cancelled at a random moment.

    Returns:
        How many turns were cut short.
    """
    seeded = random.Random(7)
    cut = 0

    async def hear(text: str) -> None:
        assert await ask(text) == text

    for _ in range(turns):
        patience = seeded.uniform(0, 0.012) if seeded.random() < 0.5 else 10
        with trio.move_on_after(patience) as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(hear, seeded.choice(TEXTS))
        cut += scope.cancelled_caught
        assert patience < 1 or not scope.cancelled_caught
    return cut


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
async def test_cancelled_at_random_moments_nothing_leaks_and_the_next_is_hot(
    security: Security, exhaustive: bool
) -> None:
    turns = (5000 if exhaustive else 300) // AT_ONCE
    async with open_local_server(SLOW_DIAL, voice=ToneVoice(), ssl_context=security.server) as server:
        config = make_config(server.base_url, ssl_context=security.client)
        await trio.testing.wait_all_tasks_blocked()  # it listens
        files, tasks = open_files(), trio.lowlevel.current_statistics().tasks_living
        async with HttpConnections(config) as connections:
            assert await storm(turns, partial(hear, connections, config)) > turns / 4
            await settle(lambda: living(server) in {1, 2} and "0 idle" not in repr(connections))
            accepted = sum(isinstance(record, Accepted) for record in server.records)
            assert await hear(connections, config, TEXTS[1]) == TEXTS[1]
            last = [record.connection for record in server.records if isinstance(record, Requested)][-1]
            assert last <= accepted  # it was open before the request
        await settle(lambda: living(server) == 0 and trio.lowlevel.current_statistics().tasks_living == tasks)
        assert open_files() == files
    gc.collect()


@pytest.mark.filterwarnings("ignore")  # of httpx's, about what it left open
@pytest.mark.xfail(strict=True, raises=AssertionError, reason="encode/httpcore#1093: cancelled dials keep their place")
def test_httpxs_own_pool_does_not_survive_it() -> None:
    """Why the pool is ours. More places than one would last longer, and no more."""
    survived = True

    async def main() -> None:
        nonlocal survived
        security = Security.tls()
        async with (
            open_local_server(SLOW_DIAL, voice=ToneVoice(), ssl_context=security.server) as server,
            httpx.AsyncClient(
                base_url=f"{server.base_url}/v1/text-to-speech/abc",
                verify=security.client,
                limits=httpx.Limits(max_connections=1),
                timeout=httpx.Timeout(5, pool=1),
                headers={"xi-api-key": "any"},
            ) as client,
        ):

            async def ask(text: str) -> str:
                async with client.stream("POST", "/stream?output_format=pcm_16000", json={"text": text}) as response:
                    return read_tones(b"".join([piece async for piece in response.aiter_raw()]), "pcm_16000").strip()

            try:
                await storm(300, ask)
            except* httpx.PoolTimeout:
                survived = False

    trio.run(main)
    gc.collect()
    assert survived


async def serve(
    nursery: trio.Nursery, security: Security, handler: Callable[[trio.abc.Stream, Any], Awaitable[None]]
) -> str:
    """Serve on a port of this machine; return the base URL."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            if security.server is None:
                await handler(stream, stream.socket)
            else:
                encrypted = trio.SSLStream(stream, security.server, server_side=True, https_compatible=True)
                await encrypted.do_handshake()
                await handler(encrypted, stream.socket)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
    return f"{security.scheme}://127.0.0.1:{listeners[0].socket.getsockname()[1]}"


async def test_a_hundred_requests_that_cross_an_idle_close(security: Security) -> None:
    crossed = answered = 0

    async def handler(stream: trio.abc.Stream, socket: Any) -> None:
        nonlocal crossed, answered
        data = b""
        while not data.endswith(b"}"):
            piece = await stream.receive_some()
            if not piece:
                return
            data += piece
        await stream.send_all(OK)
        answered += 1
        await trio.lowlevel.wait_readable(socket)
        crossed += 1  # the next request is here and is not read: the close that comes now might have come before

    async with trio.open_nursery() as nursery:
        config = make_config(await serve(nursery, security, handler), ssl_context=security.client)
        async with HttpConnections(config) as connections:
            for _ in range(101):
                async with connections.stream(stream_request(config, "hello")) as response:
                    assert b"".join([piece async for piece in response]) == b"abcd"
            assert crossed == 100
            assert answered == 101
        nursery.cancel_scope.cancel()


async def test_an_idle_close_is_seen_and_made_good_before_the_next_phrase(security: Security) -> None:
    async with open_local_server(FAST, voice=ToneVoice(), ssl_context=security.server) as server:
        config = make_config(server.base_url, ssl_context=security.client)
        dials = 0

        async def counting(config: TTSConfig) -> trio.abc.Stream:
            nonlocal dials
            dials += 1
            return await open_stream(config)

        async with HttpConnections(config, open_stream=counting) as connections:
            for expected in (1, 2):
                await settle(lambda: "1 idle" in repr(connections))
                await trio.sleep(0.05)  # TLS session tickets come unasked, and are no reason to replace it
                assert dials == expected
                server.drop_connections()
                await settle(lambda: dials > expected)  # noqa: B023 - called at once
            await settle(lambda: "1 idle" in repr(connections))
            assert await hear(connections, config, TEXTS[1]) == TEXTS[1]
            assert [record.connection for record in server.records if isinstance(record, Requested)] == [3]


async def test_a_certificate_that_is_not_trusted_is_named() -> None:
    async with open_local_server(FAST, voice=ToneVoice(), ssl_context=certificates().server) as server:
        config = make_config(server.base_url, ssl_context=ssl.create_default_context())
        async with HttpConnections(config) as connections:
            with pytest.raises(ConfigurationError, match="the certificate of 127"):
                await hear(connections, config, TEXTS[0])


async def test_a_port_where_nobody_listens_is_named() -> None:
    async with open_local_server(FAST, voice=ToneVoice()) as server:
        config = make_config(server.base_url)
        server.stop_accepting()
        async with HttpConnections(config) as connections:
            with pytest.raises(TTSConnectionError, match=config.base_url.removeprefix("http://")):
                await hear(connections, config, TEXTS[0])
            server.resume()
            assert await hear(connections, config, TEXTS[0]) == TEXTS[0]
