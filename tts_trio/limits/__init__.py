"""The limiters, which keep a process or a fleet within the plan's concurrency."""

from __future__ import annotations
