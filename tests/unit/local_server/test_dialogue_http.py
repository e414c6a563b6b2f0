"""text-to-dialogue over HTTP as a plain client sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE, Reply, Town, town
from tts_trio.local_server import read_tones

TEXTS = pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
OTHER = "21m00Tcm4TlvDq8ikWAM"
CONVERSATIONAL = "eleven_v3_conversational"


def line(text: str, voice: str = VOICE) -> dict[str, str]:
    return {"text": text, "voice_id": voice}


async def ask(here: Town, form: str = "/stream", query: str = "output_format=pcm_16000", **body: Any) -> Reply:
    reply = await here.http().call("POST", f"/v1/text-to-dialogue{form}?{query}", json.dumps(body).encode())
    assert reply is not None
    return reply


@TEXTS
@pytest.mark.parametrize("form", ["", "/stream"])
async def test_http(form: str, text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        reply = await ask(here, form, inputs=[line(text), line("Да.", OTHER)])
    assert read_tones(reply.body, "pcm_16000") == f" {text} Да. "
    assert ("content-length" in reply.headers) == (form == "")
    assert reply.headers["content-type"] == "audio/pcm"
    assert reply.headers["character-cost"] == str(len(text) + 3)


@TEXTS
@pytest.mark.parametrize("form", ["/with-timestamps", "/stream/with-timestamps"])
async def test_voice_segments(form: str, text: str, autojump_clock: MockClock) -> None:
    """Each says whose some characters of its own object are, and together they say it of all."""
    async with town() as here:
        reply = await ask(here, form, inputs=[line(text), line("Да. ", OTHER), line(text)])
    objects = [json.loads(item) for item in reply.body.splitlines()]
    assert (len(objects) > 1) == form.startswith("/stream")
    said = ["", "", ""]
    for part in objects:
        characters = part["alignment"]["characters"]
        for segment in part["voice_segments"]:
            index, start, end = (
                segment[name] for name in ("dialogue_input_index", "character_start_index", "character_end_index")
            )
            said[index] += "".join(characters[start:end])
            assert segment["voice_id"] == (VOICE, OTHER, VOICE)[index]
            assert segment["start_time_seconds"] == part["alignment"]["character_start_times_seconds"][start]
            assert segment["end_time_seconds"] == part["alignment"]["character_end_times_seconds"][end - 1]
    assert said == [text, "Да.", text]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"inputs": [line("Hi")], "model_id": "eleven_flash_v2_5"}, 400, "unsupported_model"),
        ({"inputs": [line("Hi")], "model_id": "eleven_v4_turbo"}, 200, None),
        ({"inputs": [line("Hi"), line("Ho", OTHER)], "model_id": "eleven_v4_turbo"}, 400, "invalid_parameters"),
        ({"inputs": [line("Hi", "nobody")]}, 404, "voice_not_found"),
        ({"inputs": [line("a" * 5501)]}, 400, "max_character_limit_exceeded"),
        ({"inputs": [line("Hi")], "settings": {"stability": 2}}, 400, "invalid_voice_settings"),
        ({"inputs": [line("Hi")], "settings": {"stability": "much"}}, 422, None),
        ({"inputs": [line("Hi")], "settings": {"stability": 0.5}, "no_such_option": True}, 200, None),
        ({"inputs": [line("Hi")], "settings": {"stability": 0.4}}, 400, "invalid_ttd_stability"),
        ({"inputs": [line("Hi"), line(" 😀 ")]}, 400, "input_text_empty"),
        ({"inputs": [line("a" * 5500)], "previous_text": "b" * 100, "future_text": "ж" * 100}, 200, None),
        ({"inputs": [line("Hi")], "previous_text": "b" * 101}, 422, None),
        ({"inputs": [line("Hi")], "future_text": "ж" * 101}, 422, None),
        ({"inputs": [line("Hi")], "previous_request_ids": ["a"] * 3, "next_request_ids": ["b"], "seed": 7}, 200, None),
        ({"inputs": [line("Hi")], "next_request_ids": ["a"] * 4}, 422, None),
        (
            {"inputs": [line("Hi")], "language_code": "en", "use_pvc_as_ivc": True, "audio_effects": {"pan": 1}},
            200,
            None,
        ),
        ({"inputs": [line("Hi")], "audio_effects": {"pan": 2}}, 422, None),
        ({"inputs": [line(str(n), f"voice{n % 10}") for n in range(20)]}, 200, None),
        ({"inputs": [line(str(n), f"voice{n}") for n in range(11)]}, 400, "invalid_parameters"),
        (
            {"inputs": [line("Hi"), line("Ho", OTHER)], "model_id": "eleven_v3_conversational"},
            400,
            "invalid_parameters",
        ),
        ({"inputs": []}, 422, None),
        ({"inputs": [{"text": "Hi"}]}, 422, None),
        ({"inputs": "Hi"}, 422, None),
        ({}, 422, None),
    ],
)
async def test_http_bodies(body: dict[str, Any], status: int, code: str | None, autojump_clock: MockClock) -> None:
    async with town(voices=(VOICE, OTHER, *(f"voice{n}" for n in range(11)))) as here:
        reply = await ask(here, **body)
    assert reply.status == status
    if code:
        assert code in {reply.json["detail"].get("code"), reply.json["detail"]["status"]}
    elif status == 422:
        assert reply.json["detail"][0]["loc"][0] == "body"


async def test_http_needs_a_key_and_a_post(autojump_clock: MockClock) -> None:
    async with town() as here:
        client = here.http()
        no_key = await client.call("POST", "/v1/text-to-dialogue/stream", b"{}", **{"xi-api-key": ""})
        no_post = await client.call("GET", "/v1/text-to-dialogue")
        nothing = await client.call("POST", "/v1/text-to-dialogue/nothing")
    assert [reply.status for reply in (no_key, no_post, nothing) if reply] == [401, 405, 404]
