"""text-to-dialogue as a plain client sees it: both WebSockets, for the v3 and v4 models.

The HTTP endpoints are in `test_dialogue_http.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, RUSSIAN, VOICE, PlainSocket, kinds, of, tones, town
from tts_trio.local_server import Fault, Sent

TEXTS = pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
OTHER = "21m00Tcm4TlvDq8ikWAM"
OUT_OF_RANGE = (
    "Invalid setting for stability received, expected to be greater or equal to 0.0 and less or equal to 1.0,"
    " received 2.0."
)


def line(text: str, voice: str = VOICE) -> dict[str, str]:
    return {"text": text, "voice_id": voice}


async def speak(socket: PlainSocket, text: str, context: str | None = "a", *, close: bool = True) -> None:
    """Send a whole turn: the voices, text with a flush, and the close of the context or of the socket."""
    name = {} if context is None else {"context_id": context}
    await socket.send({"voices": [VOICE], **name})
    await socket.send({"inputs": [line(text)], "flush": True, **name})
    if close:
        await socket.send({"close_socket" if context is None else "close_context": True, **name})


# --- a turn


@TEXTS
async def test_a_turn_on_stream_input(text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue("stream-input")
        await speak(socket, text, None)
        heard = await socket.hear_all()
    assert kinds(heard)[-5:] == ["audio", "turn", "final", "close 1000", "eof"]
    assert set(kinds(heard)[:-5]) == {"audio"}
    assert tones(heard).strip() == text
    assert list(heard[0].message) == ["audio", "alignment", "normalized_alignment"]
    assert heard[0].message["alignment"] is None
    assert heard[-4].message == {"is_final_audio_for_turn": True}
    assert heard[-3].message == {"is_final": True}


@TEXTS
async def test_a_turn_on_multi_stream_input(text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue()
        for name in ("a", "b"):
            await speak(socket, text, name)
        heard = await socket.hear_until(10)
    for name in ("a", "b"):
        assert kinds(of(heard, name))[-3:] == ["audio", "turn", "final"]
        assert tones(of(heard, name)).strip() == text
    assert heard[-1].message == {"is_final": True, "context_id": "b"}


@TEXTS
async def test_alignment_restarts_in_every_message(text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue("stream-input", sync_alignment="true")
        await speak(socket, text, None)
        heard = [item for item in await socket.hear_all() if item.kind == "audio"]
    assert len(heard) > 1
    for item in heard:
        assert set(item.message["alignment"]) == {"chars", "char_start_times_ms", "char_durations_ms"}
        assert item.message["alignment"]["char_start_times_ms"][0] == 0
        assert item.message["normalized_alignment"] is None
    assert "".join("".join(item.message["alignment"]["chars"]) for item in heard).strip() == text


@TEXTS
@pytest.mark.parametrize("alignment", ["plain", "overrunning"])
async def test_alignments_may_overrun_their_sound(text: str, alignment: str, autojump_clock: MockClock) -> None:
    async with town(alignment=alignment) as here:
        socket = await here.dialogue("stream-input", sync_alignment="true")
        await speak(socket, text, None)
        heard = [item for item in await socket.hear_all() if item.kind == "audio"]
    for item in heard:
        times = item.message["alignment"]
        aligned = times["char_start_times_ms"][-1] + times["char_durations_ms"][-1]
        sound = len(item.audio) / 32
        assert aligned == pytest.approx(sound * (1413 / 1233 if alignment == "overrunning" else 1), abs=1)
        assert times["char_start_times_ms"][0] == 0


@pytest.mark.parametrize("tag", ["alone", "joined"])
async def test_mp3_begins_with_a_tag(tag: str, autojump_clock: MockClock) -> None:
    async with town(id3_tag=tag) as here:
        socket = await here.dialogue("stream-input", output_format="mp3_22050_32", sync_alignment="true")
        await socket.send({"voices": [VOICE]})
        for text in ("Да. ", "Нет. "):
            await socket.send({"inputs": [line(text)], "flush": True})
        await socket.send({"close_socket": True})
        audio = [item for item in await socket.hear_all() if item.kind == "audio"]
    assert [item.audio[:3] == b"ID3" for item in audio] == [True, *[False] * (len(audio) - 1)]
    assert (len(audio[0].audio) == 45) == (tag == "alone")
    assert (audio[0].message["alignment"] is None) == (tag == "alone")
    assert all(item.message["alignment"] for item in audio[1:])


async def test_the_buffer_wants_forty_characters_and_eight_words(autojump_clock: MockClock) -> None:
    async with town() as here:
        for text, comes in (("a " * 19, False), ("abcdefgh " * 7, False), ("abcd " * 8, True)):
            socket = await here.dialogue("stream-input")
            await socket.send({"voices": [VOICE], "inputs": [line(text)]})
            assert bool(await socket.hear_until(trio.current_time() + 1)) == comes, text


async def test_inputs_join_verbatim_and_a_new_turn_does_not(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue("stream-input", model_id="eleven_v3")
        await socket.send({"voices": [VOICE, OTHER]})
        await socket.send({"inputs": [line("Да, к"), line("онечно. ", OTHER)]})
        await socket.send({"inputs": [{**line("Нет."), "new_turn": True}], "flush": True})
        await socket.send({"close_socket": True})
        heard = await socket.hear_all()
    assert tones(heard) == " Да, конечно.  Нет. "
    assert kinds(heard).count("turn") == 2


@TEXTS
async def test_a_close_generates_the_rest_first(text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        single = await here.dialogue("stream-input")
        await single.send({"voices": [VOICE], "inputs": [line(text[:30])]})
        await single.send({"close_socket": True})
        assert tones(await single.hear_all()).strip() == text[:30].strip()
        socket = await here.dialogue()
        await socket.send({"context_id": "a", "voices": [VOICE], "inputs": [line(text[:30])]})
        await socket.send({"context_id": "a", "close_context": True})
        heard = await socket.hear_until(5)
    assert tones(heard).strip() == text[:30].strip()
    assert kinds(heard)[-1] == "final"


async def test_close_socket_says_what_all_contexts_have_to_say(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue()
        for name in ("a", "b"):
            await socket.send({"context_id": name, "voices": [VOICE], "inputs": [line(f"Раз, {name}.")]})
        await socket.send({"close_socket": True})
        heard = await socket.hear_all()
    assert [tones(of(heard, name)) for name in ("a", "b")] == [" Раз, a. ", " Раз, b. "]
    assert kinds(heard)[-3:] == ["final", "close 1000", "eof"]


# --- what is refused


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        ([{"inputs": [line("Hi")]}], "The first message must name the voices."),
        ([{"voices": []}], "The first message must name the voices."),
        ([{"voices": [VOICE, OTHER]}], "The maximum number of unique voices is 1."),
        ([{"voices": ["nobody"]}], "A voice with voice_id nobody does not exist."),
        ([{"voices": [VOICE]}, {"voices": [VOICE]}], "voices can only be set in the first message"),
        (
            [{"voices": [VOICE]}, {"voice_settings": {"stability": 0.5}}],
            "voice_settings can only be set in the first message",
        ),
        ([{"voices": [VOICE]}, {"inputs": [line("Hi", OTHER)]}], f"The voice {OTHER} is not one of the voices."),
        ([{"voices": [VOICE]}, {"inputs": ["Hi"]}], "Every input must have a text and a voice_id."),
        ([{"voices": [VOICE]}, {"inputs": {}}, {"inputs": "Hi"}], "inputs must be a list."),
        ([{"voices": [VOICE], "voice_settings": {"stability": 2}}], OUT_OF_RANGE),
    ],
)
@pytest.mark.parametrize("route", ["stream-input", "multi-stream-input"])
async def test_refused(route: str, messages: list[dict[str, Any]], error: str, autojump_clock: MockClock) -> None:
    async with town(voices=(VOICE, OTHER)) as here:
        socket = await here.dialogue(route)
        for message in messages:
            await socket.send({"context_id": "a", **message})
        heard = await socket.hear_all()
    assert heard[0].message["message"] == error
    assert kinds(heard) == ["error", "close 1008", "eof"]


async def test_nulls_are_absent(autojump_clock: MockClock) -> None:
    """As the official SDK's types are dumped."""
    async with town() as here:
        socket = await here.dialogue("stream-input")
        nulls = dict.fromkeys(("inputs", "flush", "close_socket", "keep_alive", "voice_settings"))
        await socket.send({**nulls, "voices": [VOICE]})
        await socket.send({**nulls, "voices": None, "inputs": [line("Hi")], "flush": True})
        assert (await socket.hear()).kind == "audio"


async def test_every_message_names_its_context(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue()
        await socket.send({"voices": [VOICE]})
        assert (await socket.hear()).message["message"] == "context_id is required."


@pytest.mark.parametrize("late", [0.0, 2.0])
async def test_a_message_for_a_closing_context(late: float, autojump_clock: MockClock) -> None:
    """It ends the socket; after the final the id is free for a fresh context."""
    async with town(late_final=late) as here:
        socket = await here.dialogue()
        await speak(socket, "Да.")
        await socket.hear_until(1)
        await speak(socket, "Нет.")
        again = kinds(await socket.hear_until(5))
    assert again == (["error", "close 1008", "eof"] if late else ["audio", "turn", "final"])


async def test_models(autojump_clock: MockClock) -> None:
    async with town() as here:
        for model in ("eleven_v3", "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo"):
            for route in ("stream-input", "multi-stream-input"):
                assert (await here.dialogue(route, model_id=model)).rejection is None
        socket = await here.dialogue(model_id="eleven_flash_v2_5")
        assert socket.rejection is not None
        status, _, body = socket.rejection
        assert (status, body["detail"]["code"], body["detail"]["param"]) == (400, "unsupported_model", "model_id")
        assert (await here.dialogue(apply_text_normalization="auto")).rejection is None
        for query in ({"apply_text_normalization": "maybe"}, {"seed": "x"}, {"sync_alignment": "much"}):
            assert (await here.dialogue(**query)).rejection is not None


async def test_credentials(autojump_clock: MockClock) -> None:
    async with town() as here:
        token = await here.http().call("POST", "/v1/single-use-token/tts_websocket")
        assert token is not None
        kinds_heard: list[str] = []
        once = {"single_use_token": token.json["token"]}
        for credentials in ({"xi_api_key": "key"}, {"authorization": "Bearer key"}, once, once):
            socket = await here.dialogue("stream-input", key=None)
            await socket.send({"voices": [VOICE], "inputs": [line("Hi")], "flush": True, **credentials})
            kinds_heard.append((await socket.hear()).kind)
        assert kinds_heard == ["audio", "audio", "audio", "error"], "a token is good for once"
        socket = await here.dialogue("stream-input", key=None)
        await socket.send({"voices": [VOICE]})
        assert (await socket.hear()).message["error"] == "authentication_required"


# --- timers, slots, sessions


async def test_twenty_seconds_and_keep_alive(autojump_clock: MockClock) -> None:
    async with town() as here:
        single = await here.dialogue("stream-input", inactivity_timeout=180)
        several = await here.dialogue()
        await single.send({"voices": [VOICE]})
        await several.send({"context_id": "a", "voices": [VOICE], "inputs": [line("Hi")]})
        await trio.sleep(15)
        await single.send({"keep_alive": True})
        await several.send({"context_id": "a", "keep_alive": True})
        heard = await several.hear_until(36)
        assert heard[0].at == pytest.approx(35.075)
        assert kinds(heard) == ["audio", "turn", "final"], "what it had to say"
        assert await several.hear_until(100) == [], "and the socket lives on"
        sent = [(r.time, r.error) for r in here.server.records if isinstance(r, Sent) and r.error]
        assert sent == [(35.0, "input_timeout_exceeded")], "and that was on the single one"


@pytest.mark.parametrize(("choice", "wanted"), [("lives", []), ("error", ["error", "close 1008", "eof"])])
async def test_idle_socket(choice: str, wanted: list[str], autojump_clock: MockClock) -> None:
    async with town(idle_socket=choice) as here:
        socket = await here.dialogue()
        assert kinds(await socket.hear_until(100)) == wanted


async def test_the_sixth_context(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.dialogue()
        for number in range(6):
            await socket.send({"context_id": str(number), "voices": [VOICE]})
        assert (await socket.hear()).message["error"] == "max_active_conversations"


@pytest.mark.parametrize("over", ["frame", "upgrade", "queue"])
async def test_dialogue_sessions(over: str, autojump_clock: MockClock) -> None:
    """A socket holds one for its whole life, idle or not; text-to-speech sockets hold none."""
    async with town(dialogue_sessions=1, over_concurrency=over) as here:
        first = await here.dialogue()
        await here.socket("multi-stream-input")
        second = await here.dialogue("stream-input")
        if over == "upgrade":
            assert second.rejection is not None
            assert second.rejection[0] == 429
        else:
            assert (await second.hear()).message["error"] == "concurrent_limit_exceeded"
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        await speak(third := await here.dialogue("stream-input"), "Да.", None)
        assert (await third.hear()).kind == "audio"


async def test_quota_is_an_error(autojump_clock: MockClock) -> None:
    async with town(quota=3) as here:
        socket = await here.dialogue()
        await speak(socket, ENGLISH)
        assert (await socket.hear()).message["error"] == "quota_exceeded"


async def test_faults_strike_by_context(autojump_clock: MockClock) -> None:
    fault = Fault("skip", "final", skip=1, count=1, path="text-to-dialogue/multi-stream-input")
    async with town(fault, Fault("early_final", "audio", count=1)) as here:
        socket = await here.dialogue()
        for name in ("a", "b"):
            await speak(socket, "Да.", name)
        heard = await socket.hear_until(5)
    assert kinds(of(heard, "a")) == ["final", "audio", "turn", "final"]
    assert kinds(of(heard, "b")) == ["audio", "turn"]
