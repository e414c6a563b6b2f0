"""Every unsettled point of the protocol, on both sides of its switch, as a plain client sees it.

Those about contexts are in `test_multi_stream_input.py` and `test_text_to_dialogue.py`.
"""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.helpers import make_config, speaking
from tests.helpers.plain import ENGLISH, RUSSIAN, Heard, PlainSocket, Reply, kinds, tones, town
from tts_trio.local_server import Behavior, Fault, read_tones
from tts_trio.testing import memory_service


@pytest.mark.parametrize("field", attrs.fields(Behavior), ids=lambda field: field.name)
def test_a_switch_takes_the_values_of_its_annotation_and_no_other(field: attrs.Attribute[Any]) -> None:
    """The first value is the default, and an error names the field and all its values."""
    listed = get_args(field.type) if get_origin(field.type) is Literal else (True, False) if field.type is bool else ()
    assert field.metadata.get("choices", ()) == listed
    if not listed:
        return
    assert getattr(Behavior(), field.name) is listed[0]
    assert [getattr(Behavior(**{field.name: value}), field.name) for value in listed] == list(listed)
    with pytest.raises(ValueError, match=f"^{field.name}: 'odd' is not allowed; .* {', '.join(map(str, listed))}$"):
        Behavior(**{field.name: "odd"})


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("faults", Fault("reset", "audio"), "a list of Fault"),
        ("faults", ("reset@audio",), "a list of Fault"),
        ("api_keys", "sk_1", "a list of texts"),
        ("forbidden_voices", [1], "a list of texts"),
        ("speed", 0, "above 0"),
        ("speed", True, "a number"),
        ("model_latency", -1, "at least 0"),
        ("quota", -1, "at least 0"),
        ("concurrency", 0, "above 0"),
        ("ping_interval", "often", "a number"),
        ("seed", 1.5, "a whole number"),
        ("slow_share", 1.1, "from 0 to 1"),
        ("slow_by", -1, "at least 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_field_and_what_is_allowed(field: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError) as caught:
        Behavior(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == f"{field}: {value!r} is not allowed; it must be {allowed}"


@pytest.mark.parametrize("text", [RUSSIAN, ENGLISH])
async def test_some_segments_are_slow(text: str, autojump_clock: MockClock) -> None:
    """About the share of them; each by a third of the most to the most; the same ones with the same seed."""
    behavior = Behavior(model_latency=0.08, slow_share=0.5, slow_by=1.5, seed=7)
    async with memory_service(behavior) as service:
        config = make_config(audio_cache=None)
        latencies: list[float] = []
        async with speaking(config, service.open_stream) as tts:
            for number in range(32):
                if number == 16:
                    service.server.behavior = behavior
                over_http = number % 2
                async with tts.stream_static_text(text) if over_http else tts.speak([text]) as audio:
                    began = trio.current_time()
                    await audio.receive()
                    latencies.append(round(trio.current_time() - began, 6))
    slow = [seconds for seconds in latencies[:16] if seconds != 0.08]
    assert 4 <= len(slow) <= 12
    assert all(0.58 <= seconds <= 1.58 for seconds in slow)
    assert latencies[16:] == latencies[:16]


async def quiet(socket: PlainSocket, seconds: float) -> list[Heard]:
    """Hear what comes within some seconds."""
    heard: list[Heard] = []
    with trio.move_on_after(seconds):
        while not heard or not heard[-1].end:
            heard.append(await socket.hear())
    return heard


@pytest.mark.parametrize(("ends", "wanted"), [(True, ["audio", "audio", "final"]), (False, ["audio"])])
async def test_empty_flush_ends(ends: bool, wanted: list[str], autojump_clock: MockClock) -> None:
    async with town(empty_flush_ends=ends) as here:
        socket = await here.socket()
        await socket.send({"text": "Привет "})
        await socket.send({"text": "", "flush": True})
        assert kinds(await quiet(socket, 0.5)) == wanted


@pytest.mark.parametrize(("blank", "clips"), [("nothing", 0), ("silence", 1)])
async def test_blank_in_auto_mode(blank: str, clips: int, autojump_clock: MockClock) -> None:
    async with town(blank_in_auto_mode=blank) as here:
        socket = await here.socket(auto_mode="true")
        await socket.send({"text": " "})
        assert len(await quiet(socket, 1)) == clips


@pytest.mark.parametrize(("start", "wanted"), [("accept", 20.0), ("first_message", 35.0)])
async def test_idle_timer(start: str, wanted: float, autojump_clock: MockClock) -> None:
    async with town(idle_timer=start) as here:
        socket = await here.socket()
        with trio.move_on_after(15):
            await socket.hear()
        if start == "first_message":
            await socket.send({"text": " "})
        assert (await socket.hear()).at == wanted


@pytest.mark.parametrize("max_age", [None, 60.0])
async def test_max_age(max_age: float | None, autojump_clock: MockClock) -> None:
    async with town(max_age=max_age) as here:
        socket = await here.socket()
        heard: list[Heard] = []
        for _ in range(8):
            heard += await quiet(socket, 9)
            if heard:
                break
            await socket.send({"text": " "})
        assert [(item.kind, item.at) for item in heard[:1]] == ([("close 1000", 60.0)] if max_age else [])


@pytest.mark.parametrize("answers", [True, False])
async def test_pings(answers: bool, autojump_clock: MockClock) -> None:
    async with town(ping_interval=5.0, ping_timeout=2.0) as here:
        socket = await here.socket()
        socket.answers = answers
        heard = await quiet(socket, 11)
    assert [(item.kind, item.at) for item in heard] == [
        ("ping", 5.0),
        ("ping", 10.0) if answers else ("close 1011", 7.0),
    ]


@pytest.mark.parametrize("freed", [True, False])
async def test_slot_freed_on_close(freed: bool, autojump_clock: MockClock) -> None:
    async with town(slot_freed_on_close=freed, concurrency=1) as here:
        socket = await here.socket()
        await socket.send({"text": RUSSIAN * 5, "flush": True})
        await socket.hear()
        await socket.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        answer = await here.http().speak(ENGLISH)
        assert answer is not None
        assert answer.status == (200 if freed else 429)
        await trio.sleep(5)
        answer = await here.http().speak(ENGLISH)
        assert answer is not None
        assert answer.status == 200


@pytest.mark.parametrize("over", ["frame", "upgrade", "queue"])
async def test_over_concurrency_on_a_websocket(over: str, autojump_clock: MockClock) -> None:
    async with town(over_concurrency=over, concurrency=1) as here:
        early = await here.socket()
        busy = await here.socket()
        await busy.send({"text": RUSSIAN * 5, "flush": True})
        assert (await busy.hear()).at == pytest.approx(0.075)
        late = await here.socket()
        assert (late.rejection is not None) == (over == "upgrade")
        if late.rejection:
            assert late.rejection[0] == 429
        await early.say("Hi")
        heard = await early.hear()
        if over == "queue":
            ends = 0.075 + (0.06 * (5 * len(RUSSIAN) + 2) - 1.5) / 20
            assert heard.kind == "audio"
            assert heard.at == pytest.approx(ends + 0.05 + 0.075)
        else:
            assert heard.message["error"] == "concurrent_limit_exceeded"


async def test_over_concurrency_on_http_queues(autojump_clock: MockClock) -> None:
    async with town(over_concurrency="queue", concurrency=1) as here:
        answers: list[Reply | None] = []

        async def ask() -> None:
            answers.append(await here.http().speak(ENGLISH))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
    starts = sorted(answer.at for answer in answers if answer)
    length = 0.075 + (0.06 * (len(ENGLISH) + 2) - 1.5) / 20
    assert starts == pytest.approx([0.075, 0.075 + length + 0.05, 0.075 + 2 * (length + 0.05)], abs=0.2)
    assert starts[1] > length


@pytest.mark.parametrize(("choice", "status"), [("ignore", 200), ("reject", 400)])
async def test_unsupported_language(choice: str, status: int, autojump_clock: MockClock) -> None:
    async with town(unsupported_language=choice) as here:
        answer = await here.http().speak(ENGLISH, language_code="tlh")
        assert answer is not None
        assert answer.status == status
        socket = await here.socket(language_code="tlh")
        assert (socket.rejection is None) == (status == 200)


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("output_format", ["mp3_24000_48", "pcm_32000", "pcm_48000"])
async def test_rare_formats_on_websocket(accepted: bool, output_format: str, autojump_clock: MockClock) -> None:
    async with town(rare_formats_on_websocket=accepted) as here:
        socket = await here.socket(output_format=output_format)
        assert (socket.rejection is None) == accepted


@pytest.mark.parametrize(("speaks", "status"), [(True, 200), (False, 400)])
async def test_v4_over_text_to_speech(speaks: bool, status: int, autojump_clock: MockClock) -> None:
    async with town(v4_over_text_to_speech=speaks) as here:
        for model_id in ("eleven_v4", "eleven_v4_turbo"):
            answer = await here.http().speak(RUSSIAN, model_id=model_id)
            assert answer is not None
            assert answer.status == status
            if status == 400:
                assert answer.json["detail"]["code"] == "unsupported_model"
        answer = await here.http().speak(RUSSIAN, model_id="eleven_v3")
        assert answer is not None
        assert answer.status == 200


@pytest.mark.parametrize("code", ["max_character_limit_exceeded", "text_too_long"])
async def test_too_long_code(code: str, autojump_clock: MockClock) -> None:
    async with town(too_long_code=code) as here:
        answer = await here.http().speak("a" * 5501, model_id="eleven_v3")
        assert answer is not None
        assert (answer.status, answer.json["detail"]["status"]) == (400, code)


@pytest.mark.parametrize("content_type", ["audio/opus", "audio/ogg"])
async def test_opus_content_type(content_type: str, autojump_clock: MockClock) -> None:
    async with town(opus_content_type=content_type) as here:
        answer = await here.http().speak("Да.", query={"output_format": "opus_48000_32"})
        assert answer is not None
        assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(("on", "said"), [(False, " Room 42. "), (True, " Room forty-two. ")])
async def test_fast_models_normalize(on: bool, said: str, autojump_clock: MockClock) -> None:
    async with town(fast_models_normalize=on) as here:
        socket = await here.socket()
        await socket.say("Room 42.")
        assert tones(await socket.hear_all()) == said
        answer = await here.http().speak("Room 42.")
        assert answer is not None
        assert read_tones(answer.body, "pcm_16000") == said


async def test_overlapping_alignment(autojump_clock: MockClock) -> None:
    async with town(alignment="overlapping") as here:
        socket = await here.socket()
        await socket.say("Hola, soy Maria.")
        first, second = [item.message for item in (await socket.hear_all())[:2]]
    said = ["".join(message["normalizedAlignment"]["chars"]) for message in (first, second)]
    assert "".join(said) == " Hola, soy Maria. "
    assert all(said)
    assert "".join(second["alignment"]["chars"]) == "Hola, soy Maria. ", "the second pass begins again"
    assert "".join(first["alignment"]["chars"]) in "Hola, soy Maria. "


async def test_absent_alignment(autojump_clock: MockClock) -> None:
    async with town(alignment="absent") as here:
        socket = await here.socket(sync_alignment="true")
        await socket.say(RUSSIAN)
        heard = await socket.hear_all()
    assert tones(heard).strip() == RUSSIAN
    assert not any(item.message["alignment"] for item in heard if item.kind == "audio")


@pytest.mark.parametrize(("status", "code"), [(401, "quota_exceeded"), (402, "insufficient_credits")])
async def test_quota_status(status: int, code: str, autojump_clock: MockClock) -> None:
    async with town(quota=0, quota_status=status) as here:
        answer = await here.http().speak(ENGLISH)
        assert answer is not None
        detail = answer.json["detail"]
        assert (answer.status, detail.get("code", detail["status"])) == (status, code)


async def test_latency_and_speed(autojump_clock: MockClock) -> None:
    async with town(model_latency=0.5, speed=1.0) as here:
        socket = await here.socket()
        await socket.say(ENGLISH)
        heard = await socket.hear_all()
    assert [item.at for item in heard[:2]] == pytest.approx([0.5, 0.5 + 1.5])


async def test_close_delay(autojump_clock: MockClock) -> None:
    async with town(close_delay=0.1) as here:
        socket = await here.socket()
        await socket.say()
        assert [item.at for item in await socket.hear_all()] == pytest.approx([0.0, 0.1, 0.1])


async def test_seed(autojump_clock: MockClock) -> None:
    async def ask(seed: int) -> tuple[str, list[int]]:
        async with town(seed=seed) as here:
            answer = await here.http().speak(ENGLISH)
            assert answer is not None
            return answer.headers["request-id"], [len(data) for _, data in answer.parts]

    assert await ask(1) == await ask(1)
    assert await ask(1) != await ask(2)


async def test_the_weather_changes_in_mid_call(autojump_clock: MockClock) -> None:
    async with town() as here:
        socket = await here.socket(auto_mode="true")
        await socket.send({"text": "Раз. "})
        assert (await socket.hear()).at == pytest.approx(0.075)
        here.server.behavior = attrs.evolve(here.server.behavior, model_latency=2.0)
        await socket.send({"text": "Два. "})
        assert (await socket.hear()).at == pytest.approx(2.075)


@pytest.mark.parametrize(("spelling", "final"), [("camel", "isFinal"), ("snake", "is_final")])
async def test_spelling(spelling: str, final: str, autojump_clock: MockClock) -> None:
    async with town(spelling=spelling) as here:
        socket = await here.socket()
        await socket.say(RUSSIAN)
        heard = await socket.hear_all()
    assert heard[-3].message[final] is True
    assert ("normalized_alignment" in heard[0].message) == (spelling == "snake")


def test_every_field_is_described() -> None:
    assert [field.name for field in attrs.fields(Behavior) if "help" not in field.metadata] == []


@pytest.mark.parametrize(
    "wrong", [{"speed": 0}, {"alignment": "odd"}, {"quota_status": 500}, {"concurrency": 0}, {"faults": ("reset",)}]
)
def test_wrong_values(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Behavior(**wrong)


@pytest.mark.parametrize("field", ["api_keys", "voices", "forbidden_formats", "forbidden_voices"])
def test_one_text_is_no_list_of_texts(field: str) -> None:
    """A part of it would be taken for one of them."""
    for wrong in ("abc", [1], 7):
        with pytest.raises(ValueError, match=f"^{field}: .* must be a list of texts$"):
            Behavior(**{field: wrong})
    Behavior(**{field: ["abc"]})


async def test_a_queue_of_one(autojump_clock: MockClock) -> None:
    """The plan's slot is free again as soon as the generation is over."""
    async with town(concurrency=1) as here:
        for _ in range(3):
            answer = await here.http().speak(ENGLISH)
            assert answer is not None
            assert answer.status == 200
