"""The local server beside the ElevenLabs protocol: one row, one fact, named by its section of the protocol page.

Here are sections 1.1 to 1.4, HTTP requests for speech; 1.5 to 1.7, the answers to them, are in
`test_conformance_answers.py`. Section 2, the stream-input WebSocket, is in `test_conformance_sockets.py`, and
sections 4 (errors) and 5 (models and the account) are in `test_conformance_errors.py`. Section 3 is
`test_multi_stream_input.py`, section 7 is `test_text_to_dialogue.py`, both with their switches; what else the page
calls unsettled (section 8) is in `test_switches.py`.
"""

from __future__ import annotations

import json

import pytest

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE, Town
from tests.unit.local_server.table import Table, speak
from tts_trio.local_server import read_tones
from tts_trio.local_server.encoding import STREAMED_FORMATS

TABLE = Table()
row = TABLE.row


@row("1.1-stream-is-raw-chunked-audio")
async def _(here: Town) -> None:
    reply = await speak(here)
    assert reply.headers["transfer-encoding"] == "chunked"
    assert read_tones(reply.body, "pcm_16000").strip() == ENGLISH


@row("1.1-convert-has-a-length")
async def _(here: Town) -> None:
    reply = await speak(here, RUSSIAN, "")
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert read_tones(reply.body, "pcm_16000").strip() == RUSSIAN


@row("1.1-with-timestamps-is-one-object")
async def _(here: Town) -> None:
    reply = await speak(here, form="/with-timestamps")
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.json) == {"audio_base64", "alignment", "normalized_alignment"}


@row("1.1-stream-with-timestamps-is-lines")
async def _(here: Town) -> None:
    reply = await speak(here, form="/stream/with-timestamps")
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert len(lines) == 3
    assert "".join("".join(line["alignment"]["characters"]) for line in lines) == ENGLISH + " "


@row("1.1-no-other-methods-and-routes")
async def _(here: Town) -> None:
    client = here.http()
    wrong_method = await client.call("GET", f"/v1/text-to-speech/{VOICE}/stream")
    wrong_path = await client.call("GET", "/v1/nothing")
    assert wrong_method is not None
    assert wrong_path is not None
    assert (wrong_method.status, wrong_path.status) == (405, 404)
    assert wrong_method.headers["allow"] == "POST"
    for method in ("POST", "HEAD", "OPTIONS", "DELETE"):
        wrong = await here.http().call(method, "/v1/voices")
        assert wrong is not None
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET")
    assert wrong_path.json == {"detail": "Not Found"}


@row("1.1-bearer-token")
async def _(here: Town) -> None:
    reply = await speak(here, headers={"xi-api-key": "", "authorization": "Bearer abc"})
    assert reply.status == 200


@row("1.2-latency-4-switches-the-normalizer-off")
async def _(here: Town) -> None:
    heard = [
        read_tones((await speak(here, "Room 42", model_id="eleven_multilingual_v2", query=query)).body, "pcm_16000")
        for query in ({"optimize_streaming_latency": 3}, {"optimize_streaming_latency": 4})
    ]
    assert heard == [" Room forty-two ", " Room 42 "]


@row("1.2-latency-is-from-0-to-4")
async def _(here: Town) -> None:
    statuses = [(await speak(here, query={"optimize_streaming_latency": x})).status for x in (0, "4.0", 5, "", "x")]
    assert statuses == [200, 200, 422, 422, 422]


@row("1.2-v3-refuses-the-latency")
async def _(here: Town) -> None:
    for model_id in ("eleven_v3", "eleven_v3_conversational"):
        for latency in (0, 3, 4):
            reply = await speak(here, model_id=model_id, query={"optimize_streaming_latency": latency})
            detail = reply.json["detail"]
            named = ("unsupported_model", "unsupported_model", "optimize_streaming_latency")
            assert (reply.status, detail["code"], detail["status"], detail["param"]) == (400, *named)
    for model_id in ("eleven_multilingual_v2", "eleven_turbo_v2_5", "eleven_v4"):
        assert (await speak(here, model_id=model_id, query={"optimize_streaming_latency": 4})).status == 200


@row("1.2-no-logging-no-history")
async def _(here: Town) -> None:
    assert "history-item-id" not in (await speak(here, query={"enable_logging": "false"})).headers


@row("1.3-only-text-is-required")
async def _(here: Town) -> None:
    reply = await here.http().call("POST", f"/v1/text-to-speech/{VOICE}", b'{"text": "Hi"}')
    assert reply is not None
    assert (reply.status, reply.headers["content-type"], reply.headers["character-cost"]) == (200, "audio/mpeg", "2")


@row("1.3-null-is-absent")
async def _(here: Town) -> None:
    assert (await speak(here, voice_settings=None, seed=None, language_code=None)).status == 200


@row("1.3-unknown-fields-are-ignored")
async def _(here: Town) -> None:
    assert (await speak(here, no_such_option=True)).status == 200


@row("1.3-normalization")
async def _(here: Town) -> None:
    cases = [("auto", "42%"), ("off", "42%"), ("on", "forty-two percent")]
    for choice, said in cases:
        reply = await speak(here, "Off 42%", apply_text_normalization=choice)
        assert read_tones(reply.body, "pcm_16000") == f" Off {said} "


@row("1.3-normalization-in-russian")
async def _(here: Town) -> None:
    reply = await speak(here, "Кабинет 42.", model_id="eleven_multilingual_v2")
    assert read_tones(reply.body, "pcm_16000") == " Кабинет сорок два. "


@row("1.3-previous-text-and-v3")
async def _(here: Town) -> None:
    assert (await speak(here, previous_text="Before.")).status == 200
    assert (await speak(here, previous_text="Before.", model_id="eleven_v3")).status == 400


@row("1.3-v3-and-v4-over-http")
async def _(here: Town) -> None:
    assert (await speak(here, model_id="eleven_v3")).status == 200
    assert (await speak(here, model_id="eleven_v4_turbo")).status == 200


@row("1.3-at-most-three-dictionaries")
async def _(here: Town) -> None:
    locator = {"pronunciation_dictionary_id": "d", "version_id": "v"}
    assert (await speak(here, pronunciation_dictionary_locators=[locator] * 3)).status == 200
    assert (await speak(here, pronunciation_dictionary_locators=[locator] * 4)).status == 422


@row("1.3-types-and-ranges")
async def _(here: Town) -> None:
    for good, wrong in (
        ({"seed": 2**32 - 1}, {"seed": 2**32}),
        ({"seed": 0}, {"seed": -1}),
        ({"apply_language_text_normalization": True}, {"apply_language_text_normalization": "banana"}),
        ({"use_pvc_as_ivc": False}, {"use_pvc_as_ivc": []}),
        ({"voice_settings": {"use_speaker_boost": False}}, {"voice_settings": {"use_speaker_boost": "loud"}}),
        ({"audio_effects": {"pan": -1, "distance": 1.0}}, {"audio_effects": {"pan": -1.1}}),
        ({"audio_effects": {"send_level": 0}}, {"audio_effects": {"distance": "far"}}),
        ({"audio_effects": None}, {"audio_effects": 3}),
    ):
        assert (await speak(here, "Hi", **good)).status == 200, good
        reply = await speak(here, "Hi", **wrong)
        assert reply.status == 422, wrong
        assert reply.json["detail"][0]["loc"][:2] == ["body", next(iter(wrong))]


@row("1.3-lax-booleans-and-numbers")
async def _(here: Town) -> None:
    for good in (
        {"seed": "1"},
        {"seed": 1.0},
        {"seed": True},
        {"use_pvc_as_ivc": "true"},
        {"use_pvc_as_ivc": 1},
        {"use_pvc_as_ivc": "OFF"},
        {"voice_settings": {"speed": "1.1", "use_speaker_boost": "yes"}},
        {"query": {"enable_logging": "No"}},
    ):
        assert (await speak(here, "Hi", **good)).status == 200, good
    for wrong, kind in (
        ({"seed": 1.5}, "int_from_float"),
        ({"seed": "one"}, "int_parsing"),
        ({"use_pvc_as_ivc": 2}, "bool_parsing"),
        ({"use_pvc_as_ivc": None, "text": 5}, "string_type"),
        ({"voice_settings": {"speed": "fast"}}, "float_parsing"),
        ({"query": {"enable_logging": "banana"}}, "bool_parsing"),
    ):
        reply = await speak(here, **{"text": "Hi", **wrong})
        assert (reply.status, reply.json["detail"][0]["type"]) == (422, kind), wrong


@row("1.3-json-under-other-content-types-is-no-json")
async def _(here: Town) -> None:
    path, body = f"/v1/text-to-speech/{VOICE}/stream?output_format=pcm_16000", b'{"text": "Hi"}'
    for content_type, status in (
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("", 200),
        ("text/plain", 422),
        ("application/x-www-form-urlencoded", 422),
    ):
        reply = await here.http().call("POST", path, body, **{"content-type": content_type})
        assert reply is not None
        assert reply.status == status, content_type
        if status == 422:
            missing = {"type": "missing", "loc": ["body", "text"], "msg": "Field required", "input": None}
            assert missing in reply.json["detail"]


@row("1.3.1-speed")
async def _(here: Town) -> None:
    lengths = [len((await speak(here, voice_settings={"speed": speed})).body) for speed in (0.7, 1.0, 1.2)]
    assert lengths[0] / lengths[1] == pytest.approx(1 / 0.7, rel=0.01)
    assert lengths[2] / lengths[1] == pytest.approx(1 / 1.2, rel=0.01)


@row("1.3.1-ranges")
async def _(here: Town) -> None:
    for settings in ({"speed": 1.3}, {"stability": -0.1}, {"similarity_boost": 2}, {"clone_strength": 1.1}):
        assert (await speak(here, voice_settings=settings)).status == 400
    assert (await speak(here, voice_settings={"stability": "much"})).status == 422


@row("1.3.1-stability-of-v3-has-three-steps")
async def _(here: Town) -> None:
    for model_id, stability, status in (
        ("eleven_v3", 0, 200),
        ("eleven_v3", 0.5, 200),
        ("eleven_v3_conversational", 1.0, 200),
        ("eleven_v3", 0.4, 400),
        ("eleven_v3_conversational", 0.75, 400),
        ("eleven_v4", 0.4, 200),
        ("eleven_flash_v2_5", 0.4, 200),
    ):
        reply = await speak(here, model_id=model_id, voice_settings={"stability": stability})
        assert reply.status == status, (model_id, stability)
        if status == 400:
            assert reply.json["detail"]["status"] == "invalid_ttd_stability"
            assert "[0.0, 0.5, 1.0]" in reply.json["detail"]["message"]


@row("1.4-every-streamed-format")
async def _(here: Town) -> None:
    for output_format in STREAMED_FORMATS:
        reply = await speak(here, "Да", query={"output_format": output_format})
        assert reply.status == 200
        assert reply.body


@row("1.4-wav-and-m4a-for-whole-files-only")
async def _(here: Town) -> None:
    assert (await speak(here, form="", query={"output_format": "wav_16000"})).body.startswith(b"RIFF")
    assert (await speak(here, form="", query={"output_format": "m4a_aac_44100_128"})).status == 200
    assert (await speak(here, query={"output_format": "wav_16000"})).status == 403


test_conformance = TABLE.test()
