"""The cache in a file: other processes write to it and are killed, and it is damaged."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.helpers import heard, listen, make_config, posts
from tts_trio import SqliteCache, Timeouts, open_tts
from tts_trio.local_server import Behavior, ToneVoice, open_local_server

_WRITER = """
import sys, trio
from tts_trio.static_text.sqlite_cache import SqliteCache

async def main():
    cache = SqliteCache(sys.argv[1])
    number = 0
    while number < int(sys.argv[3]):
        await cache.put(f"{sys.argv[2]} {number}", number.to_bytes(4, "big") * 20_000)
        number += 1
        print(number, flush=True)

trio.run(main)
"""


def write(path: Path, name: str, times: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WRITER, str(path), name, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


async def test_processes_share_a_file_and_one_may_be_killed(tmp_path: Path) -> None:
    path = tmp_path / "phrases.sqlite3"
    with write(path, "killed", 10**6) as killed, write(path, "a", 30) as one, write(path, "b", 30) as other:
        assert killed.stdout is not None
        for _ in range(10):
            killed.stdout.readline()
        killed.send_signal(signal.SIGKILL)
        assert one.wait(30) == other.wait(30) == 0
    cache = SqliteCache(path)  # as after a restart
    for name in "ab":
        for number in range(30):
            assert await cache.get(f"{name} {number}") == number.to_bytes(4, "big") * 20_000
    assert (await cache.statistics()).entries >= 70


async def test_a_file_that_was_damaged_costs_no_phrase(tmp_path: Path) -> None:
    path = tmp_path / "phrases.sqlite3"
    cache = SqliteCache(path)
    seeded = random.Random(6)
    text = "Да."
    async with open_local_server(Behavior(model_latency=0.01, speed=500.0), voice=ToneVoice()) as server:
        config = make_config(base_url=server.base_url, audio_cache=cache, timeouts=Timeouts(cache=5.0))
        async with open_tts(config) as tts:

            async def hear() -> str:
                async with tts.stream_static_text(text) as audio:
                    return heard(await listen(audio), config)

            assert await hear() == text
            with trio.fail_after(5):
                while (await cache.statistics()).entries == 0:  # noqa: ASYNC110 - a cache tells nobody
                    await trio.sleep(0.005)
            assert await hear() == text
            assert len(posts(server)) == 1
            whole = path.read_bytes()
            for damaged in [b"", b"x" * 5000, whole[:3000], whole[: len(whole) // 2]]:
                path.write_bytes(damaged)
                assert await hear() == text
            for _ in range(30):
                flipped = bytearray(whole)
                for _ in range(seeded.randint(1, 200)):
                    flipped[seeded.randrange(len(flipped))] ^= 1 << seeded.randrange(8)
                path.write_bytes(flipped)
                assert await hear() == text
