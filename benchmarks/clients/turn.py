"""What a client is to say, when each piece of it is known, and the times of what became of it.

Times are those of `time.perf_counter`, which on Linux and macOS is one clock for all processes of a machine.
"""

from __future__ import annotations

import base64
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any


class Turn:
    """One utterance.

    Attributes:
        cut_at: When the caller interrupts it, or None.
        text: All of it.
    """

    def __init__(
        self,
        pieces: list[str],
        rate: float = 50.0,
        *,
        begins_in: float = 0.0,
        cut_after: float | None = None,
        keep_sound: bool = False,
    ) -> None:
        """Prepare an utterance.

        Args:
            pieces: As an LLM writes them.
            rate: Pieces a second.
            begins_in: Seconds from the client's being told until the first piece is known.
            cut_after: Seconds from then to the interruption; None: it is heard to its end.
            keep_sound: The record is to have the sound in it.
        """
        self.text = "".join(pieces)
        self.cut_at: float | None = None
        self._pieces = pieces
        self._rate = rate
        self._begins_in = begins_in
        self._cut_after = cut_after
        self._sound = bytearray() if keep_sound else None
        # In arrays: a tuple for each piece would be work for the collector, which is to be the client's.
        self._heard_at = array("d")
        self._sizes = array("L")
        self._times: dict[str, float] = {}

    def begin(self) -> None:
        """The client is told to speak; again is no error."""
        if "began" not in self._times:
            self._times["began"] = time.perf_counter() + self._begins_in
            if self._cut_after is not None:
                self.cut_at = self._times["began"] + self._cut_after

    async def pieces(self, sleep: Callable[[float], Awaitable[object]]) -> AsyncIterator[str]:
        """Give the pieces as they come to be known."""
        for piece, wait in self._schedule():
            if wait > 0:
                await sleep(wait)
            yield piece

    async def sentences(self, sleep: Callable[[float], Awaitable[object]]) -> AsyncIterator[str]:
        """Give them joined, where a piece ends in a mark: a sentence as soon as it is known."""
        sentence = ""
        async for piece in self.pieces(sleep):
            sentence += piece
            if piece.rstrip().endswith((".", "!", "?")):
                yield sentence
                sentence = ""
        if sentence:
            yield sentence

    def pieces_blocking(self) -> Iterator[str]:
        """Give them to a client of threads."""
        for piece, wait in self._schedule():
            if wait > 0:
                time.sleep(wait)
            yield piece

    def _schedule(self) -> Iterator[tuple[str, float]]:
        for number, piece in enumerate(self._pieces):
            yield piece, self._times["began"] + number / self._rate - time.perf_counter()

    def heard(self, chunk: bytes) -> None:
        """The caller has a piece of audio in his hands."""
        self._heard_at.append(time.perf_counter())
        self._sizes.append(len(chunk))
        if self._sound is not None:
            self._sound += chunk

    @property
    def is_heard(self) -> bool:
        """Whether any audio has come."""
        return bool(self._sizes)

    def mark(self, name: str, at: float | None = None) -> None:
        """Note when something happened, now or `at`.

        "cut": the caller interrupts; "ended": the end is known; "free": he goes on.
        """
        self._times[name] = time.perf_counter() if at is None else at

    def until_cut(self) -> float:
        """Return the seconds until the interruption."""
        return max(0.0, (self.cut_at or 0.0) - time.perf_counter())

    def record(self, error: BaseException | None = None) -> dict[str, Any]:
        """Return what became of it."""
        record: dict[str, Any] = {"audio": [*zip(self._heard_at, self._sizes, strict=True)], **self._times}
        if self._sound is not None:
            record["sound"] = base64.b64encode(self._sound).decode()
        if error is not None:
            record["error"] = f"{type(error).__name__}: {error}"
        return record
