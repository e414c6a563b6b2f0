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

from tests.helpers.plain import ENGLISH, PlainHTTP
from tts_trio.cli import main
from tts_trio.cli.serve.command import parse, parse_behavior, parse_fault, parser, serve
from tts_trio.local_server import ACTIONS, POINTS, Behavior, Fault, read_tones


def test_the_help_lists_everything() -> None:
    text = parser().format_help()
    for name in [field.name for field in attrs.fields(Behavior) if field.name != "faults"]:
        assert f"  {name}=" in text
    for name in ACTIONS:
        assert f"  {name}@" in text
    for name in POINTS:
        assert f"  {name}: " in text


def test_behavior() -> None:
    arguments = [
        "model_latency=0.3",
        "api_keys=one,two",
        "quota=100",
        "slot_freed_on_close=false",
        "alignment=absent",
        "max_age=none",
    ]
    options = parser().parse_args([word for argument in arguments for word in ("--behavior", argument)])
    assert parse_behavior(options.behavior, []) == Behavior(
        model_latency=0.3,
        api_keys=("one", "two"),
        quota=100,
        slot_freed_on_close=False,
        alignment="absent",
        max_age=None,
    )


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        (("spede", "1"), "--behavior has no 'spede'; it has model_latency, "),
        (("speed", "0"), "--behavior: speed: 0 is not allowed; it must be above 0"),
        (("speed", "fast"), "--behavior: speed: 'fast' is not allowed; it must be a number"),
        (("speed", "yes"), "--behavior: speed: True is not allowed; it must be a number"),
        (("seed", "1.5"), "--behavior: seed: 1.5 is not allowed; it must be a whole number"),
        (("concurrency", "many"), "--behavior: concurrency: 'many' is not allowed; it must be a number"),
        (("alignment", "odd"), "--behavior: alignment: 'odd' is not allowed; it must be one of plain, overlapping, "),
    ],
)
def test_wrong_behavior(pair: tuple[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        parse_behavior([pair], [])
    assert "Attribute" not in str(caught.value)


@pytest.mark.parametrize("port", ["99999", "65536", "-1", "x", "1.5"])
def test_a_port_that_there_is_not(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", f"--port={port}"])
    said = capsys.readouterr().err
    assert said == (
        f"tts-trio: error: argument --port: {port} is not allowed; it must be from 0 to 65535;"
        " see tts-trio serve --help\n"
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("reset@audio", Fault("reset", "audio")),
        ("reset@audio,frame=2,skip=1,count=1", Fault("reset", "audio", frame=2, skip=1, count=1)),
        ("status@answer,value=429,path=/stream", Fault("status", "answer", 429, path="/stream")),
        ("reset@audio,path=1", Fault("reset", "audio", path="1")),
        ("error_frame@audio,value=system_busy", Fault("error_frame", "audio", "system_busy")),
        ("skip@audio,frame=none", Fault("skip", "audio", frame=None)),
        ("delay@final,value=inf,probability=0.5,seed=3", Fault("delay", "final", probability=0.5, seed=3)),
        ("content_type@answer,value=text/plain", Fault("content_type", "answer", "text/plain")),
    ],
)
def test_fault(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parser().parse_args(["--fault", text]).fault == [fault]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reset", "is not ACTION@POINT"),
        ("explode@audio", "actions are delay, "),
        ("reset@lunch", "points are accept, "),
        ("reset@audio,odd=1", "a fault has no odd"),
        ("status@audio", "at: 'audio' is not allowed for the fault 'status'; it must be one of answer"),
        ("a@b,c", "'c' is not KEY=VALUE"),
        ("reset@audio,frame=x", "frame: 'x' is not allowed; it must be a whole number"),
        ("reset@audio,frame=yes", "frame: True is not allowed; it must be a whole number"),
        ("reset@audio,skip=1.5", "skip: 1.5 is not allowed; it must be a whole number"),
        ("reset@audio,count=0", "count: 0 is not allowed; it must be above 0"),
        ("reset@audio,probability=often", "probability: 'often' is not allowed; it must be a number"),
        ("reset@audio,probability=2", "probability: 2 is not allowed; it must be from 0 to 1"),
        ("reset@audio,seed=x", "seed: 'x' is not allowed; it must be a whole number"),
        ("reset@audio,value=1", "value: 1 is not allowed for the fault 'reset'; it must be None"),
        ("delay@audio,value=long", "value: 'long' is not allowed for the fault 'delay'; it must be a number"),
        ("delay@audio,value=yes", "value: True is not allowed for the fault 'delay'; it must be a number"),
        ("status@answer,value=429.5", "value: 429.5 is not allowed for the fault 'status'; it must be a whole number"),
        ("status@answer,value=99", "value: 99 is not allowed for the fault 'status'; it must be from 200 to 599"),
        ("close@audio,value=1006", "it must be a close code that can be sent; for 1006 use the fault 'eof' or 'reset'"),
        ("content_type@answer,value=1", "value: 1 is not allowed for the fault 'content_type'; it must be a text"),
        ("error_frame@audio,value=nonsense", "it must be one of internal_error, system_busy, "),
        ("context_error@audio,value=nonsense", "it must be one of internal_error, system_busy, "),
    ],
)
def test_wrong_fault(text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(says)) as caught:
        parse_fault(text)
    assert "attr" not in str(caught.value)
    with pytest.raises(SystemExit):
        main(["serve", "--fault", text])
    complaint = capsys.readouterr().err
    assert complaint.startswith("tts-trio: error: argument --fault: ")
    assert complaint.count("\n") == 1


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
    assert read_tones(replies[1].body, "pcm_16000").strip() == ENGLISH
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines[:4]] == ["accepted", "requested", "injected", "answered"]
    assert "sk_test" not in log.read_text()


def test_a_wrong_value_ends_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--behavior", "spede=1"])
    assert "--behavior has no 'spede'" in capsys.readouterr().err


def test_the_command_line_hands_its_arguments_over(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--voice", "tone", "--fault", "reset@lunch"])
    assert caught.value.code == 2
    assert "actions are" in capsys.readouterr().err
