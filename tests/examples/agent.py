"""A telephone agent on trio: Twilio's Media Streams, a recognizer, an LLM through OpenAI's SDK, and tts_trio.

    the caller's sound ──> recognize ──> the LLM's tokens ──> tts_trio ──> the agent's sound
                               └── barge-in: the turn is cancelled, and the LLM learns what was heard of it

`python -m tests.examples` plays a call with stand-ins for all of them. For real calls, serve `answer` to Twilio
(`<Connect><Stream url="wss://..."/></Connect>`), with OPENAI_API_KEY, ELEVENLABS_API_KEY and ELEVENLABS_VOICE_ID set:

    llm = AsyncOpenAI()
    await serve_websocket(partial(answer, llm=llm, recognize=yours), "0.0.0.0", 8080, ssl_context)
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from typing import TypeAlias

import attrs
import trio
from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletionMessageParam
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest

from tts_trio import AudioChannel, TTSConfig, TTSError, TTSManager, open_tts

Recognize: TypeAlias = Callable[[trio.MemoryReceiveChannel[bytes]], AsyncGenerator[str]]
"""Takes the caller's sound as it comes (µ-law, 8 kHz). Yields "" when he begins to speak, and his words at the end."""

logger = logging.getLogger(__name__)

MODEL = "gpt-5-mini"
SYSTEM = "You answer the telephone of a parcel service. What you write is read aloud: one or two short sentences."
GREETING = "Hello, this is the parcel service. How can I help you?"


@attrs.define
class Call:
    """One call.

    Attributes:
        twilio: The WebSocket of Twilio's Media Stream.
        llm: The client of the LLM.
        tts: What speaks.
        nursery: Where the turns of the agent run.
        messages: The conversation, as the LLM is told it. An interrupted turn is in it as far as it was heard.
        turn: The scope of the agent's last turn.
    """

    twilio: WebSocketConnection
    llm: AsyncOpenAI
    tts: TTSManager
    nursery: trio.Nursery
    messages: list[ChatCompletionMessageParam] = attrs.field(factory=list[ChatCompletionMessageParam])
    turn: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _stream_sid: str = ""
    _one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock)

    async def run(self, recognize: Recognize) -> None:
        """Take the call, until the caller hangs up."""
        hear, sound = trio.open_memory_channel[bytes](math.inf)
        self._note({"role": "system", "content": SYSTEM})
        self.nursery.start_soon(self._listen, recognize, sound)
        with suppress(ConnectionClosed):
            while (event := json.loads(await self.twilio.get_message()))["event"] != "stop":
                match event["event"]:
                    case "start":
                        self._stream_sid = event["streamSid"]
                        self._say(self.tts.stream_static_text(GREETING))  # from the cache, or over HTTP
                    case "media":
                        hear.send_nowait(base64.b64decode(event["media"]["payload"]))
                    case "mark":
                        logger.info("(%s was played to its end)", event["mark"]["name"])
                    case _:  # "connected", "dtmf"
                        pass

    async def _listen(self, recognize: Recognize, sound: trio.MemoryReceiveChannel[bytes]) -> None:
        async with aclosing(recognize(sound)) as heard:
            async for words in heard:
                self.turn.cancel()  # barge-in
                if words:
                    self._note({"role": "user", "content": words})
                    self._say(self.tts.speak(self._think()))

    async def _think(self) -> AsyncGenerator[str | None]:
        """Yield the tokens of the LLM's reply. A barge-in closes this, and the request with it."""
        request = self.llm.chat.completions.create(model=MODEL, messages=self.messages, stream=True)
        async with await request as stream:
            async for chunk in stream:
                yield chunk.choices[0].delta.content if chunk.choices else None

    def _say(self, speech: AbstractAsyncContextManager[AudioChannel]) -> None:
        """Begin a turn, behind the last one, which ends at once if it is cancelled."""
        self.turn = trio.CancelScope()
        self.nursery.start_soon(self._speak, speech, self.turn)

    async def _speak(self, speech: AbstractAsyncContextManager[AudioChannel], turn: trio.CancelScope) -> None:
        async with self._one_at_a_time:
            with turn:
                try:
                    async with speech as audio:
                        frames = audio.paced()  # 20 ms each, by the clock
                        try:
                            async for frame in frames:
                                await self._send("media", media={"payload": base64.b64encode(frame).decode()})
                        finally:
                            if said := audio.spoken(frames.played_ms):  # what was heard, in whole words
                                self._note({"role": "assistant", "content": said})
                    await self._send("mark", mark={"name": f"turn {len(self.messages)}"})
                except (TTSError, OpenAIError) as error:
                    logger.warning("the turn failed: %s", error)
            if turn.cancelled_caught:
                await self._send("clear")  # Twilio drops what it has not played yet

    def _note(self, message: ChatCompletionMessageParam) -> None:
        self.messages.append(message)
        logger.info("%9s: %s", message["role"], message.get("content"))

    async def _send(self, event: str, **fields: object) -> None:
        message = json.dumps({"event": event, "streamSid": self._stream_sid, **fields})
        with trio.CancelScope(shield=True), suppress(ConnectionClosed):  # a barge-in must not cut a frame in half
            await self.twilio.send_message(message)


async def answer(request: WebSocketRequest, *, llm: AsyncOpenAI, recognize: Recognize) -> Call:
    """Answer a call; for `trio_websocket.serve_websocket`. Return it when it is over, with its `messages`."""
    config = TTSConfig.from_env(output_format="ulaw_8000", language_code="en")
    async with open_tts(config) as tts, trio.open_nursery() as nursery:
        call = Call(await request.accept(), llm, tts, nursery)
        await call.run(recognize)
        nursery.cancel_scope.cancel()
    return call
