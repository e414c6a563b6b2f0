"""Plays the scene of the demo as a call, and writes its score."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import attrs
import trio

from tts_trio._nurseries import single_error
from tts_trio.cli.demo.line import Line
from tts_trio.cli.demo.link import Link
from tts_trio.cli.demo.scene import Caller, Reply, Static
from tts_trio.cli.demo.scene import Turn as Scripted
from tts_trio.cli.demo.score import Event, FirstAudio, Score, Speaker, Turn, Word
from tts_trio.config.config import TTSConfig
from tts_trio.config.phrase_policy import PhrasePolicy
from tts_trio.config.protocols import Phrases
from tts_trio.connection_manager import WebSocketConnectionManager
from tts_trio.manager import TTSManager
from tts_trio.speech.channels import AudioChannel
from tts_trio.speech.playout import PacedFrames
from tts_trio.text import phrases_for

CallerVoice: TypeAlias = Callable[[str], bytes]
"""A function that speaks a text for the caller, in samples at the rate of the line."""

_LEAD_MS = 100.0  # audio that the pacer sends ahead of the caller's ear
_FRAME_MS = 20
_TOKEN_CHARACTERS = 4  # an English token of today's models has some four characters
_TOKENS_A_SECOND = 50
_PAUSE = 0.35  # seconds between two turns, as between people
_NOTICED = 0.25  # seconds of the caller's speech after which a voice activity detector notices it
_LOOK = 0.01  # seconds between two readings of what was heard


@attrs.define(eq=False)
class Call:
    """One call.

    Attributes:
        config: The voice and the service.
        link: Opens the connections to the service, and cuts one.
        line: Plays what the caller and the agent say.
        caller_voice: Speaks for the caller.
        score: The record of what has happened so far.
    """

    config: TTSConfig
    link: Link
    line: Line
    caller_voice: CallerVoice
    score: Score
    _speaking: _Speaking | None = None

    async def run(self, scene: Sequence[Scripted]) -> None:
        """Play a scene.

        Raises:
            TTSError: The agent could not speak.
        """
        config = self.config.evolve(phrase_policy=self._phrases, static_timestamps=True)
        async with (
            WebSocketConnectionManager(config, open_stream=self.link.open_stream) as connections,
            TTSManager(config, connections) as tts,
        ):
            await connections.connect()
            for scripted in scene:
                match scripted:
                    case Caller(text):
                        await self._caller_ends(self.caller_begins(text))
                    case Static(text):
                        turn = self._begin("static text", text)
                        await self._agent_speaks(turn, tts.stream_static_text(text), connections)
                    case Reply():
                        turn = self._begin("reply")
                        await self._agent_speaks(turn, tts.speak(self._tokens(turn, scripted)), connections, scripted)
                await trio.sleep(_PAUSE)

    def interrupt(self) -> None:
        """Interrupt the agent now, as a caller does."""
        if self._speaking is not None:
            self._speaking.scope.cancel(reason="barge-in")

    def end(self) -> None:
        """Hang up."""
        self.line.end()
        self.score.seconds = self.line.now()

    def caller_begins(self, text: str) -> tuple[Turn, float]:
        """Begin a turn of the caller; return it and the time of its end, in seconds of trio's clock."""
        turn = self._begin("caller", text)
        return turn, self.line.say(self.caller_voice(text))

    @staticmethod
    async def _caller_ends(speaking: tuple[Turn, float]) -> None:
        turn, ends = speaking
        await trio.sleep_until(ends)
        turn.heard, turn.end = turn.written, "finished"

    def _begin(self, speaker: Speaker, text: str = "") -> Turn:
        turn = Turn(speaker, self.line.now(), text)
        self.score.turns.append(turn)
        return turn

    async def _tokens(self, turn: Turn, reply: Reply) -> AsyncGenerator[str]:  # noqa: ASYNC900 - closed by `speak`
        """Give the reply as an LLM writes it: 50 tokens a second, with its pauses."""
        for part in reply.writes:
            if isinstance(part, str):
                for start in range(0, len(part), _TOKEN_CHARACTERS):
                    token = part[start : start + _TOKEN_CHARACTERS]
                    turn.written += token
                    turn.tokens.append((self.line.now(), token))
                    yield token
                    await trio.sleep(1 / _TOKENS_A_SECOND)
            else:
                turn.events.append(Event(self.line.now(), "tool", f"the LLM calls a tool, which takes {part:g} s"))
                await trio.sleep(part)

    def _phrases(self) -> Phrases:
        """Return a phraser of the default policy that records the phrases of the reply that begins now."""
        phraser = phrases_for(PhrasePolicy(), language_code=self.config.language_code, ssml=False)
        return _NotedPhrases(phraser, self.score.turns[-1], self.line)

    async def _agent_speaks(
        self,
        turn: Turn,
        speech: AbstractAsyncContextManager[AudioChannel],
        connections: WebSocketConnectionManager,
        reply: Reply | None = None,
    ) -> None:
        asked = trio.current_time()
        async with speech as audio:
            speaking = self._speaking = _Speaking(
                self, turn, audio, audio.paced(_FRAME_MS, lead_ms=_LEAD_MS), connections, asked
            )
            try:
                await speaking.run(reply)
            finally:
                self._speaking = None
        self.line.agent.stop(self.line.position())
        speaking.end()
        if speaking.interruption is not None:
            await self._caller_ends(speaking.interruption)


@attrs.define(eq=False)
class _Speaking:
    """A turn of the agent while it is spoken: plays it, and records what is heard of it."""

    call: Call
    turn: Turn
    audio: AudioChannel
    frames: PacedFrames
    connections: WebSocketConnectionManager
    asked: float
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    interruption: tuple[Turn, float] | None = None
    _begins: list[int] = attrs.Factory(list[int])  # where each frame begins on the line, in samples
    _losses: int = 0

    async def run(self, reply: Reply | None) -> None:
        """Play the turn until its end, or until it is interrupted."""
        self._losses = self.connections.statistics().losses
        with single_error, self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                if reply is not None:
                    nursery.start_soon(self._meddle, reply)
                async for frame in self.frames:
                    self._play(frame)
                nursery.cancel_scope.cancel(reason="the turn was heard to its end")

    def _play(self, frame: bytes) -> None:
        line = self.call.line
        silent_since = len(line.agent.played) // 2
        begins = line.agent.play(frame, line.position())
        if self._begins:
            self.turn.silence_ms += (begins - silent_since) * 1000 / line.sample_rate
        self._begins.append(begins)

    async def _watch(self) -> None:
        while True:
            self._look()
            await trio.sleep(_LOOK)

    async def _meddle(self, reply: Reply) -> None:
        """Cut the connection, or interrupt the agent, where the script says so."""
        if reply.lost_after is not None:
            await self._until(reply.lost_after, lambda: self.audio.words[-1].end_ms if self.audio.words else 0.0)
            self.call.link.cut()
        if reply.interrupted_after is not None:
            await self._until(reply.interrupted_after, lambda: self.frames.played_ms)
            self.interruption = self.call.caller_begins(reply.interruption)
            await trio.sleep(_NOTICED)
            self.scope.cancel(reason="barge-in")

    async def _until(self, words: str, ms: Callable[[], float]) -> None:
        while words not in self.audio.spoken(ms()):  # noqa: ASYNC110 - time passes without an event to wait for
            await trio.sleep(_LOOK)

    def _look(self) -> None:
        """Record the present state."""
        audio, turn, score, line = self.audio, self.turn, self.call.score, self.call.line
        now = line.now()
        if not turn.received or turn.received[-1][1] != audio.received_ms:
            turn.received.append((now, audio.received_ms, self.frames.played_ms))
        turn.heard = audio.spoken(self.frames.played_ms)
        self._note_first_audio()
        statistics = self.connections.statistics()
        score.seconds = now
        score.hot, score.in_use, score.dialing = statistics.hot, statistics.in_use, statistics.dialing
        score.lead_ms = audio.received_ms - self.frames.played_ms
        if statistics.losses > self._losses:
            self._losses = statistics.losses
            rest = turn.written[len(audio.spoken(audio.received_ms)) :].split()
            turn.events.append(Event(now, "lost", f"connection lost, went on from “{rest[0] if rest else ''}”"))

    def _note_first_audio(self) -> None:
        turn, timeline = self.turn, self.audio.timeline
        begun, sent, came, given = (
            timeline.first_text,
            timeline.first_sent,
            timeline.first_received,
            timeline.first_delivered,
        )
        if turn.first_audio is not None or begun is None or sent is None or came is None or given is None:
            return
        ready = (timeline.connected or timeline.started) if turn.speaker == "reply" else sent
        text = sent - begun if turn.speaker == "reply" else 0.0
        seconds = (text, ready - self.asked, came - sent, given - came)
        turn.first_audio = FirstAudio(*(part * 1000 for part in seconds))
        now = self.call.line.now()
        if turn.speaker == "static text" and not self.audio.usage.characters:
            turn.events.append(Event(now, "cache", f"from the cache, {turn.first_audio.total:.1f} ms"))
        else:
            turn.events.append(Event(now, "first audio", str(turn.first_audio)))

    def end(self) -> None:
        """Record what was heard, and how the turn ended."""
        turn, line = self.turn, self.call.line
        self._look()
        played_ms = self.frames.played_ms
        turn.heard = self.audio.spoken(played_ms)
        outcome = self.audio.outcome
        turn.end = "interrupted" if self.scope.cancelled_caught else outcome.end if outcome is not None else None
        turn.words = [
            Word(word.text, self._at(word.start_ms), self._at(word.end_ms))
            for word in self.audio.words
            if word.end_ms <= played_ms
        ]
        if turn.end == "interrupted":
            of = f"{len(turn.heard.split())} of {len(turn.written.split())} words heard"
            turn.events.append(Event(line.now(), "barge-in", f"the caller interrupts: {of}"))

    def _at(self, ms: float) -> float:
        """Return when a place in the audio was heard, in seconds of the call."""
        frame = min(int(ms // _FRAME_MS), len(self._begins) - 1)
        return self._begins[frame] / self.call.line.sample_rate + (ms - frame * _FRAME_MS) / 1000


@attrs.define
class _NotedPhrases:
    """A phraser that records the phrases and when they were sent."""

    _phraser: Phrases
    _turn: Turn
    _line: Line

    def feed(self, token: str, now: float, lead: float) -> list[str]:
        return self._noted(self._phraser.feed(token, now, lead))

    def deadline(self) -> float | None:
        return self._phraser.deadline()

    def expire(self, now: float) -> list[str]:
        return self._noted(self._phraser.expire(now))

    def close(self) -> list[str]:
        return self._noted(self._phraser.close())

    @property
    def pending(self) -> str:
        return self._phraser.pending

    def _noted(self, phrases: list[str]) -> list[str]:
        self._turn.phrases += [(self._line.now(), phrase) for phrase in phrases]
        return phrases
