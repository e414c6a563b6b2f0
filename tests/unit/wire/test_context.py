"""The states of a context: what may follow what, at every endpoint, and whether its sound has come."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.helpers import ENDPOINTS, TEXTS, make_config
from tts_trio.wire import endpoint_for
from tts_trio.wire.context import Context, ContextState, Sound
from tts_trio.wire.events import Alignment, AudioReceived

SOUND = AudioReceived(b"\1\2" * 160)
BLANK = AudioReceived(b"\0\0" * 160, Alignment((" ",), (0,), (10,)))


def new_context(endpoint: str) -> Context:
    return Context.of(endpoint_for(make_config(endpoint)), 0) or pytest.fail("a socket has a context")


@pytest.fixture(params=ENDPOINTS)
def context(request: pytest.FixtureRequest) -> Context:
    return new_context(request.param)


STEPS: dict[str, Callable[[Context], object]] = {
    "text": lambda context: context.text(TEXTS["ru"]),
    "keep-alive": Context.keep_alive,
    "end": Context.end,
    "sound": lambda context: context.audio_received(SOUND),
    "final": Context.final_received,
    "interrupt": Context.interrupt,
}

WAYS: dict[ContextState, tuple[str, ...]] = {
    ContextState.NEW: (),
    ContextState.OPEN: ("text",),
    ContextState.COMPLETE: ("text", "end"),
    ContextState.CLOSING: ("text", "end", "sound"),
    ContextState.CLOSED: ("text", "end", "sound", "final"),
}

ALLOWED: dict[ContextState, dict[str, ContextState]] = {
    ContextState.NEW: {
        "text": ContextState.OPEN,
        "sound": ContextState.NEW,
        "final": ContextState.CLOSED,
        "interrupt": ContextState.CLOSED,
    },
    ContextState.OPEN: {
        "text": ContextState.OPEN,
        "keep-alive": ContextState.OPEN,
        "end": ContextState.COMPLETE,
        "sound": ContextState.OPEN,
        "final": ContextState.CLOSED,
        "interrupt": ContextState.CLOSING,
    },
    ContextState.COMPLETE: {
        "sound": ContextState.CLOSING,
        "final": ContextState.CLOSED,
        "interrupt": ContextState.CLOSING,
    },
    ContextState.CLOSING: {
        "sound": ContextState.CLOSING,
        "final": ContextState.CLOSED,
        "interrupt": ContextState.CLOSING,
    },
    ContextState.CLOSED: {
        "sound": ContextState.CLOSED,
        "final": ContextState.CLOSED,
        "interrupt": ContextState.CLOSED,
    },
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", ContextState, ids=lambda state: state.name)
def test_every_step_from_every_state(context: Context, state: ContextState, step: str) -> None:
    """P14: what the service says is taken in every state; a step of ours out of order is an assertion."""
    for way in WAYS[state]:
        STEPS[way](context)
    assert context.state is state
    if step in ALLOWED[state]:
        STEPS[step](context)
        assert context.state is ALLOWED[state][step]
    else:
        with pytest.raises(AssertionError):
            STEPS[step](context)
        assert context.state is state


@pytest.mark.parametrize("text", TEXTS.values())
def test_a_context_is_closed_when_the_sound_of_its_last_text_has_come(text: str) -> None:
    """P14: a context that is closed before may be dropped with its text."""
    early, late = new_context("multi-stream-input"), new_context("multi-stream-input")
    for context in (early, late):
        context.text(text)
        context.audio_received(SOUND)
    late.text(text)
    assert [list(json.loads(frame)) for frame in early.end()] == [
        ["context_id", "flush"],
        ["context_id", "close_context"],
    ]
    assert [list(json.loads(frame)) for frame in late.end()] == [["context_id", "flush"]]
    assert [list(json.loads(frame)) for frame in late.audio_received(SOUND) or []] == [["context_id", "close_context"]]
    assert late.audio_received(SOUND) == late.interrupt() == []


def test_what_cannot_be_spoken_is_owed_no_sound(context: Context) -> None:
    context.text(TEXTS["en"])
    context.audio_received(SOUND)
    context.text(" … ")
    assert context.sound is Sound.HEARD
    context.end()
    assert context.state is ContextState.CLOSING


def test_the_silence_of_a_blank_is_no_sound_of_the_text_before_that_has_come(context: Context) -> None:
    """P11: the frames that begin a context, or keep it alive, carry a blank; the service may answer it by silence."""
    assert (context.audio_received(BLANK), context.audio_received(SOUND)) == (None, None)
    context.text(TEXTS["ru"])
    assert (context.audio_received(BLANK), context.sound) == (None, Sound.DUE)
    assert (context.audio_received(SOUND), context.sound) == ([], Sound.HEARD)
    assert (context.audio_received(BLANK), context.audio_received(SOUND)) == ([], [])
    context.text(TEXTS["en"])
    assert (context.audio_received(BLANK), context.sound) == ([], Sound.HEARD)
    context.text(TEXTS["en"])
    assert (context.audio_received(SOUND), context.sound) == ([], Sound.HEARD)


def test_a_context_holds_a_slot_from_its_first_frame_to_its_final(context: Context) -> None:
    assert not context.holds_slot
    for step in ("text", "end", "sound"):
        STEPS[step](context)
        assert context.holds_slot
    context.final_received()
    assert not context.holds_slot


@pytest.mark.parametrize(
    ("over", "socket_opened", "acquired"),
    [("stream-input", 1, 0), ("multi-stream-input", 0, 0), ("text-to-dialogue", 0, 1)],
)
def test_the_first_frame_leaves_before_there_is_text_where_it_has_the_service_do_work(
    over: str, socket_opened: int, acquired: int
) -> None:
    context = new_context(over)
    assert (len(context.socket_opened()), len(context.acquired())) == (socket_opened, acquired)
    assert len(context.text(TEXTS["en"])) == 2 - socket_opened - acquired


@pytest.mark.parametrize("over", ENDPOINTS)
def test_a_socket_has_one_context_or_any_number(over: str) -> None:
    contexts = [Context.of(endpoint_for(make_config(endpoint=over)), number) for number in range(7)]
    ids = [context.context_id for context in contexts if context is not None]
    assert ids == ([None] if over == "stream-input" else list("1234567"))
