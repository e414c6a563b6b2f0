"""The example of a whole agent, in memory and in virtual time, with stand-ins for Twilio, recognizer and LLM."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio_websocket

from tests.examples import agent
from tests.examples.doubles import LLM, QUESTION, REPLIES, SECOND_THOUGHT, call, recognize
from tests.helpers.twilio import Twilio
from tts_trio.testing import Service, heard

pytest_plugins = ["tts_trio.testing.plugin"]
pytestmark = [
    # What the SDK and httpx iterate over inside is closed by the garbage collector where a reply is broken off. The
    # request itself is closed at once, which the stand-in sees.
    pytest.mark.filterwarnings("ignore:Async generator '(openai|httpx):ResourceWarning"),
]


async def play_a_call(llm: LLM, *, patient: bool = True) -> tuple[agent.Call, Twilio]:
    """Let the caller of the stand-in call the agent, and return what became of it."""
    theirs, ours = trio.testing.memory_stream_pair()
    calls: list[agent.Call] = []
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, ours)
            calls.append(await agent.answer(request, llm=llm.client(), recognize=recognize))
            nursery.cancel_scope.cancel()

        nursery.start_soon(serve)
        twilio = Twilio(await trio_websocket.wrap_client_stream(nursery, theirs, "127.0.0.1", "/"))
        nursery.start_soon(twilio.run)
        await call(twilio, patient=patient)
    return calls[0], twilio


async def test_a_call(autojump_clock: trio.testing.MockClock, tts_service: Service) -> None:
    """The LLM is told what was heard of the turn that the caller interrupted, and no sound of it comes afterwards."""
    llm = LLM()
    over, twilio = await play_a_call(llm)
    said = [(message["role"], message.get("content")) for message in over.messages]
    cut = said[3][1]
    assert said == [
        ("system", agent.SYSTEM),
        ("assistant", agent.GREETING),
        ("user", QUESTION),
        ("assistant", cut),
        ("user", SECOND_THOUGHT),
        ("assistant", REPLIES[SECOND_THOUGHT]),
    ]
    assert isinstance(cut, str)
    assert REPLIES[QUESTION].split()[: len(cut.split())] == cut.split()
    assert 2 <= len(cut.split()) <= 6  # of a second
    assert llm.asked == [said[:3], said[:5]]
    assert llm.broken_off == [REPLIES[QUESTION]]  # the request was closed with the turn

    events = [event["event"] for event in twilio.got]
    clear = events.index("clear")
    assert events.count("clear") == 1
    assert events[clear + 1 :].count("media") == len(events[clear + 1 : -1])
    assert heard(twilio.sound(twilio.got[clear:]), "ulaw_8000") == REPLIES[SECOND_THOUGHT]
    greeting, rest = agent.GREETING, heard(twilio.sound(twilio.got[:clear]), "ulaw_8000")
    assert rest.startswith(f"{greeting} {cut}")


async def test_a_turn_that_fails_does_not_end_the_call(
    autojump_clock: trio.testing.MockClock, tts_service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    llm = LLM({SECOND_THOUGHT: REPLIES[SECOND_THOUGHT]})
    over, _ = await play_a_call(llm, patient=False)
    assert "the turn failed: Error code: 400 - " in caplog.text
    assert [message["role"] for message in over.messages] == ["system", "assistant", "user", "user", "assistant"]


def test_it_is_short_enough_to_be_read_in_two_minutes() -> None:
    assert len(Path(agent.__file__).read_text("utf-8").splitlines()) < 150
