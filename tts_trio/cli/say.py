"""`tts-trio say`: speak a text into a file."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
import wave
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from tts_trio.cli.common import AddCommand, UsageError, add_options, configured, given_in, show_line
from tts_trio.config import TTSConfig
from tts_trio.connection_manager import WebSocketConnectionManager
from tts_trio.formats import OUTPUT_FORMATS, AudioClock, AudioFormat
from tts_trio.manager import TTSManager
from tts_trio.transport import open_stream

# What a file is by its ending: the format to ask for, and the codec it must have.
_ENDINGS = {
    ".wav": ("pcm_24000", "pcm"),
    ".pcm": ("pcm_24000", "pcm"),
    ".mp3": ("mp3_44100_128", "mp3"),
    ".ogg": ("opus_48000_64", "opus"),
    ".ulaw": ("ulaw_8000", "ulaw"),
    ".alaw": ("alaw_8000", "alaw"),
}
_STANDARD_OUTPUT = "-"
_STREAMED_FORMAT = "mp3_44100_128"  # to a player, which must know it by itself


@attrs.define
class _Report:
    """What a person wants to know of an utterance, on standard error."""

    server: str
    clock: AudioClock
    started: float
    connected: float | None = None
    first_audio: float | None = None

    def chunk(self, audio: bytes) -> None:
        """Take note of audio."""
        self.clock.feed(audio)
        if self.first_audio is None:
            self.first_audio = trio.current_time() - self.started
        show_line(f"speaking: {self.clock.seconds:.1f} s")

    def finish(self, target: str) -> None:
        """Say how it went."""
        show_line("")
        connected = "-" if self.connected is None else f"{self.connected * 1000:.0f} ms"
        first = "-" if self.first_audio is None else f"{self.first_audio * 1000:.0f} ms"
        took = trio.current_time() - self.started
        print(f"server       {self.server}", file=sys.stderr)
        print(f"connect      {connected}", file=sys.stderr)
        print(f"first audio  {first} after the text", file=sys.stderr)
        print(f"audio        {self.clock.seconds:.2f} s, in {took:.2f} s, to {target}", file=sys.stderr)


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    say = add_command(
        "say",
        help="speak a text into a file",
        description="Speak a text into a file. The service is ElevenLabs, with the key in ELEVENLABS_API_KEY and the "
        "voice in ELEVENLABS_VOICE_ID; with no key, a local server with its built-in voice.",
    )
    say.add_argument("text", nargs="?", help="what to say; with --llm it is read from standard input")
    say.add_argument(
        "-o", "--output", default="speech.wav", metavar="FILE",
        help=f"its ending says what it is: {' '.join(_ENDINGS)}; '-' streams to standard output "
        "(default: %(default)s)",
    )  # fmt: skip
    add_options(say, "voice_id", "model_id", "language_code")
    say.add_argument("--format", metavar="FORMAT", help="such as pcm_16000 or ulaw_8000 (default: by the ending)")
    say.add_argument(
        "--llm", action="store_true", help="speak standard input as it comes, over the WebSocket; else HTTP is used"
    )
    say.set_defaults(run=_say)


async def _say(options: argparse.Namespace) -> None:
    if options.llm == (options.text is not None):
        raise UsageError("--llm reads standard input: give no text with it" if options.llm else "give a text to say")
    name = _format_for(options.output, options.format)
    given = given_in(options, "voice_id", "model_id", "language_code") | {
        "output_format": name,
        "on_lost_connection": "raise" if name.startswith("opus") else "resume",
    }
    async with configured(given) as config:
        report = _Report(config.base_url, AudioClock(config.format), trio.current_time())

        async def timed(config: TTSConfig) -> trio.abc.Stream:
            began = trio.current_time()
            stream = await open_stream(config)
            if report.connected is None:
                report.connected = trio.current_time() - began
            return stream

        async with (
            WebSocketConnectionManager(config, open_stream=timed) as connections,
            TTSManager(config, connections) as tts,
        ):
            show_line("connecting")
            if options.llm:
                await connections.connect()
            speech = tts.speak(_standard_input(report)) if options.llm else tts.stream_static_text(options.text)
            with _sink(options.output, config.format) as write:
                report.started = trio.current_time()
                async with speech as audio:
                    async for chunk in audio:
                        write(chunk)
                        report.chunk(chunk)
        report.finish("standard output" if options.output == _STANDARD_OUTPUT else options.output)


def _format_for(output: str, wanted: str | None) -> str:
    """The output format for a file, or an error that says which would do."""
    if wanted is not None and wanted not in OUTPUT_FORMATS:
        raise UsageError(f"--format: {wanted!r} is not allowed; it must be one of {', '.join(OUTPUT_FORMATS)}")
    if output == _STANDARD_OUTPUT:
        return wanted or _STREAMED_FORMAT
    ending = Path(output).suffix.lower()
    if ending not in _ENDINGS:
        raise UsageError(f"--output: {output!r} must end in one of {' '.join(_ENDINGS)}, or be '-'")
    default, codec = _ENDINGS[ending]
    if wanted is not None and OUTPUT_FORMATS[wanted].codec != codec:
        fitting = ", ".join(name for name, form in OUTPUT_FORMATS.items() if form.codec == codec)
        raise UsageError(f"--format: {wanted!r} does not fit {ending}; it must be one of {fitting}")
    return wanted or default


async def _standard_input(report: _Report) -> AsyncIterator[str]:  # noqa: ASYNC900 - closed by `speak`
    """What is read, as it comes; the time counts from the first of it."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    came = False
    while data := await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 65536, abandon_on_cancel=True):
        if not came:
            came, report.started = True, trio.current_time()
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


@contextmanager
def _sink(output: str, form: AudioFormat) -> Generator[Callable[[bytes], object]]:
    """Where the audio goes: a function that writes it. A file is there when it is whole, or as it was before."""
    if output == _STANDARD_OUTPUT:

        def write(audio: bytes) -> None:
            sys.stdout.buffer.write(audio)
            sys.stdout.buffer.flush()

        yield write
        return
    target = Path(output)
    part = target.with_name(f"{target.name}.part")
    with _named(output):
        file = part.open("wb")
    with file:
        try:
            if target.suffix.lower() == ".wav":
                with wave.open(file, "wb") as sound:
                    sound.setnchannels(1)
                    sound.setsampwidth(2)
                    sound.setframerate(form.sample_rate)
                    yield sound.writeframes
            else:
                yield file.write
        except BaseException:
            part.unlink()
            raise
    with _named(output):
        part.replace(target)


@contextmanager
def _named(output: str) -> Generator[None]:
    """Let what fails name the file that was asked for."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from None
