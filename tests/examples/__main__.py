"""Plays a call with the agent against stand-ins, in some fifteen seconds: `python -m tests.examples`."""

from __future__ import annotations

import logging
import os
from functools import partial

import trio
from trio_websocket import WebSocketRequest, open_websocket, serve_websocket

from tests.examples.agent import answer
from tests.examples.doubles import LLM, call, recognize
from tests.helpers.twilio import Twilio
from tts_trio.local_server import ToneVoice, open_local_server


async def main() -> None:
    over = trio.Event()

    async def serve(request: WebSocketRequest) -> None:
        await answer(request, llm=LLM().client(), recognize=recognize)
        over.set()

    async with open_local_server(voice=ToneVoice()) as service, trio.open_nursery() as nursery:
        os.environ |= {"ELEVENLABS_API_KEY": "any", "ELEVENLABS_VOICE_ID": "any"}
        os.environ["ELEVENLABS_BASE_URL"] = service.base_url
        listening = await nursery.start(partial(serve_websocket, serve, "127.0.0.1", 0, None))
        async with open_websocket("127.0.0.1", listening.port, "/", use_ssl=False) as websocket:
            twilio = Twilio(websocket)
            nursery.start_soon(twilio.run)
            await call(twilio)
            await over.wait()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tests.examples").setLevel(logging.INFO)
    trio.run(main)
