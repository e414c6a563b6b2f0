"""The local server beside the ElevenLabs protocol: sections 4 (errors) and 5 (models and the account)."""

from __future__ import annotations

import pytest
import trio

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE, Reply, Town, kinds
from tests.unit.local_server.table import Table, say, speak
from tts_trio.local_server.catalog import MODELS

TABLE = Table()
row = TABLE.row


# --- 4 errors


@row("4.1-missing-text")
async def _(here: Town) -> None:
    reply = await here.http().call("POST", f"/v1/text-to-speech/{VOICE}/stream", b"{}")
    assert reply is not None
    missing = {"type": "missing", "loc": ["body", "text"], "msg": "Field required", "input": None}
    assert (reply.status, reply.json) == (422, {"detail": [missing]})


@row("4.1-unknown-voice")
async def _(here: Town) -> None:
    reply = await speak(here, voice="no%20voice")
    assert (reply.status, reply.json["detail"]["code"]) == (404, "voice_not_found")
    assert reply.json["detail"]["message"] == "A voice with voice_id 'no voice' was not found."


@row("4.1-no-key")
async def _(here: Town) -> None:
    reply = await speak(here, headers={"xi-api-key": ""})
    assert (reply.status, reply.json["detail"]["code"]) == (401, "missing_api_key")


@row("4.1-a-key-without-a-permission", missing_permissions=("user_read", "text_to_speech"))
async def _(here: Town) -> None:
    for reply, permission in (
        (await get(here, "/v1/user/subscription"), "user_read"),
        (await speak(here), "text_to_speech"),
    ):
        detail = reply.json["detail"]
        assert (reply.status, detail["status"]) == (401, "missing_permissions")
        assert f"missing the permission {permission} to" in detail["message"]
    assert (await get(here, "/v1/models")).status == 200


@row("4.1-bad-keys", api_keys=("good",))
async def _(here: Town) -> None:
    for key, status, code in (("feed0123", 400, "invalid_api_key"), ("nonsense", 401, "unauthorized")):
        reply = await speak(here, headers={"xi-api-key": key})
        detail = reply.json["detail"]
        assert (reply.status, detail["code"], detail["status"]) == (status, code, "invalid_api_key")
        assert list(detail)[:5] == ["type", "code", "message", "status", "request_id"]
    assert (await speak(here, headers={"xi-api-key": "good"})).status == 200


@row("4.1-out-of-credits", quota=5)
async def _(here: Town) -> None:
    assert (await speak(here, "a" * 8)).status == 200
    reply = await speak(here, "a" * 8)
    assert (reply.status, reply.json["detail"]["status"]) == (401, "quota_exceeded")
    assert reply.json["detail"]["message"] == (
        "This request exceeds your quota of 5. You have 1 credits remaining, while 4 credits are required for this"
        " request."
    )


@row("4.1-above-the-tier", forbidden_formats=("pcm_44100",))
async def _(here: Town) -> None:
    reply = await speak(here, query={"output_format": "pcm_44100"})
    detail = reply.json["detail"]
    assert (reply.status, detail["code"], detail["status"]) == (
        403,
        "subscription_required",
        "output_format_not_allowed",
    )


@row("4.1-too-many-at-once", concurrency=1, model_latency=1.0)
async def _(here: Town) -> None:
    replies: list[Reply] = []

    async def one(text: str) -> None:
        replies.append(await speak(here, text))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, ENGLISH)
        nursery.start_soon(one, RUSSIAN)
    refused, served = sorted(replies, key=lambda reply: reply.at)
    assert (refused.status, served.status) == (429, 200)
    assert refused.json["detail"]["code"] == "concurrent_limit_exceeded"
    assert refused.json["detail"]["status"] == "too_many_concurrent_requests"
    assert not {"retry-after", "maximum-concurrent-requests"} & set(refused.headers)


@row("4.1-unknown-format")
async def _(here: Town) -> None:
    reply = await speak(here, query={"output_format": "mp3_1"})
    detail = reply.json["detail"]
    assert (reply.status, detail["code"], detail["param"]) == (403, "invalid_output_format", "output_format")


@row("4.1-unknown-model")
async def _(here: Town) -> None:
    reply = await speak(here, model_id="eleven_nothing")
    assert (reply.status, reply.json["detail"]["status"]) == (400, "model_not_found")


@row("4.1-too-long-is-a-tenth-above-the-documented-limit")
async def _(here: Town) -> None:
    for model_id, most in (("eleven_v3", 5_500), ("eleven_multilingual_v2", 11_000)):
        spoken = await speak(here, "a" * most, model_id=model_id, query={"output_format": "ulaw_8000"})
        assert spoken.status == 200
        reply = await speak(here, "a" * (most + 1), model_id=model_id)
        assert (reply.status, reply.json["detail"]["status"]) == (400, "max_character_limit_exceeded")


@row("4.1-empty-text-is-billed-one")
async def _(here: Town) -> None:
    for model_id in ("eleven_multilingual_v2", "eleven_flash_v2_5", "eleven_flash_v2", "eleven_turbo_v2_5"):
        for text in ("", "     ", "\n"):
            reply = await speak(here, text, model_id=model_id)
            assert (reply.status, reply.headers["character-cost"]) == (200, "1")
    assert (await speak(here, "[laughs] 😀", model_id="eleven_multilingual_v2")).headers["character-cost"] == "10"


@row("4.1-empty-text-is-refused-by-the-dialogue-models")
async def _(here: Town) -> None:
    for model_id in ("eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo"):
        for text in ("", " \n", "[laughs]", "[laughs] [whispers] 👩🏽‍🚀 ❤️", "🇪🇺"):
            reply = await speak(here, text, model_id=model_id)
            detail = reply.json["detail"]
            named = ("validation_error", "invalid_parameters", "input_text_empty", "text")
            assert (detail["type"], detail["code"], detail["status"], detail["param"]) == named
            assert (reply.status, detail["message"][:39]) == (400, "Input at position 0 has empty text. Ple")
        for text in ("[laughs] Да", "7", "…"):
            assert (await speak(here, text, model_id=model_id)).status == 200


@row("4.1-a-plan-without-this-voice", forbidden_voices=("library",))
async def _(here: Town) -> None:
    reply = await speak(here, voice="library")
    assert (reply.status, reply.json["detail"]["code"]) == (402, "paid_plan_required")
    assert (reply.json["detail"]["type"], reply.json["detail"]["status"]) == ("payment_required", "payment_required")
    assert (await speak(here)).status == 200
    heard = await say(here, "Hi", voice="library")
    assert heard[0].message["error"] == "paid_plan_required"


@row("4.1-what-is-no-http-is-400")
async def _(here: Town) -> None:
    for data in (
        b"Hello?\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: y\r\n\r\n",
    ):
        stream = here.server.connect(here.nursery)
        await stream.send_all(data)
        answer = b""
        while received := await stream.receive_some():
            answer += received
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"connection: close" in head.lower()
        assert body == b"Invalid HTTP request received."


@row("4.2-models-of-the-dialogue-socket")
async def _(here: Town) -> None:
    for model in ("eleven_v3", "eleven_v4_turbo"):
        socket = await here.socket(model_id=model)
        assert socket.rejection is not None
        status, headers, body = socket.rejection
        assert (status, body["detail"]["code"], body["detail"]["param"]) == (400, "unsupported_model", "model_id")
        assert (b"x-trace-id", body["detail"]["request_id"].encode()) in headers.items()


@row("4.2-another-version-of-websocket-is-426")
async def _(here: Town) -> None:
    headers = {"host": "x", "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "A" * 22 + "=="}
    path = f"/v1/text-to-speech/{VOICE}/stream-input?model_id=eleven_flash_v2_5"
    for version, status in (("8", 426), ("", 400)):
        reply = await here.http().call("GET", path, **headers, **{"sec-websocket-version": version})
        assert reply is not None
        assert (reply.status, reply.headers["sec-websocket-version"]) == (status, "13")


@row("4.3-no-key")
async def _(here: Town) -> None:
    heard = await say(here, "Hi", key=None)
    assert kinds(heard) == ["error", "close 1008", "eof"]
    assert heard[0].message["error"] == "authentication_required"


@row("4.3-unknown-voice")
async def _(here: Town) -> None:
    heard = await say(here, "Hi", voice="no%20voice")
    message = "A voice with voice_id no voice does not exist."
    assert heard[0].message == {"message": message, "error": "voice_id_does_not_exist", "code": 1008}
    assert heard[1].close == (1008, message)
    assert heard[1].at - heard[0].at == pytest.approx(0.76)


@row("4.3-out-of-credits", quota=5)
async def _(here: Town) -> None:
    heard = await say(here, "Слишком длинный текст")
    assert (heard[0].kind, heard[0].message["error"]) == ("error", "quota_exceeded")
    assert kinds(heard)[1:] == ["close 1008", "eof"]


@row("4.3-reasons-are-cut-at-123-bytes")
async def _(here: Town) -> None:
    socket = await here.socket()
    error, close, _ = await socket.hear_all()
    assert close.close is not None
    assert len(close.close[1].encode()) == 123
    assert error.message["message"].startswith(close.close[1])


@row("4.3-no-json")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send("Hello?")
    assert kinds(await socket.hear_all()) == ["error", "close 1008", "eof"]


# --- 5 models and the account


@row("5-models")
async def _(here: Town) -> None:
    reply = await here.http().call("GET", "/v1/models")
    assert reply is not None
    limits = {model["model_id"]: model["maximum_text_length_per_request"] for model in reply.json}
    assert limits["eleven_flash_v2_5"] == 40_000
    assert set(limits) == set(MODELS)


async def get(here: Town, target: str) -> Reply:
    reply = await here.http().call("GET", target)
    assert reply is not None
    return reply


@row("5-voices")
async def _(here: Town) -> None:
    listed = (await get(here, "/v1/voices")).json
    assert VOICE in {voice["voice_id"] for voice in listed["voices"]}
    voice = (await get(here, f"/v1/voices/{VOICE}")).json
    assert voice in listed["voices"]
    assert (voice["name"], voice["settings"]["stability"]) == ("George", 0.5)
    assert (await get(here, f"/v1/voices/{VOICE}/settings")).json == voice["settings"]
    assert (await get(here, "/v1/voices/settings/default")).json == voice["settings"]
    assert [(await get(here, f"/v1/voices/no%20voice{end}")).status for end in ("", "/settings")] == [404, 404]


@row("5-voices-are-searched-and-paged")
async def _(here: Town) -> None:
    found = (await get(here, "/v2/voices?search=geoRGE")).json
    assert ([voice["voice_id"] for voice in found["voices"]], found["has_more"], found["total_count"]) == (
        [VOICE],
        False,
        1,
    )
    assert (await get(here, "/v2/voices?search=nobody")).json["voices"] == []
    names: list[str] = []
    token = ""
    while token is not None:
        page = (await get(here, f"/v2/voices?page_size=2&next_page_token={token}")).json
        names.append(" ".join(voice["name"] for voice in page["voices"]))
        assert page["has_more"] == bool(page["next_page_token"])
        token = page["next_page_token"]
    assert names == ["Rachel George", "Sarah"]
    assert [(await get(here, f"/v2/voices?page_size={size}")).status for size in (100, 101, 0)] == [200, 422, 422]


@row("5-user-and-credits")
async def _(here: Town) -> None:
    await speak(here, "a" * 10)
    subscription = (await get(here, "/v1/user/subscription")).json
    assert subscription["character_count"] == 5
    assert (await get(here, "/v1/user")).json["subscription"] == subscription


@row("5-history")
async def _(here: Town) -> None:
    replies = [await speak(here, text) for text in ("Раз.", "Two.", "Три.")]
    await speak(here, "Not logged.", query={"enable_logging": "false"})
    first = (await get(here, "/v1/history?page_size=2")).json
    assert [item["text"] for item in first["history"]] == ["Три.", "Two."]
    assert first["has_more"]
    last = first["last_history_item_id"]
    rest = (await get(here, f"/v1/history?start_after_history_item_id={last}")).json
    (item,) = rest["history"]
    assert (item["history_item_id"], item["request_id"]) == tuple(
        replies[0].headers[name] for name in ("history-item-id", "request-id")
    )
    assert (item["character_count_change_from"], item["character_count_change_to"]) == (0, 2)
    assert not rest["has_more"]


@row("5-credits-by-model")
async def _(here: Town) -> None:
    text = "[sighs] Ёж 👩🏽‍🚀"  # 15 code points
    assert len(text) == 15
    for model_id in MODELS:
        half = any(word in model_id for word in ("flash", "turbo", "conversational"))
        reply = await speak(here, text, model_id=model_id)
        assert reply.headers["character-cost"] == ("8" if half else "15"), model_id


test_conformance = TABLE.test()
