"""How long audio lasts, and where its bytes may be cut.

Nothing here decodes audio. The duration of PCM and of the telephone codecs is counted in samples, that of mp3 by its
frame headers, and that of opus by the granule positions of its Ogg pages. A stream may come in pieces of any size.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from tts_trio.config.formats import AudioFormat, Codec


def beginning(format: AudioFormat, audio: bytes, seconds: float) -> bytes:  # noqa: A002 - what it is called everywhere
    """Return the first seconds of this audio, to the nearest sample, or up to the end of an mp3 frame or Ogg page.

    Args:
        format: The format of the audio.
        audio: The audio; it begins where a sample, a frame or a page begins.
        seconds: How much of it to return, in seconds; at least 0.
    """
    if format.sample_bytes is not None:
        return audio[: round(seconds * format.sample_rate) * format.sample_bytes]
    return audio[: _unit_counter(format.codec).reach(bytearray(audio), seconds)]


def most_bytes(format: AudioFormat, seconds: float) -> float:  # noqa: A002 - what it is called everywhere
    """Return the most bytes that so many seconds of audio can have.

    For mp3 and opus this is twice what their bitrate says, because the bitrate is a mean.
    """
    if format.sample_bytes is not None:
        return seconds * format.sample_bytes * format.sample_rate
    return seconds * 250 * (format.bitrate or 0)


class WholeSamples:
    """Cuts a byte stream where a sample, an mp3 frame or an Ogg page ends, and measures how long it lasts.

    ElevenLabs' HTTP chunks have odd sizes (wire/README.md, 1.6), so a 16-bit sample can lie in two chunks.
    A stream of mp3 begins with an ID3 tag (reported by users). The tag is left out: the streams of one utterance are
    joined, and a decoder takes a tag in the middle for damage.

    Attributes:
        held: The bytes of the last sample, frame or page, whose end has not arrived yet.
        clock: The duration of the audio returned so far.
    """

    __slots__ = ("_before_tag", "clock", "held")

    def __init__(self, format: AudioFormat) -> None:  # noqa: A002 - it is what users call it
        self.clock = AudioClock.of(format)
        self.held = b""
        self._before_tag = format.codec == "mp3"

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the stream, return the whole samples, frames or pages, and hold the rest."""
        if self._before_tag:
            data, self.held = self.held + data, b""
            tag = _id3_length(data, 0)
            if len(data) < max(tag, _LONGEST_TAG_HEADER):
                self.held = data
                return b""
            self._before_tag = False
            data = data[tag:]
        self.clock.feed(data)
        if self.held:
            data = self.held + data
        end = len(data) - self.clock.pending
        self.held = data[end:]
        return data[:end] if self.held else data


class AudioClock(ABC):
    """Measures how long the audio in a byte stream lasts, wherever the stream is cut into pieces.

    Only whole samples, mp3 frames and Ogg pages count. Bytes that cannot be read (garbage between mp3 frames, a lost
    page) add nothing to the duration, and `feed` never raises.

    Attributes:
        seconds: The duration of the audio fed so far, in seconds.
        pending: How many of the last bytes belong to a sample, frame or page whose end has not arrived yet.
    """

    __slots__ = ("pending", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pending: int = 0

    @staticmethod
    def of(format: AudioFormat) -> AudioClock:  # noqa: A002 - it is what users call it
        """Make the clock of a format."""
        if format.sample_bytes is None:
            return _unit_counter(format.codec)
        return _SampleCounter(format.sample_bytes, format.sample_rate)

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Count the next bytes of the stream."""


def _unit_counter(codec: Codec) -> _UnitCounter:
    return _Mp3Counter() if codec == "mp3" else _OggOpusCounter()


class _SampleCounter(AudioClock):
    """Counts PCM and the telephone codecs, in which every sample has the same number of bytes."""

    __slots__ = ("_bytes", "_sample_bytes", "_sample_rate")

    def __init__(self, sample_bytes: int, sample_rate: int) -> None:
        super().__init__()
        self._sample_bytes = sample_bytes
        self._sample_rate = sample_rate
        self._bytes = 0

    def feed(self, data: bytes) -> None:
        self._bytes += len(data)
        samples, self.pending = divmod(self._bytes, self._sample_bytes)
        self.seconds = samples / self._sample_rate


# The most frames, pages or pieces of garbage that one call of `feed` reads: 8 minutes of mp3, or 20 ms of work.
# The rest of the bytes of that call adds nothing to the duration.
_MOST_UNITS = 20_000


class _UnitCounter(AudioClock):
    """Walks over a stream of units (frames, pages) whose headers tell their length."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = bytearray()
        self._skip = 0  # bytes of the last unit that have not arrived, and need not be read

    def feed(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = self._skip
        units = 0
        while at < len(buffer) and (length := self._unit(buffer, at)):
            units += 1
            at = at + length if units < _MOST_UNITS else len(buffer)
        self._skip = max(0, at - len(buffer))
        del buffer[:at]
        self.pending = len(buffer)

    def reach(self, data: bytearray, seconds: float) -> int:
        """Return how many bytes the first whole units have that last so many seconds; all units if they are too few."""
        at = 0
        while self.seconds < seconds and at < len(data) and (length := self._unit(data, at)):
            at += length
        return at

    @abstractmethod
    def _unit(self, buffer: bytearray, at: int) -> int:
        """Count the unit at this place, and return its length in bytes; 0 if the length needs more bytes.

        The length may reach beyond the end of the buffer: those bytes are skipped when they arrive.
        """


# Kilobits a second, by the header's bitrate index; 0 is the free format, which nobody streams.
_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_MPEG1_RATES = (44100, 48000, 32000, 0)
_RATE_DIVISOR = {3: 1, 2: 2, 0: 4}  # by the header's version field: MPEG-1, MPEG-2, MPEG-2.5
_LONGEST_TAG_HEADER = 10
_MP3_HEADER = re.compile(rb"\xff(?:[\xe2\xe3\xf2\xf3\xfa\xfb]|\Z)")  # its first two bytes, or one at the buffer's end
_INFO_FRAMES = (b"Xing", b"Info", b"VBRI")


class _Mp3Counter(_UnitCounter):
    """Counts mp3 frames by their headers. Tags (ID3) and information frames (Xing, Info, VBRI) have no duration."""

    def __init__(self) -> None:
        super().__init__()
        self._in_step = True  # whether the last unit ended where the next one begins, so that one header is enough

    def _unit(self, buffer: bytearray, at: int) -> int:
        available = len(buffer) - at
        if available < _LONGEST_TAG_HEADER:
            return 0
        if self._in_step and (tag := _id3_length(buffer, at)):
            return tag
        length, seconds = _mp3_frame(buffer, at)
        if length and not self._in_step:
            # Garbage can look like one header, but hardly like two at the right distance.
            if available < length + 4:
                return 0
            length = length if _mp3_frame(buffer, at + length)[0] else 0
        if not length:
            self._in_step = False
            following = _MP3_HEADER.search(buffer, at + 1)
            return (following.start() if following else len(buffer)) - at
        self._in_step = True
        if available < length:
            return 0
        if not any(name in buffer[at + 4 : at + 44] for name in _INFO_FRAMES):
            self.seconds += seconds
        return length


def _mp3_frame(buffer: bytearray, at: int) -> tuple[int, float]:
    """Return the length of the Layer III frame at this place, in bytes and in seconds; (0, 0) if there is no header."""
    second, third = buffer[at + 1], buffer[at + 2]
    divisor = _RATE_DIVISOR.get(second >> 3 & 3)
    if buffer[at] != 0xFF or second & 0xE0 != 0xE0 or second >> 1 & 3 != 1 or divisor is None:
        return 0, 0.0
    kbps = (_MPEG1_KBPS if divisor == 1 else _MPEG2_KBPS)[third >> 4]
    sample_rate = _MPEG1_RATES[third >> 2 & 3] // divisor
    if not kbps or not sample_rate:
        return 0, 0.0
    samples = 1152 if divisor == 1 else 576
    return samples // 8 * kbps * 1000 // sample_rate + (third >> 1 & 1), samples / sample_rate


def _id3_length(buffer: bytes | bytearray, at: int) -> int:
    """Return the length of the ID3 tag at this place, in bytes; 0 if there is none."""
    if buffer.startswith(b"TAG", at):
        return 128
    if not buffer.startswith(b"ID3", at):
        return 0
    size = 0
    for byte in buffer[at + 6 : at + 10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


_OGG_HEADER = 27
_OPUS_RATE = 48_000
_LONGEST_PAGE = 255 * _OPUS_RATE * 120 // 1000  # samples: on a page end at most 255 packets of at most 120 ms


class _OggOpusCounter(_UnitCounter):
    """Counts opus by the granule positions of its Ogg pages. Chained streams add up."""

    def __init__(self) -> None:
        super().__init__()
        self._earlier_streams = 0
        self._samples = 0
        self._pre_skip = 0
        self._granule = 0

    def _unit(self, buffer: bytearray, at: int) -> int:
        available = len(buffer) - at
        if not buffer.startswith(b"OggS\0", at) and available >= 5:
            following = buffer.find(b"OggS", at + 1)
            return following - at if following >= 0 else max(1, available - 3)
        if available < _OGG_HEADER or available < (body := _OGG_HEADER + buffer[at + 26]):
            return 0
        length = body + sum(buffer[at + _OGG_HEADER : at + body])
        if available < length:
            return 0
        self._page(
            begins_stream=bool(buffer[at + 5] & 2),
            granule=int.from_bytes(buffer[at + 6 : at + 14], "little", signed=True),
            body=bytes(buffer[at + body : at + length]),
        )
        self.seconds = (self._earlier_streams + max(0, self._samples - self._pre_skip)) / _OPUS_RATE
        return length

    def _page(self, *, begins_stream: bool, granule: int, body: bytes) -> None:
        if begins_stream:
            self._earlier_streams += max(0, self._samples - self._pre_skip)
            self._samples = self._granule = self._pre_skip = 0
        if body.startswith(b"OpusHead"):
            self._pre_skip = int.from_bytes(body[10:12], "little")
        if granule < 0:  # no packet ends on this page
            return
        # A stream may begin at any granule position, and a page may be lost: such a leap adds nothing.
        if 0 <= granule - self._granule <= _LONGEST_PAGE:
            self._samples += granule - self._granule
        self._granule = granule
