"""A phrase cache in Redis or Valkey, for the processes of a fleet."""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast
from urllib.parse import urlsplit

import trio

from tts_trio.cache.protocol import CacheStatistics
from tts_trio.errors import ConfigurationError

if TYPE_CHECKING:
    from coredis import Redis

T = TypeVar("T")

_MONTH = 30 * 24 * 3600
_ANSWER_TIMEOUT = 1.0  # seconds; who waits for a phrase waits for a part of it only
_PAUSE = 1.0  # seconds without a try, after one that failed
_CONNECTIONS = 4
_KEY_CHARACTERS = 64

# Takes back a claim unless it is another's by now.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisCache:
    """Keeps phrases in Redis 6 or Valkey, for as long as they are used. An async context manager.

        async with RedisCache("redis://cache.internal:6379/0") as cache:
            config = TTSConfig.from_env(phrase_cache=cache)
            ...  # every conversation of this process

    A phrase that no process has is asked for by one of them: a short lock in Redis says which. Give the server a
    `maxmemory` and `maxmemory-policy allkeys-lru`; full, hung or gone it costs no phrase.
    """

    def __init__(self, url: str, *, prefix: str = "tts_trio:", lifetime: float = _MONTH) -> None:
        """Name the server; it is connected to when the block is entered, in the background.

        Args:
            url: `redis://[user:password@]host:port/database`, `rediss://` for TLS, or `unix://`.
            prefix: Of all keys. Accounts that are not to hear each other's phrases need one each.
            lifetime: Seconds after which a phrase that was not used is dropped.
        """
        self._url = url
        self._prefix = prefix
        self._lifetime = round(lifetime)
        self._token = secrets.token_hex(8)
        self._client: Redis[bytes] | None = None
        self._nursery: trio.Nursery | None = None
        self._next_try = -math.inf
        self._block: AbstractAsyncContextManager[None] | None = None

    def __repr__(self) -> str:
        return f"<RedisCache {urlsplit(self._url).hostname}, {'open' if self._client else 'closed'}>"

    async def __aenter__(self) -> Self:
        """Connect, in the background.

        Raises:
            ConfigurationError: coredis is not installed, or the URL is none.
        """
        self._block = self._run()
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Disconnect."""
        assert self._block is not None
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - nothing in it waits for a peer

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        try:
            import coredis  # an extra, and slow to import
            from coredis.retry import NoRetryPolicy
        except ImportError as error:
            raise ConfigurationError(
                f"RedisCache needs {error.name}; install it with: pip install 'tts_trio[redis]'"
            ) from None
        from tts_trio.transport import single_error  # which knows of the configuration, which knows of caches

        client = coredis.Redis.from_url(
            self._url,
            connect_timeout=_ANSWER_TIMEOUT,
            stream_timeout=_ANSWER_TIMEOUT,
            max_connections=_CONNECTIONS,
            retry_policy=NoRetryPolicy(),
            verify_version=False,
        )
        with single_error():
            async with client:
                with single_error():
                    async with trio.open_nursery() as nursery:
                        self._client, self._nursery = client, nursery
                        nursery.start_soon(self._perform, client.ping, _Answer[bytes]())  # for the first phrase
                        try:
                            yield
                        finally:
                            self._client = self._nursery = None
                            nursery.cancel_scope.cancel(reason="the RedisCache was left")

    async def get(self, key: str) -> bytes | None:
        """Return what was stored, or None.

        Raises:
            OSError: Redis cannot be reached, or was not a moment ago, or refuses.
            RuntimeError: The block was left, or not entered.
        """
        return await self._ask(lambda client: client.getex(self._prefix + key, ex=self._lifetime))

    async def put(self, key: str, value: bytes) -> None:
        """Store a phrase; raises as `get` does."""
        await self._ask(lambda client: client.set(self._prefix + key, value, ex=self._lifetime))

    async def claim(self, key: str, seconds: float) -> bool:
        """Claim a phrase for a short while; False: another process has claimed it. Raises as `get` does."""
        from coredis.tokens import PureToken

        claim, milliseconds = self._claim(key), max(1, round(seconds * 1000))
        return bool(
            await self._ask(lambda client: client.set(claim, self._token, condition=PureToken.NX, px=milliseconds))
        )

    async def release(self, key: str) -> None:
        """Take back a claim of this cache; raises as `get` does."""
        await self._ask(lambda client: client.eval(_RELEASE, keys=[self._claim(key)], args=[self._token]))

    async def statistics(self) -> CacheStatistics:
        """Tell what is in it, by looking at each phrase; raises as `get` does."""
        keys = await self._keys()
        sizes = [await self._ask(lambda client, key=key: client.strlen(key)) for key in keys]
        return CacheStatistics(len(keys), sum(sizes))

    async def clear(self) -> None:
        """Forget everything below the prefix; raises as `get` does."""
        for key in await self._keys():
            await self._ask(lambda client, key=key: client.unlink([key]))

    async def _keys(self) -> list[bytes]:
        """The keys of all phrases."""
        prefix = self._prefix.encode()
        cursor, keys = 0, set[bytes]()
        while True:
            cursor, found = await self._ask(lambda client, cursor=cursor: client.scan(cursor, count=1000))
            keys |= {key for key in found if key.startswith(prefix) and len(key) == len(prefix) + _KEY_CHARACTERS}
            if not cursor:
                return sorted(keys)

    def _claim(self, key: str) -> str:
        return f"{self._prefix}claim:{key}"

    async def _ask(self, command: Callable[[Redis[bytes]], Awaitable[T]]) -> T:
        """Have a command performed by a task of this cache's, out of reach of the caller's cancellation.

        coredis loses a place in its pool for good when it is cancelled while it connects.
        """
        if self._client is None or self._nursery is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")
        if trio.current_time() < self._next_try:
            raise OSError("Redis could not be reached a moment ago")
        answer = _Answer[T]()
        self._nursery.start_soon(self._perform, partial(command, self._client), answer)
        return await answer.get()

    async def _perform(self, command: Callable[[], Awaitable[T]], answer: _Answer[T]) -> None:
        from coredis.exceptions import ConnectionError as Unreachable
        from coredis.exceptions import RedisError

        try:
            answer.succeed(await command())
        except (Unreachable, TimeoutError, OSError) as error:
            answer.fail(OSError(str(error) or type(error).__name__))
            self._next_try = trio.current_time() + _PAUSE
            if self._client is not None:
                self._client.connection_pool.disconnect()  # else commands would queue up for a server that hangs
        except RedisError as error:
            answer.fail(OSError(f"Redis refuses: {error}"))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.fail(error)
        finally:
            answer.deliver()


class _Answer(Generic[T]):
    """What became of a command."""

    def __init__(self) -> None:
        self._come = trio.Event()
        self._value: T | None = None
        self._error: Exception | None = OSError("the RedisCache was left")

    def succeed(self, value: T) -> None:
        self._value, self._error = value, None

    def fail(self, error: Exception) -> None:
        self._error = error

    def deliver(self) -> None:
        """Let whoever waits have it, as it is."""
        self._come.set()

    async def get(self) -> T:
        await self._come.wait()
        if self._error is not None:
            raise self._error
        return cast("T", self._value)
