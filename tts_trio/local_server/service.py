"""The state that all connections of one server share: the current behavior, its faults, the account and the voice."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable

import attrs
import trio

from tts_trio.local_server.account import Account
from tts_trio.local_server.behavior import Behavior, Fault, Point
from tts_trio.local_server.record import Record
from tts_trio.local_server.speech import Clip, Order, Voice, render

_CACHE_BYTES = 64 * 2**20
_WORKERS = 2


@attrs.define(eq=False)
class Scope:
    """A connection, a request or an utterance. Whether a fault strikes is decided once in a scope."""

    path: str = ""  # of the request; "": no request has come yet
    decisions: dict[Fault, bool] = attrs.field(factory=dict[Fault, bool], init=False)  # whether each fault strikes
    audio_messages: int = attrs.field(default=0, init=False)  # the number that have passed the point "audio"


class Service:
    """The part of a server that all its connections share. `record` is called with every record."""

    def __init__(self, behavior: Behavior, voice: Voice, record: Callable[[Record], object]) -> None:
        self.account = Account(behavior)
        self.record = record
        self.behave(behavior)
        self._voice = voice
        self._workers = trio.CapacityLimiter(_WORKERS)
        self._cache: OrderedDict[Order, Clip] = OrderedDict()
        self._cached_bytes = 0

    def behave(self, behavior: Behavior) -> None:
        """Replace the behavior, and reset the counters of the faults. Faults that are equal share a counter."""
        self.account.behave(behavior)
        self._passes = Counter[Fault]()
        self._draws = {fault: random.Random(fault.seed) for fault in behavior.faults}  # noqa: S311 - repeatable

    def strike(self, point: Point, scope: Scope) -> list[Fault]:
        """Pass `point` in `scope`, and return the faults that strike there, in the order of `Behavior.faults`."""
        frame = scope.audio_messages
        scope.audio_messages += point == "audio"
        return [
            fault
            for fault in self.account.behavior.faults
            if fault.at == point
            and (not fault.path or f"/{scope.path}".endswith(f"/{fault.path.lstrip('/')}"))
            and (point != "audio" or fault.frame is None or fault.frame == frame)
            and self._strikes(fault, scope)
        ]

    def _strikes(self, fault: Fault, scope: Scope) -> bool:
        if fault not in scope.decisions:
            passes = self._passes[fault]
            self._passes[fault] += 1
            counted = passes >= fault.skip and (fault.count is None or passes < fault.skip + fault.count)
            scope.decisions[fault] = counted and self._draws[fault].random() < fault.probability
        return scope.decisions[fault]

    async def speak(self, order: Order) -> Clip:
        """Render an order, in a worker thread if the voice is blocking. Cache clips of orders without an encoder."""
        if order in self._cache and order.encoder is None:
            self._cache.move_to_end(order)
            return self._cache[order]
        if self._voice.blocking:
            clip = await trio.to_thread.run_sync(render, order, self._voice, limiter=self._workers)
        else:
            clip = render(order, self._voice)
        if order.encoder is None and order not in self._cache:
            self._cache[order] = clip
            self._cached_bytes += len(clip.audio)
            while self._cached_bytes > _CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1].audio)
        return clip
