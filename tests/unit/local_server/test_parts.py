"""The small parts: the normalizer, clips and alignments, frame boundaries, streams in memory, records."""

from __future__ import annotations

import io
import json

import av
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.helpers.plain import ENGLISH, RUSSIAN, PlainHTTP, town
from tts_trio.local_server import EspeakVoice, Requested, ToneVoice, open_local_server, read_tones
from tts_trio.local_server.memory import WINDOW, memory_connection
from tts_trio.local_server.record import Received, as_json
from tts_trio.local_server.speech import Order, normalize, render
from tts_trio.local_server.wire import FrameBoundary

# --- the normalizer


@pytest.mark.parametrize(
    ("text", "language", "spoken"),
    [
        ("Room 42.", None, "Room forty-two."),
        ("Кабинет 42.", None, "Кабинет сорок два."),
        ("Zimmer 42", "de", "Zimmer zweiundvierzig"),
        ("3.5 km", None, "three point five km"),
        ("Скидка 20%", None, "Скидка двадцать процентов"),
        ("at 10:30", None, "at ten thirty"),
        ("в 10:05", None, "в десять ноль пять"),
        ("007", "en", "zero zero seven"),
        ("1234567890", "en", "one two three four five six seven eight nine zero"),
        ("12.05.2026, v2, 192.168.0.1", None, "12.05.2026, v2, 192.168.0.1"),
        ("42", "xx", "forty-two"),
        ("no number", None, "no number"),
        ("", None, ""),
    ],
)
def test_normalize(text: str, language: str | None, spoken: str) -> None:
    pieces = normalize(text, language)
    assert "".join(piece.spoken for piece in pieces) == spoken
    assert "".join(piece.source for piece in pieces) == text


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_the_normalizer_loses_nothing(text: str) -> None:
    assert "".join(piece.source for piece in normalize(text, "en")) == text


# --- clips


@given(st.text(st.sampled_from("аб 12,.%"), min_size=1, max_size=80), st.booleans())
def test_alignments_are_contiguous_and_as_long_as_the_sound(text: str, overlapping: bool) -> None:
    text = " ".join(text.split())
    clip = render(Order(text, "pcm_8000", normalize=True, overlapping=overlapping), ToneVoice())
    assert clip.alignment.chars == text + " " if text else " "
    for alignment in (clip.alignment, clip.normalized):
        ends = [s + d for s, d in zip(alignment.starts_ms, alignment.durations_ms, strict=True)]
        assert list(alignment.starts_ms[1:]) == ends[:-1]
        assert alignment.starts_ms[0] == 0
        assert ends[-1] == round(clip.seconds * 1000)
    sound = b"".join(piece.audio for piece in clip.slices)
    assert read_tones(sound, "pcm_8000") == clip.normalized.chars


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
@pytest.mark.parametrize("output_format", ["mp3_44100_128", "opus_48000_64"])
async def test_a_stream_of_several_segments_is_one_file(
    text: str, output_format: str, autojump_clock: MockClock
) -> None:
    async with town() as here:
        alone = await here.http().speak(text, query={"output_format": output_format})  # a file of its own, now cached
        socket = await here.socket(output_format=output_format, auto_mode="true")
        await socket.say(text, text)
        heard = await socket.hear_all()
    data = b"".join(item.audio for item in heard if item.kind == "audio")
    assert alone is not None
    assert data.count(b"OpusHead") == alone.body.count(b"OpusHead") == output_format.startswith("opus")
    with av.open(io.BytesIO(data)) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert seconds == pytest.approx(2 * (len(text) + 2) * 0.06, abs=0.15)


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
async def test_a_real_voice(text: str) -> None:
    async with open_local_server(voice=EspeakVoice()) as server:
        stream = await trio.open_tcp_stream("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        reply = await PlainHTTP(stream).speak(text, "/with-timestamps")
        await stream.aclose()
    assert reply is not None
    ends = reply.json["alignment"]["character_end_times_seconds"]
    assert 8 < len(text) / ends[-1] < 22
    assert ends == sorted(ends)


def test_nothing_to_speak() -> None:
    clip = render(Order("…", "pcm_16000"), EspeakVoice())
    assert clip.seconds < 1
    assert clip.alignment.chars == "… "


# --- frame boundaries


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=4), st.data())
def test_frame_boundaries(sizes: list[int], data: st.DataObject) -> None:
    frames = [_client_frame(size) for size in sizes]
    cut = data.draw(st.integers(0, len(frames[-1])))
    stream = b"".join(frames[:-1]) + frames[-1][:cut]
    boundary = FrameBoundary()
    step = data.draw(st.integers(1, 5000))
    for start in range(0, len(stream), step):
        boundary.feed(stream[start : start + step])
    assert boundary.inside == (0 < cut < len(frames[-1]))


def _client_frame(size: int) -> bytes:
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2)
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8)
    return b"\x81" + length + b"mask" + bytes(size)


# --- streams in memory


async def test_data_and_fin(autojump_clock: MockClock) -> None:
    one, other = memory_connection()
    await one.send_all(b"hello")
    await one.send_eof()
    assert await other.receive_some(3) == b"hel"
    assert await other.receive_some() == b"lo"
    assert await other.receive_some() == b""
    await other.send_all(b"still")
    assert await one.receive_some() == b"still"
    await other.aclose()
    assert await one.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await one.send_all(b"x")
    with pytest.raises(trio.ClosedResourceError):
        await other.receive_some()


async def test_reset(autojump_clock: MockClock) -> None:
    one, other = memory_connection()
    await one.send_all(b"lost")
    one.reset()
    with pytest.raises(trio.BrokenResourceError):
        await other.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await other.send_all(b"x")


async def test_a_window_fills_and_a_cancelled_send_is_torn(autojump_clock: MockClock) -> None:
    one, other = memory_connection()
    with trio.move_on_after(1) as scope:
        await one.send_all(bytes(2 * WINDOW))
    assert scope.cancelled_caught
    with trio.move_on_after(1) as scope:
        await one.wait_send_all_might_not_block()
    assert scope.cancelled_caught
    received = 0
    with trio.move_on_after(1):
        while True:
            received += len(await other.receive_some())
    assert received == WINDOW
    await one.wait_send_all_might_not_block()


async def test_two_tasks_at_one_end(autojump_clock: MockClock) -> None:
    one, _ = memory_connection()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await one.receive_some()
        nursery.cancel_scope.cancel()


async def test_a_close_wakes_whoever_waits(autojump_clock: MockClock) -> None:
    one, other = memory_connection()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await one.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await one.aclose()
    await other.aclose()


# --- records


def test_records_as_json_hide_keys() -> None:
    requested = Requested(
        time=1.0,
        connection=2,
        method="GET",
        path="/v1",
        query={"authorization": "secret", "model_id": "m"},
        headers={"xi-api-key": "secret"},
        body=b"",
    )
    received = Received(time=1.0, connection=2, frame="text", message={"text": "Привет", "xi_api_key": "secret"})
    lines = [as_json(requested), as_json(received)]
    assert "secret" not in "".join(lines)
    assert json.loads(lines[0])["query"] == {"authorization": "…", "model_id": "m"}
    assert json.loads(lines[1]) == {
        "event": "received",
        "time": 1.0,
        "connection": 2,
        "frame": "text",
        "message": {"text": "Привет", "xi_api_key": "…"},
        "context_id": None,
    }
