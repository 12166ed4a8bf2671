"""Denoisers that hold to what was measured of an item, around any other."""

from unnoise.restore.known import KNOWN, MASK, Known

__all__ = ["KNOWN", "MASK", "Known"]
