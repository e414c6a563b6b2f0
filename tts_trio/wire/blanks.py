"""The clips of silence that the service may send for a blank, and what is too much for one.

The frames that begin a context, or keep it alive, carry a blank for text. The service may answer it by a moment of
silence, which is no sound of an utterance.
"""

from __future__ import annotations

from tts_trio.config.audio_clock import AudioClock
from tts_trio.config.formats import AudioFormat
from tts_trio.wire.events import AudioReceived, Event, Final

_LONGEST_BLANK = 1.0  # seconds of the clip that a blank may give


def is_blank(event: AudioReceived) -> bool:
    """Tell whether a sound is timed for blanks alone."""
    alignment = event.normalized_alignment or event.alignment
    return alignment is not None and bool(alignment.chars) and "".join(alignment.chars).isspace()


def is_unasked(event: Event, audio_format: AudioFormat) -> bool:
    """Tell whether an event without text before it is more than the silence of a blank, which may come without times.

    Args:
        event: The event that the service sent.
        audio_format: The output format of the socket.
    """
    match event:
        case AudioReceived():
            if event.alignment is not None or event.normalized_alignment is not None:
                return not is_blank(event)
            clip = AudioClock.of(audio_format)
            clip.feed(event.audio)
            return clip.seconds > _LONGEST_BLANK
        case Final():
            return True
        case _:
            return False
