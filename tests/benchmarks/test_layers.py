"""The script of the layers: what it makes of its times, and in small over a real socket."""

from __future__ import annotations

import pytest
import trio

from benchmarks.layers import layers, measure
from tts_trio.cli.console import progress


def test_the_layers_add_up_to_the_whole_way() -> None:
    found = layers({"TLS": 10.0, "WebSocket": 30.0, "decoding": 5.0, "utterance": 15.0, "all": 60.0})
    assert found == {
        "TLS": 10.0,
        "WebSocket": 20.0,
        "decoding": 5.0,
        "utterance": 15.0,
        "channel": 10.0,
        "all": 60.0,
    }


@pytest.mark.parametrize("output_format", ["pcm_16000", "ulaw_8000"])
def test_a_message_costs_less_than_a_millisecond(output_format: str) -> None:
    with progress("layers", 1) as advance:
        rows = trio.run(measure, output_format, 1, advance)
    assert [row["layer"] for row in rows] == ["TLS", "WebSocket", "decoding", "utterance", "channel", "all"]
    for row in rows:
        assert isinstance(row["µs"], float)
        assert row["µs"] < 1000  # a layer is a difference of two, which a busy machine may make negative
    assert rows[-1]["µs"] == pytest.approx(sum(row["µs"] for row in rows[:-1]), abs=1)
    assert rows[-1]["µs"] > 0
