"""How audio is stored: its key, bytes that tell whether they are what was stored, and whether they can be this text.

The key is the request itself, so it covers whatever changes the sound: the text and what stands before and after it,
the voice and its settings, model, format, language, seed, dictionaries, normalization, `optimize_streaming_latency`,
whether times are asked for, and the server that is asked, path and all, so that a test's robot voice is never taken for
the real one.
The API key is no part of the request. What the service keeps by itself is not covered: the stored settings of a voice,
which may differ from account to account, and what a voice sounds like after it was trained anew.
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
_PIECE_BYTES = 200  # of memory, for a piece beside its audio
_CHARACTER_BYTES = 64  # for a character and its times
_LATEST_MS = 24 * 3600 * 1000


def cache_key(base_url: str, request: SpeechRequest) -> str:
    """Return the key of a request's answer: 64 hexadecimal digits, in which nothing can be read."""
    return hashlib.sha256(b"%b\n%b\n%b" % (_server(base_url), request.path.encode(), request.body)).hexdigest()


@lru_cache(maxsize=64)
def _server(base_url: str) -> bytes:
    server = urlsplit(base_url)
    return f"{server.netloc}{server.path.rstrip('/')}".encode()


def encode(key: str, pieces: Sequence[AudioReceived]) -> bytes:
    """Return whole audio as bytes, in the pieces in which it came."""
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
    """Return the pieces of stored audio.

    Raises:
        ValueError: These are not the bytes that were stored under this key.
    """
    begin = len(_MAGIC) + _DIGEST_BYTES
    content = stored[begin:]
    if stored[:begin] != _MAGIC + _digest(content):
        raise ValueError("its checksum is wrong")
    head_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    try:
        stored_key, shapes = json.loads(content[_LENGTH_BYTES:head_end])
        if stored_key != key:
            raise ValueError("it belongs to another key")
        pieces: list[AudioReceived] = []
        at = head_end
        for length, alignment, normalized in shapes:
            if type(length) is not int or length < 0:
                raise ValueError("a piece has no length")
            pieces.append(AudioReceived(content[at : at + length], _load(alignment), _load(normalized)))
            at += length
    except (TypeError, RecursionError) as error:
        raise ValueError(f"it has another shape: {error}") from None
    if at != len(content):
        raise ValueError("its audio is not what its pieces take")
    return tuple(pieces)


@attrs.frozen
class ExpectedAudio:
    """Audio that is looked for in a cache, or is to be kept there.

    Attributes:
        key: What it is kept under.
        text: What is spoken in it.
        format: In which format.
    """

    key: str
    text: str
    format: AudioFormat

    @classmethod
    def of(cls, config: TTSConfig, request: SpeechRequest) -> ExpectedAudio:
        """Return what the answer to a request is to be."""
        return cls(cache_key(config.base_url, request), request.text, config.format)

    @property
    def most_memory(self) -> int:
        """Bytes that its pieces take at the most."""
        return most_bytes(self.text, self.format)

    def sounds(self, pieces: Sequence[AudioReceived], seconds: float = 0.0) -> bool:
        """Whether the whole samples, frames or pages in these pieces sound, and for so many seconds at least."""
        clock = AudioClock(self.format)
        for piece in pieces:
            clock.feed(piece.audio)
            if clock.seconds and clock.seconds >= seconds:  # no more is decoded: somebody may wait for it
                return True
        return False

    def check(self, pieces: Sequence[AudioReceived]) -> None:
        """Check that these can be the text: they decode to sound that is about as long as its text takes.

        Raises:
            ValueError: It cannot.
        """
        if sum(map(memory, pieces)) > self.most_memory:
            raise ValueError("it is too large for its text")
        for piece in pieces:
            for alignment in (piece.alignment, piece.normalized_alignment):
                if alignment is not None:
                    _check_times(alignment)
        if not self.sounds(pieces, shortest_seconds(self.text)):
            raise ValueError(f"it has less sound than its {len(self.text)} characters make")


def memory(piece: AudioReceived) -> int:
    """Return how many bytes a piece takes in memory, about."""
    times = (piece.alignment, piece.normalized_alignment)
    return (
        _PIECE_BYTES + len(piece.audio) + sum(_CHARACTER_BYTES * len(each.chars) for each in times if each is not None)
    )


def _check_times(alignment: Alignment) -> None:
    chars, starts, durations = alignment.chars, alignment.starts_ms, alignment.durations_ms
    if not len(chars) == len(starts) == len(durations) or not all(type(char) is str for char in chars):
        raise ValueError("its characters do not fit their times")
    if not all(type(ms) is int and -_LATEST_MS <= ms <= _LATEST_MS for ms in (*starts, *durations)):
        raise ValueError("its times are none")


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _dump(alignment: Alignment | None) -> list[Any] | None:
    return None if alignment is None else [alignment.chars, alignment.starts_ms, alignment.durations_ms]


def _load(stored: list[list[Any]] | None) -> Alignment | None:
    if stored is None:
        return None
    chars, starts, durations = stored
    return Alignment(tuple(chars), tuple(starts), tuple(durations))
