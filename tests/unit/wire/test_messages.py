"""What the server says, decoded: as recorded (wire/README.md, 2.5), in the other spelling, and broken."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tts_trio.wire import events, json_objects, messages
from tts_trio.wire.events import Alignment, AudioReceived, ErrorReceived, Final, Unreadable
from tts_trio.wire.json_objects import read_object
from tts_trio.wire.messages import decode

AUDIO = b"\x01\x02" * 100
ENCODED = base64.b64encode(AUDIO).decode()
TIMES = Alignment(("Д", "а", " "), (0, 81, 140), (81, 59, 20))


def frame(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False)


CAMEL = {"chars": ["Д", "а", " "], "charStartTimesMs": [0, 81, 140], "charDurationsMs": [81, 59, 20]}
SNAKE = {"chars": ["Д", "а", " "], "char_start_times_ms": [0, 81, 140], "char_durations_ms": [81, 59, 20]}
PLURAL = {"chars": ["Д", "а", " "], "charsStartTimesMs": [0, 81, 140], "charsDurationsMs": [81, 59, 20]}


@pytest.mark.parametrize("alignment", [CAMEL, SNAKE, PLURAL])
def test_audio_in_both_spellings(alignment: dict[str, Any]) -> None:
    camel = frame(audio=ENCODED, isFinal=None, normalizedAlignment=alignment, alignment=alignment)
    snake = frame(audio=ENCODED, is_final=None, normalized_alignment=alignment, alignment=alignment, context_id="7")
    assert decode(camel) == [AudioReceived(AUDIO, TIMES, TIMES)]
    assert decode(snake) == [AudioReceived(AUDIO, TIMES, TIMES, "7")]


def test_final_as_recorded() -> None:
    recorded = '{"audio":null,"isFinal":true,"normalizedAlignment":null,"alignment":null}'
    assert decode(recorded) == [Final()]
    assert decode('{"is_final":true,"contextId":"a"}') == [Final("a")]
    assert decode(frame(audio=ENCODED, isFinal=True)) == [AudioReceived(AUDIO), Final()]
    assert decode('{"audio":null,"isFinal":null,"alignment":null,"normalizedAlignment":null}') == []
    assert decode('{"audio":"","isFinal":false}') == []


def test_error_as_recorded() -> None:
    said = frame(message="Invalid API key", error="invalid_api_key", code=1008)
    assert decode(said) == [ErrorReceived("Invalid API key", "invalid_api_key", 1008)]
    assert decode(frame(error="x", contextId="c")) == [ErrorReceived("x", "x", None, "c")]


@pytest.mark.parametrize(
    "bad",
    ["", "nonsense", "[1]", "7", '{"audio": "***"}', '{"audio": "QQ"}', '{"audio": 7}', "[" * 100_000, b"\x00"],
)
def test_what_cannot_be_read_is_said_and_is_no_exception(bad: str | bytes) -> None:
    events = decode(bad)
    assert len(events) == 1
    assert isinstance(events[0], Unreadable)
    assert events[0].reason


@pytest.mark.parametrize(
    "alignment",
    [
        {},
        [],
        "x",
        {"chars": ["a"]},
        {"chars": ["a"], "charStartTimesMs": [1, 2], "charDurationsMs": [1]},
        {"chars": [1], "charStartTimesMs": [1], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": ["x"], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": [None], "charDurationsMs": [1]},
    ],
)
def test_a_broken_alignment_does_not_cost_the_audio(alignment: Any) -> None:
    events = decode(frame(audio=ENCODED, alignment=alignment))
    assert isinstance(events[0], AudioReceived)
    assert events[0].audio == AUDIO
    assert events[0].alignment is None or events[0].alignment.chars == ()


@given(st.text() | st.binary())
def test_any_message_is_decoded(message: str | bytes) -> None:
    assert all(isinstance(event, AudioReceived | Final | ErrorReceived | Unreadable) for event in decode(message))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["audio", "isFinal", "is_final", "alignment", "normalizedAlignment", "error", "message", "code", "contextId"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_object_is_decoded(message: dict[str, Any]) -> None:
    for event in decode(json.dumps(message)):
        assert event.context_id is None or isinstance(event.context_id, str)


def times_of(text: str) -> dict[str, Any]:
    return {"chars": [*text], "charStartTimesMs": [0] * len(text), "charDurationsMs": [5] * len(text)}


@pytest.mark.parametrize("text", ["Да. ", "Yes. "])
def test_times_of_what_was_read_are_themselves_read_when_somebody_asks_for_them(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the text as it was sent are enough nearly always."""
    read: list[object] = []
    read_times = events.read_times
    monkeypatch.setattr(events, "read_times", lambda chars, *args: read.append(chars) or read_times(chars, *args))
    event = decode(frame(audio=ENCODED, alignment=times_of(text), normalizedAlignment=times_of(text)))[0]
    assert isinstance(event, AudioReceived)
    assert event.alignment == Alignment((*text,), (0,) * len(text), (5,) * len(text))
    assert read == []
    assert event.normalized_alignment == event.alignment
    assert read == [[*text]]


@given(
    st.text(alphabet='{}[]":, \n\t1a\\', max_size=12) | json_values.map(json.dumps),
    st.sampled_from(["", " ", "\n\t", "{", "x"]),
)
def test_a_message_is_read_as_the_decoder_of_python_reads_it(text: str, edge: str) -> None:
    """The scanner is called without the decoder around it, which passes blanks and says what is wrong, and where."""
    for message in (text, edge + text, text + edge, f'{{"a":{text}}}{edge}'):
        try:
            expected: object = json.loads(message)
        except ValueError as error:
            with pytest.raises(ValueError, match=f"^{re.escape(f'invalid JSON: {error}')}$"):
                read_object(message)
        else:
            if isinstance(expected, dict):
                assert read_object(message) == expected
            else:
                with pytest.raises(ValueError, match=f"^a JSON {type(expected).__name__} where an object is due$"):
                    read_object(message)


@pytest.mark.parametrize("text", ["Да. ", "Yes. "])
def test_no_decoder_of_json_reads_the_audio(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at each character, and a message has ten thousand of base64."""
    read: list[str] = []
    read_usual = messages._read_usual
    monkeypatch.setattr(messages, "_read_usual", lambda message: read.append(message) or read_usual(message))
    monkeypatch.setattr(json_objects, "read_object", lambda message: read.append(message) or read_object(message))
    audio = bytes(range(256)) * 32
    for fields in ({}, {"is_final": False}):  # one that is as in every recording, and one that is not
        [event] = decode(frame(audio=base64.b64encode(audio).decode(), alignment=times_of(text), **fields))
        assert event == AudioReceived(audio, Alignment((*text,), (0,) * len(text), (5,) * len(text)))
    assert [len(message) < 250 for message in read] == [True] * 3


@pytest.mark.parametrize(
    ("fields", "usual"),
    [
        ({}, True),
        ({"alignment": CAMEL, "normalizedAlignment": CAMEL, "isFinal": None}, True),
        (
            {"alignment": None, "normalizedAlignment": None, "isFinal": False, "contextId": "7", "new": [{"x": 1.5}]},
            True,
        ),
        ({"isFinal": True}, False),
        ({"alignment": SNAKE}, False),
        ({"alignment": PLURAL}, False),
        ({"alignment": CAMEL | {"charDurationsMs": [1, 2]}}, False),
        ({"alignment": CAMEL | {"charDurationsMs": [1.4, 2, 3]}}, False),
        ({"alignment": {"chars": ["я"] * 5001, "charStartTimesMs": [0] * 5001, "charDurationsMs": [0] * 5001}}, False),
        ({"context_id": "7"}, False),
        ({"error": "quota_exceeded"}, False),
        ({"message": "x", "code": 1008}, False),
        ({"message": None, "code": None}, False),
        ({"alignment": times_of("Да, " * 250), "normalizedAlignment": times_of("Yes, " * 200)}, True),
        ({"alignment": {"chars": ["я" * 5001], "charStartTimesMs": [0], "charDurationsMs": [0]}}, False),
    ],
)
def test_a_message_as_in_every_recording_is_read_by_types(
    fields: dict[str, Any], usual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it has is read the same: each is compared with the same message behind a field that forbids it."""
    expected = decode(frame(first=1, audio=ENCODED, **fields))
    read: list[str] = []
    monkeypatch.setattr(json_objects, "read_object", lambda message: read.append(message) or read_object(message))
    assert decode(frame(audio=ENCODED, **fields)) == expected
    assert bool(read) != usual


PLAIN = ["", "AAAA", "AAA=", "//8="]
ESCAPED = ["\\/\\/8=", "AA\\u0041A", "AA\\nAA", '\\"']
BROKEN = ["A", "AA AA", "Да", "AA\n"]
FIELDS = [
    *('"audio":"BBBB"', '"audio":null', '"isFinal":true', '"isFinal":null', '"is_final":true', '"isFinal":1'),
    *('"audio_base64":"CCCC"', "1", "", '"contextId":"я"', '"contextId":""', '"contextId":7', '"context_id":"b"'),
    *('"error":null', '"error":"x"', '"code":1', '"message":"m"', '"x":"\\ud83d"', '"x":NaN', '"x":[[1,{}]]'),
    *(f'"alignment":{json.dumps(value)}' for value in (None, 1, [], CAMEL, SNAKE, PLURAL, CAMEL | {"chars": ["a"]})),
    *(f'"normalizedAlignment":{json.dumps(value)}' for value in (None, {}, CAMEL, SNAKE, CAMEL | {"chars": []})),
    *('"message":null', '"code":null', '"normalized_alignment":null'),
    f'"normalized_alignment":{json.dumps(CAMEL)}',
    '"alignment":{"chars":["\\ud83d"],"charStartTimesMs":[1],"charDurationsMs":[1]}',
    '"alignment":{"chars":["a"],"charStartTimesMs":[1e400],"charDurationsMs":[true]}',
    '"alignment":{"chars":["a"],"charStartTimesMs":[-1],"charDurationsMs":[9999999999999999999999]}',
    '"normalizedAlignment":{"chars":["\\ud83d"],"charStartTimesMs":[1],"charDurationsMs":[NaN]}',
]


@example("AAAA", ['"audio":"BBBB"'], "", '"}')
@example("AAAA", ['"audio":null'], "\n", '"}')
@given(
    st.sampled_from(PLAIN + ESCAPED + BROKEN),
    st.lists(st.sampled_from(FIELDS), max_size=4),
    st.sampled_from(["", " ", "\n"]),
    st.sampled_from(['"}', '"}}', '"]', '"', ""]),
)
def test_a_message_that_begins_with_its_audio_says_what_it_says_behind_another_field(
    encoded: str, fields: list[str], blank: str, end: str
) -> None:
    rest = "".join(f",{blank}{field}" for field in fields)
    audio = f'"audio"{blank}:{blank}"{encoded}{end[:1]}{rest}{end[1:]}'
    first, second = (decode(f"{blank}{{{blank}{before}{audio}") for before in ("", '"a":1,'))
    if [*map(type, second)] == [Unreadable]:
        assert [*map(type, first)] == [Unreadable]
    else:
        assert first == second


def test_audio_of_another_field_is_none() -> None:
    assert decode(json.dumps({"audio_base64": ENCODED})) == []
    assert decode(json.dumps({"x": {"audio": ENCODED}})) == []
