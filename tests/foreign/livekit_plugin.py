"""LiveKit's plugin (PyPI livekit-plugins-elevenlabs): `python -m tests.foreign livekit`.

Its defaults but for the model, the base URL and, to read the words, the encoding.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import Any

import aiohttp
from livekit.plugins import elevenlabs

TEXT = os.environ["TEXT"]
MODELS = ("eleven_turbo_v2_5", "eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo")


async def stream(tts: elevenlabs.TTS) -> tuple[bytes, int]:
    audio, rate = b"", 0
    async with tts.stream() as stream:
        for word in TEXT.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        async for event in stream:
            audio, rate = audio + bytes(event.frame.data), event.frame.sample_rate
    return audio, rate


async def synthesize(tts: elevenlabs.TTS) -> tuple[bytes, int]:
    audio, rate = b"", 0
    async with tts.synthesize(TEXT) as stream:
        async for event in stream:
            audio, rate = audio + bytes(event.frame.data), event.frame.sample_rate
    return audio, rate


async def main() -> None:
    async with aiohttp.ClientSession() as session:
        for model in MODELS:
            options: dict[str, Any] = {"model": model, "api_key": "any", "http_session": session}
            options["base_url"] = f"{sys.argv[1]}/v1"
            for speak in (stream, synthesize):
                tts = elevenlabs.TTS(encoding="pcm_16000", **options)
                audio, _ = await asyncio.wait_for(speak(tts), 30)
                await tts.aclose()
                did = f"{model} {speak.__name__}"
                print(json.dumps({"did": did, "format": "pcm_16000", "audio": base64.b64encode(audio).decode()}))
                tts = elevenlabs.TTS(**options)
                audio, rate = await asyncio.wait_for(speak(tts), 30)
                await tts.aclose()
                print(json.dumps({"did": f"{did} in mp3", "seconds": len(audio) / 2 / rate}))


asyncio.run(main())
