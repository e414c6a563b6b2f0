"""ElevenLabs' own SDK as a client of the local server, synchronous and asynchronous."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from elevenlabs import VoiceSettings
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import AudioOutput, CloseConnection, FinalOutput, InitializeConnection, SendText
from elevenlabs.types.realtime_voice_settings import RealtimeVoiceSettings
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE, town
from tests.helpers.tls import certificates
from tests.unit.local_server.sdk import QUICK, with_async_sdk, with_sdk
from tts_trio.local_server import Behavior, LocalServer, ToneVoice, open_local_server, read_tones

PCM = "pcm_16000"
MODEL = "eleven_flash_v2_5"
TEXTS = pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])


@TEXTS
async def test_stream(text: str) -> None:
    def use(client: ElevenLabs) -> bytes:
        settings = VoiceSettings(stability=0.4, speed=1.1)
        return b"".join(
            client.text_to_speech.stream(
                VOICE, text=text, model_id=MODEL, output_format=PCM, voice_settings=settings, seed=7
            )
        )

    assert read_tones(await with_sdk(use), "pcm_16000").strip() == text


@TEXTS
async def test_convert(text: str) -> None:
    audio = await with_sdk(
        lambda client: b"".join(client.text_to_speech.convert(VOICE, text=text, model_id=MODEL, output_format=PCM))
    )
    assert read_tones(audio, "pcm_16000").strip() == text


@TEXTS
async def test_timestamps(text: str) -> None:
    def use(client: ElevenLabs) -> tuple[Any, list[Any]]:
        options: Any = {"text": text, "model_id": MODEL, "output_format": PCM}
        whole = client.text_to_speech.convert_with_timestamps(VOICE, **options)
        return whole, list(client.text_to_speech.stream_with_timestamps(VOICE, **options))

    whole, lines = await with_sdk(use)
    for parts in ([whole], lines):
        audio = b"".join(base64.b64decode(part.audio_base_64) for part in parts)
        assert read_tones(audio, "pcm_16000").strip() == text
        characters = [character for part in parts for character in part.alignment.characters]
        ends = [end for part in parts for end in part.alignment.character_end_times_seconds]
        assert "".join(characters).strip() == text
        assert ends[-1] == pytest.approx(len(audio) / 32000, abs=0.001)


@TEXTS
async def test_asynchronous(text: str) -> None:
    async def use(client: AsyncElevenLabs) -> tuple[bytes, bytes]:
        options: Any = {"text": text, "model_id": MODEL, "output_format": PCM}
        streamed = [chunk async for chunk in client.text_to_speech.stream(VOICE, **options)]
        timed = [chunk async for chunk in client.text_to_speech.stream_with_timestamps(VOICE, **options)]
        return b"".join(streamed), b"".join(base64.b64decode(part.audio_base_64) for part in timed)

    assert [read_tones(audio, "pcm_16000").strip() for audio in await with_async_sdk(use)] == [text, text]


async def test_models_voices_and_subscription() -> None:
    models, voices, found, subscription = await with_sdk(
        lambda client: (
            client.models.list(),
            client.voices.get_all(),
            client.voices.search(),
            client.user.subscription.get(),
        )
    )
    assert MODEL in {model.model_id for model in models}
    assert VOICE in {voice.voice_id for voice in voices.voices} & {voice.voice_id for voice in found.voices}
    assert (subscription.tier, subscription.status) == ("creator", "active")


async def test_one_voice_its_settings_the_user_and_the_history() -> None:
    def use(client: ElevenLabs) -> tuple[Any, ...]:
        for text in (ENGLISH, RUSSIAN):
            b"".join(client.text_to_speech.stream(VOICE, text=text, model_id=MODEL, output_format=PCM))
        first = client.history.list(page_size=1)
        return (
            client.voices.get(VOICE),
            client.voices.settings.get(VOICE),
            client.voices.settings.get_default(),
            client.voices.search(search="george", page_size=1),
            client.user.get(),
            first,
            client.history.list(start_after_history_item_id=first.last_history_item_id),
        )

    voice, settings, default, found, user, first, rest = await with_sdk(use)
    assert (voice.name, voice.fine_tuning.state, voice.settings) == ("George", {}, settings)
    assert settings == default
    assert [voice.voice_id for voice in found.voices] == [VOICE]
    assert user.subscription.character_count == round(len(ENGLISH) / 2) + round(len(RUSSIAN) / 2)
    assert [item.text for item in (*first.history, *rest.history)] == [RUSSIAN, ENGLISH]
    assert (first.has_more, rest.has_more) == (True, False)


async def test_errors() -> None:
    def use(client: ElevenLabs) -> ApiError:
        with pytest.raises(ApiError) as caught:
            b"".join(client.text_to_speech.stream("nobody", text="Hi", model_id=MODEL))
        return caught.value

    error = await with_sdk(use, Behavior(voices=(VOICE,)))
    assert error.status_code == 404
    assert error.body["detail"]["status"] == "voice_not_found"


# --- WebSocket: the SDK insists on wss

old_websockets_api = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")  # the SDK's own code


@asynccontextmanager
async def tls_server(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> AsyncGenerator[LocalServer]:
    tls = certificates()
    tls.authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    async with open_local_server(attrs.evolve(QUICK, **changes), voice=ToneVoice(), ssl_context=tls.server) as server:
        yield server


@TEXTS
@old_websockets_api
async def test_convert_realtime(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_server(tmp_path, monkeypatch) as server:

        def use() -> bytes:
            client = ElevenLabs(api_key="key", base_url=server.base_url)
            tokens = iter(word + " " for word in text.split())
            chunks = client.text_to_speech.convert_realtime(VOICE, text=tokens, model_id=MODEL, output_format=PCM)
            audio = b"".join(chunks)
            client._client_wrapper.httpx_client.httpx_client.close()
            return audio

        audio = await trio.to_thread.run_sync(use)
    assert " ".join(read_tones(audio, "pcm_16000").split()) == text


@old_websockets_api
async def test_convert_realtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tls_server(tmp_path, monkeypatch, api_keys=("good",)) as server:

        def use() -> ApiError:
            client = ElevenLabs(api_key="bad", base_url=server.base_url)
            try:
                with pytest.raises(ApiError) as caught:
                    list(client.text_to_speech.convert_realtime(VOICE, text=iter(["Hi "]), output_format=PCM))
                return caught.value
            finally:
                client._client_wrapper.httpx_client.httpx_client.close()

        error = await trio.to_thread.run_sync(use)
    assert error.status_code == 1008


@TEXTS
async def test_the_generated_types_of_stream_input(text: str, autojump_clock: MockClock) -> None:
    """The messages of the SDK's types are understood, and ours are messages of its types."""
    opening = InitializeConnection(voice_settings=RealtimeVoiceSettings(stability=0.5, speed=1.0))
    messages = [opening, SendText(text=text + " ", try_trigger_generation=True), CloseConnection()]
    async with town() as here:
        socket = await here.socket()
        for message in messages:
            await socket.send(message.model_dump(by_alias=True))
        heard = [item.message for item in await socket.hear_all() if isinstance(item.message, dict)]
    outputs = [AudioOutput.model_validate(message) for message in heard[:-1]]
    said = b"".join(base64.b64decode(output.audio) for output in outputs)
    assert read_tones(said, "pcm_16000").strip() == text
    assert outputs[0].alignment is not None
    assert outputs[0].alignment.chars is not None
    assert outputs[0].normalized_alignment is not None
    assert "".join(outputs[0].alignment.chars).strip() == text
    assert outputs[0].alignment.char_durations_ms is not None
    assert FinalOutput.model_validate(heard[-1]).is_final is True
