"""Everything that opens a connection, and what speaks over one."""

from __future__ import annotations
