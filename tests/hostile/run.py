"""Runs a seed, and checks the rules."""

from __future__ import annotations

import logging
import math
import sys
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import nullcontext
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.helpers.streams import Wrapped
from tests.helpers.tls import certificates
from tests.hostile.rules import Heard, is_excused, listen_for, words_of
from tests.hostile.script import OPENINGS, Conversation, Saying, Script, script_of
from tests.hostile.server import HostileServer, ServerThread, Written
from tts_trio import (
    AudioChannel,
    ConcurrencyLimiter,
    MemoryCache,
    TTSConfig,
    TTSConnectionError,
    TTSError,
    TTSManager,
    WebSocketConnectionManager,
)
from tts_trio.local_server import read_tones
from tts_trio.speech.durations import longest_seconds
from tts_trio.static_text import cached_source, openings
from tts_trio.static_text.entry import decode
from tts_trio.transport.streams import open_stream

VOICE_ID = "JBFqnCBsd6RMkjVDRZzb"
_LIMITER_TIMEOUT = 0.6
_STILL = 0.03  # seconds, after which the loop stands still: the shortest timeout is more than twice as long
_LOOKS = 8  # at its sockets, in which the loop has read what had come: `ConnectionPool` and TLS need some each
_SWITCH = 0.001  # seconds: the server does not wait longer for the client's thread
_LONGEST = 90.0  # seconds, for a whole seed
_SECOND = 0.1  # of these, at once: where the loop stands still for longer, the rest does not count
_TRIES = 3  # of an utterance on the good server
_MOST_TRIES = 30  # while it gets no processor

_seed: ContextVar[Report | None] = ContextVar("the seed that runs", default=None)


class _Left(Exception):
    """The caller's own error."""


@attrs.define(eq=False)
class Report:
    """What came of a seed.

    Attributes:
        seed: The seed.
        faults: The rules that were broken.
        ends: How the utterances ended.
        tries: How many utterances on the good server failed before one did not.
        seconds: How long it took.
        script: Of the client.
        log: What the server did, and the client.
    """

    seed: int
    faults: list[str] = attrs.field(factory=list)
    ends: list[str] = attrs.field(factory=list)
    tries: int = 0
    seconds: float = 0.0
    script: str = ""
    log: list[tuple[float, str]] = attrs.field(factory=list)

    def note(self, what: str) -> None:
        self.log.append((time.perf_counter(), what))

    def broke(self, rule: str) -> None:
        self.faults.append(rule)
        self.note(f"RULE BROKEN: {rule}")

    def __str__(self) -> str:
        log = sorted(self.log)
        began = log[0][0] if log else 0.0
        return "\n".join(
            [*self.faults, self.script, *(f"  {(at - began) * 1000:7.1f} ms  {what[:400]}" for at, what in log)]
        )


class _ErrorsAreFaults(logging.Handler):
    """What the library logs as an error is an exception that nobody foresaw."""

    def emit(self, record: logging.LogRecord) -> None:
        if (report := _seed.get()) is not None:
            error = record.exc_info[1] if record.exc_info else None
            shown = "".join(traceback.format_exception(error))[-1500:] if error else ""
            report.broke(f"an exception that nobody foresaw: {record.getMessage()} {shown}")


class Loop(trio.abc.Instrument):
    """The loop of the client: how long it stood still, and when it last looked at its sockets."""

    def __init__(self) -> None:
        self._lags: list[tuple[float, float]] = []
        self._looks = deque([time.perf_counter()], maxlen=_LOOKS)
        self._due = math.inf  # when it is to look again at the latest

    def before_io_wait(self, timeout: float) -> None:
        self._note(time.perf_counter() - self._looks[-1])
        self._due = time.perf_counter() + timeout

    def after_io_wait(self, timeout: float) -> None:
        self._looks.append(time.perf_counter())
        self._note(self._looks[-1] - self._due)

    def _note(self, lag: float) -> None:
        if lag > _STILL:
            self._lags.append((time.perf_counter(), lag))

    @property
    def has_seen(self) -> float:
        """What came before this time has been read by now, if anybody reads."""
        return self._looks[0]

    def was_late(self, since: float) -> bool:
        """Whether it stood still for a while: a task blocked it, or it got no processor."""
        return bool(self._lags_since(since))

    def excused(self, since: float, waits: int) -> float:
        """How much longer something may have taken, in seconds.

        Args:
            since: When it began.
            waits: How often it may have waited for a peer, who is given a second more where the loop had stood still.
        """
        lags = self._lags_since(since)
        return 2 * sum(lags) + min(len(lags), waits)

    def _lags_since(self, since: float) -> list[float]:
        lags = [lag for _, lag in takewhile(lambda noted: noted[0] >= since, reversed(self._lags))]
        this_turn = time.perf_counter() - self._looks[-1]
        return [*lags, this_turn] if this_turn > _STILL else lags


async def run_seed(seed: int, thread: ServerThread, loop: Loop) -> Report:
    """Run a seed."""
    script = script_of(seed)
    report = Report(seed, script=str(script))
    _seed.set(report)
    server = HostileServer(script, certificates().server)
    thread.start(server)
    began = time.perf_counter()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, report, trio.lowlevel.current_task(), nursery.cancel_scope)
            await _Seed(script, report, server, loop).run()
            nursery.cancel_scope.cancel()
    except* Exception as group:  # noqa: BLE001 - every one breaks a rule
        report.broke("an exception came out: " + "".join(traceback.format_exception(_bare(group)))[-3000:])
    await _finish(server, report)
    report.seconds = time.perf_counter() - began
    report.log += server.log
    return report


async def _watch(report: Report, seed: trio.lowlevel.Task, scope: trio.CancelScope) -> None:
    """Give a seed up that does not end in seconds in which the loop ran, and tell what everything waits for."""
    for _ in range(round(_LONGEST / _SECOND)):
        await trio.sleep(_SECOND)
    report.broke(f"it did not end within {_LONGEST:g} s; what everything waits for:")
    tasks = [seed]
    while tasks:
        task = tasks.pop()
        frames = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in task.iter_await_frames()]
        report.note(f"{task.name}: {' '.join(frames)}")
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    scope.cancel()


async def _finish(server: HostileServer, report: Report) -> None:
    server.finish()
    with trio.move_on_after(20):
        while not server.done.is_set():  # noqa: ASYNC110 - it is set in another thread
            await trio.sleep(0.003)
    if server.left_open or not server.done.is_set():
        report.broke(f"connections were left open: {server.left_open}")
    for error in server.errors:
        report.broke(error)


class _SlowCache:
    """A cache of the user's own, for which nobody waits."""

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        await trio.sleep(0.005)
        return self._entries.get(key)

    async def put(self, key: str, value: bytes) -> None:
        await trio.sleep(0.005)
        self._entries[key] = value


class _Seed:
    """A seed that runs."""

    def __init__(self, script: Script, report: Report, server: HostileServer, loop: Loop) -> None:
        self._script = script
        self._report = report
        self._server = server
        self._loop = loop
        self._cache = MemoryCache()
        self._openings = {"memory": MemoryCache(), "slow": _SlowCache()}
        self._limiters: list[ConcurrencyLimiter] = []
        self._done = 0
        self._healed = trio.Event()
        self._one_by_one = trio.Lock()
        self._audios: list[tuple[AudioChannel, str]] = []
        self._wrong: list[tuple[str, str]] = []

    async def run(self) -> None:
        limited = self._script.conversations[0].limited
        limiter = ConcurrencyLimiter(limited, timeout=_LIMITER_TIMEOUT) if limited else None
        async with trio.open_nursery() as nursery:
            for index, conversation in enumerate(self._script.conversations):
                nursery.start_soon(self._converse, index, conversation, limiter)
        if limiter is not None and limiter.held:
            self._report.broke(f"slots of the limiter were left: {limiter!r}")
        self._judge_sounds()
        self._judge_openings()
        for audio, end in self._audios:
            if audio.outcome is None or audio.outcome.end != end:
                self._report.broke(f"it ended as {end}, and then as {audio.outcome}")
        with trio.move_on_after(1.0):
            while self._fetches():  # noqa: ASYNC110 - of system tasks
                await trio.sleep(0.005)
        if self._fetches():
            self._report.broke(f"a request of a cache was left: {self._fetches()}")

    def _judge_sounds(self) -> None:
        """Judge what sounded wrong, now that the server has read all requests: one may have crossed what was heard."""
        for sound, rule in self._wrong:
            if not is_excused(sound, self._server.crossed):
                self._report.broke(rule)

    def _fetches(self) -> list[object]:
        try:
            return [place for place in cached_source._fetches.get() if place[0] == id(self._cache)]
        except LookupError:
            return []

    async def _converse(self, index: int, conversation: Conversation, limiter: ConcurrencyLimiter | None) -> None:
        config = TTSConfig(
            api_key=conversation.key,
            voice_id=VOICE_ID,
            base_url=f"{'https' if self._script.tls else 'http'}://127.0.0.1:{self._server.port}",
            ssl_context=certificates().client,
            audio_cache=self._cache if conversation.shares_cache else None,
            opening_cache=self._openings.get(conversation.openings),
            limiter=limiter,
            **conversation.config,
        )
        async with WebSocketConnectionManager(config, open_stream=self._open_stream) as connections:
            async with TTSManager(config, connections) as tts:
                if conversation.prefetch == "before":
                    await self._prefetch(tts, conversation.prefetch_for)
                async with trio.open_nursery() as nursery:
                    if conversation.prefetch == "meanwhile":
                        nursery.start_soon(self._prefetch, tts, conversation.prefetch_for)
                    for saying in conversation.sayings:
                        if saying.after is not None:
                            nursery.start_soon(self._say, tts, conversation, saying)
                            await trio.sleep(saying.after)
                        else:
                            await self._say(tts, conversation, saying)
                await self._heal()
                async with self._one_by_one if limiter is not None else nullcontext():
                    await self._be_served_well(index, tts)
            left = time.perf_counter()
        took = time.perf_counter() - left
        if took > 1.0 + self._loop.excused(left, 1):
            self._report.broke(f"closing took {took:.2f} s")

    async def _prefetch(self, tts: TTSManager, seconds: float) -> None:
        with trio.move_on_after(seconds):
            try:
                await tts.prefetch_openings(OPENINGS)
            except TTSError as error:
                self._report.note(f"prefetch: {error!r}")

    def _judge_openings(self) -> None:
        """Only openings are kept, as one conversation alone said any other phrase; and each sounds as its text."""
        slow = self._openings["slow"]
        formats = {conversation.config["output_format"] for conversation in self._script.conversations}
        for cache in (self._openings["memory"], slow, openings._shared(slow).memory):
            for key, value in cache._entries.items():
                clip = decode(key, value)
                said = "".join("".join(piece.alignment.chars) for piece in clip if piece.alignment is not None).strip()
                sound = b"".join(piece.audio for piece in clip)
                heard = {read_tones(sound, output_format).strip() for output_format in formats}
                self._report.ends.append("opening kept")
                if said not in map(str.strip, OPENINGS) or said not in heard:
                    self._report.broke(f"the clip of {said!r} is kept, and sounds as {heard}")

    async def _open_stream(self, config: TTSConfig) -> trio.abc.Stream:
        return _Told(await open_stream(config), self._server, self._loop)

    async def _heal(self) -> None:
        self._done += 1
        if self._done == len(self._script.conversations):
            self._server.heal()
            self._healed.set()
        await self._healed.wait()

    async def _be_served_well(self, index: int, tts: TTSManager) -> None:
        """The next utterance on a good server works.

        What was said to the conversation before may still be told to it, a few times. A try does not count while the
        server gets no processor, for then it is no good one, or while the loop of the client stands still. It may be
        late without that, so that the rest is said anew: where no times tell how much was heard, from a word or two
        before that.
        """
        for kind in ("speak", "static"):
            text = f"Дальше{index}{'аб'[kind == 'static']} all{index}{kind} в порядке{kind}{index}."
            again = tts.config.max_replays if self._is_estimated(tts.config, kind, text) else 0
            failures = tries = 0
            while True:
                began = time.perf_counter()
                utterance = self._utterance(text)
                try:
                    block = tts.speak([text]) if kind == "speak" else tts.stream_static_text(text)
                    with trio.fail_after(30):
                        async with block as audio:
                            async for chunk in audio:
                                utterance.sound += chunk
                except (TTSError, trio.TooSlowError) as error:
                    tries += 1
                    late = self._was_late(began)
                    failures += not late
                    self._report.note(f"on the good server {kind} {index}: {error!r}; {tts.config.limiter!r} {late=}")
                    if failures == _TRIES or tries == _MOST_TRIES:
                        self._report.broke(f"the {kind} on a good server failed {tries} times: {error!r}")
                        break
                    if late:
                        await trio.sleep(0.1)
                else:
                    self._report.note(f"on the good server {kind} {index} finished; {tts.config.limiter!r}")
                    heard = utterance.heard(tts.config, again=again)
                    if heard.wrong:
                        rule = f"on the good server {text!r} was heard as {heard}"
                        self._wrong.append((utterance.text_heard(tts.config), rule))
                    elif heard.whole != len(words_of(text)):
                        self._report.broke(f"on the good server {text!r} was heard as {heard}")
                    break
            self._report.tries += tries

    async def _say(self, tts: TTSManager, conversation: Conversation, saying: Saying) -> None:
        utterance = self._utterance(saying.text)
        began = time.perf_counter()
        error: BaseException | None = None
        try:
            with trio.CancelScope() as scope:
                if saying.leave == "cancel":
                    scope.deadline = trio.current_time() + saying.leave_after
                await self._perform(tts, saying, utterance)
        except* TTSError as group:
            error = group
        except* _Left:
            pass
        except* trio.ClosedResourceError:
            if saying.leave != "close":
                raise
        took = time.perf_counter() - began
        if error is not None:
            error = _bare(error)
        if error is not None and not isinstance(error, TTSError):
            self._report.broke(f"{error!r} came out of {saying.text!r}")
        self._check(tts.config, conversation, saying, utterance, error, began, took)

    def _utterance(self, text: str) -> _Utterance:
        return _Utterance(text, unasked_format=self._server.unasked_format)

    async def _perform(self, tts: TTSManager, saying: Saying, utterance: _Utterance) -> None:
        if saying.kind == "static":
            utterance.accepted = saying.text
            async with tts.stream_static_text(saying.text) as audio:
                await self._listen(audio, saying, utterance)
        elif saying.kind == "speak":
            async with tts.speak(self._tokens(saying, utterance)) as audio:
                await self._listen(audio, saying, utterance)
        else:
            async with tts.start_llm_stream() as (text, audio):
                utterance.audio = audio
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._feed, text, saying, utterance)
                    await self._listen(audio, saying, utterance)
                    nursery.cancel_scope.cancel()

    async def _tokens(self, saying: Saying, utterance: _Utterance) -> AsyncIterator[str | None]:
        for token in saying.tokens:
            utterance.doubtful = token or ""
            yield token
            utterance.accepted += token or ""
            utterance.doubtful = ""
            await self._pause(saying.pause, utterance)

    async def _feed(self, text: Any, saying: Saying, utterance: _Utterance) -> None:
        try:
            for token in saying.tokens:
                await text.send(token)
                utterance.accepted += token or ""
                await self._pause(saying.pause, utterance)
            text.close()
        except TTSError as error:
            self._report.note(f"feeding {saying.text!r}: {error!r}")

    async def _pause(self, seconds: float, utterance: _Utterance) -> None:
        await trio.sleep(seconds)
        utterance.own_seconds += seconds

    async def _listen(self, audio: AudioChannel, saying: Saying, utterance: _Utterance) -> None:
        utterance.audio = audio
        async with trio.open_nursery() as nursery:
            if saying.leave in {"close", "leave", "error"}:
                nursery.start_soon(self._leave, audio, saying, utterance, nursery)
            await self._read(audio, saying, utterance)
            nursery.cancel_scope.cancel()

    async def _leave(self, audio: AudioChannel, saying: Saying, utterance: _Utterance, nursery: trio.Nursery) -> None:
        await trio.sleep(saying.leave_after)
        utterance.left = True
        if saying.leave == "error":
            raise _Left
        if saying.leave == "close":
            audio.close()
        nursery.cancel_scope.cancel()

    async def _read(self, audio: AudioChannel, saying: Saying, utterance: _Utterance) -> None:
        listening = saying.listening
        if listening.kind == "not at all":
            await trio.sleep_forever()
        sound: Any = audio
        if listening.kind == "paced":
            sound = audio.paced()
        elif listening.kind == "frames":
            sound = audio.frames()
        count = 0
        async for chunk in sound:
            utterance.sound += chunk
            count += 1
            if listening.stall and count == listening.stall_at:
                self._report.note(f"the loop stands still for {listening.stall} s")
                time.sleep(listening.stall)  # noqa: ASYNC251 - that is what is tried
            if listening.kind == "paced":
                utterance.played_ms = sound.played_ms
            if listening.pause:
                await self._pause(listening.pause, utterance)
        utterance.ended = not audio.dismissed  # `close` ends the iteration, and drops what the frames have

    def _check(
        self,
        config: TTSConfig,
        conversation: Conversation,
        saying: Saying,
        utterance: _Utterance,
        error: BaseException | None,
        began: float,
        took: float,
    ) -> None:
        """Check all rules for one utterance."""
        broke = self._report.broke
        about = f"{conversation.key} {saying.kind} {saying.text!r}"
        audio, outcome = utterance.audio, utterance.audio and utterance.audio.outcome
        end = outcome.end if outcome else "not begun"
        self._report.ends.append(f"{saying.kind} {end}")
        if audio is not None and saying.kind != "static" and audio._utterance.segments.begins_from_memory:
            self._report.ends.append("opening said from memory")
        self._report.note(f"{about}: {end} after {took * 1000:.0f} ms: {error!r}")
        if audio is not None and outcome is None:
            broke(f"{about}: it has not ended")
            return
        waits = 3 * (config.max_replays + 1) + 1  # each try for a connection, its first sound, and more; and for all
        allowed = self._allowed(config, conversation, saying, utterance) + self._loop.excused(began, waits)
        if took > allowed:
            broke(f"{about}: it took {took:.2f} s; its configuration allows {allowed:.2f} s")
        estimated = self._is_estimated(config, saying.kind, saying.text)
        heard = utterance.heard(config, again=config.max_replays if estimated else 0)
        if heard.wrong:
            self._wrong.append((utterance.text_heard(config), f"{about}: {heard.wrong}"))
        if not conversation.hostile:
            self._check_honest(conversation, saying, utterance, error, end, began)
        if audio is None or outcome is None:
            return
        self._audios.append((audio, end))
        in_frames = saying.listening.kind in {"frames", "paced"}  # which take more from the channel than they give out
        whole = utterance.ended or not in_frames
        if end == "finished" and whole and not heard.wrong and heard.whole != len(words_of(saying.text)):
            broke(f"{about}: finished, and heard were {heard.whole} words: {utterance.text_heard(config)!r}")
        if end == "failed" and not isinstance(error, TTSError) and not utterance.left and saying.leave != "cancel":
            broke(f"{about}: it failed, and raised {error!r}")
        told = outcome.spoken_text + outcome.unspoken_text
        if told not in {utterance.accepted, utterance.accepted + utterance.doubtful}:
            broke(f"{about}: accepted were {utterance.accepted!r}, told are {told!r}")
        spoken = len(words_of(outcome.spoken_text))
        if in_frames and utterance.played_ms is not None:
            spoken = len(words_of(audio.spoken(utterance.played_ms)))
        slack = in_frames + (2 if estimated else 0)
        told_by_sound = not in_frames or utterance.played_ms is not None or utterance.ended
        told_by_sound = told_by_sound and conversation.key not in self._server.lied
        if spoken > heard.whole + slack and not heard.wrong and told_by_sound:
            broke(f"{about}: told as spoken are {spoken} words, {heard.whole} were heard")
        if not estimated and not heard.wrong and heard.whole > spoken + 1 and not in_frames:
            broke(f"{about}: {heard.whole} words were heard, {spoken} are told as spoken")

    def _was_late(self, since: float) -> bool:
        """Whether the server, or the loop of the client, got no processor for a while: then honest sound is late."""
        return self._server.was_late(since) or self._loop.was_late(since)

    def _is_estimated(self, config: TTSConfig, kind: str, text: str) -> bool:
        """Whether it was sent without times of the words that can be read, as far as anything was."""
        if kind == "static":
            return not config.static_timestamps
        if not config.sync_alignment or config.fallback:
            return True
        return any(phrase.strip() in text for phrase in self._server.untimed)

    def _check_honest(
        self,
        conversation: Conversation,
        saying: Saying,
        utterance: _Utterance,
        error: BaseException | None,
        end: str,
        began: float,
    ) -> None:
        """What others suffer reaches nobody else."""
        if saying.leave or (end == "finished" and error is None):
            return
        others = [c for c in self._script.conversations if c is not conversation and c.shares_cache]
        shared = saying.kind == "static" and any(s.text == saying.text for c in others for s in c.sayings)
        if shared and utterance.sound and isinstance(error, TTSError):
            return  # it had heard the beginning of the same answer, and nobody begins anew what was heard
        if self._was_late(began) and isinstance(error, TTSConnectionError):
            return
        self._report.broke(f"the server was honest to {conversation.key}, and {saying.text!r} {end}: {error!r}")

    def _allowed(self, config: TTSConfig, conversation: Conversation, saying: Saying, utterance: _Utterance) -> float:
        """How long an utterance may take.

        It waits for a connection; without audio that is owed for `timeouts.reply`, all replays included, each of which
        may wait for another connection; audio that drips restarts that, as often as a drip sends it. What is read by
        the clock takes as long as it sounds. A flood does, however it is read: what is far ahead of the listener is not
        taken from it. That is all the sound that is taken for the text: nothing in the protocol says how long a text
        may sound, or that a message is none of it.
        """
        replays = config.max_replays + 1
        waits = config.timeouts.connect * (replays + 1) + 0.3 * replays
        limiter = _LIMITER_TIMEOUT * replays if conversation.limited else 0.0
        audio = config.timeouts.reply * (replays + 1) + config.timeouts.stall + config.timeouts.text
        dripping = 2.0 * replays
        pacing = 0.07 * len(saying.text) if saying.listening.kind == "paced" else 0.0
        flooded = self._server.flooded
        if conversation.key in flooded or any(text.strip() in saying.text for text in flooded):  # over HTTP, a phrase
            pacing = longest_seconds(saying.text)
        return waits + limiter + audio + dripping + pacing + utterance.own_seconds + 0.5


class _Told(Wrapped):
    """A stream that tells the server what had been read when each thing was written to it."""

    def __init__(self, stream: trio.abc.Stream, server: HostileServer, loop: Loop) -> None:
        tcp: Any = stream  # or TLS on it
        super().__init__(stream)
        self._loop = loop
        self._read = self._written = 0
        self._unread_since = time.perf_counter()  # while somebody reads, infinity
        self._writes = server.writes[tcp.socket.getsockname()[1]] = deque()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._written += len(data)
        somebody_reads = self._unread_since > self._loop.has_seen
        self._writes.append(Written(self._written, self._read if somebody_reads else math.inf))
        await self.stream.send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._unread_since = math.inf
        try:
            data = await self.stream.receive_some(max_bytes)
        finally:
            self._unread_since = time.perf_counter()
        self._read += len(data)
        return data


@attrs.define
class _Utterance:
    """One utterance that goes on, as the caller sees it.

    Attributes:
        text: What is said.
        unasked_format: The format in which the server says something on a connection of which it knows nothing.
        accepted: As much of it as was given.
        doubtful: A token that may have been taken, too.
        sound: What was heard.
        own_seconds: How long the caller made it wait.
        played_ms: What the pacer says was played; None where there is none.
        left: It was left before its end.
        ended: It was read to its end.
        audio: Its channel, once it has begun.
    """

    text: str
    unasked_format: str
    accepted: str = ""
    doubtful: str = ""
    sound: bytearray = attrs.field(factory=bytearray)
    own_seconds: float = 0.0
    played_ms: float | None = None
    left: bool = False
    ended: bool = False
    audio: AudioChannel | None = None

    def text_heard(self, config: TTSConfig) -> str:
        """What was heard in its own format, and behind that what was heard in the other."""
        formats = dict.fromkeys((config.output_format, self.unasked_format))
        return "".join(read_tones(bytes(self.sound), output_format) for output_format in formats)

    def heard(self, config: TTSConfig, *, again: int) -> Heard:
        return listen_for(self.text, self.text_heard(config), again=again)


def _bare(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def run_many(
    seeds: Iterable[int], *, at_once: int = 16, on_report: Callable[[Report], object] = lambda _report: None
) -> list[Report]:
    """Run seeds, some of them at once; the last report has what they left behind all together."""
    reports: list[Report] = []
    handler = _ErrorsAreFaults(logging.ERROR)
    logger = logging.getLogger("tts_trio")
    logger.addHandler(handler)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        with ServerThread.running() as thread:
            trio.run(_run_many, seeds, thread, at_once, reports, on_report)
    finally:
        logger.removeHandler(handler)
        sys.setswitchinterval(interval)
    return reports


async def _run_many(
    seeds: Iterable[int],
    thread: ServerThread,
    at_once: int,
    reports: list[Report],
    on_report: Callable[[Report], object],
) -> None:
    loop = Loop()
    trio.lowlevel.add_instrument(loop)
    before = descriptors()
    limit = trio.Semaphore(at_once)

    async def run(seed: int) -> None:
        try:
            report = await run_seed(seed, thread, loop)
        finally:
            limit.release()
        reports.append(report)
        on_report(report)

    async with trio.open_nursery() as nursery:
        for seed in seeds:
            await limit.acquire()
            nursery.start_soon(run, seed)
    await trio.sleep(0.01)
    left = Report(-1)
    tasks = [task.name for task in _system_tasks() if "tts_trio" in task.name]
    if tasks:
        left.broke(f"tasks were left: {tasks}")
    if descriptors() > before:
        left.broke(f"{descriptors() - before} descriptors were left")
    if left.faults:
        reports.append(left)


def _system_tasks() -> list[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return [task for nursery in root.child_nurseries for task in nursery.child_tasks]
