"""`tts-trio say`: speak a text into a file, or play it."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
import unicodedata
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import attrs
import trio

from tts_trio.cli.caches import add_cache_argument, chosen_cache
from tts_trio.cli.common import AddCommand, UsageError, add_options, check_open, configured, given_in
from tts_trio.cli.console import note, status
from tts_trio.cli.player import Write, find_player, playing
from tts_trio.config.audio_clock import AudioClock
from tts_trio.config.config import TTSConfig
from tts_trio.config.formats import OUTPUT_FORMATS, AudioFormat
from tts_trio.config.timeouts import Timeouts
from tts_trio.connection_manager import WebSocketConnectionManager
from tts_trio.manager import TTSManager
from tts_trio.transport.streams import open_stream

# By the ending of a file: the default format, and the codec that every format for this ending must have.
_ENDINGS = {
    ".wav": ("pcm_24000", "pcm"),
    ".pcm": ("pcm_24000", "pcm"),
    ".mp3": ("mp3_44100_128", "mp3"),
    ".ogg": ("opus_48000_64", "opus"),
    ".ulaw": ("ulaw_8000", "ulaw"),
    ".alaw": ("alaw_8000", "alaw"),
}
_STANDARD_OUTPUT = "-"
_STANDARD_INPUT = 0
_STANDARD_OUTPUT_FD = 1
_RUSSIAN = frozenset("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")
_CACHE_TIMEOUT = 5.0  # seconds: no caller waits
_PLAYED_FORMAT = "pcm_24000"
_STREAMED_FORMAT = "mp3_44100_128"  # a player recognizes mp3 by its bytes


@attrs.define
class _Report:
    """Reports on standard error how an utterance went."""

    server: str
    clock: AudioClock
    show: Callable[[str], None]
    started: float
    connected: float | None = None
    first_audio: float | None = None

    def chunk(self, audio: bytes) -> None:
        """Count a piece of audio."""
        self.clock.feed(audio)
        if self.first_audio is None:
            self.first_audio = trio.current_time() - self.started
        self.show(f"speaking: {self.clock.seconds:.1f} s")

    def finish(self, target: str) -> None:
        """Print the report."""
        connected = "-" if self.connected is None else f"{self.connected * 1000:.0f} ms"
        first = "-" if self.first_audio is None else f"{self.first_audio * 1000:.0f} ms"
        took = trio.current_time() - self.started
        note(f"server       {self.server}", style="")
        note(f"connect      {connected}", style="")
        note(f"first audio  {first} after the text", style="")
        note(f"audio        {self.clock.seconds:.2f} s, in {took:.2f} s, to {target}", style="")


def add_to(add_command: AddCommand) -> None:
    """Add the command to the command line."""
    say = add_command(
        "say",
        help="speak a text into a file, or play it",
        description="Speak a text into a file, or play it. The service is ElevenLabs, with the key in "
        "ELEVENLABS_API_KEY and the voice in ELEVENLABS_VOICE_ID; with no key, a local server with its built-in voice.",
    )
    say.add_argument("text", nargs="?", help="text to speak; with --llm it is read from standard input")
    target = say.add_mutually_exclusive_group()
    target.add_argument(
        "-o", "--output", default="speech.wav", metavar="FILE",
        help=f"file to write, whose ending sets its kind: {' '.join(_ENDINGS)}; '-' streams to standard output "
        "(default: %(default)s)",
    )  # fmt: skip
    target.add_argument(
        "--play", action="store_true", help="play the audio as it comes, by sounddevice, ffplay or aplay"
    )
    add_options(say, "voice_id", "model_id", "language_code")
    say.add_argument("--format", metavar="FORMAT", help="such as pcm_16000 or ulaw_8000 (default: by the ending)")
    add_cache_argument(say)
    say.add_argument(
        "--llm", action="store_true", help="speak standard input as it comes, over the WebSocket instead of HTTP"
    )
    say.set_defaults(run=_say)


async def _say(options: argparse.Namespace) -> None:
    if options.llm == (options.text is not None):
        raise UsageError(
            "--llm: it reads the text from standard input; leave TEXT out"
            if options.llm
            else "TEXT: it is missing; give a text to speak, or --llm"
        )
    if options.llm:
        check_open(sys.stdin, "standard input")
    player = find_player() if options.play else None
    name = _format_to_play(options.format) if player else _format_for(options.output, options.format)
    given = given_in(options, "voice_id", "model_id", "language_code") | {
        "output_format": name,
        "on_lost_connection": "raise" if name.startswith("opus") else "resume",
    }
    told = "language_code" in given or os.environ.get("ELEVENLABS_LANGUAGE_CODE")
    if not (told or options.llm or options.cache):  # the language is a part of a cache's key, so it is not guessed
        given["language_code"] = _language_of(options.text)
    target = player or ("standard output" if options.output == _STANDARD_OUTPUT else options.output)
    with status() as show:
        async with configured(given) as config, _said_before(options.cache, config) as config:
            report = _Report(config.base_url, AudioClock.of(config.format), show, trio.current_time())
            show("connecting")
            sink = playing(player, config.format.sample_rate) if player else _sink(options.output, config.format)
            await _speak(options, config, report, sink)
    report.finish(target)


async def _speak(
    options: argparse.Namespace, config: TTSConfig, report: _Report, sink: AbstractAsyncContextManager[Write]
) -> None:
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
        if options.llm:
            await connections.connect()
            if os.isatty(_STANDARD_INPUT):
                report.show("")
                note("type the text to speak; Ctrl-D ends it")
        speech = tts.speak(_standard_input(report)) if options.llm else tts.stream_static_text(options.text)
        async with sink as write:
            report.started = trio.current_time()
            async with speech as audio:
                async for chunk in audio:
                    await write(chunk)
                    report.chunk(chunk)
            if report.first_audio is None:
                raise UsageError("standard input: it has nothing to speak; it must have a letter or a digit")


@asynccontextmanager
async def _said_before(where: str | None, config: TTSConfig) -> AsyncGenerator[TTSConfig]:
    """Give the configuration with the cache of `--cache`, if there is one."""
    if where is None:
        yield config
    else:
        async with chosen_cache(where) as cache:
            yield config.evolve(audio_cache=cache, timeouts=Timeouts(cache=_CACHE_TIMEOUT))


def _language_of(text: str) -> str | None:
    """Return "ru" for a text whose Cyrillic letters are all Russian ones, else None.

    For the local voice, which speaks where there is no API key, a text of Latin letters is "en".
    """
    names = [unicodedata.name(letter, "") for letter in text if letter.isalpha()]
    cyrillic = {letter for letter in text.lower() if unicodedata.name(letter, "").startswith("CYRILLIC")}
    if cyrillic and cyrillic <= _RUSSIAN:
        return "ru"
    is_local = not os.environ.get("ELEVENLABS_API_KEY")
    return "en" if is_local and all(name.startswith("LATIN") for name in names) else None


def _format_for(output: str, wanted: str | None) -> str:
    """Return the output format for a file.

    Raises:
        UsageError: The file cannot be written, or the format does not fit its ending; the message says what does.
    """
    if wanted is not None and wanted not in OUTPUT_FORMATS:
        raise UsageError(f"--format: {wanted!r} is not allowed; it must be one of {', '.join(OUTPUT_FORMATS)}")
    if output == _STANDARD_OUTPUT:
        check_open(sys.stdout, "standard output")
        if sys.stdout.isatty():
            raise UsageError(
                "--output: '-' is a terminal here; pipe it into a player, such as: | ffplay -nodisp -autoexit -"
            )
        return wanted or _STREAMED_FORMAT
    if Path(output).is_dir():
        raise UsageError(f"--output: {output!r} is a directory; give a file, such as {Path(output) / 'speech.wav'}")
    ending = Path(output).suffix.lower()
    if ending not in _ENDINGS:
        raise UsageError(f"--output: {output!r} must end in one of {' '.join(_ENDINGS)}, or be '-'")
    default, codec = _ENDINGS[ending]
    if wanted is not None and OUTPUT_FORMATS[wanted].codec != codec:
        fitting = ", ".join(name for name, form in OUTPUT_FORMATS.items() if form.codec == codec)
        raise UsageError(f"--format: {wanted!r} does not fit {ending}; it must be one of {fitting}")
    return wanted or default


def _format_to_play(wanted: str | None) -> str:
    """Return the output format for a player.

    Raises:
        UsageError: The format is not one that every player plays.
    """
    playable = [name for name, form in OUTPUT_FORMATS.items() if form.codec == "pcm"]
    if wanted is not None and wanted not in playable:
        raise UsageError(f"--format: {wanted!r} is not allowed with --play; it must be one of {', '.join(playable)}")
    return wanted or _PLAYED_FORMAT


async def _standard_input(report: _Report) -> AsyncIterator[str]:  # noqa: ASYNC900 - closed by `speak`
    """Give standard input as it comes. The time to the first audio counts from its first bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    came = False
    while data := await trio.to_thread.run_sync(os.read, _STANDARD_INPUT, 65536, abandon_on_cancel=True):
        if not came:
            came, report.started = True, trio.current_time()
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


@asynccontextmanager
async def _sink(output: str, form: AudioFormat) -> AsyncGenerator[Write]:
    """Give a function that writes audio to the output. A file gets its name when it is complete."""
    if output == _STANDARD_OUTPUT:
        yield _write_to_standard_output
        return
    target = Path(output)
    part = target.with_name(f"{target.name}.part")
    try:
        with _named(output):
            file = part.open("wb")
        with file, _writer(file, form, target.suffix.lower()) as write:

            async def write_to_file(audio: bytes) -> None:  # noqa: ASYNC124 - of the type of the other one
                write(audio)

            yield write_to_file
        with _named(output):
            part.replace(target)
    except BaseException:
        with suppress(OSError):  # the file may not exist
            part.unlink()
        raise


async def _write_to_standard_output(audio: bytes) -> None:
    """Write in a thread, by `os.write`: a reader that has stopped must not keep the program from ending."""
    while audio:
        written = await trio.to_thread.run_sync(os.write, _STANDARD_OUTPUT_FD, audio, abandon_on_cancel=True)
        audio = audio[written:]


@contextmanager
def _writer(file: BinaryIO, form: AudioFormat, ending: str) -> Generator[Callable[[bytes], object]]:
    if ending != ".wav":
        yield file.write
        return
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(form.sample_rate)
        yield sound.writeframes


@contextmanager
def _named(output: str) -> Generator[None]:
    """Name the file of `--output` in an OSError, in place of the one that was written first."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, output) from None
