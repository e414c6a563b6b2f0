"""The hostile server itself: it does what it says it does, and is honest where it says so."""

from __future__ import annotations

import json
import math
import random
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from tests.hostile.faults import Fault, Faults
from tests.hostile.http_peer import answer
from tests.hostile.peer import Asked
from tests.hostile.script import script_of
from tests.hostile.server import HostileServer

HOSTILE = next(script for script in map(script_of, range(50)) if not script.tls and len(script.conversations) == 1)


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_connection_that_is_ended_ends_at_once(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client learns of it, and need not wait for a timeout."""
    fault = Fault("hang up", 0, 0, 0.0, how)
    monkeypatch.setattr(Faults, "draw", lambda *_: (fault, random.Random(1)))
    server = HostileServer(HOSTILE, ssl.create_default_context())
    thread: Any = SimpleNamespace(token=trio.lowlevel.current_trio_token())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, thread)
        await trio.testing.wait_all_tasks_blocked()
        server._thread = thread
        client = await trio.open_tcp_stream("127.0.0.1", server.port)
        with trio.fail_after(5):
            try:
                assert await client.receive_some() == b""
            except trio.BrokenResourceError:
                assert how == "reset"
        await client.aclose()
        server.finish()
    assert (server.left_open, server.errors) == ([], [])


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("text", ["Himquo стака kalu dendenve?", "Да"])
async def test_an_honest_answer_pauses_behind_half_a_second_of_sound_only(
    autojump_clock: trio.testing.MockClock, text: str, timed: bool
) -> None:
    """However it is cut into chunks: the first sound is owed within a tenth of a second, then a quarter of one."""
    path = f"/v1/text-to-speech/v/stream{'/with-timestamps' if timed else ''}?output_format=pcm_16000"
    asked = Asked("POST", path, {}, json.dumps({"text": text}).encode())
    for seed in range(100):
        sent: list[bytes] = []

        async def send(data: bytes, sent: list[bytes] = sent) -> None:
            sent.append(data)

        prompt = SimpleNamespace(thinks=lambda _: 0.0)
        server = SimpleNamespace(
            requests=0, note=print, faults=prompt, draw=lambda *_, seed=seed, **__: (None, random.Random(seed))
        )
        peer: Any = SimpleNamespace(server=server, number=1, key="k", send=send)
        began = trio.current_time()
        await answer(peer, asked, 1)
        assert trio.current_time() - began <= 0.005 * math.ceil(len(text) / 8) + 1e-9
        assert len(b"".join(sent)) > 60 * 32 * len(text)
