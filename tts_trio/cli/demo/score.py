"""The score of a call: what everybody wrote, sent, received and heard, over one axis of time."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs

Speaker: TypeAlias = Literal["caller", "static text", "reply"]
EventKind: TypeAlias = Literal["first audio", "cache", "tool", "barge-in", "lost"]


@attrs.frozen
class Event:
    """Something that happened.

    Attributes:
        at: Seconds since the call began, as everywhere here.
        kind: What it was.
        text: One line for people.
    """

    at: float
    kind: EventKind
    text: str


@attrs.frozen
class Word:
    """A word that was heard whole.

    Attributes:
        text: The word, as it was written.
        begins: When it was first heard.
        ends: When it had been heard.
    """

    text: str
    begins: float
    ends: float


@attrs.frozen
class FirstAudio:
    """The way to the first sound of a turn, in milliseconds.

    Attributes:
        text: The LLM's first phrase was not complete.
        link: There was no connection.
        model: The service had not answered; the way there and back is a part of it.
        client: The sound was in this process, and not yet in the hands of its caller.
    """

    text: float
    link: float
    model: float
    client: float

    @property
    def total(self) -> float:
        """From the first word of the text to the first sound."""
        return self.text + self.link + self.model + self.client

    def __str__(self) -> str:
        parts = f"text {self.text:.0f}, link {self.link:.0f}, model {self.model:.0f}, client {self.client:.0f}"
        return f"first audio after {self.total:.0f} ms: {parts}"


@attrs.define
class Turn:
    """What one side said without a break.

    Attributes:
        speaker: Who speaks: the caller, or the agent with a static text or with an LLM's reply.
        began: When it began.
        written: The text so far.
        tokens: When each piece of it was written.
        phrases: When each phrase of it was sent.
        received: When more of its sound had come: how many milliseconds of it, and how many of them were heard by then.
        heard: The beginning of the text that was heard; of an agent's reply, what goes into the LLM's history.
        words: The words of that.
        first_audio: The way to the first sound.
        silence_ms: How long the caller heard nothing in the middle of it.
        events: What happened.
        end: How it ended; None while it goes on.
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
        """The rest of the text."""
        return self.written[len(self.heard) :]

    def event(self, kind: EventKind) -> Event | None:
        """Return the event of this kind, if it happened."""
        return next((event for event in self.events if event.kind == kind), None)


@attrs.define
class Score:
    """A call.

    Attributes:
        language: ISO 639-1.
        service: Who spoke for the agent.
        turns: In order.
        seconds: How long the call has lasted.
        hot: WebSockets that wait for the next reply.
        in_use: Replies that go on over one.
        dialing: WebSockets on their way.
        lead_ms: Sound that came and was not heard yet.
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
        """Return it for `json.dumps`, times in seconds to the tenth of a millisecond."""
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
