"""The face without `async`: the examples of the guide, a hundred threads on one loop, Ctrl-C in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import attrs
import pytest
import trio

from tests.helpers import API_KEY, ENGLISH, RUSSIAN, TEXTS, VOICE_ID, heard, make_config
from tests.helpers.pages import run_example
from tts_trio import (
    ConfigurationError,
    Filler,
    MemoryCache,
    TextTimeoutError,
    Timeouts,
    TTSConfig,
    TTSConnectionError,
    UtteranceEndedError,
    sync,
)
from tts_trio.local_server import Behavior, Fault, LocalServer
from tts_trio.sync import TTSManager, WebSocketConnectionManager, open_tts
from tts_trio.sync.loop import shared_loop
from tts_trio.testing import server_in_a_thread


@pytest.fixture
def server() -> Generator[LocalServer]:
    """The local server in a loop of its own: nothing of it is in the threads under test."""
    with server_in_a_thread(Behavior(speed=200)) as server:
        yield server


def written(text: str, interval: float = 0.0) -> Iterator[str]:
    """A text as the SDK of an LLM gives it to a thread."""
    for start in range(0, len(text), 4):
        yield text[start : start + 4]
        time.sleep(interval)


def test_another_voice_for_one_reply(server: LocalServer) -> None:
    with open_tts(make_config(base_url=server.base_url)) as tts:
        tts.expect(voice="another", language_code="ru")
        for text in TEXTS.values():
            with tts.speak([text], voice="another", language_code="ru") as audio:
                assert heard(b"".join(audio), tts.config) == text
        with tts.start_llm_stream(voice="another", model="eleven_turbo_v2_5") as (text_channel, audio):
            with text_channel:
                text_channel.send("Да.")
            assert heard(b"".join(audio), tts.config) == "Да."
        with tts.stream_static_text("Да.", language_code="ru", model="eleven_turbo_v2_5") as audio:
            assert heard(b"".join(audio), tts.config) == "Да."
        with pytest.raises(ConfigurationError, match="voice_id"):
            tts.expect(voice="")


def test_a_filler(server: LocalServer) -> None:
    with open_tts(make_config(base_url=server.base_url, audio_cache=MemoryCache(2**20))) as tts:
        tts.prefetch(["Секунду."])
        with tts.start_llm_stream(filler=Filler("Секунду.", after=0.1)) as (text, audio):
            assert heard(audio.receive(), tts.config) == "Секунду."
            with text:
                text.send("Да.")
            assert heard(b"".join(audio), tts.config) == "Да."
            assert [word.text for word in audio.words if word.filler] == ["Секунду."]
        with tts.speak(iter([None, "Да."]), filler=Filler("Секунду.")) as audio:
            assert heard(b"".join(audio), tts.config) == "Да."


def portals() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("trio-portal")]


@pytest.mark.parametrize("language", TEXTS)
def test_a_call(server: LocalServer, language: str) -> None:
    text = TEXTS[language]
    config = make_config(base_url=server.base_url, language_code=language)
    with WebSocketConnectionManager(config) as connections:
        connections.connect()
        assert connections.statistics().hot >= 1
        with TTSManager(config, connections) as tts:
            with tts.stream_static_text(text) as audio:
                assert heard(b"".join(audio), config) == text
            assert audio.usage.characters == len(text)
            with tts.speak(written(text)) as audio:
                assert heard(b"".join(audio), config) == text
            with tts.start_llm_stream() as (tokens, audio):
                with tokens:
                    for token in written(text):
                        tokens.send(token)
                assert heard(b"".join(audio), config) == text
    assert audio.outcome is not None
    assert (audio.outcome.end, audio.outcome.spoken_text) == ("finished", text)
    assert [word.text for word in audio.words] == text.split()
    assert audio.timeline.first_received is not None
    assert portals() == []


@attrs.define
class Line:
    """A telephone line in a program of threads: it takes frames, and hears the caller speak after so many."""

    interrupted_at: int
    frames: int = 0
    callback: Callable[[], None] | None = None

    def send(self, frame: bytes) -> None:
        assert len(frame) == 160
        self.frames += 1
        if self.callback and self.frames == self.interrupted_at:
            threading.Thread(target=self.callback).start()

    def on_speech(self, callback: Callable[[], None]) -> None:
        self.callback, self.frames = callback, 0


def test_the_example_of_the_guide(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", API_KEY)
    monkeypatch.setenv("ELEVENLABS_VOICE_ID", VOICE_ID)
    monkeypatch.setenv("ELEVENLABS_BASE_URL", server.base_url)
    histories: list[list[str]] = [[], [], [], []]
    calls = [
        threading.Thread(target=run_example("answer_in_a_thread"), args=(Line(60), written(RUSSIAN), history))
        for history in histories
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join(20)
    for (said,) in histories:
        assert 1 <= len(said.split()) <= 4  # of 1.2 s, or a little less, at 60 ms a character
        assert RUSSIAN.startswith(said)


def test_leaving_the_block_interrupts(server: LocalServer) -> None:
    with open_tts(make_config(base_url=server.base_url)) as tts:
        for text in (ENGLISH, RUSSIAN):
            with tts.speak([text]) as audio:
                sound = next(iter(audio))
            assert audio.outcome is not None
            assert audio.outcome.end == "interrupted"
            assert text.startswith(audio.spoken(len(sound) / 32))
        with tts.speak([RUSSIAN]) as audio:
            assert heard(b"".join(audio), tts.config) == RUSSIAN


@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN])
def test_one_text_is_one_token_and_no_list_of_phrases(server: LocalServer, text: str) -> None:
    """A `str` is an iterable of its letters: each phrase would be charged for."""
    with open_tts(make_config(base_url=server.base_url, audio_cache=MemoryCache())) as tts:
        with tts.speak(text) as audio:
            assert heard(b"".join(audio), tts.config) == text
        with pytest.raises(TypeError, match=r"texts must .*\[text\]"):
            tts.prefetch(text)


def test_phrases_that_are_known_in_advance(server: LocalServer) -> None:
    config = make_config(base_url=server.base_url, audio_cache=MemoryCache())
    with open_tts(config) as tts:
        kept: list[str] = []
        tts.prefetch(TEXTS.values(), on_cached=kept.append)
        assert sorted(kept) == sorted(TEXTS.values())
        for text in TEXTS.values():
            with tts.stream_static_text(text) as audio:
                assert heard(b"".join(audio), config) == text
            assert audio.usage.characters == 0  # the service was not asked


def test_openings_that_are_known_in_advance(server: LocalServer) -> None:
    config = make_config(base_url=server.base_url, opening_cache=MemoryCache(), language_code="en")
    with open_tts(config) as tts:
        tts.prefetch_openings(f"{opening}" for opening in ("One moment.", "Одну минуту."))
        for opening in ("One moment.", "Одну минуту."):
            with tts.speak([opening]) as audio:
                assert heard(b"".join(audio), config) == opening
            assert audio.usage.characters == 0
        with pytest.raises(TypeError, match=r"openings must .*\[opening\]"):
            tts.prefetch_openings("One moment.")


def test_a_second_block_leaves_the_first_as_it_is(server: LocalServer) -> None:
    config = make_config(base_url=server.base_url)
    with WebSocketConnectionManager(config) as connections:
        with pytest.raises(RuntimeError, match="entered only once"), connections:
            ...
        connections.connect()
        with TTSManager(config, connections) as tts:
            with pytest.raises(RuntimeError, match="entered only once"), tts:
                ...
            with tts.speak([RUSSIAN]) as audio:
                assert heard(b"".join(audio), config) == RUSSIAN
    assert portals() == []


def test_another_thread_interrupts(server: LocalServer) -> None:
    """The barge-in of a program with threads: the one that listens to the caller closes what the other plays."""
    heard_enough = threading.Event()

    def listen_to_the_caller() -> None:
        assert heard_enough.wait(10)
        audio.close()

    with open_tts(make_config(base_url=server.base_url)) as tts:
        with tts.speak([ENGLISH * 20]) as audio, ThreadPoolExecutor(1) as ears:
            frames = audio.paced()
            closed = ears.submit(listen_to_the_caller)
            count = 0
            for count, _ in enumerate(frames, 1):
                if count == 16:  # a frame is given 0.2 s before it is due: the first five have been played
                    heard_enough.set()
            closed.result()
            with pytest.raises(trio.ClosedResourceError):
                audio.receive()
        assert 99 < frames.played_ms <= 20 * count
        assert frames.unplayed_ms > 0
        assert ENGLISH.startswith(audio.spoken(frames.played_ms))


def test_tokens_that_block_hold_nothing_up(server: LocalServer) -> None:
    """The thread that waits for the LLM is not the one that hands out the audio; P19."""
    later = threading.Event()

    def tokens() -> Iterator[str]:
        yield "Your order is on its way. "
        later.wait(10)
        yield "It will be with you on Friday."

    with open_tts(make_config(base_url=server.base_url)) as tts:
        with tts.speak(tokens()) as audio:
            sound = iter(audio)
            first = next(sound)
            assert not later.is_set()
            later.set()
            said = heard(first + b"".join(sound), tts.config)
        assert said == "Your order is on its way. It will be with you on Friday."
        with tts.speak(iter([ENGLISH])) as audio, pytest.raises(LookupError):
            raise LookupError

        def failing() -> Iterator[str]:
            yield "Hello. "
            raise OSError("the LLM is gone")

        with pytest.raises(OSError, match="the LLM is gone"), tts.speak(failing()) as audio:
            list(audio)


@pytest.mark.parametrize("language", TEXTS)
def test_tokens_that_are_none_are_skipped(server: LocalServer, language: str) -> None:
    """As "" is, and as with `async`: None is not the end. What is neither text nor None is a TypeError."""
    text = TEXTS[language]
    with open_tts(make_config(base_url=server.base_url, language_code=language)) as tts:
        with tts.speak([None, text[:20], None, "", text[20:], None]) as audio:
            assert heard(b"".join(audio), tts.config) == text
        with tts.start_llm_stream() as (tokens, audio):
            with tokens:
                for token in (None, text, None):
                    tokens.send(token)
                with pytest.raises(TypeError, match="text must be a str, not int"):
                    tokens.send(0)  # type: ignore[arg-type]
            assert heard(b"".join(audio), tts.config) == text
        for wrong in (0, b"bytes", ["text"]):
            with pytest.raises(TypeError, match=f"text must be a str, not {type(wrong).__name__}"):
                with tts.speak([text, wrong]) as audio:  # type: ignore[list-item]
                    list(audio)


def test_errors_come_bare(server: LocalServer) -> None:
    config = make_config(base_url=server.base_url, timeouts=Timeouts(text=0.2, connect=0.3))
    with open_tts(config) as tts:
        with pytest.raises(ConfigurationError, match="text"), tts.stream_static_text("…"):
            ...
        with pytest.raises(ConfigurationError, match="voice"), tts.stream_static_text("Да.", voice="../x"):
            ...
        with pytest.raises(TextTimeoutError), tts.start_llm_stream() as (text, audio):
            list(audio)
        with pytest.raises(TextTimeoutError):
            text.send("too late")
        with tts.start_llm_stream() as (text, audio):
            audio.close()
            with pytest.raises(UtteranceEndedError):
                text.send("too late")
        server.behavior = Behavior(faults=(Fault("reset", "accept"),))
    with open_tts(config) as tts, pytest.raises(TTSConnectionError), tts.speak([ENGLISH]):
        ...
    with pytest.raises(RuntimeError, match="with"), tts.speak([ENGLISH]):
        ...


async def test_inside_of_a_task_of_trio(server: LocalServer) -> None:
    """It would hold up the loop, for ever where the service is in it, too: refused at once, whoever opened it."""
    config = make_config(base_url=server.base_url)
    words = r"would block this trio loop; .* tts_trio\.open_tts$"
    for block in (open_tts(config), WebSocketConnectionManager(config)):
        with pytest.raises(RuntimeError, match=words), block:
            pytest.fail("was entered")
    assert portals() == []
    with ExitStack() as stack:
        tts = await trio.to_thread.run_sync(stack.enter_context, open_tts(config))
        for way in (tts.connections.connect, lambda: tts.prefetch(["Да."]), tts.speak(["Да."]).__enter__):
            with pytest.raises(RuntimeError, match=words):
                way()
        await trio.to_thread.run_sync(stack.close)


def test_in_a_notebook(server: LocalServer) -> None:
    """Its main thread runs asyncio, in a callback of which the cell runs."""

    async def cell() -> None:
        with open_tts(make_config(base_url=server.base_url)) as tts:
            for text in TEXTS.values():
                with tts.speak(written(text)) as audio:
                    assert heard(b"".join(audio), tts.config) == text

    asyncio.run(cell())
    assert portals() == []


def test_what_is_no_configuration() -> None:
    connections = WebSocketConnectionManager(make_config())
    for wrong in ("key", None):
        name = type(wrong).__name__
        for make in (lambda wrong: open_tts(wrong).__enter__(), lambda wrong: TTSManager(wrong, connections)):
            with pytest.raises(TypeError, match=f"^config must be a TTSConfig, not {name}$"):
                make(wrong)
        with pytest.raises(TypeError, match=f"^connection_manager must be a WebSocketConnectionManager, not {name}$"):
            TTSManager(make_config(), wrong)  # type: ignore[arg-type]


def test_closing_the_audio_late(server: LocalServer) -> None:
    """What hears the caller speak may do so after the block was left, in any thread: nothing happens then."""
    with open_tts(make_config(base_url=server.base_url)) as tts:
        with tts.speak([RUSSIAN]) as audio:
            for _ in audio:
                audio.close()
        audio.close()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(audio.close).result()
    trio.run(trio.to_thread.run_sync, audio.close)
    audio.close()
    assert audio.outcome is not None
    assert audio.outcome.end == "interrupted"


@pytest.mark.parametrize("language", TEXTS)
def test_words_while_they_are_heard(server: LocalServer, language: str) -> None:
    """In a thread beside the one that reads, in a pause, at a barge-in too; and after the loop has ended."""
    paused: list[float] = []
    with open_tts(make_config(base_url=server.base_url)) as tts, ThreadPoolExecutor(2) as pool:
        with tts.speak([TEXTS[language]]) as audio:
            captions = pool.submit(lambda: [word.text for word in audio.heard()])
            frames = audio.paced()
            for _ in frames:
                if frames.played_ms > 300 and not paused:
                    frames.pause()
                    paused.append(frames.played_ms)
                    pool.submit(lambda: (time.sleep(0.3), paused.append(frames.played_ms), frames.resume()))
                if frames.played_ms > 900:
                    audio.close()
        assert paused == [paused[0]] * 2
        spoken = audio.spoken(frames.played_ms).split()
        assert captions.result(5) == spoken == TEXTS[language].split()[: len(spoken)] != []
    assert [word.text for word in audio.heard()] == spoken
    assert "".join(character.text for character in audio.characters).startswith("".join(spoken))


@pytest.mark.parametrize("language", TEXTS)
def test_a_line_for_a_call(server: LocalServer, language: str) -> None:
    """A thread takes its frames, another one plays; leaving the block of the line ends the first one."""
    text, config = TEXTS[language][:20].strip(), make_config(base_url=server.base_url)
    with ThreadPoolExecutor(1) as pool:
        with sync.Line(config.format) as line, open_tts(config) as tts:
            frames = pool.submit(lambda: list(line))
            with tts.stream_static_text(text) as audio:
                played = line.play(audio)
                played.wait_played()
            assert audio.spoken(played.played_ms) == text
            with tts.speak([text]) as audio:
                line.play(audio)
                assert len(line.receive()) == 640
        assert heard(b"".join(frames.result(5)), config).startswith(text)
        line.close()
        with pytest.raises(RuntimeError, match="with"):
            list(line)
    assert portals() == []


@pytest.mark.parametrize("another", [False, True])
@pytest.mark.parametrize("way", ["audio", "frames", "paced"])
def test_another_thread_reads_on_when_the_conversation_is_left(server: LocalServer, way: str, another: bool) -> None:
    """It gets an error at once, as with `async`: not an end as if that had been all. The loop may go on, or end."""
    begun, left = threading.Event(), threading.Event()
    config = make_config(base_url=server.base_url)

    def read() -> None:
        with tts.speak([ENGLISH * 20]) as audio:
            for _ in {"frames": audio.frames, "paced": audio.paced}.get(way, lambda: audio)():
                begun.set()
                assert left.wait(10)

    with ExitStack() as stack:
        if another:  # conversation needs the loop after that
            stack.enter_context(open_tts(config))
        block = open_tts(config)
        tts = block.__enter__()
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(read)
            assert begun.wait(10)
            block.__exit__(None, None, None)
            left.set()
            with pytest.raises(trio.ClosedResourceError):
                reader.result(5)
    assert portals() == []


@pytest.mark.parametrize("another", [False, True])
def test_a_generator_that_is_collected_in_the_thread_of_the_loop(server: LocalServer, another: bool) -> None:
    """A web framework drops the body of a response whose client left; it may be collected anywhere."""
    config = make_config(base_url=server.base_url)

    def body() -> Generator[bytes]:
        with open_tts(config) as tts, tts.speak([ENGLISH * 20]) as audio:
            yield from audio

    with ExitStack() as stack:
        if another:  # conversation needs the loop after that
            other = stack.enter_context(open_tts(config))
        responses = [body() for _ in range(5)]
        assert all(next(response) for response in responses)
        with shared_loop() as portal:
            portal.call(responses.clear)
            shared_loop().left()
        if another:
            with other.speak([RUSSIAN]) as audio:
                assert heard(b"".join(audio), config) == RUSSIAN
    assert portals() == []


FORKING = """
    import faulthandler, os, sys, threading
    from tts_trio import TTSConfig
    from tts_trio.errors import redaction
    from tts_trio.sync import open_tts
    from tts_trio.transport import tls_stream

    def config():
        return TTSConfig(api_key="a_key_of_some_length", voice_id="any", base_url=sys.argv[1], language_code="en")

    def hold(lock, held, forked):
        with lock:
            held.set()
            forked.wait()

    def say():
        with open_tts(config()) as tts:
            with tts.speak(["Hello."]) as audio:
                assert b"".join(audio)
            return audio.outcome.end

    def ways(tts, text, audio):
        yield tts.connections.connect
        yield tts.connections.statistics
        yield lambda: tts.prefetch(["Hello."])
        yield tts.stream_static_text("Hello.").__enter__
        yield tts.speak(["Hello."]).__enter__
        yield lambda: text.send("more")
        yield audio.receive
        yield audio.close
        yield lambda: audio.words

    def tell_where_it_hangs():
        faulthandler.dump_traceback_later(30, exit=True)

    tell_where_it_hangs()
    assert say() == "finished"
    with open_tts(config()) as tts, tts.start_llm_stream() as (text, audio), text:
        text.send("Hello. ")
        forked = threading.Event()
        for lock in (redaction._lock, tls_stream._sessions._lock):  # what other threads do in the moment of the fork
            held = threading.Event()
            threading.Thread(target=hold, args=(lock, held, forked)).start()
            held.wait()
        faulthandler.cancel_dump_traceback_later()  # its thread would not exist in the child, which would wait for it
        child = os.fork()
        tell_where_it_hangs()
        if child:
            forked.set()
            assert os.waitpid(child, 0)[1] == 0
        else:
            tls_stream._sessions.forget(None, "another")
            for way in ways(tts, text, audio):
                try:
                    way()
                except RuntimeError as error:
                    assert "before a fork, in the parent process; open one in this process" in str(error), error
                else:
                    raise AssertionError(way)
            print(say(), flush=True)
            sys.exit()  # and leaves the parent's blocks
        text.send("Good-bye.")
        text.close()
        assert b"".join(audio)
        print(audio.outcome.end)
    print(say(), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_after_a_fork(server: LocalServer) -> None:
    """The child has none of the parent's threads: it begins with a loop of its own, and what was opened is refused."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORKING), server.base_url],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "finished\n" * 3, "")


@pytest.mark.parametrize("way", ["reply", "frames", "stream_static_text"])
def test_an_error_tells_what_was_spoken_and_what_was_not(server: LocalServer, way: str) -> None:
    server.behavior = Behavior(speed=200, faults=(Fault("reset", "audio", frame=3),))
    config = make_config(base_url=server.base_url, on_lost_connection="raise", audio_cache=None)
    with open_tts(config) as tts:
        for text in TEXTS.values():
            with tts.stream_static_text(text) if way == "stream_static_text" else tts.speak([text]) as audio:
                with pytest.raises(TTSConnectionError) as caught:
                    list(audio.frames() if way == "frames" else audio)
            assert caught.value.spoken_text + caught.value.unspoken_text == text
            assert caught.value.unspoken_text
            assert audio.outcome is not None
            assert (audio.outcome.end, audio.outcome.unspoken_text) == ("failed", caught.value.unspoken_text)


def test_a_hundred_threads_share_one_loop(server: LocalServer) -> None:
    threads = set[str]()
    barrier = threading.Barrier(100)

    def call(number: int) -> str:
        text = f"{number} {(ENGLISH if number % 2 else RUSSIAN)[:60]}"
        config: TTSConfig = make_config(base_url=server.base_url)
        with open_tts(config) as tts:
            barrier.wait(30)
            threads.update(thread.name for thread in portals())
            with tts.speak(written(text)) as audio:
                sound = b"".join(audio)
            return "" if heard(sound, config) == text else text

    with ThreadPoolExecutor(100) as pool:
        wrong = [text for text in pool.map(call, range(100)) if text]
    assert wrong == []
    assert len(threads) == 1
    assert portals() == []


def test_an_interrupt_while_a_reply_waits_for_its_connection_leaves_nothing(server: LocalServer) -> None:
    server.behavior = Behavior(speed=200, faults=(Fault("delay", "answer", 1.0, path="stream-input"),))
    config = make_config(base_url=server.base_url, timeouts=Timeouts(connect=20))
    with WebSocketConnectionManager(config) as connections, TTSManager(config, connections) as tts:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), tts.speak([ENGLISH]):
            pytest.fail("there is no connection")
        connections.connect()
        assert connections.statistics().in_use == 0
        with tts.speak([RUSSIAN]) as audio:
            assert heard(b"".join(audio), config) == RUSSIAN


CHILD = """
    import sys, time
    from tts_trio import Timeouts, TTSConfig
    from tts_trio.sync import open_tts

    def tokens():
        while True:
            yield "And so on, and so forth. "
            time.sleep(0.02)

    config = TTSConfig(api_key="any", voice_id="any", base_url=sys.argv[1], timeouts=Timeouts(connect=60))
    with open_tts(config) as tts:
        print("open", flush=True)
        with tts.speak(tokens()) as audio:
            try:
                frames = audio.paced()
                for frame in frames:
                    print("frame", flush=True)
            finally:
                print("heard", round(frames.played_ms), flush=True)
    print("never", flush=True)
"""


@pytest.mark.parametrize("where", ["in mid speech", "while it connects"])
def test_ctrl_c_leaves_cleanly(server: LocalServer, where: str) -> None:
    connects = where == "while it connects"
    if connects:
        server.behavior = Behavior(faults=(Fault("freeze", "answer"),))
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(CHILD), server.base_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != ("open" if connects else "frame"):
            assert child.poll() is None
        time.sleep(0.3)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        said, errors = child.communicate(timeout=20)
        took = time.monotonic() - began
    assert child.returncode == -signal.SIGINT, errors
    assert took < 3
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    assert "Warning" not in errors
    assert "never" not in said
    assert ("heard" in said) is not connects
