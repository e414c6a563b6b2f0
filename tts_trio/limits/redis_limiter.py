"""The limiter of a fleet. Its slots are leases in Redis or Valkey, which expire when a process dies."""

from __future__ import annotations

import logging
import math
import random
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

import trio

from tts_trio._nurseries import asynccontextmanager
from tts_trio.config.protocols import Lease
from tts_trio.config.validators import TEXT, seconds
from tts_trio.limits.limiter import ConcurrencyLimiter, OnTimeout, check_limits, refused
from tts_trio.limits.redis_client import RedisClient

if TYPE_CHECKING:
    from coredis import Redis

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT = 0.25  # seconds: a caller waits
_POLL = 0.02  # seconds between two attempts of a process to get a slot; one utterance attempts at a time
_WAITS = 500  # milliseconds after an attempt in which its utterance counts as waiting

# Two sorted sets have the slots, and the utterances that wait for one. Their scores are the times of expiry, by the
# clock of the server.
_CLOCK = """
local clock = redis.call('time')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""

# KEYS: slots, waiting, size. ARGV: token, lease in ms, size or 0, 1 in the background, ms to count as waiting.
_ACQUIRE = (
    _CLOCK
    + """
local size = tonumber(ARGV[3])
if size == 0 then size = tonumber(redis.call('get', KEYS[3]) or '0') end
redis.call('zremrangebyscore', KEYS[1], '-inf', now)
redis.call('zremrangebyscore', KEYS[2], '-inf', now)
redis.call('zrem', KEYS[2], ARGV[1])
local background = ARGV[4] == '1'
local free = size == 0 or redis.call('zcard', KEYS[1]) < size
if free and not (background and redis.call('zcard', KEYS[2]) > 0) then
    redis.call('zadd', KEYS[1], now + ARGV[2], ARGV[1])
    redis.call('pexpire', KEYS[1], ARGV[2] * 2)
    return 1
end
if not background then
    redis.call('zadd', KEYS[2], now + ARGV[5], ARGV[1])
    redis.call('pexpire', KEYS[2], ARGV[5] * 2)
end
return 0
"""
)

# KEYS: slots. ARGV: lease in ms, tokens. Returns the tokens that had not expired; the others have lost their slots.
_RENEW = (
    _CLOCK
    + """
local renewed = {}
for index = 2, #ARGV do
    if tonumber(redis.call('zscore', KEYS[1], ARGV[index]) or '0') > now then
        redis.call('zadd', KEYS[1], now + ARGV[1], ARGV[index])
        renewed[#renewed + 1] = ARGV[index]
    end
end
if #renewed > 0 then redis.call('pexpire', KEYS[1], ARGV[1] * 2) end
return renewed
"""
)

# KEYS: slots, waiting. ARGV: tokens.
_RELEASE = "for index = 1, #KEYS do redis.call('zrem', KEYS[index], unpack(ARGV)) end return 0"


class RedisLimiter(RedisClient):
    """Bounds the utterances that all processes with one server and prefix generate at once. An async context manager.

        async with RedisLimiter("redis://redis.internal:6379/0", 10) as limiter:
            config = TTSConfig.from_env(limiter=limiter)
            ...  # every conversation of this process

    If Redis cannot be reached, utterances go on without a slot. A process that stood still for longer than its lease
    has lost its slots, and waits for new ones before it sends anything. The server must not evict keys
    (`maxmemory-policy noeviction`, the default), so it cannot be the server of a `RedisCache`.
    """

    def __init__(
        self,
        url: str,
        size: int | None = None,
        *,
        timeout: float = 5.0,
        on_timeout: OnTimeout = "raise",
        lease: float = 10.0,
        prefix: str = "tts_trio:",
    ) -> None:
        """Make a limiter. It connects to the server in the background when its block is entered.

        Args:
            url: `redis://[user:password@]host:port/database`, `rediss://` for TLS, or `unix:///path`.
            size: The number of slots of all processes, 1 to 1,000,000. None: the plan's concurrency, which the service
                tells to any of the processes; until then nothing is bounded.
            timeout: The longest wait for a slot, in seconds; `math.inf`: without end.
            on_timeout: What happens after the timeout. "raise": the utterance fails with a `ConcurrencyError`.
                "proceed": it goes on without a slot, and the service decides.
            lease: The seconds after which the slots of a process that died are free again; at least 0.1.
            prefix: The beginning of all keys. Accounts need different ones.

        Raises:
            ConfigurationError: A value is not allowed; the message names the argument and what is allowed.
        """
        check_limits(size, timeout, on_timeout)
        seconds(0.1).check("lease", lease)
        TEXT.check("prefix", prefix)
        super().__init__(url)
        self._size = size
        self._timeout = timeout
        self._on_timeout: OnTimeout = on_timeout
        self._lease = lease
        self._keys = [f"{prefix}{name}" for name in ("slots", "waiting", "size")]
        self._held: dict[str, Lease] = {}
        self._unreleased: list[str] = []
        # One utterance asks Redis at a time. One in the background asks beside it, so that it delays no caller's.
        self._turns = {background: ConcurrencyLimiter(1, timeout=math.inf) for background in (False, True)}
        self._well = True

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        async with super()._run():
            assert self._nursery is not None
            self._nursery.start_soon(self._renew)
            try:
                yield
            finally:
                with trio.move_on_after(_ANSWER_TIMEOUT, shield=True):  # so that others need not wait for the expiry
                    await self._release()

    def learn(self, size: int) -> None:
        """Tell all processes the plan's concurrency. A `size` that was given takes precedence."""
        if self._size is None and self._nursery is not None and self.is_open:
            self._nursery.start_soon(self._tell, size)

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[Lease]:
        """Wait for a slot, and hold it until the block ends. If Redis cannot be reached, go on without one.

        Args:
            background: Whether no caller waits for this audio (a prefetch). It then gets a slot after the utterances of
                all processes for which callers wait, and waits without a timeout.

        Raises:
            ConcurrencyError: No slot became free within `timeout`, and `on_timeout` is "raise".
            RuntimeError: The block of the limiter was left, was not entered, or was entered in another `trio.run`.
        """
        self._require_open()
        token, lease = secrets.token_hex(8), Lease(math.inf)
        try:
            with trio.move_on_after(math.inf if background else self._timeout) as scope:
                async with self._turns[background].slot():
                    while not await self._has(token, lease, background=background):  # noqa: ASYNC110 - polled
                        await trio.sleep(random.uniform(0.5, 1.5) * _POLL)  # noqa: S311 - no secret
            if scope.cancelled_caught and self._on_timeout == "raise":
                raise refused(self._timeout)
            yield lease
        finally:
            self._held.pop(token, None)
            self._unreleased.append(token)
            if self._nursery is not None:
                self._nursery.start_soon(self._release)

    async def _has(self, token: str, lease: Lease, *, background: bool) -> bool:
        """Try to get a slot; return whether the utterance may go on: it has one, or Redis cannot be reached."""
        asked = trio.current_time()
        arguments = [token, round(self._lease * 1000), self._size or 0, int(background), _WAITS]
        try:
            with trio.fail_after(_ANSWER_TIMEOUT):
                got = await self._ask(lambda client: client.eval(_ACQUIRE, keys=self._keys, args=arguments))
        except (OSError, trio.TooSlowError) as error:
            if isinstance(error, trio.TooSlowError):
                self._next_try = trio.current_time() + _ANSWER_TIMEOUT  # the utterances behind this one do not wait
            if self._well:
                logger.warning("Redis cannot be asked for slots, so utterances go on without one: %s", error)
            self._well = False
            return True
        self._well = True
        if got:
            lease.until = asked + self._lease
            self._held[token] = lease
        return bool(got)

    @trio.lowlevel.enable_ki_protection
    async def _release(self) -> None:
        tokens, self._unreleased = self._unreleased, []
        if tokens:  # slots of a failed command expire
            await self._try(lambda client: client.eval(_RELEASE, keys=self._keys[:2], args=tokens))

    @trio.lowlevel.enable_ki_protection
    async def _renew(self) -> None:
        while True:
            await trio.sleep(self._lease / 3)
            if held := dict(self._held):
                asked, arguments = trio.current_time(), [round(self._lease * 1000), *held]
                answer = await self._try(
                    lambda client, arguments=arguments: client.eval(_RENEW, keys=self._keys[:1], args=arguments)
                )
                if answer is not None:
                    renewed = cast("list[bytes]", answer)
                    for token, lease in held.items():
                        lease.until = asked + self._lease if token.encode() in renewed else -math.inf

    @trio.lowlevel.enable_ki_protection
    async def _tell(self, size: int) -> None:
        await self._try(lambda client: client.set(self._keys[2], max(1, size)))

    async def _try(self, command: Callable[[Redis[bytes]], Awaitable[T]]) -> T | None:
        """Run a command for which no caller waits; return None where it failed, or the block is being left."""
        if self.is_open:
            with suppress(OSError):
                return await self._ask(command)
        return None
