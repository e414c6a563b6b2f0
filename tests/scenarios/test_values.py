"""Whatever is given for whatever field: it is refused when it is given, by its field, or it works.

Values of every kind are tried for every field of every class that a user fills in. What is accepted has to speak, over
the local server in memory: it may fail by a `TTSError`, such as a timeout that is too short, and by nothing else.
"""

from __future__ import annotations

import enum
import functools
import gc
import math
import ssl
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs
import coredis
import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, heard, listen, make_config, memory_service, speaking
from tts_trio import (
    ConcurrencyLimiter,
    ConfigurationError,
    MemoryCache,
    PhrasePolicy,
    PronunciationDictionary,
    RedisCache,
    RedisLimiter,
    SqliteCache,
    Timeouts,
    TTSConfig,
    TTSError,
    VoiceSettings,
)
from tts_trio.config.proxy import Proxy, tunnel
from tts_trio.local_server.memory import memory_connection
from tts_trio.text import Phraser

SECRET = "hush-hush"


class NumberLike:
    """As of an array library: compares like a number, to something that is no bool."""

    def __lt__(self, _other: object) -> list[bool]:
        return [True]

    __le__ = __gt__ = __ge__ = __lt__

    def __float__(self) -> float:
        return 1.0


class Hostile:
    """Raises whatever is asked of it."""

    def __eq__(self, _other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __repr__(self) -> str:
        raise ZeroDivisionError

    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __eq__  # type: ignore[assignment]


class Agreeable:
    """Equals everything."""

    def __eq__(self, _other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "two\nlines\x1b[31m"


class Color(enum.IntEnum):
    RED = 3


class Text(str):
    """A text that is no plain one."""


class SecretStr:
    """As pydantic's."""

    def get_secret_value(self) -> str:
        return SECRET


class Limiter:
    """As it should be."""

    @asynccontextmanager
    async def slot(self, *, background: bool = False) -> AsyncGenerator[None]:
        yield

    def learn(self, size: int) -> None:
        pass


class SynchronousLimiter(Limiter):
    @contextmanager
    def slot(self, *, background: bool = False) -> Generator[None]:  # type: ignore[override]
        yield


class CoroutineLimiter(Limiter):
    async def slot(self, *, background: bool = False) -> None:  # type: ignore[override]
        pass


class OlderLimiter(Limiter):
    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:  # type: ignore[override]
        yield


class NoLimiter(Limiter):
    def slot(self, *, background: bool = False) -> Any:
        return None


class Cache:
    """As it should be."""

    async def get(self, key: str) -> bytes | None:
        return None

    async def put(self, key: str, value: bytes) -> None:
        pass


class SynchronousCache:
    def get(self, key: str) -> bytes | None:
        return None

    def put(self, key: str, value: bytes) -> None:
        pass


class HalfACache(Cache):
    put = None  # type: ignore[assignment]


class ForgetfulCache(Cache):
    async def get(self) -> None:  # type: ignore[override]
        pass


class WrongCache(Cache):
    async def get(self, key: str) -> Any:
        return 3


def phraser() -> Phraser:
    return Phraser(PhrasePolicy(), language_code="en")


async def coroutine() -> None:
    pass


NUMBERS: list[Any] = [
    *(None, True, False, 0, 1, 2, 3, 5, 10, 49, 50, 120, 180, 181, 500, 86_400, 10**6, 10**6 + 1, -1),
    *(2**31, 2**32, 2**63, 2**64, 10**39, 10**400, 10**5000, -(10**400)),
    *(0.0, -0.0, 0.1, 0.5, 0.7, 1.0, 1.2, 1.5, 20.0, 1e-3, 1e-9, 1e-300, 5e-324, 1e6, 1e9, 1e39, 1e308),
    *(math.nan, math.inf, -math.inf, 1j, Decimal(1), Decimal("NaN"), Fraction(1, 2), Color.RED, NumberLike()),
]
TEXTS: list[Any] = [
    *(
        "",
        " ",
        "a",
        "on",
        "off",
        "auto",
        "http",
        "raise",
        "ru",
        "RU",
        "eleven_v3",
        "eleven_v4",
        "pcm_8000",
        "ulaw_8000",
    ),
    *("opus_48000_32", "mp3_22050_32", "stream-input", "multi-stream-input", "text-to-dialogue", "wav_16000"),
    *("ключ", "\ud800", "a\0b", "a\nb", "a\r\nb: c", "../..", "é", "x" * 128, "x" * 129, "x" * 5000, "％", "１"),
    *(b"", b"abc", bytearray(b"a"), Text("ru"), SecretStr(), Path("some"), Path()),
]
OTHERS: list[Any] = [
    *(
        [],
        [1],
        [50],
        [50.0],
        [True],
        [500, 501],
        [None],
        ["a"],
        (),
        (50,),
        [50] * 101,
        {},
        {50: 1},
        {50},
        range(50, 52),
    ),
    *(object(), Hostile(), Agreeable(), int, str, dict, print, len, lambda: 3, lambda: None, lambda x: x, coroutine),
    *(
        PhrasePolicy,
        PhrasePolicy.eager,
        PhrasePolicy(),
        PhrasePolicy.eager(),
        phraser,
        Phraser,
        functools.partial(phraser),
    ),
    *(Timeouts, Timeouts()),
    *(MemoryCache, MemoryCache(), Cache, Cache(), SynchronousCache(), HalfACache(), ForgetfulCache(), WrongCache()),
    *(ConcurrencyLimiter, ConcurrencyLimiter(), Limiter, Limiter(), SynchronousLimiter(), CoroutineLimiter()),
    *(OlderLimiter(), NoLimiter(), VoiceSettings, VoiceSettings(), VoiceSettings(speed=1.1), PronunciationDictionary),
    *(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext, Exception()),
    *([PronunciationDictionary(pronunciation_dictionary_id="a", version_id="b")], {"speed": 1}, {"stability": 0.5}),
]
ANYTHING = NUMBERS + TEXTS + OTHERS

HOSTS = [
    *("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "api.elevenlabs.io", "a_b.example", "xn--p1ai.example"),
    *("[::1]x", "[::1", "::1", "[::1%25eth0]", "[v1.a]", "[127.0.0.1]", "[]", "", ".", "a..b", ".a", "a.", "-a", "a-"),
    *(
        "999.1.1.1",
        "1.2.3",
        "127.1",
        "0x7f.1",
        "1.2.3.4.5",
        "256",
        "пример.рф",
        "a\u3002b",
        "a b",
        "a\tb",
        "a\nb",
        "a\0b",
    ),
    *("a\x7fb", "a\x85b", "a%b", "a%41b", "a\\b", "a<b", "a^b", "a|b", "a{b", 'a"b', "a'b", "a;b", "a,b", "a*b", "a:b"),
    *(
        "x" * 63,
        "x" * 64,
        ".".join(["x" * 63] * 4),
        ".".join(["x" * 49] * 5),
        "xn--",
        "xn--0",
        "xn--a.example",
        "\ud800",
    ),
    *(f"user:{SECRET}@127.0.0.1", f"{SECRET}@127.0.0.1", f"user:p@{SECRET}@127.0.0.1", f"{SECRET}:{SECRET}@127.0.0.1"),
]
PORTS = [
    "",
    ":",
    ":0",
    ":1",
    ":443",
    ":65535",
    ":65536",
    ":99999",
    ":-1",
    ":+1",
    ":1.0",
    ":x",
    ": 1",
    ":１",
    ":1:2",
    ":000080",
]
PATHS = [
    *(
        "",
        "/",
        "/a",
        "/a/b/",
        "//",
        "/a//b",
        "/v1",
        "/v1/",
        "/a/v1",
        "/v1/a",
        "/../a",
        "/a/./b",
        "/a%20b",
        "/a%2",
        "/%zz",
    ),
    *(
        "/é",
        "/a b",
        "/a\tb",
        "/a\0",
        "/a\\b",
        "/a?b",
        "/a#b",
        "?",
        "#",
        "/?",
        "/;a=b",
        "/a'b",
        "/[a]",
        "/" + "x" * 3000,
    ),
]
SCHEMES = ["http", "https", "ws", "wss", "HTTP", "ftp", "file", "", "unix", "redis", "rediss", "socks5"]
URLS: list[Any] = [
    *(f"http://{host}" for host in HOSTS),
    *(f"https://{host}:8443/a" for host in HOSTS),
    *(f"http://127.0.0.1{port}{path}" for port in PORTS for path in ("", "/a")),
    *(f"http://127.0.0.1{path}" for path in PATHS),
    *(f"{scheme}://127.0.0.1" for scheme in SCHEMES),
    *(" http://127.0.0.1", "http://127.0.0.1 ", "http:127.0.0.1", "http:/127.0.0.1", "//127.0.0.1", "http://", "http"),
]


def fields_of(kind: type) -> list[str]:
    return [field.name for field in attrs.fields(kind)]


def refused(field: str, make: Callable[[], Any]) -> Any:
    """What was made, or None where it was refused as it should be."""
    error: ConfigurationError
    try:
        return make()
    except ConfigurationError as refusal:
        error = refusal
    text = str(error)
    assert text.startswith(f"{error.field}: ")
    assert field in text, text
    assert text.isprintable(), text
    assert len(text) < 500
    assert SECRET not in text + repr(error)
    return None


async def speak(config: TTSConfig, text: str = "Well, да.") -> None:
    """Speak by both ways; only a `TTSError` may come out."""
    async with memory_service() as service:
        try:
            async with speaking(config, service.open_stream) as tts:
                for way in (tts.stream_static_text("Да, yes."), tts.speak([text])):
                    try:
                        async with way as audio:
                            await listen(audio)
                    except TTSError:
                        pass
        except TTSError:
            pass


@pytest.mark.parametrize("field", fields_of(TTSConfig))
async def test_fields_of_the_configuration(autojump_clock: trio.testing.MockClock, field: str) -> None:
    """P37: refused by its field, or it speaks."""
    good = attrs.asdict(make_config(), recurse=False)
    if field == "chunk_length_schedule":
        good["auto_mode"] = False
    if field == "output_format":
        good["on_lost_connection"] = "raise"  # as opus wants it
    made: list[TTSConfig] = []
    for value in ANYTHING + (URLS if field in ("base_url", "proxy") else []):
        config = refused(field, lambda value=value: TTSConfig(**good | {field: value}))
        if config is not None and config not in made:
            made.append(config)
            assert SECRET not in repr(config)
    assert made
    for config in made:
        await speak(config)


@pytest.mark.parametrize("field", fields_of(Timeouts))
async def test_timeouts(autojump_clock: trio.testing.MockClock, field: str) -> None:
    """P37: refused by its field, or it speaks, or says in time that it does not."""
    made = [refused(f"timeouts.{field}", lambda value=value: Timeouts(**{field: value})) for value in ANYTHING]
    assert any(made)
    for timeouts in filter(None, made):
        await speak(make_config(timeouts=timeouts))


@pytest.mark.parametrize("field", fields_of(VoiceSettings))
async def test_voice_settings(autojump_clock: trio.testing.MockClock, field: str) -> None:
    """P37: refused by its field, or it speaks, by a model that takes it."""
    made = [refused(field, lambda value=value: VoiceSettings(**{field: value})) for value in ANYTHING]
    model = {"model_id": "eleven_v4", "keep_alive_interval": 15} if field == "clone_strength" else {}
    for settings in {repr(settings): settings for settings in made if settings is not None}.values():
        await speak(make_config(voice_settings=settings, **model))


@pytest.mark.parametrize("field", fields_of(PronunciationDictionary))
async def test_dictionaries(autojump_clock: trio.testing.MockClock, field: str) -> None:
    """P37: refused by its field, or it speaks."""
    good = {"pronunciation_dictionary_id": "a", "version_id": "b"}
    made = [refused(field, lambda value=value: PronunciationDictionary(**good | {field: value})) for value in ANYTHING]
    for dictionary in {repr(made): made for made in made if made is not None}.values():
        await speak(make_config(pronunciation_dictionary_locators=[dictionary]))


@pytest.mark.parametrize("field", fields_of(PhrasePolicy))
async def test_phrase_policies(autojump_clock: trio.testing.MockClock, field: str) -> None:
    """P37: refused by its field, or it cuts a reply."""
    made = [refused(field, lambda value=value: PhrasePolicy(**{field: value})) for value in ANYTHING]
    made.append(refused(field, lambda: PhrasePolicy(**{"plenty_lead": math.inf, field: math.inf})))
    for policy in {repr(policy): policy for policy in made if policy is not None}.values():
        await speak(make_config(phrase_policy=policy), RUSSIAN[:40] + ENGLISH[:40])


@pytest.mark.parametrize("field", ["path", "max_bytes"])
async def test_caches_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """P37: refused by its field, or it keeps; an error of the file is an `OSError`, which costs no phrase."""
    monkeypatch.chdir(tmp_path)
    paths = ["a/b", "\udcff", "a" * 300, "..", "/", str(tmp_path), f"{tmp_path}/\0", tmp_path / "x", Text("c")]
    for value in ANYTHING + paths:
        cache = refused(field, lambda value=value: SqliteCache(**{"path": tmp_path / "file"} | {field: value}))
        if cache is not None and value is not None:
            try:
                await cache.put("a", b"b")
                assert await cache.get("a") in (b"b", None)
            except OSError:
                pass


async def test_caches_in_memory(autojump_clock: trio.testing.MockClock) -> None:
    """P37: refused, or it keeps."""
    for value in ANYTHING:
        cache = refused("max_bytes", lambda value=value: MemoryCache(value))
        if cache is not None:
            await cache.put("a", b"b")
            await speak(make_config(audio_cache=cache))


@pytest.mark.parametrize("field", ["size", "timeout", "on_timeout"])
async def test_limiters(autojump_clock: trio.testing.MockClock, field: str) -> None:
    """P37: refused by its field, or it has a slot."""
    for value in ANYTHING:
        limiter = refused(field, lambda value=value: ConcurrencyLimiter(**{field: value}))
        refused(field, lambda value=value: RedisLimiter("redis://localhost", **{field: value}))
        if limiter is not None:
            await speak(make_config(limiter=limiter))
            assert limiter.held == 0


REDIS_URLS: list[Any] = [
    *(f"redis://{host}" for host in HOSTS),
    *(f"rediss://:{SECRET}@{host}/1" for host in HOSTS),
    *(f"redis://127.0.0.1{port}" for port in PORTS),
    *(f"redis://127.0.0.1{path}" for path in [*PATHS, "/0", "/15", "/x", "/1/2", "/99999999999999999999"]),
    *(f"unix://{path}" for path in [*PATHS, "//a", "a/b"]),
    *(f"{scheme}://127.0.0.1" for scheme in SCHEMES),
    *(
        f"redis://:{SECRET}@127.0.0.1?{option}"
        for option in [
            *("max_connections=x", "max_connections=1", "timeout=x", "stream_timeout=nan", "db=1", "db=x", "db=", "db"),
            *(
                "ssl_cert_reqs=none",
                "ssl_cert_reqs=x",
                "ssl_check_hostname=x",
                "ssl_ca_certs=/none",
                "protocol=3",
                "a=b",
            ),
        ]
    ),
]


@pytest.mark.filterwarnings("ignore:.*Unclosed")  # of coredis's, which are not opened here
@pytest.mark.parametrize("kind", [RedisCache, RedisLimiter])
def test_redis(kind: Any) -> None:
    """P37: refused by its field, or the client for Redis takes it."""
    good = {"url": "redis://127.0.0.1:1"}
    fields = {"prefix": ANYTHING, "lifetime" if kind is RedisCache else "lease": ANYTHING, "url": ANYTHING + REDIS_URLS}
    for field, values in fields.items():
        for value in values:
            made = refused(field, lambda field=field, value=value: kind(**good | {field: value}))
            if made is None:
                continue
            assert SECRET not in repr(made)
            coredis.Redis.from_url(made._url, max_connections=1)  # what would raise when the block is entered
            assert made._url == value or field != "url"
    gc.collect()


async def test_redis_without_its_certificate() -> None:
    """P37: a file that is not there is told of when the block is entered."""
    with pytest.raises(ConfigurationError, match=r"^url: a file that it names cannot be read: .*No such file"):
        async with RedisCache("rediss://127.0.0.1:1?ssl_ca_certs=/none"):
            pass


async def test_proxies() -> None:
    """P37: refused, or it is asked for the service."""
    tried = 0
    for value in ANYTHING + URLS + [f"http://anna:{secret}@127.0.0.1" for secret in ("wörd", "%zz", "", "a:b", "%ff")]:
        if refused("proxy", lambda value=value: make_config(proxy=value) if value is not None else None) is None:
            continue
        client, server = memory_connection()
        await server.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await tunnel(client, Proxy.parse(value), "api.elevenlabs.io", 443)
        tried += 1
    assert tried > 20


async def test_pacing(autojump_clock: trio.testing.MockClock) -> None:
    """P37: refused by its field, or it paces."""
    async with memory_service() as service, speaking(make_config(), service.open_stream) as tts:
        for lead_ms in ANYTHING:
            async with tts.stream_static_text("Да.") as audio:
                frames = refused("lead_ms", lambda lead_ms=lead_ms, audio=audio: audio.paced(lead_ms=lead_ms))
                if frames is not None:
                    assert len(await frames.receive()) == 640


@pytest.mark.parametrize("field", ["api_key", "voice_id", "base_url", "proxy", "url"])
def test_a_secret_value_is_named(field: str) -> None:
    """P37: pydantic's SecretStr is refused with what to do about it."""
    words = rf"^{field}: it must not be a SecretStr; pass its get_secret_value\(\)$"
    with pytest.raises(ConfigurationError, match=words) as caught:
        RedisCache(SecretStr()) if field == "url" else make_config(**{field: SecretStr()})  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["api_key", "base_url", "proxy"])
@pytest.mark.parametrize("value", [b"https://a", Path("https://a"), 7])
def test_what_is_no_text_is_refused_by_its_type(field: str, value: Any) -> None:
    """P37: such as the URL of pydantic's settings, or a key of bytes, which is not missing."""
    with pytest.raises(ConfigurationError, match=f"^{field}: it must be a str, not {type(value).__name__}[;:] "):
        make_config(**{field: value})


@pytest.mark.parametrize(
    "url", [f"https://user:{SECRET}@api.elevenlabs.io", f"ftp://{SECRET}@a", f"https://a?key={SECRET}"]
)
def test_a_refused_url_is_not_repeated(url: str) -> None:
    """P28: there may be a password in it."""
    for field, make in {
        "base_url": lambda: make_config(base_url=url),
        "url": lambda: RedisCache(url),
        "proxy": lambda: make_config(proxy=url.replace("https", "socks5")),
    }.items():
        with pytest.raises(ConfigurationError, match=f"^{field}: it must be") as caught:
            make()
        assert SECRET not in str(caught.value) + repr(caught.value)


def test_the_version_of_the_api_is_not_a_part_of_the_url() -> None:
    """A `base_url` copied from the paths of the API reference is refused in words."""
    with pytest.raises(
        ConfigurationError, match=r"base_url: https://api.elevenlabs.io/v1 ends in /v1, which the library adds"
    ):
        make_config(base_url="https://api.elevenlabs.io/v1")


@pytest.mark.parametrize(
    ("field", "shortest"),
    [
        ("keep_alive_interval", 1),
        ("ping_interval", 1),
        ("spare_lifetime", 10),
        ("max_lead", 0.01),
    ],
)
def test_intervals_have_a_lower_bound(field: str, shortest: float) -> None:
    """A timer of a nanosecond keeps a core busy: 90 % of it, measured."""
    assert getattr(make_config(**{field: shortest}), field) == shortest
    with pytest.raises(ConfigurationError, match=f"{field}: .*from {shortest:g} to 1000000"):
        make_config(**{field: shortest * 0.99})


async def test_what_a_callable_returns_is_checked(autojump_clock: trio.testing.MockClock) -> None:
    """P37: `phrase_policy=lambda: 3` is refused before any text is sent."""
    config = make_config(phrase_policy=lambda: 3)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        with pytest.raises(ConfigurationError, match="phrase_policy: 3 is not allowed; it must be a callable"):
            async with tts.speak(["Да."]) as audio:
                await listen(audio)
        assert {text for _, text in service.texts()} <= {" "}


class Delegating:
    """What wraps an object, with the object's own methods behind `__getattr__`: logs it, times it, counts it."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped
        self.used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.used.add(name)
        return getattr(self._wrapped, name)


async def test_what_a_user_wraps_by_delegation_works(autojump_clock: trio.testing.MockClock) -> None:
    """A runtime protocol sees it on Python 3.11 and no longer from 3.12 on."""
    cache, limiter = Delegating(MemoryCache()), Delegating(ConcurrencyLimiter())
    phrases = Delegating(Phraser(PhrasePolicy.eager(), language_code="ru"))
    config = make_config(audio_cache=cache, limiter=limiter, phrase_policy=lambda: phrases)
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        for speech in (tts.speak([RUSSIAN]), tts.stream_static_text(ENGLISH)):
            async with speech as audio:
                assert heard(await listen(audio), config) in (RUSSIAN, ENGLISH)
    assert {"get", "put"} <= cache.used
    assert "slot" in limiter.used
    assert {"feed", "close"} <= phrases.used
