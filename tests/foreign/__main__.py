"""Run the foreign clients: `python -m tests.foreign [NAME…]`; a line each says what it did, and what was heard.

Environments are made once, outside of the source tree: those of Python as the benchmarks' (`benchmarks/peers.py`), and
npm's in the same cache. `npm` and `chromium` are the system's.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from benchmarks.peers import PEERS, environment
from tts_trio.local_server import ToneVoice, open_local_server, read_tones

TEXT = "Утренний поезд отправляется с девятого пути. The morning train leaves from platform nine."
SECONDS_A_CHARACTER = 0.06  # ToneVoice's
JAVASCRIPT_SDK = "@elevenlabs/elevenlabs-js@2.73.0"
HERE = Path(__file__).parent


def python(requirement: str, script: str) -> Callable[[], list[str]]:
    return lambda: [environment(requirement), str(HERE / script)]


def node() -> list[str]:
    """A module is looked for beside the script, so the script is copied there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    directory = cache / "tts_trio" / "npm"
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["npm", "install", "--silent", "--prefix", directory, JAVASCRIPT_SDK], check=True)
    return ["node", str(shutil.copy(HERE / "javascript_sdk.mjs", directory))]


CLIENTS: dict[str, Callable[[], list[str]]] = {
    "livekit": python(PEERS["livekit"].requirement, "livekit_plugin.py"),
    "videosdk": python("videosdk-plugins-elevenlabs==1.0.30", "videosdk_plugin.py"),
    "mcp": python("elevenlabs-mcp==0.12.2", "mcp_server.py"),
    "javascript": node,
    "browser": lambda: [sys.executable, str(HERE / "browser.py")],
}


def judge(line: dict[str, Any]) -> str:
    """Say what is wrong with a thing that a client did, or nothing."""
    if "audio" in line:
        heard = " ".join(read_tones(base64.b64decode(line["audio"]), line["format"]).split())
        return "" if heard == TEXT else f"heard {heard!r}"
    if "seconds" in line:
        wanted = len(TEXT) * SECONDS_A_CHARACTER
        return "" if abs(line["seconds"] - wanted) < 0.5 else f"{line['seconds']:.2f} s where {wanted:.2f} s are due"
    return ""


async def run(name: str, base_url: str) -> bool:
    """Run one client, and print a line; False: something is wrong."""
    command = await trio.to_thread.run_sync(CLIENTS[name])
    done = await trio.run_process(
        [*command, base_url],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, "TEXT": TEXT, "ELEVENLABS_API_KEY": "any"},
    )
    lines = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
    wrong = [f"{line['did']}: {fault}" for line in lines if (fault := judge(line))]
    if done.returncode or not lines:
        wrong.append(f"exit status {done.returncode}: {done.stderr.decode()[-2000:].strip()}")
    print(f"{name}: {'FAILED' if wrong else 'ok'}: {', '.join(line['did'] for line in lines)}", flush=True)
    for fault in wrong:
        print(f"  {fault}", flush=True)
    return not wrong


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.foreign", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CLIENTS)}; none: all of them")
    names = parser.parse_args().names or list(CLIENTS)
    if unknown := set(names) - set(CLIENTS):
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(CLIENTS)}")
    async with open_local_server(voice=ToneVoice()) as server:
        good = [await run(name, server.base_url) for name in names]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(trio.run(main))
