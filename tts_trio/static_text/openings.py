"""The openings of replies in an audio cache: when they are read, when they are kept, and how they are fetched ahead.

A reply says an opening in the turn of trio's loop in which its LLM has written it, so it cannot wait for a file or for
Redis. It looks into memory alone: the cache itself if that is a `MemoryCache`, else a small one before it. Into that
one an opening comes from the cache when a conversation of this process has sent it for the first time.
"""

from __future__ import annotations

import copy
import functools
import itertools
import logging
import re
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

import attrs
import trio

from tts_trio.config.config import TTSConfig
from tts_trio.config.models import is_dialogue_model
from tts_trio.config.protocols import AudioCache
from tts_trio.errors import ConfigurationError, TTSConnectionError, TTSError
from tts_trio.speech.openings import LONGEST, MOST_PHRASES, Openings, SentBefore, is_short
from tts_trio.speech.reply import Reply
from tts_trio.static_text.entry import ExpectedAudio, decode, encode
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.memory_cache import MemoryCache, get_nowait, put_nowait
from tts_trio.static_text.prefetch import Foreground, wait_to_retry
from tts_trio.text import speakable
from tts_trio.text.audio_tags import visible
from tts_trio.text.input import TextInput, whole_text
from tts_trio.wire import endpoint_for
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.http import SpeechRequest

logger = logging.getLogger(__name__)

_BeginReply: TypeAlias = Callable[[TTSConfig, Openings], Awaitable[Reply]]

_BYTES = 16 * 2**20  # eight minutes of pcm_16000: some 200 openings
_PATIENCE = 1.0  # seconds to wait for the cache, where no caller waits


@attrs.define(eq=False)
class _Shared:
    """What all conversations with the same cache share.

    Attributes:
        memory: The openings that can be said at once, where the cache is no `MemoryCache`.
        sent: The phrases that were sent in these conversations.
        cache: The cache, where nothing else tells how long it is used.
    """

    memory: MemoryCache = attrs.field(factory=lambda: MemoryCache(_BYTES))
    sent: SentBefore = attrs.field(factory=SentBefore)
    cache: AudioCache | None = None


process_openings = functools.cache(_Shared)
_of_caches: dict[int, _Shared] = {}  # by the id of the cache, for as long as it lives


def _shared(cache: AudioCache) -> _Shared:
    """Return what the conversations with this cache share."""
    shared = _of_caches.get(id(cache))
    if shared is None:
        shared = _of_caches[id(cache)] = _Shared()
        try:
            weakref.finalize(cache, _of_caches.pop, id(cache), None)
        except TypeError:  # a class of the user's whose instances cannot be referenced weakly
            shared.cache = cache
    return shared


class KeptOpenings:
    """The openings that one conversation says from memory, and those that it adds."""

    def __init__(self, config: TTSConfig, cache: AudioCache | Literal["memory"]) -> None:
        """Begin a conversation.

        Args:
            config: What decides the sound: the host, the voice, the model, the settings, the format.
            cache: Where the openings are kept; "memory" is the memory of this process.
        """
        shared = process_openings() if cache == "memory" else _shared(cache)
        self._config = config
        self._sent = shared.sent
        self._conversation = shared.sent.begin()
        self._memory = cache if type(cache) is MemoryCache else shared.memory  # one of the user's may do otherwise
        self._cache: GuardedCache | None = None
        if cache != "memory" and cache is not self._memory:
            self._cache = GuardedCache(cache, _PATIENCE)
        self._endpoint = endpoint_for(config)

    def speaking(self, config: TTSConfig) -> KeptOpenings:
        """Return the openings of the same conversation in the sound of another configuration."""
        if config is self._config:
            return self
        other = copy.copy(self)
        other._config, other._endpoint = config, endpoint_for(config)
        return other

    def recall(self, phrase: str) -> Sequence[AudioReceived] | None:
        """Return the clip of a phrase, if it is in memory."""
        if not is_short(phrase):
            return None
        wanted = self._expected(phrase)
        stored = get_nowait(self._memory, wanted.key)
        if stored is None:
            return None
        try:
            clip = decode(wanted.key, stored)
            wanted.check(clip)
        except ValueError as error:
            logger.warning("a kept opening is damaged, so the service is asked: %s", error)
            return None
        return clip

    def wants(self, phrase: str) -> bool:
        """Note that a phrase is sent; tell whether its clip is to be kept: two conversations sent it, and it is not."""
        wanted = self._expected(phrase)
        is_new = wanted.key not in self._sent
        is_common = self._sent.note(wanted.key, self._conversation)
        if self.recall(phrase) is not None:
            return False
        if is_new and self._cache is not None:
            trio.lowlevel.spawn_system_task(self._fetch, wanted, name="tts_trio opening")
        return is_common

    def keep(self, phrase: str, clip: Sequence[AudioReceived]) -> None:
        """Keep the clip of a phrase, in memory at once, and in the cache soon."""
        wanted = self._expected(phrase)
        if self._remember(wanted, clip) and self._cache is not None:
            trio.lowlevel.spawn_system_task(self._cache.put, wanted, clip, name="tts_trio opening")

    async def bring(self, phrase: str) -> bool:
        """Bring the clip of a phrase into memory, if the cache has it; return whether it is there."""
        if self.recall(phrase) is None:
            await self._fetch(self._expected(phrase))
        return self.recall(phrase) is not None

    async def store(self, phrase: str, clip: Sequence[AudioReceived]) -> None:
        """Do what `keep` does, and return when the cache has the clip."""
        wanted = self._expected(phrase)
        if self._remember(wanted, clip) and self._cache is not None:
            await self._cache.put(wanted, clip)

    async def _fetch(self, wanted: ExpectedAudio) -> None:
        clip = None if self._cache is None else await self._cache.get(wanted)
        if clip is not None:
            self._remember(wanted, clip)

    def _remember(self, wanted: ExpectedAudio, clip: Sequence[AudioReceived]) -> bool:
        """Keep a clip in memory; return False if it cannot be the audio of its text."""
        try:
            wanted.check(clip)
        except ValueError as error:
            logger.warning("an opening is not kept: %s", error)
            return False
        put_nowait(self._memory, wanted.key, encode(wanted.key, clip))
        return True

    def _expected(self, phrase: str) -> ExpectedAudio:
        """Return what the clip of a phrase is kept as: by all that is said to the service before it comes.

        The blanks with which a reply may begin are left out, as nothing is heard of them.
        """
        phrase = phrase.lstrip()
        frames = f"{self._endpoint.begin(None)}\n{self._endpoint.text(None, phrase)}"
        request = SpeechRequest(self._endpoint.path(), frames.encode(), text=phrase)
        return ExpectedAudio.of(self._config, request)


@attrs.define(eq=False)
class _Asked:
    """Takes the clip of a phrase that was asked for, whoever sent it before."""

    clip: Sequence[AudioReceived] | None = None

    def recall(self, phrase: str) -> Sequence[AudioReceived] | None:
        return None

    def wants(self, phrase: str) -> bool:
        return True

    def keep(self, phrase: str, clip: Sequence[AudioReceived]) -> None:
        self.clip = clip


def phrases_of_openings(config: TTSConfig, openings: Iterable[str]) -> list[str]:
    """Cut openings as an LLM's reply is cut that comes word by word, and return the phrases that may be said.

    Raises:
        TypeError: They are a single `str`, or one of them is not a `str`.
        ConfigurationError: One of them cannot be spoken or kept, or has more than `max_characters`; the message says
            which.
    """
    if isinstance(openings, str):
        raise TypeError("openings must be a list of texts, not a single str; pass [opening]")
    phrases: dict[str, None] = {}  # in order
    for text in [whole_text(opening) for opening in openings]:
        cut = dict.fromkeys(_cut(config, text))
        said = "".join(cut)
        if not speakable(visible(said) if is_dialogue_model(config.model_id) else said):
            raise ConfigurationError(
                f"openings: nothing in {text!r} can be spoken; it needs a letter or a digit", field="openings"
            )
        phrases |= cut
    for phrase in phrases:
        if len(phrase) > config.max_characters:
            raise ConfigurationError(
                f"max_characters: the phrase {phrase.strip()!r} has more than {config.max_characters} characters; "
                "shorten it, or raise max_characters",
                field="max_characters",
            )
        if not is_short(phrase):
            raise ConfigurationError(
                f"openings: the phrase {phrase.strip()!r} has more than {LONGEST} characters, so that it is not kept; "
                "shorten it, or cut it with phrase_policy",
                field="openings",
            )
    return list(phrases)


def _cut(config: TTSConfig, text: str) -> Iterator[str]:
    """Yield the phrases of an opening, as cut where its tokens begin with their blanks, and where they end with them.

    Models write either. A phrase ends when enough is known of the next word, so that the cuts may differ. Only the
    first phrases are said from memory.
    """
    text = text.strip()
    for tokens in (re.findall(r"\s*\S+", text), re.findall(r"\S+\s*", f"{text} ")):
        reply = TextInput.of(config, 0.0)
        for token in tokens:
            reply.take(token, 0.0)
            reply.read(0.0, 0.0)
        reply.close()
        while not reply.complete:
            reply.read(0.0, 0.0)
        yield from itertools.islice(reply.phrases, MOST_PHRASES)


async def prefetch_openings(
    openings: Iterable[str],
    kept: KeptOpenings | None,
    begin_reply: _BeginReply,
    config: TTSConfig,
    foreground: Foreground,
) -> None:
    """Have each phrase spoken that is not kept yet, over a connection of its own, one after another.

    Args:
        openings: The texts with which replies begin.
        kept: Where their clips go; None: the configuration has no `opening_cache`.
        begin_reply: Waits for a connection, and returns a reply that speaks over it.
        config: The configuration of the conversation.
        foreground: The utterances of the conversation, which go first.

    Raises:
        TypeError, ConfigurationError: As `phrases_of_openings`; or there is no `opening_cache`.
        TTSError: The service did not speak a phrase.
    """
    if kept is None:
        says = 'opening_cache: None is not allowed for prefetch_openings; set it to "memory" or to a cache'
        raise ConfigurationError(says, field="opening_cache")
    for phrase in phrases_of_openings(config, openings):
        if await kept.bring(phrase):
            continue
        clip = await _ask(phrase, begin_reply, config, foreground)
        if clip is None:
            logger.warning("an opening was not kept: the times that the service sent for it do not cover it")
        else:
            await kept.store(phrase, clip)


async def _ask(
    phrase: str, begin_reply: _BeginReply, config: TTSConfig, foreground: Foreground
) -> Sequence[AudioReceived] | None:
    """Have a phrase spoken, and retry where that can help; return its clip, or None if its times do not cover it."""
    failures = 0
    while True:
        await foreground.wait_until_idle()
        try:
            return await _clip_of(phrase, begin_reply, config)
        except TTSError as error:
            failures += 1
            await wait_to_retry(error, failures, config)


async def _clip_of(phrase: str, begin_reply: _BeginReply, config: TTSConfig) -> Sequence[AudioReceived] | None:
    """Have a phrase spoken once, as a whole: what is said again after a loss is a part of it, which is not kept."""
    asked = _Asked()
    reply = await begin_reply(config.evolve(fallback=None, on_lost_connection="raise", max_replays=0), asked)
    try:
        reply.utterance.say(phrase, trio.current_time())
        reply.changed()
        await reply.run()
    finally:
        reply.leave()
    if (error := reply.utterance.error) is not None:
        raise error
    if asked.clip is None and not reply.utterance.segments.current.finished:
        raise TTSConnectionError("the connection was lost before the service had reported the end of an opening")
    return asked.clip
