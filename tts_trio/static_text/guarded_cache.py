"""Guards against a cache that is slow, broken or wrong: each of its failures counts as a miss."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TypeVar

import trio

from tts_trio._nurseries import asynccontextmanager, single_error
from tts_trio.config.protocols import AudioCache, DeletingAudioCache, SharedAudioCache
from tts_trio.config.validators import is_instance
from tts_trio.static_text.entry import ExpectedAudio, decode, encode
from tts_trio.static_text.memory_cache import MemoryCache, get_nowait
from tts_trio.wire.events import AudioReceived

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE = 1.0  # seconds to wait for the cache where no caller waits
_LEASE = 0.3  # seconds after which a claim expires unless its process renews it
_POLL = 0.02  # seconds between two checks whether another process has stored the audio


class GuardedCache:
    """A cache with timeouts and checks around it. It never raises, and returns only what was stored.

    Attributes:
        cache: The cache itself.
    """

    def __init__(self, cache: AudioCache, timeout: float) -> None:
        """Guard a cache.

        Args:
            cache: Any cache, one of the user's own too.
            timeout: The longest wait for the cache while a caller waits for the audio, in seconds.
        """
        self.cache = cache
        self._shared = cache if is_instance(cache, SharedAudioCache) else None
        self._timeout = timeout
        self._well = True

    async def get(self, wanted: ExpectedAudio) -> tuple[AudioReceived, ...] | None:
        """Return the pieces of the audio, or None."""
        return await self._get(wanted, self._timeout)

    async def holds(self, wanted: ExpectedAudio) -> bool:
        """Whether the cache has the audio. It waits for the cache longer than `get` does."""
        return await self._get(wanted, _PATIENCE) is not None

    async def _get(self, wanted: ExpectedAudio, timeout: float) -> tuple[AudioReceived, ...] | None:  # noqa: ASYNC109 - of a cache's
        if type(self.cache) is MemoryCache:  # which neither waits nor fails; one derived from it may
            stored = get_nowait(self.cache, wanted.key)
        else:
            stored = await self._guard(timeout, None, self.cache.get, wanted.key)
        if stored is None:
            return None
        try:
            pieces = decode(wanted.key, stored)
            wanted.check(pieces)
        except Exception as error:  # noqa: BLE001 - a cache of a user's may return anything
            logger.warning("an entry of %r is damaged, so the service is asked: %s", self.cache, error)
            if is_instance(self.cache, DeletingAudioCache):
                await self._guard(timeout, None, self.cache.delete, wanted.key)
            return None
        return pieces

    async def put(self, wanted: ExpectedAudio, pieces: Sequence[AudioReceived]) -> None:
        """Store the audio, if it can be the whole audio of its text."""
        try:
            wanted.check(pieces)
        except ValueError as error:
            logger.warning("an answer is not cached: %s", error)
            return
        await self._guard(_PATIENCE, None, self.cache.put, wanted.key, encode(wanted.key, pieces))

    async def claim(self, wanted: ExpectedAudio, patience: float) -> tuple[AudioReceived, ...] | None:
        """Claim audio that the cache does not have, so that only this process requests it from the service.

        Args:
            wanted: The audio.
            patience: The seconds to wait for another process that has claimed it.

        Returns:
            The audio, if another process has stored it meanwhile; None: this process has to request it.
        """
        if (cache := self._shared) is None or not self._well:
            return None
        with trio.move_on_after(patience):
            while not await self._guard(self._timeout, True, cache.claim, wanted.key, _LEASE):  # noqa: FBT003 - as if claimed
                await trio.sleep(_POLL)
                if (pieces := await self.get(wanted)) is not None:
                    return pieces
            return await self.get(wanted)  # another process may have stored it just before the claim
        return None

    def claimed(self, wanted: ExpectedAudio) -> AbstractAsyncContextManager[None]:
        """Renew the claim until the block ends, and then release it."""
        return nullcontext() if self._shared is None else self._claimed(self._shared, wanted)

    @asynccontextmanager
    async def _claimed(self, cache: SharedAudioCache, wanted: ExpectedAudio) -> AsyncGenerator[None]:
        @trio.lowlevel.enable_ki_protection
        async def renew() -> None:
            while True:
                await trio.sleep(_LEASE / 3)
                await self._guard(_PATIENCE, True, cache.claim, wanted.key, _LEASE)  # noqa: FBT003 - as if claimed

        try:
            with single_error:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(renew)
                    yield
                    nursery.cancel_scope.cancel(reason="the audio is stored")
        finally:
            with trio.CancelScope(shield=True):
                await self._guard(_PATIENCE, None, cache.release, wanted.key)

    async def _guard(self, timeout: float, failed: T, use: Callable[..., Awaitable[T]], *arguments: object) -> T:  # noqa: ASYNC109 - of a cache's
        """Call a method of the cache; return `failed` where it is slow or raises.

        The first failure after a success is logged as a warning.
        """
        try:
            with trio.move_on_after(timeout):
                result = await use(*arguments)
                self._well = True
                return result
            self._complain(f"no answer within {timeout * 1000:g} ms")
        except Exception as error:  # noqa: BLE001 - a cache of a user's may raise anything
            self._complain(f"{type(error).__name__}: {error}")
        return failed

    def _complain(self, what: str) -> None:
        log = logger.warning if self._well else logger.debug
        log("the cache %r fails, so the service is asked: %s", self.cache, what)
        self._well = False
