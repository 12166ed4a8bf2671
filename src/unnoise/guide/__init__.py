"""Denoisers around denoisers."""

from unnoise.guide.cfg import CFG

__all__ = ["CFG"]
