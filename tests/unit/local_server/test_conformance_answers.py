"""The local server beside the ElevenLabs protocol: sections 1.5 to 1.7, the answers to HTTP requests for speech."""

from __future__ import annotations

import json
import re

import pytest

from tests.helpers.plain import RUSSIAN, VOICE, Town
from tests.unit.local_server.table import Table, speak

TABLE = Table()
row = TABLE.row


@row("1.5-content-types")
async def _(here: Town) -> None:
    wanted = {
        "mp3_22050_32": "audio/mpeg",
        "pcm_8000": "audio/pcm",
        "opus_48000_32": "audio/opus",
        "ulaw_8000": "audio/ulaw",
        "alaw_8000": "audio/alaw",
    }
    for output_format, content_type in wanted.items():
        reply = await speak(here, "Hi", query={"output_format": output_format})
        assert reply.headers["content-type"] == content_type


@row("1.5-mp3-begins-with-a-tag")
async def _(here: Town) -> None:
    for form in ("", "/stream"):
        body = (await speak(here, "Hi", form, query={"output_format": "mp3_22050_32"})).body
        assert (body[:10], body[45]) == (b"ID3\x04\0\0\0\0\0\x23", 0xFF)


@row("1.5-preflight")
async def _(here: Town) -> None:
    asked = {"origin": "https://example.org", "access-control-request-headers": "content-type,xi-api-key"}
    reply = await here.http().call(
        "OPTIONS",
        f"/v1/text-to-speech/{VOICE}/stream",
        **asked,
        **{"access-control-request-method": "POST", "xi-api-key": ""},
    )
    assert reply is not None
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["access-control-allow-headers"] == "*"
    assert "POST" in reply.headers["access-control-allow-methods"].split(", ")
    refused = await speak(here, headers={"xi-api-key": "", "origin": "https://example.org"})
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "*")


@row("1.5-headers-of-a-success")
async def _(here: Town) -> None:
    headers = (await speak(here, "a" * 44)).headers
    assert headers["character-cost"] == "22"
    assert re.fullmatch("[0-9a-f]{32}", headers["x-trace-id"])
    assert re.fullmatch("[0-9A-Za-z]{20}", headers["request-id"])
    assert headers["current-concurrent-requests"] == "1"
    assert headers["workspace-concurrent-requests"] == "1"
    assert headers["server"] == "uvicorn"
    assert headers["via"] == "1.1 google"
    assert headers["vary"] == "Accept-Language"
    assert headers["alt-svc"] == 'h3=":443"; ma=2592000'
    assert headers["strict-transport-security"] == "max-age=1800;"
    for name in ("history-item-id", "maximum-concurrent-requests", "x-region", "date"):
        assert headers[name]


@row("1.5-tts-latency-on-whole-files-only")
async def _(here: Town) -> None:
    assert "tts-latency-ms" in (await speak(here, form="")).headers
    assert "tts-latency-ms" not in (await speak(here)).headers


@row("1.5-errors-have-fewer-headers")
async def _(here: Town) -> None:
    reply = await speak(here, voice="no%20voice")
    assert reply.status == 404
    assert reply.headers["x-trace-id"] == reply.json["detail"]["request_id"]
    few = {"request-id", "character-cost", "current-concurrent-requests", "workspace-concurrent-requests"}
    assert not few & set(reply.headers)


@row("1.6-odd-sizes")
async def _(here: Town) -> None:
    parts = [len(data) for _, data in (await speak(here)).parts]
    assert any(size % 2 for size in parts)
    assert sum(parts) % 2 == 0


@row("1.6-sizes-repeat")
async def _(here: Town) -> None:
    first, second = [(await speak(here)).parts for _ in range(2)]
    assert [len(data) for _, data in first] == [len(data) for _, data in second]


@row("1.6-pace")
async def _(here: Town) -> None:
    reply = await speak(here)
    assert reply.at == pytest.approx(0.075)
    seconds = len(reply.body) / 2 / 16000
    last = len(reply.parts[-1][1]) / 2 / 16000
    assert reply.parts[-1][0] - reply.at == pytest.approx((seconds - last) / 20, abs=0.001)


@row("1.7-seconds-from-the-start-of-the-request")
async def _(here: Town) -> None:
    reply = await speak(here, RUSSIAN, "/stream/with-timestamps")
    lines = [json.loads(line) for line in reply.body.splitlines()]
    starts = [start for line in lines for start in line["alignment"]["character_start_times_seconds"]]
    ends = [end for line in lines for end in line["alignment"]["character_end_times_seconds"]]
    assert starts == sorted(starts)
    assert starts[0] == 0.0
    assert starts[1:] == ends[:-1]
    assert ends[-1] == pytest.approx((len(RUSSIAN) + 2) * 0.06)


test_conformance = TABLE.test()
