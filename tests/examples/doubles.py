"""What stands in for the others in a call with the agent: the LLM, the recognizer, and the caller at Twilio."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping

import attrs
import httpx
import trio
from openai import AsyncOpenAI

from tests.helpers.twilio import Twilio
from tts_trio.local_server import ToneVoice
from tts_trio.local_server.speech import Order, render
from tts_trio.testing import heard

_FRAME = 160  # bytes: 20 ms of µ-law
_SILENCE = b"\xff" * _FRAME
_PAUSE = 0.3  # seconds of silence, after which the caller has finished
_TOKEN = 4  # characters
_TOKENS_A_SECOND = 25

QUESTION, SECOND_THOUGHT = "Where is my order?", "Can you deliver it on Saturday?"
REPLIES = {
    QUESTION: (
        "I am looking. Your order left our warehouse this morning, at twenty past nine, and it will be with you on "
        "Friday before noon. The driver will ring you up."
    ),
    SECOND_THOUGHT: "Yes, I have moved it to Saturday.",
}


@attrs.define
class LLM:
    """A stand-in for the service of an LLM, which streams the reply that a script has for the caller's last words.

    Attributes:
        replies: The replies, by the words of the caller; what is not in it is refused (HTTP 400).
        asked: The conversations that it was given, each a list of roles and contents.
        broken_off: The replies whose request was closed before their end.
    """

    replies: Mapping[str, str] = attrs.field(factory=REPLIES.copy)
    asked: list[list[tuple[str, str]]] = attrs.field(factory=list)
    broken_off: list[str] = attrs.field(factory=list)

    def client(self) -> AsyncOpenAI:
        """Return the SDK's client for it: all of the SDK, but for the network."""
        client = AsyncOpenAI(api_key="any", http_client=httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))
        client._platform = "Unknown"  # or it finds it out in a thread, for which no MockClock waits
        return client

    def _answer(self, request: httpx.Request) -> httpx.Response:
        messages = [(each["role"], each["content"]) for each in json.loads(request.content)["messages"]]
        self.asked.append(messages)
        if (reply := self.replies.get(messages[-1][1])) is None:
            return httpx.Response(400, json={"error": {"message": "nothing in the script"}})
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Events(self, reply))


@attrs.define
class _Events(httpx.AsyncByteStream):
    """The body of an answer: a reply as server-sent events, 25 tokens a second."""

    llm: LLM
    reply: str
    sent: int = 0

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> bytes:
        if self.sent >= len(self.reply):
            raise StopAsyncIteration
        await trio.sleep(1 / _TOKENS_A_SECOND)
        token = self.reply[self.sent : self.sent + _TOKEN]
        self.sent += _TOKEN
        choice = {"index": 0, "delta": {"content": token}, "finish_reason": None}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "any", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    async def aclose(self) -> None:
        if self.sent < len(self.reply):
            self.llm.broken_off.append(self.reply)


async def recognize(sound: trio.MemoryReceiveChannel[bytes]) -> AsyncGenerator[str]:
    """Recognize a caller who speaks with the tone voice."""
    spoken, silent = b"", 0.0
    async for piece in sound:
        if piece != _SILENCE:
            if not spoken:
                yield ""
            spoken, silent = spoken + piece, 0.0
        elif spoken:
            silent += len(piece) / 8000
            if silent >= _PAUSE:
                yield heard(spoken, "ulaw_8000")
                spoken = b""


async def say(twilio: Twilio, text: str) -> None:
    """Say a text as the caller, in real time, and be silent afterwards."""
    sound = render(Order(text, "ulaw_8000"), ToneVoice()).audio + _SILENCE * round(_PAUSE / 0.02)
    for start in range(0, len(sound), _FRAME):
        await twilio.say_media(sound[start : start + _FRAME].ljust(_FRAME, b"\xff"))
        await trio.sleep(0.02)


async def call(twilio: Twilio, *, patient: bool = True) -> None:
    """Call the agent: ask, interrupt the reply after a second by another question, hear the answer, and hang up.

    Args:
        twilio: The caller's line.
        patient: Whether the caller waits for the reply before he interrupts it.
    """
    await twilio.say("start", start={})
    await twilio.wait_for("mark")  # the greeting was played
    frames = sum(event["event"] == "media" for event in twilio.got)
    await say(twilio, QUESTION)
    if patient:
        await twilio.wait_for("media", frames + 1)
    await trio.sleep(1)
    await say(twilio, SECOND_THOUGHT)
    await twilio.wait_for("mark", 2)
    await twilio.say("stop")
