"""However the service's stream is cut into reads, frames and chunks, the speech is the same; and garbage is none."""

from __future__ import annotations

import itertools
import json
from typing import Any

import attrs
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers import ENDPOINTS, heard, make_config, memory_service, speaking, websocket_path
from tests.helpers.socket_user import Owner
from tests.helpers.streams import Wrapped
from tts_trio import TTSConfig, TTSError, Word
from tts_trio.local_server import Behavior, Fault
from tts_trio.speech.utterance import Utterance
from tts_trio.transport.hot_socket import HotSocket
from tts_trio.transport.streams import open_stream
from tts_trio.wire import endpoint_for
from tts_trio.wire.events import AudioReceived, Final

TEXT = "Да, заказ 42 готов. Yes, it's 3.14!"


@attrs.define(eq=False)
class Recut(Wrapped):
    """A stream whose reads have the sizes given, over and over again."""

    sizes: Any  # an iterator
    buffer: bytes = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self.buffer:
            self.buffer = bytes(await self.stream.receive_some(max_bytes))
        else:
            await trio.lowlevel.checkpoint()
        size = next(self.sizes)
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data


@attrs.frozen
class Said:
    """What came of one reply or phrase."""

    sound: bytes
    words: tuple[Word, ...]
    end: str


def say(way: str, faults: tuple[Fault, ...] = (), sizes: list[int] | None = None) -> Said:
    """Say the text over a WebSocket endpoint, or as a static text."""
    config = make_config() if way == "phrase" else make_config(way)

    async def scenario() -> Said:
        async with memory_service(Behavior(faults=faults)) as service:

            async def recut(config: TTSConfig) -> trio.abc.Stream:
                return Recut(await service.open_stream(config), itertools.cycle(sizes or [65536]))

            async with speaking(config, recut) as tts:
                block = tts.stream_static_text(TEXT) if way == "phrase" else tts.speak([TEXT])
                async with block as audio:
                    chunks = [chunk async for chunk in audio]
                assert all(len(chunk) % 2 == 0 for chunk in chunks)  # P21
                assert audio.outcome is not None
                rounded = [
                    attrs.evolve(word, start_ms=round(word.start_ms, 6), end_ms=round(word.end_ms, 6))
                    for word in audio.words
                ]
                return Said(b"".join(chunks), tuple(rounded), audio.outcome.end)

    return trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


WHOLE = {way: say(way) for way in (*ENDPOINTS, "phrase")}
SIZES = st.lists(st.sampled_from([1, 2, 3, 7, 100]) | st.integers(1, 70000), min_size=1, max_size=5).filter(
    lambda sizes: sum(sizes) > 40 * len(sizes)  # a byte at a time takes its time
)


def test_the_whole() -> None:
    for said in WHOLE.values():
        assert heard(said.sound, make_config()) == TEXT
    for endpoint in ENDPOINTS:
        assert [word.text for word in WHOLE[endpoint].words] == TEXT.split()


@settings(max_examples=40, deadline=None)
@given(way=st.sampled_from(list(WHOLE)), sizes=SIZES, fragments=st.none() | st.integers(20, 70000))
def test_any_cut_gives_the_same_speech(way: str, sizes: list[int], fragments: int | None) -> None:
    """P19, P21: TCP reads of any size, and messages in WebSocket fragments and HTTP chunks of any size."""
    path = "/stream" if way == "phrase" else websocket_path(way)
    faults = () if fragments is None else (Fault("split", "audio", fragments, frame=None, path=path),)
    assert say(way, faults, sizes) == WHOLE[way]


GARBAGE = st.builds(
    Fault,
    st.sampled_from(["invalid_json", "bad_base64", "unknown_frame", "binary_frame"]),
    st.just("audio") | st.just("final"),
    frame=st.integers(0, 4),
    path=st.just("stream-input") | st.just("multi-stream-input"),
)


@settings(max_examples=40, deadline=None)
@given(endpoint=st.sampled_from(ENDPOINTS), faults=st.lists(GARBAGE, max_size=6, unique=True))
def test_garbage_frames_are_skipped(endpoint: str, faults: list[Fault]) -> None:
    """P27: in any position, and any number of them."""
    assert say(endpoint, tuple(faults)) == WHOLE[endpoint]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ALIGNMENTS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("chars", "charStartTimesMs", "charDurationsMs", "char_start_times_ms"), JSON)
)
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "audio": st.sampled_from(["AAAA", "AAA=", "@@", ""]) | JSON,
        "isFinal": JSON,
        "alignment": ALIGNMENTS | JSON,
        "normalizedAlignment": ALIGNMENTS | JSON,
        "error": JSON,
        "message": JSON,
        "code": JSON,
        "contextId": JSON | st.just("1"),
        "context_id": JSON | st.just("1"),
    },
)
MESSAGES = st.one_of(FRAMES.map(json.dumps), JSON.map(json.dumps), st.text(max_size=30), st.binary(max_size=30))


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(MESSAGES, max_size=8),
    auto_mode=st.booleans(),
    endpoint=st.sampled_from(ENDPOINTS),
)
@example(messages=['{"isFinal": true}'], auto_mode=True, endpoint="stream-input")
@example(messages=['{"isFinal": true, "contextId": "1"}'] * 4, auto_mode=False, endpoint="multi-stream-input")
async def test_whatever_comes_is_skipped_or_a_typed_error(
    messages: list[str | bytes], auto_mode: bool, endpoint: str
) -> None:
    """P27: no message of any peer raises anything, and the utterance goes on, ends, or fails with a TTSError."""
    config = make_config(endpoint, auto_mode=auto_mode or endpoint == "text-to-dialogue")
    utterance = Utterance(config, 0.0)
    frames = endpoint_for(config)
    socket = HotSocket(frames, open_stream, Owner())

    def on_event(event: AudioReceived | Final) -> None:
        utterance.receive(event, 1.0)

    socket.opened()
    connection = socket.acquire(frames)
    connection.take(on_event, lambda error: utterance.lost(error, 1.0))
    utterance.accept("Раз, два. One, two.", 0.0)
    utterance.complete(0.0)
    utterance.connected()
    for message in ["", *messages]:
        socket.received(message)
        if not utterance.has_connection and utterance.ended is None:
            utterance.connected()
        utterance.phrases_to_send(1.0)  # as after every change
        utterance.end_to_send(1.0)
        while sound := utterance.deliver(1.0):
            assert len(sound) % 2 == 0
        assert utterance.deadline() >= 0

    assert socket.error is None or isinstance(socket.error, TTSError)
    assert utterance.error is None or isinstance(utterance.error, TTSError)
    utterance.interrupt(2.0)
    assert utterance.outcome is not None
    assert utterance.outcome.spoken_text + utterance.outcome.unspoken_text == "Раз, два. One, two."
