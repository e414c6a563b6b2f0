"""The settings of a voice, and the pronunciation dictionaries."""

from __future__ import annotations

import attrs

from tts_trio.config.validators import ID, is_a, matches, number, unless_none


@attrs.frozen(kw_only=True)
class VoiceSettings:
    """How the voice speaks. A field that is None is not sent, and the voice's stored setting applies.

    The fields and their ranges are those of `voice_settings` in the ElevenLabs API reference.

    Attributes:
        stability: 0.0 to 1.0; low is livelier, high is steadier. Over HTTP the v3 models take 0.0, 0.5 and 1.0 only.
        similarity_boost: 0.0 to 1.0; how close the voice keeps to the original speaker.
        style: 0.0 to 1.0; how much the voice exaggerates the speaker's style. Above 0 it adds latency.
        use_speaker_boost: Whether the service brings the voice closer to the speaker; True adds latency.
        speed: 0.7 to 1.2; 1.0 is the voice's own speed.
        clone_strength: 0.0 to 1.0; how close a professional voice clone keeps to its recordings. For the v4 models.

    Raises:
        ConfigurationError: A value is not allowed; the message names the field and what is allowed.
    """

    stability: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))
    similarity_boost: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))
    style: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))
    use_speaker_boost: bool | None = attrs.field(default=None, validator=unless_none(is_a(bool)))
    speed: float | None = attrs.field(default=None, validator=unless_none(number(0.7, 1.2)))
    clone_strength: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))

    def to_json(self) -> dict[str, float | bool]:
        """Return the fields that are set, as the JSON object `voice_settings` of the API."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@attrs.frozen(kw_only=True)
class PronunciationDictionary:
    """A pronunciation dictionary and its version (`pronunciation_dictionary_locators` of the API).

    Attributes:
        pronunciation_dictionary_id: The dictionary's id.
        version_id: The id of the dictionary's version. The API requires it over the WebSocket only; it is required
            here so that one configuration works for both.
    """

    pronunciation_dictionary_id: str = attrs.field(validator=matches(ID, "an id of 1 to 128 letters, digits, - or _"))
    version_id: str = attrs.field(validator=matches(ID, "an id of 1 to 128 letters, digits, - or _"))
