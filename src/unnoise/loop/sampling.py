"""How a run draws its samples unless one says otherwise: the `sample` node of a recipe."""

from dataclasses import dataclass
from typing import Any

from unnoise.samplers.plan import Plan
from unnoise.samplers.table import HasSchedule, plan


@dataclass(frozen=True)
class Sampling:
    """The sampler with its grid and options, the number of steps, and the guidance: a weight (1: none), words such as
    "apg weight=4 + dynamic", or nodes of guides from the inside out."""

    sampler: str = "dpmpp_2m"
    steps: int = 20
    grid: str | None = None
    guidance: float | str | list[Any] = 1.0
    options: dict[str, Any] | None = None

    def plan(self, process: HasSchedule, reverse: bool = False) -> Plan:
        """The table of it all for a process; reverse: from data to noise."""
        return plan(self.sampler, process, self.steps, self.grid, reverse, **(self.options or {}))
