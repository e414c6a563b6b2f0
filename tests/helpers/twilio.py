"""Twilio's side of a Media Stream, for the tests of telephone agents."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any

import attrs
import trio
import trio_websocket

STREAM_SID = "MZ18ad3ab5a668481ce02b83e7395059f0"


@attrs.define
class Twilio:
    """Twilio's side of a Media Stream: it plays what it gets in real time, gives marks back, and drops on `clear`."""

    websocket: trio_websocket.WebSocketConnection
    got: list[dict[str, Any]] = attrs.field(factory=list)
    began: float | None = None
    changed: trio.Event = attrs.field(factory=trio.Event)

    async def say(self, event: str, **fields: Any) -> None:
        await self.websocket.send_message(json.dumps({"event": event, "streamSid": STREAM_SID, **fields}))

    async def say_media(self, payload: bytes) -> None:
        await self.say("media", media={"track": "inbound", "payload": base64.b64encode(payload).decode()})

    async def run(self) -> None:
        while True:
            event = json.loads(await self.websocket.get_message())
            assert event["streamSid"] == STREAM_SID
            self.got.append(event | {"at": trio.current_time()})
            if event["event"] == "mark":
                await self.say("mark", mark=event["mark"])
            self.changed.set()
            self.changed = trio.Event()

    async def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until so many of these came, and return the last of them."""
        with trio.fail_after(60):
            while len(found := [each for each in self.got if each["event"] == event]) < count:
                await self.changed.wait()
        return found[count - 1]

    def sound(self, events: Iterable[dict[str, Any]]) -> bytes:
        return b"".join(base64.b64decode(each["media"]["payload"]) for each in events if each["event"] == "media")

    def played(self) -> list[tuple[float, bytes]]:
        """What the caller has heard: when each stretch without a gap began, and its sound, to the sample."""
        stretches: list[tuple[float, bytearray]] = []
        silent_from = -math.inf
        for event in self.got:
            at: float = event["at"]
            if event["event"] == "media":
                if at > silent_from + 1e-6:
                    stretches.append((at, bytearray()))
                    silent_from = at
                payload = base64.b64decode(event["media"]["payload"])
                stretches[-1][1].extend(payload)
                silent_from += len(payload) / 8000
            elif event["event"] == "clear" and at < silent_from:
                began, sound = stretches[-1]
                del sound[round((at - began) * 8000) :]
                silent_from = at
        return [(began, bytes(sound)) for began, sound in stretches]
