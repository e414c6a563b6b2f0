"""A dial goes straight to the address that was reached a moment ago, and is never worse off for it."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from tts_trio.transport.dialing import DialBackoff
from tts_trio.transport.tcp import open_tcp_stream

HOST = "speech.test"


class Names(trio.abc.HostnameResolver):
    """The only name server: it knows one host, and counts how often it is asked.

    Attributes:
        port: Where the host is now, on the loopback.
        asked: How often its name was resolved.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        assert host.decode() == HOST
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def listening() -> AsyncGenerator[int]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield listener.socket.getsockname()[1]


async def reach() -> int:
    """Dial the host, and return the port that was reached."""
    async with await open_tcp_stream(HOST, 443) as stream:
        return stream.socket.getpeername()[1]


def resolve_to(port: int) -> Names:
    names = Names(port)
    trio.socket.set_custom_hostname_resolver(names)
    return names


async def test_a_host_that_was_just_reached_is_not_resolved_again(mock_clock: trio.testing.MockClock) -> None:
    async with listening() as port:
        names = resolve_to(port)
        for _ in range(3):
            assert await reach() == port
        assert names.asked == 1
        mock_clock.jump(9)
        assert await reach() == port
        assert names.asked == 1


async def test_a_host_is_resolved_again_after_ten_seconds_though_it_was_dialed_meanwhile(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with listening() as port, listening() as moved_to:
        names = resolve_to(port)
        await reach()
        mock_clock.jump(6)
        assert await reach() == port
        names.port = moved_to
        mock_clock.jump(6)
        assert await reach() == moved_to


async def test_an_address_that_refuses_is_forgotten_in_the_same_dial() -> None:
    async with listening() as moved_to:
        async with listening() as port:
            names = resolve_to(port)
            assert await reach() == port
        names.port = moved_to
        assert await reach() == moved_to
        assert await reach() == moved_to
        assert names.asked == 2


async def test_an_address_that_is_silent_delays_a_dial_by_a_quarter_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as port, listening() as moved_to:
        names = resolve_to(port)
        await reach()
        names.port = moved_to
        with trio.socket.socket() as any_socket:
            kind = type(any_socket)
        connect = kind.connect

        async def silent(self: Any, address: Any) -> None:
            if address[1] == port:
                await trio.sleep_forever()
            await connect(self, address)

        monkeypatch.setattr(kind, "connect", silent)
        began = trio.current_time()
        assert await reach() == moved_to
        assert 0.2 < trio.current_time() - began < 0.9
        assert await reach() == moved_to
        assert trio.current_time() - began < 0.9


async def test_an_address_that_answers_slowly_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each dial would wait for it in vain, and then begin again."""
    async with listening() as port:
        names = resolve_to(port)
        with trio.socket.socket() as any_socket:
            kind = type(any_socket)
        connect = kind.connect

        async def slow(self: Any, address: Any) -> None:
            await trio.sleep(0.3)
            await connect(self, address)

        monkeypatch.setattr(kind, "connect", slow)
        began = trio.current_time()
        for _ in range(2):
            await reach()
        assert trio.current_time() - began < 0.85
        assert names.asked == 2


async def test_an_address_whose_dial_failed_is_resolved_again() -> None:
    """It may accept TCP, and be dead above it: TLS and the upgrade fail there, time and again."""
    async with listening() as port, listening() as moved_to:
        names = resolve_to(port)
        await reach()
        names.port = moved_to
        assert await reach() == port
        DialBackoff().dial_failed()
        assert await reach() == moved_to


async def test_a_host_that_is_gone_raises_what_trio_raises() -> None:
    async with listening() as port:
        resolve_to(port)
        await reach()
    for _ in range(2):
        with pytest.raises(OSError, match=f"all attempts to connect to {HOST}:443 failed"):
            await open_tcp_stream(HOST, 443)


async def test_a_cancelled_dial_to_a_known_address_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[trio.socket.SocketType] = []
    make = trio.socket.socket

    def note(*args: Any) -> trio.socket.SocketType:
        made.append(make(*args))
        return made[-1]

    async with listening() as port:
        resolve_to(port)
        await reach()
        monkeypatch.setattr(trio.socket, "socket", note)
        with trio.CancelScope() as scope:
            scope.cancel()
            await open_tcp_stream(HOST, 443)
    assert scope.cancelled_caught
    assert [each.fileno() for each in made] == [-1]
