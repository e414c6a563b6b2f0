"""TCP connections; the address that a dial has reached serves the next dials to the same host, for a few seconds."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, TypeAlias

import trio

from tts_trio._nurseries import of_this_run

_REMEMBERED = 10.0  # seconds, as in aiohttp: a service moves by its DNS, and a process must not stay behind
_PATIENCE = 0.25  # seconds until another address is tried, as in `trio.open_tcp_stream` (RFC 8305)

Reached: TypeAlias = dict[tuple[str, int], tuple[socket.AddressFamily, Any, float]]
"""By host and port: the family and the address that were reached, and until when they are used again."""

_reached: trio.lowlevel.RunVar[Reached] = trio.lowlevel.RunVar("tts_trio addresses")


async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
    """Do what `trio.open_tcp_stream` does, but go straight to the address that it reached in the last ten seconds.

    A call dials three connections when it begins, and another one for each reply. To resolve the name takes a task
    switch to a thread each time, and to try one address after the other a nursery and a timer.

    Raises:
        OSError: The host is unknown, or none of its addresses can be reached.
    """
    reached = of_this_run(_reached, Reached)
    if (host, port) in reached:
        family, address, until = reached[host, port]
        if trio.current_time() < until:
            with trio.move_on_after(_PATIENCE), suppress(OSError):
                return await _connect(family, address)
        reached.pop((host, port), None)  # another dial may have done it meanwhile
    began = trio.current_time()
    stream = await trio.open_tcp_stream(host, port)
    now = trio.current_time()
    if now < began + _PATIENCE:
        with suppress(OSError):  # the peer has reset it already
            reached[host, port] = stream.socket.family, stream.socket.getpeername(), now + _REMEMBERED
    return stream


def forget_addresses() -> None:
    """Have the next dials resolve the names of their hosts."""
    of_this_run(_reached, Reached).clear()


async def _connect(family: socket.AddressFamily, address: Any) -> trio.SocketStream:
    connecting = trio.socket.socket(family)
    try:
        await connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return trio.SocketStream(connecting)
