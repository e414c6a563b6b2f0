"""The task that runs a static text: it requests the audio, passes the answer on, and retries where that can help."""

from __future__ import annotations

import logging
import math
from collections import deque
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs
import trio

from tts_trio._nurseries import WaitingTasks, single_error
from tts_trio.config.config import TTSConfig
from tts_trio.config.models import ADVISED_DIALOGUE, is_dialogue_model, is_v4
from tts_trio.errors import ConcurrencyError, ConfigurationError, TTSError
from tts_trio.limits.backoff import Backoff
from tts_trio.speech.driver import Driver
from tts_trio.speech.results import Receipt
from tts_trio.static_text.cached_source import CachedSource
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import (
    AudioSource,
    Hedged,
    RequestSent,
    ResponseStarted,
    Service,
    SlotAcquired,
    SourceEvent,
)
from tts_trio.text import speakable
from tts_trio.text.audio_tags import visible
from tts_trio.text.input import whole_text
from tts_trio.transport.timers import Timer, has_expired
from tts_trio.wire.events import AudioReceived, Final
from tts_trio.wire.http import SpeechRequest, stream_request

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections

logger = logging.getLogger(__name__)

LONGEST_CACHED = 1000
"""The most characters of a text that is cached. The audio of a longer one is passed on, and never held whole."""

_MOST_STITCHED = 3  # ids of earlier requests in one request (ElevenLabs API reference)
_BACKOFF = Backoff(first=0.2)
_STITCHED_FOR = 7200.0  # seconds after which an id is too old (ElevenLabs' guide to request stitching)


@attrs.frozen
class StaticTextRequest:
    """A static text to speak, with its voice and the texts around it.

    Attributes:
        config: The configuration, with the voice and the voice settings of this text.
        text: The text to speak.
        previous_text: The text that was said before, or None.
        next_text: The text that will be said after, or None.
    """

    config: TTSConfig
    text: str
    previous_text: str | None = None
    next_text: str | None = None

    @classmethod
    def checked(
        cls,
        config: TTSConfig,
        text: str,
        *,
        previous_text: str | None = None,
        next_text: str | None = None,
    ) -> StaticTextRequest:
        """Make a request of the caller's arguments, which are checked before any byte is sent.

        Args:
            config: The configuration, with the voice and the voice settings of this text.
            text: The text to speak.
            previous_text: The text that was said before, or None.
            next_text: The text that will be said after, or None.

        Raises:
            TypeError: A text is not a `str`.
            ConfigurationError: An argument is not allowed; the message names it and what is allowed.
        """
        text = whole_text(text)
        previous_text = None if previous_text is None else whole_text(previous_text)
        next_text = None if next_text is None else whole_text(next_text)
        if not speakable(visible(text) if is_dialogue_model(config.model_id) else text):
            raise ConfigurationError(
                "text: nothing in it can be spoken; it needs a letter or a digit, for the v3 and v4 models outside of "
                "[audio tags]",
                field="text",
            )
        if is_v4(config.model_id) and len(text) > ADVISED_DIALOGUE:
            _warn_of_long_text()
        if len(text) > config.max_characters:
            raise ConfigurationError(
                f"text: it has {len(text)} characters; it may have at most {config.max_characters} (max_characters)",
                field="text",
            )
        request = cls(config, text, previous_text, next_text)
        request.speech_request()  # raises for what the model does not take
        return request

    @property
    def cacheable(self) -> bool:
        """Whether a cache may keep the audio: the text is short, and its sound does not depend on earlier requests."""
        return len(self.text) <= LONGEST_CACHED and not self.config.request_stitching

    def speech_request(self, previous_request_ids: tuple[str, ...] = ()) -> SpeechRequest:
        """Return the HTTP request for the text.

        Args:
            previous_request_ids: The earlier requests that it follows, unless the caller gave a `previous_text`.
        """
        if self.previous_text or not previous_request_ids:
            return self._speech_request
        return self._make_request(previous_request_ids)

    @cached_property
    def _speech_request(self) -> SpeechRequest:
        return self._make_request()

    def _make_request(self, previous_request_ids: tuple[str, ...] = ()) -> SpeechRequest:
        return stream_request(
            self.config,
            self.text,
            previous_text=self.previous_text,
            next_text=self.next_text,
            previous_request_ids=previous_request_ids,
            timed=self.config.static_timestamps,
        )


@cache
def _warn_of_long_text() -> None:
    logger.warning("a text for a v4 model has over %s characters; the service advises to split it", ADVISED_DIALOGUE)


def source_for(request: StaticTextRequest, http: HttpConnections, cache: GuardedCache | None) -> AudioSource:
    """Return the source of a text's audio: the service, with the cache before it if the cache may keep the text.

    Args:
        request: The text.
        http: The hot HTTP connections of the conversation.
        cache: The cache, or None.
    """
    if cache is None or not request.cacheable:
        return _service(request.config, http, outlives=False)
    return CachedSource(request.config, cache, _service(request.config, http, outlives=True))


def _service(config: TTSConfig, http: HttpConnections, *, outlives: bool) -> Service:
    if config.hedge is None:
        return Service(http, config.limiter, outlives)
    from tts_trio.limits.hedging import Hedging  # loaded late: few ask for it
    from tts_trio.static_text.hedged_request import HedgedService

    return HedgedService(http, config.limiter, outlives, hedging=Hedging.of_static_texts(config))


class RequestHistory:
    """The last requests of a conversation that were answered whole, by voice, for request stitching."""

    def __init__(self) -> None:
        self._answered: dict[str, deque[tuple[float, str]]] = {}

    def add(self, voice_id: str, request_id: str) -> None:
        """Note a request whose answer is complete."""
        self._answered.setdefault(voice_id, deque(maxlen=_MOST_STITCHED)).append((trio.current_time(), request_id))

    def last(self, voice_id: str) -> tuple[str, ...]:
        """Return the ids of the requests that the next one may name, the oldest first."""
        young = trio.current_time() - _STITCHED_FOR
        return tuple(request_id for since, request_id in self._answered.get(voice_id, ()) if since > young)


class StaticText(Driver):
    """Runs a static text: one HTTP request, whose answer is the audio."""

    kind: ClassVar[Literal["reply", "static text"]] = "static text"

    def __init__(self, request: StaticTextRequest, source: AudioSource, history: RequestHistory) -> None:
        """Begin a text.

        Args:
            request: The text, with its voice.
            source: The source of its audio.
            history: The requests of the conversation, to which this one is added.
        """
        super().__init__(request.config, static=True)
        self.utterance.say(request.text, trio.current_time())
        self._request = request
        self._source = source
        self._history = history
        self._answered: ResponseStarted | None = None
        self._nursery: trio.Nursery | None = None
        self._timer: Timer | None = None  # None until the first request, before which nothing is due
        self._heard_more = WaitingTasks()
        self._connection_noted = False
        self._losses = 0
        self._retry_at = 0.0
        self._admitted = math.inf

    async def _speak(self) -> None:
        """Request the audio, and pass it on as it comes; retry where that can help and no audio has come."""
        try:
            with single_error:
                async with trio.open_nursery() as self._nursery:
                    while self.utterance.ended is None:
                        await self._attempt()
                    self._nursery.cancel_scope.cancel(reason="the utterance has ended")
        finally:
            self._nursery = None  # the caller may keep the channel, which holds this object

    async def _attempt(self) -> None:
        """Request the audio once."""
        with trio.CancelScope() as self._asking:
            if self._losses:
                await trio.sleep_until(self._retry_at)
            self._connection_noted = False
            try:
                await self._ask()
            except TTSError as error:
                self._lost(error)

    def changed(self) -> None:
        """Wake the task, which may read more of the answer, and the tasks that wait for audio."""
        self._heard_more.wake()
        self._wake_readers()
        if self.utterance.ended is not None and self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason="the utterance has ended")

    @trio.lowlevel.enable_ki_protection
    async def _keep_deadlines(self, timer: Timer) -> None:
        while True:
            await timer.wait(self.utterance.overdue_at())
            if await has_expired(self.utterance.overdue_at):
                self.utterance.expire(trio.current_time())
                self._asking.cancel(reason="the service is late")

    def _lost(self, error: TTSError) -> None:
        now = trio.current_time()
        self._note_connection()  # for `lost`: a slot or a dial that failed counts as a lost connection
        self._losses += 1
        self._retry_at = now + _BACKOFF.after(self._losses, error.retry_after)
        self.utterance.lost(error, now)
        never_asked = "first_sent" not in self.utterance.moments
        patience = self._admitted + self._config.timeouts.connect if never_asked else self.utterance.deadline()
        # Without a status it is the limiter's own error, which comes after the limiter's timeout.
        no_slot = isinstance(error, ConcurrencyError) and error.status is None and error.retry_after is None
        if no_slot or patience <= self._retry_at:
            self.utterance.fail(error, now)  # a retry would come too late, and this error says why

    def _note_connection(self) -> None:
        """Note the connection of this attempt, once: it may have been given up already, because it was late."""
        if not self._connection_noted:
            self._connection_noted = True
            self.utterance.connected()

    async def _ask(self) -> None:
        voice_id = self._config.voice_id
        stitched = self._history.last(voice_id) if self._config.request_stitching else ()
        await self._source.ask(self._request.speech_request(stitched), self._take)
        self.utterance.receive(Final(), trio.current_time())
        if self._answered is not None and self._answered.charged and self._answered.request_id:
            self._history.add(voice_id, self._answered.request_id)

    async def _take(self, event: SourceEvent) -> None:
        match event:
            case SlotAcquired():
                self._admitted = min(self._admitted, trio.current_time())
                return
            case RequestSent():
                now = trio.current_time()
                self._note_connection()
                self.utterance.phrases_to_send(now)
                self.utterance.end_to_send(now)
                self.utterance.deadlines.renew(now)
            case ResponseStarted():
                self._answered = event
                self.utterance.receipt = Receipt(event.charged, event.credits, event.request_id, event.trace_id)
                if event.charged:
                    self.utterance.connection = "dialed" if event.dialed else "reused"
            case AudioReceived():
                self.utterance.receive(event, trio.current_time())
                self._wake_readers()
                if self.utterance.ended is not None:
                    self._asking.cancel(reason="the utterance failed by this audio")
                await self._wait_for_room()
            case Hedged():
                self.utterance.hedge = "won" if event.won else "lost"
                self.utterance.hedged_characters += event.characters
        if self._timer is None:
            assert self._nursery is not None
            self._timer = Timer()
            self._nursery.start_soon(self._keep_deadlines, self._timer)
        else:
            self._timer.bring_forward(self.utterance.overdue_at())

    async def _wait_for_room(self) -> None:
        """Wait until the listener needs more audio. The service waits meanwhile, and is not late."""
        while (room_at := self.utterance.room_at()) > trio.current_time():
            self.utterance.paused = True
            try:
                with trio.move_on_at(room_at):
                    await self._heard_more.wait()
            finally:
                self.utterance.paused = False
            self.utterance.deadlines.restart(trio.current_time())


class StaticTexts:
    """The static texts of one conversation."""

    def __init__(self, cache: GuardedCache | None) -> None:
        """Begin a conversation; its texts are looked for in the cache, if there is one."""
        self._cache = cache
        self._history = RequestHistory()

    def begin(
        self, config: TTSConfig, text: str, http: HttpConnections, *, previous_text: str | None, next_text: str | None
    ) -> StaticText:
        """Check a text, and begin to speak it over these connections; the rest is as in `StaticTextRequest.checked`."""
        request = StaticTextRequest.checked(config, text, previous_text=previous_text, next_text=next_text)
        return StaticText(request, source_for(request, http, self._cache), self._history)
