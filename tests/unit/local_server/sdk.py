"""ElevenLabs' own SDK against a local server: both run here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import trio
from elevenlabs.client import AsyncElevenLabs, ElevenLabs

from tts_trio.local_server import Behavior, ToneVoice, open_local_server

QUICK = Behavior(model_latency=0.01, speed=500.0, close_delay=0.05)


async def with_sdk(use: Callable[[ElevenLabs], Any], behavior: Behavior = QUICK) -> Any:
    """Use the synchronous SDK in a thread, against a server here."""
    async with open_local_server(behavior, voice=ToneVoice()) as server:

        def call() -> Any:
            client = ElevenLabs(api_key="key", base_url=server.base_url)
            try:
                return use(client)
            finally:
                client._client_wrapper.httpx_client.httpx_client.close()

        return await trio.to_thread.run_sync(call)


async def with_async_sdk(use: Callable[[AsyncElevenLabs], Any]) -> Any:
    """Use the asynchronous SDK, which is asyncio's, in a thread."""
    async with open_local_server(QUICK, voice=ToneVoice()) as server:

        async def call() -> Any:
            client = AsyncElevenLabs(api_key="key", base_url=server.base_url)
            try:
                return await use(client)
            finally:
                await client._client_wrapper.httpx_client.httpx_client.aclose()

        return await trio.to_thread.run_sync(lambda: asyncio.run(call()))
