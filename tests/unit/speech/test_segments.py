"""The words of an utterance, and how far its text was spoken: what asking costs does not grow with the text."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers import make_config
from tts_trio.speech.accepted_text import AcceptedText
from tts_trio.speech.alignment import SpokenText
from tts_trio.speech.segments import Segments
from tts_trio.wire.events import Alignment, AudioReceived

PHRASES = ("The doctor sees you on Tuesday at nine. ", "Приём у доктора во вторник, в девять часов. ")
STEP = 70  # milliseconds of a character; where no word is timed, that is what is estimated, and a little more


def bytecodes(call: Callable[[], object]) -> int:
    """How many bytecodes a call executes."""
    executed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed
        frame.f_trace_opcodes = True
        executed += event == "opcode"
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # without it CPython 3.12 begins to count with the second call of a process
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    assert executed
    return executed


def message(text: str, *, timed: bool) -> AudioReceived:
    """A message with the sound of a text, and its times."""
    starts = tuple(range(0, STEP * len(text), STEP))
    return AudioReceived(
        b"\xff" * (8 * starts[-1] + 8 * STEP), Alignment(tuple(text), starts, (STEP,) * len(text)) if timed else None
    )


def cost_of_asking(characters: int, *, timed: bool, lose: bool) -> tuple[float, float]:
    """How many bytecodes `words` and `spoken` execute, a message, in the last twenty of a text of this length."""
    segments = Segments(make_config(output_format="ulaw_8000"), in_messages=True)
    segments.begin()
    texts = list(itertools.islice(itertools.cycle(PHRASES), 2 + characters // 42))
    words = spoken = 0
    for index, text in enumerate(texts):
        segments.accepted_text.add(text, text)
        segments.current.send(text)
        segments.receive(message(text, timed=timed))
        segments.deliver()
        if lose and index == len(texts) // 2:
            segments.take_back()
            segments.begin()
        if index >= len(texts) - 20:
            words += bytecodes(lambda: segments.words)
            spoken += bytecodes(lambda: segments.spoken(segments.delivered_seconds * 1000))
        else:
            assert segments.words is not None
    assert len(segments.words) > characters / 42 * 3
    return words / 20, spoken / 20


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("lose", [False, True])
def test_what_asking_at_every_message_costs_does_not_grow_with_the_text(timed: bool, lose: bool) -> None:
    short = cost_of_asking(1_000, timed=timed, lose=lose)
    long = cost_of_asking(100_000, timed=timed, lose=lose)
    assert long[0] < 1.5 * short[0]
    assert long[1] < 1.5 * short[1]


BLANKS = st.text(st.sampled_from("аб4. \n\u2009好"), max_size=300)


@given(tokens=st.lists(BLANKS, max_size=12), letters=st.integers(0, 1500))
@example(tokens=["a" * 256], letters=256)
@example(tokens=["a " * 300], letters=257)
@example(tokens=[" " * 600, "a"], letters=1)
def test_the_beginning_of_a_text_is_found_by_its_letters(tokens: list[str], letters: int) -> None:
    accepted = AcceptedText()
    for token in tokens:
        accepted.add(token, token)
    whole = "".join(tokens)
    ends = [0, *(end for end, char in enumerate(whole, 1) if not char.isspace())]
    expected = whole[: ends[letters]] if letters < len(ends) else whole
    assert accepted.text == whole
    assert accepted.beginning(letters) == expected
    assert accepted.beginning(letters) == expected


@pytest.mark.parametrize("text", ["Да, конечно. ", "Sure, of course. "])
def test_a_pause_costs_less_than_a_letter(text: str) -> None:
    """Of messages of 20 ms many are nothing but a blank, which is not searched for in the text."""
    spoken = SpokenText()
    spoken.sent(text)

    def cost(char: str) -> int:
        times = Alignment((char,), (0,), (20,))
        return bytecodes(lambda: spoken.received(20.0, AudioReceived(b"", times, times)))

    letter = cost(text[0])
    assert cost(" ") < letter
    assert spoken.covered == 1
