"""Speaks texts that are known as a whole, over HTTP or from a cache."""

from __future__ import annotations
