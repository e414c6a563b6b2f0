"""TLS sessions are resumed: the handshake of a connection to a server known already is a cheap one, and never fails."""

from __future__ import annotations

import ssl
import threading
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio

from tests.helpers import make_config
from tests.helpers.tls import HOST, client_context, listening, open_client, server_context
from tts_trio.transport import tls_stream
from tts_trio.transport.streams import open_stream
from tts_trio.transport.tls_stream import NotResumedError, _Sessions


@attrs.define
class Counting:
    """A server that answers all it is sent, and notes of each handshake whether a session was resumed."""

    context: ssl.SSLContext = attrs.field(factory=server_context)
    resumed: list[bool] = attrs.field(factory=list)
    refusals: int = 0
    """How many of the next connections are hung up on in the handshake."""

    async def serve(self, tcp: trio.SocketStream) -> None:
        """Handle a connection."""
        if self.refusals:
            self.refusals -= 1
            await tcp.receive_some()
            return
        stream = trio.SSLStream(tcp, self.context, server_side=True, https_compatible=True)
        try:
            await stream.do_handshake()
            self.resumed.append(stream.session_reused)
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)


async def say(stream: trio.abc.Stream, word: str = "да, yes") -> None:
    async with stream:
        await stream.send_all(word.encode())
        assert (await stream.receive_some()).decode() == word


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_server_counts_what_is_resumed(version: ssl.TLSVersion) -> None:
    """The second connection resumes what the first one got with its first data, as do two at once after it."""
    server, context = Counting(), client_context()
    server.context.minimum_version = server.context.maximum_version = version
    async with listening(server.serve) as port:
        await say(await open_client(port, context))
        await say(await open_client(port, context))
        first, second = await open_client(port, context), await open_client(port, context)
        assert first.socket.session_reused
        await say(first)
        await say(second)
    assert server.resumed == [False, True, True, True]


async def test_a_session_is_resumed_until_it_is_a_minute_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read the next one costs as much as half a handshake."""
    server, context = Counting(), client_context()
    clock = [0.0]
    monkeypatch.setattr(tls_stream, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    async with listening(server.serve) as port:
        key = (context, context.verify_mode, context.check_hostname, HOST, port)
        kept: list[Any] = []
        for clock[0] in (0.0, 30.0, 59.0, 61.0, 62.0):
            await say(await open_client(port, context))
            kept.append(tls_stream._sessions.get(key))
    assert [session is kept[0] for session in kept] == [True, True, True, False, False]
    assert kept[3] is kept[4]
    assert server.resumed == [False, True, True, True, True]


async def test_a_connection_that_heard_nothing_leaves_no_session() -> None:
    """In TLS 1.3 the server gives a session after the handshake: before it has, there is nothing to resume."""
    server, context = Counting(), client_context()
    async with listening(server.serve) as port:
        await (await open_client(port, context)).aclose()
        await say(await open_client(port, context))
    assert server.resumed == [False, False]


async def test_a_server_that_gives_no_tickets_leaves_no_session() -> None:
    server, context = Counting(), client_context()
    server.context.num_tickets = 0
    async with listening(server.serve) as port:
        await say(await open_client(port, context))
        key = (context, context.verify_mode, context.check_hostname, HOST, port)
        assert tls_stream._sessions.get(key) is None
        server.context.num_tickets = 2
        await say(await open_client(port, context))
        assert tls_stream._sessions.get(key) is not None


async def test_sessions_are_of_one_context_and_one_server() -> None:
    """A session is resumed without looking at certificates: who trusts others, or asked another, begins anew."""
    one, other = Counting(), Counting()
    careless = client_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    async with listening(one.serve) as port, listening(other.serve) as other_port:
        await say(await open_client(port, careless))
        careless.verify_mode = ssl.CERT_REQUIRED
        await say(await open_client(port, careless))
        await say(await open_client(other_port, careless))
        await say(await open_client(port, client_context()))
        await say(await open_client(port, careless))
    assert one.resumed == [False, False, False, True]
    assert other.resumed == [False]


async def test_a_server_that_knows_no_session_any_more() -> None:
    """It was started anew, and has other keys: the handshake is a whole one, and its session is resumed later."""
    server, context = Counting(), client_context()
    async with listening(server.serve) as port:
        await say(await open_client(port, context))
        server.context = server_context()
        await say(await open_client(port, context))
        await say(await open_client(port, context))
    assert server.resumed == [False, False, True]


async def test_a_server_that_chokes_on_a_session() -> None:
    """Then the session is forgotten, and the dial begins once more without it: it does not fail."""
    server = Counting()
    async with listening(server.serve) as port:
        config = make_config(base_url=f"https://{HOST}:{port}", ssl_context=client_context())
        await say(await open_stream(config))
        server.refusals = 1
        await say(await open_stream(config))
        server.refusals = 1
        with pytest.raises(trio.BrokenResourceError):  # it chokes on others too, and is not asked again
            await open_client(port, client_context())
    assert server.resumed == [False, False]


async def test_the_error_without_a_session_is_the_servers_own() -> None:
    server, context = Counting(), client_context()
    async with listening(server.serve) as port:
        await say(await open_client(port, context))
        server.refusals = 2
        for kind in (NotResumedError, trio.BrokenResourceError):
            with pytest.raises(trio.BrokenResourceError) as caught:
                await open_client(port, context)
            assert type(caught.value) is kind
            assert isinstance(caught.value.__cause__, OSError)


def test_few_are_remembered_and_threads_may_do_so_at_once() -> None:
    """Of each server the last one, of as many servers as were asked last."""
    sessions, context = _Sessions(), client_context()
    most = tls_stream._SERVERS

    def server(port: int) -> Any:
        return context, context.verify_mode, context.check_hostname, HOST, port

    def use(thread: int) -> None:
        for port in range(2000):
            session: Any = SimpleNamespace(of=(thread, port))
            sessions.keep(server(port % (2 * most)), session)
            sessions.get(server(port % most))
            sessions.forget(server(port % 7), session)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sessions._sessions) <= most
    old: Any
    new: Any
    old, new = SimpleNamespace(), SimpleNamespace()
    sessions.keep(server(1), old)
    sessions.keep(server(1), new)
    sessions.forget(server(1), old)
    assert sessions.get(server(1)) is new
    for port in range(2, most + 1):
        sessions.keep(server(port), new)
    sessions.keep(server(1), new)
    sessions.keep(server(0), new)
    assert [port for port in range(most + 1) if sessions.get(server(port)) is None] == [2]
