"""How a phrase is stored: its key, and bytes that tell whether they are what was stored.

The key is the request itself, so it covers whatever changes the sound: the text and what stands before and after it,
the voice and its settings, model, format, language, seed, dictionaries, normalisation, `optimize_streaming_latency`,
whether times are asked for, and the server that is asked, path and all, so that a test's robot voice is never taken for
the real one.
The API key is no part of the request. What the service keeps by itself is not covered: the stored settings of a voice,
which may differ from account to account, and what a voice sounds like after it was trained anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from tts_trio.wire.events import Alignment, AudioReceived
from tts_trio.wire.http import SpeechRequest

_MAGIC = b"tts_trio phrase 1\n"
_DIGEST_BYTES = 16
_LENGTH_BYTES = 4


def phrase_key(base_url: str, request: SpeechRequest) -> str:
    """Return the key of a request's answer: 64 hexadecimal digits, in which nothing can be read."""
    server = urlsplit(base_url)
    parts = (f"{server.netloc}{server.path.rstrip('/')}".encode(), request.path.encode(), request.body)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def encode(key: str, pieces: Sequence[AudioReceived]) -> bytes:
    """Return a whole phrase as bytes, in the pieces in which it came."""
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
    """Return the pieces of a phrase.

    Raises:
        ValueError: These are not the bytes that were stored under this key.
    """
    begin = len(_MAGIC) + _DIGEST_BYTES
    content = stored[begin:]
    if stored[:begin] != _MAGIC + _digest(content):
        raise ValueError("its checksum is wrong")
    head_end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "big")
    stored_key, shapes = json.loads(content[_LENGTH_BYTES:head_end])
    if stored_key != key:
        raise ValueError("it belongs to another key")
    pieces: list[AudioReceived] = []
    at = head_end
    for length, alignment, normalized in shapes:
        pieces.append(AudioReceived(content[at : at + length], _load(alignment), _load(normalized)))
        at += length
    return tuple(pieces)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _dump(alignment: Alignment | None) -> list[Any] | None:
    return None if alignment is None else [alignment.chars, alignment.starts_ms, alignment.durations_ms]


def _load(stored: list[list[Any]] | None) -> Alignment | None:
    return None if stored is None else Alignment(*map(tuple, stored))
