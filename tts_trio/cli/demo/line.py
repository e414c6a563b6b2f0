"""The telephone line: it plays both sides in real time, and records what it played."""

from __future__ import annotations

import io
import sys
import wave
from array import array

import trio

_BYTES = 2  # of a sample: signed 16-bit, little-endian, mono


class _Side:
    """The audio of one side of the call, from its beginning, silence included."""

    def __init__(self) -> None:
        self.played = bytearray()

    def play(self, audio: bytes, now: int) -> int:
        """Play audio now, or after the audio that is being played; return the sample at which it begins.

        Args:
            audio: The audio.
            now: The sample that the line plays now.
        """
        begins = max(now, len(self.played) // _BYTES)
        self.played += bytes(begins * _BYTES - len(self.played)) + audio
        return begins

    def stop(self, now: int) -> None:
        """Drop the audio that was not played before this sample."""
        del self.played[now * _BYTES :]


class Line:
    """A line on which a caller and an agent speak.

    Attributes:
        sample_rate: The sample rate in Hz, of signed 16-bit little-endian mono.
        began: When the call began, in seconds of trio's clock.
        caller: The audio of the caller, as it was heard.
        agent: The audio of the agent, as it was heard.
    """

    def __init__(self, sample_rate: int) -> None:
        """Begin the call."""
        self.sample_rate = sample_rate
        self.began = trio.current_time()
        self.caller = _Side()
        self.agent = _Side()

    def now(self) -> float:
        """Return the seconds since the call began."""
        return trio.current_time() - self.began

    def position(self) -> int:
        """Return the sample that is played now."""
        return round(self.now() * self.sample_rate)

    def say(self, audio: bytes) -> float:
        """Play audio of the caller; return the time of its end, in seconds of trio's clock."""
        begins = self.caller.play(audio, self.position())
        return self.began + (begins + len(audio) // _BYTES) / self.sample_rate

    def end(self) -> None:
        """Hang up, and make both sides as long as the call was."""
        now = self.position()
        for side in (self.caller, self.agent):
            side.stop(now)
            side.play(b"", now)

    def wav(self) -> bytes:
        """Return a stereo WAV file: the caller on the left, the agent on the right."""
        left, right = (_samples(bytes(side.played)) for side in (self.caller, self.agent))
        both = array("h", bytes(2 * _BYTES * len(left)))
        both[0::2], both[1::2] = left, right
        if sys.byteorder == "big":
            both.byteswap()
        data = io.BytesIO()
        with wave.open(data, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(_BYTES)
            file.setframerate(self.sample_rate)
            file.writeframes(both.tobytes())
        return data.getvalue()


def peaks(audio: bytes, samples: int) -> list[float]:
    """Return the peak of each run of so many samples, from 0 to 1."""
    heard = _samples(audio)
    runs = (heard[start : start + samples] for start in range(0, len(heard), samples))
    return [round(max(max(run), -min(run)) / 32768, 3) for run in runs]


def _samples(audio: bytes) -> array[int]:
    samples = array("h", audio)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
