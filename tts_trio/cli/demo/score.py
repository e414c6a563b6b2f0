"""The score of a call: what was written, sent, received and heard, on one axis of time."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs

Speaker: TypeAlias = Literal["caller", "static text", "reply"]
EventKind: TypeAlias = Literal["first audio", "cache", "tool", "barge-in", "lost"]


@attrs.frozen
class Event:
    """An event of the call.

    Attributes:
        at: The seconds since the call began, as all times here.
        kind: The kind of the event.
        text: A line for people.
    """

    at: float
    kind: EventKind
    text: str


@attrs.frozen
class Word:
    """A word that was heard whole.

    Attributes:
        text: The word, as it was written.
        begins: When its audio began.
        ends: When its audio ended.
    """

    text: str
    begins: float
    ends: float


@attrs.frozen
class FirstAudio:
    """The parts of the time to the first audio of a turn, in milliseconds.

    Attributes:
        text: The wait for the LLM's first phrase.
        link: The wait for a connection.
        model: The wait for the service, with the round trip.
        client: The time from the arrival of the audio to its delivery.
    """

    text: float
    link: float
    model: float
    client: float

    @property
    def total(self) -> float:
        """The time from the first text to the first audio."""
        return self.text + self.link + self.model + self.client

    def __str__(self) -> str:
        parts = f"text {self.text:.0f}, link {self.link:.0f}, model {self.model:.0f}, client {self.client:.0f}"
        return f"first audio after {self.total:.0f} ms: {parts}"


@attrs.define
class Turn:
    """A turn: what one side says without a break.

    Attributes:
        speaker: The caller, or the agent with a static text or with an LLM's reply.
        began: When the turn began.
        written: The text so far.
        tokens: The pieces of the text, each with the time at which it was written.
        phrases: The phrases, each with the time at which it was sent.
        received: The progress of the audio: a time, the milliseconds received by then, and those heard by then.
        heard: The beginning of the text that was heard; of a reply, the text for the LLM's history.
        words: The words that were heard whole.
        first_audio: The time to the first audio; None before it.
        silence_ms: How long the caller heard nothing in the middle of the turn.
        events: The events of the turn.
        end: How the turn ended; None while it goes on.
    """

    speaker: Speaker
    began: float
    written: str = ""
    tokens: list[tuple[float, str]] = attrs.Factory(list[tuple[float, str]])
    phrases: list[tuple[float, str]] = attrs.Factory(list[tuple[float, str]])
    received: list[tuple[float, float, float]] = attrs.Factory(list[tuple[float, float, float]])
    heard: str = ""
    words: list[Word] = attrs.Factory(list[Word])
    first_audio: FirstAudio | None = None
    silence_ms: float = 0.0
    events: list[Event] = attrs.Factory(list[Event])
    end: Literal["finished", "interrupted", "failed"] | None = None

    @property
    def unheard(self) -> str:
        """The text that was not heard."""
        return self.written[len(self.heard) :]

    def event(self, kind: EventKind) -> Event | None:
        """Return the event of this kind, if it happened."""
        return next((event for event in self.events if event.kind == kind), None)


@attrs.define
class Score:
    """A call.

    Attributes:
        language: The language of the call, an ISO 639-1 code.
        service: The service that speaks for the agent.
        turns: The turns so far, in order.
        seconds: How long the call has lasted.
        hot: The number of WebSockets that can take the next reply.
        in_use: The number of replies that are spoken over WebSockets.
        dialing: The number of WebSockets that are being dialed.
        lead_ms: The audio that was received and not heard yet, in milliseconds.
    """

    language: str
    service: str
    turns: list[Turn] = attrs.Factory(list[Turn])
    seconds: float = 0.0
    hot: int = 0
    in_use: int = 0
    dialing: int = 0
    lead_ms: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the call as an object for `json.dumps`, times in seconds with four decimals."""
        return {
            "language": self.language,
            "service": self.service,
            "seconds": round(self.seconds, 4),
            "turns": [_to_json(turn) for turn in self.turns],
        }


def _to_json(turn: Turn) -> dict[str, Any]:
    first = turn.first_audio
    return {
        "speaker": turn.speaker,
        "began": round(turn.began, 4),
        "end": turn.end,
        "written": turn.written,
        "heard": turn.heard,
        "words": [[word.text, round(word.begins, 4), round(word.ends, 4)] for word in turn.words],
        "tokens": [[round(at, 4), token] for at, token in turn.tokens],
        "phrases": [[round(at, 4), phrase] for at, phrase in turn.phrases],
        "received": [[round(at, 4), round(came, 1), round(heard, 1)] for at, came, heard in turn.received],
        "first_audio_ms": None
        if first is None
        else {name: round(ms, 2) for name, ms in (attrs.asdict(first) | {"total": first.total}).items()},
        "silence_ms": round(turn.silence_ms, 1),
        "events": [{"at": round(event.at, 4), "kind": event.kind, "text": event.text} for event in turn.events],
    }
