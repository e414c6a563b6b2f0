"""The rules themselves: what the sound of an utterance says about its text."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from tests.hostile.faults import Fault
from tests.hostile.peer import Asked, Peer
from tests.hostile.rules import is_excused, listen_for, poison
from tests.hostile.run import Loop, Report, _Seed, _Told, _Utterance
from tests.hostile.script import OPENINGS, Listening, Saying, script_of
from tests.hostile.server import Written
from tests.hostile.socket_peer import _Socket
from tests.hostile.voice import sound_of
from tts_trio import TTSConfig

TEXT = "Доброе утро — how are you? Ваш заказ готов."


def connected(**methods: Callable[[Any], Awaitable[Any]]) -> Any:
    """The stream of a client at port 7."""
    return SimpleNamespace(socket=SimpleNamespace(getpeername=lambda: ("127.0.0.1", 7)), **methods)


def speaker(peer: Peer) -> _Socket:
    """A WebSocket of `stream-input` on which nothing was said."""
    asked = Asked("GET", "/v1/text-to-speech/v/stream-input?output_format=pcm_8000", {}, b"")
    return _Socket(peer, asked, random.Random(1))


@pytest.mark.parametrize(
    ("sound", "whole"),
    [
        ("", 0),
        ("Добр", 0),
        ("Доброе", 1),
        (TEXT, 8),
        ("Доброе утро — how are you Ваш заказ готов", 8),  # marks may be cut
        ("Доброе утhow are you", 1),
        ("Доброе утутутро — how", 3),  # a word that was cut begins anew, as often as it is cut
        ("Доброе утро — how are yoyou? Вашзаказ гоготов.", 8),
    ],
)
def test_what_may_be_heard(sound: str, whole: int) -> None:
    heard = listen_for(TEXT, sound)
    if sound.startswith("Доброе утhow"):
        assert "only 2 characters" in heard.wrong
    else:
        assert (heard.wrong, heard.whole) == ("", whole)


@pytest.mark.parametrize(
    ("sound", "says"),
    [
        ("Доброе Доброе утро", "was said again"),
        ("Доброе утро how are are you", "was said again"),
        ("Доброе how", "did not"),
        ("Доброе утро Ваш", "did not"),
        ("Доброе уhow", "only 1 characters"),
        ("другие слова", "words of something else"),
        (f"Доброе {poison(7)} утро", "nobody asked for"),
        (TEXT + " Ваш", "again"),
        ("утро — how", "did not"),
    ],
)
def test_what_may_not_be_heard(sound: str, says: str) -> None:
    assert says in listen_for(TEXT, sound).wrong


def test_without_times_some_words_may_be_said_again() -> None:
    assert listen_for(TEXT, "Доброе утро — how how are", again=1).wrong == ""
    assert listen_for(TEXT, "Доброе утро — how утро — how are", again=1).again == 1
    assert listen_for(TEXT, "Доброе утро — how how how are", again=1).wrong
    assert listen_for(TEXT, "Доброе утро — how are you Доброе", again=1).wrong
    assert listen_for(TEXT, "Доброе утро — are", again=5).wrong


def test_a_script_is_repeatable_and_repeats_no_word() -> None:
    """Openings aside, which several replies may begin with."""
    for seed in range(50):
        assert script_of(seed) == script_of(seed)
        texts = {saying.text for conversation in script_of(seed).conversations for saying in conversation.sayings}
        for opening in (*OPENINGS, "".join(OPENINGS)):
            texts = {text.removeprefix(opening) for text in texts}
        words = [word.strip(".,!?").lower() for text in texts for word in text.split() if word != "—"]
        assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("sound", "crossed", "excused"),
    [
        ("отрава4007Жофо", {poison(4007)}, True),
        ("отрава4007отрава4007", {poison(4007)}, True),
        ("Доброе отрава40", {poison(4007)}, True),  # it was left, or lost, in the middle
        ("отра", {poison(4007), poison(1)}, True),
        ("отрава4007", set(), False),
        ("отрава5001", {poison(4007)}, False),
        ("отрава4007отрава5001", {poison(4007)}, False),
        ("Доброе Доброе", {poison(4007)}, False),
    ],
)
def test_only_what_crossed_a_request_excuses_what_nobody_asked_for(
    sound: str, crossed: set[str], excused: bool
) -> None:
    """Nothing in the protocol tells it from the answer; all else that is wrong with a sound stays wrong."""
    assert is_excused(sound, crossed) == excused
    assert listen_for(TEXT, sound).wrong


@pytest.mark.parametrize("own", ["pcm_16000", "pcm_8000", "ulaw_8000"])
def test_what_nobody_asked_for_is_heard_in_any_format(own: str) -> None:
    """On a connection of which nothing is known it is said in the format of the first conversation."""
    utterance = _Utterance("Доброе утро", unasked_format="ulaw_8000")
    utterance.sound += sound_of("Доброе", own) + sound_of(poison(1), "ulaw_8000")
    config = TTSConfig(api_key="k", voice_id="v", output_format=own)
    assert utterance.text_heard(config) == "Доброеотрава1"
    assert "nobody asked for" in utterance.heard(config, again=0).wrong


@pytest.mark.parametrize(("read", "crossed"), [(99, {poison(1)}), (100, set())])
async def test_a_request_that_nobody_reads_any_more_crosses_too(read: int, crossed: set[str]) -> None:
    """The server ends, as in a restart, before it reads what the client wrote."""

    async def receive_some(_most: int) -> bytes:
        await trio.sleep_forever()

    server: Any = SimpleNamespace(
        writes={7: deque([Written(5, read)])},
        crossed=set(),
        note=print,
        draw=lambda *_which, **_key: (None, None),
        script=SimpleNamespace(tls=False),
    )
    peer = Peer(server, connected(receive_some=receive_some), 1)
    peer.poisoned(poison(1), 100)
    with trio.move_on_after(0):
        await peer.serve()
    assert server.crossed == crossed


async def test_only_what_the_client_had_not_read_when_it_asked_crossed_that() -> None:
    """However late the server is to read it: what the client read and wrote after that does not count."""

    async def receive_some(_most: int) -> bytes:
        return b"askedlater"

    server: Any = SimpleNamespace(writes={7: deque([Written(5, 99), Written(10, 200)])}, crossed=set(), note=print)
    peer = Peer(server, connected(receive_some=receive_some), 1)
    peer.poisoned(poison(1), 100)
    peer.poisoned(poison(2), math.inf)  # it waits to be sent
    assert await peer.receive() == b"asked"
    peer.asks()
    assert server.crossed == {poison(1), poison(2)}
    server.crossed.clear()
    assert await peer.receive() == b"later"
    peer.asks()
    assert server.crossed == {poison(2)}


async def test_what_waits_to_be_sent_is_crossed_by_what_is_read_meanwhile() -> None:
    """The server gets no processor for a while: what it is about to say has not been said yet."""

    async def send_all(data: bytes) -> None:
        peer.asks()  # another task reads a text that was written long ago
        assert (len(data), server.crossed) == (len(data), {poison(4001)})

    server: Any = SimpleNamespace(
        writes={}, crossed=set(), note=print, draw=lambda *_, **__: (Fault("speak", 0, 0, 0.0), None)
    )
    peer = Peer(server, connected(send_all=send_all), 1)
    peer._read_there = 10**6
    await speaker(peer)._be_idle()
    assert peer._poisons == {poison(4001): peer.sent}


async def test_nothing_is_said_unasked_once_there_is_a_text() -> None:
    """Though the time for it comes in the turn in which the text is read: behind it, it would be an answer."""
    said: list[bytes] = []

    async def send_all(data: bytes) -> None:
        said.append(data)

    server: Any = SimpleNamespace(draw=lambda *_, **__: (Fault("speak", 0, 0, 0.0), None))
    peer = Peer(server, connected(send_all=send_all), 1)
    socket = speaker(peer)
    socket._begun.set()
    await socket._be_idle()
    assert (said, peer._poisons) == ([], {})


@pytest.mark.parametrize("reads", ["always", "again", "never"])
async def test_what_nobody_reads_crosses_nothing(reads: str) -> None:
    """Where the loop has looked often enough, what came could have been known."""
    tcp, far = trio.testing.memory_stream_pair()
    tcp.socket = SimpleNamespace(getsockname=lambda: ("127.0.0.1", 7))  # type: ignore[attr-defined]
    server: Any = SimpleNamespace(writes={})
    loop: Any = SimpleNamespace(has_seen=0.0)
    told = _Told(tcp, server, loop)
    async with trio.open_nursery() as nursery:
        if reads != "never":
            await far.send_all(b"poison")
            assert await told.receive_some() == b"poison"
        loop.has_seen = time.perf_counter()
        if reads == "again":
            nursery.start_soon(told.receive_some)
            await trio.testing.wait_all_tasks_blocked()
        elif reads == "always":
            loop.has_seen = 0.0
        await told.send_all(b"text")
        nursery.cancel_scope.cancel()
    assert list(server.writes[7]) == [Written(4, math.inf if reads == "never" else 6)]


def test_the_loop_is_known_to_have_stood_still_in_the_same_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is judged in the turn in which another blocked the loop is excused, too."""
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    loop = Loop()
    now += 0.02
    assert (loop.was_late(99), loop.excused(99, 1)) == (False, 0)
    now += 0.02  # it has been 40 ms since it looked
    assert loop.was_late(99)
    assert loop.excused(99, 1) == pytest.approx(1.08)
    loop.before_io_wait(0.5)
    now += 0.4  # something came earlier
    loop.after_io_wait(0.5)
    assert loop.excused(99, 1) == pytest.approx(1.08)
    assert not loop.was_late(now)
    loop.before_io_wait(0.01)
    now += 0.06  # and now it got no processor for 50 ms
    loop.after_io_wait(0.01)
    assert loop.excused(now - 0.01, 1) == pytest.approx(1.1)
    assert loop.excused(99, 5) == pytest.approx(2.18)
    assert loop.excused(99, 1) == pytest.approx(1.18)  # it waited for one peer, however often the loop stood still


@pytest.mark.parametrize("crossed", [True, False])
async def test_what_was_heard_on_the_good_server_is_judged_when_all_has_been_read(crossed: bool) -> None:
    """The server may read a request, and note what crossed it, after the client took that for its answer."""
    server: Any = SimpleNamespace(crossed=set(), untimed=[], unasked_format="pcm_8000", was_late=lambda _since: False)
    report = Report(1)
    seed = _Seed(script_of(1), report, server, Loop())

    @asynccontextmanager
    async def say(_text: object) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def sound() -> AsyncIterator[bytes]:
            yield sound_of(poison(4002), "pcm_8000")

        yield sound()

    tts: Any = SimpleNamespace(
        config=TTSConfig(api_key="k", voice_id="v", output_format="pcm_8000"), speak=say, stream_static_text=say
    )
    await seed._be_served_well(0, tts)
    assert report.faults == []
    if crossed:
        server.crossed.add(poison(4002))
    seed._judge_sounds()
    assert len(report.faults) == (0 if crossed else 2)


@pytest.mark.parametrize(
    ("kind", "flooded", "seconds"),
    [("eager", False, 0.0), ("paced", False, 0.56), ("eager", True, 18.0), ("paced", True, 18.0)],
)
def test_a_flood_takes_as_long_as_it_may_sound(kind: Any, flooded: bool, seconds: float) -> None:
    """However it is read: what is far ahead of the listener is not taken."""
    conversation = script_of(1).conversations[0]
    saying = attrs.evolve(conversation.sayings[0], text="Фобаста.", listening=Listening("eager"))
    server: Any = SimpleNamespace(flooded=set(), unasked_format="pcm_8000")
    seed = _Seed(script_of(1), Report(1), server, Loop())

    def allowed(saying: Saying) -> float:
        return seed._allowed(TTSConfig(api_key="k", voice_id="v"), conversation, saying, seed._utterance(saying.text))

    least = allowed(saying)
    server.flooded |= {saying.text} if flooded else set()
    assert allowed(attrs.evolve(saying, listening=Listening(kind))) - least == pytest.approx(seconds)
