"""Ctrl-C at every step of the library's own code: it comes out, nothing hangs, and nothing is left.

A step is a line: the interrupt comes when it is reached for the first time. What trio, or `tts_trio.sync`, defers is
deferred here, too, since it is a signal that comes, and not an exception that is raised by force.
"""

from __future__ import annotations

import ast
import inspect
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

import pytest
import trio

import tts_trio
from tests.helpers import ENDPOINTS, heard, listen, make_config, memory_service, speaking, tokens
from tts_trio import MemoryCache, TTSConfig, sync
from tts_trio.local_server import Behavior, LocalServer
from tts_trio.testing import server_in_a_thread

PACKAGE = Path(tts_trio.__file__).parent
HANGS = 15  # seconds, after which a run of some 0.1 s hangs

Line: TypeAlias = tuple[str, int]
Reached: TypeAlias = Callable[[Line], None]


class Hang(BaseException):
    """It did not end."""


@contextmanager
def traced(reached: Reached, traces: Callable[[CodeType], bool]) -> Generator[None]:
    """Tell of each line of some code that is reached in this thread."""

    def in_frame(frame: FrameType, event: str, arg: object) -> Any:
        if event == "line":
            reached((frame.f_code.co_filename, frame.f_lineno))
        return in_frame

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: in_frame if traces(frame.f_code) else None)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def in_time() -> Generator[None]:
    """Raise `Hang` where the block does not end."""

    def raise_hang(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def interrupted_at(line: Line, run: Callable[[], None], traces: Callable[[CodeType], bool]) -> str:
    """Run with an interrupt at a line, and tell what came out; "" where it is the interrupt, or was not reached."""
    came = False

    def reached(here: Line) -> None:
        nonlocal came
        if here == line and not came:
            came = True
            signal.raise_signal(signal.SIGINT)

    try:
        with in_time(), traced(reached, traces):
            run()
    except KeyboardInterrupt:
        return ""
    except BaseExceptionGroup as group:
        return "" if group.split(KeyboardInterrupt)[0] else repr(group)
    except BaseException as error:  # noqa: BLE001 - told
        return repr(error)
    return "swallowed" if came else ""


def lines_of(run: Callable[[], None], traces: Callable[[CodeType], bool]) -> list[Line]:
    """The lines that are reached in a run, in order."""
    lines: dict[Line, None] = {}
    with traced(lambda line: lines.setdefault(line), traces):
        run()
    return list(lines)


def is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(f"{PACKAGE}{os.sep}") and "local_server" not in code.co_filename


def begins_or_ends_blocks(code: CodeType) -> bool:
    return is_ours(code) and bool(
        code.co_flags & inspect.CO_ASYNC_GENERATOR or code.co_name in {"__aenter__", "__aexit__"}
    )


async def conversation(endpoint: str) -> None:
    """A bit of everything, in memory."""
    config = make_config(endpoint, language_code="en", audio_cache=MemoryCache())
    async with memory_service() as service, speaking(config, service.open_stream) as tts:
        async with tts.speak(tokens("Hello there, my friend. How are you today? ")) as audio:
            await listen(audio)
        async with tts.stream_static_text("Good day.") as audio:
            await listen(audio)
        async with tts.start_llm_stream() as (text, audio):
            await text.send("One two three four five six seven. And so on, and so forth. ")
            text.close()
            await audio.paced().receive()
        await tts.prefetch(["One.", "Two."])
        async with tts.speak(["Good bye."]) as audio:
            await audio.receive()


def run_conversation(endpoint: str) -> None:
    trio.run(conversation, endpoint, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.endpoints("stream-input", "multi-stream-input")
@pytest.mark.filterwarnings("ignore")  # what Python says of coroutines that were cut off
def test_with_async(endpoint: str, exhaustive: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Where blocks begin and end, every second line for each endpoint, and a sample of the other lines; or all."""
    caplog.set_level(logging.CRITICAL)
    run = partial(run_conversation, endpoint)
    lines = lines_of(run, is_ours)
    assert len(lines) > 1000
    blocks = lines_of(run, begins_or_ends_blocks)
    assert len(blocks) > 50
    half = blocks[ENDPOINTS.index(endpoint) % 2 :: 2]
    chosen = lines if exhaustive else [*half, *lines[::100]]
    wrong = {line: told for line in chosen if (told := interrupted_at(line, run, is_ours))}
    assert wrong == {}


@pytest.fixture
def server() -> Generator[LocalServer]:
    """The local server in a loop of its own."""
    with server_in_a_thread(Behavior(speed=200)) as server:
        yield server


def call(config: TTSConfig) -> None:
    """A bit of everything, without `async`."""
    with sync.WebSocketConnectionManager(config) as connections:
        connections.connect()
        with sync.TTSManager(config, connections) as tts:
            with tts.speak(["Hello there. ", "How are you?"]) as audio:
                next(iter(audio.paced()))
            with tts.start_llm_stream() as (text, audio):
                with text:
                    text.send("One two three.")
                audio.receive()
                audio.close()
            tts.prefetch(["One."])
    with sync.open_tts(config) as tts, tts.stream_static_text("Bye.") as audio:
        list(audio)


def is_part_of_a_call(code: CodeType) -> bool:
    """What the main thread does: our side of it, and how it enters and leaves blocks."""
    name = code.co_filename
    ours = name.startswith(f"{PACKAGE}{os.sep}sync{os.sep}")
    return ours or name.endswith(("contextlib.py", "from_thread.py"))


def test_without_async(server: LocalServer, exhaustive: bool) -> None:
    """After it nothing is left: the loop has ended, and the next call works."""
    config = make_config(base_url=server.base_url, language_code="en", audio_cache=MemoryCache())
    lines = lines_of(lambda: call(config), is_part_of_a_call)
    assert len(lines) > 150
    for line in lines if exhaustive else lines[::3]:
        assert interrupted_at(line, lambda: call(config), is_part_of_a_call) == "", line
        until = time.monotonic() + 5
        while sum(thread.name.startswith("trio-portal") for thread in threading.enumerate()) > 1:  # one is the server's
            assert time.monotonic() < until, line
            time.sleep(0.005)
    with sync.open_tts(config) as tts, tts.speak(["It works."]) as audio:
        assert heard(b"".join(audio), config) == "It works."


UNPROTECTED = {"feed"}  # iterates over the user's tokens, whose code may be interrupted


def test_every_task_is_protected() -> None:
    """In what a task does alone nobody can be told of an interrupt: trio raises it in the main task instead."""
    started: set[str] = set()
    protected: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        if {"local_server", "cli"} & set(path.relative_to(PACKAGE).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="start_soon"), args=[ast.Attribute(attr=name), *_]):
                    started.add(name)
                case ast.Call(func=ast.Attribute(attr="start_soon"), args=[ast.Name(id=name), *_]):
                    started.add(name)
                case ast.AsyncFunctionDef(name=name, decorator_list=decorators):
                    if any(ast.unparse(d) == "trio.lowlevel.enable_ki_protection" for d in decorators):
                        protected.add(name)
                case _:
                    pass
    assert len(started) > 15
    assert started - protected == UNPROTECTED
