"""From a client's times and the service's to what a turn is made of. Pure arithmetic; all times in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
"""What a client tells of an utterance: `Turn.record`."""

Event = Mapping[str, Any]
"""What the service tells: a line of `benchmarks.service`."""

PARTS = ("dial", "text", "client out", "link", "model", "client in")
"""What the time from the first token to the first audio is made of, in this order."""


def first_audio(record: Record) -> float:
    """Return the time from the first piece of text to the first audio in the caller's hands."""
    return record["audio"][0][0] - record["began"]


def parts(record: Record, events: Sequence[Event], *, pieces: int, rate: float, round_trip: float) -> dict[str, float]:
    """Take the time from the first piece of text to the first audio apart.

    The service's times are those at its end of the link, so half of a round trip lies between them and the client's.
    "text" ends with the last piece that was known when the first text left, "client out" when it left; "dial" is what a
    client spent on a connection before it could send.

    Args:
        record: The client's.
        events: The service's, of the same time.
        pieces: How many pieces the text has.
        rate: How many came to be known in a second.
        round_trip: Of the link.
    """
    began = record["began"]
    asked = next(event for event in events if event["kind"] == "text" and _speaks(event["message"]))
    here = [event for event in events if event["connection"] == asked["connection"]]
    said = next(event for event in here if event["kind"] == "audio" and event["at"] >= asked["at"])
    left = asked["at"] - round_trip / 2
    dialed = any(event["kind"] == "request" and event["at"] - round_trip / 2 > began for event in here)
    hot = next(event["at"] for event in here if event["kind"] == "text") - round_trip / 2
    dial = hot - began if dialed else 0.0
    known = began + min(int((left - began) * rate), pieces - 1) / rate
    text = max(0.0, known - began - dial)
    return {
        "dial": dial,
        "text": text,
        "client out": left - began - dial - text,
        "link": round_trip,
        "model": said["at"] - asked["at"],
        "client in": record["audio"][0][0] - said["at"] - round_trip / 2,
    }


def _speaks(message: Any) -> bool:
    text = message.get("text") if isinstance(message, Mapping) else None
    return isinstance(text, str) and any(char.isalnum() for char in text)


def deliveries(record: Record, events: Sequence[Event], *, round_trip: float = 0.0) -> list[float]:
    """Return, for each audio message of the service, the time from its being said to the first of it being in hand.

    The first and not the last of it: some clients cut the audio anew, and keep a rest until there is more.
    """
    arrivals = iter(record["audio"])
    at, held, said = 0.0, 0, 0
    delays: list[float] = []
    for event in events:
        if event["kind"] != "audio":
            continue
        while held <= said:
            try:
                at, size = next(arrivals)
            except StopIteration:
                return delays
            held += size
        said += event["size"]
        delays.append(at - event["at"] - round_trip / 2)
    return delays


def end_known(record: Record, events: Sequence[Event], *, round_trip: float = 0.0) -> float:
    """Return the time from the service's last audio to the client's telling that this was the end."""
    return record["ended"] - max(event["at"] for event in events if event["kind"] == "audio") - round_trip / 2


def request_out(record: Record, events: Sequence[Event], *, round_trip: float = 0.0) -> float:
    """Return the time from a static text's being given to its request's leaving."""
    asked = next(event for event in events if event["kind"] == "request" and event["at"] > record["began"])
    return asked["at"] - record["began"] - round_trip / 2


def texts(events: Sequence[Event]) -> list[str]:
    """Return the texts that the service was sent over WebSockets, in messages of any endpoint."""
    messages = [event["message"] for event in events if event["kind"] == "text"]
    return [message["text"] for message in messages if isinstance(message.get("text"), str)]


def of_voice(events: Sequence[Event], voice: str) -> list[Event]:
    """Return what happened on the connections of a voice."""
    own = {event["connection"] for event in events if event["kind"] == "request" and f"/{voice}/" in event["path"]}
    return [event for event in events if event["connection"] in own]
