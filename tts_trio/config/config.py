"""`TTSConfig`: the voice, the model, the format, the timeouts and the policies, checked before any byte is sent."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from tts_trio.config.checks import check_combinations, check_picklable
from tts_trio.config.formats import OUTPUT_FORMATS, AudioFormat
from tts_trio.config.models import WebSocketEndpoint
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.protocols import (
    CACHE,
    FALLBACK,
    LIMITER,
    ON_UTTERANCE,
    POLICY,
    AudioCache,
    Limiter,
    PhrasesFactory,
    SecondSource,
    TransformFactory,
    makes_transform,
)
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

if TYPE_CHECKING:
    from tts_trio.config.utterance_record import UtteranceRecord

TextNormalization: TypeAlias = Literal["auto", "on", "off"]
_LANGUAGE_CODE = re.compile(r"[a-z]{2,3}")


def _show_proxy(value: str | None) -> str:
    return "None" if value is None else f"'{Proxy.parse(value)}'"


_SSL_CONTEXT = Rule(
    "an ssl.SSLContext for clients",
    lambda value: isinstance(value, ssl.SSLContext) and value.protocol != ssl.PROTOCOL_TLS_SERVER,
)
_SECONDS = seconds(0.001)
_HEDGE = Rule(
    f'"auto", or {_SECONDS.allowed}', lambda value: (type(value) is str and value == "auto") or _SECONDS.good(value)
)
_PER_SOCKET: Mapping[str, bool] = {"per_socket": True}
"""Marks a field that holds for the whole life of a WebSocket: another value needs another socket."""


@attrs.frozen(kw_only=True)
class TTSConfig:
    """A voice, a model, a format, the timeouts and the policies of a conversation: immutable, checked when it is made.

    Times are in seconds, `int` or `float`, from 0.001 to 1,000,000 (11 days) where a field does not say otherwise.
    `evolve` returns a changed copy.

    Attributes:
        api_key: The ElevenLabs API key. `repr` never shows it, and only the header `xi-api-key` contains it.
        voice_id: The id of the voice.
        model_id: The id of the model. The default is ElevenLabs' fast one (about 75 ms of inference, by its
            documentation).
        endpoint: The WebSocket that speaks an LLM's reply. "stream-input": a socket for each reply, with the next one
            hot behind it. "multi-stream-input": one socket for a whole call, for short, rapid turns.
            "text-to-dialogue": the only one for the v3 and v4 models. None: "text-to-dialogue" for these models, else
            "stream-input".
        language_code: The language of the text as an ISO 639-1 code, such as "ru". None: the service guesses it from
            each phrase, and guesses short ones such as "Да." wrongly.
        output_format: One of `tts_trio.OUTPUT_FORMATS`; `pcm_*` is signed 16-bit little-endian mono.
        voice_settings: How the voice speaks. None: the voice's stored settings apply.
        optimize_streaming_latency: 0 to 4, for static texts over HTTP. 4 is the fastest and switches the text
            normalizer off, so numbers and dates can be misread (ElevenLabs API reference). None: it is not sent. The v3
            and v4 models do not support it: they are not sent the default, and other values are refused here.
        static_timestamps: True requests the times of the words of static texts too, for exact `audio.words` and
            `audio.spoken`; the answer is then a third longer. False: these times are estimated.
        request_stitching: True names to the service the three static texts before each one, so that the intonation
            goes on from theirs. Not for the v3 models, nor with `enable_logging=False`.
        auto_mode: True makes the service speak each phrase of an LLM's reply at once, without a buffer of its own.
        chunk_length_schedule: With `auto_mode=False`: the numbers of characters, each 50 to 500, after which the
            service speaks. None: the service's default of 120, 160, 250, 290.
        sync_alignment: True requests the times of the words with every piece of audio. If the service sends none at
            all, only its final tells where a phrase ends, and each phrase of a reply takes a connection of its own.
        apply_text_normalization: "auto", "on" or "off". None: it is not sent, and the service decides. "on" contradicts
            `optimize_streaming_latency=4`.
        apply_language_text_normalization: True normalizes Japanese text, with much latency (ElevenLabs API reference).
            None: it is not sent.
        enable_ssml_parsing: True makes the service obey SSML in an LLM's reply instead of reading it aloud.
        seed: 0 to 4294967295; with the same seed the service repeats speech as well as it can. None: it is not sent.
        pronunciation_dictionary_locators: Up to 3 pronunciation dictionaries.
        enable_logging: False switches on the service's zero retention mode (enterprise only).
        base_url: The URL of the service, for HTTP and WebSocket alike, without the "/v1" of its paths. `http` and `ws`
            are refused for every host but this machine, since they send the API key unencrypted.
        allow_plaintext: True allows `http` and `ws` for every host.
        ssl_context: A TLS context of your own, which is used unchanged. None: the system's certificates, or those that
            SSL_CERT_FILE and SSL_CERT_DIR name.
        proxy: The URL of an HTTP proxy, for HTTP and WebSocket alike, such as "http://user:password@proxy:3128"; its
            credentials are never shown. None: the first of https_proxy, HTTPS_PROXY, all_proxy and ALL_PROXY that is
            set; there is no proxy if it is set to nothing, or if NO_PROXY names the service's host: as a name, a domain
            ("example.com", ".example.com", "*.example.com"), an address or a network ("10.0.0.0/8"), with or without a
            port, or "*". SOCKS proxies and PAC files are not supported; a SOCKS proxy in the environment is refused.
        inactivity_timeout: Whole seconds without text, 5 to 180, after which the service closes a socket.
        timeouts: How long each thing may take.
        keep_alive_interval: The time after the last text frame at which a keep-alive is sent; at least 1 s.
        ping_interval: The time after the last message or ping at which a WebSocket ping is sent; at least 1 s.
        on_lost_connection: What happens when a connection is lost in the middle of a reply. "resume": the rest is
            spoken over the next connection, from the first word whose audio did not arrive whole. "raise": the reply
            fails, and the error tells what was spoken.
        fallback: What speaks the rest of a reply, from the first word that was not heard whole, when there is no
            connection within `timeouts.connect`, or `max_replays` is used up. "http": the same voice, phrase by phrase
            over HTTP. A function `async def other(text, format): yield audio`: another source, which gives the audio of
            a phrase in the `AudioFormat`, in pieces of any size; it also speaks after an error that no retry helps,
            such as an exhausted quota. Each piece may take `timeouts.reply`, and an exception fails the reply. None:
            the reply fails.
        max_replays: How often the rest of a reply may be sent again over another connection, 0 to 10.
        phrase_policy: How an LLM's reply is cut into phrases: a `PhrasePolicy`, or a callable that returns an object
            with the methods of `Phrases` for each reply.
        transforms: What changes the text of an LLM's reply before it is spoken, in this order: those of
            `tts_trio.text.transforms`, such as `markdown()`, or your own, each a callable without arguments that makes
            a `Transform`. What was spoken, and what was not, is told in the text that the LLM wrote.
        audio_cache: Where the audio of static texts of up to 1,000 characters is cached: a `MemoryCache`, a
            `SqliteCache`, a `RedisCache`, or an `AudioCache` of your own. "memory": the `MemoryCache` of 64 MiB that
            all conversations of the process share. None: nowhere. With `request_stitching` nothing is cached.
        opening_cache: Where the clips of the first phrases of LLM replies are kept, to be said again from memory: a
            `MemoryCache`, a `SqliteCache`, a `RedisCache`, or an `AudioCache` of your own. "memory": 16 MiB that all
            conversations of the process share. A phrase is kept if it has at most 60 characters and two conversations
            sent it, or if `prefetch_openings` fetched it. None: nothing is kept. It needs `auto_mode=True`,
            `sync_alignment=True` and `enable_logging=True`, and a format other than opus. The v3 and v4 models speak a
            phrase in the light of those before it, and a kept one does without.
        hedge: When the text of an utterance is sent over a second connection as well, because its first audio is late;
            the audio that comes first is heard, and the other connection is interrupted. "auto": when it is later than
            95 % of those before it, by what this process has learned of the voice and the model, but after 0.1 s at the
            earliest, and half of `timeouts.first_audio` at the latest; not for replies over text-to-dialogue. A number:
            after so many seconds, below `timeouts.first_audio`, over text-to-dialogue too. In both cases only over a
            connection that is hot, in a slot of the `limiter` that is free, and within a budget: at most 5 % of the
            account's characters are sent twice, and fewer while most answers are late. None: never. It needs
            `auto_mode=True`.
        limiter: What bounds the utterances that are generated at once in all conversations with the same object: a
            `ConcurrencyLimiter`, a `RedisLimiter` for a fleet, or a `Limiter` of your own. None: nothing does, and the
            service refuses what is above the plan's concurrency.
        max_lead: Seconds of audio ahead of the listener above which further phrases wait to be sent; at least 0.01 s.
        max_characters: The most characters of one reply or static text, 1 to 10,000,000.
        spares: The number of hot connections behind the one in use, 0 to 3. None: 1, or 0 for text-to-dialogue, where
            each socket holds one of the plan's dialogue sessions as long as it is open.
        spare_lifetime: The time after which an idle connection is replaced; at least 10 s.
        on_utterance: A function that is called with an `UtteranceRecord` when the block of an utterance is left, in the
            task that leaves it; it must not block. What it raises is logged, and ends no call. `UtteranceRecord.log`
            logs one line. None: nothing is called.

    Raises:
        ConfigurationError: A value is not allowed; the message names the field and what is allowed.
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
    fallback: Literal["http"] | SecondSource | None = attrs.field(default=None, validator=unless_none(FALLBACK))
    max_replays: int = attrs.field(default=2, validator=whole(0, 10))
    phrase_policy: PhrasePolicy | PhrasesFactory = attrs.field(factory=PhrasePolicy, validator=POLICY)
    transforms: tuple[TransformFactory, ...] = attrs.field(
        default=(), validator=tuple_of("callables that make a Transform", 0, 20, makes_transform), converter=to_tuple
    )
    audio_cache: AudioCache | Literal["memory"] | None = attrs.field(default="memory", validator=unless_none(CACHE))
    opening_cache: AudioCache | Literal["memory"] | None = attrs.field(default=None, validator=unless_none(CACHE))
    hedge: Literal["auto"] | float | None = attrs.field(default=None, validator=unless_none(_HEDGE))
    limiter: Limiter | None = attrs.field(default=None, validator=unless_none(LIMITER))
    max_lead: float = attrs.field(default=20.0, validator=seconds(0.01))
    max_characters: int = attrs.field(default=100_000, validator=whole(1, 10_000_000))
    spares: int | None = attrs.field(default=None, validator=unless_none(whole(0, 3)))
    spare_lifetime: float = attrs.field(default=600.0, validator=seconds(10))
    on_utterance: Callable[[UtteranceRecord], object] | None = attrs.field(
        default=None, validator=unless_none(ON_UTTERANCE)
    )

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
            ConfigurationError: A value is missing or not allowed; the message names the field.
        """
        found = {
            name: value
            for name in ("api_key", "voice_id", "model_id", "language_code", "output_format", "base_url")
            if (value := os.environ.get(f"ELEVENLABS_{name.upper()}"))
        }
        values: dict[str, Any] = {"api_key": ""} | found | overrides
        if "voice_id" not in values:
            raise ConfigurationError(
                "voice_id: it is missing; pass voice_id=, or set ELEVENLABS_VOICE_ID", field="voice_id"
            )
        return cls(**values)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration, its API key too, for another process, which checks it like a new one.

        Raises:
            ConfigurationError: A value cannot be pickled, such as an `ssl_context`; the message names the field.
        """
        check_picklable(self)
        return partial(TTSConfig, **attrs.asdict(self, recurse=False)), ()

    def __copy__(self) -> TTSConfig:
        """Return the same object, which is immutable."""
        return self

    def __deepcopy__(self, _memo: object) -> TTSConfig:
        """Return the same object: a copy has to share its caches and limiters."""
        return self

    def evolve(self, **changes: Any) -> TTSConfig:
        """Return a copy with these fields changed.

        Raises:
            ConfigurationError: A value is not allowed; the message names the field and what is allowed.
        """
        return attrs.evolve(self, **changes)

    @property
    def format(self) -> AudioFormat:
        """The properties of `output_format`."""
        return OUTPUT_FORMATS[self.output_format]
