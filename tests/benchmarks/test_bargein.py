"""The script of interruptions: what it counts, on times that were made up, and in small over real sockets."""

from __future__ import annotations

import base64

import pytest

from benchmarks import bargein, field
from benchmarks.bargein import Interruption, interruption
from benchmarks.children import open_field
from tts_trio.cli.console import progress
from tts_trio.local_server import ToneVoice

CUT = 100.0


def sound_of(text: str) -> str:
    speech = ToneVoice().speak(text, language_code=None, speed=1.0, sample_rate=16000)
    return base64.b64encode(speech.samples).decode()


FIRST = {"cut": CUT, "free": CUT + 0.002, "audio": [(CUT - 1, 100)]}
SECOND = {"audio": [(CUT + 0.4, 50)], "sound": sound_of(" Hello ")}


def test_what_an_interruption_led_to() -> None:
    events = [
        {"kind": "close", "at": CUT - 2},
        {"kind": "text", "at": CUT + 0.01, "message": {"text": "Hello "}},
        {"kind": "text", "at": CUT + 0.05, "message": {"context_id": "a", "close_context": True}},
        {"kind": "ended", "at": CUT + 0.06},
    ]
    found = interruption(FIRST, SECOND, events)
    assert found == Interruption(
        free=pytest.approx(0.002), told=pytest.approx(0.05), next_audio=pytest.approx(0.4), stale=0
    )


def test_a_service_that_is_not_told() -> None:
    assert interruption(FIRST, SECOND, []).told is None


@pytest.mark.parametrize(
    ("first", "second"),
    [({"audio": [(CUT - 1, 100), (CUT + 0.001, 3840)]}, {}), ({}, {"sound": sound_of("да Hello")})],
    ids=["delivered after the interruption", "in the sound of the next turn"],
)
def test_stale_bytes_are_counted(first: dict[str, object], second: dict[str, object]) -> None:
    assert interruption(FIRST | first, SECOND | second, []).stale == 3840


def test_the_library_is_interrupted_in_mid_speech() -> None:
    names = [field.OURS]
    with open_field(field.commands(names, [])) as (service, contestants), progress("bargein", 1) as advance:
        measured = bargein.measure(service, contestants, bargein.corpus(1), [0.0], advance)
    (found,) = measured[field.OURS, 0.0]
    assert 0 < found.free < 0.2
    assert found.told is not None
    assert found.next_audio > found.free
    assert found.stale == 0
    assert [target.measure for target in bargein.targets(measured, 0.0)] == [
        "interruption to the caller's task free, ms",
        "stale bytes",
    ]
