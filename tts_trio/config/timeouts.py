"""How long each thing may take: `Timeouts`, a part of the configuration."""

from __future__ import annotations

from typing import Any

import attrs

from tts_trio.config.validators import Rule, seconds, unless_none


def _checked_by(rule: Rule) -> Any:
    """Return a validator whose refusals name the field as the user reaches it: `timeouts.stall`."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        rule.check(f"timeouts.{attribute.name}", value)

    return check


_SECONDS = _checked_by(seconds(0.001))


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long each thing may take, in seconds: `TTSConfig(timeouts=Timeouts(connect=3, stall=2))`.

    `int` or `float`, 0.001 to 1,000,000 (11 days) where a field does not say otherwise. A `ConfigurationError` names
    the field, such as `timeouts.stall`.

    Attributes:
        connect: One dial (DNS, TCP, TLS, upgrade, first pong), and the longest wait of `connect`, `start_llm_stream`
            and `speak` for a hot connection.
        first_audio: From text that should be heard to its first sound. None: 2 s, or 5 s for the v3 and v4 models,
            which are slower.
        stall: Between two pieces of audio while more is owed.
        reply: Without any audio while some is owed, all retries included.
        text: How long a reply may go without text before it fails.
        close: For saying goodbye to the service, at most.
        cache: The longest wait for the audio cache, before the service is asked.
        ping: For a pong; after it the socket counts as lost. At least 0.1 s.
    """

    connect: float = attrs.field(default=5.0, validator=_SECONDS)
    first_audio: float | None = attrs.field(default=None, validator=_checked_by(unless_none(seconds(0.001))))
    stall: float = attrs.field(default=3.0, validator=_SECONDS)
    reply: float = attrs.field(default=10.0, validator=_SECONDS)
    text: float = attrs.field(default=120.0, validator=_SECONDS)
    close: float = attrs.field(default=0.25, validator=_SECONDS)
    cache: float = attrs.field(default=0.02, validator=_SECONDS)
    ping: float = attrs.field(default=5.0, validator=_checked_by(seconds(0.1)))
