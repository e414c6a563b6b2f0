"""How long each thing may take: `Timeouts`, a part of the configuration."""

from __future__ import annotations

import attrs

from tts_trio.config.validators import Rule, seconds, unless_none


def _at_least(low: float) -> Rule:
    """Return the rule for a duration, whose errors name the field as the user reaches it: `timeouts.stall`."""
    return attrs.evolve(seconds(low), within="timeouts.")


_SECONDS = _at_least(0.001)


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each thing may take, in seconds: `TTSConfig(timeouts=Timeouts(connect=3, stall=2))`.

    Each field is an `int` or `float` from 0.001 to 1,000,000 (11 days) where it does not say otherwise.

    Attributes:
        connect: The longest dial (DNS, TCP, TLS, upgrade, first pong), and the longest time for which `connect`,
            `start_llm_stream` and `speak` wait for a hot connection.
        first_audio: The longest time from the sending of text to its first audio. After it the connection counts as
            lost. None: 2 s, or 5 s for the v3 and v4 models, which are slower.
        stall: The longest gap between two pieces of audio while the service owes more. After it the connection counts
            as lost.
        reply: The longest time without audio while the service owes some, retries included. After it the utterance
            fails.
        text: The longest time for which a reply may get no text from the caller. After it the reply fails.
        close: The longest time for the closing handshake of a connection.
        cache: The longest wait for the audio cache. After it the service is asked for the audio.
        ping: The longest wait for a pong, at least 0.1 s. After it the socket counts as lost.

    Raises:
        ConfigurationError: A value is out of range; the message names the field, such as `timeouts.stall`.
    """

    connect: float = attrs.field(default=5.0, validator=_SECONDS)
    first_audio: float | None = attrs.field(default=None, validator=unless_none(_SECONDS))
    stall: float = attrs.field(default=3.0, validator=_SECONDS)
    reply: float = attrs.field(default=10.0, validator=_SECONDS)
    text: float = attrs.field(default=120.0, validator=_SECONDS)
    close: float = attrs.field(default=0.25, validator=_SECONDS)
    cache: float = attrs.field(default=0.02, validator=_SECONDS)
    ping: float = attrs.field(default=5.0, validator=_at_least(0.1))
