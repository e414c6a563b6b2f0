"""A phrase cache that cannot hurt: whatever goes wrong with it, the phrase is not there."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from tts_trio.cache.entry import decode, encode
from tts_trio.cache.protocol import PhraseCache, SharedPhraseCache
from tts_trio.wire.events import AudioReceived

logger = logging.getLogger(__name__)

T = TypeVar("T")

_PATIENCE = 1.0  # seconds, for what nobody on the line waits for
_POLL = 0.02  # seconds between two looks at what another process fetches


class Shelf:
    """Where phrases are looked for first, and put last; bounded in time, and never raising.

    Attributes:
        cache: What is behind it.
    """

    def __init__(self, cache: PhraseCache, timeout: float) -> None:
        """Use a cache.

        Args:
            cache: Any, trustworthy or not.
            timeout: The longest wait for what is asked of it while somebody waits for the phrase, in seconds.
        """
        self.cache = cache
        self._shared = cache if isinstance(cache, SharedPhraseCache) else None
        self._timeout = timeout
        self._well = True

    async def get(self, key: str) -> tuple[AudioReceived, ...] | None:
        """Return the pieces of a whole phrase, or None."""
        return await self._get(key, self._timeout)

    async def holds(self, key: str) -> bool:
        """Whether a whole phrase is there; for those who are in no hurry."""
        return await self._get(key, _PATIENCE) is not None

    async def _get(self, key: str, timeout: float) -> tuple[AudioReceived, ...] | None:  # noqa: ASYNC109 - of a cache's
        stored = await self._guard(timeout, None, self.cache.get, key)
        if stored is None:
            return None
        try:
            return decode(key, stored)
        except Exception as error:  # noqa: BLE001 - a cache may be anybody's, and give anything
            logger.warning("a phrase in %r is not what was stored, so it is fetched anew: %s", self.cache, error)
            return None

    async def put(self, key: str, pieces: Sequence[AudioReceived]) -> None:
        """Store a whole phrase."""
        await self._guard(_PATIENCE, None, self.cache.put, key, encode(key, pieces))

    async def claim(self, key: str, patience: float) -> tuple[AudioReceived, ...] | None:
        """Agree with other processes on who asks for a phrase that is not there.

        Args:
            key: Of the phrase.
            patience: Seconds to wait for another process that has claimed it, and to claim it for.

        Returns:
            The phrase, which another process has stored; None: it is for this one to ask for it.
        """
        if (cache := self._shared) is None or not self._well:
            return None
        with trio.move_on_after(patience):
            while not await self._guard(self._timeout, True, cache.claim, key, patience):  # noqa: FBT003 - as if claimed
                await trio.sleep(_POLL)
                if (pieces := await self.get(key)) is not None:
                    return pieces
            return await self.get(key)  # it may have been stored between the two
        return None

    async def release(self, key: str) -> None:
        """Take back what was claimed."""
        if self._shared is not None:
            await self._guard(_PATIENCE, None, self._shared.release, key)

    async def _guard(self, timeout: float, failed: T, use: Callable[..., Awaitable[T]], *arguments: object) -> T:  # noqa: ASYNC109 - of a cache's
        """Use the cache, or give `failed` where it is slow or broken, with one warning for each time it gets so."""
        try:
            with trio.fail_after(timeout):
                result = await use(*arguments)
        except trio.TooSlowError:
            self._complain(f"nothing within {timeout * 1000:g} ms")
        except Exception as error:  # noqa: BLE001 - a cache may be anybody's
            self._complain(f"{type(error).__name__}: {error}")
        else:
            self._well = True
            return result
        return failed

    def _complain(self, what: str) -> None:
        log = logger.warning if self._well else logger.debug
        log("%r is of no use now, phrases are fetched: %s", self.cache, what)
        self._well = False
