"""What a seed decides: the conversations, what they say, how they listen, and when they leave."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Literal

import attrs

from tts_trio import Timeouts

_SYLLABLES = {
    "en": ("ba", "den", "fo", "gra", "him", "jo", "ka", "lu", "mor", "ni", "pel", "quo", "ri", "sta", "tun", "ve"),
    "ru": ("ба", "дён", "фо", "гра", "хим", "жо", "ка", "лю", "мор", "ни", "пел", "цо", "ры", "ста", "тун", "ве"),
}
OPENINGS = ("Sure, so. ", "Да, вот. ")
"""With what the replies of some conversations begin; no other word has their syllables."""
ENDPOINTS = ("stream-input", "multi-stream-input", "text-to-dialogue")


@attrs.frozen
class Listening:
    """How the audio is read.

    Attributes:
        kind: "eager", "slow" (it sleeps between two pieces), "paced" (frames by the clock), "frames", or "not at all".
        pause: Of a slow one, in seconds.
        stall: The loop is blocked for so many seconds at the piece of this number; 0 for never.
        stall_at: That number.
    """

    kind: Literal["eager", "slow", "paced", "frames", "not at all"]
    pause: float = 0.0
    stall: float = 0.0
    stall_at: int = 0


@attrs.frozen
class Saying:
    """One utterance.

    Attributes:
        kind: A static text, `speak`, or `start_llm_stream`.
        text: What is said.
        tokens: The same as an LLM writes it.
        pause: Between two tokens, in seconds.
        listening: How it is read.
        leave: How it is left early; "" where it is read to its end.
        leave_after: So many seconds after its beginning.
        after: It begins so many seconds after the one before it, or (None) when that one has ended.
    """

    kind: Literal["static", "speak", "stream"]
    text: str
    tokens: tuple[str | None, ...]
    pause: float
    listening: Listening
    leave: Literal["", "cancel", "leave", "close", "error"]
    leave_after: float
    after: float | None


@attrs.frozen
class Conversation:
    """One caller.

    Attributes:
        key: The API key, by which the server knows the conversation.
        hostile: The server is hostile to it; else nothing that others suffer may reach it.
        config: Fields of its configuration.
        shares_cache: It shares a cache with the other conversations.
        limited: It shares a limiter of this size; 0: there is none.
        sayings: What it says.
        openings: In what it keeps the openings of its replies, with the others: "memory", or a "slow" cache of the
            user's own; "" for nothing.
        prefetch: Whether it prefetches them, before it says anything or meanwhile.
        prefetch_for: So many seconds after it began to it stops.
    """

    key: str
    hostile: bool
    config: dict[str, Any]
    shares_cache: bool
    limited: int
    sayings: tuple[Saying, ...]
    openings: Literal["", "memory", "slow"] = ""
    prefetch: Literal["", "before", "meanwhile"] = ""
    prefetch_for: float = 0.0


@attrs.frozen
class Script:
    """All that a seed decides about the client.

    Attributes:
        seed: The seed.
        tls: Whether the server speaks TLS.
        conversations: At the same time.
    """

    seed: int
    tls: bool
    conversations: tuple[Conversation, ...]

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {'TLS' if self.tls else 'plain'}"]
        for conversation in self.conversations:
            lines.append(
                f"  {conversation.key}{'' if conversation.hostile else ', the server is honest to it'},"
                f" cache {'shared' if conversation.shares_cache else 'none'}, limiter {conversation.limited},"
                f" openings {conversation.openings or 'none'},"
                f" prefetched {conversation.prefetch or 'never'} {conversation.prefetch_for:.3f} s"
            )
            lines.append(f"    {conversation.config}")
            lines += [f"    {saying}" for saying in conversation.sayings]
        return "\n".join(lines)


def script_of(seed: int) -> Script:
    """Write the script of a seed."""
    rng = random.Random(f"script {seed}")
    words = _words(rng)
    shared = tuple(_text(rng, words, rng.randint(1, 5)) for _ in range(2))  # static texts that all may say
    number = rng.choice((1, 1, 1, 1, 2, 2, 3))
    shares_cache = number > 1 and rng.random() < 0.8
    honest = number > 1 and rng.random() < 0.6
    limited = rng.choice((0, 0, 0, 1, 2)) if not honest else 0
    conversations = tuple(
        Conversation(
            key=f"sk_fuzz_{seed}_{index}",
            hostile=not (honest and index == number - 1),
            config=_config(rng),
            shares_cache=shares_cache or (number == 1 and rng.random() < 0.4),
            limited=limited,
            sayings=tuple(
                _saying(rng, words, shared, alone=first) for first in [True, False, False][: rng.choice((1, 2, 2, 3))]
            ),
        )
        for index in range(number)
    )
    if shares_cache and rng.random() < 0.7:  # they ask for the same text in the same format: one request serves all
        names = ("endpoint", "model_id", "output_format", "static_timestamps")
        settings = {name: conversations[0].config[name] for name in names} | {"request_stitching": False}
        conversations = tuple(
            attrs.evolve(conversation, config=conversation.config | settings) for conversation in conversations
        )
    return Script(seed, rng.random() < 0.45, _with_hedges(seed, _with_openings(seed, conversations)))


def _with_openings(seed: int, conversations: tuple[Conversation, ...]) -> tuple[Conversation, ...]:
    """Let the conversations of some seeds keep the openings of their replies, most of them of the same sound."""
    rng = random.Random(f"openings {seed}")
    kept = rng.choice(("", "memory", "memory", "slow"))
    if not kept:
        return conversations
    names = ("endpoint", "model_id", "output_format") if rng.random() < 0.8 else ()
    settings = {name: conversations[0].config[name] for name in names} | {"sync_alignment": True}
    if settings.get("endpoint") == "text-to-dialogue":
        settings["request_stitching"] = False
    return tuple(
        attrs.evolve(
            conversation,
            config=conversation.config | settings,
            sayings=tuple(_opened(rng, saying) for saying in conversation.sayings),
            openings=kept,
            prefetch=rng.choice(("", "before", "before", "meanwhile")),
            prefetch_for=rng.choice((rng.uniform(0, 0.2), 0.7, 0.7)),
        )
        for conversation in conversations
    )


def _opened(rng: random.Random, saying: Saying) -> Saying:
    opening = rng.choice((*OPENINGS, "".join(OPENINGS)))
    if saying.kind == "static" or rng.random() < 0.2:
        return saying
    return attrs.evolve(saying, text=opening + saying.text, tokens=_tokens(rng, opening) + saying.tokens)


def _with_hedges(seed: int, conversations: tuple[Conversation, ...]) -> tuple[Conversation, ...]:
    """Let most conversations ask a second time where the first sound is late."""
    rng = random.Random(f"hedges {seed}")
    hedges = [rng.choice((None, "auto", 0.005, 0.015, 0.03)) for _ in conversations]
    return tuple(
        attrs.evolve(conversation, config=conversation.config | {"hedge": hedge})
        for conversation, hedge in zip(conversations, hedges, strict=True)
    )


def _config(rng: random.Random) -> dict[str, Any]:
    endpoint = rng.choice(ENDPOINTS)
    return {
        "endpoint": endpoint,
        "model_id": "eleven_v3_conversational" if endpoint == "text-to-dialogue" else "eleven_flash_v2_5",
        "output_format": rng.choice(("pcm_8000", "pcm_8000", "pcm_16000", "ulaw_8000")),
        "spares": rng.choice((0, 0, 1, 1, 2)),
        "static_timestamps": rng.random() < 0.4,
        "on_lost_connection": rng.choice(("resume", "resume", "resume", "raise")),
        "fallback": rng.choice((None, None, None, "http")),
        "sync_alignment": rng.random() < 0.85,
        "max_replays": rng.choice((0, 1, 2, 2)),
        "request_stitching": endpoint != "text-to-dialogue" and rng.random() < 0.1,  # so that nothing is kept
        "timeouts": Timeouts(
            connect=rng.choice((0.3, 0.6)),
            first_audio=rng.choice((0.1, 0.3)),
            stall=rng.choice((0.08, 0.25)),
            reply=rng.choice((0.5, 0.9)),
            text=0.8,
            close=0.05,
            ping=rng.choice((0.1, 0.3)),
        ),
        "ping_interval": 1.0,
        "max_lead": rng.choice((1.0, 3.0, 20.0, 20.0)),
    }


def _saying(rng: random.Random, words: Iterator[str], shared: tuple[str, ...], *, alone: bool) -> Saying:
    kind = rng.choice(("static", "static", "speak", "speak", "stream"))
    listening = _listening(rng)
    length = rng.randint(1, 4) if listening.kind == "paced" else rng.choice((1, 2, 4, 7, 12))
    text = rng.choice(shared) if kind == "static" and rng.random() < 0.5 else _text(rng, words, length)
    tokens = _tokens(rng, text)
    leave = rng.choice(("", "", "", "", "", "", "", "", "cancel", "leave", "close", "error"))
    if listening.kind == "not at all":
        leave = leave or "leave"
    return Saying(
        kind=kind,
        text=text,
        tokens=tokens,
        pause=rng.choice((0.0, 0.0, 0.002, 0.01)),
        listening=listening,
        leave=leave,
        leave_after=rng.choice((0.0, 0.001, rng.uniform(0, 0.02), rng.uniform(0, 0.3))),
        after=None if alone or rng.random() < 0.5 else rng.uniform(0, 0.05),
    )


def _listening(rng: random.Random) -> Listening:
    kind = rng.choice(("eager", "eager", "eager", "eager", "slow", "slow", "paced", "frames", "not at all"))
    stall, stall_at = 0.0, 0
    if rng.random() < 0.04:
        stall, stall_at = rng.choice((0.1, 0.1, 0.1, 0.3)), rng.choice((1, 1, 2, 3))
    return Listening(kind, rng.choice((0.0, 0.001, 0.01)) if kind == "slow" else 0.0, stall, stall_at)


def _words(rng: random.Random) -> Iterator[str]:
    """Words none of which comes twice in a script, so that a word that is heard belongs to one place."""
    given: set[str] = set()
    while True:
        syllables = _SYLLABLES[rng.choice(("en", "ru"))]
        word = "".join(rng.choice(syllables) for _ in range(rng.choice((1, 2, 2, 3))))
        if word not in given:
            given.add(word)
            yield word


def _text(rng: random.Random, words: Iterator[str], length: int) -> str:
    parts: list[str] = []
    begins = True
    for index in range(length):
        word = next(words)
        parts.append(word.capitalize() if begins else word)
        mark = rng.choice((".", "!", "?", ",", "", "", "", "", " —" if index else ""))
        begins = mark in {".", "!", "?"}
        parts.append(mark + " ")
    return "".join(parts).rstrip(" —,") + rng.choice(("", ".", "!", "?"))


def _tokens(rng: random.Random, text: str) -> tuple[str | None, ...]:
    longest = rng.choice((2, 4, 12, 1000))
    tokens: list[str | None] = []
    at = 0
    while at < len(text):
        size = rng.randint(1, longest)
        tokens.append(text[at : at + size])
        at += size
        if rng.random() < 0.05:
            tokens.append(rng.choice(("", None)))
    return tuple(tokens)
