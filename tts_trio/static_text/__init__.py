"""A text that is known as a whole: over HTTP, and from a cache."""

from __future__ import annotations
