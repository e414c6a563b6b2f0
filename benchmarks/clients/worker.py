"""What every client's process does: it takes a command a line, has its clients do it, and answers a line.

{"do": "open", "base_url": …, "voices": […]}    make a client for each voice, one after another; with "at_once" all
                                                together, where the runtime allows that
{"do": "prepare"}                               have all of them ready to speak at once
{"do": "speak", "rows": [[turn, …], …]}         each client its row, one after the other; the clients together; before a
                                                turn with a "rest" of some seconds it gets ready, and that much time;
                                                "note_after" so many seconds each it notes what the process has used
{"do": "cold", "base_url": …, "voice": …, "turn": …}    make one, speak, and be done with it
{"do": "memory"}                                tell what Python objects were made since the first time
{"do": "close"}                                 be done with all of them
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from benchmarks.clients.turn import Turn

_THREADS = 512


class Client(Protocol):
    """A client of one conversation, as its makers mean it to be used."""

    async def prepare(self) -> None:
        """Be ready to speak at once, as far as the client can be."""
        ...

    async def speak(self, turn: Turn) -> None:
        """Speak what an LLM writes."""
        ...

    async def say(self, turn: Turn) -> None:
        """Speak a phrase that is known as a whole; only of those that are asked for it."""
        ...


OpenClient = Callable[[str, str], AbstractAsyncContextManager[Client]]
"""Opens a client, given the base URL and the voice."""


class Runtime(Protocol):
    """The little that a worker wants of asyncio or trio."""

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        """Call a function that blocks."""
        ...

    async def together(self, functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them all, until all are done."""
        ...

    async def open(self, functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them all, together if what they open need not be closed by the same task."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        ...


class Asyncio:
    """The runtime of the peers."""

    async def in_thread(self, function: Callable[[], Any]) -> Any:
        """Call a function that blocks."""
        return await asyncio.get_running_loop().run_in_executor(None, function)

    async def together(self, functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them all, until all are done."""
        await asyncio.gather(*(function() for function in functions))

    async def open(self, functions: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Run them together."""
        await self.together(functions)

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class Worker:
    """Obeys."""

    def __init__(self, open_client: OpenClient, runtime: Runtime) -> None:
        self._open_client = open_client
        self._runtime = runtime
        self._clients: list[Client] = []
        self._open = AsyncExitStack()
        self._deeds: dict[str, Callable[..., Awaitable[Any]]] = {
            "open": self._open_all,
            "prepare": self._prepare,
            "speak": self._speak,
            "cold": self._cold,
            "memory": self._memory,
            "close": self._close,
        }

    async def run(self) -> None:
        """Obey until there are no more commands. Whatever else is printed goes to the standard error."""
        if os.environ.get("SPARE_COLLECTOR"):  # `calls --spare-collector`
            gc.collect()
            gc.freeze()
            gc.set_threshold(700, 10, 100)
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
            os.dup2(2, 1)
            async with self._open:
                while line := await self._runtime.in_thread(sys.stdin.readline):
                    command = json.loads(line)
                    answer = await self._deeds[command.pop("do")](**command)
                    answers.write(json.dumps({"answer": answer, **usage()}) + "\n")
                    answers.flush()

    async def _open_all(self, base_url: str, voices: list[str], *, at_once: bool = False) -> None:
        async def open_one(voice: str) -> None:
            self._clients.append(await self._open.enter_async_context(self._open_client(base_url, voice)))

        if at_once:
            await self._runtime.open([partial(open_one, voice) for voice in voices])
        else:
            for voice in voices:
                await open_one(voice)

    async def _prepare(self) -> None:
        await self._runtime.together([client.prepare for client in self._clients])

    async def _speak(self, rows: list[list[dict[str, Any]]], note_after: Sequence[float] = ()) -> dict[str, Any]:
        """Speak, and tell what the process had used after so many seconds each, in order of time."""
        records: list[list[dict[str, Any]]] = [[] for _ in rows]
        notes: list[dict[str, float]] = []

        def speaker(number: int) -> Callable[[], Awaitable[None]]:
            return lambda: self._converse(self._clients[number], rows[number], records[number])

        async def note(after: float) -> None:
            await self._runtime.sleep(after)
            notes.append(usage())

        noting = [partial(note, after) for after in note_after]
        await self._runtime.together([*noting, *(speaker(number) for number in range(len(rows)))])
        return {"records": records, "notes": notes}

    async def _converse(self, client: Client, row: list[dict[str, Any]], records: list[dict[str, Any]]) -> None:
        for told in row:
            known, rest = told.pop("known", False), told.pop("rest", None)
            if rest is not None:
                await client.prepare()
                await self._runtime.sleep(rest)
            turn = Turn(**told)
            turn.begin()
            records.append(await _outcome(client.say if known else client.speak, turn))

    async def _cold(self, base_url: str, voice: str, turn: dict[str, Any]) -> dict[str, Any]:
        told = Turn(**turn)
        told.begin()

        async def speak(turn: Turn) -> None:
            async with self._open_client(base_url, voice) as client:
                await client.speak(turn)

        return await _outcome(speak, told)

    async def _memory(self) -> dict[str, Any]:
        return objects()

    async def _close(self) -> None:
        await self._open.aclose()
        self._clients.clear()


async def _outcome(speak: Callable[[Turn], Awaitable[None]], turn: Turn) -> dict[str, Any]:
    try:
        await speak(turn)
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is a failure to be counted
        return turn.record(error)
    return turn.record()


def objects() -> dict[str, Any]:
    """Return the bytes of the Python objects that were made since the first call, by module; all objects by type."""
    gc.collect()
    modules: Counter[str] = Counter()
    if tracemalloc.is_tracing():
        for statistic in tracemalloc.take_snapshot().statistics("filename"):
            modules[module_of(statistic.traceback[0].filename)] += statistic.size
    else:
        tracemalloc.start()
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for each in gc.get_objects():
        name = f"{type(each).__module__}.{type(each).__qualname__}".removeprefix("builtins.")
        counts[name] += 1
        sizes[name] += sys.getsizeof(each, 0)
    sockets = [entry for entry in Path("/proc/self/fd").glob("*") if entry.is_socket()]
    types = {name: (counts[name], sizes[name]) for name in counts}
    return {"modules": modules, "types": types, "sockets": len(sockets)}


def module_of(filename: str) -> str:
    """Return whose a file is: a distribution, a room of ours, or a module of the standard library."""
    parts = Path(filename).parts
    if generated := filename.startswith("<attrs generated "):
        parts = tuple(filename.rstrip(">").rpartition(" ")[2].split("."))
    elif "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    for ours in ("tts_trio", "benchmarks"):
        if ours in parts[:-1]:
            return "/".join(parts[parts.index(ours) :][:2]).removesuffix(".py")
    if generated:
        return parts[0]
    in_package = len(parts) > 1 and not parts[-2].startswith("python")  # and not directly in .../lib/python3.11
    return parts[-2] if in_package else parts[-1].removesuffix(".py")


def usage() -> dict[str, float]:
    """Return the CPU that this process has used, in seconds, its memory, in bytes, and the collector's full passes."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        memory = int(statm.read_text().split()[1]) * resource.getpagesize()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": time.process_time(), "memory": memory, "passes": gc.get_stats()[2]["collections"]}


def run_on_asyncio(open_client: OpenClient) -> None:
    """Be the process of a client of asyncio, or of threads."""

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
        await Worker(open_client, Asyncio()).run()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())  # and not `asyncio.run`, which would wait for the thread that reads commands
    except Exception:  # noqa: BLE001 - all there is to do is to tell
        traceback.print_exc()
    os._exit(0)
