"""What to say it with, and how long to wait: `TTSConfig`, checked when it is made, before any byte is sent."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import attrs

from tts_trio.config.checks import check_combinations
from tts_trio.config.formats import OUTPUT_FORMATS, AudioFormat
from tts_trio.config.models import WebSocketEndpoint
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.protocols import CACHE, LIMITER, POLICY, AudioCache, Limiter, PhrasesFactory
from tts_trio.config.proxy import PROXY, Proxy
from tts_trio.config.timeouts import Timeouts
from tts_trio.config.validators import (
    BASE_URL,
    ID,
    Rule,
    check_api_key,
    is_a,
    matches,
    one_of,
    seconds,
    to_tuple,
    tuple_of,
    unless_none,
    whole,
)
from tts_trio.config.voice import PronunciationDictionary, VoiceSettings
from tts_trio.errors import ConfigurationError
from tts_trio.errors.redaction import hide

TextNormalization: TypeAlias = Literal["auto", "on", "off"]
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}")


def _show_proxy(value: str | None) -> str:
    return "None" if value is None else f"'{Proxy.parse(value)}'"


_SSL_CONTEXT = Rule(
    "an ssl.SSLContext for clients",
    lambda value: isinstance(value, ssl.SSLContext) and value.protocol != ssl.PROTOCOL_TLS_SERVER,
)
_PER_SOCKET: Mapping[str, bool] = {"per_socket": True}
"""Marks a field that belongs to a WebSocket for its life: a change of it means another socket."""


@attrs.frozen(kw_only=True)
class TTSConfig:
    """One voice, model, format and set of deadlines; immutable, and checked when it is made.

    Times are in seconds, `int` or `float`: 0.001 to 1,000,000 (11 days) where a field does not say otherwise. `evolve`
    gives a changed copy. Every field is refused with a `ConfigurationError` that names the field and what is allowed.

    Attributes:
        api_key: The ElevenLabs API key. Never shown by `repr`, and sent in the header `xi-api-key` only.
        voice_id: The voice.
        model_id: The model. The default is ElevenLabs' fast one (about 75 ms of inference, by its documentation).
        endpoint: The WebSocket that an LLM's reply goes over: "stream-input" (a socket for each reply, the next one hot
            behind it), "multi-stream-input" (one socket for a whole call: for short, rapid turns) or "text-to-dialogue"
            (the only one for the v3 and v4 models). None: as the model needs it, else "stream-input".
        language_code: ISO 639-1, such as "ru"; None lets the service guess from the text, which short phrases such
            as "Да." invite it to do wrongly.
        output_format: One of `tts_trio.OUTPUT_FORMATS`; `pcm_*` is signed 16-bit little-endian mono.
        voice_settings: How the voice speaks; None for the voice's stored settings.
        optimize_streaming_latency: 0 to 4, for static texts over HTTP; None sends none. 4 is the fastest and
            switches the text normalizer off, so numbers and dates can be misread (ElevenLabs API reference). The v3 and
            v4 models refuse it: they are not sent the default, and another value is refused here.
        static_timestamps: The times of the words are asked for with static texts too, for `audio.words` and
            `audio.spoken`, which estimate them otherwise. The answer is a third longer then.
        request_stitching: Each static text names the three before it, so that its intonation goes on from theirs. Not
            for the v3 models, nor with `enable_logging=False`.
        auto_mode: Each phrase of an LLM's reply is spoken at once, without the service's own buffering.
        chunk_length_schedule: With `auto_mode=False`: after how many characters the service speaks, each 50 to 500;
            None for the service's 120, 160, 250, 290.
        sync_alignment: The service sends times with every piece of audio. Where it sends none at all, only its final
            tells where a phrase ends, and each phrase of a reply takes a connection of its own.
        apply_text_normalization: "auto", "on" or "off"; None leaves it to the service. "on" contradicts
            `optimize_streaming_latency=4`.
        apply_language_text_normalization: Japanese only; adds much latency (API reference); None sends none.
        enable_ssml_parsing: SSML in an LLM's reply is obeyed instead of spoken (WebSocket).
        seed: 0 to 4294967295, for speech that repeats as well as the service can; None for none.
        pronunciation_dictionary_locators: Up to 3 dictionaries.
        enable_logging: False is the service's zero retention mode (enterprise only).
        base_url: Where the service is, for HTTP and WebSocket alike, without the "/v1" of its paths. `http` and `ws`
            are refused for anything but this machine, since the key would travel readable.
        allow_plaintext: Takes that refusal back.
        ssl_context: A TLS context of your own, used as it is; None for the system's certificates, which honors
            SSL_CERT_FILE and SSL_CERT_DIR.
        proxy: The URL of an HTTP proxy, for HTTP and WebSocket alike, such as "http://user:password@proxy:3128"; its
            credentials are never shown. None: the first of https_proxy, HTTPS_PROXY, all_proxy and ALL_PROXY that is
            set, if to nothing then none; unless NO_PROXY names the service's host: as a name, a domain ("example.com",
            ".example.com", "*.example.com"), an address or a network ("10.0.0.0/8"), with or without a port, or "*".
            SOCKS proxies and PAC files are not known; a SOCKS proxy in the environment is refused.
        inactivity_timeout: Whole seconds, 5 to 180: after how much silence the service closes a socket.
        timeouts: How long each thing may take.
        keep_alive_interval: How long after the last text frame a keep-alive is sent; at least 1 s.
        ping_interval: Between WebSocket pings; at least 1 s.
        on_lost_connection: When a connection is lost in the middle of a reply: "resume" speaks the rest over the next
            one, from the first word that was not heard whole; "raise" fails, and the error tells what was spoken.
        fallback: "http": when no connection can be had within `timeouts.connect`, a reply is spoken phrase by phrase
            over HTTP, without times of its words; None: it fails.
        max_replays: How often one reply may go on over another connection, for whatever cause.
        phrase_policy: Where an LLM's reply is cut into phrases: a `PhrasePolicy`, or a callable that returns, for each
            reply, what does it (`Phrases`).
        strip_markdown: Markdown is taken out of an LLM's reply (`**bold**`, headings, lists, links, code) before it is
            spoken; what it had been is not in the text accepted then.
        audio_cache: Where static texts of up to 1,000 characters are kept: a `MemoryCache`, `SqliteCache`,
            `RedisCache`, or a `AudioCache` of your own; None: nowhere. "memory" is the `MemoryCache` of 64 MiB that
            all conversations of the process share. With `request_stitching` nothing is kept.
        limiter: How many utterances are generated at once, in all conversations that are given the same object: a
            `ConcurrencyLimiter`, a `RedisLimiter` for a fleet, or a `Limiter` of your own; None: as many as one likes,
            and what is above the plan's concurrency is refused by the service.
        max_lead: Audio ahead of what was played, in seconds, above which further phrases wait before they are sent; at
            least 0.01 s.
        max_characters: Of one reply.
        spares: Hot connections kept behind the one in use, 0 to 3. None: 1, or 0 for text-to-dialogue, whose sockets
            each hold one of the plan's dialogue sessions for their whole life.
        spare_lifetime: After which an idle connection is replaced; at least 10 s.
    """

    api_key: str = attrs.field(repr=False, validator=check_api_key, metadata=_PER_SOCKET)
    voice_id: str = attrs.field(
        validator=matches(ID, "1 to 128 letters, digits, - or _, as ElevenLabs gives it"), metadata=_PER_SOCKET
    )
    model_id: str = attrs.field(
        default="eleven_flash_v2_5",
        validator=matches(ID, "a model id such as eleven_flash_v2_5"),
        metadata=_PER_SOCKET,
    )
    endpoint: WebSocketEndpoint | None = attrs.field(
        default=None,
        validator=unless_none(one_of("stream-input", "multi-stream-input", "text-to-dialogue")),
        metadata=_PER_SOCKET,
    )
    language_code: str | None = attrs.field(
        default=None,
        validator=unless_none(matches(_LANGUAGE_CODE, "an ISO 639-1 code such as ru or en")),
        metadata=_PER_SOCKET,
    )
    output_format: str = attrs.field(default="pcm_16000", validator=one_of(*OUTPUT_FORMATS), metadata=_PER_SOCKET)
    voice_settings: VoiceSettings | None = attrs.field(
        default=None, validator=unless_none(is_a(VoiceSettings)), metadata=_PER_SOCKET
    )
    optimize_streaming_latency: int | None = attrs.field(default=4, validator=unless_none(whole(0, 4)))
    static_timestamps: bool = attrs.field(default=False, validator=is_a(bool))
    request_stitching: bool = attrs.field(default=False, validator=is_a(bool))
    auto_mode: bool = attrs.field(default=True, validator=is_a(bool), metadata=_PER_SOCKET)
    chunk_length_schedule: tuple[int, ...] | None = attrs.field(
        default=None,
        validator=unless_none(tuple_of("whole numbers from 50 to 500", 1, 100, whole(50, 500).good)),
        converter=to_tuple,
        metadata=_PER_SOCKET,
    )
    sync_alignment: bool = attrs.field(default=True, validator=is_a(bool), metadata=_PER_SOCKET)
    apply_text_normalization: TextNormalization | None = attrs.field(
        default=None, validator=unless_none(one_of("auto", "on", "off")), metadata=_PER_SOCKET
    )
    apply_language_text_normalization: bool | None = attrs.field(
        default=None, validator=unless_none(is_a(bool)), metadata=_PER_SOCKET
    )
    enable_ssml_parsing: bool = attrs.field(default=False, validator=is_a(bool), metadata=_PER_SOCKET)
    seed: int | None = attrs.field(default=None, validator=unless_none(whole(0, 4_294_967_295)), metadata=_PER_SOCKET)
    pronunciation_dictionary_locators: tuple[PronunciationDictionary, ...] = attrs.field(
        default=(),
        validator=tuple_of("PronunciationDictionary", 0, 3, is_a(PronunciationDictionary).good),
        converter=to_tuple,
        metadata=_PER_SOCKET,
    )
    enable_logging: bool = attrs.field(default=True, validator=is_a(bool), metadata=_PER_SOCKET)

    base_url: str = attrs.field(default="https://api.elevenlabs.io", validator=BASE_URL, metadata=_PER_SOCKET)
    allow_plaintext: bool = attrs.field(default=False, validator=is_a(bool))
    ssl_context: ssl.SSLContext | None = attrs.field(
        default=None, validator=unless_none(_SSL_CONTEXT), repr=False, metadata=_PER_SOCKET
    )
    proxy: str | None = attrs.field(default=None, validator=unless_none(PROXY), repr=_show_proxy, metadata=_PER_SOCKET)

    inactivity_timeout: int = attrs.field(default=180, validator=whole(5, 180), metadata=_PER_SOCKET)
    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=is_a(Timeouts))
    keep_alive_interval: float = attrs.field(default=15.0, validator=seconds(1))
    ping_interval: float = attrs.field(default=10.0, validator=seconds(1))
    on_lost_connection: Literal["resume", "raise"] = attrs.field(default="resume", validator=one_of("resume", "raise"))
    fallback: Literal["http"] | None = attrs.field(default=None, validator=unless_none(one_of("http")))
    max_replays: int = attrs.field(default=2, validator=whole(0, 10))
    phrase_policy: PhrasePolicy | PhrasesFactory = attrs.field(factory=PhrasePolicy, validator=POLICY)
    strip_markdown: bool = attrs.field(default=False, validator=is_a(bool))
    audio_cache: AudioCache | Literal["memory"] | None = attrs.field(default="memory", validator=unless_none(CACHE))
    limiter: Limiter | None = attrs.field(default=None, validator=unless_none(LIMITER))
    max_lead: float = attrs.field(default=20.0, validator=seconds(0.01))
    max_characters: int = attrs.field(default=100_000, validator=whole(1, 10_000_000))
    spares: int | None = attrs.field(default=None, validator=unless_none(whole(0, 3)))
    spare_lifetime: float = attrs.field(default=600.0, validator=seconds(10))

    def __attrs_post_init__(self) -> None:
        hide(self, self.api_key, *(Proxy.parse(self.proxy).secrets if self.proxy is not None else ()))
        check_combinations(self)

    @classmethod
    def from_env(cls, **overrides: Any) -> TTSConfig:
        """Make a configuration from the environment.

        Reads ELEVENLABS_API_KEY, ELEVENLABS_VOICE_ID, ELEVENLABS_MODEL_ID, ELEVENLABS_LANGUAGE_CODE,
        ELEVENLABS_OUTPUT_FORMAT and ELEVENLABS_BASE_URL.

        Args:
            **overrides: Fields that win over the environment.

        Raises:
            ConfigurationError: A value is missing or not allowed.
        """
        found = {
            name: value
            for name in ("api_key", "voice_id", "model_id", "language_code", "output_format", "base_url")
            if (value := os.environ.get(f"ELEVENLABS_{name.upper()}"))
        }
        values: dict[str, Any] = {"api_key": ""} | found | overrides
        if "voice_id" not in values:
            raise ConfigurationError("voice_id: missing; give voice_id=, or set ELEVENLABS_VOICE_ID", field="voice_id")
        return cls(**values)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it, key and all, for another process, where it is checked like a new one.

        Raises:
            ConfigurationError: It has an `ssl_context`, which belongs to one process.
        """
        if self.ssl_context is not None:
            raise ConfigurationError(
                "ssl_context: a TLS context cannot be pickled; pickle evolve(ssl_context=None), and set one in the "
                "other process",
                field="ssl_context",
            )
        return partial(TTSConfig, **attrs.asdict(self, recurse=False)), ()

    def __copy__(self) -> TTSConfig:
        """Return itself: it is immutable."""
        return self

    def __deepcopy__(self, _memo: object) -> TTSConfig:
        """Return itself: the caches and limiters in it are there to be shared."""
        return self

    def evolve(self, **changes: Any) -> TTSConfig:
        """Return a copy with these fields changed, checked like a new one."""
        return attrs.evolve(self, **changes)

    @property
    def format(self) -> AudioFormat:
        """The output format, taken apart."""
        return OUTPUT_FORMATS[self.output_format]


def differing_socket_field(one: TTSConfig, other: TTSConfig) -> str | None:
    """Return the name of a field that belongs to a socket for its life and differs in the two, or None."""
    for attribute in attrs.fields(TTSConfig):
        if attribute.metadata.get("per_socket") and getattr(one, attribute.name) != getattr(other, attribute.name):
            return attribute.name
    return None
