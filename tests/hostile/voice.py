"""What the server says: tones that tell which characters they voice, in messages with the times of these."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import attrs

from tts_trio.local_server.tone import _encoded_burst as burst

_MS = 60  # a character
_LARGE = 8  # characters, which sound for longer than the library takes for a sign of life


def sound_of(text: str, output_format: str) -> bytes:
    """Voice a text."""
    rate = int(output_format.rpartition("_")[2])
    return b"".join([burst(ord(char), 1000, rate, output_format) for char in text])


@attrs.frozen
class Style:
    """How an honest server sends a clip.

    Attributes:
        times: All of them in its first message, or in each message its own, or none.
        characters: In each message.
        shift: Messages are cut so many bytes behind a character.
        pause: Between two messages, in seconds.
    """

    times: str
    characters: int
    shift: int
    pause: float

    @classmethod
    def drawn(cls, rng: random.Random, times: str) -> Style:
        """Draw one. Small pieces come without pauses: a quarter of a second of sound shows that somebody is at work."""
        characters = rng.choice((1, 3, 8, 1000))
        pause = rng.choice((0.0, 0.001, 0.005)) if characters >= _LARGE else 0.0
        return cls(times, characters, rng.choice((0, 0, 1, 7)), pause)


def times_of(text: str) -> dict[str, Any]:
    """The times of a text, from 0 on."""
    return {
        "chars": list(text),
        "charStartTimesMs": [at * _MS for at in range(len(text))],
        "charDurationsMs": [_MS] * len(text),
    }


def pieces(text: str, output_format: str, style: Style) -> list[tuple[bytes, dict[str, Any] | None]]:
    """Cut the clip of a text into messages: the audio and the times of each."""
    sound = sound_of(text, output_format)
    width = len(sound) // max(1, len(text))
    shift = style.shift if style.times != "each" else 0
    cuts = [at * width + shift for at in range(style.characters, len(text), style.characters)]
    cuts = [0, *(cut for cut in cuts if cut < len(sound)), len(sound)]
    messages: list[tuple[bytes, dict[str, Any] | None]] = []
    for index, (begin, end) in enumerate(itertools.pairwise(cuts)):
        times = None
        if style.times == "each":
            times = times_of(text[begin // width : end // width])
        elif style.times == "first" and index == 0:
            times = times_of(text)
        messages.append((sound[begin:end], times))
    return messages


def frame(audio: bytes, times: Any, *, context: Any = None, snake: bool) -> str:
    """An audio message of a WebSocket."""
    if snake:
        if isinstance(times, dict) and "charStartTimesMs" in times:
            times = {
                "chars": times["chars"],
                "char_start_times_ms": times["charStartTimesMs"],
                "char_durations_ms": times["charDurationsMs"],
            }
        message: dict[str, Any] = {"audio": _base64(audio), "alignment": times, "normalized_alignment": None}
        if context is not None:
            message["context_id"] = context
    else:
        message = {"audio": _base64(audio), "isFinal": None, "alignment": times, "normalizedAlignment": times}
        if context is not None:
            message["contextId"] = context
    return json.dumps(message)


def final(*, context: Any = None, snake: bool) -> str:
    """The final of a WebSocket's utterance."""
    if snake:
        return json.dumps({"is_final": True} | ({} if context is None else {"context_id": context}))
    return json.dumps({"audio": None, "isFinal": True} | ({} if context is None else {"contextId": context}))


def line(audio: bytes, times: dict[str, Any] | None) -> bytes:
    """A line of an answer with times."""
    alignment = None
    if times is not None:
        starts = times["charStartTimesMs"]
        alignment = {
            "characters": times["chars"],
            "character_start_times_seconds": [start / 1000 for start in starts],
            "character_end_times_seconds": [(start + _MS) / 1000 for start in starts],
        }
    return (
        json.dumps({"audio_base64": _base64(audio), "alignment": alignment, "normalized_alignment": alignment}).encode()
        + b"\n"
    )


def odd_times(text: str, way: int) -> Any:
    """Times that are none, in several ways."""
    right = times_of(text)
    wrong: tuple[Any, ...] = (
        [],
        "soon",
        right | {"charStartTimesMs": right["charStartTimesMs"][:-1]},
        right | {"charStartTimesMs": ["a"] * len(text)},
        right | {"charStartTimesMs": [None] * len(text)},
        right | {"charDurationsMs": [-60] * len(text)},
        right | {"chars": [7] * len(text)},
        right | {"charStartTimesMs": [10**30] * len(text)},
        right | {"charStartTimesMs": [[1]] * len(text), "charDurationsMs": [{}] * len(text)},
    )
    return wrong[way]


def junk(seed: int) -> Iterator[str | bytes]:
    """Messages that say nothing, or nothing that can be read."""
    yield from (
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"audio":null,"isFinal":null,"alignment":null,"normalizedAlignment":null}',
        '{"audio":""}',
        '{"audio":5}',
        '{"audio":"%%%"}',
        '{"audio":{"a":1}}',
        '{"isFinal":"yes"}',
        '{"is_final":0}',
        '{"alignment":{"chars":["x"],"charStartTimesMs":[0],"charDurationsMs":[1]}}',
        "[" * 5000,
        b"\0\1\2",
        b"",
        json.dumps({"contextId": "nobody's", "audio": _base64(b"\1\1" * 50)}) if seed % 2 else "x" * 70000,
    )


def _base64(audio: bytes) -> str:
    return base64.b64encode(audio).decode()
