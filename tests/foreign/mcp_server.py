"""ElevenLabs' own MCP server (PyPI elevenlabs-mcp), called by its tools: `python -m tests.foreign mcp`.

It has no setting for a base URL but a list of regions, so the place where it looks that up is told ours.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

TEXT = os.environ["TEXT"]
SERVER = """
import sys
import elevenlabs_mcp.utils
elevenlabs_mcp.utils.parse_location = lambda _region: sys.argv[1]
from elevenlabs_mcp.server import main
main()
"""


async def call(session: ClientSession, tool: str, **arguments: Any) -> str:
    answer = await asyncio.wait_for(session.call_tool(tool, arguments), 30)
    text = "".join(getattr(part, "text", "") for part in answer.content)
    if answer.isError:
        raise RuntimeError(f"{tool}: {text}")
    return text


def saved(directory: str) -> str:
    (file,) = Path(directory).iterdir()
    return base64.b64encode(file.read_bytes()).decode()


async def main() -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", SERVER, sys.argv[1]], env={**os.environ, "ELEVENLABS_API_KEY": "any"}
    )
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        for tool, arguments, expected in (
            ("list_models", {}, "eleven_v4_turbo"),
            ("search_voices", {"search": "george"}, "George"),
            ("get_voice", {"voice_id": "JBFqnCBsd6RMkjVDRZzb"}, "George"),
            ("check_subscription", {}, "creator"),
        ):
            text = await call(session, tool, **arguments)
            if expected not in text:
                raise RuntimeError(f"{tool}: {text}")
            print(json.dumps({"did": tool}))
        for model in ("eleven_multilingual_v2", "eleven_v3"):
            with tempfile.TemporaryDirectory() as directory:
                await call(
                    session,
                    "text_to_speech",
                    text=TEXT,
                    voice_name="George",
                    model_id=model,
                    output_format="pcm_16000",
                    output_directory=directory,
                )
                audio = saved(directory)
            print(json.dumps({"did": f"text_to_speech {model}", "format": "pcm_16000", "audio": audio}))


asyncio.run(main())
