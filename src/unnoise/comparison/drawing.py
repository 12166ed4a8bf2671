"""How entries draw their samples: samplers × steps × grids × guidance × averages of the weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from unnoise.config import UserError, choose
from unnoise.run import Run
from unnoise.samplers import SAMPLERS, Plan
from unnoise.samplers.table import Sampler

MOST_STEPS = 10_000


@dataclass(frozen=True)
class Drawing:
    """One way of drawing; None stands for what the run's recipe says."""

    sampler: str | None = None
    steps: int | None = None
    evaluations: int | None = None  # in place of steps: as many steps as so many questions allow
    grid: str | None = None
    guidance: float | str | None = None  # a weight, or guides in words
    ema: float | None = None  # the width of the weights' average, 0: the last weights

    @property
    def settings(self) -> dict[str, str]:
        """What is said of it, by axis."""
        told = {
            "sampler": self.sampler,
            "steps": self.steps,
            "evaluations": self.evaluations,
            "grid": self.grid,
            "guidance": self.guidance,
            "ema": self.ema,
        }
        return {axis: f"{value:g}" if isinstance(value, float) else str(value)
                for axis, value in told.items() if value is not None}  # fmt: skip

    @property
    def name(self) -> str:
        """In words: heun, 18 steps, guidance 2."""
        ways = {"sampler": "{}", "steps": "{} steps", "evaluations": "{} evaluations"}
        return ", ".join(ways.get(axis, f"{axis} {{}}").format(value) for axis, value in self.settings.items())

    def of(self, run: Run) -> Run:
        """The run with the average of its weights that is asked."""
        return run if self.ema is None else run.averaged(self.ema)

    def plan(self, run: Run) -> Plan:
        """The table that this run is sampled by."""
        if self.evaluations is None:
            return run.plan(self.sampler, self.steps, self.grid)
        return most(run, self.sampler, self.evaluations, self.grid)


def most(run: Run, sampler: str | None, evaluations: int, grid: str | None) -> Plan:
    """The plan of the most steps that asks the network `evaluations` times at the most."""
    how = run.sampling(sampler, grid=grid)
    rule: Sampler = choose("sampler", how.sampler, SAMPLERS)
    steps = rule.steps(evaluations, **(how.options or {}))
    plan = run.plan(sampler, steps, grid)
    while steps < evaluations and (longer := run.plan(sampler, steps + 1, grid)).rows <= evaluations:
        steps, plan = steps + 1, longer  # a rule may ask less where its first interval begins at alpha = 0
    return plan


@dataclass(frozen=True)
class Drawings:
    """Lists whose product is drawn; an empty one stands for what the recipe says."""

    samplers: Sequence[str] = ()
    steps: Sequence[int] = ()
    evaluations: Sequence[int] = ()
    grids: Sequence[str] = ()
    guidance: Sequence[float | str] = ()
    ema: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.steps and self.evaluations:
            raise UserError("steps and evaluations both say how long a sampler walks: give one of the two")
        for what, counts in (("steps", self.steps), ("evaluations", self.evaluations)):
            wrong = [count for count in counts if not 1 <= count <= MOST_STEPS]
            if wrong:
                raise UserError(f"{what} are from 1 to {MOST_STEPS:,}, got {wrong[0]}")

    def __iter__(self) -> Iterator[Drawing]:
        columns: list[Sequence[Any]] = [
            axis or (None,)
            for axis in (self.samplers, self.steps, self.evaluations, self.grids, self.guidance, self.ema)
        ]
        return (Drawing(*row) for row in product(*columns))


__all__ = ["Drawing", "Drawings"]
