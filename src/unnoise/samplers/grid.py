"""Where the steps fall: n intervals of t from noise to 0."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from scipy.special import betaincinv

from unnoise.config import UserError, choose
from unnoise.process.schedule import Schedule
from unnoise.tensor import Array

Grid: TypeAlias = Callable[[Schedule, int], Array]

RHO = 7.0
EDM_SPAN = (0.002, 80.0)
NEAR = 1e-6  # of logSNR: nearer levels are one, computed twice


def _ratios(schedule: Schedule, ratios: Array) -> Array:
    """Times of ratios sigma/alpha, largest first, then 0."""
    return np.append(schedule.time(-2 * np.log(ratios)), 0.0)


def time(schedule: Schedule, steps: int) -> Array:
    """Uniform in t from 1 to 0."""
    return np.linspace(1, 0, steps + 1)


def logsnr(schedule: Schedule, steps: int) -> Array:
    """Uniform in logSNR over the span, then 0."""
    low, high = schedule.span
    return _ratios(schedule, np.geomspace(high, low, steps) if steps > 1 else np.array([high]))


def _powers(low: float, high: float, steps: int) -> Array:
    """(high^(1/rho) + u·(low^(1/rho) − high^(1/rho)))^rho  (Karras et al., 2022, Eq. 5)."""
    u = np.arange(steps) / max(steps - 1, 1)
    return (high ** (1 / RHO) + u * (low ** (1 / RHO) - high ** (1 / RHO))) ** RHO


def karras(schedule: Schedule, steps: int) -> Array:
    """rho = 7 in sigma/alpha over the schedule's span, then 0  (Karras et al., 2022, Eq. 5)."""
    return _ratios(schedule, _powers(*schedule.span, steps))


def edm(schedule: Schedule, steps: int) -> Array:
    """rho = 7 in sigma/alpha over 0.002 .. 80 where the schedule reaches so far, then 0."""
    low, high = schedule.span
    return _ratios(schedule, _powers(max(low, EDM_SPAN[0]), min(high, EDM_SPAN[1]), steps))


def quadratic(schedule: Schedule, steps: int) -> Array:
    """sqrt(t) uniform: steps are short near the data  (Song, Meng & Ermon, 2021, App. D)."""
    return np.linspace(1, 0, steps + 1) ** 2


def beta(schedule: Schedule, steps: int) -> Array:
    """Quantiles of Beta(0.6, 0.6) in t: short steps at both ends  (Lee et al., 2024)."""
    return betaincinv(0.6, 0.6, np.linspace(1, 0, steps + 1))


def _chain(schedule: Schedule, steps: int) -> int:
    if steps > schedule.steps:
        raise UserError(f"a chain of {schedule.steps} steps has no grid of {steps}; expected at most {schedule.steps}")
    return schedule.steps


def leading(schedule: Schedule, steps: int) -> Array:
    """Multiples of T // n, counted from 1, largest first: never starts at T (Lin et al., 2024, Table 2)."""
    T = _chain(schedule, steps)
    return np.append((np.arange(steps) * (T // steps) + 1)[::-1] / T, 0.0)


def trailing(schedule: Schedule, steps: int) -> Array:
    """round(T − i·T/n): starts at T; with n = T the whole chain (Lin et al., 2024, Table 2)."""
    T = _chain(schedule, steps)
    return np.append(np.rint(T - np.arange(steps) * (T / steps)) / T, 0.0)


def linspace(schedule: Schedule, steps: int) -> Array:
    """round of n points from T to 1, both ends included (Lin et al., 2024, Table 2)."""
    T = _chain(schedule, steps)
    return np.append(np.rint(np.linspace(T, 1, steps)) / T, 0.0)


GRIDS: dict[str, Grid] = {
    "time": time,
    "logsnr": logsnr,
    "karras": karras,
    "edm": edm,
    "quadratic": quadratic,
    "beta": beta,
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
}


def times(grid: str | Sequence[float] | Array, schedule: Schedule, steps: int | None) -> Array:
    """The times t_0 > .. > t_n of a named grid of n steps, or times given as they are, in words "0.99,0.5,0".

    Named grids end at exactly 0. Raises UserError where times do not fall strictly within [0, 1].
    """
    if isinstance(grid, str) and "," in grid:
        try:
            grid = [float(time) for time in grid.split(",")]
        except ValueError:
            raise UserError(f"the times of a grid are numbers with commas, such as 0.99,0.5,0, got '{grid}'") from None
    if isinstance(grid, str):
        made = choose("grid", grid, GRIDS)
        if not isinstance(steps, (int, np.integer)) or steps < 1:
            raise UserError(f"a grid needs a whole number of steps of at least 1, got {steps!r}")
        result = np.asarray(made(schedule, int(steps)), dtype=np.float64)
    else:
        result = np.asarray(grid, dtype=np.float64)
        if result.ndim != 1 or len(result) < 2 or (steps is not None and steps != len(result) - 1):
            raise UserError(f"a grid of {steps} steps is a list of {(steps or 1) + 1} times, got {result.size}")
    if not (np.all(np.diff(result) < 0) and result[0] <= 1 and result[-1] >= 0):
        at = int(np.argmax(~(np.diff(result) < 0)))  # of times that fall: their ends
        pair = (result[0], result[-1]) if np.all(np.diff(result) < 0) else (result[at], result[at + 1])
        raise UserError(
            f"the times of a grid must fall strictly from at most 1 to at least 0, got {pair[0]:g} before {pair[1]:g}"
        )
    return result


def risen(falling: Array, schedule: Schedule) -> Array:
    """The times of a falling grid from its last to its first: the way from data to noise.

    0, where a rule would divide by sigma, gives way to the least time of the schedule's span, or is left out where
    the grid has that already. There x is alpha·x_0, to within the span's least noise.
    """
    if falling[-1] > 0:
        return falling[::-1]
    least = schedule.time(np.array([-2 * np.log(schedule.span[0])]))
    above = falling[:-1][schedule.logsnr(falling[:-1]) < schedule.logsnr(least) - NEAR]
    return np.concatenate([least, above[::-1]])
