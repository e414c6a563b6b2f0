"""The local server beside the ElevenLabs protocol: one row, one fact, named by its section of the protocol notes.

Sections: 1 HTTP text-to-speech, 2 the stream-input WebSocket, 4 errors, 5 models. Section 3 is
`test_multi_stream_input.py`, section 7 is `test_text_to_dialogue.py`, both with their switches; what else the notes
call unsettled (section 8) is in `test_switches.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.local_server.plain import ENGLISH, RUSSIAN, VOICE, Heard, Reply, Town, kinds, tones, town
from tts_trio.local_server import read_tones
from tts_trio.local_server.catalogue import MODELS
from tts_trio.local_server.encoding import STREAMED_FORMATS

Row = Callable[[Town], Awaitable[None]]
ROWS: dict[str, tuple[Row, dict[str, Any]]] = {}


def row(name: str, **behaviour: Any) -> Callable[[Row], Row]:
    """Enter a row of the table; it runs in a town whose server behaves by default but for `behaviour`."""

    def enter(function: Row) -> Row:
        assert name not in ROWS
        ROWS[name] = (function, behaviour)
        return function

    return enter


async def speak(here: Town, text: str = ENGLISH, form: str = "/stream", **options: object) -> Reply:
    reply = await here.http().speak(text, form, **options)  # type: ignore[arg-type]
    assert reply is not None
    return reply


async def say(here: Town, *texts: str, init: dict[str, object] | None = None, **query: object) -> list[Heard]:
    socket = await here.socket(**query)
    await socket.say(*texts, **(init or {}))
    return await socket.hear_all()


def audio_of(heard: list[Heard]) -> list[Heard]:
    return [item for item in heard if item.kind == "audio"]


def chars(item: Heard, which: str = "alignment") -> str | None:
    return item.message[which] and "".join(item.message[which]["chars"])


# --- 1 HTTP


@row("1.1-stream-is-raw-chunked-audio")
async def _(here: Town) -> None:
    reply = await speak(here)
    assert reply.headers["transfer-encoding"] == "chunked"
    assert read_tones(reply.body, 16000).strip() == ENGLISH


@row("1.1-convert-has-a-length")
async def _(here: Town) -> None:
    reply = await speak(here, RUSSIAN, "")
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert read_tones(reply.body, 16000).strip() == RUSSIAN


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
    assert wrong_path.json == {"detail": "Not Found"}


@row("1.1-bearer-token")
async def _(here: Town) -> None:
    reply = await speak(here, headers={"xi-api-key": "", "authorization": "Bearer abc"})
    assert reply.status == 200


@row("1.2-latency-4-switches-the-normaliser-off")
async def _(here: Town) -> None:
    heard = [
        read_tones((await speak(here, "Room 42", model_id="eleven_multilingual_v2", query=query)).body, 16000)
        for query in ({"optimize_streaming_latency": 3}, {"optimize_streaming_latency": 4})
    ]
    assert heard == [" Room forty-two ", " Room 42 "]


@row("1.2-latency-is-from-0-to-4")
async def _(here: Town) -> None:
    assert (await speak(here, query={"optimize_streaming_latency": 5})).status == 422


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


@row("1.3-normalisation")
async def _(here: Town) -> None:
    cases = [("auto", "42%"), ("off", "42%"), ("on", "forty-two percent")]
    for choice, said in cases:
        reply = await speak(here, "Off 42%", apply_text_normalization=choice)
        assert read_tones(reply.body, 16000) == f" Off {said} "


@row("1.3-normalisation-in-russian")
async def _(here: Town) -> None:
    reply = await speak(here, "Кабинет 42.", model_id="eleven_multilingual_v2")
    assert read_tones(reply.body, 16000) == " Кабинет сорок два. "


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


# --- 2 stream-input


@row("2.1-keys-everywhere")
async def _(here: Town) -> None:
    assert kinds(await say(here, "Hi", authorization="Bearer abc", key=None))[0] == "audio"
    for name in ("xi_api_key", "xi-api-key", "authorization"):
        assert kinds(await say(here, "Hi", init={name: "abc"}, key=None))[0] == "audio"


@row("2.1-single-use-token")
async def _(here: Town) -> None:
    reply = await here.http().call("POST", "/v1/single-use-token/tts_websocket")
    assert reply is not None
    token = reply.json["token"]
    assert kinds(await say(here, "Hi", key=None, single_use_token=token))[0] == "audio"
    assert kinds(await say(here, "Hi", key=None, single_use_token=token))[0] == "error"


@row("2.1-inactivity-timeout-to-180")
async def _(here: Town) -> None:
    for seconds, refused in ((180, False), (181, True), ("x", True)):
        socket = await here.socket(inactivity_timeout=seconds)
        assert (socket.rejection is not None) == refused


@row("2.1-every-streamed-format")
async def _(here: Town) -> None:
    for output_format in STREAMED_FORMATS:
        heard = await say(here, "Да", output_format=output_format)
        assert kinds(heard)[-3:] == ["final", "close 1000", "eof"]
        assert b"".join(item.audio for item in audio_of(heard))


@row("2.1-normalisation")
async def _(here: Town) -> None:
    heard = await say(here, "Кабинет 42.", apply_text_normalization="on")
    assert chars(heard[0]) == "Кабинет 42. "
    assert chars(heard[0], "normalizedAlignment") == " Кабинет сорок два. "
    assert tones(heard) == " Кабинет сорок два. "
    digits = heard[0].message["alignment"]
    words = heard[0].message["normalizedAlignment"]
    start, end = words["charStartTimesMs"][9], words["charStartTimesMs"][18]
    assert digits["charStartTimesMs"][8] == start
    assert digits["charStartTimesMs"][9] + digits["charDurationsMs"][9] == end


@row("2.1-flash-does-not-normalise-by-itself")
async def _(here: Town) -> None:
    assert tones(await say(here, "Room 42.")) == " Room 42. "
    assert tones(await say(here, "Room 42.", model_id="eleven_multilingual_v2")) == " Room forty-two. "


@row("2.2-messages-join-verbatim")
async def _(here: Town) -> None:
    assert tones(await say(here, "Hel", "lo dog.", "The cat ")) == " Hello dog.The cat "


@row("2.2-keep-alive-in-mid-sentence")
async def _(here: Town) -> None:
    assert tones(await say(here, "Hi", " ", " there.")) == " Hi there. "


@row("2.2-flush-without-text")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send({"text": " "})
    await socket.send({"text": "Раз. "})
    await socket.send({"flush": True})
    assert (await socket.hear()).kind == "audio"
    with trio.move_on_after(19) as scope:
        await socket.hear()
    assert scope.cancelled_caught, "no marker follows, and the socket stays open"


@row("2.2-flush-of-any-size")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send({"text": "a", "flush": True})
    assert chars(await socket.hear()) == "a "


@row("2.2-try-trigger-from-fifty")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send({"text": "a" * 49 + " ", "try_trigger_generation": True})
    with trio.move_on_after(5) as scope:
        await socket.hear()
    assert scope.cancelled_caught
    await socket.send({"text": "b", "try_trigger_generation": True})
    assert (await socket.hear()).kind == "audio"


@row("2.2-settings-may-repeat-but-not-change")
async def _(here: Town) -> None:
    for later, good in (({"speed": 1.1}, True), ({"speed": 1.0}, False), (None, True)):
        socket = await here.socket()
        await socket.send({"text": " ", "voice_settings": {"speed": 1.1}})
        await socket.send({"text": "Hi ", "voice_settings": later, "flush": True})
        assert (await socket.hear()).kind == ("audio" if good else "error")


@row("2.2-the-schedule-may-not-change-under-either-name")
async def _(here: Town) -> None:
    for name in ("generation_config", "generator_config"):
        socket = await here.socket()
        await socket.send({"text": " ", name: {"chunk_length_schedule": [50]}})
        await socket.send({"text": "Hi ", name: {"chunk_length_schedule": [50]}, "flush": True})
        assert (await socket.hear()).kind == "audio"
        await socket.send({"text": "Hi ", name: {"chunk_length_schedule": [60]}})
        assert (await socket.hear()).message["message"].startswith("generation_config field must be provided in the")


@row("2.2-settings-only-from-the-first-message")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send({"text": " ", "voice_settings": None})
    await socket.send({"text": "Hi ", "voice_settings": {"speed": 1.1}})
    heard = await socket.hear()
    assert "must be provided in the first message" in heard.message["message"]


@row("2.2-speed")
async def _(here: Town) -> None:
    lengths = [
        sum(len(item.audio) for item in audio_of(await say(here, ENGLISH, init={"voice_settings": {"speed": speed}})))
        for speed in (0.7, 1.2)
    ]
    assert lengths[0] / lengths[1] == pytest.approx(1.2 / 0.7, rel=0.02)


@row("2.2-unknown-fields-are-ignored")
async def _(here: Town) -> None:
    assert kinds(await say(here, "Hi", init={"no_such_option": True}))[0] == "audio"


@row("2.3-default-schedule")
async def _(here: Town) -> None:
    socket = await here.socket()
    word = "abcdefghi "
    cut: list[int] = []
    for count in range(1, 113):
        await socket.send({"text": word})
        with trio.move_on_after(1):
            while True:
                heard = await socket.hear()
                if heard.kind == "audio" and heard.message["alignment"]:
                    cut.append(count * len(word))
    assert cut == [120, 280, 530, 820, 1110]


@row("2.3-own-schedule")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send({"text": " ", "generation_config": {"chunk_length_schedule": [50]}})
    await socket.send({"text": "a" * 49})
    assert (await socket.hear()).kind == "audio"


@row("2.3-lengths-from-50-to-500")
async def _(here: Town) -> None:
    for schedule in ([49], [120, 501], ["x"]):
        heard = await say(here, "Hi", init={"generation_config": {"chunk_length_schedule": schedule}})
        assert kinds(heard)[0] == "error"


@row("2.4-auto-mode-speaks-every-message-by-itself")
async def _(here: Town) -> None:
    heard = await say(here, "Hel", "lo", " world", ".", auto_mode="true")
    said = [chars(item, "normalizedAlignment") for item in audio_of(heard)]
    assert said == [" Hel ", " lo ", " world ", " . ", None]


@row("2.4-auto-mode-does-not-wait")
async def _(here: Town) -> None:
    socket = await here.socket(auto_mode="true")
    await socket.send({"text": "Да. "})
    assert (await socket.hear()).at == pytest.approx(0.075)


@row("2.5-audio-frame")
async def _(here: Town) -> None:
    first = (await say(here, RUSSIAN))[0]
    assert list(first.message) == ["audio", "isFinal", "normalizedAlignment", "alignment"]
    assert first.message["isFinal"] is None
    assert set(first.message["alignment"]) == {"chars", "charStartTimesMs", "charDurationsMs"}
    for name in ("charStartTimesMs", "charDurationsMs"):
        assert all(isinstance(value, int) for value in first.message["alignment"][name])
        assert len(first.message["alignment"][name]) == len(RUSSIAN) + 1


@row("2.5-final-frame")
async def _(here: Town) -> None:
    final = (await say(here, "Hi"))[-3]
    assert final.message == {"audio": None, "isFinal": True, "normalizedAlignment": None, "alignment": None}


@row("2.5-no-marker-after-a-flush")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.send({"text": "Hi ", "flush": True})
    await socket.hear()
    await trio.sleep(5)
    await socket.send({"text": ""})
    assert kinds([await socket.hear(), await socket.hear()]) == ["audio", "final"]


@row("2.5-normalised-is-padded-and-source-is-folded")
async def _(here: Town) -> None:
    first = (await say(here, "Hello"))[0]
    assert chars(first, "normalizedAlignment") == " Hello "
    assert chars(first) == "Hello "
    assert first.message["alignment"]["charStartTimesMs"][:2] == [0, 120]
    assert first.message["alignment"]["charDurationsMs"][:2] == [120, 60]


@row("2.5-only-the-first-frame-of-a-segment-is-aligned")
async def _(here: Town) -> None:
    audio = audio_of(await say(here, ENGLISH))
    assert [chars(item) for item in audio] == [ENGLISH + " ", None, None, None]


@row("2.5-times-restart-per-segment")
async def _(here: Town) -> None:
    audio = audio_of(await say(here, "Раз.", "Два.", auto_mode="true"))
    assert [item.message["alignment"]["charStartTimesMs"][0] for item in audio[:2]] == [0, 0]


@row("2.5-sync-alignment-aligns-every-frame")
async def _(here: Town) -> None:
    audio = audio_of(await say(here, ENGLISH, sync_alignment="true"))
    assert "".join(chars(item) or "" for item in audio) == ENGLISH + " "
    for item in audio[:-1]:
        heard = read_tones(item.audio, 16000)
        assert chars(item, "normalizedAlignment") == heard, "true of the very sound it comes with"
        assert item.message["normalizedAlignment"]["charStartTimesMs"][0] == 0


@row("2.5-a-second-is-one-frame-and-a-tail")
async def _(here: Town) -> None:
    audio = audio_of(await say(here, "Hello world.", output_format="pcm_24000"))
    assert [len(item.audio) > 40_000 for item in audio] == [True, False]
    assert audio[1].message["alignment"] is None
    assert 400 <= len(audio[1].audio) <= 1600
    assert all(len(item.audio) % 2 == 0 for item in audio)


@row("2.6-first-audio-and-the-rest")
async def _(here: Town) -> None:
    heard = await say(here, ENGLISH)
    times = [item.at for item in heard if item.kind in {"audio", "final"}]
    assert times[0] == pytest.approx(0.075)
    assert times[-1] == pytest.approx(0.075 + (len(ENGLISH) * 0.06 + 0.12 - 1.5) / 20, abs=0.001)
    assert times[-3:] == [times[-1]] * 3, "the last audio, its tail and isFinal come together"


@row("2.6-close-after-the-final")
async def _(here: Town) -> None:
    final, close, _ = (await say(here, "Hi"))[-3:]
    assert close.close == (1000, "")
    assert 0.74 <= close.at - final.at <= 0.805


@row("2.6-a-bad-key-is-told-before-the-first-message", api_keys=("good",))
async def _(here: Town) -> None:
    socket = await here.socket()
    heard = await socket.hear()
    assert (heard.at, heard.message) == (0.0, {"message": "Invalid API key", "error": "invalid_api_key", "code": 1008})
    assert (await socket.hear()).close == (1008, "Invalid API key")


@row("2.6-a-bad-voice-is-told-after-the-first-message", voices=("someone",))
async def _(here: Town) -> None:
    socket = await here.socket()
    await trio.sleep(1)
    await socket.send({"text": " "})
    heard = await socket.hear()
    assert (heard.at, heard.message["error"]) == (1.0, "voice_id_does_not_exist")


@row("2.7-idle")
async def _(here: Town) -> None:
    socket = await here.socket()
    heard = await socket.hear_all()
    assert kinds(heard) == ["error", "close 1008", "eof"]
    assert heard[0].at == 20.0
    assert heard[1].at == pytest.approx(20.76)
    assert heard[0].message["error"] == "input_timeout_exceeded"
    assert heard[0].message["message"].startswith("Have not received a new text input within the timeout of 20.0 sec")


@row("2.7-text-resets-the-timer-and-pings-do-not")
async def _(here: Town) -> None:
    import wsproto.events

    socket = await here.socket()
    await trio.sleep(15)
    await socket.send({"text": " "})
    await trio.sleep(15)
    await socket.stream.send_all(socket.protocol.send(wsproto.events.Ping()))
    assert (await socket.hear()).at == 35.0


@row("2.8-nothing-counts-after-eos")
async def _(here: Town) -> None:
    socket = await here.socket()
    await socket.say("Hi")
    await socket.send({"text": "more "})
    assert tones(await socket.hear_all()) == " Hi "


@row("2.8-eos-without-text")
async def _(here: Town) -> None:
    assert kinds(await say(here)) == ["final", "close 1000", "eof"]


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


@row("4.1-too-long")
async def _(here: Town) -> None:
    reply = await speak(here, "a" * 40_001)
    assert (reply.status, reply.json["detail"]["status"]) == (400, "max_character_limit_exceeded")


@row("4.2-models-of-the-dialogue-socket")
async def _(here: Town) -> None:
    for model in ("eleven_v3", "eleven_v4_turbo"):
        socket = await here.socket(model_id=model)
        assert socket.rejection is not None
        status, headers, body = socket.rejection
        assert (status, body["detail"]["code"], body["detail"]["param"]) == (400, "unsupported_model", "model_id")
        assert (b"x-trace-id", body["detail"]["request_id"].encode()) in headers.items()


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


@row("5-voices-and-subscription")
async def _(here: Town) -> None:
    client = here.http()
    await client.speak("a" * 10)
    voices = await client.call("GET", "/v1/voices")
    subscription = await client.call("GET", "/v1/user/subscription")
    assert voices is not None
    assert subscription is not None
    assert VOICE in {voice["voice_id"] for voice in voices.json["voices"]}
    assert subscription.json["character_count"] == 5


@pytest.mark.parametrize("name", ROWS)
async def test_conformance(name: str, autojump_clock: MockClock) -> None:
    check, behaviour = ROWS[name]
    async with town(**behaviour) as here:
        await check(here)
