"""WHOOP, and nothing but WHOOP: its addresses, its dialect, its oddities."""

from __future__ import annotations

from whoop.provider import provider

__all__ = ["provider"]
