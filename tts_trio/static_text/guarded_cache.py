"""An audio cache that cannot hurt: whatever goes wrong with it counts as a miss."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from tts_trio._nurseries import asynccontextmanager, single_error
from tts_trio.config.protocols import AudioCache, DeletingAudioCache, SharedAudioCache
from tts_trio.config.validators import is_instance
from tts_trio.static_text.entry import ExpectedAudio, decode, encode
from tts_trio.wire.events import AudioReceived

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE = 1.0  # seconds, for what nobody on the line waits for
_LEASE = 0.3  # seconds, after which the claim of a process that died lapses; one that lives renews it
_POLL = 0.02  # seconds between two looks at what another process fetches


class GuardedCache:
    """A cache behind timeouts and checks: it never raises, and returns only what was stored.

    Attributes:
        cache: What is behind it.
    """

    def __init__(self, cache: AudioCache, timeout: float) -> None:
        """Use a cache.

        Args:
            cache: Any, trustworthy or not.
            timeout: The longest wait for what is asked of it while somebody waits for the audio, in seconds.
        """
        self.cache = cache
        self._shared = cache if is_instance(cache, SharedAudioCache) else None
        self._timeout = timeout
        self._well = True

    async def get(self, wanted: ExpectedAudio) -> tuple[AudioReceived, ...] | None:
        """Return the pieces of the whole audio, or None."""
        return await self._get(wanted, self._timeout)

    async def holds(self, wanted: ExpectedAudio) -> bool:
        """Whether the whole audio is there; for those who are in no hurry."""
        return await self._get(wanted, _PATIENCE) is not None

    async def _get(self, wanted: ExpectedAudio, timeout: float) -> tuple[AudioReceived, ...] | None:  # noqa: ASYNC109 - of a cache's
        stored = await self._guard(timeout, None, self.cache.get, wanted.key)
        if stored is None:
            return None
        try:
            pieces = decode(wanted.key, stored)
            wanted.check(pieces)
        except Exception as error:  # noqa: BLE001 - a cache may be anybody's, and give anything
            logger.warning("an entry of %r is not what was stored, so the service is asked: %s", self.cache, error)
            if is_instance(self.cache, DeletingAudioCache):
                await self._guard(timeout, None, self.cache.delete, wanted.key)
            return None
        return pieces

    async def put(self, wanted: ExpectedAudio, pieces: Sequence[AudioReceived]) -> None:
        """Store the audio, if it is whole."""
        try:
            wanted.check(pieces)
        except ValueError as error:
            logger.warning("an answer is not cached: %s", error)
            return
        await self._guard(_PATIENCE, None, self.cache.put, wanted.key, encode(wanted.key, pieces))

    async def claim(self, wanted: ExpectedAudio, patience: float) -> tuple[AudioReceived, ...] | None:
        """Agree with other processes on which of them asks for audio that is not there.

        Args:
            wanted: The audio.
            patience: Seconds to wait for another process that has claimed it.

        Returns:
            The audio, which another process has stored; None: this process is to ask the service.
        """
        if (cache := self._shared) is None or not self._well:
            return None
        with trio.move_on_after(patience):
            while not await self._guard(self._timeout, True, cache.claim, wanted.key, _LEASE):  # noqa: FBT003 - as if claimed
                await trio.sleep(_POLL)
                if (pieces := await self.get(wanted)) is not None:
                    return pieces
            return await self.get(wanted)  # it may have been stored between the two
        return None

    @asynccontextmanager
    async def claimed(self, wanted: ExpectedAudio) -> AsyncGenerator[None]:
        """Keep the claim for as long as the block runs, and take it back."""
        if (cache := self._shared) is None:
            yield
            return

        @trio.lowlevel.enable_ki_protection
        async def renew() -> None:
            while True:
                await trio.sleep(_LEASE / 3)
                await self._guard(_PATIENCE, True, cache.claim, wanted.key, _LEASE)  # noqa: FBT003 - as if claimed

        try:
            with single_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(renew)
                    yield
                    nursery.cancel_scope.cancel(reason="the audio is stored")
        finally:
            with trio.CancelScope(shield=True):
                await self._guard(_PATIENCE, None, cache.release, wanted.key)

    async def _guard(self, timeout: float, failed: T, use: Callable[..., Awaitable[T]], *arguments: object) -> T:  # noqa: ASYNC109 - of a cache's
        """Use the cache, or give `failed` where it is slow or broken, with one warning for each time it gets so."""
        try:
            with trio.move_on_after(timeout):
                result = await use(*arguments)
                self._well = True
                return result
            self._complain(f"nothing within {timeout * 1000:g} ms")
        except Exception as error:  # noqa: BLE001 - a cache may be anybody's
            self._complain(f"{type(error).__name__}: {error}")
        return failed

    def _complain(self, what: str) -> None:
        log = logger.warning if self._well else logger.debug
        log("%r is of no use now, so the service is asked: %s", self.cache, what)
        self._well = False
