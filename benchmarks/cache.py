"""Static texts, from asking to the first and the last piece: from the service over a hot connection, and from caches.

The local server stands in for the service, with the model's 75 ms and no link: with a real one add a round trip to its
row. Disk is an SQLite file in the directory of temporary files, Redis is Debian's `redis-server` on this machine, where
it is installed. A text that a cache did not give within its 20 ms came from the service, and counts as missed.

    python -m benchmarks cache [--quick] [--out DIR]
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from benchmarks import pictures
from benchmarks.script import Report, Target, options_of
from tts_trio import AudioCache, MemoryCache, RedisCache, SqliteCache, TTSConfig, TTSManager, open_tts
from tts_trio.cli.console import progress
from tts_trio.local_server import ToneVoice, open_local_server

TEXTS = (
    "Здравствуйте, спасибо за звонок! Чем могу помочь?",
    "Hello, and thank you for calling. How can I help?",
    "Одну секунду, пожалуйста.",
    "One moment, please.",
)
_ROUNDS = 100


@attrs.frozen
class Said:
    """One text that was said, in milliseconds from asking.

    Attributes:
        first: Its first piece.
        last: Its last one.
        kept: It came from the cache.
    """

    first: float
    last: float
    kept: bool


async def say(tts: TTSManager, text: str) -> Said:
    """Say a text, as fast as it comes."""
    began = trio.current_time()
    async with tts.stream_static_text(text) as audio:
        await audio.receive()
        first = trio.current_time()
        async for _ in audio:
            pass
    last = trio.current_time()
    return Said(1000 * (first - began), 1000 * (last - began), kept=audio.usage.characters == 0)


async def measure(config: TTSConfig, rounds: int) -> list[Said]:
    """Say the texts, round after round; with a cache they are in it before."""
    async with open_tts(config) as tts:
        if config.audio_cache is not None:
            await tts.prefetch(TEXTS)
        await say(tts, TEXTS[0])
        said: list[Said] = []
        for number in range(rounds):
            said.append(await say(tts, TEXTS[number % len(TEXTS)]))
            await trio.sleep(0.005)
        return said


@contextmanager
def redis_server() -> Generator[str | None]:
    """Run a Redis for as long as the block runs, and give its URL; None: it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


@asynccontextmanager
async def caches() -> AsyncGenerator[dict[str, AudioCache | None]]:
    """Give all there are, by name, and none, which is the service."""
    with tempfile.TemporaryDirectory() as directory, redis_server() as url:
        found: dict[str, AudioCache | None] = {
            "the service, hot": None,
            "memory": MemoryCache(),
            "disk": SqliteCache(Path(directory) / "texts.sqlite3"),
        }
        if url is None:
            yield found
        else:
            await trio.sleep(0.5)  # it starts
            async with RedisCache(url) as redis:
                yield found | {"Redis": redis}


def row(name: str, said: Sequence[Said]) -> dict[str, object]:
    """Return the medians of a place."""
    first = sorted(each.first for each in said)
    return {
        "from": name,
        "texts": len(said),
        "missed": sum(not each.kept for each in said),
        "first piece, ms": statistics.median(first),
        "95 %": first[int(0.95 * len(first))],
        "whole, ms": statistics.median(each.last for each in said),
    }


async def main(options: argparse.Namespace) -> None:
    """Measure, and tell."""
    rounds = _ROUNDS // 5 if options.quick else _ROUNDS
    report = Report("cache", options)
    rows: list[dict[str, object]] = []
    medians: dict[str, float] = {}
    targets: list[Target] = []
    limits = {"memory": 1.0, "disk": 5.0, "Redis": 5.0}
    async with open_local_server(voice=ToneVoice()) as server, caches() as found:
        with progress("cache", len(found)) as advance:
            for name, cache in found.items():
                said = await measure(
                    TTSConfig(api_key="any", voice_id="any", base_url=server.base_url, audio_cache=cache), rounds
                )
                rows.append(row(name, said))
                medians[name] = statistics.median(each.first for each in said)
                if name in limits:
                    targets.append(Target(f"first piece from {name}, ms", medians[name], None, limits[name]))
                advance()
    report.add("Static texts, ms from asking", rows)
    report.add("Targets", (target.row() for target in targets))
    pictures.bars(report.picture(), "A static text, from asking to its first piece, medians", "ms", medians)
    report.write()


if __name__ == "__main__":
    trio.run(main, options_of(__doc__ or "").parse_args())
