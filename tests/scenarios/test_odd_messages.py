"""No message of a peer holds the loop, or much memory: what is odd in it costs its times, and not its audio."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.helpers import TEXTS, make_config
from tts_trio import ProtocolError, TTSError
from tts_trio.speech.utterance import Utterance
from tts_trio.wire.events import AudioReceived, Final, Unreadable
from tts_trio.wire.http import TimedLines
from tts_trio.wire.messages import decode

pytestmark = pytest.mark.usefixtures("collected")

LONGEST_STOP = 0.5  # seconds of CPU: the promise is 0.05, on a machine that has nothing else to do
MB = 2**20
SOUND = bytes(range(256)) * 40  # 0.32 s
ENCODED = base64.b64encode(SOUND).decode()


def encoded(sound: bytes) -> str:
    return base64.b64encode(sound).decode()


def frame(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False)


def times(chars: list[Any], starts: Any = None, durations: Any = None) -> dict[str, Any]:
    return {
        "chars": chars,
        "charStartTimesMs": list(range(len(chars))) if starts is None else starts,
        "charDurationsMs": [1] * len(chars) if durations is None else durations,
    }


def seconds(chars: list[Any], starts: Any = None, ends: Any = None) -> dict[str, Any]:
    return {
        "characters": chars,
        "character_start_times_seconds": [0.1] * len(chars) if starts is None else starts,
        "character_end_times_seconds": [0.2] * len(chars) if ends is None else ends,
    }


ODD_TIMES: dict[str, Callable[[], dict[str, Any]]] = {
    "a million characters": lambda: times(list("ab cd. " * 171_000)),
    "a million blanks": lambda: times([" "] * 1_200_000),
    "one character of 10 MB": lambda: times(["ab cd. " * 1_500_000]),
    "10 MB of accents": lambda: times(["e" + "\u0301\u0323" * 2_000_000]),
    "4,000 accents": lambda: times(["e", *["\u0301", "\u0323"] * 2000]),
    "lists": lambda: times([["a"] * 10] * 200_000),
    "a string as a time": lambda: times(["a"], ["7" * 5_000_000], [1]),
    "a list as a time": lambda: times(["a"], [[1] * 3_000_000], [1]),
    "strings for the lists": lambda: times(["a"], "7" * 5_000_000, "7" * 5_000_000),
    "truths for times": lambda: times(["a"], [True], [True]),
    "nested lists": lambda: {"chars": json.loads("[" * 400 + "]" * 400)},
    "the times of another text": lambda: times(list("xy z, q. " * 550)),
    "5,000 letters without a blank": lambda: times(["x"] * 5000),
}


def speaking(text: str, **changes: Any) -> Utterance:
    utterance = Utterance(make_config(**changes), 0.0)
    utterance.connected()
    utterance.say(text, 0.0)
    utterance.phrases_to_send(0.0)
    utterance.end_to_send(0.0)
    return utterance


def cost(take: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU, and the most memory in MB; memory is measured in a run of its own, which it slows down."""
    began = time.process_time()
    take()
    spent = time.process_time() - began
    tracemalloc.start()
    take()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return spent, most / MB


@pytest.mark.parametrize("name", ODD_TIMES)
def test_odd_times_cost_no_audio(name: str) -> None:
    """P36."""
    odd = frame(audio=ENCODED, isFinal=None, alignment=ODD_TIMES[name]())
    message = odd[:-1] + ', "normalizedAlignment": ' + odd[odd.index("{", 1) : -1] + ', "contextId": "7"}'
    message = message if len(message) < 16 * MB else odd[:-1] + ', "contextId": "7"}'

    def take(text: str) -> None:
        utterance = speaking(text)
        [event] = decode(message)
        assert isinstance(event, AudioReceived)
        assert event.audio == SOUND
        assert event.context_id == "7"
        utterance.receive(event, 0.1)
        assert utterance.deliver(0.1) == SOUND

    for text in ("x" * 4000 + ".", *TEXTS.values()):
        spent, memory = cost(partial(take, text))
        assert spent < LONGEST_STOP
        assert memory < 5 + 5 * len(message) / MB


@pytest.mark.parametrize("name", ODD_TIMES)
def test_odd_times_over_http_cost_no_audio(name: str) -> None:
    """P36: cut as TCP cuts them."""
    odd = dict(zip(("chars", "charStartTimesMs", "charDurationsMs"), seconds([]), strict=True))
    alignment = {
        odd[key]: value[:300_000] if isinstance(value, list) else value for key, value in ODD_TIMES[name]().items()
    }
    body = frame(audio_base64=ENCODED, alignment=alignment).encode() + b"\n"

    def take() -> None:
        lines, longest, pieces = TimedLines(), 0.0, list[AudioReceived]()
        utterance = speaking(TEXTS["ru"])
        for start in range(0, len(body), 65536):
            began = time.process_time()
            pieces += lines.feed(body[start : start + 65536])
            longest = max(longest, time.process_time() - began)
        for piece in pieces:
            utterance.receive(piece, 0.1)
        assert [piece.audio for piece in pieces] == [SOUND]
        if not tracemalloc.is_tracing():
            assert longest < LONGEST_STOP

    _, memory = cost(take)
    assert memory < 5 + 5 * len(body) / MB


MESSAGES: dict[str, Callable[[], str]] = {
    "nested": lambda: "[" * (8 * MB),
    "numbers": lambda: f'{{"audio":"{ENCODED}","x":[{"0," * 7_000_000}0]}}',
    "escapes": lambda: '{"x":"' + "\\u0041" * 2_500_000 + '"}',
    "an error": lambda: frame(message="quota " * 2_500_000, error="x" * MB, code=1008),
    "blanks": lambda: " " * (16 * MB - 1),
    "no JSON": lambda: "x" * (16 * MB - 1),
    "audio": lambda: frame(audio=encoded(bytes(12 * MB - 100))),
    "an audio that never ends": lambda: '{"audio":"' + "A," * (8 * MB - 10),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_of_16_mib(name: str) -> None:
    """P22, P36."""
    message = MESSAGES[name]()
    spent, memory = cost(lambda: decode(message))
    assert spent < LONGEST_STOP
    assert memory < 5 + 5 * len(message) / MB


def test_of_a_message_with_too_many_values_the_small_fields_are_read() -> None:
    many = ",".join("0" * 50_000)
    assert decode(f'{{"audio": null, "x": [{many}], "isFinal": true, "contextId": "7"}}') == [Final("7")]
    assert decode(f'{{"is_final": true, "x": [{many}]}}') == [Final()]
    assert isinstance(decode(f'{{"audio": "@@", "x": [{many}]}}')[0], Unreadable)
    assert decode(f'{{"x": [{many}]}}') == []


SOUNDS = {
    "mp3 of 0xFF": ("mp3_44100_128", b"\xff"),
    "mp3 headers": ("mp3_44100_128", b"\xff\xfb\x90\x00"),
    "mp3 tags": ("mp3_44100_128", b"ID3\4\0\0\0\0\0\0"),
    "opus headers": ("opus_48000_64", b"OggS\0" + bytes(22)),
    "opus of a version nobody knows": ("opus_48000_64", b"OggS\1"),
}


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("size", [MB // 2, 12 * MB - 100])
def test_sound_that_is_none(name: str, size: int) -> None:
    """P36, in a text long enough for half a megabyte of it."""
    output_format, unit = SOUNDS[name]
    message = frame(audio=encoded(unit * (size // len(unit))))

    def take() -> None:
        utterance = speaking("Раз, два, три. " * 20, output_format=output_format, on_lost_connection="raise")
        for event in decode(message):
            assert isinstance(event, AudioReceived)
            utterance.receive(event, 0.1)
        assert utterance.error is None or isinstance(utterance.error, ProtocolError)

    spent, memory = cost(take)
    assert spent < LONGEST_STOP
    assert memory < 5 + 5 * len(message) / MB


@pytest.mark.parametrize("piece", [b"\n", b"\r", b" \n", b"{}\n", b"x"])
def test_lines_of_an_answer_that_say_nothing(piece: bytes) -> None:
    """P36: as much as is read at once."""
    lines, longest = TimedLines(), 0.0
    for _ in range(20):
        began = time.process_time()
        assert lines.feed(piece * (65536 // len(piece))) == []
        longest = max(longest, time.process_time() - began)
    assert longest < LONGEST_STOP


def test_a_complaint_of_megabytes_is_one() -> None:
    with pytest.raises(TTSError):
        TimedLines().feed(frame(detail={"message": "quota " * MB}).encode() + b"\n")
