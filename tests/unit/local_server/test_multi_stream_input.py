"""multi-stream-input as a plain client sees it: contexts, their ends, their slots, and what is not settled of them."""

from __future__ import annotations

import io
from typing import Any

import av
import pytest
import trio
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, KEY, RUSSIAN, VOICE, Heard, PlainSocket, Town, kinds, of, tones, town
from tts_trio.local_server import EspeakVoice, Fault, Received, Sent, open_local_server

TEXTS = pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
SIXTH = (
    "Maximum simultaneous contexts per WebSocket connection exceeded (5). Please close an existing context before"
    " opening a new one."
)


async def multi(here: Town, **query: Any) -> PlainSocket:
    return await here.socket("multi-stream-input", **query)


async def speak(socket: PlainSocket, text: str, context: str | None = "a", *, close: bool = True) -> None:
    """Send a whole turn: init, text with a flush, and close_context."""
    name = {} if context is None else {"context_id": context}
    await socket.send({"text": " ", **name})
    await socket.send({"text": text + " ", "flush": True, **name})
    if close:
        await socket.send({"close_context": True, **name})


# --- a turn


@TEXTS
async def test_a_turn(text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await speak(socket, text)
        heard = await socket.hear_until(100)
    assert kinds(heard)[-2:] == ["audio", "final"], "and the socket lives on"
    assert set(kinds(heard)[:-1]) == {"audio"}
    assert heard[0].at == pytest.approx(0.075)
    assert tones(heard).strip() == text
    keys = ["audio", "isFinal", "normalizedAlignment", "alignment", "contextId"]
    assert list(heard[0].message) == list(heard[-1].message) == keys
    assert "".join(heard[0].message["alignment"]["chars"]).strip() == text
    assert [item.message["isFinal"] for item in heard] == [None] * (len(heard) - 1) + [True]
    assert {item.context for item in heard} == {"a"}


async def test_the_default_context(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await speak(socket, "Да.", None)
        heard = await socket.hear_until(1)
    assert kinds(heard) == ["audio", "audio", "final"]
    assert {item.message["contextId"] for item in heard} == {None}


@pytest.mark.parametrize(
    ("spelling", "final", "context"), [("camel", "isFinal", "contextId"), ("snake", "is_final", "context_id")]
)
async def test_spelling(spelling: str, final: str, context: str, autojump_clock: MockClock) -> None:
    async with town(spelling=spelling) as here:
        socket = await multi(here)
        await speak(socket, ENGLISH)
        heard = await socket.hear_until(1)
    assert {context, final} <= set(heard[0].message)
    assert ("char_durations_ms" in heard[0].message["alignment"]) == (spelling == "snake")
    assert kinds(heard)[-1] == "final"


async def test_text_alone_begins_a_context_and_a_flush_gives_no_final(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await socket.send({"text": "Раз. ", "context_id": "a", "flush": True})
        assert kinds(await socket.hear_until(19)) == ["audio"]


async def test_an_empty_text_keeps_a_context_alive(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await socket.send({"text": "Один ", "context_id": "a"})
        for _ in range(4):
            await trio.sleep(15)
            await socket.send({"text": "", "context_id": "a"})
        await socket.send({"text": "два. ", "context_id": "a", "flush": True})
        assert tones(await socket.hear_until(70)) == " Один два. "


async def test_contexts_are_generated_side_by_side(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        texts = {name: f"{ENGLISH} {RUSSIAN} {name}" for name in ("a", "b", "c")}
        for name, text in texts.items():
            await speak(socket, text, name)
        heard = await socket.hear_until(10)
        records = here.server.records
    assert [item.at for item in heard[:3]] == pytest.approx([0.075] * 3)
    assert [item.context for item in heard[:6]] == ["a", "b", "c"] * 2
    for name, text in texts.items():
        assert tones(of(heard, name)).strip() == text
        assert kinds(of(heard, name))[-1] == "final"
        assert [r.context_id for r in records if isinstance(r, Received) and r.context_id == name] == [name] * 3
        sent = [r for r in records if isinstance(r, Sent) and r.context_id == name]
        assert [r.kind for r in sent] == kinds(of(heard, name))
        assert "".join(r.text for r in sent).strip() == text


async def test_a_real_voice() -> None:
    async with open_local_server(voice=EspeakVoice()) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        socket = PlainSocket(stream)
        await socket.upgrade(f"/v1/text-to-speech/{VOICE}/multi-stream-input", {"xi-api-key": KEY})
        for name, text in (("en", ENGLISH), ("ru", RUSSIAN)):
            await speak(socket, text, name)
        heard: list[Heard] = []
        with trio.fail_after(30):
            while kinds(heard).count("final") < 2:
                heard.append(await socket.hear())
        await stream.aclose()
    for name, text in (("en", ENGLISH), ("ru", RUSSIAN)):
        alignment = of(heard, name)[0].message["alignment"]
        assert "".join(alignment["chars"]).strip() == text
        seconds = (alignment["charStartTimesMs"][-1] + alignment["charDurationsMs"][-1]) / 1000
        data = b"".join(item.audio for item in of(heard, name) if item.kind == "audio")
        with av.open(io.BytesIO(data), format="mp3") as container:
            decoded = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        assert decoded == pytest.approx(seconds, abs=0.15)


@pytest.mark.parametrize("output_format", ["mp3_44100_128", "opus_48000_64"])
async def test_every_context_is_a_file_of_its_own(output_format: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here, output_format=output_format, auto_mode="true")
        for text in ("Раз, два. ", "Три. "):
            for name in ("a", "b"):
                await socket.send({"text": text, "context_id": name, "flush": True})
        for name in ("a", "b"):
            await socket.send({"close_context": True, "context_id": name})
        heard = await socket.hear_until(5)
    for name in ("a", "b"):
        data = b"".join(item.audio for item in of(heard, name) if item.kind == "audio")
        with av.open(io.BytesIO(data)) as container:
            seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
        assert seconds == pytest.approx(0.06 * (11 + 6), abs=0.15)


async def test_auto_mode_and_schedules_are_each_contexts_own(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await socket.send({"text": " ", "context_id": "a", "generation_config": {"chunk_length_schedule": [50]}})
        await socket.send({"text": " ", "context_id": "b"})
        for name in ("a", "b"):
            await socket.send({"text": "a" * 60, "context_id": name})
        heard = await socket.hear_until(5)
    assert {item.context for item in heard} == {"a"}


# --- settings and credentials


async def test_settings_belong_to_a_context(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        lengths: dict[str, int] = {}
        for name, speed in (("a", 0.7), ("b", 1.2)):
            await socket.send({"text": " ", "context_id": name, "voice_settings": {"speed": speed}})
            await socket.send({"text": RUSSIAN, "context_id": name, "voice_settings": {"speed": speed}, "flush": True})
        heard = await socket.hear_until(5)
        for name in ("a", "b"):
            lengths[name] = sum(len(item.audio) for item in of(heard, name))
        assert lengths["a"] / lengths["b"] == pytest.approx(1.2 / 0.7, rel=0.02)
        await socket.send({"text": "x", "context_id": "a", "voice_settings": {"speed": 1.2}})
        assert (await socket.hear()).kind == "error"


@pytest.mark.parametrize("first", [{"text": ""}, {"flush": True}, {"text": "", "flush": True}])
async def test_settings_come_too_late_after_a_keep_alive_or_a_flush(
    first: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with town() as here:
        socket = await multi(here)
        await socket.send({**first, "context_id": "a"})
        await socket.send({"text": " ", "context_id": "a", "voice_settings": {"speed": 1.1}})
        error, close, _ = await socket.hear_all()
    assert error.message["message"] == (
        "voice_settings field must be provided in the first message and then either be not provided or not change."
    )
    assert close.close == (1008, error.message["message"])


async def test_credentials_and_models_as_on_stream_input(autojump_clock: MockClock) -> None:
    async with town(voices=("someone",)) as here:
        socket = await multi(here, key=None, voice="someone")
        await socket.send({"text": " ", "context_id": "a", "xi_api_key": "key"})
        await speak(socket, "Hi", "b")
        assert (await socket.hear()).kind == "audio"
        for options, error in (({"key": None}, "authentication_required"), ({}, "voice_id_does_not_exist")):
            socket = await multi(here, **options)
            await socket.send({"text": " ", "context_id": "a"})
            assert (await socket.hear()).message["error"] == error
        refused = await multi(here, model_id="eleven_v3")
        assert refused.rejection is not None
        assert refused.rejection[0] == 400


# --- slots


@pytest.mark.parametrize("opening", [{"text": " "}, {"text": ""}, {"flush": True}])
async def test_the_sixth_context_ends_the_socket(opening: dict[str, Any], autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        for number in range(5):
            await socket.send({**opening, "context_id": str(number)})
        assert await socket.hear_until(1) == []
        await socket.send({"text": " ", "context_id": "5"})
        error, close, _ = await socket.hear_all()
    assert error.message == {"message": SIXTH, "error": "max_active_conversations", "code": 1008}
    assert close.close == (1008, SIXTH[:123])


@pytest.mark.parametrize("slot", ["final", "close"])
async def test_when_a_slot_is_free(slot: str, autojump_clock: MockClock) -> None:
    async with town(context_slot=slot, late_final=2.0) as here:
        socket = await multi(here)
        for number in range(5):
            await speak(socket, "Да.", str(number))
        await trio.sleep(1)
        await speak(socket, "Нет.", "5")
        heard = of(await socket.hear_until(1.5), "5")
    assert kinds(heard) == ([] if slot == "final" else ["audio", "audio"])


async def test_a_slot_is_free_after_the_final(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        for number in range(20):
            await speak(socket, "Да.", str(number))
            assert kinds([await socket.hear() for _ in range(3)]) == ["audio", "audio", "final"]


# --- the end of a context


async def test_a_closed_id_is_a_fresh_context(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await socket.send({"text": "Раз. ", "context_id": "a", "voice_settings": {"speed": 0.7}, "flush": True})
        await socket.send({"close_context": True, "context_id": "a"})
        await socket.send({"text": "Два. ", "context_id": "a", "voice_settings": {"speed": 1.2}, "flush": True})
        await socket.send({"close_context": True, "context_id": "a"})
        heard = await socket.hear_until(5)
    assert kinds(heard).count("final") == 2
    assert tones(heard) == " Раз.  Два. "


@TEXTS
async def test_what_was_flushed_is_said_to_its_end(text: str, autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await speak(socket, text * 3, close=False)
        await socket.hear()
        await socket.send({"close_context": True, "context_id": "a"})
        heard = await socket.hear_until(5)
    assert tones(heard).endswith(text + " ")
    assert kinds(heard)[-1] == "final"


@TEXTS
async def test_a_barge_in_stops_the_synthesis(text: str, autojump_clock: MockClock) -> None:
    """What is generated at that moment still comes, and then isFinal."""
    async with town() as here:
        socket = await multi(here, auto_mode="true")
        for _ in range(3):
            await socket.send({"text": text + " ", "context_id": "a"})
        await socket.hear()
        await socket.send({"close_context": True, "context_id": "a"})
        heard = [await socket.hear() for _ in range(2)]
        assert here.server._service.account.generating(trio.current_time()) == 0
        heard += await socket.hear_until(5)
    assert kinds(heard) == ["audio", "final"]
    assert heard[-1].at < 0.16, "less than the second segment's first audio would be"


async def test_what_came_after_the_flush_makes_a_close_an_interruption(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await speak(socket, ENGLISH, close=False)
        await socket.hear()
        await socket.send({"text": "One more. ", "context_id": "a"})
        await socket.send({"close_context": True, "context_id": "a"})
        assert kinds(await socket.hear_until(5)) == ["audio", "final"]


async def test_text_that_was_not_generated_is_dropped_by_a_barge_in(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await socket.send({"text": "Not yet enough. ", "context_id": "a"})
        await socket.send({"close_context": True, "context_id": "a"})
        assert kinds(await socket.hear_until(5)) == ["final"]


@pytest.mark.parametrize("late", [0.0, 2.0])
async def test_late_final(late: float, autojump_clock: MockClock) -> None:
    """The audio under way and isFinal of an interrupted context, and isFinal alone of one that was flushed."""
    async with town(late_final=late) as here:
        socket = await multi(here, auto_mode="true")
        for name in ("a", "b"):
            await socket.send({"text": ENGLISH, "context_id": name, "flush": name == "b"})
        await socket.hear()
        await socket.hear()
        for name in ("a", "b"):
            await socket.send({"close_context": True, "context_id": name})
        heard = await socket.hear_until(5)
    interrupted, flushed = of(heard, "a"), of(heard, "b")
    assert kinds(interrupted) == ["audio", "final"]
    assert [item.at for item in interrupted] == pytest.approx([0.15 + late] * 2)
    assert kinds(flushed) == ["audio", "audio", "audio", "final"]
    assert all(item.at < 0.2 for item in flushed[:-1])
    assert flushed[-1].at == pytest.approx(flushed[-2].at + late)


@TEXTS
@pytest.mark.parametrize(("race", "wanted"), [("none", ["audio", "audio"]), ("silent_final", []), ("nothing", [])])
async def test_early_close(race: str, wanted: list[str], text: str, autojump_clock: MockClock) -> None:
    async with town(early_close=race) as here:
        socket = await multi(here)
        await speak(socket, text[:10], "a")
        await speak(socket, text[:10], "b", close=False)
        heard = [await socket.hear()] if race == "none" else []
        while not of(heard, "b"):
            heard.append(await socket.hear())
        await socket.send({"close_context": True, "context_id": "b"})
        heard += await socket.hear_until(5)
    assert kinds(of(heard, "a")) == [*wanted, *([] if race == "nothing" else ["final"])]
    assert kinds(of(heard, "b")) == ["audio", "audio", "final"], "closed after its first audio, it is safe"


@pytest.mark.parametrize(("race", "wanted"), [("silent_final", [("final", 2.0)]), ("nothing", [])])
async def test_an_early_close_can_be_late_and_leaves_its_slot(
    race: str, wanted: list[tuple[str, float]], autojump_clock: MockClock
) -> None:
    async with town(early_close=race, late_final=2.0, close_socket="obeyed") as here:
        socket = await multi(here)
        await speak(socket, "Да.")
        assert [(item.kind, item.at) for item in await socket.hear_until(5)] == wanted
        for number in range(6 if race == "nothing" else 5):
            await speak(socket, "Нет.", str(number))
        await socket.send({"context_id": "x", "close_context": True})
        assert kinds(await socket.hear_until(10)) == ([] if race == "nothing" else ["final"] * 5)
        for number in range(3):
            await speak(socket, "Нет.", str(number), close=False)
        await socket.send({"close_socket": True})
        finals = [] if race == "nothing" else ["final"] * 3
        assert kinds(await socket.hear_all()) == [*finals, "close 1000", "eof"]


async def test_a_close_or_a_close_again_of_what_is_not_open_does_nothing(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        for number in range(10):
            await socket.send({"close_context": True, "context_id": str(number)})
        await speak(socket, "Да.")
        await socket.send({"close_context": True, "context_id": "a"})
        assert kinds(await socket.hear_until(100)) == ["audio", "audio", "final"]


# --- close_socket


async def test_close_socket_without_contexts(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await multi(here)
        await speak(socket, "Да.")
        await socket.hear_until(1)
        await socket.send({"close_socket": True})
        assert kinds(await socket.hear_all()) == ["close 1000", "eof"]


@pytest.mark.parametrize("choice", ["ignored", "obeyed"])
async def test_close_socket_while_a_context_is_open(choice: str, autojump_clock: MockClock) -> None:
    async with town(close_socket=choice) as here:
        socket = await multi(here)
        await speak(socket, "Да.", close=False)
        await socket.send({"close_socket": True})
        heard = await socket.hear_until(10)
    assert kinds(heard) == (["audio"] if choice == "ignored" else ["audio", "audio", "final", "close 1000", "eof"])


# --- timers


@pytest.mark.parametrize("choice", ["final", "error"])
async def test_idle_context(choice: str, autojump_clock: MockClock) -> None:
    async with town(idle_context=choice) as here:
        socket = await multi(here, inactivity_timeout=30)
        await socket.send({"text": "Said at the end. ", "context_id": "a"})
        await trio.sleep(10)
        await socket.send({"text": "", "context_id": "b"})
        heard = await socket.hear_until(35)
    if choice == "final":
        assert kinds(of(heard, "a")) == ["audio", "audio", "final"]
        assert heard[0].at == pytest.approx(30.075)
        assert len(heard) == 3
    else:
        assert heard[0].message["error"] == "input_timeout_exceeded"
        assert kinds(heard) == ["error", "close 1008", "eof"]


@pytest.mark.parametrize("choice", ["lives", "error"])
async def test_idle_socket(choice: str, autojump_clock: MockClock) -> None:
    async with town(idle_socket=choice) as here:
        fresh = await multi(here)
        used = await multi(here)
        await trio.sleep(10)
        await speak(used, "Да.")
        await used.hear_until(11)
        heard = [await socket.hear_until(100) for socket in (fresh, used)]
    wanted = ["error", "close 1008", "eof"] if choice == "error" else []
    assert [kinds(items) for items in heard] == [wanted] * 2
    if choice == "error":
        assert [items[0].at for items in heard] == pytest.approx([20.0, 30.075], abs=0.01)


@pytest.mark.parametrize("opens", [True, False])
async def test_keep_alive_opens(opens: bool, autojump_clock: MockClock) -> None:
    """A keep-alive without an id: a phantom context, which close_socket waits for."""
    async with town(keep_alive_opens=opens) as here:
        socket = await multi(here)
        await socket.send({"text": ""})
        await socket.send({"close_socket": True})
        assert kinds(await socket.hear_until(10)) == ([] if opens else ["close 1000", "eof"])
        named = await multi(here)
        await named.send({"text": "", "context_id": "a"})
        await named.send({"close_socket": True})
        assert await named.hear_until(20) == [], "one with an id opens its context in any case"


# --- quota, concurrency, faults


@pytest.mark.parametrize("choice", ["silent_final", "error"])
async def test_quota_on_contexts(choice: str, autojump_clock: MockClock) -> None:
    async with town(quota=10, quota_on_contexts=choice) as here:
        socket = await multi(here)
        await speak(socket, "Да.", "a")
        await speak(socket, RUSSIAN, "b", close=False)
        heard = await socket.hear_until(5)
        alone = await here.socket()
        await alone.say(RUSSIAN)
        assert (await alone.hear()).message["error"] == "quota_exceeded"
        idle = await multi(here)
        await idle.send({"text": RUSSIAN, "context_id": "c"})
        assert (await idle.hear()).kind == ("final" if choice == "silent_final" else "error")
    if choice == "silent_final":
        assert kinds(of(heard, "b")) == ["final"]
        assert kinds(of(heard, "a")) == ["audio", "audio", "final"]
    else:
        assert kinds(heard) == ["error", "close 1008", "eof"]


async def test_contexts_count_as_generations(autojump_clock: MockClock) -> None:
    async with town(concurrency=1) as here:
        socket = await multi(here)
        await speak(socket, ENGLISH, "a")
        await speak(socket, RUSSIAN, "b")
        assert (await socket.hear()).message["error"] == "concurrent_limit_exceeded"


async def test_faults_strike_by_context(autojump_clock: MockClock) -> None:
    faults = (
        Fault("skip", "audio", skip=1, count=1, path="multi-stream-input"),
        Fault("skip", "final", skip=2, count=1, path="/multi-stream-input"),
        Fault("reset", "audio", path="stream-input"),
    )
    async with town(*faults) as here:
        socket = await multi(here)
        for name in ("a", "b", "c"):
            await speak(socket, ENGLISH, name)
        heard = await socket.hear_until(5)
        alone = await here.socket()
        await alone.say(ENGLISH)
        assert kinds(await alone.hear_all()) == ["reset"]
    whole = ["audio"] * 4 + ["final"]
    assert [kinds(of(heard, name)) for name in ("a", "b", "c")] == [whole, whole[1:], whole[:-1]]


@pytest.mark.parametrize("action", ["early_final", "bad_base64"])
async def test_messages_of_faults_name_their_context(action: str, autojump_clock: MockClock) -> None:
    async with town(Fault(action, "audio", skip=1, count=1)) as here:
        socket = await multi(here)
        for name in ("a", "b"):
            await speak(socket, "Да.", name)
        heard = await socket.hear_until(5)
    assert len(of(heard, "a")) == 3
    assert len(of(heard, "b")) == 4


@pytest.mark.parametrize("at", ["audio", "final"])
async def test_an_error_with_a_context_ends_that_alone(at: Any, autojump_clock: MockClock) -> None:
    async with town(Fault("context_error", at, count=1)) as here:
        socket = await multi(here)
        for name in ("a", "b"):
            await speak(socket, "Да.", name)
        heard = await socket.hear_until(5)
        await speak(socket, "Нет.", "a")
        again = await socket.hear_until(10)
    assert kinds(of(heard, "a")) == (["error"] if at == "audio" else ["audio", "audio", "error"])
    assert kinds(of(heard, "b")) == kinds(of(again, "a")) == ["audio", "audio", "final"]


async def test_an_error_with_a_context_is_the_end_where_there_is_no_other(autojump_clock: MockClock) -> None:
    async with town(Fault("context_error", "audio"), close_socket="obeyed") as here:
        socket = await multi(here)
        await speak(socket, "Да.", close=False)
        await socket.send({"close_socket": True})
        assert kinds(await socket.hear_all()) == ["error", "close 1000", "eof"]
        alone = await here.socket()
        await alone.say("Да.")
        assert kinds(await alone.hear_all()) == ["error", "close 1000", "eof"]


async def test_an_error_without_a_context_ends_the_socket(autojump_clock: MockClock) -> None:
    async with town(Fault("error_frame", "audio", "system_busy", count=1)) as here:
        socket = await multi(here)
        for name in ("a", "b"):
            await speak(socket, "Да.", name)
        heard = await socket.hear_all()
    assert kinds(heard) == ["error", "close 1008", "eof"]
    assert set(heard[0].message) == {"message", "error", "code"}
