"""Draws the call as an HTML page, in one file that loads nothing else."""

from __future__ import annotations

import base64
import json
from importlib import resources

from tts_trio.cli.demo.line import Line, peaks
from tts_trio.cli.demo.score import Score

_PLACE = "/* the call */ null"
_PEAK_SECONDS = 0.01


def draw(score: Score, line: Line) -> str:
    """Return the page, with the audio in it."""
    template = resources.files("tts_trio.cli.demo").joinpath("page.html").read_text(encoding="utf-8")
    samples = round(line.sample_rate * _PEAK_SECONDS)
    call = score.to_json() | {
        "peak_seconds": _PEAK_SECONDS,
        "caller_peaks": peaks(bytes(line.caller.played), samples),
        "agent_peaks": peaks(bytes(line.agent.played), samples),
        "sound": f"data:audio/wav;base64,{base64.b64encode(line.wav()).decode('ascii')}",
    }
    # "</" would end the script element that holds the call.
    return template.replace(_PLACE, json.dumps(call, ensure_ascii=False).replace("</", "<\\/"))
