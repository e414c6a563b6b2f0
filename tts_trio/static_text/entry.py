"""The entries of a cache: their keys, their bytes with a checksum, and the check that they can be the audio of a text.

The key is a hash of the whole request, which has everything that changes the audio: the text and the texts around it,
the voice and its settings, model, format, language, seed, dictionaries, normalization, `optimize_streaming_latency`,
and whether times are requested. The server and its path are a part of it too, so that the voice of a test server is
never taken for the real one. The API key is not a part of it. Settings that the service stores are not a part of it
either: the stored settings of a voice, which may differ between accounts, and the training of a voice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import attrs

from tts_trio.config.audio_clock import AudioClock
from tts_trio.config.config import TTSConfig
from tts_trio.config.formats import AudioFormat
from tts_trio.speech.durations import most_bytes, shortest_seconds
from tts_trio.wire.events import Alignment, AudioReceived
from tts_trio.wire.http import SpeechRequest

_MAGIC = b"tts_trio phrase 1\n"
_DIGEST_BYTES = 16
_LENGTH_BYTES = 4
_PIECE_BYTES = 200  # of memory for a piece, without its audio and times
_CHARACTER_BYTES = 64  # of memory for a character and its times
_LATEST_MS = 24 * 3600 * 1000


def cache_key(base_url: str, request: SpeechRequest) -> str:
    """Return the key of a request's answer: a SHA-256 of 64 hexadecimal digits, which does not show the text."""
    return hashlib.sha256(b"%b\n%b\n%b" % (_server(base_url), request.path.encode(), request.body)).hexdigest()


@lru_cache(maxsize=64)
def _server(base_url: str) -> bytes:
    server = urlsplit(base_url)
    return f"{server.netloc}{server.path.rstrip('/')}".encode()


def encode(key: str, pieces: Sequence[AudioReceived]) -> bytes:
    """Return the pieces of whole audio, with their times, as the bytes of an entry."""
    head = json.dumps(
        [
            key,
            [
                [len(piece.audio), _dump(piece.alignment), _dump(piece.normalized_alignment)]
                for piece in pieces
            ],
        ]
    ).encode()  # fmt: skip
    audio = b"".join(piece.audio for piece in pieces)
    content = len(head).to_bytes(_LENGTH_BYTES, "big") + head + audio
    return _MAGIC + _digest(content) + content


def decode(key: str, stored: bytes) -> tuple[AudioReceived, ...]:
    """Return the pieces of an entry.

    Raises:
        ValueError: These are not the bytes that `encode` made for this key.
    """
    begin = len(_MAGIC) + _DIGEST_BYTES
    content = stored[begin:]
    if stored[:begin] != _MAGIC + _digest(content):
        raise ValueError("the checksum is wrong")
    head_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    try:
        stored_key, shapes = json.loads(content[_LENGTH_BYTES:head_end])
        if stored_key != key:
            raise ValueError("it is the entry of another key")
        pieces: list[AudioReceived] = []
        at = head_end
        for length, alignment, normalized in shapes:
            if type(length) is not int or length < 0:
                raise ValueError("a piece has no length")
            pieces.append(AudioReceived(content[at : at + length], _load(alignment), _load(normalized)))
            at += length
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the head has another shape: {error}") from None
    if at != len(content):
        raise ValueError("the audio does not have the length of its pieces")
    return tuple(pieces)


@attrs.frozen
class ExpectedAudio:
    """Audio that a cache may have, or that is stored in one.

    Attributes:
        key: The key of the entry.
        text: The text that is spoken.
        format: The format of the audio.
    """

    key: str
    text: str
    format: AudioFormat

    @classmethod
    def of(cls, config: TTSConfig, request: SpeechRequest) -> ExpectedAudio:
        """Return the audio that the answer to a request has to be."""
        return cls(cache_key(config.base_url, request), request.text, config.format)

    @property
    def most_memory(self) -> int:
        """The most bytes of memory that the pieces of the audio can take."""
        return most_bytes(self.text, self.format)

    def sounds(self, pieces: Sequence[AudioReceived], seconds: float = 0.0) -> bool:
        """Whether the whole samples, frames or pages in these pieces last at least so many seconds, and more than 0."""
        clock = AudioClock.of(self.format)
        for piece in pieces:
            clock.feed(piece.audio)
            if clock.seconds and clock.seconds >= seconds:  # stop early: a caller may wait for this audio
                return True
        return False

    def check(self, pieces: Sequence[AudioReceived]) -> None:
        """Check that these pieces can be the audio of the text: their size, their times and their duration.

        Raises:
            ValueError: They cannot.
        """
        if sum(map(memory, pieces)) > self.most_memory:
            raise ValueError("the audio is too large for its text")
        for piece in pieces:
            for alignment in (piece.alignment, piece.normalized_alignment):
                if alignment is not None:
                    _check_times(alignment)
        if not self.sounds(pieces, shortest_seconds(self.text)):
            raise ValueError(f"the audio is too short for the {len(self.text)} characters of its text")


def memory(piece: AudioReceived) -> int:
    """Return about how many bytes a piece takes in memory."""
    times = (piece.alignment, piece.normalized_alignment)
    return (
        _PIECE_BYTES + len(piece.audio) + sum(_CHARACTER_BYTES * len(each.chars) for each in times if each is not None)
    )


def _check_times(alignment: Alignment) -> None:
    chars, starts, durations = alignment.chars, alignment.starts_ms, alignment.durations_ms
    if not len(chars) == len(starts) == len(durations) or not all(type(char) is str for char in chars):
        raise ValueError("the characters and the times differ in number")
    if not all(type(ms) is int and -_LATEST_MS <= ms <= _LATEST_MS for ms in (*starts, *durations)):
        raise ValueError("a time is not a number of milliseconds within a day")


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _dump(alignment: Alignment | None) -> list[Any] | None:
    return None if alignment is None else [alignment.chars, alignment.starts_ms, alignment.durations_ms]


def _load(stored: list[list[Any]] | None) -> Alignment | None:
    if stored is None:
        return None
    chars, starts, durations = stored
    return Alignment(tuple(chars), tuple(starts), tuple(durations))
