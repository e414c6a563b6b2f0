"""The guide's Twilio endpoint, whole, against a scripted Twilio side."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio_websocket

from tests.helpers import API_KEY, ENGLISH, RUSSIAN, VOICE_ID, Service, listen, make_config, memory_service, speaking
from tests.helpers.pages import example, run_example
from tests.helpers.twilio import STREAM_SID, Twilio
from tts_trio.local_server import read_tones

SILENCE, SPEECH, COUGH = b"\xff" * 160, b"\x00" * 160, b"\x01" * 160
QUESTION = "Where is my order?"
ANSWER = "Your order is on its way."


def ears(payload: bytes) -> str | bool | None:
    return {SILENCE: None, SPEECH: "", COUGH: False}.get(payload, payload.decode("latin-1"))


@asynccontextmanager
async def call(
    monkeypatch: pytest.MonkeyPatch, replies: dict[str, str], history: list[str]
) -> AsyncGenerator[tuple[Twilio, float]]:
    """A call that the guide's endpoint answers, and when its first frame came."""
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    async with memory_service() as service, trio.open_nursery() as nursery:
        with service.answer_every_dial():
            serve_call = run_example("serve_call")
            theirs, ours = trio.testing.memory_stream_pair()

            async def serve() -> None:
                request = await trio_websocket.wrap_server_stream(nursery, ours)
                await serve_call(request, ears=ears, llm=lambda said: [replies[said]], history=history)

            nursery.start_soon(serve)
            twilio = Twilio(await trio_websocket.wrap_client_stream(nursery, theirs, "127.0.0.1", "/"))
            nursery.start_soon(twilio.run)
            await twilio.say("connected", protocol="Call", version="1.0.0")
            await twilio.say("start", start={"streamSid": STREAM_SID})
            await twilio.say_media(SILENCE)
            yield twilio, (await twilio.wait_for("media"))["at"]
            await twilio.say("stop")
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("text", "spoken_for"), [(ENGLISH, 0.6), (RUSSIAN, 3.0)])
async def test_the_twilio_endpoint(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, text: str, spoken_for: float
) -> None:
    """P24: after `clear` no media of the old turn, and the words heard are right to one word."""
    replies = {"<the call begins>": text, QUESTION: ANSWER}
    history: list[str] = []
    async with memory_service() as service:
        sound = await reference(service, text)
        answer = await reference(service, ANSWER)
    async with call(monkeypatch, replies, history) as (twilio, began):
        await trio.sleep_until(began + spoken_for)
        await twilio.say_media(SPEECH)
        cleared = await twilio.wait_for("clear")
        await twilio.say_media(QUESTION.encode())
        mark = await twilio.wait_for("mark")

    before = twilio.got[: twilio.got.index(cleared)]
    after = twilio.got[twilio.got.index(cleared) + 1 :]
    assert {each["event"] for each in before} == {"media"}
    assert sound["ulaw_8000"].startswith(twilio.sound(before))
    assert twilio.sound(after)[: len(answer["ulaw_8000"])] == answer["ulaw_8000"]
    assert after[-1] == mark  # of the answer, and none of what was interrupted
    assert len({len(base64.b64decode(each["media"]["payload"])) for each in before}) == 1

    played = min(len(twilio.sound(before)), round((cleared["at"] - began) * 8000))
    assert spoken_for <= played / 8000 < spoken_for + 0.02
    words = read_tones(sound["pcm_8000"][: played * 2], "pcm_8000").split()
    assert abs(len(history[0].split()) - len(words)) <= 1
    assert text.startswith(history[0])
    assert history[1] == ANSWER


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_a_caller_who_coughs_misses_no_word_and_hears_none_twice(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Also where he coughs again before he heard all that is said again. Each time he hears a part of a frame again."""
    coughs = [(0.613, 1.2), (2.1, 0.05), (2.277, 3.0)]  # when, and how long the ears listen
    history: list[str] = []
    async with memory_service() as service:
        sound = (await reference(service, text))["ulaw_8000"]
    async with call(monkeypatch, {"<the call begins>": text}, history) as (twilio, began):
        for at, seconds in coughs:
            await trio.sleep_until(began + at)
            await twilio.say_media(SPEECH)
            await trio.sleep(seconds)
            await twilio.say_media(COUGH)
        await twilio.wait_for("mark")

    whole = b""
    stretches = twilio.played()
    for _, stretch in stretches:
        whole = whole[: len(whole) // 160 * 160] + stretch  # from the beginning of the frame in which it stopped
        assert whole.startswith(sound[: len(whole)])
    assert read_tones(whole, "ulaw_8000").split() == text.split()
    assert whole[len(sound) :] == b"\xff" * (-len(sound) % 160)
    assert history == [text]
    assert [begins_at for begins_at, _ in stretches[1:]] == pytest.approx([began + sum(cough) for cough in coughs])


def test_the_endpoint_is_short_enough_to_be_read() -> None:
    assert len(example("serve_call").splitlines()) <= 60


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_the_audiosocket_endpoint(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A frame every 20 ms from the first moment to the last, also while the caller speaks; all replies are heard."""
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    history: list[str] = []
    got: list[tuple[float, bytes]] = []

    async def turns() -> AsyncGenerator[list[str]]:
        for reply in (text, ANSWER):
            await trio.sleep(1.5)
            yield [reply]
        await trio.sleep(0.5)

    async def asterisk(stream: trio.abc.ReceiveStream) -> None:
        data = b""
        async for chunk in stream:
            data += chunk
            while len(data) >= 3 and len(data) >= 3 + int.from_bytes(data[1:3], "big"):
                size = int.from_bytes(data[1:3], "big")
                assert data[0] == 0x10
                got.append((trio.current_time(), data[3 : 3 + size]))
                data = data[3 + size :]

    async with memory_service() as service, trio.open_nursery() as nursery:
        with service.answer_every_dial():
            theirs, ours = trio.testing.memory_stream_pair()
            nursery.start_soon(asterisk, theirs)
            await run_example("serve_audiosocket")(ours, turns(), history)
        nursery.cancel_scope.cancel()
    assert history == [text, ANSWER]
    assert {len(frame) for _, frame in got} == {320}
    assert [at for at, _ in got] == pytest.approx([got[0][0] + 0.02 * n for n in range(len(got))])
    assert read_tones(b"".join(frame for _, frame in got), "pcm_8000").split() == f"{text} {ANSWER}".split()


async def reference(service: Service, text: str) -> dict[str, bytes]:
    """The same reply in a format that the tones can be read from, and in Twilio's."""
    sound: dict[str, bytes] = {}
    for output_format in ("pcm_8000", "ulaw_8000"):
        async with speaking(make_config(output_format=output_format), service.open_stream) as tts:
            async with tts.speak([text]) as audio:
                sound[output_format] = await listen(audio)
    assert len(sound["pcm_8000"]) == 2 * len(sound["ulaw_8000"])
    return sound
