"""The whole way over real sockets, plain and TLS, with the real voice: sound of plausible length and loudness."""

from __future__ import annotations

import gc

import pytest
import trio

from tests.helpers import ENGLISH, RUSSIAN, TEXTS, heard, listen, make_config, tokens
from tests.helpers.sound import decode, rms, sample_rate_of
from tests.helpers.tls import certificates
from tts_trio import ConfigurationError, Timeouts, TTSConnectionError, open_tts
from tts_trio.local_server import Behavior, EspeakVoice, ToneVoice, open_local_server

FORMATS = ["pcm_16000", "pcm_24000", "ulaw_8000", "alaw_8000", "mp3_44100_128", "opus_48000_64"]


@pytest.mark.parametrize("output_format", FORMATS)
@pytest.mark.parametrize("language", TEXTS)
async def test_every_family_of_formats_by_both_ways(output_format: str, language: str) -> None:
    text = TEXTS[language]
    async with open_local_server(Behavior(speed=200), voice=EspeakVoice()) as server:
        config = make_config(
            base_url=server.base_url,
            output_format=output_format,
            language_code=language,
            on_lost_connection="raise",
        )
        async with open_tts(config) as tts:
            async with tts.stream_static_text(text) as audio:
                phrase = await listen(audio)
            async with tts.speak([text]) as audio:
                reply = await listen(audio)
    for sound in (phrase, reply):
        samples = decode(output_format, sound)
        assert 10 <= len(text) / (len(samples) / sample_rate_of(output_format)) <= 20  # characters a second
        assert 0.02 < rms(samples) / 32768 < 0.5


async def test_a_reply_sounds_before_half_of_its_text_has_come() -> None:
    words = " ".join([ENGLISH, ENGLISH]).split()[:60]
    text = " ".join(words)
    last_token = first_audio = 0.0

    async def written() -> object:
        nonlocal last_token
        async for token in tokens(text, 0.02):
            last_token = trio.current_time()
            yield token

    async with open_local_server(voice=EspeakVoice()) as server, open_tts(make_config(base_url=server.base_url)) as tts:
        began = trio.current_time()
        async with tts.speak(written()) as audio:  # type: ignore[arg-type]
            async for _ in audio:
                first_audio = first_audio or trio.current_time()
    assert first_audio - began < (last_token - began) / 2


async def test_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    tls = certificates()
    async with open_local_server(voice=ToneVoice(), ssl_context=tls.server) as server:
        config = make_config(base_url=server.base_url, ssl_context=tls.client)
        async with open_tts(config) as tts:
            async with tts.stream_static_text(RUSSIAN) as audio:
                assert heard(await listen(audio), config) == RUSSIAN
            async with tts.speak(tokens(ENGLISH, 0.001)) as audio:
                assert heard(await listen(audio), config) == ENGLISH
            async with tts.speak(tokens(ENGLISH, 0.001)) as audio:
                await audio.receive()
            async with tts.speak(tokens(RUSSIAN, 0.001)) as audio:
                assert heard(await listen(audio), config) == RUSSIAN

        untrusting = make_config(base_url=server.base_url, timeouts=Timeouts(connect=1))
        async with open_tts(untrusting) as tts:
            for kind in ("http", "websocket"):
                with pytest.raises(ConfigurationError, match=r"^ssl_context: the certificate of 127"):  # not: try again
                    async with tts.stream_static_text("Да.") if kind == "http" else tts.speak(["Да."]) as audio:
                        await listen(audio)


async def test_certificates_of_the_environment_count_for_both_ways(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    tls = certificates()
    path = f"{tmp_path}/ca.pem"
    tls.authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", path)
    async with open_local_server(voice=ToneVoice(), ssl_context=tls.server) as server:
        config = make_config(base_url=server.base_url)
        async with open_tts(config) as tts:
            async with tts.stream_static_text("Да.") as audio:
                assert heard(await listen(audio), config) == "Да."
            async with tts.speak(["Да."]) as audio:
                assert heard(await listen(audio), config) == "Да."


async def test_a_refused_port() -> None:
    async with open_local_server(Behavior(), voice=ToneVoice()) as server:
        config = make_config(base_url=server.base_url, timeouts=Timeouts(connect=0.5))
        server.stop_accepting()
        async with open_tts(config) as tts:
            for kind in ("http", "websocket"):
                with pytest.raises(TTSConnectionError, match="refused"):
                    async with tts.stream_static_text("Да.") if kind == "http" else tts.speak(["Да."]) as audio:
                        await listen(audio)


async def test_nothing_is_left() -> None:
    async with open_local_server(voice=ToneVoice()) as server:
        async with open_tts(make_config(base_url=server.base_url)) as tts:
            async with tts.speak(tokens(ENGLISH, 0.001)) as audio:
                await audio.receive()
            async with tts.stream_static_text(ENGLISH) as audio:
                await audio.receive()
    gc.collect()  # a ResourceWarning is an error
