"""The messages of a WebSocket, the times at which they are due, and how each family of endpoints spells them."""

from __future__ import annotations

import base64
from typing import Any, Literal

import attrs

from tts_trio.local_server.speech import Alignment, Order


@attrs.frozen
class Send:
    """A message to be sent.

    Attributes:
        at: The time at which it is due.
        kind: The kind of message; "turn" is the end of a generation of text-to-dialogue.
        message: The JSON of the message.
        size: The size of its audio, in bytes.
        text: The client's characters that are aligned with its audio.
        context_id: The context it belongs to; None: the default context, or a socket without contexts.
        utterance: The number of the utterance on its socket. A context id can be used again, a number is not.
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
    """The closing handshake, which the server begins at this time."""

    at: float
    code: int
    reason: str


Effect = Order | Send | Close


@attrs.frozen
class Spelling:
    """How an endpoint spells its messages.

    A text-to-speech socket sends every key in every message, as recorded (wire/README.md, 2.5). A text-to-dialogue
    socket writes snake_case, and tells the end of every generation (API reference).

    Attributes:
        dialogue: The endpoint is a text-to-dialogue socket.
        contexts: Every message names its context.
        snake: A text-to-speech socket writes `is_final`, as in the reference, rather than `isFinal`, as recorded.
    """

    dialogue: bool = False
    contexts: bool = False
    snake: bool = False

    def audio(
        self, audio: bytes, alignment: Alignment | None, normalized: Alignment | None, context_id: str | None
    ) -> dict[str, Any]:
        """Spell a message with audio; a dialogue's `normalized_alignment` is "reserved for future use"."""
        encoded = base64.b64encode(audio).decode()
        if not self.dialogue:
            return self._speech(encoded, None, alignment, normalized, context_id)
        timed = alignment and alignment.for_websocket(snake=True)
        return self.named({"audio": encoded, "alignment": timed, "normalized_alignment": None}, context_id)

    def turn(self, context_id: str | None) -> dict[str, Any] | None:
        """Spell the end of one generation; None: this socket does not tell it."""
        return self.named({"is_final_audio_for_turn": True}, context_id) if self.dialogue else None

    def final(self, context_id: str | None) -> dict[str, Any]:
        """Spell the end of an utterance."""
        if self.dialogue:
            return self.named({"is_final": True}, context_id)
        return self._speech(None, True, None, None, context_id)  # noqa: FBT003 - the value of a field

    def named(self, message: dict[str, Any], context_id: str | None) -> dict[str, Any]:
        """Add the name of the context, where sockets have contexts."""
        key = "context_id" if self.snake or self.dialogue else "contextId"
        return message | ({key: context_id} if self.contexts else {})

    def _speech(
        self,
        audio: str | None,
        is_final: bool | None,
        alignment: Alignment | None,
        normalized: Alignment | None,
        context_id: str | None,
    ) -> dict[str, Any]:
        final = "is_final" if self.snake else "isFinal"
        message = {
            "audio": audio,
            final: is_final,
            "normalized_alignment" if self.snake else "normalizedAlignment": normalized
            and normalized.for_websocket(snake=self.snake),
            "alignment": alignment and alignment.for_websocket(snake=self.snake),
        }
        return self.named(message, context_id)
