"""What is said while an LLM, or a tool of it, is silent."""

from __future__ import annotations

import attrs

from tts_trio.config.validators import Rule, seconds, unless_none


@attrs.frozen
class Filler:
    """A static text that a reply says while its LLM is silent, such as during a call of a tool.

    It is said when the caller has heard all that there was, and no text has come, for `after` seconds. It is never cut:
    the audio of the reply follows it, so keep it short. Its words have `Word.filler` set; they are not in
    `audio.spoken`, nor in the outcome. Its audio comes from `audio_cache`, or else over HTTP, which takes longer: fetch
    it with `prefetch`. Where it cannot be had, it is left out.

    Attributes:
        text: The text.
        after: The seconds of silence before it, at least 0.1.
        every: Seconds after its end before it may be said again in the same reply; None: it is said once.

    Raises:
        ConfigurationError: A value is not allowed; the message names the field and what is allowed.
    """

    text: str = attrs.field(validator=Rule("a str", lambda value: isinstance(value, str)))
    after: float = attrs.field(default=0.8, kw_only=True, validator=seconds(0.1))
    every: float | None = attrs.field(default=None, kw_only=True, validator=unless_none(seconds(0.1)))
