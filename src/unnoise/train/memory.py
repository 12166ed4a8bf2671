"""Keeps the memory that a step frees for the next step.

glibc gives blocks of megabytes back to the system when they are freed, and the next step faults every page in
again: on a CPU that took a sixth of the time of a small U-Net's step. Other systems' allocators keep their pages.
"""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
_LARGEST_MMAP_THRESHOLD = 32 << 20  # what glibc accepts


@cache
def keep_freed() -> bool:
    """Asks the allocator, once a process, to keep what is freed; whether it agreed."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a C library without it, such as musl
        return False
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return bool(kept and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


__all__ = ["keep_freed"]
