"""An audio cache in Redis or Valkey, for the processes of a fleet."""

from __future__ import annotations

import secrets

from tts_trio.config.protocols import CacheStatistics
from tts_trio.config.validators import TEXT, seconds
from tts_trio.limits.redis_client import RedisClient

_MONTH = 30 * 24 * 3600
_TEN_YEARS = 10 * 365 * 24 * 3600
_KEY_CHARACTERS = 64

# Claims a key, or extends the claim, unless another process has claimed it. ARGV: token, milliseconds. A claim without
# an expiry, or with a later one than this library sets, does not count.
_CLAIM = """
local owner = redis.call('get', KEYS[1])
local left = redis.call('pttl', KEYS[1])
if owner and owner ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[2]) then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# Deletes a claim, unless it is another process's by now.
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisCache(RedisClient):
    """Keeps audio in Redis 6.2 or Valkey, for as long as it is used. An async context manager.

        async with RedisCache("redis://cache.internal:6379/0") as cache:
            config = TTSConfig.from_env(audio_cache=cache)
            ...  # every conversation of this process

    If no process has the audio of a text, a short lock in Redis lets one of them request it from the service. Give the
    Redis server a `maxmemory` and the `maxmemory-policy allkeys-lru`. If the server is full, hangs or is gone, the
    audio is requested from the service.
    """

    def __init__(self, url: str, *, prefix: str = "tts_trio:", lifetime: float = _MONTH) -> None:
        """Make a cache. It connects to the server in the background when its block is entered.

        Args:
            url: `redis://[user:password@]host:port/database`, `rediss://` for TLS, or `unix:///path`.
            prefix: The beginning of all keys. Accounts that must not share their audio need different ones.
            lifetime: The seconds after which an unused entry is deleted, 1 to 315,360,000 (ten years).

        Raises:
            ConfigurationError: A value is not allowed; the message names the argument and what is allowed.
        """
        super().__init__(url)
        TEXT.check("prefix", prefix)
        seconds(1, _TEN_YEARS).check("lifetime", lifetime)
        self._prefix = prefix
        self._lifetime = round(lifetime)
        self._token = secrets.token_hex(8)

    async def get(self, key: str) -> bytes | None:
        """Return the value stored under the key, or None.

        Raises:
            OSError: Redis cannot be reached, could not be reached a moment ago, or refuses the command.
            RuntimeError: The block was left, or was not entered.
        """
        return await self._ask(lambda client: client.getex(self._prefix + key, ex=self._lifetime))

    async def put(self, key: str, value: bytes) -> None:
        """Store a value under the key; it raises what `get` does."""
        await self._ask(lambda client: client.set(self._prefix + key, value, ex=self._lifetime))

    async def delete(self, key: str) -> None:
        """Delete the value stored under the key, if there is one; it raises what `get` does."""
        await self._ask(lambda client: client.unlink([self._prefix + key]))

    async def claim(self, key: str, seconds: float) -> bool:
        """Claim a key for so many seconds, or extend the claim; return False where another process has claimed it.

        It raises what `get` does.
        """
        arguments = [self._token, max(1, round(seconds * 1000))]
        return bool(await self._ask(lambda client: client.eval(_CLAIM, keys=[self._claim(key)], args=arguments)))

    async def release(self, key: str) -> None:
        """Give up this cache's claim of a key; it raises what `get` does."""
        await self._ask(lambda client: client.eval(_RELEASE, keys=[self._claim(key)], args=[self._token]))

    async def statistics(self) -> CacheStatistics:
        """Return how much the cache holds, with a command for each entry; it raises what `get` does."""
        keys = await self._keys()
        sizes = [await self._ask(lambda client, key=key: client.strlen(key)) for key in keys]
        return CacheStatistics(len(keys), sum(sizes))

    async def clear(self) -> None:
        """Delete all entries of this prefix; it raises what `get` does."""
        for key in await self._keys():
            await self._ask(lambda client, key=key: client.unlink([key]))

    async def _keys(self) -> list[bytes]:
        """Return the keys of all entries."""
        prefix = self._prefix.encode()
        cursor, keys = 0, set[bytes]()
        while True:
            cursor, found = await self._ask(lambda client, cursor=cursor: client.scan(cursor, count=1000))
            keys |= {key for key in found if key.startswith(prefix) and len(key) == len(prefix) + _KEY_CHARACTERS}
            if not cursor:
                return sorted(keys)

    def _claim(self, key: str) -> str:
        return f"{self._prefix}claim:{key}"
