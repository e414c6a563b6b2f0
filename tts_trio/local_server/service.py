"""What all connections of one local server share: the behavior of the moment, the account, the voice, the record."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import trio

from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Behavior
from tts_trio.local_server.record import Record
from tts_trio.local_server.speech import Clip, Order, Voice, render
from tts_trio.local_server.weather import Weather

_CACHE_BYTES = 64 * 2**20
_WORKERS = 2


class Service:
    """Everything but the connections; `record` is called with everything that happens."""

    def __init__(self, behavior: Behavior, voice: Voice, record: Callable[[Record], object]) -> None:
        self.account = Account(behavior)
        self.weather = Weather(behavior.faults)
        self.record = record
        self._voice = voice
        self._workers = trio.CapacityLimiter(_WORKERS)
        self._cache: OrderedDict[Order, Clip] = OrderedDict()
        self._cached_bytes = 0

    @property
    def behavior(self) -> Behavior:
        """How the server behaves now; replacing it resets the counters of the faults."""
        return self.account.behavior

    @behavior.setter
    def behavior(self, behavior: Behavior) -> None:
        self.account.behavior = behavior
        self.weather = Weather(behavior.faults)

    async def speak(self, order: Order) -> Clip:
        """Speak an order, in a worker thread if the voice is blocking. Equal orders are spoken once and kept."""
        if order in self._cache and order.encoder is None:
            self._cache.move_to_end(order)
            return self._cache[order]
        if self._voice.blocking:
            clip = await trio.to_thread.run_sync(render, order, self._voice, limiter=self._workers)
        else:
            clip = render(order, self._voice)
        if order.encoder is None:
            self._keep(order, clip)
        return clip

    def _keep(self, order: Order, clip: Clip) -> None:
        if order not in self._cache:
            self._cache[order] = clip
            self._cached_bytes += _size(clip)
        while self._cached_bytes > _CACHE_BYTES:
            self._cached_bytes -= _size(self._cache.popitem(last=False)[1])


def _size(clip: Clip) -> int:
    return sum(len(piece.audio) for piece in clip.slices)
