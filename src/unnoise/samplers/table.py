"""The table of samplers, and `plan`, which writes one out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unnoise.config import UserError, arguments, choose
from unnoise.process.schedule import Schedule
from unnoise.samplers import dpmpp, euler
from unnoise.samplers.grid import times
from unnoise.samplers.path import Path
from unnoise.samplers.plan import Plan
from unnoise.tensor import Array


@dataclass(frozen=True)
class Sampler:
    """A rule and what is promised of it.

    order: of the error of the state (of the variance, where stochastic) as the longest step falls, on a grid
    that ends before sigma = 0; stochastic: whether it draws noise, given its options; grid: taken if none is named.
    """

    rule: Callable[..., Plan]
    order: int
    stochastic: Callable[..., bool] = lambda **options: False
    grid: str = "karras"


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(euler.ddpm, 1, lambda **options: True, grid="time"),
    "ddim": Sampler(euler.ddim, 1, lambda **options: options.get("eta", 0) > 0, grid="time"),
    "euler": Sampler(euler.euler, 1),
    "heun": Sampler(euler.heun, 2),
    "dpmpp_2m": Sampler(dpmpp.dpmpp_2m, 2),
}


@runtime_checkable
class HasSchedule(Protocol):
    """A Gaussian process, as far as a plan needs it."""

    @property
    def schedule(self) -> Schedule:
        """alpha and sigma over t."""
        ...


def plan(
    sampler: str,
    process: HasSchedule,
    steps: int | None = None,
    grid: str | Sequence[float] | Array | None = None,
    **options: Any,
) -> Plan:
    """The table of a sampler for a process.

    sampler: a name of SAMPLERS; steps: intervals, always; grid: a name of GRIDS, or steps + 1 falling times;
    options: the rule's own (ddim: eta; ddpm: variance). Raises UserError with the nearest right name.
    """
    entry: Sampler = choose("sampler", sampler, SAMPLERS)
    schedule = getattr(process, "schedule", None)
    if not isinstance(schedule, Schedule):
        raise UserError(f"a plan is for a process with a schedule, such as un.Gaussian(..), got {process!r}")
    grid = entry.grid if grid is None else grid
    rule_options, _ = arguments(entry.rule, options, {}, f"sampler {sampler}", {"path": None})
    rule_options.pop("path")
    fixed = grid if isinstance(grid, str) else tuple(np.asarray(grid, dtype=np.float64).tolist())
    return _write(sampler, schedule, steps, fixed, tuple(sorted(rule_options.items())))


@lru_cache(maxsize=256)
def _write(
    sampler: str,
    schedule: Schedule,
    steps: int | None,
    grid: str | tuple[float, ...],
    options: tuple[tuple[str, Any], ...],
) -> Plan:
    path = Path.over(schedule, times(grid, schedule, steps))
    if path.sigma[0] == 0:
        raise UserError("sampling starts where there is noise: the first time of the grid has sigma = 0")
    return SAMPLERS[sampler].rule(path, **dict(options))
