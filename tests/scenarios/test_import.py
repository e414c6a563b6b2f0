"""`import tts_trio` is quick, and loads what it needs late: an orchestrator's workers start often."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

_MEASURE = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"


# As installed: with byte code, which pip writes for what it installs and Python for a checkout at the first run.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _seconds(module: str) -> float:
    command = [sys.executable, "-c", _MEASURE.format(module)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_ENVIRONMENT)
    return float(done.stdout)


def _printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_import_takes_at_most_1_6_times_what_trio_takes() -> None:
    ratios: list[float] = []
    while len(ratios) < 9 or (statistics.median(ratios) > 1.6 and len(ratios) < 30):  # other tests run beside this one
        ratios.append(_seconds("tts_trio") / _seconds("trio"))  # what disturbs both of a pair is in neither's favor
    assert statistics.median(ratios) <= 1.6, ratios


def test_what_the_websocket_path_does_not_need_is_loaded_late() -> None:
    late = (
        "httpx", "httpcore", "trio_websocket", "msgspec", "anyio", "sentencex", "av", "opentelemetry",
        "tts_trio.local_server",
    )  # fmt: skip
    code = f"import sys, tts_trio; print([name for name in {late} if name in sys.modules])"
    assert _printed(code) == "[]"


def test_tones_in_pcm_do_not_load_pyav() -> None:
    code = (
        "import sys; from tts_trio.local_server.encoding import Encoder; from tts_trio.local_server import tone;"
        "e = Encoder('pcm_8000'); assert e.encode(b'12', 8000) + e.flush() == b'12'; print('av' in sys.modules)"
    )
    assert _printed(code) == "False"


SPEAK_WITHOUT = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
import trio.testing
from tests.helpers import *

async def main():
    async with memory_service() as service, speaking(make_config(language_code='en'), service.open_stream) as tts:
        async with tts.speak([ENGLISH]) as audio:
            await listen(audio)
    print(audio.outcome.end)

trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
"""


def test_it_speaks_without_opentelemetry() -> None:
    assert _printed(SPEAK_WITHOUT) == "finished"
