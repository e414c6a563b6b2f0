"""The local server beside the ElevenLabs protocol: section 2, the stream-input WebSocket."""

from __future__ import annotations

import pytest
import trio

from tests.helpers.plain import ENGLISH, RUSSIAN, Town, kinds, tones
from tests.unit.local_server.table import Table, audio_of, chars, say
from tts_trio.local_server import read_tones
from tts_trio.local_server.encoding import STREAMED_FORMATS

TABLE = Table()
row = TABLE.row


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


@row("2.1-inactivity-timeout-above-180-is-180")
async def _(here: Town) -> None:
    for seconds, closed_after in ((25, 25), (180, 180), (300, 180), ("181.0", 180)):
        began = trio.current_time()
        socket = await here.socket(inactivity_timeout=seconds)
        assert (await socket.hear()).at - began == closed_after
    for seconds in (0, "x", "1.5"):
        assert (await here.socket(inactivity_timeout=seconds)).rejection is not None


@row("2.1-lax-booleans-and-numbers")
async def _(here: Town) -> None:
    for query in ({"auto_mode": "Yes"}, {"sync_alignment": "t"}, {"seed": "7.0"}, {"enable_logging": "off"}):
        assert (await here.socket(**query)).rejection is None, query
    for query in ({"auto_mode": "banana"}, {"seed": "7.5"}, {"apply_text_normalization": "maybe"}):
        rejection = (await here.socket(**query)).rejection
        assert rejection is not None
        assert (rejection[0], rejection[2]["detail"]["param"]) == (400, next(iter(query)))


@row("2.1-every-streamed-format")
async def _(here: Town) -> None:
    for output_format in STREAMED_FORMATS:
        heard = await say(here, "Да", output_format=output_format)
        assert kinds(heard)[-3:] == ["final", "close 1000", "eof"]
        assert b"".join(item.audio for item in audio_of(heard))


@row("2.1-normalization")
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


@row("2.1-flash-does-not-normalize-by-itself")
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


@row("2.5-normalized-is-padded-and-source-is-folded")
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
        heard = read_tones(item.audio, "pcm_16000")
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


test_conformance = TABLE.test()
