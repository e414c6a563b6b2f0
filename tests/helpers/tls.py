"""TLS of servers at 127.0.0.1: an authority of our own, contexts, and a client with `trio.SSLStream` as its peer."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import attrs
import trio
import trustme

from tts_trio._nurseries import single_error
from tts_trio.transport.tls_stream import TLSStream

HOST = "127.0.0.1"
ServerStream: TypeAlias = "trio.SSLStream[trio.SocketStream]"


@attrs.frozen
class Certificates:
    """An authority that nobody else knows, and what trusts it.

    Attributes:
        authority: The authority.
        server: The server's context, with a certificate of the authority.
        client: The client's context, which trusts the authority and no other.
    """

    authority: trustme.CA
    server: ssl.SSLContext
    client: ssl.SSLContext


@functools.cache
def certificates() -> Certificates:
    """Return the same ones in the whole process: to make them takes longer than most tests do."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return Certificates(authority, server, client)


def server_context() -> ssl.SSLContext:
    """A new one, which knows nothing of the sessions of another."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificates().authority.issue_cert(HOST).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """A new one, of which no session is remembered."""
    context = ssl.create_default_context()
    certificates().authority.configure_trust(context)
    return context


@asynccontextmanager
async def listening(handler: Callable[[trio.SocketStream], Awaitable[object]]) -> AsyncGenerator[int]:
    """A port at which each connection is handled, and closed then."""
    with single_error:
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host=HOST)
            nursery.start_soon(trio.serve_listeners, handler, [listener])
            yield listener.socket.getsockname()[1]
            nursery.cancel_scope.cancel()


async def open_client(port: int, context: ssl.SSLContext | None = None, tcp_port: int | None = None) -> TLSStream:
    """A client's stream; its TCP connection may lead to another port, where somebody passes it on."""
    tcp = await trio.open_tcp_stream(HOST, tcp_port or port)
    return await TLSStream.open(tcp, context or client_context(), HOST, port)


async def accept(tcp: trio.SocketStream, context: ssl.SSLContext, *, https_compatible: bool = True) -> ServerStream:
    """The server's end of a connection, after the handshake."""
    stream = trio.SSLStream(tcp, context, server_side=True, https_compatible=https_compatible)
    await stream.do_handshake()
    return stream


@asynccontextmanager
async def connected(
    context: ssl.SSLContext | None = None, *, https_compatible: bool = True
) -> AsyncGenerator[tuple[TLSStream, ServerStream]]:
    """A client's stream and the server's end of it, after the handshake; both are closed at last."""
    given, taken = trio.open_memory_channel[ServerStream](0)
    done = trio.Event()

    async def serve(tcp: trio.SocketStream) -> None:
        await given.send(await accept(tcp, context or server_context(), https_compatible=https_compatible))
        await done.wait()

    with trio.fail_after(20):
        async with listening(serve) as port:
            client = await open_client(port)
            server = await taken.receive()
            try:
                yield client, server
            finally:
                done.set()
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(client)
                    await trio.aclose_forcefully(server)
