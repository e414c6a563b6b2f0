"""A client of a Redis or Valkey server. Its commands have short timeouts, and a cancellation does not reach them."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import trio

from tts_trio._nurseries import SingleUse, asynccontextmanager, current_run, single_error
from tts_trio.config.validators import Rule, split_url
from tts_trio.errors import ConfigurationError
from tts_trio.errors.redaction import hide, redact

if TYPE_CHECKING:
    from coredis import Redis

T = TypeVar("T")

_ANSWER_TIMEOUT = 1.0  # seconds; callers of a command wait less
_PAUSE = 1.0  # seconds after a failure in which no command is sent
_CONNECTIONS = 4

_SCHEMES = frozenset({"redis", "rediss"})
_DATABASE = re.compile(r"(/[0-9]{0,9})?")
_OPTIONS = {"db": re.compile(r"[0-9]{1,9}")} | {
    f"ssl_{name}": re.compile(values)
    for name, values in {
        "cert_reqs": "none|optional|required",
        "check_hostname": "true|false",
        "ca_certs": ".+",
        "certfile": ".+",
        "keyfile": ".+",
    }.items()
}
_URL = (
    "redis://host:port/database, rediss:// for TLS, or unix:///path; user:password@ may stand before the host, and the "
    f"only options are {', '.join(_OPTIONS)}"
)


class RedisClient(SingleUse):
    """A client that is connected while its block is open. An async context manager.

    The entry of the block raises a `ConfigurationError` if coredis is not installed, or if a file that the URL names
    (`ssl_...`) cannot be read.
    """

    def __init__(self, url: str) -> None:
        """Make a client. It connects to the server in the background when its block is entered.

        Args:
            url: `redis://[user:password@]host:port/database`, `rediss://` for TLS, or `unix:///path`.

        Raises:
            ConfigurationError: The URL is none of these, or has options other than `db` and `ssl_...`. The message does
                not repeat it, since it may contain a password.
        """
        Rule(_URL, _is_allowed, secret=True).check("url", url)
        self._url = url
        hide(self, unquote(urlsplit(url).password or ""))
        self._client: Redis[bytes] | None = None
        self._nursery: trio.Nursery | None = None
        self._run_of_block: trio.lowlevel.TrioToken | None = None
        self._next_try = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether the block was entered in this `trio.run`, and not left."""
        return self._client is not None and self._run_of_block is current_run()

    def __reduce__(self) -> tuple[Any, ...]:
        """Refuse to be pickled, since a connection belongs to one process.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"url: a {type(self).__name__} belongs to one process, so it cannot be pickled; make one in each process",
            field="url",
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {urlsplit(self._url).hostname}, {'open' if self._client else 'closed'}>"

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None]:
        try:
            import coredis  # an extra, and slow to import
            from coredis.retry import NoRetryPolicy
        except ImportError as error:
            raise ConfigurationError(
                f"{type(self).__name__} needs {error.name}; install it with: pip install 'tts_trio[redis]'"
            ) from None

        try:
            client = coredis.Redis.from_url(
                self._url,
                connect_timeout=_ANSWER_TIMEOUT,
                stream_timeout=_ANSWER_TIMEOUT,
                decode_components=True,
                max_connections=_CONNECTIONS,
                retry_policy=NoRetryPolicy(),
                verify_version=False,
            )
        except OSError as error:
            raise ConfigurationError(f"url: a file that it names cannot be read: {error}", field="url") from None
        with single_error:
            async with client:
                with single_error:
                    async with trio.open_nursery() as nursery:
                        self._client, self._nursery, self._run_of_block = client, nursery, current_run()
                        nursery.start_soon(self._perform, client.ping, _Answer[bytes]())  # for the first phrase
                        try:
                            yield
                        finally:
                            self._client = self._nursery = None
                            nursery.cancel_scope.cancel(reason="the block was left")

    async def _ask(self, command: Callable[[Redis[bytes]], Awaitable[T]]) -> T:
        """Run a command in a task of its own, which a cancellation of the caller does not reach.

        coredis loses a place in its pool for good when it is cancelled while it connects.
        """
        client, nursery = self._require_open()
        if trio.current_time() < self._next_try:
            raise OSError("Redis could not be reached a moment ago, so it is not asked")
        answer = _Answer[T]()
        nursery.start_soon(self._perform, partial(command, client), answer)
        return await answer.get()

    def _require_open(self) -> tuple[Redis[bytes], trio.Nursery]:
        if self._client is None or self._nursery is None:
            raise RuntimeError(f"{self!r}: use it inside of its `async with` block")
        if not self.is_open:
            raise RuntimeError(
                f"{self!r}: its block was entered in another trio.run (of another thread, or before a fork), which "
                "owns its connections; make one for each trio.run"
            )
        return self._client, self._nursery

    @trio.lowlevel.enable_ki_protection
    async def _perform(self, command: Callable[[], Awaitable[T]], answer: _Answer[T]) -> None:
        from coredis.exceptions import ConnectionError as Unreachable
        from coredis.exceptions import RedisError

        try:
            answer.succeed(await command())
        except (Unreachable, TimeoutError, OSError) as error:
            answer.fail(OSError(redact(str(error)) or type(error).__name__))
            self._next_try = trio.current_time() + _PAUSE
            if self._client is not None:
                self._client.connection_pool.disconnect()  # or commands would queue for a server that hangs
        except RedisError as error:
            answer.fail(OSError(f"Redis refuses: {redact(str(error))}"))
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is waited for
            answer.fail(error)
        finally:
            answer.deliver()


def _is_allowed(url: str) -> bool:
    if url.startswith("unix:///"):
        parts = split_url(url.replace("unix://", "redis://localhost", 1), _SCHEMES)
    else:
        parts = split_url(url, _SCHEMES)
    if parts is None or parts.fragment:
        return False
    if url.startswith("unix:"):
        return len(parts.path) > 1 and _are_options(parts.query)
    return _DATABASE.fullmatch(parts.path) is not None and _are_options(parts.query)


def _are_options(query: str) -> bool:
    options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    return all(name in _OPTIONS and _OPTIONS[name].fullmatch(value) for name, value in options)


class _Answer(Generic[T]):
    """The result of a command, for the task that waits for it."""

    def __init__(self) -> None:
        self._come = trio.Event()
        self._value: T | None = None
        self._error: Exception | None = OSError("the block of the Redis client was left")

    def succeed(self, value: T) -> None:
        self._value, self._error = value, None

    def fail(self, error: Exception) -> None:
        self._error = error

    def deliver(self) -> None:
        """Wake the task that waits for it."""
        self._come.set()

    async def get(self) -> T:
        await self._come.wait()
        if self._error is not None:
            raise self._error
        return cast("T", self._value)
