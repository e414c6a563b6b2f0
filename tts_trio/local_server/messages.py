"""What the server says on a WebSocket, and when; and how each family of endpoints spells it."""

from __future__ import annotations

import base64
from typing import Any, Literal, Protocol

import attrs

from tts_trio.local_server.speech import Alignment, Order


@attrs.frozen
class Send:
    """A message to be sent.

    Attributes:
        at: When it is due.
        kind: What it is; "turn" is text-to-dialogue's end of a generation.
        message: Its JSON.
        size: Of its audio, in bytes.
        text: The source's characters that are aligned with it.
        context_id: Whose it is; None: the default context's, or of a socket without contexts.
        utterance: Number of the utterance on its socket; context ids can be used again, numbers are not.
    """

    at: float
    kind: Literal["audio", "turn", "final", "error"]
    message: dict[str, Any]
    size: int = 0
    text: str = ""
    context_id: str | None = None
    utterance: int = 0


@attrs.frozen
class Close:
    """The closing handshake, to be begun."""

    at: float
    code: int
    reason: str


Effect = Order | Send | Close


class Spelling(Protocol):
    """How an endpoint spells its messages."""

    def audio(
        self, audio: bytes, alignment: Alignment | None, normalised: Alignment | None, context_id: str | None
    ) -> dict[str, Any]:
        """Spell a message with audio."""
        ...

    def turn(self, context_id: str | None) -> dict[str, Any] | None:
        """Spell the end of one generation; None: it is not told."""
        ...

    def final(self, context_id: str | None) -> dict[str, Any]:
        """Spell the end of an utterance."""
        ...

    def named(self, message: dict[str, Any], context_id: str | None) -> dict[str, Any]:
        """Say whose a message is, where sockets have contexts."""
        ...


@attrs.frozen
class SpeechSpelling:
    """The text-to-speech sockets: every key always there, as recorded (wire/README.md, 2.5).

    Attributes:
        contexts: Messages name their context.
        snake: `is_final`, as in the reference, rather than `isFinal`, as recorded.
    """

    contexts: bool = False
    snake: bool = False

    def audio(
        self, audio: bytes, alignment: Alignment | None, normalised: Alignment | None, context_id: str | None
    ) -> dict[str, Any]:
        """Spell a message with audio."""
        return self._message(base64.b64encode(audio).decode(), None, alignment, normalised, context_id)

    def turn(self, context_id: str | None) -> None:
        """Nothing tells the end of a generation here."""

    def final(self, context_id: str | None) -> dict[str, Any]:
        """Spell the end of an utterance."""
        return self._message(None, True, None, None, context_id)  # noqa: FBT003 - the value of a field

    def _message(
        self,
        audio: str | None,
        is_final: bool | None,
        alignment: Alignment | None,
        normalised: Alignment | None,
        context_id: str | None,
    ) -> dict[str, Any]:
        message = {
            "audio": audio,
            "is_final" if self.snake else "isFinal": is_final,
            "normalized_alignment" if self.snake else "normalizedAlignment": normalised
            and normalised.for_websocket(snake=self.snake),
            "alignment": alignment and alignment.for_websocket(snake=self.snake),
        }
        return self.named(message, context_id)

    def named(self, message: dict[str, Any], context_id: str | None) -> dict[str, Any]:
        """Say whose a message is, where sockets have contexts."""
        return message | ({"context_id" if self.snake else "contextId": context_id} if self.contexts else {})


@attrs.frozen
class DialogueSpelling:
    """The text-to-dialogue sockets: snake_case, and a message for the end of every generation (API reference).

    Attributes:
        contexts: Messages name their context.
    """

    contexts: bool = False

    def audio(
        self, audio: bytes, alignment: Alignment | None, normalised: Alignment | None, context_id: str | None
    ) -> dict[str, Any]:
        """Spell a message with audio; `normalized_alignment` is "reserved for future use"."""
        message = {
            "audio": base64.b64encode(audio).decode(),
            "alignment": alignment and alignment.for_websocket(snake=True),
            "normalized_alignment": None,
        }
        return self.named(message, context_id)

    def turn(self, context_id: str | None) -> dict[str, Any]:
        """Spell the end of one generation."""
        return self.named({"is_final_audio_for_turn": True}, context_id)

    def final(self, context_id: str | None) -> dict[str, Any]:
        """Spell the end of an utterance."""
        return self.named({"is_final": True}, context_id)

    def named(self, message: dict[str, Any], context_id: str | None) -> dict[str, Any]:
        """Say whose a message is, where sockets have contexts."""
        return message | ({"context_id": context_id} if self.contexts else {})
