"""The arithmetic of the latency scripts, on times that were made up."""

from __future__ import annotations

import pytest

from benchmarks.timing import deliveries, end_known, first_audio, of_voice, parts, request_out

BEGAN = 1000.0
PIECES = 20


def event(kind: str, at: float, *, connection: int = 1, **fields: object) -> dict[str, object]:
    return {"kind": kind, "at": BEGAN + at, "connection": connection, **fields}


def text(at: float, said: object, *, connection: int = 1) -> dict[str, object]:
    return event("text", at, connection=connection, message=said)


RECORD = {"began": BEGAN, "audio": [(BEGAN + 0.3, 50), (BEGAN + 0.35, 150), (BEGAN + 0.4, 100)], "ended": BEGAN + 0.5}
# Over a link of 100 ms: the text left 3 ms after the sixth piece was known, the audio was in hand 4 ms after it came.
EVENTS = [
    text(0.02, {"text": " "}),
    event("request", 0.11, connection=2, path="/v1/text-to-speech/other/stream-input"),
    text(0.153, {"text": "Добрый день, "}),
    event("audio", 0.246, size=100),
    event("audio", 0.29, size=200),
    event("final", 0.3),
]


def test_the_parts_of_a_turn_add_up_to_it() -> None:
    found = parts(RECORD, EVENTS, pieces=PIECES, rate=50, round_trip=0.1)
    assert found == pytest.approx(
        {"dial": 0, "text": 0.1, "client out": 0.003, "link": 0.1, "model": 0.093, "client in": 0.004}
    )
    assert sum(found.values()) == pytest.approx(first_audio(RECORD)) == pytest.approx(0.3)


def test_text_that_waits_for_its_end_waits_no_longer_than_for_its_last_piece() -> None:
    found = parts(RECORD, EVENTS, pieces=3, rate=50, round_trip=0.1)
    assert found["text"] == pytest.approx(0.04)
    assert found["client out"] == pytest.approx(0.063)


def test_a_dial_in_the_turn_is_no_policy_of_text() -> None:
    dialed = [
        event("request", 0.08, path="/v1/text-to-speech/any/stream-input"),
        text(0.14, {"text": " "}),
        text(0.16, "not JSON"),
        text(0.17, {"text": "Hello ", "context_id": "a"}),
        event("audio", 0.24, size=300),
    ]
    found = parts(RECORD, dialed, pieces=PIECES, rate=50, round_trip=0.1)
    assert found["dial"] == pytest.approx(0.09)
    assert found["text"] == pytest.approx(0.03)
    assert sum(found.values()) == pytest.approx(0.3)


def test_a_message_is_delivered_with_its_first_byte() -> None:
    assert deliveries(RECORD, EVENTS, round_trip=0.1) == pytest.approx([0.3 - 0.246 - 0.05, 0.35 - 0.29 - 0.05])


def test_a_rest_that_is_kept_until_there_is_more_delays_nothing() -> None:
    kept = {**RECORD, "audio": [(BEGAN + 0.3, 90), (BEGAN + 0.35, 20), (BEGAN + 0.351, 180)]}
    assert deliveries(kept, EVENTS, round_trip=0.1) == pytest.approx([0.3 - 0.246 - 0.05, 0.35 - 0.29 - 0.05])


def test_a_message_of_which_nothing_came_is_not_delivered() -> None:
    assert len(deliveries({**RECORD, "audio": RECORD["audio"][:1]}, EVENTS)) == 1


def test_the_end_is_counted_from_the_last_audio() -> None:
    assert end_known(RECORD, EVENTS, round_trip=0.1) == pytest.approx(0.5 - 0.29 - 0.05)


def test_a_request_is_the_first_one_since() -> None:
    earlier = event("request", -1.0, path="/")
    assert request_out(RECORD, [earlier, *EVENTS], round_trip=0.1) == pytest.approx(0.06)


def test_what_belongs_to_a_voice() -> None:
    assert of_voice(EVENTS, "other") == [EVENTS[1]]
