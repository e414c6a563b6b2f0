"""What is not the sound that was asked for is refused, typed: before a byte of it is heard, and it is never kept."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
import trio

from tests.helpers import TEXTS, heard, listen, make_config, memory_service, speaking
from tests.helpers.raw_server import receive_request, serving
from tts_trio import AuthenticationError, ProtocolError, TTSConnectionError, TTSManager, WebSocketConnectionManager
from tts_trio.local_server import Behavior
from tts_trio.transport.http.answer import may_be_text
from tts_trio.transport.streams import OpenStream

SOUND = b"\x05\x00\xfb\xff" * 4000
PAGE = '<!DOCTYPE html>\n<html lang="ru"><head><title>Вход в сеть</title></head><body>...</body></html>'.encode()


def answer(body: bytes, *headers: str, status: str = "200 OK", content_type: str = "audio/pcm") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", f"content-type: {content_type}", *headers, "", ""]).encode() + body


def whole(body: bytes, *headers: str, **changes: str) -> bytes:
    return answer(body, f"content-length: {len(body)}", *headers, **changes)


def chunked(*bodies: bytes) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(data), data) for data in bodies) + b"0\r\n\r\n"
    return answer(body, "transfer-encoding: chunked")


REFUSED: dict[str, tuple[bytes, str]] = {
    "cut by a FIN": (answer(SOUND), "neither a content length nor chunks"),
    "HTTP/1.0": (answer(SOUND).replace(b"HTTP/1.1", b"HTTP/1.0"), "neither a content length nor chunks"),
    "a part": (whole(SOUND, "content-range: bytes 0-15999/32000", status="206 Partial Content"), "has the status 206"),
    "another success": (whole(SOUND, status="203 Non-Authoritative Information"), "has the status 203"),
    "gzip": (whole(gzip.compress(SOUND), "content-encoding: gzip"), "content encoding gzip"),
    "br": (whole(SOUND, "content-encoding: br"), "content encoding br"),
    "HTML": (whole(PAGE), "text instead of audio"),
    "HTML, as mp3": (whole(PAGE, content_type="audio/mpeg"), "text instead of audio"),
    "HTML behind blanks": (whole(b"\xef\xbb\xbf\r\n\r\n  " + PAGE), "text instead of audio"),
    "HTML byte by byte": (chunked(*(PAGE[i : i + 1] for i in range(len(PAGE)))), "text instead of audio"),
    "a short page": (chunked(b"<p>no</p>"), "text instead of audio"),
    "XML": (whole(b"<?xml version='1.0'?><error/>"), "text instead of audio"),
    "JSON": (whole(b'{"message": "no"}'), "the service refused the request|no"),
    "JSON byte by byte": (chunked(*(bytes([byte]) for byte in b'{ "audio": null }')), "audio"),
}


async def ask_for(said: bytes, config: Any, opener: OpenStream) -> bytes:
    async with (
        WebSocketConnectionManager(config, open_stream=opener) as connections,
        TTSManager(config, connections) as tts,
        tts.stream_static_text(said.decode()) as audio,
    ):
        return await listen(audio)


@pytest.mark.parametrize("what", REFUSED)
async def test_what_was_not_asked_for_is_neither_heard_nor_kept(what: str) -> None:
    """P35: once, typed; and the same text is asked for again the next time."""
    told, says = REFUSED[what]
    asked: list[bytes] = []

    async def script(stream: trio.abc.Stream) -> None:
        asked.append(await receive_request(stream))
        await stream.send_all(told if len(asked) < 3 else whole(SOUND))
        await stream.aclose()

    async with serving("memory", script) as (config, opener):
        for _ in range(2):
            heard_of_it: list[bytes] = []
            async with (
                WebSocketConnectionManager(config, open_stream=opener) as connections,
                TTSManager(config, connections) as tts,
            ):
                with pytest.raises(ProtocolError, match=says) as caught:
                    async with tts.stream_static_text("Доброе утро.") as audio:
                        heard_of_it.extend([chunk async for chunk in audio])
            assert heard_of_it == []
            assert caught.value.status is not None
        assert len(asked) == 2
        assert await ask_for("Доброе утро.".encode(), config, opener) == SOUND
        assert len(asked) == 3


async def test_what_the_service_says_under_audio_is_its_answer() -> None:
    """P25: JSON with a `detail` is told as the refusal that it is, whatever type it is declared to have."""

    async def script(stream: trio.abc.Stream) -> None:
        await receive_request(stream)
        await stream.send_all(whole(b'{"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}'))

    async with serving("memory", script) as (config, opener):
        with pytest.raises(AuthenticationError, match="Invalid API key"):
            await ask_for(b"Good morning.", config, opener)


@pytest.mark.parametrize(
    "told",
    [
        answer(SOUND[:-100], f"content-length: {len(SOUND)}"),
        chunked(SOUND)[:-5],
        chunked(SOUND)[:-300],
    ],
    ids=["too short", "without its last chunk", "in a chunk"],
)
async def test_what_was_cut_short_is_lost(told: bytes) -> None:
    """P13: an answer whose length is known is not taken for whole before all of it has come."""

    async def script(stream: trio.abc.Stream) -> None:
        await receive_request(stream)
        await stream.send_all(told)
        await stream.aclose()

    async with serving("memory", script) as (config, opener):
        with pytest.raises(TTSConnectionError, match="was lost while reading the answer"):
            await ask_for(b"Good morning.", config, opener)


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("changes", [{}, {"audio_cache": None}], ids=["for the cache", "for nobody else"])
async def test_what_is_too_short_for_its_text_is_not_all_of_it(changes: dict[str, Any], language: str) -> None:
    """P2, P38: an answer whole by its framing, whose two seconds are no speech of twenty words."""

    async def script(stream: trio.abc.Stream) -> None:
        await receive_request(stream)
        await stream.send_all(whole(SOUND * 4))

    async with serving("memory", script) as (config, opener):
        config = config.evolve(**changes)
        async with (
            WebSocketConnectionManager(config, open_stream=opener) as connections,
            TTSManager(config, connections) as tts,
        ):
            with pytest.raises(TTSConnectionError, match="the end before all was spoken") as caught:
                async with tts.stream_static_text(TEXTS[language]) as audio:
                    assert await listen(audio) == SOUND * 4
            assert audio.outcome is not None
            assert audio.outcome.end == "failed"
            assert caught.value.unspoken_text
            assert caught.value.spoken_text + caught.value.unspoken_text == TEXTS[language]


@pytest.mark.parametrize(
    "sound",
    [
        b"<\x00{\x00" * 40,
        b'{"' + b"\x05\x00" * 40,
        b"<!\x00\x00",
        b"<h\xff\xff" * 20,
        b"{{{{{}}}}}~~~~" * 20,  # a quiet beginning of ulaw
        b"  \x01\x00",
        b"{|}~" * 20,
        b"ID3\x04",
        b"OggS",
        b"\xff\xfb",
        b"",
    ],
)
def test_sound_may_begin_like_text(sound: bytes) -> None:
    """P35: and is sound all the same."""
    assert not may_be_text(sound)


@pytest.mark.parametrize("output_format", ["pcm_16000", "ulaw_8000", "mp3_44100_128", "opus_48000_64"])
@pytest.mark.parametrize("language", TEXTS)
async def test_sound_is_not_held_up(autojump_clock: trio.testing.MockClock, language: str, output_format: str) -> None:
    """P19: the first bytes are handed on as they come, in every format."""
    config = make_config(output_format=output_format, on_lost_connection="raise")
    behavior = Behavior()
    async with memory_service(behavior) as service, speaking(config, service.open_stream) as tts:
        began = trio.current_time()
        async with tts.stream_static_text(TEXTS[language]) as audio:
            first = await audio.receive()
            assert trio.current_time() - began <= behavior.model_latency + 0.1
            sound = first + await listen(audio)
        if output_format == "pcm_16000":
            assert heard(sound, config) == TEXTS[language]
        assert not may_be_text(sound)
