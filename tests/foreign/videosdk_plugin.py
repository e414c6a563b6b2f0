"""VideoSDK's plugin (PyPI videosdk-plugins-elevenlabs): `python -m tests.foreign videosdk`.

Its defaults but for the base URL: over a WebSocket, for which it asks an inactivity_timeout of 300, and over HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator

from videosdk.plugins.elevenlabs import ElevenLabsTTS

TEXT = os.environ["TEXT"]


async def words() -> AsyncIterator[str]:
    for sentence in TEXT.replace(". ", ".|").split("|"):
        yield sentence


async def main() -> None:
    for streaming in (True, False):
        tts = ElevenLabsTTS(base_url=sys.argv[1], enable_streaming=streaming)
        problems: list[object] = []
        tts.on("error", problems.append)
        await tts.prewarm()
        audio = b"".join([piece async for piece in tts.stream_synthesize(words())])
        await tts.aclose()
        if problems:
            raise RuntimeError(str(problems))
        did = "WebSocket" if streaming else "HTTP"
        print(json.dumps({"did": did, "format": "pcm_24000", "audio": base64.b64encode(audio).decode()}))


asyncio.run(main())
