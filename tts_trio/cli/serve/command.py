"""The command `tts-trio serve`: its arguments, and what it does until it is stopped."""

from __future__ import annotations

import argparse
import json
import ssl
import textwrap
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from tts_trio.local_server.behavior import ACTIONS, POINTS, Behavior, Fault
from tts_trio.local_server.espeak import EspeakVoice
from tts_trio.local_server.record import Record, as_json
from tts_trio.local_server.server import open_local_server
from tts_trio.local_server.speech import Voice
from tts_trio.local_server.tone import ToneVoice

_VOICES: dict[str, Callable[[], Voice]] = {"espeak": EspeakVoice, "tone": ToneVoice}
_WORDS = {"none": None, "yes": True, "no": False, "inf": float("inf")}
_LAST_PORT = 65535
_FAULT_FIELDS = {field.name for field in attrs.fields(Fault)} - {"action", "at"}


def parser(of: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Make the parser of `tts-trio serve`, whose help lists every switch and every fault.

    Args:
        of: The class of the parser.
    """
    parser = of(
        prog="tts-trio serve",
        description="Run a server that speaks ElevenLabs' protocol with a voice of its own, for tests and development:"
        " no key, no cost.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8765, help="0 for any free one (default: %(default)s)")
    parser.add_argument("--voice", choices=_VOICES, default="espeak", help="who speaks (default: %(default)s)")
    parser.add_argument(
        "--behavior", action="append", default=[], metavar="KEY=VALUE", type=_pair, help="a switch; repeatable"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="ACTION@POINT[,NAME=VALUE…]", type=parse_fault,
        help="something that goes wrong; repeatable",
    )  # fmt: skip
    parser.add_argument("--log", type=Path, metavar="FILE", help="write everything that happens, as JSON lines")
    parser.add_argument("--tls", type=Path, metavar="CA_FILE", help="serve TLS, and write the CA's certificate there")
    return parser


def parse(arguments: Sequence[str], of: type[argparse.ArgumentParser] = argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the arguments of `tts-trio serve`. Wrong ones end the program with a message.

    Args:
        arguments: The arguments after `serve`.
        of: The class of the parser.
    """
    options = parser(of).parse_args(arguments)
    try:
        options.behavior = parse_behavior(options.behavior, options.fault)
    except ValueError as error:
        parser(of).error(str(error))
    return options


def parse_behavior(pairs: list[tuple[str, str]], faults: list[Fault]) -> Behavior:
    """Make a `Behavior` of the values of `--behavior` and `--fault`.

    Raises:
        ValueError: There is no such switch, or it has no such value.
    """
    fields = {field.name: field for field in attrs.fields(Behavior) if field.name != "faults"}
    values: dict[str, Any] = {"faults": tuple(faults)}
    for name, text in pairs:
        if name not in fields:
            raise ValueError(f"--behavior has no {name!r}; it has {', '.join(fields)}")
        listed = "tuple" in str(fields[name].type)
        values[name] = tuple(text.split(",")) if listed else _value(text)
    try:
        return Behavior(**values)
    except ValueError as error:
        raise ValueError(f"--behavior: {error}") from None


def parse_fault(text: str) -> Fault:
    """Make a `Fault` of `ACTION@POINT[,NAME=VALUE…]`.

    Raises:
        argparse.ArgumentTypeError: There is no such fault.
    """
    head, *pairs = text.split(",")
    action, _, point = head.partition("@")
    values = dict(map(_pair, pairs))
    if unknown := set(values) - _FAULT_FIELDS:
        raise argparse.ArgumentTypeError(f"a fault has no {', '.join(sorted(unknown))}")
    if action not in ACTIONS or point not in POINTS:
        raise argparse.ArgumentTypeError(
            f"{head!r} is not ACTION@POINT: actions are {', '.join(ACTIONS)}; points are {', '.join(POINTS)}"
        )
    typed: dict[str, Any] = {name: value if name == "path" else _value(value) for name, value in values.items()}
    try:
        return Fault(action, point, **typed)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


async def serve(options: argparse.Namespace, say: Callable[[str], object]) -> None:
    """Serve until cancelled.

    Args:
        options: The options that `parse` returned.
        say: The function that shows a line to the user.

    Raises:
        OSError: The port is taken, or a file cannot be written.
    """
    context = _certify(options.host, options.tls) if options.tls else None
    with _recorder(options.log) as record:
        async with open_local_server(
            options.behavior,
            voice=_VOICES[options.voice](),
            host=options.host,
            port=options.port,
            ssl_context=context,
            record=record,
        ) as server:
            say(_introduction(server.base_url, options.voice, options.tls))
            await trio.sleep_forever()


def _introduction(base_url: str, voice: str, ca_file: Path | None) -> str:
    trust = f"export SSL_CERT_FILE={ca_file}   # in the client's environment\n    " if ca_file else ""
    realtime = "" if ca_file else "    (its convert_realtime insists on wss: start with --tls CA_FILE for that)\n"
    return (
        f"Serving ElevenLabs' protocol at {base_url} with the voice {voice!r};\n"
        "any key and voice id will do, unless --behavior names the good ones.\n"
        f"  tts_trio:\n    {trust}TTSConfig(api_key=\"any\", voice_id=\"any\", base_url=\"{base_url}\")\n"
        f"  the official SDK:\n    {trust}ElevenLabs(api_key=\"any\", base_url=\"{base_url}\")\n{realtime}"
        "Ctrl-C stops it."
    )  # fmt: skip


@contextmanager
def _recorder(path: Path | None) -> Generator[Callable[[Record], object]]:
    if path is None:
        yield lambda _record: None
        return
    with path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
        yield lambda record: file.write(as_json(record) + "\n")


def _certify(host: str, ca_file: Path) -> ssl.SSLContext:
    """Make a certificate for this host, of an authority of its own."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    names = dict.fromkeys((host, "127.0.0.1", "localhost"))
    authority.issue_cert(*names).configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - pyOpenSSL's part
    return context


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return name.strip(), value.strip()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; it must be from 0 to {_LAST_PORT}")
    return int(text)


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _epilog() -> str:
    switches = {
        f"{field.name}={'|'.join(map(_shown, field.metadata.get('choices', [field.default])))}": field.metadata["help"]
        for field in attrs.fields(Behavior)
        if field.name != "faults"
    }
    actions = {
        f"{name}@{'|'.join(action.points)}": action.says + ("" if action.value is None else f" (value={action.value})")
        for name, action in ACTIONS.items()
    }
    options = {
        "value=X": "what the action takes: seconds, a status, a close code, bytes",
        "frame=N|none": "at audio: the message before which it strikes, from 0 (default); none: every one",
        "path=TEXT": "only where the request's path ends in these segments: path=text-to-dialogue/stream-input",
        "skip=N, count=N": "let N passes through first; strike N passes (default: all)",
        "probability=P, seed=N": "strike by chance, repeatably",
    }
    tables: dict[str, Mapping[Any, str]] = {
        "--behavior KEY=VALUE, the default first (true, false, none; lists with commas):": switches,
        "--fault ACTION@POINT[,NAME=VALUE…], actions:": actions,
        "points:": POINTS,
        "names:": options,
    }
    lines: list[str] = []
    for title, rows in tables.items():
        lines.append(title)
        for name, text in rows.items():
            lines.append(textwrap.fill(f"{name}: {text}", 100, initial_indent="  ", subsequent_indent="      "))
        lines.append("")
    example = "for example: --fault reset@audio,frame=2,skip=1,count=1 --fault status@answer,value=429,count=1"
    return "\n".join([*lines, example])


def _shown(value: object) -> str:
    return "" if value == () else str(value).lower() if isinstance(value, bool) or value is None else str(value)
