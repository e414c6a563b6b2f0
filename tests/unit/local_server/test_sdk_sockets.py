"""ElevenLabs' own SDK on the WebSockets with contexts: its generated messages over its WebSocket library.

The SDK has no client of its own for these endpoints, only the types of their messages.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from elevenlabs.core.unchecked_base_model import construct_type
from elevenlabs.types import (
    AudioOutputMulti,
    CloseContext,
    CloseSocket,
    DialogueInput,
    FinalOutputMulti,
    FlushContext,
    InitializeConnectionMulti,
    KeepContextAlive,
    SendTextMulti,
    TextToDialogueWebsocketAudioChunk,
    TextToDialogueWebsocketAudioChunkMulti,
    TextToDialogueWebsocketClientMessage,
    TextToDialogueWebsocketClientMessageMulti,
    TextToDialogueWebsocketFinal,
    TextToDialogueWebsocketFinalMulti,
    TextToDialogueWebsocketVoiceInput,
    TextToDialogueWebsocketVoiceSettings,
)
from elevenlabs.types.realtime_voice_settings import RealtimeVoiceSettings
from elevenlabs.v_1_text_to_speech_voice_id_multi_stream_input.types import ReceiveMessageMulti
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE
from tests.unit.local_server.sdk import QUICK, with_async_sdk, with_sdk
from tts_trio.local_server import ToneVoice, open_local_server, read_tones

HEADERS = {"xi-api-key": "key"}


@attrs.frozen
class Turn:
    """One turn on one endpoint, in the SDK's types."""

    path: str
    messages: Sequence[Any]
    after: Sequence[Any] = ()  # once the final has come

    def url(self, base_url: str) -> str:
        return base_url.replace("http", "ws") + self.path


def multi_stream_input(text: str) -> Turn:
    messages = [
        InitializeConnectionMulti(context_id="a", voice_settings=RealtimeVoiceSettings(stability=0.5, speed=1.0)),
        KeepContextAlive(context_id="a"),
        SendTextMulti(text=text[:10], context_id="a"),
        SendTextMulti(text=text[10:] + " ", context_id="a"),
        FlushContext(context_id="a", flush=True),
        CloseContext(context_id="a", close_context=True),
    ]
    path = f"/v1/text-to-speech/{VOICE}/multi-stream-input?model_id=eleven_flash_v2_5&output_format=pcm_16000"
    return Turn(path, messages, [CloseSocket(close_socket=True)])


def dialogue_multi_stream_input(text: str) -> Turn:
    message = TextToDialogueWebsocketClientMessageMulti
    settings = TextToDialogueWebsocketVoiceSettings(stability=0.5)
    messages = [
        message(context_id="a", voices=[VOICE], voice_settings=settings),
        message(context_id="a", keep_alive=True),
        message(context_id="a", inputs=[TextToDialogueWebsocketVoiceInput(text=text, voice_id=VOICE)], flush=True),
        message(context_id="a", close_context=True),
    ]
    path = (
        "/v1/text-to-dialogue/multi-stream-input?model_id=eleven_v4_turbo&output_format=pcm_16000&sync_alignment=true"
    )
    return Turn(path, messages, [message(close_socket=True)])


def dialogue_stream_input(text: str) -> Turn:
    message = TextToDialogueWebsocketClientMessage
    messages = [
        message(voices=[VOICE]),
        message(inputs=[TextToDialogueWebsocketVoiceInput(text=text, voice_id=VOICE)]),
        message(close_socket=True),
    ]
    path = "/v1/text-to-dialogue/stream-input?model_id=eleven_v3&output_format=pcm_16000&sync_alignment=true"
    return Turn(path, messages)


TURNS = pytest.mark.parametrize("turn", [multi_stream_input, dialogue_multi_stream_input, dialogue_stream_input])
TEXTS = pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])


def ends(message: dict[str, Any]) -> bool:
    return bool(message.get("isFinal") or message.get("is_final"))


def said(messages: list[dict[str, Any]], turn: Turn) -> tuple[str, str]:
    """Read the messages as the SDK's types, and give what was heard and what was aligned."""
    outputs: list[Any] = []
    for message in messages:
        if "text-to-speech" in turn.path:
            outputs.append(construct_type(type_=ReceiveMessageMulti, object_=message))
            assert isinstance(outputs[-1], FinalOutputMulti if message["isFinal"] else AudioOutputMulti)
            assert outputs[-1].context_id == "a"
        elif "audio" in message:
            several = "context_id" in message
            chunk = TextToDialogueWebsocketAudioChunkMulti if several else TextToDialogueWebsocketAudioChunk
            outputs.append(chunk.model_validate(message))
    last = messages[-1]
    if "context_id" in last:
        assert TextToDialogueWebsocketFinalMulti.model_validate(last).context_id == "a"
    elif "text-to-dialogue" in turn.path:
        assert TextToDialogueWebsocketFinal.model_validate(last).is_final is True
    outputs = [output for output in outputs if getattr(output, "audio", None)]
    audio = b"".join(base64.b64decode(output.audio) for output in outputs)
    aligned = "".join("".join(output.alignment.chars) for output in outputs if output.alignment)
    return read_tones(audio, "pcm_16000").strip(), aligned.strip()


@TURNS
@TEXTS
async def test_synchronous(turn: Any, text: str) -> None:
    one = turn(text)
    async with open_local_server(QUICK, voice=ToneVoice()) as server:

        def call() -> list[dict[str, Any]]:
            messages: list[dict[str, Any]] = []
            with connect(one.url(server.base_url), additional_headers=HEADERS) as socket:
                for message in one.messages:
                    socket.send(message.model_dump_json(by_alias=True))
                while not (messages and ends(messages[-1])):
                    messages.append(json.loads(socket.recv(timeout=5)))
                for message in one.after:
                    socket.send(message.model_dump_json(by_alias=True))
                with pytest.raises(ConnectionClosedOK):
                    socket.recv(timeout=5)
            return messages

        messages = await trio.to_thread.run_sync(call)
    assert said(messages, one) == (text, text)


@TURNS
@TEXTS
async def test_asynchronous(turn: Any, text: str) -> None:
    one = turn(text)
    async with open_local_server(QUICK, voice=ToneVoice()) as server:

        async def call() -> list[dict[str, Any]]:
            messages: list[dict[str, Any]] = []
            async with (
                connect_async(one.url(server.base_url), additional_headers=HEADERS) as socket,
                asyncio.timeout(5),
            ):
                for message in one.messages:
                    await socket.send(message.model_dump_json(by_alias=True))
                while not (messages and ends(messages[-1])):
                    messages.append(json.loads(await socket.recv()))
                for message in one.after:
                    await socket.send(message.model_dump_json(by_alias=True))
                with pytest.raises(ConnectionClosedOK):
                    await socket.recv()
            return messages

        messages = await trio.to_thread.run_sync(lambda: asyncio.run(call()))
    assert said(messages, one) == (text, text)


@TEXTS
async def test_dialogue_over_http(text: str) -> None:
    options: Any = {
        "inputs": [DialogueInput(text=text, voice_id=VOICE), DialogueInput(text="Да.", voice_id=VOICE)],
        "model_id": "eleven_v3",
        "output_format": "pcm_16000",
    }

    def use(client: Any) -> list[str]:
        api = client.text_to_dialogue
        timed = [[api.convert_with_timestamps(**options)], list(api.stream_with_timestamps(**options))]
        assert all(part.voice_segments for parts in timed for part in parts[:-1])
        raw = [b"".join(api.convert(**options)), b"".join(api.stream(**options))]
        raw += [b"".join(base64.b64decode(part.audio_base_64) for part in parts) for parts in timed]
        return [read_tones(audio, "pcm_16000").strip() for audio in raw]

    async def use_async(client: Any) -> str:
        audio = b"".join([chunk async for chunk in client.text_to_dialogue.stream(**options)])
        return read_tones(audio, "pcm_16000").strip()

    assert await with_sdk(use) == [f"{text} Да."] * 4
    assert await with_async_sdk(use_async) == f"{text} Да."
