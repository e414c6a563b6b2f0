"""The extra `local` alone: the tone voice speaks over every endpoint, and what takes the extra `voice` says so."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE, PlainSocket, Reply, Town, town
from tts_trio.cli import main
from tts_trio.local_server import EspeakVoice, LocalServer, open_local_server, read_tones
from tts_trio.local_server.encoding import Encoder

MISSING = ("espeakng_loader", "av", "num2words")
NO_VOICE = (
    "EspeakVoice needs espeakng-loader: pip install 'tts_trio[voice]', or speak with ToneVoice (serve --voice tone)"
)
NO_ENCODER = (
    "{} needs PyAV: pip install 'tts_trio[voice]', or ask for pcm_*, ulaw_8000 or alaw_8000 at the sample rate of the"
    " voice"
)
FORMS = ("", "/stream", "/with-timestamps", "/stream/with-timestamps")
FORMATS = pytest.mark.parametrize("output_format", ["pcm_8000", "pcm_24000", "ulaw_8000", "alaw_8000"])
TEXTS = pytest.mark.parametrize("text", [f"{ENGLISH} 42 of 99%.", f"{RUSSIAN} 42 из 99%."])


@pytest.fixture(autouse=True)
def _without_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MISSING:
        monkeypatch.setitem(sys.modules, name, None)


def test_nothing_of_it_is_imported_early() -> None:
    """In a process of its own, for in this one it may have been imported before."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({MISSING}));"
        "from tts_trio.local_server import ToneVoice, open_local_server; import tts_trio.cli.serve.command"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def http(here: Town, path: str, output_format: str, body: dict[str, Any]) -> Reply:
    reply = await here.http().call("POST", f"/v1/{path}?output_format={output_format}", json.dumps(body).encode())
    assert reply is not None
    return reply


@TEXTS
@FORMATS
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dialogue", [False, True])
async def test_http(form: str, output_format: str, text: str, autojump_clock: MockClock, *, dialogue: bool) -> None:
    path = f"text-to-dialogue{form}" if dialogue else f"text-to-speech/{VOICE}{form}"
    body: dict[str, Any] = {"inputs": [{"text": text, "voice_id": VOICE}]} if dialogue else {"text": text}
    async with town() as here:
        reply = await http(here, path, output_format, body)
    assert reply.status == 200
    sound = reply.body
    if "timestamps" in form:
        sound = b"".join(base64.b64decode(json.loads(line)["audio_base64"]) for line in reply.body.splitlines())
    assert read_tones(sound, output_format) == f" {text} "  # the numbers, too: in digits, without num2words


async def open_socket(here: Town, path: str, output_format: str) -> PlainSocket:
    endpoint = path.rpartition("/")[2]
    query = {"output_format": output_format}
    if path.startswith("text-to-dialogue"):
        return await here.dialogue(endpoint, **query)
    return await here.socket(endpoint, **query, model_id="eleven_multilingual_v2")


@TEXTS
@FORMATS
@pytest.mark.parametrize(
    "path", [f"{family}/{kind}stream-input" for family in ("tts", "text-to-dialogue") for kind in ("", "multi-")]
)
async def test_websocket(path: str, output_format: str, text: str, autojump_clock: MockClock) -> None:
    name = {"context_id": "a"} if "multi" in path else {}
    async with town() as here:
        socket = await open_socket(here, path, output_format)
        if path.startswith("text-to-dialogue"):
            await socket.send({"voices": [VOICE], **name})
            await socket.send({"inputs": [{"text": text, "voice_id": VOICE}], "flush": True, **name})
        else:
            await socket.send({"text": " ", **name})
            await socket.send({"text": text, "flush": True, **name})
        await socket.send({"close_socket": True, "text": "", **name} if not name else {"close_context": True, **name})
        heard = await socket.hear_until(10)
    assert "final" in [item.kind for item in heard]
    assert read_tones(b"".join(item.audio for item in heard if item.kind == "audio"), output_format) == f" {text} "


@pytest.mark.parametrize("output_format", ["mp3_44100_128", "opus_48000_64", "wav_16000"])
async def test_an_encoder_that_is_missing_is_named_over_http(output_format: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        reply = await http(here, f"text-to-speech/{VOICE}", output_format, {"text": ENGLISH})
    assert reply.status == 403
    assert reply.json["detail"]["message"] == NO_ENCODER.format(output_format)


@pytest.mark.parametrize("path", ["tts/stream-input", "text-to-dialogue/multi-stream-input"])
async def test_an_encoder_that_is_missing_is_named_over_websocket(path: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await open_socket(here, path, "mp3_44100_128")
    assert socket.rejection is not None
    assert socket.rejection[0] == 403
    assert socket.rejection[2]["detail"]["message"] == NO_ENCODER.format("mp3_44100_128")


def test_an_encoder_that_is_missing_is_named() -> None:
    with pytest.raises(ImportError, match=r"^opus_48000_64 needs PyAV: pip install "):
        Encoder("opus_48000_64").encode(b"12", 48000)
    with pytest.raises(ImportError, match=r"^wav_8000 needs PyAV: "):
        Encoder("wav_8000").flush()
    with pytest.raises(ImportError, match=r"^pcm_8000 needs PyAV: .* at the sample rate of the voice$"):
        Encoder("pcm_8000").encode(b"12", 22050)


async def test_the_voice_that_is_missing_is_named() -> None:
    for create in (EspeakVoice, LocalServer):
        with pytest.raises(ImportError) as caught:
            create()
        assert str(caught.value) == NO_VOICE
    with pytest.raises(ImportError, match="espeakng-loader"):
        async with open_local_server():
            pass


@pytest.mark.parametrize("command", ["serve --port 0", "say Hi", "demo", "demo --fast"])
def test_a_command_names_the_voice_that_is_missing(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ELEVENLABS_API_KEY", "ELEVENLABS_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(command.split()) == 2
    assert capsys.readouterr().err == f"tts-trio: error: {NO_VOICE}\n"
