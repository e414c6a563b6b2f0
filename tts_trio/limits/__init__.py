"""The plan's concurrency: in a process, and in a fleet."""

from __future__ import annotations
