"""Samplers proven and judged: what orders they show, and the tables of other libraries read out."""

from unnoise.conformance.foreign import Loop, Scheduler, foreign
from unnoise.conformance.probe import Foreign, Reading, read, unroll
from unnoise.conformance.unrolled import Unrolled, local

__all__ = ["Foreign", "Loop", "Reading", "Scheduler", "Unrolled", "foreign", "local", "read", "unroll"]
