"""What one message of the service costs, in µs of CPU, layer by layer, from the socket to the caller's hands.

All of it runs in one thread. The other end of the connection writes four messages into the socket before the clock
starts, which is the thread's CPU time; it stops when all of them have passed the layer. So it counts our side alone,
and the loop turns as often as for messages that come one by one. TLS, WebSocket and the whole way are measured over a
TCP connection on loopback, decoding and the utterance by calling them; what is left of the whole way is the channel's:
the connection, the driver, and the caller's task. Every layer is measured in turns, with fresh connections, in replies
of 12 s. The fastest four messages count, which is what can be repeated on a busy machine; the medians show the noise.

    python -m benchmarks layers [--quick]
"""

from __future__ import annotations

import gc
import math
import os
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import attrs
import trio
import trustme
import wsproto
import wsproto.events as ws

from benchmarks import pictures
from benchmarks.script import Report, options_of
from benchmarks.service.replay import CHARACTERS_A_SECOND, SHAPES, Shape, frame, message
from tests.helpers.socket_user import User
from tts_trio import TTSConfig, TTSManager, WebSocketConnectionManager
from tts_trio.cli.console import Advance, progress
from tts_trio.speech.utterance import Utterance
from tts_trio.transport.streams import open_stream
from tts_trio.transport.websocket import WebSocket
from tts_trio.wire.events import AudioReceived
from tts_trio.wire.messages import decode

_HOST = "127.0.0.1"
_AT_ONCE = 4  # messages, which fit into a fresh TCP window
_BATCHES = 12  # of them in a reply; the first one does not count
_ROUNDS = 20
_READ_BYTES = 65536
_SENTENCE = "Your order left our warehouse this morning, and it should be with you by Friday at the latest. "


class Peer:
    """The service's end of one connection. What it says is encrypted and written when the clock stands still."""

    def __init__(self, tcp: trio.SocketStream, context: ssl.SSLContext, asked: Callable[[Peer], None]) -> None:
        self.ready = trio.Event()  # the handshake of TLS is done
        self._tcp = tcp
        self._asked = asked  # is told when a text to be spoken has come
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    async def run(self) -> None:
        """Answer the handshakes and the pings, until the other end closes."""
        async for data in self._tcp:
            self._incoming.write(data)
            try:
                self._tls.do_handshake()
                self.ready.set()
                while received := self._tls.read(_READ_BYTES):
                    self._take(received)
            except ssl.SSLWantReadError:
                pass
            self._flush()

    def _take(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, ws.Request):
                self._tls.write(self._protocol.send(ws.AcceptConnection()))
            elif isinstance(event, ws.Ping):
                self._tls.write(self._protocol.send(event.response()))
            elif isinstance(event, ws.TextMessage) and _SENTENCE[:4] in event.data:
                self._asked(self)

    def say(self, messages: Sequence[str]) -> int:
        """Write messages, each in a record of its own; return the size of their frames."""
        frames = [frame(content.encode()) for content in messages]
        for each in frames:
            self._tls.write(each)
        self._flush()
        return sum(map(len, frames))

    def _flush(self) -> None:
        data = self._outgoing.read()
        assert os.write(self._tcp.socket.fileno(), data) == len(data)


@attrs.frozen
class Bench:
    """Where a layer is measured.

    Attributes:
        config: Of our end.
        text: What is spoken.
        batches: The messages with its sound, as many at once as are written.
        peers: The other ends of the connections, as they are opened.
        asked: Those of them that have been asked to speak, as they are.
    """

    config: TTSConfig
    text: str
    batches: Sequence[Sequence[str]]
    peers: trio.MemoryReceiveChannel[Peer]
    asked: trio.MemoryReceiveChannel[Peer]


async def _tls(bench: Bench) -> list[float]:
    stream = await open_stream(bench.config)
    peer = await bench.peers.receive()
    await peer.ready.wait()
    times: list[float] = []
    for batch in bench.batches:
        left = peer.say(batch)
        began = time.thread_time()
        while left:
            left -= len(await stream.receive_some(_READ_BYTES))
        times.append(time.thread_time() - began)
    await trio.aclose_forcefully(stream)
    return times


class _Counter(User):
    """The user of a WebSocket: it counts down the messages that come."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = trio.Event()
        self.left = 0

    def received(self, message: str | bytes) -> None:
        self.left -= 1
        if not self.left:
            self.passed.set()


async def _websocket(bench: Bench) -> list[float]:
    websocket = WebSocket(bench.config, "/v1/any", open_stream)
    counter = _Counter()
    times: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.run, websocket, bench.config.base_url)
        peer = await bench.peers.receive()
        await counter.hot.wait()
        for batch in bench.batches:
            counter.left, counter.passed = len(batch), trio.Event()
            peer.say(batch)
            began = time.thread_time()
            await counter.passed.wait()
            times.append(time.thread_time() - began)
        websocket.close()
    return times


async def _decoding(bench: Bench) -> list[float]:
    times: list[float] = []
    for batch in bench.batches:
        began = time.thread_time()
        for content in batch:
            decode(content)
        times.append(time.thread_time() - began)
    return times


async def _utterance(bench: Bench) -> list[float]:
    utterance = Utterance(bench.config, 0.0)
    utterance.accept(bench.text, 0.0)
    utterance.complete(0.0)
    utterance.connected()
    utterance.phrases_to_send(0.0)
    times: list[float] = []
    for batch in bench.batches:
        events = [event for content in batch for event in decode(content) if isinstance(event, AudioReceived)]
        began = time.thread_time()
        for event in events:
            utterance.receive(event, 1.0)
            utterance.deliver(1.0)
        times.append(time.thread_time() - began)
        utterance.phrases_to_send(1.0)  # all others, when the first sound has come
    return times


async def _whole(bench: Bench) -> list[float]:
    times: list[float] = []
    async with WebSocketConnectionManager(bench.config) as connections, TTSManager(bench.config, connections) as tts:
        async with tts.speak(bench.text) as audio:
            peer = await bench.asked.receive()
            for batch in bench.batches:
                left = sum(len(event.audio) for content in batch for event in decode(content))
                peer.say(batch)
                began = time.thread_time()
                while left:
                    left -= len(await audio.receive())
                times.append(time.thread_time() - began)
    return times


_STAGES: dict[str, Callable[[Bench], Awaitable[list[float]]]] = {
    "TLS": _tls,
    "WebSocket": _websocket,  # and what is below it
    "decoding": _decoding,
    "utterance": _utterance,
    "all": _whole,
}


def layers(stages: Mapping[str, float]) -> dict[str, float]:
    """Make the cost of each layer of what was measured, in the same unit."""
    alone = {
        "TLS": stages["TLS"],
        "WebSocket": stages["WebSocket"] - stages["TLS"],
        "decoding": stages["decoding"],
        "utterance": stages["utterance"],
    }
    channel = stages["all"] - sum(alone.values())
    return {**alone, "channel": channel, "all": stages["all"]}


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make the TLS contexts of the two ends: the service's, and ours."""
    authority = trustme.CA()
    served, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert(_HOST).configure_cert(served)
    authority.configure_trust(trusting)
    return served, trusting


@asynccontextmanager
async def _bench(
    shape_name: str, shape: Shape, served: ssl.SSLContext, trusting: ssl.SSLContext
) -> AsyncIterator[Bench]:
    count = _AT_ONCE * _BATCHES
    ends = [(number + 1) * shape.message_ms * CHARACTERS_A_SECOND // 1000 for number in range(count)]
    text = (_SENTENCE * (1 + ends[-1] // len(_SENTENCE)))[: ends[-1]]
    content = [message(shape, text[begin:end], 0) for begin, end in zip([0, *ends], ends, strict=False)]
    opened, peers = trio.open_memory_channel[Peer](math.inf)
    speaking, asked = trio.open_memory_channel[Peer](math.inf)

    async def serve(tcp: trio.SocketStream) -> None:
        peer = Peer(tcp, served, speaking.send_nowait)
        opened.send_nowait(peer)
        with suppress(trio.BrokenResourceError):
            await peer.run()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=_HOST)
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        config = TTSConfig(
            api_key="any",
            voice_id="any",
            base_url=f"https://{_HOST}:{listener.socket.getsockname()[1]}",
            ssl_context=trusting,
            output_format=shape_name,
            language_code="en",
            spares=0,
            max_lead=3600.0,
        )
        yield Bench(config, text, [content[at : at + _AT_ONCE] for at in range(0, count, _AT_ONCE)], peers, asked)
        nursery.cancel_scope.cancel()


async def measure(shape_name: str, rounds: int, advance: Advance) -> list[dict[str, object]]:
    """Measure the layers for the messages of a format; return a row for each, in µs a message."""
    samples: dict[str, list[float]] = {stage: [] for stage in _STAGES}
    contexts = _contexts()
    for _ in range(rounds):
        for stage, work in _STAGES.items():
            gc.collect()
            async with _bench(shape_name, SHAPES[shape_name], *contexts) as bench:
                times = await work(bench)
            samples[stage] += [1e6 * took / _AT_ONCE for took in times[1:]]
        advance()
    best = layers({stage: min(times) for stage, times in samples.items()})
    middle = layers({stage: statistics.median(times) for stage, times in samples.items()})
    return [
        {"layer": name, "µs": best[name], "median": middle[name], "share": best[name] / best["all"]} for name in best
    ]


def main() -> None:
    """Measure, and tell."""
    options = options_of(__doc__ or "").parse_args()
    rounds = 4 if options.quick else _ROUNDS
    report = Report("layers", options)
    found: dict[str, list[dict[str, object]]] = {}
    with progress("layers", rounds * len(SHAPES)) as advance:
        for name, shape in SHAPES.items():
            title = f"A message of {shape.message_ms} ms, {name}, µs of CPU"
            found[title] = trio.run(measure, name, rounds, advance)
    for title, rows in found.items():
        report.add(title, rows)
    pictures.bars(
        report.picture(),
        next(iter(found)),
        "µs",
        {str(row["layer"]): float(row["µs"]) for row in next(iter(found.values()))},  # type: ignore[arg-type]
    )
    report.write()


if __name__ == "__main__":
    main()
