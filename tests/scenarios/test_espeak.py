"""eSpeak NG in a process of its own: what would crash it, and where it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run(script: str, *arguments: str | Path) -> list[int]:
    """The numbers that a script prints."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [int(line) for line in done.stdout.split()]


def test_what_crashes_espeak_does_not_reach_it() -> None:
    script = """if True:
        from tts_trio.local_server.espeak import EspeakVoice
        for text, code in (("©orl", "pt"), ("»-p", "vi"), ("⒎-眞", "mr")):
            speech = EspeakVoice().speak(text, language_code=code, speed=1, sample_rate=8000)
            print(len(speech.samples))
    """
    sizes = run(script)
    assert len(sizes) == 3
    assert min(sizes) > 1000


def test_it_starts_from_a_deep_folder(tmp_path: Path) -> None:
    script = """if True:
        import sys
        from pathlib import Path
        import espeakng_loader
        deep = Path(sys.argv[1], "x" * 150, "espeak-ng-data")
        deep.parent.mkdir()
        deep.symlink_to(espeakng_loader.get_data_path())
        espeakng_loader.get_data_path = lambda: str(deep)
        from tts_trio.local_server.espeak import EspeakVoice
        speech = EspeakVoice().speak("Да", language_code=None, speed=1, sample_rate=8000)
        print(len(speech.samples))
    """
    [size] = run(script, tmp_path)
    assert size > 5000
