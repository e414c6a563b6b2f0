"""The WebSockets `/v1/text-to-dialogue/stream-input` and `/multi-stream-input`, for the v3 and v4 models."""

from __future__ import annotations

from typing import Any

from tts_trio.local_server import errors
from tts_trio.local_server.account import Account
from tts_trio.local_server.context_socket import ContextSocket, context_id_of
from tts_trio.local_server.dialogue_context import DialogueContext
from tts_trio.local_server.messages import Close, DialogueSpelling
from tts_trio.local_server.parameters import Parameters, Request
from tts_trio.local_server.socket_core import NORMAL_CLOSURE, SocketCore


class _DialogueSocket(SocketCore[DialogueContext]):
    """Holds one of the account's dialogue sessions for its whole life."""

    _in_session = False

    def __init__(self, request: Request, parameters: Parameters, account: Account, now: float) -> None:
        if account.behaviour.over_concurrency == "upgrade":
            account.begin_session()
            self._in_session = True
        super().__init__(request, parameters, account, now)
        if not self._in_session:
            with self._refusing(now):
                account.begin_session()
                self._in_session = True

    def gone(self) -> None:
        """Note that the client is gone: its session is free, and its generations end now, or run on."""
        super().gone()
        if self._in_session:
            self._in_session = False
            self._account.end_session()


class DialogueInput(_DialogueSocket):
    """One socket, one utterance, ended by `close_socket`."""

    @property
    def spelling(self) -> DialogueSpelling:
        """How messages are spelt here."""
        return DialogueSpelling()

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        self._heard_at = now
        if self._utterances:
            (context,) = self._utterances
            context.refuse_settings(message)
        else:
            context = self._open(DialogueContext, message, now)
        context.take(message, now)
        if message.get("close_socket") is True:
            context.generate(now)
            context.end(now)
            self._ended = True

    def _finished(self, at: float) -> None:
        self._effects.append(Close(at + self._behaviour.close_delay, NORMAL_CLOSURE, ""))


class MultiDialogueInput(_DialogueSocket, ContextSocket[DialogueContext]):
    """One socket, up to five contexts; every message names one, but for a bare `close_socket`."""

    @property
    def spelling(self) -> DialogueSpelling:
        """How messages are spelt here."""
        return DialogueSpelling(contexts=True)

    def _take_message(self, message: dict[str, Any], now: float) -> None:
        context_id = context_id_of(message)
        if context_id is not None:
            self._take_for(context_id, message, now)
        elif message.get("close_socket") is not True:
            raise errors.invalid_parameter("context_id", "context_id is required.")
        if message.get("close_socket") is True:
            self._close_socket(now)

    def _take_for(self, context_id: str, message: dict[str, Any], now: float) -> None:
        if context := self._context(context_id):
            context.refuse_settings(message)
        elif any(closing.context_id == context_id for closing in self._utterances):
            raise errors.CONTEXT_IS_CLOSING.given(context_id=context_id)
        else:
            self._make_room()
            context = self._open(DialogueContext, message, now, context_id)
        context.take(message, now)
        if message.get("close_context") is True:
            self._close_context(context, now)

    def _close_context(self, context: DialogueContext, now: float) -> None:
        """There is no interruption here: the rest is generated first (API reference)."""
        self._say_rest(context, now, self._behaviour.late_final)
