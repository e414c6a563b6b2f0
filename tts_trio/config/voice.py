"""How a voice speaks: its settings, and the dictionaries it reads by."""

from __future__ import annotations

import attrs

from tts_trio.config.validators import ID, is_a, matches, number, unless_none


@attrs.frozen(kw_only=True)
class VoiceSettings:
    """How the voice speaks. What is None is not sent, and the voice's stored setting holds.

    Ranges as in the ElevenLabs API reference (`voice_settings`).

    Attributes:
        stability: 0.0 to 1.0; low is livelier, high is steadier. Over HTTP the v3 models take 0.0, 0.5 and 1.0 only.
        similarity_boost: 0.0 to 1.0; how close to the original speaker.
        style: 0.0 to 1.0; above 0 it adds latency.
        use_speaker_boost: True adds latency.
        speed: 0.7 to 1.2; 1.0 is the voice's own.
        clone_strength: 0.0 to 1.0; how close to the recordings, for professional voice clones on the v4 models.
    """

    stability: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))
    similarity_boost: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))
    style: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))
    use_speaker_boost: bool | None = attrs.field(default=None, validator=unless_none(is_a(bool)))
    speed: float | None = attrs.field(default=None, validator=unless_none(number(0.7, 1.2)))
    clone_strength: float | None = attrs.field(default=None, validator=unless_none(number(0.0, 1.0)))

    def to_json(self) -> dict[str, float | bool]:
        """Return the object as the service takes it, without what is unset."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@attrs.frozen(kw_only=True)
class PronunciationDictionary:
    """A pronunciation dictionary and its version (`pronunciation_dictionary_locators` of the API).

    Attributes:
        pronunciation_dictionary_id: Its id.
        version_id: Its version: optional over HTTP, but the WebSocket wants it, so it is required here.
    """

    pronunciation_dictionary_id: str = attrs.field(validator=matches(ID, "an id of letters and digits"))
    version_id: str = attrs.field(validator=matches(ID, "an id of letters and digits"))
