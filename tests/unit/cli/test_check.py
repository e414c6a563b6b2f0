"""`tts-trio check`: each thing that can be wrong is named by its own line; `tts-trio voices`: all pages, filtered."""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tests.helpers import VOICE_ID, make_config, memory_service
from tests.helpers.tls import certificates, listening, server_context
from tts_trio import AuthenticationError, TTSConfig
from tts_trio.cli import account, main
from tts_trio.cli import diagnosis as diagnosis_module
from tts_trio.cli.account import Account, Voice
from tts_trio.cli.diagnosis import NAMES, Report, diagnose
from tts_trio.cli.measure import Passed
from tts_trio.local_server import Behavior, Fault, Requested, catalog, connection
from tts_trio.testing import server_in_a_thread
from tts_trio.transport.http import HttpConnections

KEY = "sk_wherever_it_may_be_repeated"
NOTHING = ("credits", "model", "language", "voice", "format", "concurrency", "speech", "WebSocket")
UNREACHED = ("key", "clock", *NOTHING)
MUTE = ("format", "concurrency", "WebSocket")
UNSPOKEN = ("format", "concurrency", "speech", "WebSocket")
READING = ("user_read", "models_read", "voices_read")


async def diagnosis(behavior: Behavior | None = None, **changes: Any) -> Report:
    """What the checks find with the service in memory."""
    report = Report()
    async with memory_service(behavior) as service:

        async def dial(config: TTSConfig, passed: Passed) -> trio.abc.Stream:
            passed("TCP")
            return await service.open_stream(config)

        await diagnose(make_config(**{"language_code": "en", "api_key": KEY} | changes), report, dial)
    assert KEY not in str(report)
    return report


def named(report: Report, status: str) -> list[str]:
    return [check.name for check in report.checks.values() if check.status == status]


async def test_a_service_that_does_not_tell_the_concurrency(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis_module, "header_number", lambda headers, name: None)
    report = await diagnosis()
    assert report.fine
    assert named(report, "not checked") == ["concurrency"]
    assert report.checks["concurrency"].says == "the service did not tell it"


@pytest.mark.parametrize("model", ["eleven_flash_v2_5", "eleven_v3_conversational", "eleven_v4_turbo"])
async def test_nothing_is_wrong(autojump_clock: trio.testing.MockClock, model: str) -> None:
    report = await diagnosis(Behavior(concurrency=7), model_id=model, language_code="ru")
    assert report.fine
    assert named(report, "ok") == list(NAMES)
    says = {check.name: check.says for check in report.checks.values()}
    assert says["credits"] == "1,000,000 of 1,000,000 are left (plan creator)"
    assert says["concurrency"].startswith("7 requests at once")
    assert says["voice"] == "George, premade, en ru"
    assert says["WebSocket"].startswith("stream-input" if "flash" in model else "text-to-dialogue")


@pytest.mark.parametrize(
    ("behavior", "changes", "wrong", "says", "unchecked"),
    [
        (Behavior(api_keys=("sk_the_other_one",)), {}, "key", "Invalid API key", ("clock", *NOTHING)),
        (Behavior(voices=("other",)), {}, "voice", f"'{VOICE_ID}' was not found", UNSPOKEN),
        (Behavior(forbidden_voices=(VOICE_ID,)), {}, "voice", "cannot use library voices", UNSPOKEN),
        (Behavior(), {"model_id": "eleven_new"}, "model", "one of eleven_flash_v2_5, ", ("language", *UNSPOKEN)),
        (Behavior(), {"model_id": "eleven_flash_v2", "language_code": "ru"}, "language", "it speaks en", ()),
        (Behavior(forbidden_formats=("pcm_16000",)), {}, "format", "only available on", UNSPOKEN[1:]),
        (Behavior(quota=0), {}, "credits", "all 0 of the plan creator are used; buy more", UNSPOKEN),
        (Behavior(quota=1, quota_status=402), {}, "credits", "buy credits", UNSPOKEN),
        (Behavior(missing_permissions=("text_to_speech",)), {}, "speech", "permission text_to_speech", MUTE),
        (Behavior(faults=(Fault("status", "answer", 429, path="stream"),)), {}, "speech", "heavy", MUTE),
        (Behavior(faults=(Fault("status", "answer", 503, path="models"),)), {}, None, "", ("language",)),
        (Behavior(faults=(Fault("status", "answer", 502, path="stream-input"),)), {}, "WebSocket", "502", ()),
        (Behavior(faults=(Fault("skip", "audio", frame=None),)), {}, "speech", "without audio", MUTE),
    ],
)  # fmt: skip
async def test_the_line_names_what_is_wrong_with_the_account(
    autojump_clock: trio.testing.MockClock,
    behavior: Behavior,
    changes: dict[str, Any],
    wrong: str | None,
    says: str,
    unchecked: tuple[str, ...],
) -> None:
    """Whatever does not depend on it is checked all the same."""
    report = await diagnosis(behavior, **changes)
    assert named(report, "wrong") == ([] if wrong is None else [wrong])
    assert wrong is None or says in report.checks[wrong].says
    assert named(report, "not checked") == list(unchecked)


async def test_a_key_that_may_only_speak_is_good(autojump_clock: trio.testing.MockClock) -> None:
    """It is what the guide advises. What it may not ask for is no failure, and speech answers the most of it."""
    report = await diagnosis(Behavior(missing_permissions=READING))
    assert report.fine
    assert named(report, "not allowed") == ["credits", "language"]
    assert "missing the permission user_read" in report.checks["credits"].says
    assert named(report, "not checked") == []


@pytest.mark.parametrize(("seconds", "says"), [(-86400, "86,400 s behind"), (300, "300 s ahead of"), (-5, None)])
async def test_the_clock_of_the_machine(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, seconds: float, says: str | None
) -> None:
    monkeypatch.setattr(connection, "formatdate", lambda **how: formatdate(1e9, **how))
    monkeypatch.setattr(account, "time", SimpleNamespace(time=lambda: 1e9 + seconds))
    report = await diagnosis()
    assert named(report, "wrong") == (["clock"] if says else [])
    assert says is None or says in report.checks["clock"].says


# On the network, from the command line.


@contextmanager
def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Generator[None]:
    with monkeypatch.context() as patch:
        for name in ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "TTS_TRIO_CACHE"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def secure_url() -> Generator[str]:
    with server_in_a_thread(Behavior(model_latency=0), ssl_context=server_context()) as server:
        yield server.base_url


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("roots") / "ca.pem"
    certificates().authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("variables", "wrong", "says", "unchecked"),
    [
        ({}, [], "", ()),
        ({"SSL_CERT_FILE": "/nowhere"}, ["TLS roots"], "cannot be read from /nowhere", ("connection", *UNREACHED)),
        ({"SSL_CERT_FILE": ""}, ["TLS roots"], "not trusted by", ("connection", *UNREACHED)),
        (
            {"HTTPS_PROXY": "http://127.0.0.1:{closed}"},
            ["proxy"],
            "refused; check proxy, HTTPS_PROXY and NO_PROXY",
            ("DNS", "connection", "TLS roots", *UNREACHED),
        ),
        ({"HTTPS_PROXY": "socks5://x:1"}, ["proxy"], "SOCKS", ("DNS", "connection", "TLS roots", *UNREACHED)),
        pytest.param(
            {"TTS_TRIO_CACHE": "redis://127.0.0.1:{closed}/0"},
            ["Redis"],
            "127.0.0.1:{closed}; start it",
            (),
            marks=pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),  # coredis, unconnected
        ),
        ({"TTS_TRIO_CACHE": "redis://127.0.0.1:x/0"}, ["Redis"], "redis://host:port/database", ()),
        (
            {"ELEVENLABS_BASE_URL": "https://127.0.0.1:{closed}"},
            ["connection"],
            "refused; check ELEVENLABS_BASE_URL",
            ("TLS roots", *UNREACHED),
        ),
        (
            {"ELEVENLABS_BASE_URL": "ftp://x"},
            ["connection"],
            "base_url",
            ("proxy", "DNS", "TLS roots", *UNREACHED),
        ),
        (
            {"ELEVENLABS_API_KEY": "", "ELEVENLABS_VOICE_ID": "", "ELEVENLABS_OUTPUT_FORMAT": "wav"},
            ["key", "voice", "format"],
            "set ELEVENLABS_API_KEY",
            ("clock", "credits", "model", "language", "concurrency", "speech", "WebSocket"),
        ),
        ({"ELEVENLABS_OUTPUT_FORMAT": "wav"}, ["format"], "pcm_16000", UNSPOKEN[1:]),
        ({"ELEVENLABS_OUTPUT_FORMAT": "opus_48000_64"}, [], "", ()),
    ],
)
def test_the_line_names_what_is_wrong_on_the_way(
    secure_url: str,
    roots: Path,
    closed_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    wrong: list[str],
    says: str,
    unchecked: tuple[str, ...],
) -> None:
    given = {
        "ELEVENLABS_API_KEY": KEY,
        "ELEVENLABS_VOICE_ID": VOICE_ID,
        "ELEVENLABS_BASE_URL": secure_url,
        "SSL_CERT_FILE": str(roots),
    } | {name: value.format(closed=closed_port) for name, value in variables.items()}
    with environment(monkeypatch, **given):
        code = main(["check", "--json", "--language", "en"])
    gc.collect()  # what coredis left open, before its warnings count
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in found["checks"]}
    assert [name for name, check in checks.items() if check["status"] == "wrong"] == wrong
    assert (code, found["ok"]) == ((1, False) if wrong else (0, True))
    assert not wrong or says.format(closed=closed_port) in checks[wrong[0]]["says"]
    assert [name for name, check in checks.items() if check["status"] == "not checked"] == list(unchecked)
    assert all("\n" not in check["says"] for check in checks.values())


async def test_a_name_that_cannot_be_resolved() -> None:
    class Nobody(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: Any) -> Any:
            raise AssertionError

    trio.socket.set_custom_hostname_resolver(Nobody())
    report = Report()
    await diagnose(make_config(base_url="https://api.elevenlabs.example"), report)
    assert named(report, "wrong") == ["DNS"]
    assert "api.elevenlabs.example cannot be resolved: " in report.checks["DNS"].says
    assert named(report, "not checked") == ["connection", "TLS roots", *UNREACHED]


async def test_a_service_behind_a_proxy_whose_certificate_is_not_trusted() -> None:
    """The proxy is not to blame, and is named as what works."""

    async def serve(stream: trio.SocketStream) -> None:
        while b"\r\n\r\n" not in await stream.receive_some():
            pass
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(stream, certificates().server, server_side=True).do_handshake()

    report = Report()
    async with listening(serve) as port:
        await diagnose(
            make_config(base_url="https://127.0.0.1:1", proxy=f"http://anna:secret123@127.0.0.1:{port}"), report
        )
    assert named(report, "wrong") == ["TLS roots"]
    assert report.checks["proxy"] == report.checks["proxy"].__class__("proxy", "ok", f"http://127.0.0.1:{port}")


def test_what_a_person_sees(
    secure_url: str, roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"ELEVENLABS_API_KEY": KEY, "ELEVENLABS_VOICE_ID": VOICE_ID, "ELEVENLABS_BASE_URL": secure_url}
    with environment(monkeypatch, SSL_CERT_FILE=str(roots), **given):
        assert main(["check", "--model", "eleven_nothing"]) == 1
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["DNS", "ok", "127.0.0.1 is 127.0.0.1"] in [[*line[:2], line[2].rstrip()] for line in lines if len(line) > 2]
    assert [line[1] for line in lines if line[0] == "model"] == ["wrong"]


# The voices.


async def test_voices_are_read_page_by_page_and_searched(autojump_clock: trio.testing.MockClock) -> None:
    ids = tuple(f"voice{number}" for number in range(250))
    async with memory_service(Behavior(voices=ids)) as service:
        async with HttpConnections(make_config(), open_stream=service.open_stream) as http:
            assert [voice.voice_id for voice in await Account(http).voices()] == list(ids)
            assert [voice.voice_id for voice in await Account(http).voices("ICE24")] == [
                id_ for id_ in ids if "24" in id_ and id_.startswith("voice24")
            ]
        asked = [record for record in service.server.records if isinstance(record, Requested)]
    assert len(asked) == 4
    assert {(record.method, record.body) for record in asked} == {("GET", b"")}


async def test_a_key_that_may_not_list_voices_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    async with memory_service(Behavior(missing_permissions=READING)) as service:
        async with HttpConnections(make_config(), open_stream=service.open_stream) as http:
            with pytest.raises(AuthenticationError, match="missing the permission voices_read"):
                await Account(http).voices()


@pytest.mark.parametrize(
    ("wrong", "answer"),
    [
        ("credits", []),
        ("credits", {}),
        ("credits", {"character_count": "many", "character_limit": None}),
        ("model", {"models": []}),
        ("model", [7]),
        ("model", [{"model_id": "x", "languages": ["en"]}]),
        ("voice", None),
        ("voice", {"name": "no id"}),
        ("voice", {"voice_id": "x", "labels": 3, "verified_languages": [None]}),
    ],
)
async def test_an_answer_of_another_shape_is_no_traceback(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, wrong: str, answer: object
) -> None:
    name = {"credits": "subscription", "model": "models", "voice": "voice"}[wrong]
    monkeypatch.setattr(catalog, name, lambda *_: answer)
    report = await diagnosis(Behavior(faults=(Fault("status", "answer", 500, path="stream"),)))
    assert named(report, "wrong") == [wrong, "speech"]
    assert "is not what ElevenLabs documents" in report.checks[wrong].says


def test_a_voice_is_read_whatever_of_it_is_missing() -> None:
    assert Voice.read({"voice_id": "x"}) == Voice("x", "", "", ())
    labels = {"voice_id": "x", "name": "Аня\x1b[2J", "labels": {"language": "ru"}, "verified_languages": None}
    assert Voice.read(labels) == Voice("x", "Аня\N{REPLACEMENT CHARACTER}[2J", "", ("ru",))


def test_voices_on_the_command_line(
    secure_url: str, roots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No voice has to be known for it."""
    monkeypatch.delenv("ELEVENLABS_VOICE_ID", raising=False)
    given = {"ELEVENLABS_API_KEY": KEY, "ELEVENLABS_BASE_URL": secure_url, "SSL_CERT_FILE": str(roots)}
    with environment(monkeypatch, **given):
        assert main(["voices", "george", "--language", "RU"]) == 0
        head, line = capsys.readouterr().out.splitlines()
        assert (head.split(), line.split()) == (["id", "name", "languages"], [VOICE_ID, "George", "en,", "ru"])
        assert main(["voices", "--json"]) == 0
        assert [voice["name"] for voice in json.loads(capsys.readouterr().out)] == ["Rachel", "George", "Sarah"]
        assert main(["voices", "--language", "xx"]) == 2
        assert "no such voice" in capsys.readouterr().err
