"""The audio of a filler, which is requested as a static text is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tts_trio.config.config import TTSConfig
from tts_trio.config.filler import Filler
from tts_trio.errors import ConfigurationError
from tts_trio.speech.interjections import Clip
from tts_trio.static_text.driver import StaticTextRequest, source_for
from tts_trio.static_text.guarded_cache import GuardedCache
from tts_trio.static_text.source import ResponseStarted, SourceEvent
from tts_trio.wire.events import AudioReceived

if TYPE_CHECKING:
    from tts_trio.transport.http import HttpConnections


def clip_of(
    filler: Filler, config: TTSConfig, http: HttpConnections, cache: GuardedCache | None
) -> Callable[[], Awaitable[Clip]]:
    """Check a filler, and return the function that requests its audio, from the cache or over HTTP.

    Args:
        filler: The filler.
        config: The configuration of the reply.
        http: The hot HTTP connections of the conversation.
        cache: The cache, or None.

    Raises:
        ConfigurationError: The text cannot be spoken, or is too long; or the format is opus.
    """
    if config.format.codec == "opus":
        raise ConfigurationError(
            "filler: it is not possible with opus, as the rest of the reply would be a new Ogg stream; set it to None, "
            "or set another output_format",
            field="filler",
        )
    request = StaticTextRequest.checked(config, filler.text)
    source = source_for(request, http, cache)

    async def ask() -> Clip:
        audio: list[AudioReceived] = []
        charged = False

        async def take(event: SourceEvent) -> None:  # noqa: ASYNC910, ASYNC124 - what is there is taken
            nonlocal charged
            if isinstance(event, AudioReceived):
                audio.append(event)
            elif isinstance(event, ResponseStarted):
                charged = event.charged

        await source.ask(request.speech_request(), take)
        return Clip(audio, charged)

    return ask
