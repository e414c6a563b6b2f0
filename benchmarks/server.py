"""How much of a delay is the local server's own: N real-time streams at once, timed from another process.

The clients do the least that works, on sockets that are open. Every stream asks for the same text; the server's
schedule says when each piece of audio is due, so what comes later than for a stream that is alone is the delay that the
load adds, the clients' own included.

    python -m benchmarks server [--quick] [--streams 1 50 200] [--voice tone|espeak]
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys

import trio
import trio_websocket

from benchmarks import pictures
from benchmarks.script import Report, options_of
from tts_trio.cli.console import progress

TEXT = "Your order left our warehouse this morning, and it will be with you by Friday at the latest. " * 2
_QUERY = "model_id=eleven_flash_v2_5&output_format=ulaw_8000&auto_mode=true&sync_alignment=true"
_RAMP = 5.0  # seconds over which the streams begin, as calls do


async def stream(url: str, begin_after: float, offsets: list[list[float]]) -> None:
    """Ask once, and note when each message of the answer comes, in seconds from the request."""
    async with trio_websocket.open_websocket_url(
        url, extra_headers=[(b"xi-api-key", b"any")], max_message_size=2**24, receive_buffer_size=65536
    ) as websocket:
        await websocket.send_message('{"text":" "}')
        await trio.sleep(begin_after)
        asked = trio.current_time()
        await websocket.send_message(json.dumps({"text": TEXT}))
        await websocket.send_message('{"text":""}')
        came: list[float] = []
        while '"isFinal": true' not in (message := str(await websocket.get_message())).replace('":t', '": t'):
            assert '"error"' not in message, message
            came.append(trio.current_time() - asked)
        offsets.append(came)


async def measure(base_url: str, streams: int) -> list[list[float]]:
    """Run so many streams at once; return when the messages of each came."""
    url = f"{base_url.replace('http', 'ws', 1)}/v1/text-to-speech/any/stream-input?{_QUERY}"
    offsets: list[list[float]] = []
    async with trio.open_nursery() as nursery:
        for number in range(streams):
            nursery.start_soon(stream, url, 1 + _RAMP * number / streams, offsets)
    return offsets


def run(streams: int, voice: str) -> tuple[list[list[float]], float]:
    """Measure against a server of its own; return the times, and the server's CPU in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "tts_trio", "serve", "--port", "0", "--voice", voice, "--behavior", "speed=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        base_url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        try:
            trio.run(measure, base_url, 1)  # so that the speech is cached, as in a benchmark's second round
            times = trio.run(measure, base_url, streams)
        finally:
            server.terminate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return times, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and tell."""
    parser = options_of(__doc__ or "")
    parser.add_argument("--streams", type=int, nargs="+", metavar="N", help="how many (default: 1 50 200)")
    parser.add_argument("--voice", choices=["tone", "espeak"], default="tone")
    options = parser.parse_args()
    numbers: list[int] = options.streams or ([20] if options.quick else [1, 50, 200])
    result = Report("server", options)
    rows: list[dict[str, float]] = []
    with progress("server", 1 + len(numbers)) as advance:
        alone, idle_cpu = run(1, options.voice)
        advance()
        due = alone[0]
        for streams in numbers:
            times, cpu = run(streams, options.voice)
            delays = sorted(1000 * (at - expected) for came in times for at, expected in zip(came, due, strict=True))
            cut = statistics.quantiles(delays, n=100, method="inclusive")
            row = {
                "streams": streams,
                "median": cut[49],
                "95th": cut[94],
                "99th": cut[98],
                "longest": delays[-1],
                "server's CPU, % of a core": 100 * max(0.0, cpu - idle_cpu) / (due[-1] + _RAMP),
            }
            rows.append(row)
            advance()
    result.add(f"Delay added, ms, {options.voice} voice", rows)
    pictures.bars(
        result.picture(),
        "Delay that the local server adds, 99th percentile",
        "ms",
        {f"{row['streams']:.0f} streams": row["99th"] for row in rows},
    )
    result.write()


if __name__ == "__main__":
    main()
