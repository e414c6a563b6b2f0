"""For the tests of a program that speaks with tts_trio: the service in memory, in virtual time, and what was heard.

The page beside this file, `README.md`, shows how. It needs the extra `[testing]`. The pytest fixture is in
`tts_trio.testing.plugin`, which is loaded only where a test names it.
"""

from __future__ import annotations

from tts_trio.testing.service import Link, Service, heard, memory_service
from tts_trio.testing.threads import server_in_a_thread

__all__ = ["Link", "Service", "heard", "memory_service", "server_in_a_thread"]
