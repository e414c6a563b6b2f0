"""`tts-trio serve`: its arguments, its help, its log, its TLS."""

from __future__ import annotations

import argparse
import json
import re
import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.local_server.plain import ENGLISH, PlainHTTP
from tts_trio.cli import main
from tts_trio.local_server import ACTIONS, POINTS, Behaviour, Fault, read_tones
from tts_trio.local_server.command import parse, parse_behaviour, parse_fault, parser, serve


def test_the_help_lists_everything() -> None:
    text = parser().format_help()
    for name in [field.name for field in attrs.fields(Behaviour) if field.name != "faults"]:
        assert f"  {name}=" in text
    for name in ACTIONS:
        assert f"  {name}@" in text
    for name in POINTS:
        assert f"  {name}: " in text


def test_behaviour() -> None:
    arguments = [
        "model_latency=0.3",
        "api_keys=one,two",
        "quota=100",
        "slot_freed_on_close=false",
        "alignment=absent",
        "max_age=none",
    ]
    options = parser().parse_args([word for argument in arguments for word in ("--behaviour", argument)])
    assert parse_behaviour(options.behaviour, []) == Behaviour(
        model_latency=0.3,
        api_keys=("one", "two"),
        quota=100,
        slot_freed_on_close=False,
        alignment="absent",
        max_age=None,
    )


@pytest.mark.parametrize("pair", [("spede", "1"), ("speed", "0"), ("speed", "fast"), ("alignment", "odd")])
def test_wrong_behaviour(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=re.escape(pair[0])):
        parse_behaviour([pair], [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reset@audio", Fault("reset", "audio")),
        ("reset@audio,frame=2,skip=1,count=1", Fault("reset", "audio", frame=2, skip=1, count=1)),
        ("status@answer,value=429,path=/stream", Fault("status", "answer", 429, path="/stream")),
        ("skip@audio,frame=none", Fault("skip", "audio", frame=None)),
        ("delay@final,value=inf,probability=0.5,seed=3", Fault("delay", "final", probability=0.5, seed=3)),
        ("content_type@answer,value=text/plain", Fault("content_type", "answer", "text/plain")),
    ],
)
def test_fault(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parser().parse_args(["--fault", text]).fault == [fault]


@pytest.mark.parametrize(
    "text", ["reset", "explode@audio", "reset@lunch", "reset@audio,odd=1", "status@audio", "a@b,c"]
)
def test_wrong_fault(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_fault(text)


async def test_serving_with_tls_a_log_and_a_fault(tmp_path: Path) -> None:
    log, ca = tmp_path / "log.jsonl", tmp_path / "ca.pem"
    words = ["--port", "0", "--voice", "tone", "--log", str(log), "--tls", str(ca), "--fault", "status@answer,count=1"]
    to_say, said = trio.open_memory_channel[str](1)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await serve(parse(words), to_say.send_nowait)

        nursery.start_soon(run)
        with trio.fail_after(5):
            introduction = await said.receive()
        match = re.search(r"https://127\.0\.0\.1:(\d+)", introduction)
        assert match
        assert f'ElevenLabs(api_key="any", base_url="{match[0]}")' in introduction
        assert f'TTSConfig(api_key="any", voice_id="any", base_url="{match[0]}")' in introduction
        assert str(ca) in introduction
        context = ssl.create_default_context(cafile=str(ca))
        tcp = await trio.open_tcp_stream("127.0.0.1", int(match[1]))
        async with trio.SSLStream(tcp, context, server_hostname="localhost", https_compatible=True) as stream:
            client = PlainHTTP(stream)
            replies = [await client.speak(ENGLISH) for _ in range(2)]
        nursery.cancel_scope.cancel()
    assert [reply.status for reply in replies if reply] == [500, 200]
    assert replies[1] is not None
    assert read_tones(replies[1].body, 16000).strip() == ENGLISH
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines[:4]] == ["accepted", "requested", "struck", "answered"]
    assert "sk_test" not in log.read_text()


def test_a_wrong_value_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--behaviour", "spede=1"])
    assert "--behaviour has no 'spede'" in capsys.readouterr().err


def test_the_command_line_hands_its_arguments_over(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--voice", "tone", "--fault", "reset@lunch"])
    assert caught.value.code == 2
    assert "actions are" in capsys.readouterr().err
