"""Answers of `/stream/with-timestamps`, cut anywhere and broken everywhere."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest

from tts_trio.errors import ProtocolError, QuotaError, TTSError
from tts_trio.wire.events import Alignment, AudioReceived
from tts_trio.wire.http import TimedLines


def times(text: str, start: float) -> dict[str, Any]:
    starts = [start + 0.05 * index for index in range(len(text))]
    ends = [at + 0.05 for at in starts]
    return {
        "characters": list(text),
        "character_start_times_seconds": starts,
        "character_end_times_seconds": ends,
    }


def line(audio: bytes, alignment: Any = None, normalized: Any = None) -> bytes:
    fields = {
        "audio_base64": base64.b64encode(audio).decode(),
        "alignment": alignment,
        "normalized_alignment": normalized,
    }
    return json.dumps(fields, ensure_ascii=False).encode()


LINES = [
    line(b"ab" * 100, times("Да, ", 0.0), times(" да, ", 0.0)),
    b"  ",
    line(b"cd" * 50),
    b"\r",
    line(b"ef", times("слушаю. ", 0.2)),
]
BODY = b"\n".join(LINES)


def read(body: bytes, cuts: list[int]) -> list[AudioReceived]:
    lines = TimedLines()
    ends = [*cuts, len(body)]
    pieces = [piece for start, end in zip([0, *cuts], ends, strict=True) for piece in lines.feed(body[start:end])]
    return pieces + lines.end()


def test_an_answer_is_read_as_it_was_meant_wherever_it_is_cut() -> None:
    whole = read(BODY, [])
    assert [piece.audio for piece in whole] == [b"ab" * 100, b"cd" * 50, b"ef"]
    assert whole[0].alignment == Alignment(tuple("Да, "), (0, 50, 100, 150), (50, 50, 50, 50))
    assert whole[0].normalized_alignment is not None
    assert whole[1].alignment is None
    assert whole[2].alignment is not None
    assert whole[2].alignment.starts_ms[0] == 200  # from the start of the request
    for cut in range(len(BODY)):
        assert read(BODY, [cut]) == whole
    seeded = random.Random(6)
    for _ in range(200):
        assert read(BODY, sorted(seeded.choices(range(len(BODY)), k=20))) == whole


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_the_last_line_needs_no_end(end: bytes) -> None:
    assert len(read(BODY + end, [])) == 3


UNREADABLE = [
    b"{",
    b"null",
    b"[]",
    b"NaN",
    b'{"audio_base64": "%%%%"}',
    b'{"audio_base64": 7}',
    b"\xff",
    b"[" * 100_000,
    line(b"ab")[:-3],
]


@pytest.mark.parametrize("broken", UNREADABLE)
def test_a_line_that_cannot_be_read_is_an_error(broken: bytes) -> None:
    lines = TimedLines()
    assert lines.feed(LINES[0]) == []
    with pytest.raises(ProtocolError, match="cannot be read"):
        lines.feed(b"\n" + broken + b"\n")


def test_a_line_without_an_end_is_given_up() -> None:
    lines = TimedLines()
    with pytest.raises(ProtocolError, match="longer than"):
        for _ in range(17):
            lines.feed(b"x" * 2**20)


def test_a_complaint_is_typed() -> None:
    with pytest.raises(QuotaError, match="no credits") as caught:
        TimedLines().feed(b'{"detail": {"status": "quota_exceeded", "message": "no credits"}}\n')
    assert isinstance(caught.value, TTSError)
    assert caught.value.code == "quota_exceeded"


@pytest.mark.parametrize(
    "alignment",
    [
        7,
        {},
        {"characters": ["a"]},
        times("ab", 0.0) | {"characters": ["a"]},
        times("a", 0.0) | {"character_start_times_seconds": [float("nan")]},
        times("a", 0.0) | {"character_end_times_seconds": [float("inf")]},
        times("a", 0.0) | {"character_end_times_seconds": ["x"]},
        times("a", 0.0) | {"character_end_times_seconds": None},
    ],
)
def test_times_that_cannot_be_read_cost_no_audio(alignment: Any) -> None:
    assert TimedLines().feed(line(b"ab", alignment) + b"\n") == [AudioReceived(b"ab")]


def test_what_says_nothing_is_let_pass() -> None:
    assert TimedLines().feed(b'{}\n{"audio_base64": null, "alignment": null}\n{"new": 1}\n') == []
    [timed] = TimedLines().feed(line(b"", times("a", 0.0)) + b"\n")
    assert timed.alignment is not None
