"""The loops that introduce samplers to denoisers."""

from unnoise.loop.adaptive import Adaptive, flow
from unnoise.loop.engine import Done, Engine, Event, Failed, Job, Step, Ticket
from unnoise.loop.generate import generate, sample
from unnoise.loop.sampling import Sampling

__all__ = [
    "Adaptive",
    "Done",
    "Engine",
    "Event",
    "Failed",
    "Job",
    "Sampling",
    "Step",
    "Ticket",
    "flow",
    "generate",
    "sample",
]
