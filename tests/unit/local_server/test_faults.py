"""Every fault, as a plain client sees it, and the scheme that says when it strikes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.helpers.plain import (
    ENGLISH,
    RUSSIAN,
    VOICE,
    Reply,
    Town,
    kinds,
    tones,
    town,
)
from tts_trio.local_server import (
    ACTIONS,
    POINTS,
    Behavior,
    CloseReceived,
    Ended,
    Fault,
    Injected,
    Received,
)
from tts_trio.local_server.behavior import Point

SHORT = "Да."


async def say(here: Town, text: str = ENGLISH) -> list[str]:
    """Speak over a WebSocket, and name what came."""
    socket = await here.socket()
    await socket.say(text)
    return kinds(await socket.hear_all())


async def say_on_contexts(here: Town, route: str) -> list[str]:
    """Speak over a WebSocket with contexts, close it a while later, and name what came, as `say` does."""
    if route == "text-to-dialogue":
        socket = await here.dialogue()
        await socket.send({"context_id": "a", "voices": [VOICE]})
        inputs = [{"text": f"{ENGLISH} All aboard, if you please.", "voice_id": VOICE}]
        await socket.send({"context_id": "a", "inputs": inputs, "flush": True})
    else:
        socket = await here.socket(route)
        await socket.send({"context_id": "a", "text": ENGLISH, "flush": True})
    await socket.send({"context_id": "a", "close_context": True})
    heard = await socket.hear_until(10)
    if not heard[-1].end:
        await socket.send({"close_socket": True})
        heard += await socket.hear_all()
    return [kind for kind in kinds(heard) if kind != "turn"]


async def ask(here: Town, text: str = ENGLISH, form: str = "/stream") -> Reply | None:
    return await here.http().speak(text, form)


# ENGLISH gives three audio messages, the tail and isFinal.
# A dialogue has no tail, and so its text is longer by a message.
WHOLE = ["audio"] * 4 + ["final", "close 1000", "eof"]

ON_WEBSOCKETS: list[tuple[Fault, list[str]]] = [
    (Fault("reset", "audio"), ["reset"]),
    (Fault("reset", "audio", frame=1), ["audio", "reset"]),
    (Fault("reset", "final"), ["audio"] * 4 + ["reset"]),
    (Fault("reset", "close"), ["audio"] * 4 + ["final", "reset"]),
    (Fault("eof", "audio", frame=2), ["audio", "audio", "eof"]),
    (Fault("eof", "close"), ["audio"] * 4 + ["final", "eof"]),
    *((Fault("close", "audio", code, 1), ["audio", f"close {code}", "eof"]) for code in (1000, 1001, 1008, 1011, 1013)),
    (Fault("close", "final"), ["audio"] * 4 + ["close 1011", "eof"]),
    (Fault("garbage", "audio", frame=1), ["audio", "close 1002", "eof"]),
    (Fault("skip", "audio", frame=None), ["final", "close 1000", "eof"]),
    (Fault("skip", "audio", frame=1), ["audio"] * 3 + ["final", "close 1000", "eof"]),
    (Fault("skip", "final"), ["audio"] * 4 + ["close 1000", "eof"]),
    (Fault("invalid_json", "audio", frame=1), ["audio", "strange", *WHOLE[1:]]),
    (Fault("bad_base64", "audio", frame=1), ["audio", "audio", *WHOLE[1:]]),
    (Fault("unknown_frame", "final"), [*WHOLE[:4], "other", *WHOLE[4:]]),
    (Fault("binary_frame", "audio"), ["strange", *WHOLE]),
    (Fault("early_final", "audio", frame=1), ["audio", "final", *WHOLE[1:]]),
    (Fault("error_frame", "audio", "system_busy", 1), ["audio", "error", "close 1008", "eof"]),
    (Fault("cut", "audio", frame=1), ["audio", "reset"]),
    (Fault("split", "audio", 1000, None), WHOLE),
    (Fault("trickle", "final", 100), WHOLE),
]


def name(parameter: object) -> str:
    return f"{parameter.action}-{parameter.at}" if isinstance(parameter, Fault) else ""


@pytest.mark.parametrize("route", ["stream-input", "multi-stream-input", "text-to-dialogue"])
@pytest.mark.parametrize(("fault", "wanted"), ON_WEBSOCKETS, ids=name)
async def test_on_websockets(fault: Fault, wanted: list[str], route: str, autojump_clock: MockClock) -> None:
    async with town(fault) as here:
        heard = await (say(here) if route == "stream-input" else say_on_contexts(here, route))
        if route != "stream-input" and wanted[-1] == "reset":
            wanted = [*wanted[: len(heard) - 1], "reset"]  # which takes with it what was not yet read
        assert heard == wanted
        assert next(record for record in here.server.records if isinstance(record, Injected)).fault == fault


async def test_what_is_split_or_slow_is_whole(autojump_clock: MockClock) -> None:
    for fault, text in ((Fault("split", "audio", 7, None), SHORT), (Fault("trickle", "audio", 10_000, None), RUSSIAN)):
        async with town(fault) as here:
            socket = await here.socket()
            await socket.say(text)
            heard = await socket.hear_all()
            assert tones(heard).strip() == text
            if fault.action == "trickle":
                assert heard[0].at > 6.4, "64,000 bytes of base64 at 10,000 a second"


async def test_a_huge_frame(autojump_clock: MockClock) -> None:
    async with town(Fault("huge_frame", "audio")) as here:
        socket = await here.socket()
        await socket.say(SHORT)
        heard = await socket.hear_all()
    assert len(json.dumps(heard[0].message)) == 9 * 2**20
    assert tones(heard).strip() == SHORT


@pytest.mark.parametrize(
    ("at", "frame", "when"), [("audio", 0, 3.075), ("audio", 2, 3.171), ("final", 0, 3.171), ("close", 0, 3.931)]
)
async def test_a_delay(at: Point, frame: int, when: float, autojump_clock: MockClock) -> None:
    async with town(Fault("delay", at, 3, frame)) as here:
        socket = await here.socket()
        await socket.say(ENGLISH)
        heard = await socket.hear_all()
    late = [item.at for item in heard if item.at > 3]
    assert kinds(heard) == WHOLE
    assert late[0] == pytest.approx(when, abs=0.03)


async def test_a_stall_answers_pings_and_a_frozen_peer_does_not(autojump_clock: MockClock) -> None:
    import wsproto.events

    for action, answered in (("delay", True), ("deafen", False), ("freeze", False)):
        async with town(Fault(action, "audio", frame=1)) as here:
            socket = await here.socket()
            await socket.say(ENGLISH)
            await socket.hear()
            with trio.move_on_after(0.5):
                await socket.hear_all()
            await socket.stream.send_all(socket.protocol.send(wsproto.events.Ping()))
            with trio.move_on_after(5) as scope:
                event = await socket._next_event()
                assert isinstance(event, wsproto.events.Pong) == answered
            assert scope.cancelled_caught == (action == "freeze")


async def test_a_frozen_peer_does_not_ping_either(autojump_clock: MockClock) -> None:
    async with town(Fault("freeze", "audio", frame=1), ping_interval=1.0, ping_timeout=2.0) as here:
        socket = await here.socket()
        await socket.say(ENGLISH)
        assert (await socket.hear()).kind == "audio"
        with trio.move_on_after(3600) as scope:
            await socket.hear()
        assert scope.cancelled_caught


async def test_a_window_that_stays_full(autojump_clock: MockClock) -> None:
    async with town(Fault("deafen", "audio")) as here:
        socket = await here.socket()
        await socket.send({"text": SHORT, "flush": True})
        assert (await socket.hear()).kind == "audio", "it goes on writing"
        with trio.move_on_after(1) as scope:
            for _ in range(1000):
                await socket.send({"text": "a" * 1000})
        assert scope.cancelled_caught


async def test_a_deaf_answer(autojump_clock: MockClock) -> None:
    """It is answered, over HTTP and at the upgrade, and what comes after it is not read."""
    async with town(Fault("deafen", "answer")) as here:
        client = here.http()
        reply = await client.speak(RUSSIAN)
        assert reply is not None
        assert reply.complete
        with trio.move_on_after(3600) as scope:
            await client.speak(SHORT)
        assert scope.cancelled_caught
        socket = await here.socket()
        await socket.say(RUSSIAN)
        heard = await socket.hear_all()
        assert heard[0].message["error"] == "input_timeout_exceeded", "as if nothing had been said"
        assert not [record for record in here.server.records if isinstance(record, Received)]


async def test_a_deaf_end(autojump_clock: MockClock) -> None:
    """isFinal and the Close come, and the client's half of the closing handshake is not read."""
    async with town(Fault("deafen", "final")) as here:
        socket = await here.socket()
        await socket.say(ENGLISH)
        heard = await socket.hear_all()
        records = here.server.records
    assert kinds(heard) == WHOLE
    assert heard[-1].at - heard[-2].at == pytest.approx(10.0), "the server gives up waiting"
    assert not [record for record in records if isinstance(record, CloseReceived)]


async def test_a_peer_that_never_answers_the_closing_handshake(autojump_clock: MockClock) -> None:
    import wsproto.events

    async with town(Fault("freeze", "close")) as here:
        socket = await here.socket()
        await socket.stream.send_all(socket.protocol.send(wsproto.events.CloseConnection(1000)))
        with trio.move_on_after(3600) as scope:
            await socket.hear()
        assert scope.cancelled_caught


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_status_at_the_upgrade(status: int, autojump_clock: MockClock) -> None:
    async with town(Fault("status", "answer", status, count=1)) as here:
        socket = await here.socket()
        assert socket.rejection is not None
        assert socket.rejection[0] == status
        assert socket.rejection[2]["detail"]["status"]
        assert await say(here) == WHOLE


async def test_a_status_without_a_body(autojump_clock: MockClock) -> None:
    async with town(Fault("status", "answer", 204, count=1)) as here:
        client = here.http()
        replies = [await client.speak(SHORT) for _ in range(2)]
    assert [(reply.status, bool(reply.body)) for reply in replies if reply] == [(204, False), (200, True)]


async def test_a_slow_answer(autojump_clock: MockClock) -> None:
    async with town(Fault("trickle", "answer", 1000)) as here:
        reply = await ask(here, SHORT)
        assert reply is not None
        assert reply.at > 0.5, "the head has more than 500 bytes"
        began = trio.current_time()
        socket = await here.socket()
        assert trio.current_time() - began > 0.15
        await socket.say(SHORT)
        assert tones(await socket.hear_all()).strip() == SHORT


async def test_a_status_with_its_body_until_eof(autojump_clock: MockClock) -> None:
    async with town(Fault("until_eof", "answer")) as here:
        reply = await ask(here)
        assert reply is not None
        assert reply.status == 401
        assert "content-length" not in reply.headers
        assert "transfer-encoding" not in reply.headers
        assert trio.current_time() == 2.0
        assert reply.json["detail"]["message"] == "Invalid API key"


@pytest.mark.parametrize("action", ["freeze", "delay"])
@pytest.mark.parametrize("at", ["accept", "answer"])
async def test_silence(action: str, at: Point, autojump_clock: MockClock) -> None:
    async with town(Fault(action, at)) as here:
        with trio.move_on_after(3600) as scope:
            await ask(here)
        assert scope.cancelled_caught


@pytest.mark.parametrize("at", ["accept", "answer"])
@pytest.mark.parametrize("action", ["reset", "eof"])
async def test_hanging_up(action: str, at: Point, autojump_clock: MockClock) -> None:
    async with town(Fault(action, at, count=1)) as here:
        stream = here.server.connect(here.nursery)
        await trio.testing.wait_all_tasks_blocked()
        try:
            await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await stream.receive_some() == b""
            seen = "eof"
        except trio.BrokenResourceError:
            seen = "reset"
        assert seen == action or (seen == "reset" and at == "accept"), "after a FIN, what is sent gets an RST"
        assert (await ask(here)) is not None


async def test_a_delayed_accept_and_answer(autojump_clock: MockClock) -> None:
    async with town(Fault("delay", "accept", 1.0), Fault("delay", "answer", 2.0)) as here:
        reply = await ask(here)
        assert reply is not None
        assert reply.at == pytest.approx(3.075)


async def test_garbage_for_an_answer(autojump_clock: MockClock) -> None:
    async with town(Fault("garbage", "answer")) as here:
        assert await ask(here) is None


async def test_nothing_is_written_once_the_client_has_sent_its_close(autojump_clock: MockClock) -> None:
    """What was due while the answer to the Close waited is neither sent nor on the record."""
    import wsproto.events

    async with town(Fault("delay", "close", 0.5)) as here:
        socket = await here.socket()
        await socket.say(RUSSIAN)
        assert (await socket.hear()).kind == "audio"
        await socket.stream.send_all(socket.protocol.send(wsproto.events.CloseConnection(1000)))
        assert kinds(await socket.hear_all()) == ["close 1000", "eof"]
        records = here.server.records
    closing = next(index for index, record in enumerate(records) if isinstance(record, CloseReceived))
    assert [type(record).__name__ for record in records[closing:]] == [
        "CloseReceived",
        "Injected",
        "CloseSent",
        "Ended",
    ]


async def test_the_close_of_both_sides_counts_once_a_socket(autojump_clock: MockClock) -> None:
    """The server's own Close falls due while its answer to the client's waits: both are the same socket's."""
    import wsproto.events

    async with town(Fault("delay", "close", 2.0, count=2)) as here:
        for _ in range(2):
            socket = await here.socket()
            await socket.say(RUSSIAN)
            assert (await socket.hear()).kind == "audio"
            closed_at = trio.current_time()
            await socket.stream.send_all(socket.protocol.send(wsproto.events.CloseConnection(1000)))
            await socket.hear_all()
            assert trio.current_time() - closed_at == pytest.approx(2.0)


async def test_429_and_then_good(autojump_clock: MockClock) -> None:
    async with town(Fault("status", "answer", 429, count=1)) as here:
        client = here.http()
        replies = [await client.speak(ENGLISH) for _ in range(2)]
    assert [reply.status for reply in replies if reply] == [429, 200]


async def test_a_wrong_content_type_and_an_error_with_status_200(autojump_clock: MockClock) -> None:
    async with town(Fault("content_type", "answer", count=1), Fault("error_200", "answer", skip=1)) as here:
        wrong, error = await ask(here), await ask(here)
        assert wrong is not None
        assert error is not None
        assert (wrong.status, wrong.headers["content-type"]) == (200, "text/html")
        assert (error.status, error.headers["content-type"]) == (200, "application/json")
        assert error.json["detail"]["status"] == "internal_error"


@pytest.mark.parametrize(("at", "frame"), [("audio", 2), ("final", 0)])
@pytest.mark.parametrize("action", ["reset", "cut", "eof", "close"])
async def test_a_body_that_is_cut_short(action: str, at: Point, frame: int, autojump_clock: MockClock) -> None:
    async with town(Fault(action, at, frame=frame)) as here:
        reply = await ask(here)
    assert reply is not None
    assert reply.status == 200
    assert reply.parts
    assert not reply.complete


@pytest.mark.parametrize("form", ["", "/with-timestamps"])
async def test_a_cut_behind_a_body_of_known_length(form: str, autojump_clock: MockClock) -> None:
    """Nothing is left to be cut in half; the connection is reset all the same."""
    async with town(Fault("cut", "final", count=1)) as here:
        first, second = await here.http().speak(RUSSIAN, form), await here.http().speak(RUSSIAN, form)
        records = here.server.records
    assert first is None or not first.complete
    assert second is not None
    assert second.complete
    assert next(record.by for record in records if isinstance(record, Ended)) == "server"


async def test_a_body_with_a_piece_missing_or_slow_or_in_small_chunks(autojump_clock: MockClock) -> None:
    async with town() as here:
        good = await ask(here)
    assert good is not None
    bodies: dict[str, Reply] = {}
    for action, value in (("skip", None), ("trickle", 1000), ("split", 10), ("delay", 4)):
        async with town(Fault(action, "audio", value, 1)) as here:
            reply = await ask(here)
            assert reply is not None
            assert reply.complete
            bodies[action] = reply
    assert (
        bodies["skip"].body == good.body[: len(good.parts[0][1])] + good.body[sum(len(p) for _, p in good.parts[:2]) :]
    )
    assert all(bodies[action].body == good.body for action in ("trickle", "split", "delay"))
    assert len(bodies["split"].parts) > len(good.parts) + 20
    assert bodies["trickle"].parts[-1][0] - bodies["trickle"].at > 1
    assert bodies["delay"].parts[1][0] - bodies["delay"].at == pytest.approx(4, abs=0.2)


async def test_bad_lines_among_the_timestamps(autojump_clock: MockClock) -> None:
    async with town(Fault("invalid_json", "audio"), Fault("bad_base64", "audio", frame=1)) as here:
        reply = await ask(here, RUSSIAN, "/stream/with-timestamps")
    assert reply is not None
    lines = reply.body.splitlines()
    with pytest.raises(ValueError):
        json.loads(lines[0])
    assert json.loads(lines[2])["audio"].startswith("@@")
    assert [b"audio_base64" in line for line in lines] == [False, True, False, True]


async def test_a_bad_line_before_the_end_of_a_body(autojump_clock: MockClock) -> None:
    async with town(Fault("invalid_json", "final")) as here:
        reply = await ask(here, RUSSIAN, "/stream/with-timestamps")
    assert reply is not None
    assert reply.complete
    *lines, last = reply.body.splitlines()
    assert all("audio_base64" in json.loads(line) for line in lines)
    with pytest.raises(ValueError):
        json.loads(last)


# --- the scheme


async def test_counting(autojump_clock: MockClock) -> None:
    """The second and third utterances, and no other."""
    async with town(Fault("reset", "audio", frame=1, skip=1, count=2)) as here:
        assert [(await say(here))[-1] for _ in range(5)] == ["eof", "reset", "reset", "eof", "eof"]


async def test_all_messages_of_one_utterance(autojump_clock: MockClock) -> None:
    """`count` counts utterances, not their messages."""
    async with town(Fault("skip", "audio", frame=None, count=1)) as here:
        assert [await say(here) for _ in range(2)] == [["final", "close 1000", "eof"], WHOLE]


@pytest.mark.parametrize(
    ("path", "struck"),
    [
        ("/stream-input", ["stream-input", "dialogue stream-input"]),
        ("stream-input", ["stream-input", "dialogue stream-input"]),
        ("multi-stream-input", ["multi-stream-input", "dialogue multi-stream-input"]),
        ("text-to-dialogue/stream-input", ["dialogue stream-input"]),
        ("/stream", ["stream"]),
        ("eam", []),
    ],
)
async def test_only_on_this_path(path: str, struck: list[str], autojump_clock: MockClock) -> None:
    """Whole segments count: "stream-input" is not the end of "multi-stream-input"."""
    async with town(Fault("status", "answer", 500, path=path)) as here:
        reply = await ask(here)
        refused = ["stream"] if reply and reply.status == 500 else []
        for route in ("stream-input", "multi-stream-input"):
            refused += [route] if (await here.socket(route)).rejection else []
            refused += [f"dialogue {route}"] if (await here.dialogue(route)).rejection else []
    assert sorted(refused) == sorted(struck)


async def test_a_seeded_probability(autojump_clock: MockClock) -> None:
    async def play(seed: int) -> list[str]:
        async with town(Fault("reset", "audio", probability=0.5, seed=seed)) as here:
            return [(await say(here, SHORT))[-1] for _ in range(20)]

    first = await play(1)
    assert first == await play(1)
    assert first != await play(2)
    assert 3 < first.count("reset") < 17


async def test_faults_of_a_moment_come_in_their_order(autojump_clock: MockClock) -> None:
    faults = [Fault("unknown_frame", "audio"), Fault("delay", "audio", 2), Fault("close", "audio", 1013)]
    async with town(*faults) as here:
        socket = await here.socket()
        await socket.say(SHORT)
        heard = await socket.hear_all()
    assert [(item.kind, round(item.at, 3)) for item in heard] == [
        ("other", 0.075),
        ("close 1013", 2.075),
        ("eof", 2.075),
    ]


async def test_new_behavior_counts_anew(autojump_clock: MockClock) -> None:
    behavior = Behavior(faults=(Fault("status", "answer", 500, count=1),))
    async with town() as here:
        client = here.http()
        statuses: list[int] = []
        for _ in range(2):
            here.server.behavior = behavior
            for _ in range(2):
                reply = await client.speak(SHORT)
                assert reply is not None
                statuses.append(reply.status)
    assert statuses == [500, 200, 500, 200]


@pytest.mark.parametrize(
    ("action", "at", "value"),
    [
        ("explode", "audio", None),
        (["reset"], "audio", None),
        ("reset", "lunch", None),
        ("status", "audio", None),
        ("reset", "audio", 3),
        ("close", "audio", "x"),
        ("close", "audio", 1006),
        ("close", "audio", 70_000),
        ("status", "answer", 101),
        ("status", "answer", 1000),
        ("delay", "audio", -1),
        ("delay", "audio", math.nan),
        ("trickle", "audio", 0),
        ("trickle", "audio", math.inf),
        ("split", "audio", -1),
    ],
)
def test_wrong_faults(action: Any, at: Point, value: float | str | None) -> None:
    with pytest.raises(ValueError):
        Fault(action, at, value)


def test_defaults() -> None:
    assert Fault("delay", "audio").value == math.inf
    assert all(point in POINTS for action in ACTIONS.values() for point in action.points)
